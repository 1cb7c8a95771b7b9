package nextcloud

import (
	"strings"
	"testing"

	"github.com/tokengrant/tokengrant/nextcloud/internal/recording"
)

// recordedAppPasswords says what becomes of every recorded answer to the three requests, by the recordings' numbers.
var recordedAppPasswords = []struct {
	why, reason, numbers string
}{
	{"done", "", `022 233 240 264 265 270 274 277 279 724`},
	{"403: not the kind of secret for it", ReasonForbidden, `113 114 115 234 235 263 278 323 324 325`},
	{"401 to a login", ReasonCredential, `133 153 173 353`},
	{"401 to an app password", ReasonRejected, `134 135 154 155 174 175 354 355`},
	// These were recorded at cloud/user: Nextcloud answers so before it looks which endpoint is asked.
	{"401 to a wrong password, to a disabled account", ReasonCredential, `501 511 360`},
	{"429", ReasonThrottled, `512 521`},
	{"maintenance mode, upgrade pending", ReasonMaintenance, `601 612`},
	{"PHP is down", ReasonUnreachable, `615`},
	{"the host is not in trusted_domains", ReasonInvalid, `197`},
}

func TestEveryRecordedAppPasswordIsJudged(t *testing.T) {
	wanted := map[string]string{}
	for _, row := range recordedAppPasswords {
		for number := range strings.FieldsSeq(row.numbers) {
			wanted[number] = row.reason
		}
	}
	operation := map[string]string{"GET /" + logInPath: "LogIn", "POST /" + rotatePath: "Rotate", "DELETE /" + deletePath: "Delete"}
	recordings, err := recording.Load("testdata/recordings.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range recordings {
		path, _, _ := strings.Cut(rec.Path, "?")
		want, ok := wanted[rec.Number()]
		do := operations[operation[rec.Method+" "+path]]
		if do == nil && !ok {
			continue
		}
		if do == nil {
			do = operations["LogIn"]
		}
		delete(wanted, rec.Number())
		t.Run(rec.Name, func(t *testing.T) {
			_, err := do(t, Client{URL: replay(t, rec).URL})
			got := ""
			if err != nil {
				got = soundError(t, err).Reason
			}
			if !ok || got != want {
				t.Errorf("%s\ngot  %q: %v\nwant %q", rec.Case, got, err, want)
			}
		})
	}
	for number := range wanted {
		t.Errorf("no recording of an app password has the number %s", number)
	}
}
