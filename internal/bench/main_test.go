package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"testing"
)

// TestMain lets the test binary be the server, as the program is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		if err := play(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestSmoke measures everything, as little as possible, so that the benchmark is there when it is needed.
func TestSmoke(t *testing.T) {
	var out, diagnostics bytes.Buffer
	if err := play(t.Context(), []string{"-rounds", "1", "-scale", "0.001", "-fleet", "3", "-json"}, nil, &out, &diagnostics); err != nil {
		t.Fatalf("%v\n%s", err, &diagnostics)
	}
	var got result
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) < 20 {
		t.Errorf("%d rows", len(got.Rows))
	}
	for _, row := range got.Rows {
		ours, measured := row.Cells[nameBridge]
		if !measured || len(ours.Samples) != 1 {
			t.Errorf("%s: %+v", row.Title, row.Cells)
		}
		if row.Base != alone && ours.Ratio <= 0 {
			t.Errorf("%s: no ratio to %s: %+v", row.Title, row.Base, row.Cells)
		}
	}
	if t.Failed() {
		t.Logf("%s", &diagnostics)
	}
}
