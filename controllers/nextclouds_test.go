package controllers

import (
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"
)

func TestAClientOfANextcloudGoesWhenNobodyHasAskedForItForLong(t *testing.T) {
	now := testclock.NewFakePassiveClock(time.Now())
	i := &Issuers{Clock: now}
	var n nextcloudClients
	client := func(url string) any {
		t.Helper()
		c, err := n.client(url, nil, i)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	used, unused := client("https://used.example.com"), client("https://unused.example.com")
	for range 3 {
		now.SetTime(now.Now().Add(unusedFor / 2))
		if client("https://used.example.com/index.php") != used {
			t.Error("one host has two clients")
		}
	}
	if len(n.clients) != 1 {
		t.Errorf("%d clients are kept, want 1", len(n.clients))
	}
	if client("https://unused.example.com") == unused {
		t.Error("a client that was thrown out is still there")
	}
}
