package nextcloudtest

import (
	"encoding/json"
	"net"
	"net/http"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// AdminPrefix is where AdminHandler is to be mounted.
const AdminPrefix = "/_standin/"

// AdminHandler is what occ is for a real Nextcloud: it reads and changes the stand-in over HTTP, for loopback only.
//
//	GET   /_standin/settings       the Settings as JSON
//	PATCH /_standin/settings       change the fields that the body names
//	GET   /_standin/users/{id}     the User as JSON
//	PATCH /_standin/users/{id}     change it, creating it where it is missing; "password" sets its password
//	GET   /_standin/users/{id}/app-passwords    the names of the user's app passwords, the oldest first
//	PUT   /_standin/users/{id}/files/{path}     make the folder where it is missing; ?permissions=SG sets its oc:permissions
//	POST  /_standin/flush-keys     forget the issuer's keys
//	GET   /_standin/counts         how often each endpoint was asked
func (s *Server) AdminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_standin/settings", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Settings()) })
	mux.HandleFunc("PATCH /_standin/settings", s.patchSettings)
	mux.HandleFunc("GET /_standin/users/{id}", func(w http.ResponseWriter, r *http.Request) {
		u, ok := s.User(r.PathValue("id"))
		if !ok {
			http.Error(w, "no such user", http.StatusNotFound)
			return
		}
		writeJSON(w, u)
	})
	mux.HandleFunc("PATCH /_standin/users/{id}", s.patchUser)
	mux.HandleFunc("GET /_standin/users/{id}/app-passwords", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, append([]string{}, s.AppPasswordNames(r.PathValue("id"))...))
	})
	mux.HandleFunc("PUT /_standin/users/{id}/files/{path...}", s.putFolder)
	mux.HandleFunc("POST /_standin/flush-keys", func(w http.ResponseWriter, _ *http.Request) {
		s.FlushJWKS()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /_standin/counts", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Counts()) })
	return loopbackOnly(mux)
}

func loopbackOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ip := net.ParseIP(client(r)); ip == nil || !ip.IsLoopback() {
			http.Error(w, "loopback only", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) patchSettings(w http.ResponseWriter, r *http.Request) {
	set := s.Settings()
	if !readJSON(w, r, &set) {
		return
	}
	s.Configure(func(c *Settings) { *c = set })
	writeJSON(w, set)
}

func (s *Server) patchUser(w http.ResponseWriter, r *http.Request) {
	u, _ := s.User(r.PathValue("id"))
	change := struct {
		*User
		Password *string `json:"password"`
	}{User: &u}
	if !readJSON(w, r, &change) {
		return
	}
	u.ID = r.PathValue("id")
	if change.Password != nil {
		u.Password = sensitive.New(*change.Password)
	}
	s.PutUser(u)
	u, _ = s.User(u.ID)
	writeJSON(w, u)
}

func (s *Server) putFolder(w http.ResponseWriter, r *http.Request) {
	user, name, permissions := r.PathValue("id"), r.PathValue("path"), r.URL.Query().Get("permissions")
	if permissions == "" || !s.SetPermissions(user, name, permissions) {
		if err := s.AddFolder(user, name, permissions); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

func readJSON(w http.ResponseWriter, r *http.Request, into any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
