//go:build integration

package faults

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// crashRows is where the rows of TestCrashes begin.
const crashRows = 300

// slack is what a busy machine may add to a recovery.
const slack = 5 * time.Second

// measure is what the sampler and the ledger have counted in a scenario.
type measure struct {
	// Expired is how long Secrets held tokens that had expired.
	Expired time.Duration
	// Unverified and WrongAudience count publications that should not have been, Touched versions of Secrets of others
	// that nobody but the operator can have written.
	Unverified, WrongAudience, Touched int
	// Extra counts mints that nothing called for, Lost those of them that never came into a Secret.
	Extra, Lost int
}

// since is what was counted after another measure.
func (m measure) since(before measure) measure {
	return measure{
		m.Expired - before.Expired, m.Unverified - before.Unverified, m.WrongAudience - before.WrongAudience, m.Touched - before.Touched,
		m.Extra - before.Extra, m.Lost - before.Lost,
	}
}

// result is a row of the table.
type result struct {
	measure

	order    int
	scenario string
	says     string
	// Recovery is the time from the end of the cause until all is well, Step the longest wait of the backoff then.
	Recovery, Step time.Duration
	allowed        promise
}

// promise is what a scenario may cost. Its zero value is the general one.
type promise struct {
	// Crashes is how many mints may be too many: one for each crash, or each answer that was lost.
	Crashes int
	// Outlives says that the outage is longer than the life of the token.
	Outlives bool
	// Uncounted says that the issuer keeps no ledger: it is a real one.
	Uncounted bool
	// Human says that somebody has to mend it by hand, and why.
	Human string
}

// broken lists the promises that do not hold.
func (r result) broken() []string {
	var list []string
	add := func(broken bool, format string, args ...any) {
		if broken {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	add(r.Expired > 0 && !r.allowed.Outlives, "an expired token stood in a Secret for %s, in an outage shorter than its life", r.Expired)
	add(r.Unverified > 0, "%d tokens were published that were not verified", r.Unverified)
	add(r.WrongAudience > 0, "%d tokens were published with a wrong audience", r.WrongAudience)
	add(r.Touched > 0, "Secrets of others were touched %d times", r.Touched)
	add(r.Extra > r.allowed.Crashes, "%d mints too many, allowed are %d", r.Extra, r.allowed.Crashes)
	add(r.Recovery > r.bound(), "all was well %s after the cause was gone, promised are %s", r.Recovery, r.bound())
	return list
}

// bound is two steps of the backoff, and what the machine may add.
func (r result) bound() time.Duration { return 2*r.Step + slack }

// results collects the rows.
type results struct {
	mu   sync.Mutex
	rows []result
}

func (r *results) add(row result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows = append(r.rows, row)
}

// documented says which rows a document lacks. Those of crashes have the names of what the operator does, and may change.
func (r *results) documented(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for _, row := range r.rows {
		if row.order < crashRows && !strings.Contains(string(text), "| "+row.scenario+" |") {
			return fmt.Errorf("%s has no row %q", file, row.scenario)
		}
	}
	return nil
}

// print writes the rows as a table in Markdown.
func (r *results) print(to io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortFunc(r.rows, func(a, b result) int {
		return cmp.Or(cmp.Compare(a.order, b.order), strings.Compare(a.scenario, b.scenario))
	})
	cells := [][]string{
		{"scenario", "meanwhile", "expired s", "unverified", "wrong aud", "foreign touched", "extra mints", "lost", "well again after s", "promised s"},
		{"---", "---", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:"},
	}
	for _, row := range r.rows {
		extra := fmt.Sprint(row.Extra)
		if row.allowed.Crashes > 0 {
			extra += fmt.Sprintf(" of %d", row.allowed.Crashes)
		}
		lost := fmt.Sprint(row.Lost)
		if row.allowed.Uncounted {
			extra, lost = "not counted", "not counted"
		}
		again := fmt.Sprintf("%.1f", row.Recovery.Seconds())
		if row.allowed.Human != "" {
			again += ": " + row.allowed.Human
		}
		cells = append(cells, []string{
			row.scenario, cmp.Or(row.says, "nothing fails"), fmt.Sprintf("%.1f", row.Expired.Seconds()), fmt.Sprint(row.Unverified), fmt.Sprint(row.WrongAudience),
			fmt.Sprint(row.Touched), extra, lost, again, fmt.Sprintf("%.0f", row.bound().Seconds()),
		})
	}
	for _, row := range cells {
		fmt.Fprintln(to, "| "+strings.Join(row, " | ")+" |")
	}
}
