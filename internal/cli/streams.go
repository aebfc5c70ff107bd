package cli

import (
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"

	"drawbridge/bridge/stdio"
)

// streams are the client's standard streams.
type streams struct {
	in      io.Reader
	out     io.Writer
	restore []func()
}

// openStreams prepares the standard streams for the bridge: where the system allows it, waiting for them takes no
// thread, and then one thread for everything is best: a message goes through several goroutines, and handing it between
// threads costs a quarter of all time. A person who sets GOMAXPROCS knows better. The caller closes the result.
func openStreams(env Env, log *slog.Logger) *streams {
	s := &streams{in: env.Stdin, out: env.Stdout}
	if f, ok := env.Stdin.(*os.File); ok && !same(f, env.Stderr) {
		if polled := s.poll(f, log); polled != nil {
			s.in = polled
		}
	}
	if f, ok := env.Stdout.(*os.File); ok && !same(f, env.Stderr) {
		if polled := s.poll(f, log); polled != nil {
			s.out = polled
		}
	}
	if len(s.restore) == 2 && env.getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
	return s
}

func (s *streams) poll(f *os.File, log *slog.Logger) *os.File {
	polled, restore, err := stdio.Poll(f)
	if err != nil {
		log.Debug("standard stream is not polled", "name", f.Name(), "cause", err)
		return nil
	}
	s.restore = append(s.restore, restore)
	return polled
}

// close leaves the streams as they were, because other processes may use them after this one. The first that was changed
// comes last: both may be one socket, of which the second saw what the first had made of it.
func (s *streams) close() {
	for _, restore := range slices.Backward(s.restore) {
		restore()
	}
}

// same reports whether w is the same pipe as f. What is changed about one would change the other, and who writes
// diagnostics does not expect a full pipe to refuse them.
func same(f *os.File, w io.Writer) bool {
	other, ok := w.(*os.File)
	if !ok {
		return false
	}
	a, errA := f.Stat()
	b, errB := other.Stat()
	return errA != nil || errB != nil || os.SameFile(a, b)
}
