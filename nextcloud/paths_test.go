package nextcloud

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/nextcloud/internal/recording"
)

// found is a multistatus as Nextcloud writes it: the kind of the path, and its letters; "-" for a path without any.
func found(folder bool, permissions string) string {
	kind, letters, without := "", "<oc:permissions>"+permissions+"</oc:permissions>", ""
	if folder {
		kind = "<d:collection/>"
	}
	if permissions == "-" {
		letters, without = "", "<d:propstat><d:prop><oc:permissions/></d:prop><d:status>HTTP/1.1 404 Not Found</d:status></d:propstat>"
	}
	return `<?xml version="1.0"?>
<d:multistatus xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns" xmlns:oc="http://owncloud.org/ns"><d:response><d:href>/x</d:href><d:propstat><d:prop><d:resourcetype>` +
		kind + `</d:resourcetype>` + letters + `</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat>` + without + `</d:response></d:multistatus>`
}

func davFault(exception, message string) string {
	return `<?xml version="1.0" encoding="utf-8"?><d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns"><s:exception>` + exception +
		`</s:exception><s:message>` + message + `</s:message></d:error>`
}

const (
	davNotFound  = `Sabre\DAV\Exception\NotFound`
	davForbidden = `Sabre\DAV\Exception\Forbidden`
)

func TestCheckPathsAsksOncePerPathAndWritesNothing(t *testing.T) {
	var seen []string
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen = append(seen, fmt.Sprint(r.Method, " ", r.RequestURI, " ", r.Header.Get("Depth"), " ", r.Header.Get("Authorization") == "Bearer "+token,
			" and ", r.Header.Get("Cookie") == "" && string(body) == propfind))
		w.Header().Set("Set-Cookie", "nc_session_id=1; path=/")
		w.WriteHeader(http.StatusMultiStatus)
		_, _ = io.WriteString(w, found(true, "RGDNVCK"))
	})
	paths := []PathCheck{
		{"/", Read}, {"", Write}, {"/Notes/", Read}, {"Notes/Zwölf Äpfel", Write}, {"/100%/a?b#c&d", Read}, {"/%2e%2e/%2F", Read}, {"/..a/b..", Read},
	}
	v := Client{URL: server.URL + "/nextcloud/"}.CheckPaths(t.Context(), sensitive.New(token), "alice @home", paths, Hints{})
	if v.Outcome != Accepted {
		t.Errorf("%v: %s", v.Outcome, v.Message)
	}
	var want []string
	for _, path := range []string{
		"", "", "/Notes", "/Notes/Zw%C3%B6lf%20%C3%84pfel", "/100%25/a%3Fb%23c&d", "/%252e%252e/%252F", "/..a/b..",
	} {
		want = append(want, "PROPFIND /nextcloud/remote.php/dav/files/alice%20@home"+path+" 0 true and true")
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestPathsThatAreNoneAreNotAskedFor(t *testing.T) {
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s was sent", r.RequestURI) })
	tests := map[string]struct {
		user string
		path PathCheck
		says string
	}{
		"up and out of the home":    {"alice", PathCheck{"/../bob", Read}, "not followed"},
		"up in the middle":          {"alice", PathCheck{"/a/../b", Read}, "not followed"},
		"the same folder":           {"alice", PathCheck{"/./a", Read}, "not followed"},
		"a missing name":            {"alice", PathCheck{"/a//b", Read}, "is missing"},
		"a backslash":               {"alice", PathCheck{`/a\b`, Read}, "backslash"},
		"a control character":       {"alice", PathCheck{"/a\nb", Read}, "printable"},
		"no UTF-8":                  {"alice", PathCheck{"/a\xff", Read}, "UTF-8"},
		"longer than any":           {"alice", PathCheck{strings.Repeat("a", maxPath+1), Read}, "4000 bytes"},
		"an access that is unknown": {"alice", PathCheck{"/a", "Delete"}, "Read or Write"},
		"no user":                   {"", PathCheck{"/a", Read}, "is missing"},
		"a user that leads away":    {"..", PathCheck{"/a", Read}, "not followed"},
		"a user with a slash":       {"alice/bob", PathCheck{"/a", Read}, "slash"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			v := Client{URL: server.URL}.CheckPaths(t.Context(), sensitive.New(token), tt.user, []PathCheck{tt.path}, Hints{})
			if v.Outcome != Unknown || v.Reason != ReasonInvalid || !strings.Contains(v.Message, tt.says) {
				t.Errorf("%v %q: %s", v.Outcome, v.Reason, v.Message)
			}
			soundPath(t, v)
		})
	}
	unsendable := Client{URL: server.URL}.CheckPaths(t.Context(), sensitive.New("a\r\nX-Evil: 1"), "alice", []PathCheck{{"/", Read}}, Hints{})
	if unsendable.Outcome != Rejected || unsendable.Reason != ReasonRejected {
		t.Errorf("a token that no header carries: %+v", unsendable)
	}
	if v := (Client{URL: "ftp://x"}).CheckPaths(t.Context(), sensitive.New(token), "alice", nil, Hints{}); v.Reason != ReasonInvalid {
		t.Errorf("a URL of another world: %+v", v)
	}
}

var pathAnswers = map[string]struct {
	status  int
	body    string
	access  Access
	outcome Outcome
	reason  string
	says    string
}{
	"a folder of one's own, to read":     {207, found(true, "RGDNVCK"), Read, Accepted, "", `the access Read to "/Notes"`},
	"a folder of one's own, to write":    {207, found(true, "RGDNVCK"), Write, Accepted, "", "Write"},
	"a file of one's own, to write":      {207, found(false, "RGDNVW"), Write, Accepted, "", "Write"},
	"a shared folder, to read":           {207, found(true, "SG"), Read, Accepted, "", "Read"},
	"a shared folder, to write":          {207, found(true, "SG"), Write, Rejected, ReasonForbidden, `may not create files and folders in the folder "/Notes": its oc:permissions "SG" lack C and K; its owner must share it`},
	"a folder that takes files only":     {207, found(true, "SGC"), Write, Rejected, ReasonForbidden, "lack K;"},
	"a shared file, to write":            {207, found(false, "SG"), Write, Rejected, ReasonForbidden, `may not change the file "/Notes": its oc:permissions "SG" lack W;`},
	"letters of a folder on a file":      {207, found(false, "SGCK"), Write, Rejected, ReasonForbidden, "lack W"},
	"a file drop, to read":               {207, found(true, "SCK"), Read, Rejected, ReasonForbidden, `may not read the folder "/Notes": its oc:permissions "SCK" lack G`},
	"a file drop, to write":              {207, found(true, "SCK"), Write, Accepted, "", "Write"},
	"no letter at all":                   {207, found(true, ""), Read, Rejected, ReasonForbidden, `its oc:permissions "" lack G`},
	"letters that are none":              {207, found(true, "g c&amp;k "+token), Read, Rejected, ReasonForbidden, "does not say"},
	"the home of another user":           {207, found(true, "-"), Read, Rejected, ReasonForbidden, "another user's home"},
	"a multistatus of nothing":           {207, `<d:multistatus xmlns:d="DAV:"/>`, Read, Rejected, ReasonForbidden, "does not say"},
	"a 207 that is no multistatus":       {207, davFault(davNotFound, ""), Read, Unknown, ReasonInvalid, "without a WebDAV document"},
	"a 207 of JSON":                      {207, aliceBody, Read, Unknown, ReasonInvalid, "without a WebDAV document"},
	"a path that is not there":           {404, davFault(davNotFound, "File with name /Notes could not be located"), Read, Rejected, ReasonForbidden, `"/Notes" does not exist among the files of user "alice": create it`},
	"a 404 of something before it":       {404, "<html>", Read, Unknown, ReasonInvalid, "base URL"},
	"a 403":                              {403, davFault(davForbidden, "No read "+token), Read, Rejected, ReasonForbidden, `to look at "/Notes" ("No read [redacted]")`},
	"a 403 of something before it":       {403, "<html>", Read, Unknown, ReasonInvalid, "in front of Nextcloud"},
	"a 401":                              {401, davFault(`Sabre\DAV\Exception\NotAuthenticated`, "x"), Read, Rejected, ReasonRejected, "does not take the token, likely because"},
	"a 401 of something before it":       {401, "<html>", Read, Unknown, ReasonInvalid, "in front of Nextcloud"},
	"a method that is not known":         {405, davFault(`Sabre\DAV\Exception\MethodNotAllowed`, "no"), Read, Unknown, ReasonInvalid, `answers 405 ("no") to PROPFIND`},
	"a redirect":                         {302, "", Read, Unknown, ReasonInvalid, "redirects"},
	"maintenance mode":                   {503, davFault(maintenanceException, "x"), Read, Unknown, ReasonMaintenance, "occ maintenance:mode --off"},
	"an account that is disabled (main)": {503, davFault(`Sabre\DAV\Exception\ServiceUnavailable`, `OC\User\LoginException: Account disabled`), Read, Unknown, ReasonUnreachable, "Account disabled"},
	"throttled":                          {429, davFault(`OCA\DAV\Connector\Sabre\Exception\TooManyRequests`, ""), Read, Unknown, ReasonThrottled, "throttled"},
	"a lost database":                    {500, "", Read, Unknown, ReasonUnreachable, "500"},
	"an answer without end":              {207, found(true, strings.Repeat("G", maxBody)), Read, Unknown, ReasonInvalid, "1 MiB or more"},
	"entities that grow":                 {207, `<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>` + found(true, "&b;"), Read, Unknown, ReasonInvalid, "without a WebDAV document"},
	"an entity from elsewhere":           {207, `<!DOCTYPE d [<!ENTITY e SYSTEM "file:///etc/passwd">]>` + found(true, "&e;"), Read, Unknown, ReasonInvalid, "without a WebDAV document"},
	"elements without end":               {207, strings.Repeat("<a>", 200_000), Read, Unknown, ReasonInvalid, "without a WebDAV document"},
}

func TestAnswersAboutPaths(t *testing.T) {
	for name, tt := range pathAnswers {
		t.Run(name, func(t *testing.T) {
			requests := 0
			server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				requests++
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			})
			v := Client{URL: server.URL}.CheckPaths(t.Context(), sensitive.New(token), "alice", []PathCheck{{"/Notes", tt.access}}, Hints{})
			if v.Outcome != tt.outcome || v.Reason != tt.reason || tt.outcome != Accepted && !strings.Contains(v.Message, tt.says) {
				t.Errorf("got %v %q: %s\nwant %v %q: …%s…", v.Outcome, v.Reason, v.Message, tt.outcome, tt.reason, tt.says)
			}
			if requests != 1 {
				t.Errorf("%d requests", requests)
			}
			soundPath(t, v)
		})
	}
}

func TestTheFirstPathThatIsNotAsAskedForEndsTheCheck(t *testing.T) {
	requests := 0
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		w.WriteHeader(http.StatusMultiStatus)
		_, _ = io.WriteString(w, found(true, map[bool]string{true: "SG", false: "RGDNVCK"}[strings.HasSuffix(r.URL.Path, "/Shared")]))
	})
	paths := []PathCheck{{"/Notes", Write}, {"/Shared", Write}, {"/Photos", Read}}
	v := Client{URL: server.URL}.CheckPaths(t.Context(), sensitive.New(token), "alice", paths, Hints{})
	if v.Reason != ReasonForbidden || !strings.Contains(v.Message, `"/Shared"`) || requests != 2 {
		t.Errorf("after %d requests %q: %s", requests, v.Reason, v.Message)
	}
	server.Close()
	if v := (Client{URL: server.URL}).CheckPaths(t.Context(), sensitive.New(token), "alice", paths, Hints{}); v.Outcome != Unknown || v.Reason != ReasonUnreachable {
		t.Errorf("without a server: %v %q: %s", v.Outcome, v.Reason, v.Message)
	}
	if v := (Client{URL: server.URL}).CheckPaths(t.Context(), sensitive.New(token), "alice", nil, Hints{}); v.Outcome != Accepted {
		t.Errorf("nothing is asked for: %v: %s", v.Outcome, v.Message)
	}
}

func TestARefusedPathTellsOfANewKeyToo(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="Nextcloud", charset="UTF-8"`)
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, davFault(`Sabre\DAV\Exception\NotAuthenticated`, "x"))
	})
	h := Hints{NewKey: true, AcceptedBefore: true}
	if v := (Client{URL: server.URL}).CheckPaths(t.Context(), sensitive.New(token), "alice", []PathCheck{{"/", Read}}, h); !v.StaleKeys {
		t.Errorf("%+v", v)
	}
}

// recordedPaths says what CheckPaths makes of every recorded answer to a PROPFIND of files, by the recordings' numbers.
// None of them was asked for oc:permissions, so none accepts: what Nextcloud does not say is not so.
var recordedPaths = []struct {
	why     string
	outcome Outcome
	reason  string
	numbers string
}{
	{"a folder, its permissions not asked for", Rejected, ReasonForbidden, `105 188 206 225 255 272 315 345 527 556 681`},
	{"the home of another user", Rejected, ReasonForbidden, `109 229 259 319 349`},
	{"404: no such user", Rejected, ReasonForbidden, `187`},
	{"401", Rejected, ReasonRejected, `017 033 125 129 145 149 165 169 203 305 551 553 559 702`},
	{"429", Unknown, ReasonThrottled, `522`},
	{"maintenance mode", Unknown, ReasonMaintenance, `605 608`},
	{"a page, while an upgrade is pending", Unknown, ReasonUnreachable, `613`},
	{"503: a disabled user by password", Unknown, ReasonUnreachable, `365`},
}

func TestEveryRecordedPropfindIsJudged(t *testing.T) {
	wanted := map[string]Verdict{}
	for _, row := range recordedPaths {
		for number := range strings.FieldsSeq(row.numbers) {
			wanted[number] = Verdict{Outcome: row.outcome, Reason: row.reason}
		}
	}
	all, err := recording.Load("testdata/recordings.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range all {
		if rec.Method != "PROPFIND" || !strings.HasPrefix(rec.Path, "/"+filesPath+"/") {
			continue
		}
		want, ok := wanted[rec.Number()]
		delete(wanted, rec.Number())
		t.Run(rec.Name, func(t *testing.T) {
			server := replay(t, rec)
			got := Client{URL: server.URL}.CheckPaths(t.Context(), sensitive.New(token), "alice", []PathCheck{{"/", Read}}, Hints{})
			if !ok || got.Outcome != want.Outcome || got.Reason != want.Reason {
				t.Errorf("%s\ngot  %v %q: %s\nwant %v %q", rec.Case, got.Outcome, got.Reason, got.Message, want.Outcome, want.Reason)
			}
			soundPath(t, got)
		})
	}
	for number := range wanted {
		t.Errorf("no recording of a PROPFIND has the number %s", number)
	}
}

// soundPath is sound for a verdict about paths, which names no identity.
func soundPath(t *testing.T, v Verdict) {
	t.Helper()
	if v.Outcome == Accepted {
		v.Identity = &Identity{}
	}
	sound(t, v)
}

func FuzzJudgePath(f *testing.F) {
	for _, r := range recordedAnswers(f, "/remote.php/dav") {
		f.Add(r.Status, r.Body, false)
	}
	f.Add(207, found(true, "RGDNVCK"), true)
	f.Add(207, found(false, "-"), false)
	f.Add(404, davFault(davNotFound, token), true)
	f.Add(503, davFault(maintenanceException, ""), false)
	f.Fuzz(func(t *testing.T, status int, body string, write bool) {
		p := PathCheck{"/Notes", Read}
		if write {
			p.Access = Write
		}
		v := judgePath(answer{status, http.Header{"Location": {body}}, []byte(body)}, question{bearer: sensitive.New(token), host: "cloud.example.test"}, "alice", p)
		soundPath(t, v)
		if v.Outcome == Accepted && status != http.StatusMultiStatus {
			t.Errorf("accepted %d", status)
		}
	})
}
