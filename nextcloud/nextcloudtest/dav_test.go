package nextcloudtest

import (
	"net/http"
	"strings"
	"testing"
)

func TestFilesLiveInTheHomeOfTheirOwner(t *testing.T) {
	s := cloud(t)
	if err := s.server.AddFolder("alice", "/Shared", "SG"); err != nil {
		t.Fatal(err)
	}
	me := basicAuth("alice", password)
	const home = "/remote.php/dav/files/alice"
	tests := []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"MKCOL", home + "/Notes", "", 201, ""},
		{"MKCOL", home + "/Notes", "", 405, "already exists"},
		{"MKCOL", home + "/No/where", "", 409, "Parent node"},
		{"PUT", home + "/Notes/a&b.txt", "one", 201, ""},
		{"PUT", home + "/Notes/a&b.txt", "two", 204, ""},
		{"GET", home + "/Notes/a&b.txt", "", 200, "two"},
		{"GET", "/remote.php/webdav/Notes/a&b.txt", "", 200, "two"},
		{"PUT", home + "/Notes/big.txt", strings.Repeat("x", maxBody+1), 413, "1 MiB"},
		{"PUT", home + "/Notes", "", 405, "already exists"},
		{"PUT", home + "/Shared/a.txt", "", 403, "Permission denied"},
		{"MKCOL", home + "/Shared/sub", "", 403, "Permission denied"},
		{"DELETE", home + "/Shared", "", 403, "Permission denied"},
		{"DELETE", home + "/", "", 403, "Permission denied"},
		{"GET", home + "/../bob/x", "", 404, "bob"},
		{"DELETE", home + "/Notes", "", 204, ""},
		{"GET", home + "/Notes/a&b.txt", "", 404, "could not be located"},
		{"DELETE", home + "/Notes", "", 404, "could not be located"},
		{"LOCK", home + "/", "", 405, "not part of the stand-in"},
		{"GET", "/remote.php/dav/calendars/alice/", "", 404, "could not be located"},
	}
	for _, tt := range tests {
		res, body := s.request(tt.method, tt.path, me, tt.body)
		if res.StatusCode != tt.status || !strings.Contains(body, tt.says) {
			t.Errorf("%s %s: got %d %s, want %d …%s…", tt.method, tt.path, res.StatusCode, body, tt.status, tt.says)
		}
	}
}

func TestPropfindTellsPermissions(t *testing.T) {
	s := cloud(t)
	if err := s.server.AddFolder("alice", "Shared", "SG"); err != nil {
		t.Fatal(err)
	}
	me := basicAuth("alice", password)
	s.request("PUT", "/remote.php/dav/files/alice/a.txt", me, "one")
	const ask = `<d:propfind xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns" xmlns:y="urn:y"><d:prop><oc:permissions/><y:z/></d:prop></d:propfind>`
	row := func(href, permissions string) string {
		return "<d:response><d:href>" + href + "</d:href><d:propstat><d:prop><oc:permissions>" + permissions +
			"</oc:permissions></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat><d:propstat><d:prop>" +
			`<x:z xmlns:x="urn:y"></x:z></d:prop><d:status>HTTP/1.1 404 Not Found</d:status></d:propstat></d:response>`
	}
	home := row("/remote.php/dav/files/alice/", "RGDNVCK")
	shared := row("/remote.php/dav/files/alice/Shared/", "SG")
	file := row("/remote.php/dav/files/alice/a.txt", "RGDNVW")
	for _, tt := range []struct{ path, depth, want string }{
		{"/", "0", home},
		{"/", "1", home + shared + file},
		{"/Shared", "0", shared},
		{"/Shared/", "1", shared},
		{"/a.txt", "1", file},
	} {
		res, body := s.request("PROPFIND", "/remote.php/dav/files/alice"+tt.path, me, ask, "Depth: "+tt.depth)
		if res.StatusCode != http.StatusMultiStatus || !strings.Contains(body, `xmlns:nc="http://nextcloud.org/ns">`+tt.want+"</d:multistatus>") {
			t.Errorf("%s, depth %s: %d %s", tt.path, tt.depth, res.StatusCode, body)
		}
	}
}
