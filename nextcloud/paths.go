package nextcloud

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// Access is what a user must be able to do with a path.
type Access string

const (
	// Read: list the folder, or download the file.
	Read Access = "Read"
	// Write: create files and folders in the folder, or change the file. It does not include Read.
	Write Access = "Write"
)

// PathCheck asks for one access to one path, a folder or a file, below the user's home: /Notes, and / for the home itself.
type PathCheck struct {
	Path   string
	Access Access
}

const (
	// filesPath is where a user's files begin, each user's below its id.
	filesPath = "remote.php/dav/files"
	// maxPath is what Nextcloud's own database holds of a path.
	maxPath = 4000
	// propfind asks for what tells a folder from a file, and for what the user may do with it.
	propfind = `<?xml version="1.0"?><d:propfind xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns">` +
		`<d:prop><d:resourcetype/><oc:permissions/></d:prop></d:propfind>`
)

// CheckPaths asks what the user whom Check named may do with each path: one PROPFIND of Depth 0 a path, in their order, up
// to the first that is not as asked for. Nothing is written. It takes at most 40 s for all of them, less if ctx ends
// earlier; otherwise it sends as Check does. Accepted, without an Identity, means that the user has every access.
//
// The user must be the one whom the token is: in any other home Nextcloud finds nothing. And Check must have accepted
// the token: WebDAV of user_oidc 8.10.1 asks neither whether the account is enabled nor for a second factor.
func (c Client) CheckPaths(ctx context.Context, bearer sensitive.String, user string, paths []PathCheck, h Hints) Verdict {
	base, err := baseURL(c.URL)
	if err != nil {
		return verdict(Unknown, ReasonInvalid, "%v", err)
	}
	if !fitsHeader(bearer.Reveal()) {
		return verdict(Rejected, ReasonRejected, "the token holds characters that an Authorization header cannot carry")
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()

	q := question{bearer: bearer, hints: h, host: base.Host}
	for _, p := range paths {
		target, err := fileURL(base, user, p)
		if err != nil {
			return verdict(Unknown, ReasonInvalid, "nextcloud.paths, %s: %v", quotePath(p.Path), err)
		}
		a, err := c.propfind(ctx, target, bearer)
		if err != nil {
			return unsent(q, err)
		}
		if v := judgePath(a, q, user, p); v.Outcome != Accepted {
			return v
		}
	}
	return verdict(Accepted, "", "user %s has the access that is asked for to %d paths", quote(user), len(paths))
}

func (c Client) propfind(ctx context.Context, target *url.URL, bearer sensitive.String) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, "PROPFIND", target.String(), strings.NewReader(propfind))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Depth", "0")
	req.Header.Set("Content-Type", "application/xml; charset=utf-8")
	return c.sendAs(req, bearer)
}

// fileURL is where a path of the user's is. Names are escaped one by one, so that none can lead out of the user's home.
func fileURL(base *url.URL, user string, p PathCheck) (*url.URL, error) {
	if p.Access != Read && p.Access != Write {
		return nil, fmt.Errorf("the access is %s or %s", Read, Write)
	}
	if len(p.Path) > maxPath {
		return nil, fmt.Errorf("a path has at most %d bytes", maxPath)
	}
	names := []string{user}
	if path := strings.Trim(p.Path, "/"); path != "" {
		names = append(names, strings.Split(path, "/")...)
	}
	escaped := []string{filesPath}
	for _, name := range names {
		if err := checkName(name); err != nil {
			return nil, err
		}
		escaped = append(escaped, url.PathEscape(name))
	}
	return base.JoinPath(escaped...), nil
}

// checkName refuses what is no name of a file or a user, or would be understood as another.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("a name between two slashes is missing")
	case name == ".", name == "..":
		return errors.New(`"." and ".." are not followed: write the path itself`)
	case !utf8.ValidString(name), strings.ContainsFunc(name, unicode.IsControl):
		return errors.New("a name is printable text in UTF-8")
	case strings.ContainsAny(name, `/\`):
		return errors.New("a name has no slash and no backslash")
	}
	return nil
}

// davDocument is the answer to a PROPFIND, or the error instead. No entity of a document is resolved and no document is
// fetched: encoding/xml knows neither.
type davDocument struct {
	XMLName   xml.Name
	Responses []struct {
		Propstats []struct {
			Status string `xml:"DAV: status"`
			Prop   struct {
				Permissions *string `xml:"http://owncloud.org/ns permissions"`
				Type        struct {
					Collection *struct{} `xml:"DAV: collection"`
				} `xml:"DAV: resourcetype"`
			} `xml:"DAV: prop"`
		} `xml:"DAV: propstat"`
	} `xml:"DAV: response"`
	// Exception is the class of the error on the server, which stands for a code: WebDAV has none of its own.
	Exception string `xml:"http://sabredav.org/ns exception"`
	Message   string `xml:"http://sabredav.org/ns message"`
}

// parseDAV reads an answer. False means that whatever answered does not speak WebDAV.
func parseDAV(a answer) (davDocument, bool) {
	var doc davDocument
	if len(a.body) >= maxBody || xml.Unmarshal(a.body, &doc) != nil {
		return davDocument{}, false
	}
	root := "error"
	if a.status == http.StatusMultiStatus {
		root = "multistatus"
	}
	return doc, doc.XMLName == xml.Name{Space: "DAV:", Local: root}
}

// resource is what an answer says about the path.
type resource struct {
	folder bool
	// permissions are the letters of oc:permissions; found is false where the path has none.
	permissions string
	found       bool
}

// resource reads the first response: with Depth 0 there is no other, and where a proxy drops that header the path itself
// comes first.
func (d davDocument) resource() resource {
	var r resource
	if len(d.Responses) == 0 {
		return r
	}
	for _, s := range d.Responses[0].Propstats {
		if status := strings.Fields(s.Status); len(status) < 2 || status[1] != "200" {
			continue
		}
		r.folder = r.folder || s.Prop.Type.Collection != nil
		if p := s.Prop.Permissions; p != nil && len(*p) <= maxName && !strings.ContainsFunc(*p, notLetter) {
			r.permissions, r.found = *p, true
		}
	}
	return r
}

// notLetter: a permission is one of A to Z. What has others is something else, and is not shown either.
func notLetter(r rune) bool { return r < 'A' || r > 'Z' }

// lacks lists the letters that the access needs and the path does not have. OCP\Files\DavUtil of Nextcloud writes them:
// G the content may be read; C and K files and folders may be created in the folder; W the file may be changed.
func (r resource) lacks(a Access) []string {
	need := []string{"G"}
	switch {
	case a == Write && r.folder:
		need = []string{"C", "K"}
	case a == Write:
		need = []string{"W"}
	}
	return slices.DeleteFunc(need, func(letter string) bool { return strings.Contains(r.permissions, letter) })
}
