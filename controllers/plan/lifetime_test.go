package plan

import (
	"fmt"
	"math"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

const year = 365 * 24 * time.Hour

func TestLife(t *testing.T) {
	in5m := noon.Add(5 * time.Minute)
	for _, tc := range []struct {
		name      string
		expiresIn *int64
		iat, exp  time.Time
		want      time.Duration
	}{
		{"both say the same", new(int64(300)), noon, in5m, 5 * time.Minute},
		{"expires_in is missing: the claims count", nil, noon, in5m, 5 * time.Minute},
		{"expires_in is 0: it says nothing about a token whose exp does", new(int64(0)), noon, in5m, 5 * time.Minute},
		{"expires_in is -1", new(int64(-1)), noon, in5m, 5 * time.Minute},
		{"expires_in is the smaller one", new(int64(60)), noon, in5m, time.Minute},
		{"the claims are the smaller one", new(int64(3600)), noon, in5m, 5 * time.Minute},
		{"expires_in is huge", new(int64(math.MaxInt64)), noon, in5m, 5 * time.Minute},
		{"both are huge: ten years are enough for every schedule", new(int64(math.MaxInt64)), noon, noon.Add(200 * year), 10 * year},
		{"the issuer's clock is five minutes ahead", nil, noon.Add(5 * time.Minute), noon.Add(10 * time.Minute), 5 * time.Minute},
		{"the issuer's clock is five minutes behind", nil, noon.Add(-5 * time.Minute), noon, 5 * time.Minute},
		{"iat is an hour old: it is when the session began, and no word on the time", nil, noon.Add(-time.Hour), in5m, 5 * time.Minute},
		{"iat is missing: our clock counts", nil, time.Time{}, in5m, 5 * time.Minute},
		{"the token has expired already", new(int64(300)), noon, noon.Add(-time.Second), -time.Second},
		{"exp equals iat", new(int64(300)), noon, noon, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Life(noon, tc.expiresIn, tc.iat, tc.exp); got != tc.want {
				t.Errorf("life %s, want %s", got, tc.want)
			}
		})
	}
	if got := Life(noon, new(int64(300)), noon, time.Time{}); got > 0 {
		t.Errorf("a token without exp has life %s, want none", got)
	}
}

func TestIssuerNow(t *testing.T) {
	for _, tc := range []struct {
		name string
		skew time.Duration
		want time.Duration
	}{
		{"iat of the same moment", 0, 0},
		{"ten minutes ahead is still a clock", MaxSkew, MaxSkew},
		{"ten minutes behind is still a clock", -MaxSkew, -MaxSkew},
		{"more than ten minutes ahead is no word on the time", MaxSkew + time.Second, 0},
		{"more than ten minutes behind is no word on the time", -MaxSkew - time.Second, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := IssuerNow(noon, noon.Add(tc.skew)); !got.Equal(noon.Add(tc.want)) {
				t.Errorf("issuer's now %s, want %s", got, noon.Add(tc.want))
			}
		})
	}
}

func before(d time.Duration) v1alpha1.Refresh {
	return v1alpha1.Refresh{Before: &metav1.Duration{Duration: d}}
}

func percentage(p int32) v1alpha1.Refresh { return v1alpha1.Refresh{BeforePercentage: &p} }

func TestMargin(t *testing.T) {
	for _, tc := range []struct {
		name    string
		life    time.Duration
		refresh v1alpha1.Refresh
		want    time.Duration
	}{
		{"a third of the life, when nothing is asked for", 300 * time.Second, v1alpha1.Refresh{}, 99 * time.Second},
		{"a share", 300 * time.Second, percentage(20), 60 * time.Second},
		{"a duration", 300 * time.Second, before(100 * time.Second), 100 * time.Second},
		{"a duration longer than the life is cut to half of it", 300 * time.Second, before(time.Hour), 150 * time.Second},
		{"a share above half is cut to half", 300 * time.Second, percentage(90), 150 * time.Second},
		{"a second of life", time.Second, v1alpha1.Refresh{}, 330 * time.Millisecond},
		{"ten years of life", 10 * year, before(24 * time.Hour), 24 * time.Hour},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Margin(tc.life, tc.refresh); got != tc.want {
				t.Errorf("margin %s, want %s", got, tc.want)
			}
		})
	}
}

func TestSufficientLife(t *testing.T) {
	for _, tc := range []struct {
		name    string
		life    time.Duration
		refresh v1alpha1.Refresh
		within  time.Duration
		want    bool
	}{
		{"Keycloak's five minutes leave 99 s", 300 * time.Second, v1alpha1.Refresh{}, Propagation, true},
		{"a minute is too short whatever the margin", time.Minute, before(time.Hour), Propagation, false},
		{"three minutes with half of them as margin are just enough", 3 * time.Minute, percentage(50), Propagation, true},
		{"an hour with a margin of 30 s is not", time.Hour, before(30 * time.Second), Propagation, false},
		{"half a minute is enough for pods that are nudged", 30 * time.Second, v1alpha1.Refresh{}, NudgedPropagation, true},
		{"six seconds are not even then", 6 * time.Second, percentage(50), NudgedPropagation, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := SufficientLife(tc.life, tc.refresh, tc.within); got != tc.want {
				t.Errorf("sufficient: %t, want %t", got, tc.want)
			}
		})
	}
}

// TestRefreshAtHoldsForAnyLife walks from a second to ten years with every kind of margin.
func TestRefreshAtHoldsForAnyLife(t *testing.T) {
	refreshes := map[string]v1alpha1.Refresh{
		"default": {}, "5 %": percentage(5), "50 %": percentage(50), "1 s": before(time.Second), "24 h": before(24 * time.Hour),
	}
	for life := time.Second; life <= 10*year; life += max(time.Second, life/7).Truncate(time.Second) {
		for name, refresh := range refreshes {
			expires := noon.Add(life)
			at := RefreshAt("uid-1", noon, expires, refresh)
			latest := expires.Add(-Margin(life, refresh))
			if life < 2*time.Second {
				latest = noon.Add(time.Second) // The least interval between two mints wins.
			}
			earliest := latest.Add(-time.Duration(float64(life)*jitterShare) - time.Second)
			switch {
			case !at.After(noon):
				t.Errorf("%s, life %s: refresh at the mint or before it: a hot loop", name, life)
			case at.After(latest):
				t.Errorf("%s, life %s: refresh %s later than the margin", name, life, at.Sub(latest))
			case at.Before(earliest):
				t.Errorf("%s, life %s: refresh %s earlier than a tenth of the life before the margin", name, life, earliest.Sub(at))
			case !at.Equal(RefreshAt("uid-1", noon, expires, refresh)):
				t.Errorf("%s, life %s: two answers for one token", name, life)
			}
		}
	}
}

func TestRefreshAtIsAlikeForEveryProcess(t *testing.T) {
	// A fixed value: another process, version or architecture must compute the same.
	at := RefreshAt("5f0c6c1e-6d2b-4d43-a3b8-0a7e3f6f0c11", noon, noon.Add(time.Hour), v1alpha1.Refresh{})
	if got, want := at.Sub(noon), 34*time.Minute+46*time.Second+720*time.Millisecond; got != want {
		t.Errorf("refresh %s after the mint, want %s", got, want)
	}
	if zoned := RefreshAt("5f0c6c1e-6d2b-4d43-a3b8-0a7e3f6f0c11", noon.In(time.FixedZone("", 3600)), noon.Add(time.Hour), v1alpha1.Refresh{}); !zoned.Equal(at) {
		t.Errorf("refresh at %s in another time zone, want %s", zoned, at)
	}
}

func TestGrantsAppliedTogetherAreSpread(t *testing.T) {
	const grants, life = 1000, 1000 * time.Second
	perTenth := map[int]int{} // The jitter is up to 100 s: ten buckets of 10 s.
	latest := life - Margin(life, v1alpha1.Refresh{})
	wholeSeconds := 0
	for i := range grants {
		at := RefreshAt(fmt.Sprintf("00000000-0000-4000-8000-%012d", i), noon, noon.Add(life), v1alpha1.Refresh{})
		if at.Nanosecond() == 0 {
			wholeSeconds++
		}
		perTenth[int((latest-at.Sub(noon))/(10*time.Second))]++
	}
	if wholeSeconds > 20 {
		t.Errorf("%d of %d grants are refreshed when a second begins, all at the same moment", wholeSeconds, grants)
	}
	for bucket := range 10 {
		if n := perTenth[bucket]; n < 60 || n > 140 {
			t.Errorf("%d of %d grants are refreshed in tenth %d of the jitter, want about 100 (all: %v)", n, grants, bucket, perTenth)
		}
	}
}

func TestOneGrantIsNotAlwaysEquallyEarly(t *testing.T) {
	waits := map[time.Duration]bool{}
	for i := range 20 {
		issued := noon.Add(time.Duration(i) * time.Hour)
		waits[RefreshAt("uid-1", issued, issued.Add(time.Hour), v1alpha1.Refresh{}).Sub(issued)] = true
	}
	if len(waits) < 15 {
		t.Errorf("20 tokens of one grant have %d different waits", len(waits))
	}
}
