package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSummarize(t *testing.T) {
	rows := []row{
		{title: "time", unit: "µs", base: toDirect, target: 2.2}, {title: "both", unit: "µs", base: toBoth, target: 1.1},
		{title: "rate", unit: "per s", base: toDirect, target: 0.8, atLeast: true}, {title: "memory", unit: "MB", target: 10}, {title: "hole", unit: "ms", target: 1},
	}
	got := samples{}
	for peer, by := range map[string]map[string][]float64{
		nameDirect: {"time": {10, 10, 30}, "both": {10}, "rate": {1000}},
		namePipe:   {"both": {20}},
		nameBridge: {"time": {20, 25, 60}, "both": {60}, "rate": {900}, "memory": {10.004}},
	} {
		for title, values := range by {
			for _, v := range values {
				got.put(title, peer, v)
			}
		}
	}
	result := summarize([]measure{{rows: rows}}, []*peer{{name: namePipe}, {name: nameBridge}, {name: nameDirect}}, got)
	var out strings.Builder
	if err := result.print(&out); err != nil {
		t.Fatal(err)
	}
	want := `| | direct | pipe | drawbridge | compared with | target | reached |
|---|---:|---:|---:|---|---:|---|
| time, µs | 10.0 | – | 25.0 ×2 | direct | ≤ 2.20 | yes |
| both, µs | 10.0 ×0.33 | 20.0 ×0.67 | 60.0 ×2 | direct + pipe | ≤ 1.10 | no |
| rate, per s | 1000 | – | 900 ×0.90 | direct | ≥ 0.80 | yes |
| memory, MB | – | – | 10.0 |  | ≤ 10.0 | yes |
| hole, ms | – | – | – |  | ≤ 1 | no |
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}
