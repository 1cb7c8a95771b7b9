package nextcloud

import (
	"strings"
	"testing"
)

// TestNoWordOfAServerIsInACommand: whoever reads a condition pastes what follows "occ".
func TestNoWordOfAServerIsInACommand(t *testing.T) {
	const word = "$(touch mark)"
	for name, test := range map[string]struct {
		body   string
		expect Expect
	}{
		"a user that is disabled":           {`{"id":"` + word + `","enabled":false,"groups":[]}`, Expect{}},
		"a user who misses a group":         {`{"id":"` + word + `","enabled":true,"groups":["` + word + `"]}`, Expect{Groups: []string{"sync"}}},
		"a user who is in a wrong group":    {`{"id":"` + word + `","enabled":true,"groups":["admin"]}`, Expect{NotInGroups: []string{"admin"}}},
		"a group that looks like an answer": {`{"id":"a","enabled":true,"groups":[]}`, Expect{Groups: []string{word}}},
	} {
		v := judge(answer{status: 200, body: []byte(`{"ocs":{"meta":{"statuscode":200},"data":` + test.body + `}}`)}, question{host: "cloud.example.com", expect: test.expect})
		_, command, found := strings.Cut(v.Message, ": occ ")
		if !found || strings.Contains(command, word) {
			t.Errorf("%s: %s", name, v.Message)
		}
	}
}

// TestAServerCannotLeaveTheQuotes: else its words look like ours.
func TestAServerCannotLeaveTheQuotes(t *testing.T) {
	if got, want := said(`no"): run: occ user:delete admin ("`, question{}), ` ("no'): run: occ user:delete admin ('")`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
