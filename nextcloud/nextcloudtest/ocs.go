package nextcloudtest

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// reply is an OCS answer, with the code of OCS v2.
type reply struct {
	code    int
	message string
	data    any
	// early answers are written before the OCS API is loaded; their XML has another content type.
	early bool
	// challenge adds WWW-Authenticate.
	challenge bool
}

// fields is the data of an answer that is an object.
type fields map[string]any

const (
	codeNotLoggedIn = 997
	codeNotFound    = 998
)

func ok(data any) reply { return reply{code: http.StatusOK, message: "OK", data: data} }

func refuse(code int, message string) reply { return reply{code: code, message: message} }

// endpoints of the OCS API, by method and path; a path that ends in a slash takes one more segment.
func (s *Server) endpoints() map[string]func(*http.Request, session) reply {
	return map[string]func(*http.Request, session) reply{
		"GET /cloud/user":               s.currentUser,
		"GET /cloud/users":              s.listUsers,
		"GET /cloud/users/":             s.oneUser,
		"GET /cloud/groups":             s.listGroups,
		"GET /cloud/capabilities":       s.capabilities,
		"GET /core/getapppassword":      s.getAppPassword,
		"POST /core/apppassword/rotate": s.rotateAppPassword,
		"DELETE /core/apppassword":      s.deleteAppPassword,
	}
}

const (
	capabilitiesPath = "/cloud/capabilities"
	usersPath        = "/cloud/users/"
)

func (s *Server) ocs(w http.ResponseWriter, r *http.Request) {
	path := ocsPath(r)
	route := path
	if strings.HasPrefix(path, usersPath) {
		route = usersPath
	}
	handle, known := s.endpoints()[r.Method+" "+route]
	who := s.identify(r)
	switch {
	case who.kind == credThrottled:
		writeOCS(w, r, refuse(http.StatusTooManyRequests, "Reached maximum delay"))
	case who.kind == credWrongBasic, who.kind == credDisabledBasic:
		writeOCS(w, r, reply{code: codeNotLoggedIn, message: "Unauthorised", early: true, challenge: true})
	case !known:
		writeOCS(w, r, refuse(codeNotFound, "Invalid query, please check the syntax. API specifications are here: "+
			"http://www.freedesktop.org/wiki/Specifications/open-collaboration-services.\n"))
	case path == capabilitiesPath:
		writeOCS(w, r, handle(r, who))
	case !who.loggedIn():
		writeOCS(w, r, refuse(codeNotLoggedIn, "Current user is not logged in"))
	case who.user.TwoFactor && who.kind != credAppPassword:
		w.Header().Set("Location", "/login/selectchallenge")
		w.WriteHeader(http.StatusSeeOther)
	case !csrfSafe(r):
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(http.StatusPreconditionFailed)
		_, _ = fmt.Fprint(w, `{"message":"CSRF check failed"}`)
	default:
		writeOCS(w, r, handle(r, who))
	}
}

// ocsPath is the path below /ocs/v1.php or /ocs/v2.php.
func ocsPath(r *http.Request) string { return r.URL.Path[len("/ocs/v2.php"):] }

// csrfSafe: the header OCS-APIRequest, or a bearer token in this very case.
func csrfSafe(r *http.Request) bool {
	return r.Header.Get("OCS-APIRequest") == "true" || strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ")
}

// httpStatus is the status of an OCS code; v1 hides most of them behind 200.
func (a reply) httpStatus(v1 bool) int {
	switch {
	case a.code == codeNotLoggedIn:
		return http.StatusUnauthorized
	case a.code == http.StatusServiceUnavailable:
		return a.code
	case v1:
		return http.StatusOK
	case a.code == codeNotFound:
		return http.StatusNotFound
	}
	return a.code
}

func writeOCS(w http.ResponseWriter, r *http.Request, a reply) {
	v1 := strings.HasPrefix(r.URL.Path, "/ocs/v1.php")
	meta := ocsMeta{Status: "ok", StatusCode: a.code, Message: a.message}
	switch {
	case a.code != http.StatusOK:
		meta.Status = "failure"
	case v1:
		meta.StatusCode = 100
	}
	if v1 {
		meta.TotalItems, meta.ItemsPerPage = new(string), new(string)
	}
	if a.data == nil {
		a.data = []string{}
	}
	if a.challenge {
		w.Header().Set("WWW-Authenticate", `Basic realm="Authorisation Required"`)
	}
	asJSON := r.URL.Query().Get("format") == "json"
	w.Header().Set("Content-Type", contentType(asJSON, a.early))
	w.WriteHeader(a.httpStatus(v1))
	if asJSON {
		_ = json.NewEncoder(w).Encode(map[string]any{"ocs": map[string]any{"meta": meta, "data": a.data}})
		return
	}
	_, _ = fmt.Fprint(w, "<?xml version=\"1.0\"?>\n<ocs>")
	_ = xml.NewEncoder(w).Encode(meta)
	writeXML(w, "data", a.data)
	_, _ = fmt.Fprint(w, "</ocs>\n")
}

func contentType(asJSON, early bool) string {
	switch {
	case asJSON:
		return "application/json; charset=utf-8"
	case early:
		return "text/xml; charset=UTF-8"
	}
	return "application/xml; charset=utf-8"
}

// ocsMeta is the head of an answer. OCS v1 adds two empty fields.
type ocsMeta struct {
	XMLName      xml.Name `xml:"meta" json:"-"`
	Status       string   `xml:"status" json:"status"`
	StatusCode   int      `xml:"statuscode" json:"statuscode"`
	Message      string   `xml:"message" json:"message"`
	TotalItems   *string  `xml:"totalitems,omitempty" json:"totalitems,omitempty"`
	ItemsPerPage *string  `xml:"itemsperpage,omitempty" json:"itemsperpage,omitempty"`
}

// writeXML writes a value as PHP's OCS does: lists as <element>, true as 1, false and null as nothing.
func writeXML(w http.ResponseWriter, name string, value any) {
	_, _ = fmt.Fprintf(w, "<%s>", name)
	switch v := value.(type) {
	case nil:
	case bool:
		if v {
			_, _ = fmt.Fprint(w, 1)
		}
	case fields:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			writeXML(w, key, v[key])
		}
	case []string:
		for _, item := range v {
			writeXML(w, "element", item)
		}
	default:
		_ = xml.EscapeText(w, fmt.Append(nil, v))
	}
	_, _ = fmt.Fprintf(w, "</%s>", name)
}
