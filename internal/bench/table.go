package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// result is what was measured, ready to be read.
type result struct {
	Peers []string `json:"peers"`
	Rows  []line   `json:"rows"`
}

// line is one row of the result.
type line struct {
	Title   string            `json:"title"`
	Unit    string            `json:"unit"`
	Base    base              `json:"base,omitempty"`
	Target  float64           `json:"target,omitempty"`
	AtLeast bool              `json:"at_least,omitempty"`
	Reached bool              `json:"reached"` // by drawbridge; false where there is no target
	Cells   map[string]figure `json:"cells"`   // by peer
}

// figure is one peer's, over all rounds.
type figure struct {
	Median  float64   `json:"median"`
	Ratio   float64   `json:"ratio,omitempty"` // the median of the rounds' ratios to the base
	Samples []float64 `json:"samples"`
}

func summarize(measures []measure, peers []*peer, got samples) result {
	order := []string{nameDirect, namePipe, nameBridge, nameRemote}
	var r result
	for _, p := range peers {
		r.Peers = append(r.Peers, p.name)
	}
	slices.SortFunc(r.Peers, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
	for _, m := range measures {
		for _, row := range m.rows {
			r.Rows = append(r.Rows, row.summarize(got[row.title]))
		}
	}
	return r
}

func (r row) summarize(byPeer map[string][]float64) line {
	l := line{Title: r.title, Unit: r.unit, Base: r.base, Target: r.target, AtLeast: r.atLeast, Cells: map[string]figure{}}
	for peer, values := range byPeer {
		f := figure{Median: quantile(values, 0.5), Samples: values}
		if ratios := r.ratios(values, byPeer); len(ratios) > 0 {
			f.Ratio = quantile(ratios, 0.5)
		}
		l.Cells[peer] = f
	}
	ours, measured := l.Cells[nameBridge]
	l.Reached = measured && r.target > 0 && r.reached(ours)
	return l
}

// ratios returns each round's figure by that of the base.
func (r row) ratios(values []float64, byPeer map[string][]float64) (ratios []float64) {
	for i, v := range values {
		var by float64
		for _, part := range strings.Split(string(r.base), " + ") {
			if i >= len(byPeer[part]) {
				return nil
			}
			by += byPeer[part][i]
		}
		if by > 0 {
			ratios = append(ratios, v/by)
		}
	}
	return ratios
}

func (r row) reached(f figure) bool {
	value := f.Ratio
	if r.base == alone {
		value = f.Median
	}
	value = float64(int(value*100+0.5)) / 100 // as it is printed
	if r.atLeast {
		return value >= r.target
	}
	return value <= r.target
}

// print writes a table in Markdown.
func (r result) print(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "| | %s | compared with | target | reached |\n|---|%s---|---:|---|\n", strings.Join(r.Peers, " | "), strings.Repeat("---:|", len(r.Peers)))
	for _, l := range r.Rows {
		fmt.Fprintf(&b, "| %s, %s |", l.Title, l.Unit)
		for _, peer := range r.Peers {
			fmt.Fprintf(&b, " %s |", l.cell(peer))
		}
		fmt.Fprintf(&b, " %s | %s |\n", l.Base, l.verdict())
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (l line) cell(peer string) string {
	f, measured := l.Cells[peer]
	switch {
	case !measured:
		return "–"
	case f.Ratio == 0 || peer == string(l.Base):
		return short(f.Median)
	}
	return fmt.Sprintf("%s ×%s", short(f.Median), short(f.Ratio))
}

func (l line) verdict() string {
	switch {
	case l.Target == 0:
		return " | "
	case l.AtLeast:
		return fmt.Sprintf("≥ %s | %s", short(l.Target), yesNo(l.Reached))
	}
	return fmt.Sprintf("≤ %s | %s", short(l.Target), yesNo(l.Reached))
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// short writes a number with about three digits.
func short(v float64) string {
	switch {
	case v >= 10_000:
		return fmt.Sprintf("%.0f k", v/1000)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return strings.TrimSuffix(fmt.Sprintf("%.2f", v), ".00")
}
