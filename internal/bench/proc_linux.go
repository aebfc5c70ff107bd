package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// measurable says that the figures of processes can be had.
const measurable = true

// cpuSeconds is the processor time that a process has used.
func cpuSeconds(pid int) float64 {
	var t unix.Timespec
	clock := int32(^pid<<3 | 2) // man 2 clock_getcpuclockid: the clock of a process
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0
	}
	return float64(t.Sec) + float64(t.Nsec)/1e9
}

// megabytes returns a figure of a process's memory from a file in /proc.
func megabytes(pid int, file, key string) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if value, found := bytes.CutPrefix(line, []byte(key)); found {
			kilobytes, _ := strconv.Atoi(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(value), []byte("kB")))))
			return float64(kilobytes) / 1024
		}
	}
	return 0
}

func resident(pid int) float64 { return megabytes(pid, "status", "VmRSS:") }
func peak(pid int) float64     { return megabytes(pid, "status", "VmHWM:") }

// share is a process's memory with what it shares counted in part.
func share(pid int) float64 { return megabytes(pid, "smaps_rollup", "Pss:") }

// pin makes processes run on one processor, and returns what undoes it. On virtual machines waking another processor
// costs more than a bridge, and comes and goes; on one, times are the length of the way.
func pin(pids ...int) (undo func()) {
	var one, all unix.CPUSet
	one.Set(runtime.NumCPU() - 1)
	for i := range runtime.NumCPU() {
		all.Set(i)
	}
	set := func(to *unix.CPUSet) {
		for _, pid := range pids {
			threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)) // a process that ended has none
			for _, t := range threads {
				id, _ := strconv.Atoi(t.Name())
				_ = unix.SchedSetaffinity(id, to) // a thread may have ended
			}
		}
	}
	set(&one)
	return func() { set(&all) }
}
