package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"drawbridge/internal/secret"
)

// headerSource is where the user's own headers come from: the command line, a file, a command. The file is read again and the
// command is run again when the server refuses what they gave.
type headerSource struct {
	lookup  func(string) (string, bool)
	lines   []header // of --header
	path    string
	command func() (secret.Text, error) // nil without --header-command
	origin  string                      // says where the headers come from, without a value

	flight singleflight.Group // one run of the command for all requests that wait for it

	mu        sync.Mutex // guards what follows
	file      []header
	printed   []header // by the command
	ran       bool     // printed is there
	failed    error    // of the last run; nil if it went well
	restUntil time.Time
}

// commandPause is how long a command that failed, or whose output the server refused as well, is left alone: every request
// would start it anew.
const commandPause = 10 * time.Second

// fixedAuthorization reports whether a credential is given that needs no command.
func (s *headerSource) fixedAuthorization() bool {
	return hasAuthorization(s.lines) || hasAuthorization(s.file)
}

// get returns the headers of a request. It runs the command if it has not run yet.
func (s *headerSource) get(ctx context.Context) ([]header, error) {
	if s.command != nil && !s.hasRun() {
		if err := s.run(ctx); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Concat(s.lines, s.file, s.printed), nil
}

// held returns the headers as far as they are known now; false if the command has not run.
func (s *headerSource) held() ([]header, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Concat(s.lines, s.file, s.printed), s.ran || s.command == nil
}

func (s *headerSource) hasRun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ran
}

// run runs the command once for all who ask at the same time. It goes on when they leave.
func (s *headerSource) run(ctx context.Context) error {
	if err := s.resting(); err != nil {
		return err
	}
	select {
	case r := <-s.flight.DoChan("run", func() (any, error) { return nil, s.runNow() }):
		return r.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// resting returns the failure of a run that was a moment ago.
func (s *headerSource) resting() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.restUntil) {
		return s.failed
	}
	return nil
}

func (s *headerSource) runNow() error {
	text, err := s.command()
	var printed []header
	if err == nil {
		printed, err = notUsage(parseHeaders("output of --header-command", headerLines(text.Reveal()), nil))
	}
	if err == nil && len(printed) == 0 {
		err = errors.New("--header-command printed no header")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed, s.restUntil = hinted{err, "run the command of --header-command yourself and see what it says; it prints lines 'Name: value', has 30 seconds and no standard input"}, time.Now().Add(commandPause)
		return s.failed
	}
	s.printed, s.ran, s.failed = printed, true, nil
	return nil
}

// renew gets the headers anew after the server refused req with a 401. True means that they are others now.
func (s *headerSource) renew(ctx context.Context, req *http.Request) (bool, error) {
	if s.path == "" && s.command == nil {
		return false, nil
	}
	if now, err := s.get(ctx); err != nil || !carries(req, now) {
		return err == nil, err // another request renewed them
	}
	if err := s.reread(); err != nil {
		return false, err
	}
	if s.command != nil && s.mayRun() {
		if err := s.run(ctx); err != nil {
			return false, err
		}
	}
	now, err := s.get(ctx)
	if err != nil || !carries(req, now) {
		return err == nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restUntil = time.Now().Add(commandPause)
	return false, nil
}

func (s *headerSource) mayRun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !time.Now().Before(s.restUntil)
}

func (s *headerSource) reread() error {
	file, err := s.readFile()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file = file
	return nil
}

// carries reports whether req has these headers with these values.
func carries(req *http.Request, headers []header) bool {
	want := http.Header{}
	for _, h := range headers {
		want.Add(h.name, h.value.Reveal())
	}
	for name, values := range want {
		if !slices.Equal(req.Header[name], values) {
			return false
		}
	}
	return true
}

// headerCommand returns what runs the command of --header-command.
func headerCommand(env Env, line string) (func() (secret.Text, error), error) {
	args, err := splitCommand(line)
	if err != nil {
		return nil, usageError{hinted{fmt.Errorf("--header-command: %w", err), "for instance: --header-command 'vault-headers mcp'"}}
	}
	return func() (secret.Text, error) { return output(env, "header command", args, maxHeaderFile) }, nil
}
