package nextcloudtest

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

const (
	davFiles  = "/remote.php/dav/files/"
	davLegacy = "/remote.php/webdav/"
)

// dav answers WebDAV. Unlike OCS it does not ask whether a bearer's user is disabled: with user_oidc 8.10.1 such a
// token has full access, and no second factor is asked for.
func (s *Server) dav(w http.ResponseWriter, r *http.Request) {
	who := s.identify(r)
	switch who.kind {
	case credThrottled:
		w.Header().Set("Content-Type", davType)
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = fmt.Fprint(w, `<?xml version="1.0" encoding="utf-8"?>`+
			`<d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns" xmlns:o="http://owncloud.org/ns">`+
			`<s:exception>OCA\DAV\Connector\Sabre\Exception\TooManyRequests</s:exception><s:message/>`+
			`<o:hint xmlns:o="o:">too many requests</o:hint></d:error>`)
	case credDisabledBasic:
		davError(w, http.StatusServiceUnavailable, `Sabre\DAV\Exception\ServiceUnavailable`, `OC\User\LoginException: Account disabled`)
	case credNone, credRefused, credWrongBasic:
		w.Header().Set("WWW-Authenticate", `Basic realm="Nextcloud", charset="UTF-8"`)
		davError(w, http.StatusUnauthorized, `Sabre\DAV\Exception\NotAuthenticated`, notAuthenticated(who.kind))
	default:
		s.davResource(w, r, who.user.ID)
	}
}

// notAuthenticated lists what each of the authentication backends says. The text for a wrong password was not recorded.
func notAuthenticated(kind credential) string {
	const noBasic = "No 'Authorization: Basic' header found. Either the client didn't send one, or the server is misconfigured"
	const common = "No public access to this resource., AppAPIAuth has not passed, "
	switch kind {
	case credRefused:
		return common + noBasic + ", Bearer token was incorrect, " + noBasic
	case credWrongBasic:
		return common + "Username or password was incorrect"
	default:
		return common + noBasic + ", No 'Authorization: Bearer' header found. Either the client didn't send one, or the server is mis-configured, " + noBasic
	}
}

// davResource finds what the path names. Homes of others look like an empty folder that cannot be changed.
func (s *Server) davResource(w http.ResponseWriter, r *http.Request, me string) {
	owner, name := me, strings.TrimPrefix(r.URL.Path, davLegacy)
	if below, ok := strings.CutPrefix(r.URL.Path, davFiles); ok {
		owner, name, _ = strings.Cut(below, "/")
	}
	name = inHome(name)
	_, exists := s.User(owner)
	switch {
	case r.URL.Path == "/remote.php/dav/" && r.Method == "PROPFIND":
		s.propfindRoot(w, r, me)
	case !strings.HasPrefix(r.URL.Path, davFiles) && !strings.HasPrefix(r.URL.Path, davLegacy):
		davFail(w, notFound(r.URL.Path))
	case !exists:
		davError(w, http.StatusNotFound, `Sabre\DAV\Exception\NotFound`, "Principal with name "+owner+" not found")
	case owner != me:
		s.foreignHome(w, r, owner, name)
	default:
		s.ownFile(w, r, me, name)
	}
}

func (s *Server) foreignHome(w http.ResponseWriter, r *http.Request, owner, name string) {
	switch {
	case r.Method == "PROPFIND" && name == "":
		writeMultistatus(w, []resource{foreign(r)})
	case r.Method == http.MethodPut:
		davError(w, http.StatusForbidden, `Sabre\DAV\Exception\Forbidden`, "Permission denied to create file (filename "+name+")")
	case r.Method == http.MethodGet, r.Method == "PROPFIND":
		davError(w, http.StatusNotFound, `Sabre\DAV\Exception\NotFound`, fmt.Sprintf("File not found: %s in '%s'", name, owner))
	default:
		davFail(w, forbidden)
	}
}

func (s *Server) ownFile(w http.ResponseWriter, r *http.Request, me, name string) {
	switch r.Method {
	case "PROPFIND":
		s.propfind(w, r, me, name)
	case http.MethodGet, http.MethodHead:
		s.download(w, me, name)
	case http.MethodPut:
		s.upload(w, r, me, name)
	case "MKCOL":
		if _, _, failed := s.state.add(me, name, true, nil); failed != nil {
			davFail(w, failed)
			return
		}
		created(w, http.StatusCreated)
	case http.MethodDelete:
		if failed := s.state.remove(me, name); failed != nil {
			davFail(w, failed)
			return
		}
		created(w, http.StatusNoContent)
	default:
		davError(w, http.StatusMethodNotAllowed, `Sabre\DAV\Exception\MethodNotAllowed`, r.Method+" is not part of the stand-in")
	}
}

// created is the bodiless success of a change; PHP gives it the content type of a page.
func created(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", htmlType)
	w.WriteHeader(status)
}

func (s *Server) download(w http.ResponseWriter, me, name string) {
	n, failed := s.state.file(me, name)
	if failed != nil {
		davFail(w, failed)
		return
	}
	base := path.Base(name)
	h := w.Header()
	h.Set("Content-Type", fileType(name))
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename*=UTF-8''%s; filename=%q", base, base))
	h.Set("Content-Length", strconv.Itoa(len(n.body)))
	h.Set("Last-Modified", httpDate(n.modified))
	etagHeaders(h, n)
	_, _ = w.Write(n.body)
}

func fileType(name string) string {
	if path.Ext(name) == ".txt" {
		return "text/plain;charset=UTF-8"
	}
	return "application/octet-stream"
}

func etagHeaders(h http.Header, n node) {
	h.Set("ETag", n.etag())
	h.Set("OC-ETag", n.etag())
}

func (s *Server) upload(w http.ResponseWriter, r *http.Request, me, name string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		davError(w, http.StatusRequestEntityTooLarge, `OCA\DAV\Connector\Sabre\Exception\EntityTooLarge`, "The stand-in keeps files up to 1 MiB")
		return
	}
	n, isNew, failed := s.state.add(me, name, false, body)
	if failed != nil {
		davFail(w, failed)
		return
	}
	etagHeaders(w.Header(), n)
	w.Header().Set("OC-FileId", fmt.Sprintf("%08docstandin00", n.id))
	if isNew {
		created(w, http.StatusCreated)
		return
	}
	created(w, http.StatusNoContent)
}

const davType = "application/xml; charset=utf-8"

func davFail(w http.ResponseWriter, e *fileError) { davError(w, e.status, e.exception, e.message) }

func davError(w http.ResponseWriter, status int, exception, message string) {
	w.Header().Set("Content-Type", davType)
	w.WriteHeader(status)
	_, _ = fmt.Fprint(w, `<?xml version="1.0" encoding="utf-8"?>`+"\n"+
		`<d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns"><s:exception>`)
	_ = xml.EscapeText(w, []byte(exception))
	_, _ = fmt.Fprint(w, "</s:exception><s:message>")
	_ = xml.EscapeText(w, []byte(message))
	_, _ = fmt.Fprint(w, "</s:message></d:error>\n")
}

func httpDate(t time.Time) string { return t.UTC().Format(http.TimeFormat) }
