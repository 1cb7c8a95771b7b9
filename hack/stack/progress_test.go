package stack

import (
	"bytes"
	"testing"
	"time"
)

func TestProgressPrefixesTheSecondsSinceItsStart(t *testing.T) {
	now := time.Unix(1000, 0)
	var out bytes.Buffer
	p := newProgress(&out, func() time.Time { return now })
	ctx := WithProgress(t.Context(), p)

	now = now.Add(12340 * time.Millisecond)
	elapsed := took(ctx)
	Sayf(ctx, "Keycloak %s is up", "26.7.3")
	now = now.Add(2 * time.Minute)
	Sayf(ctx, "done in %s", elapsed())

	want := "[  12.3s] Keycloak 26.7.3 is up\n[ 132.3s] done in 2m0s\n"
	if got := out.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
