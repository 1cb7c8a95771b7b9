package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// row is one figure beside its floor and its goal.
type row struct {
	Figure string `json:"figure"`
	Value  string `json:"value"`
	// Floor is the same of the bare loop, in the same run; empty where there is none.
	Floor string `json:"floor,omitempty"`
	// Ratio of the two.
	Ratio float64 `json:"ratio,omitempty"`
	Goal  string  `json:"goal,omitempty"`
	// Met is yes, no, or empty for a figure without a goal.
	Met string `json:"met,omitempty"`
}

type table struct {
	Scenario string `json:"scenario"`
	Took     string `json:"took"`
	Rows     []row  `json:"rows"`
	Failed   string `json:"failed,omitempty"`
}

func (t *table) add(figure, value string) { t.Rows = append(t.Rows, row{Figure: figure, Value: value}) }

func (t *table) goal(figure, value, goal string, met bool) {
	t.Rows = append(t.Rows, row{Figure: figure, Value: value, Goal: goal, Met: yesNo(met)})
}

// ratio compares with a floor.
func (t *table) ratio(figure string, value, floor time.Duration, limit float64) {
	r := row{Figure: figure, Value: short(value), Floor: short(floor), Ratio: float64(value) / float64(max(floor, 1))}
	if limit > 0 {
		r.Goal, r.Met = fmt.Sprintf("ratio ≤ %.2f", limit), yesNo(r.Ratio <= limit)
	}
	t.Rows = append(t.Rows, r)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	default:
		return d.Round(time.Microsecond).String()
	}
}

func (t *table) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s (%s)\n", t.Scenario, t.Took)
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "  figure\tvalue\tfloor\tratio\tgoal\tmet")
	for _, r := range t.Rows {
		ratio := ""
		if r.Ratio > 0 {
			ratio = fmt.Sprintf("%.2f", r.Ratio)
		}
		fmt.Fprintf(tab, "  %s\t%s\t%s\t%s\t%s\t%s\n", r.Figure, r.Value, r.Floor, ratio, r.Goal, r.Met)
	}
	_ = tab.Flush()
	if t.Failed != "" {
		fmt.Fprintln(w, "  FAILED:", t.Failed)
	}
}

func printJSON(w io.Writer, tables []*table) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(tables)
}
