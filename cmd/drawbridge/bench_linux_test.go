package main_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"

	"drawbridge/internal/demo"
)

var residentPattern = regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB$`)

// BenchmarkIdleMemory reports the resident memory of a bridge that has a session, has carried one call and waits.
func BenchmarkIdleMemory(b *testing.B) {
	p := newPlace(b, demo.Config{})
	p.do("login", p.world.URL())
	w := p.start()
	w.send(initialize, initialized, callWhoami)
	w.answer(`"whoami"`)
	eventually(b, "the stream for notifications is open", func() bool { return p.world.Server.Counts().Requests["GET"] > 0 })
	var kilobytes int
	for b.Loop() {
		kilobytes = resident(b, w.cmd.Process.Pid)
	}
	b.ReportMetric(float64(kilobytes)/1024, "MB-resident")
	w.hangUp()
	w.wantExit(0)
}

func resident(b testing.TB, pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	found := residentPattern.FindSubmatch(status)
	if found == nil {
		b.Fatalf("no resident size in %q", status)
	}
	kilobytes, err := strconv.Atoi(string(found[1]))
	if err != nil {
		b.Fatal(err)
	}
	return kilobytes
}
