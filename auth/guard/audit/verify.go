package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// Problem is a place where a chain is broken.
type Problem struct {
	File string
	Line int // from 1
	What string
}

// String returns the problem in one line.
func (p Problem) String() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.What) }

// Chain is what was found of one instance's lines.
type Chain struct {
	Instance    string
	First, Last uint64 // the numbers of its lines. If First is not 1, earlier lines were not given.
	Head        string // the hash of the last line
	Begin, End  time.Time
	Lines       int
}

// Report is the result of a verification. It is good when there are no problems.
type Report struct {
	Chains   []Chain // by instance
	Problems []Problem
}

// Verifier checks lines of any number of files in any order. Its zero value is ready for use.
type Verifier struct {
	pieces   map[string][]*piece // by instance
	problems []Problem
}

// piece is a run of lines of one instance in one file.
type piece struct {
	file        string
	line        int // of its first line
	before      string
	first, last uint64
	hash        string   // of its last line
	unread      []string // the hashes that the lines behind it have or state, which were altered or are none
	unreadLines uint64
	begin, end  time.Time
	lines       int
}

// Read reads one file. Its error is one of reading, not of the lines.
func (v *Verifier) Read(file string, r io.Reader) error {
	f := fileReader{v: v, file: file, open: map[string]*piece{}}
	in := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := in.ReadSlice('\n')
		f.number++
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			f.problem("the line is longer than any that is written")
			err = skipLine(in)
		case err == nil:
			f.add(bytes.TrimSuffix(line, []byte("\n")))
		case errors.Is(err, io.EOF) && len(line) > 0:
			f.problem("the line has no end: it was cut off, or is being written")
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %q: %w", file, err)
		}
	}
}

func skipLine(in *bufio.Reader) error {
	for {
		if _, err := in.ReadSlice('\n'); !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// fileReader is where a file's reading stands.
type fileReader struct {
	v       *Verifier
	file    string
	number  int
	open    map[string]*piece // the piece that each instance's next line belongs to
	current *piece            // of the line before
}

func (f *fileReader) problem(what string) {
	f.v.problems = append(f.v.problems, Problem{f.file, f.number, what})
}

func (f *fileReader) add(line []byte) {
	at, when, hash, stated, err := decode(line)
	if err != nil {
		f.problem(err.Error())
		f.skip(hash, stated)
		return
	}
	p := f.open[at.Instance]
	if p == nil {
		f.begin(at, when, hash)
		return
	}
	if what := p.follow(at); what != "" {
		f.problem(what)
	}
	p.last, p.hash, p.end, p.unread, p.unreadLines = at.Seq, hash, when, nil, 0
	p.lines++
	f.current = p
}

// follow says what is wrong with a line as the next of a piece; "" if nothing is. Behind lines that could not be read, it
// may be the next or one of those after, because those lines may have been part of the chain or put in.
func (p *piece) follow(at position) string {
	skipped := at.Seq - p.last - 1
	switch {
	case at.Seq <= p.last || skipped > p.unreadLines:
		return fmt.Sprintf("line %d of instance %s follows line %d", at.Seq, at.Instance, p.last)
	case skipped == 0 && at.Prev != p.hash, skipped > 0 && !slices.Contains(p.unread, at.Prev):
		return "the line does not belong to the one before it: their hashes do not fit"
	}
	return ""
}

func (f *fileReader) begin(at position, when time.Time, hash string) {
	p := &piece{file: f.file, line: f.number, before: at.Prev, first: at.Seq, last: at.Seq, hash: hash, begin: when, end: when, lines: 1}
	f.open[at.Instance], f.current = p, p
	if f.v.pieces == nil {
		f.v.pieces = map[string][]*piece{}
	}
	f.v.pieces[at.Instance] = append(f.v.pieces[at.Instance], p)
}

// skip remembers a line that could not be read, so that only it is named and not the one that follows. Which instance it
// was of is not known; most likely that of the line before it.
func (f *fileReader) skip(hash, stated string) {
	if p := f.current; p != nil {
		p.unread = append(p.unread, hash, stated)
		p.unreadLines++
	}
}

// Report joins the pieces of all files that were read.
func (v *Verifier) Report() Report {
	r := Report{Problems: slices.Clone(v.problems)}
	for _, instance := range slices.Sorted(maps.Keys(v.pieces)) {
		pieces := slices.SortedFunc(slices.Values(v.pieces[instance]), func(a, b *piece) int { return cmp.Compare(a.first, b.first) })
		chain, problems := join(instance, pieces)
		r.Chains = append(r.Chains, chain)
		r.Problems = append(r.Problems, problems...)
	}
	slices.SortStableFunc(r.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return r
}

func join(instance string, pieces []*piece) (c Chain, problems []Problem) {
	c = Chain{Instance: instance, First: pieces[0].first, Begin: pieces[0].begin}
	for i, p := range pieces {
		before := &piece{hash: genesis}
		if i > 0 {
			before = pieces[i-1]
		}
		if what := gap(before, p, i == 0); what != "" {
			problems = append(problems, Problem{p.file, p.line, what})
		}
		c.Last, c.Head, c.End, c.Lines = p.last, p.hash, p.end, c.Lines+p.lines
	}
	return c, problems
}

// gap says what is wrong between two pieces; "" if nothing is.
func gap(before, p *piece, first bool) string {
	switch {
	case first && p.first > 1:
		return "" // earlier files may be in an archive; [Chain] says where it begins
	case p.first <= before.last:
		return fmt.Sprintf("line %d is there twice (also in %s)", p.first, before.file)
	case p.first > before.last+1+before.unreadLines:
		return fmt.Sprintf("lines %d to %d are missing before this one", before.last+1, p.first-1)
	case p.before != before.hash && !slices.Contains(before.unread, p.before):
		return "the line does not belong to the one before it: their hashes do not fit"
	}
	return ""
}
