package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tokengrant/tokengrant/hack/stack"
)

// ticks a second in /proc, the same on every Linux that Go runs on.
const ticks = 100

// usage is what a process has used.
type usage struct {
	cpu time.Duration
	// rss and peak are in bytes.
	rss, peak int64
}

func usageOf(m *stack.Operator) (usage, error) {
	var sum usage
	for _, pid := range m.PIDs() {
		one, err := processUsage(pid)
		if err != nil {
			return usage{}, err
		}
		sum.cpu += one.cpu
		sum.rss += one.rss
		sum.peak += one.peak
	}
	return sum, nil
}

func processUsage(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, err
	}
	// The name in brackets may hold spaces; utime and stime are the 12th and 13th field behind it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	spent := number(fields[11]) + number(fields[12])
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return usage{}, err
	}
	u := usage{cpu: time.Duration(spent) * time.Second / ticks}
	for line := range strings.Lines(string(status)) {
		name, rest, _ := strings.Cut(line, ":")
		kilobytes := number(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
		switch name {
		case "VmRSS":
			u.rss = kilobytes << 10
		case "VmHWM":
			u.peak = kilobytes << 10
		}
	}
	return u, nil
}

func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
