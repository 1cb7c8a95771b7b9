package main

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestGrowthIsToldFromNoise(t *testing.T) {
	noise := rand.New(rand.NewPCG(1, 2))
	for name, c := range map[string]struct {
		value func(i float64) float64
		flat  bool
	}{
		"constant":                             {func(float64) float64 { return 50 }, true},
		"the teeth of a garbage collector":     {func(i float64) float64 { return 50 + 10*math.Mod(i, 7)/7 }, true},
		"noise":                                {func(float64) float64 { return 50 + 10*noise.Float64() }, true},
		"growth that noise does not hide":      {func(i float64) float64 { return 50 + i/5 + 5*noise.Float64() }, false},
		"slow growth without any noise":        {func(i float64) float64 { return 50 + i/20 }, false},
		"growth too slow to matter":            {func(i float64) float64 { return 50 + i/1000 }, true},
		"one goroutine more every ten seconds": {func(i float64) float64 { return 50 + math.Floor(i/10) }, false},
		"what shrinks":                         {func(i float64) float64 { return 50 - i/5 }, true},
	} {
		t.Run(name, func(t *testing.T) {
			var samples []sample
			for i := range 100 {
				values := map[string]float64{}
				for _, m := range measures {
					values[m.metric] = c.value(float64(i))
				}
				samples = append(samples, sample{float64(i), values})
			}
			var out strings.Builder
			if err := report(&out, samples); (err == nil) != c.flat {
				t.Errorf("%v\n%s", err, &out)
			}
		})
	}
}

func TestFitFindsTheLine(t *testing.T) {
	got := fit([]float64{0, 10, 20, 30}, []float64{5, 7, 9, 11})
	if got.slope != 0.2 || got.mean != 8 || math.Abs(got.growth-6) > 1e-9 || got.uncertainty > 1e-9 {
		t.Errorf("%+v, want a slope of 0.2 around 8, growing by 6", got)
	}
}
