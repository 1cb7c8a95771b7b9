package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"text/tabwriter"
)

// sample is what was seen at one time, in seconds since the start.
type sample struct {
	at     float64
	values map[string]float64
}

// measures are what is sampled: the names of metrics, and how to show them.
var measures = []struct{ metric, name, unit string }{
	{"process_resident_memory_bytes", "resident memory", "MB"},
	{"go_memstats_heap_inuse_bytes", "heap in use", "MB"},
	{"go_goroutines", "goroutines", ""},
	{"process_open_fds", "open files", ""},
}

const (
	// tolerated is the growth over the whole time, as a share of the mean, that is called flat.
	tolerated = 0.05
	// certain is by how many standard errors a slope must differ from 0 to be called one: a garbage collector's teeth are
	// no growth.
	certain = 3
)

// trend is a line through samples, by least squares.
type trend struct{ mean, growth, slope, uncertainty float64 }

// fit needs three samples at least.
func fit(at, values []float64) trend {
	n := float64(len(at))
	meanAt, mean := sum(at)/n, sum(values)/n
	var spread, together float64
	for i := range at {
		spread += (at[i] - meanAt) * (at[i] - meanAt)
		together += (at[i] - meanAt) * (values[i] - mean)
	}
	t := trend{mean: mean, slope: together / spread}
	var left float64
	for i := range at {
		d := values[i] - mean - t.slope*(at[i]-meanAt)
		left += d * d
	}
	t.uncertainty = math.Sqrt(left / (n - 2) / spread)
	t.growth = t.slope * (at[len(at)-1] - at[0])
	return t
}

func sum(values []float64) float64 {
	total := 0.0
	for _, v := range values {
		total += v
	}
	return total
}

func (t trend) flat() bool {
	return t.growth <= tolerated*t.mean || t.slope <= certain*t.uncertainty
}

// report prints a table; what grows is an error.
func report(out io.Writer, samples []sample) error {
	if len(samples) < 10 {
		return fmt.Errorf("%d samples are too few to tell a slope", len(samples))
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "measure\tfirst\tlast\tmean\tan hour\t± standard error\tverdict")
	var errs []error
	at := make([]float64, len(samples))
	for i, s := range samples {
		at[i] = s.at
	}
	for _, m := range measures {
		values := make([]float64, len(samples))
		scale := 1.0
		if m.unit == "MB" {
			scale = 1e6
		}
		for i, s := range samples {
			values[i] = s.values[m.metric] / scale
		}
		t, verdict := fit(at, values), "flat"
		if !t.flat() {
			verdict = "GROWS"
			errs = append(errs, fmt.Errorf("%s grows by %.1f %s an hour", m.name, t.slope*3600, m.unit))
		}
		fmt.Fprintf(table, "%s %s\t%.1f\t%.1f\t%.1f\t%+.1f\t%.1f\t%s\n",
			m.name, m.unit, values[0], values[len(values)-1], t.mean, t.slope*3600, t.uncertainty*3600, verdict)
	}
	return errors.Join(append(errs, table.Flush())...)
}
