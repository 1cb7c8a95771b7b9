package nextcloudtest

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const (
	nsDAV = "DAV:"
	nsOC  = "http://owncloud.org/ns"
	nsNC  = "http://nextcloud.org/ns"

	collection = "<d:collection/>"
	davClasses = "1, 3, extended-mkcol, access-control, calendarserver-principal-property-search, nc-paginate, " +
		"nextcloud-checksum-update, nc-calendar-search, nc-enable-birthday-calendar"
)

var prefixes = map[string]string{nsDAV: "d", nsOC: "oc", nsNC: "nc"}

// prop is one property of a resource; value is XML, empty for one that the resource does not have.
type prop struct {
	name  xml.Name
	value string
	found bool
}

type resource struct {
	href  string
	props []prop
}

// asked is the body of a PROPFIND; without one the usual properties are meant.
func asked(r *http.Request) []xml.Name {
	var body struct {
		Prop struct {
			Names []struct{ XMLName xml.Name } `xml:",any"`
		} `xml:"DAV: prop"`
	}
	if xml.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&body) != nil {
		return nil
	}
	var names []xml.Name
	for _, n := range body.Prop.Names {
		names = append(names, n.XMLName)
	}
	return names
}

func usual(n node) []xml.Name {
	locals := []string{"getlastmodified", "getcontentlength", "resourcetype", "getetag", "getcontenttype"}
	if n.folder {
		locals = []string{"getlastmodified", "resourcetype", "quota-used-bytes", "quota-available-bytes", "getetag"}
	}
	var names []xml.Name
	for _, l := range locals {
		names = append(names, xml.Name{Space: nsDAV, Local: l})
	}
	return names
}

// propfindRoot is for the one property that clients ask of the root: who they are.
func (s *Server) propfindRoot(w http.ResponseWriter, r *http.Request, me string) {
	res := resource{href: r.URL.Path}
	for _, name := range asked(r) {
		p := prop{name: name}
		if name.Space == nsDAV && name.Local == "current-user-principal" {
			p.value, p.found = "<d:href>/remote.php/dav/principals/users/"+escape(me)+"/</d:href>", true
		}
		res.props = append(res.props, p)
	}
	writeMultistatus(w, []resource{res})
}

// foreign describes the home of another user: a collection that has no other property, so no permissions either.
func foreign(r *http.Request) resource {
	kind := xml.Name{Space: nsDAV, Local: "resourcetype"}
	names := asked(r)
	if names == nil {
		names = []xml.Name{kind}
	}
	res := resource{href: r.URL.Path}
	for _, name := range names {
		p := prop{name: name}
		if name == kind {
			p.value, p.found = collection, true
		}
		res.props = append(res.props, p)
	}
	return res
}

// propfind lists one resource, and with Depth 1 (or none given, as Nextcloud does not go deeper) what is in it.
func (s *Server) propfind(w http.ResponseWriter, r *http.Request, me, name string) {
	n, failed := s.state.file(me, name)
	if failed != nil {
		davFail(w, failed)
		return
	}
	names := asked(r)
	base := strings.TrimSuffix(strings.TrimSuffix(r.URL.Path, "/"), name)
	all := []resource{s.describe(base, me, name, n, names)}
	if r.Header.Get("Depth") != "0" && n.folder {
		for _, child := range s.state.children(me, name) {
			if c, failed := s.state.file(me, child); failed == nil {
				all = append(all, s.describe(base, me, child, c, names))
			}
		}
	}
	writeMultistatus(w, all)
}

func (s *Server) describe(base, me, name string, n node, names []xml.Name) resource {
	href := strings.TrimSuffix(base, "/") + "/" + name
	if n.folder {
		href = strings.TrimSuffix(href, "/") + "/"
	}
	if names == nil {
		names = usual(n)
	}
	res := resource{href: href}
	for _, name := range names {
		value, found := n.property(name, me)
		res.props = append(res.props, prop{name, value, found})
	}
	return res
}

// property gives the value as XML.
func (n node) property(name xml.Name, owner string) (string, bool) {
	switch prefixes[name.Space] + ":" + name.Local {
	case "d:getlastmodified":
		return httpDate(n.modified), true
	case "d:getetag":
		return escape(n.etag()), true
	case "d:resourcetype":
		if n.folder {
			return collection, true
		}
		return "", true
	case "d:getcontentlength":
		return strconv.Itoa(len(n.body)), !n.folder
	case "d:getcontenttype":
		return "text/plain", !n.folder
	case "d:quota-used-bytes":
		return "0", n.folder
	case "d:quota-available-bytes":
		return "-3", n.folder
	case "oc:permissions":
		return n.permissions, true
	case "oc:fileid":
		return strconv.Itoa(n.id), true
	case "oc:owner-id":
		return escape(owner), true
	}
	return "", false
}

func escape(text string) string {
	var out bytes.Buffer
	_ = xml.EscapeText(&out, []byte(text)) // a buffer takes everything
	return out.String()
}

func writeMultistatus(w http.ResponseWriter, all []resource) {
	w.Header().Set("Content-Type", davType)
	w.Header().Set("DAV", davClasses)
	w.WriteHeader(http.StatusMultiStatus)
	_, _ = fmt.Fprint(w, `<?xml version="1.0"?>`+"\n"+
		`<d:multistatus xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns" xmlns:oc="`+nsOC+`" xmlns:nc="`+nsNC+`">`)
	for _, res := range all {
		href := (&url.URL{Path: res.href}).EscapedPath()
		_, _ = fmt.Fprintf(w, "<d:response><d:href>%s</d:href>", escape(href))
		writePropstat(w, res.props, true, "HTTP/1.1 200 OK")
		writePropstat(w, res.props, false, "HTTP/1.1 404 Not Found")
		_, _ = fmt.Fprint(w, "</d:response>")
	}
	_, _ = fmt.Fprint(w, "</d:multistatus>\n")
}

// writePropstat writes the properties that were found, or those that were not; nothing where there are none.
func writePropstat(w io.Writer, props []prop, found bool, status string) {
	var out bytes.Buffer
	for _, p := range props {
		if p.found != found {
			continue
		}
		tag, namespace := prefixes[p.name.Space]+":"+escape(p.name.Local), ""
		if prefixes[p.name.Space] == "" {
			tag, namespace = "x"+tag, ` xmlns:x="`+escape(p.name.Space)+`"`
		}
		_, _ = fmt.Fprintf(&out, "<%s%s>%s</%s>", tag, namespace, p.value, tag)
	}
	if out.Len() > 0 {
		_, _ = fmt.Fprintf(w, "<d:propstat><d:prop>%s</d:prop><d:status>%s</d:status></d:propstat>", out.String(), status)
	}
}
