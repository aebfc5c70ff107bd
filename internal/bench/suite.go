package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// base is what a figure is compared with.
type base string

const (
	alone    base = "" // the figure itself counts
	toDirect base = nameDirect
	toPipe   base = namePipe
	toBoth   base = nameDirect + " + " + namePipe // the price of both, which a bridge has to pay
)

// row is one figure.
type row struct {
	title   string
	unit    string
	base    base
	target  float64 // of the ratio, or of the figure itself where base is alone; 0: none
	atLeast bool    // the target is a lower bound
}

// measure takes some figures of one peer. It hands each to put.
type measure struct {
	name string
	rows []row
	run  func(ctx context.Context, p *peer, put func(title string, value float64)) error
}

// samples are the figures of all rounds, by row and peer.
type samples map[string]map[string][]float64

func (s samples) put(title, peer string, value float64) {
	if s[title] == nil {
		s[title] = map[string][]float64{}
	}
	s[title][peer] = append(s[title][peer], value)
}

// run measures everything and prints what came out.
func run(ctx context.Context, o options, out io.Writer) (err error) {
	s, err := setUp(ctx, o)
	defer func() {
		if failed := s.takeDown(); err == nil {
			err = failed
		}
	}()
	if err != nil {
		return err
	}
	peers, measures := s.peers(), s.measures()
	got := samples{}
	for round := range o.rounds {
		for _, m := range measures {
			if err := ctx.Err(); err != nil {
				return err
			}
			fmt.Fprintf(o.progress, "round %d of %d: %s\n", round+1, o.rounds, m.name)
			s.measure(ctx, m, peers, got)
		}
	}
	for _, p := range peers {
		p.close()
	}
	result := summarize(measures, peers, got)
	if o.json {
		return json.NewEncoder(out).Encode(result)
	}
	return result.print(out)
}

// measure runs m for all peers, the later ones first every other time. What fails leaves a hole in the table.
func (s *stage) measure(ctx context.Context, m measure, peers []*peer, got samples) {
	for _, p := range peers {
		fresh := samples{}
		err := m.run(ctx, p, func(title string, value float64) { fresh.put(title, p.name, value) })
		if err != nil {
			fmt.Fprintf(s.progress, "%s: %s: %v\n", m.name, p.name, err)
			p.close()
			continue
		}
		for title := range fresh { // one figure a round
			got.put(title, p.name, quantile(fresh[title][p.name], 0.5))
		}
	}
	slices.Reverse(peers)
}
