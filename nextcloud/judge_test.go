package nextcloud

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

func TestTheCausesOfA401AreOrderedByWhatIsKnown(t *testing.T) {
	base := Hints{Username: "alice", Issuer: "https://id.example.test/realms/cloud", Audience: []string{"nextcloud", "account"}}
	tests := map[string]struct {
		newKey, before, challenge bool
		first, also               string
	}{
		"a new key, the identity was accepted before: rotation":   {true, true, false, "Nextcloud cannot reach", "occ user_oidc:provider NAME --check-bearer=1; if that does not help"},
		"a known key, the identity was accepted before: the user": {false, true, false, `user "alice" is disabled`, "cannot reach"},
		"nothing was accepted before: the set-up":                 {true, false, false, "bearer tokens are off", `aud "nextcloud", "account"`},
		"others were accepted with this key: this identity":       {false, false, false, `user "alice" does not exist`, "aud"},
		"Nextcloud challenges: it knows the user":                 {true, true, true, `user "alice" is disabled`, "does not exist"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := base
			h.NewKey, h.AcceptedBefore = tt.newKey, tt.before
			header := http.Header{}
			if tt.challenge {
				header.Set("WWW-Authenticate", `Basic realm="Authorisation Required"`)
			}
			v := judge(answer{http.StatusUnauthorized, header, []byte(notLoggedIn)}, question{bearer: sensitive.New(token), hints: h})
			if !strings.Contains(v.Message, "1) "+tt.first) || !strings.Contains(v.Message, tt.also) || !strings.Contains(v.Message, "occ ") {
				t.Errorf("message: %s", v.Message)
			}
			if stale := tt.newKey && tt.before && !tt.challenge; v.StaleKeys != stale || strings.Contains(v.Message, "signed by a new key: it caches the issuer's keys for up to 1 h") != stale {
				t.Errorf("StaleKeys = %v: %s", v.StaleKeys, v.Message)
			}
			sound(t, v)
		})
	}
}

func TestLongNamesLeaveRoomForTheCure(t *testing.T) {
	long := strings.Repeat("ä\x00\"", 500)
	h := Hints{Username: long, Issuer: long, Audience: []string{long, long, long, long}}
	for _, code := range []string{"200", "401", "997"} {
		body := `{"ocs":{"meta":{"statuscode":` + code + `,"message":"` + strings.Repeat("ü ", 4000) + `"},"data":{"id":"` + strings.Repeat("é", 255) + `","groups":["g"]}}}`
		v := judge(answer{http.StatusOK, http.Header{}, []byte(body)}, question{hints: h, expect: Expect{User: long}})
		sound(t, v)
		if !strings.Contains(v.Message, "occ ") {
			t.Errorf("no cure in: %s", v.Message)
		}
	}
}

func FuzzJudge(f *testing.F) {
	for _, r := range recordedAnswers(f, "/"+userPath) {
		f.Add(r.Status, r.Header["Content-Type"], r.Header["Retry-After"], r.Body)
	}
	f.Add(200, "application/json", "", aliceBody)
	f.Add(401, "application/json", "", notLoggedIn)
	f.Add(200, "text/html", "9", "<html>"+token)
	f.Add(200, "", "", `{"ocs":{"meta":{"statuscode":100},"data":{"id":"x","groups":{"0":1}}}}`)
	f.Add(503, "application/json", "-1", `{"ocs":{"meta":{"statuscode":503,"message":"`+token+`"}}}`)
	f.Fuzz(func(t *testing.T, status int, contentType, retryAfter, body string) {
		a := answer{status, http.Header{"Content-Type": {contentType}, "Retry-After": {retryAfter}, "Location": {body}}, []byte(body)}
		e := Expect{User: "alice", NotInGroups: []string{"admin"}}
		v := judge(a, question{bearer: sensitive.New(token), expect: e, host: "cloud.example.test"})
		sound(t, v)
		if v.Outcome == Accepted && (v.Identity.User != "alice" || status != http.StatusOK || !v.Identity.Enabled) {
			t.Errorf("accepted %d %+v", status, v.Identity)
		}
		if i := v.Identity; i != nil && (tooLong(i.User) || tooLong(i.DisplayName) || slices.ContainsFunc(i.Groups, tooLong)) {
			t.Errorf("too long for a status: %+v", i)
		}
	})
}
