package sensitive

import "testing"

func TestSizesThatAreUnusable(t *testing.T) {
	for size, want := range map[int]string{
		0:           "is missing or empty: set it",
		1:           "",
		MaxSize:     "",
		MaxSize + 1: "has 65537 bytes, and at most 65536 are used: set a smaller value",
	} {
		if got := Unusable(size, MaxSize); got != want {
			t.Errorf("%d bytes: %q, want %q", size, got, want)
		}
	}
}
