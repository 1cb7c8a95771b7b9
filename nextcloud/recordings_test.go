package nextcloud

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/nextcloud/internal/recording"
)

// recorded says what Check makes of every recorded answer to cloud/user, by the recordings' numbers.
var recorded = []struct {
	why     string
	outcome Outcome
	reason  string
	numbers string
}{
	{
		"a user, and no rule against it", Accepted, "",
		`020 040 041 100 101 184 204 205 207 208 209 220 250 267 271 275 276 282 369 524 525 540 554 555 557 560 561 562 563
		 564 565 566 567 569 570 610 614 617 650 651 652 653 661 662 665 670 672 673 674 680 682 700 703 705 706 707 709 711
		 748 749 786 787 900`,
	},
	{"a user in the group admin, which the check forbids", Rejected, ReasonForbidden, `310 311 734 736 747`},
	{
		"the uniform 401", Rejected, ReasonRejected,
		`012 013 030 031 032 034 120 121 140 141 160 161 180 181 182 183 186 200 202 281 300 301 340 341 526 550 552 558 568
		 571 654 660 663 664 666 671 683 701 704 708 710 731 735 785`,
	},
	{"401 with a challenge", Rejected, ReasonRejected, `273 280 283 360 361 501 502 503 504 505 506 507 508 509 510 511`},
	{"429", Unknown, ReasonThrottled, `512 521 523`},
	{"maintenance mode, upgrade pending", Unknown, ReasonMaintenance, `601 603 609 612`},
	{"PHP is down", Unknown, ReasonUnreachable, `615`},
	{"the host is not in trusted_domains", Unknown, ReasonInvalid, `197`},
	{"412: the request lost its headers", Unknown, ReasonInvalid, `021 185 221 251`},
	{"XML: the request lost its query", Unknown, ReasonInvalid, `014 103 123 143 163 223 253 303 313 343 363`},
}

func TestEveryRecordedAnswerIsJudged(t *testing.T) {
	type want struct {
		outcome Outcome
		reason  string
	}
	wanted := map[string]want{}
	for _, row := range recorded {
		for number := range strings.FieldsSeq(row.numbers) {
			if _, twice := wanted[number]; twice {
				t.Errorf("recording %s has two expectations", number)
			}
			wanted[number] = want{row.outcome, row.reason}
		}
	}
	all, err := recording.Load("testdata/recordings.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range all {
		path, _, _ := strings.Cut(rec.Path, "?")
		if path != "/ocs/v2.php/cloud/user" {
			continue
		}
		w, ok := wanted[rec.Number()]
		if !ok {
			t.Errorf("%s has no expectation", rec.Name)
		}
		delete(wanted, rec.Number())
		t.Run(rec.Name, func(t *testing.T) {
			server := replay(t, rec)
			got := Client{URL: server.URL}.Check(t.Context(), sensitive.New(token), Expect{NotInGroups: []string{"admin"}}, Hints{})
			if got.Outcome != w.outcome || got.Reason != w.reason {
				t.Errorf("%s\ngot  %v %q: %s\nwant %v %q", rec.Case, got.Outcome, got.Reason, got.Message, w.outcome, w.reason)
			}
			sound(t, got)
		})
	}
	for number := range wanted {
		t.Errorf("no recording of cloud/user has the number %s", number)
	}
}

// replay answers every request as recorded.
func replay(t *testing.T, rec recording.Recording) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range rec.Header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(rec.Status)
		_, _ = w.Write([]byte(rec.Body))
	}))
	t.Cleanup(server.Close)
	return server
}

// token is what the tests send; sound looks for it in every verdict.
const token = "eyJhbGciOiJSUzI1NiJ9.canary.canary"

// sound holds for every verdict, whatever the answer was.
func sound(t *testing.T, v Verdict) {
	t.Helper()
	shown := v.Reason + v.Message
	if v.Identity != nil {
		shown += v.Identity.User + v.Identity.DisplayName + strings.Join(v.Identity.Groups, "")
	}
	switch {
	case strings.Contains(shown, token):
		t.Errorf("the verdict shows the token: %+v", v)
	case v.Message == "", len(v.Message) > 600:
		t.Errorf("the message has %d bytes: %q", len(v.Message), v.Message)
	case (v.Outcome == Accepted) != (v.Reason == ""):
		t.Errorf("outcome %v with reason %q", v.Outcome, v.Reason)
	case v.Outcome == Accepted && v.Identity == nil:
		t.Error("accepted without an identity")
	case v.RetryAfter < 0, v.RetryAfter > longestRetryAfter:
		t.Errorf("RetryAfter = %v", v.RetryAfter)
	case v.Reason != "" && !slices.Contains(Reasons(), v.Reason):
		t.Errorf("%q is not among Reasons()", v.Reason)
	}
}
