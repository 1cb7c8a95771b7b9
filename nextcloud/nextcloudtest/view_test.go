package nextcloudtest

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tokengrant/tokengrant/nextcloud/internal/recording"
)

// view is the part of an answer that this project reads, and that therefore must be as recorded.
type view struct {
	Status  int
	Headers map[string]string
	OCS     string   // status, code and message of an OCS answer
	Data    []string // what was read from the body
}

func viewOf(t *testing.T, rec recording.Recording, status int, header http.Header, body string) view {
	t.Helper()
	v := view{Status: status, Headers: map[string]string{}}
	for _, name := range []string{"Content-Type", "WWW-Authenticate", "X-Nextcloud-Maintenance-Mode", "Retry-After", "Content-Disposition"} {
		v.Headers[name] = header.Get(name)
	}
	if strings.HasPrefix(rec.Path, "/remote.php/") {
		for _, name := range []string{"ETag", "OC-ETag", "OC-FileId"} {
			v.Headers[name] = fmt.Sprint(header.Get(name) != "")
		}
	}
	kind := header.Get("Content-Type")
	switch {
	case body == "", strings.HasPrefix(kind, "text/html"):
	case strings.HasPrefix(rec.Path, "/ocs/") && strings.Contains(kind, "json"):
		v.OCS, v.Data = jsonOCS(t, body)
	case strings.HasPrefix(rec.Path, "/ocs/"):
		v.OCS, v.Data = xmlOCS(t, body)
	case strings.Contains(kind, "json"):
		v.Data = compact(t, body)
	case strings.Contains(kind, "xml"):
		v.Data = readDAV(t, body)
	default:
		v.Data = []string{body}
	}
	return v
}

func compact(t *testing.T, body string) []string {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(body), &value); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	out, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return []string{string(out)}
}

type meta struct {
	Status       string  `json:"status" xml:"status"`
	StatusCode   int     `json:"statuscode" xml:"statuscode"`
	Message      string  `json:"message" xml:"message"`
	TotalItems   *string `json:"totalitems" xml:"totalitems"`
	ItemsPerPage *string `json:"itemsperpage" xml:"itemsperpage"`
}

func (m meta) String() string {
	return fmt.Sprintf("%s %d %q v1=%t", m.Status, m.StatusCode, m.Message, m.TotalItems != nil && m.ItemsPerPage != nil)
}

// account is what is read of cloud/user, and of cloud/users/{id}.
type account struct {
	ID          string   `json:"id" xml:"id"`
	DisplayName string   `json:"displayname" xml:"displayname"`
	Email       string   `json:"email" xml:"email"`
	Backend     string   `json:"backend" xml:"backend"`
	Groups      []string `json:"groups" xml:"groups>element"`
}

func (a account) lines(enabled string) []string {
	return []string{
		"id " + a.ID, "name " + a.DisplayName, "mail " + a.Email, "backend " + a.Backend, "enabled " + enabled,
		"groups " + strings.Join(a.Groups, ","),
	}
}

func xmlOCS(t *testing.T, body string) (string, []string) {
	t.Helper()
	var doc struct {
		Meta meta `xml:"meta"`
		Data struct {
			account
			Enabled string `xml:"enabled"`
		} `xml:"data"`
	}
	if err := xml.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return doc.Meta.String(), doc.Data.lines(fmt.Sprint(doc.Data.Enabled == "1"))
}

func jsonOCS(t *testing.T, body string) (string, []string) {
	t.Helper()
	var doc struct {
		OCS struct {
			Meta *meta           `json:"meta"`
			Data json.RawMessage `json:"data"`
		} `json:"ocs"`
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if doc.OCS.Meta == nil { // the CSRF check answers before OCS does
		return "", compact(t, body)
	}
	var data struct {
		account
		Enabled     bool     `json:"enabled"`
		Users       []string `json:"users"`
		AppPassword string   `json:"apppassword"`
		Version     struct {
			String string `json:"string"`
		} `json:"version"`
		Capabilities map[string]json.RawMessage `json:"capabilities"`
	}
	switch raw := strings.TrimSpace(string(doc.OCS.Data)); {
	case raw == "[]":
		return doc.OCS.Meta.String(), nil
	case json.Unmarshal([]byte(raw), &data) != nil:
		t.Fatalf("unreadable data in %s", body)
	}
	lines := data.lines(fmt.Sprint(data.Enabled))
	lines = append(lines, "users "+strings.Join(data.Users, ","), "version "+data.Version.String)
	if data.AppPassword != "" {
		lines = append(lines, "an app password")
	}
	if data.Capabilities != nil {
		_, core := data.Capabilities["core"]
		lines = append(lines, fmt.Sprintf("logged in %t", core), "bruteforce "+compact(t, string(data.Capabilities["bruteforce"]))[0])
	}
	return doc.OCS.Meta.String(), lines
}

// appPasswordIn returns the app password of an OCS answer.
func appPasswordIn(body string) string {
	var doc struct {
		OCS struct {
			Data struct {
				AppPassword string `json:"apppassword"`
			} `json:"data"`
		} `json:"ocs"`
	}
	_ = json.Unmarshal([]byte(body), &doc) // most answers have none, and other data
	return doc.OCS.Data.AppPassword
}

// readDAV reads an error, or a multistatus: each href with the names of its properties.
func readDAV(t *testing.T, body string) []string {
	t.Helper()
	var doc struct {
		XMLName   xml.Name
		Exception string `xml:"exception"`
		Message   string `xml:"message"`
		Responses []struct {
			Href     string `xml:"href"`
			Propstat []struct {
				Status string `xml:"status"`
				Prop   struct {
					Names []struct {
						XMLName xml.Name
						Inner   string `xml:",innerxml"`
					} `xml:",any"`
				} `xml:"prop"`
			} `xml:"propstat"`
		} `xml:"response"`
	}
	if err := xml.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	lines := []string{doc.XMLName.Local, doc.Exception, doc.Message}
	for _, r := range doc.Responses {
		for _, p := range r.Propstat {
			names := []string{}
			for _, n := range p.Prop.Names {
				name := n.XMLName.Space + " " + n.XMLName.Local
				if strings.Contains(n.Inner, "<") {
					name += " " + n.Inner
				}
				names = append(names, name)
			}
			slices.Sort(names)
			lines = append(lines, r.Href+" "+p.Status+" "+strings.Join(names, ", "))
		}
	}
	return lines
}
