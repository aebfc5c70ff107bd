package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"drawbridge/auth/guard"
	"drawbridge/auth/guard/audit"
	"drawbridge/internal/demo"
)

// demoGuard is the guard in front of the demo's server.
type demoGuard struct {
	show io.Writer // receives the audit; if nil, it is kept

	mu    sync.Mutex
	log   bytes.Buffer // audit lines, guarded by mu
	audit *audit.Log
}

// Write implements io.Writer for the audit.
func (d *demoGuard) Write(line []byte) (int, error) {
	if d.show != nil {
		return d.show.Write(line)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Write(line)
}

// lines returns the audit as it is now.
func (d *demoGuard) lines() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return bytes.Clone(d.log.Bytes())
}

// stand puts the guard in front of a server; it is a [demo.ServerConfig.Guard].
func (d *demoGuard) stand(resource, issuer string, inside http.Handler) (http.Handler, error) {
	var err error
	if d.audit, err = audit.New(d, audit.Config{}); err != nil {
		return nil, err
	}
	g, err := guard.New(guard.Config{
		Resource: resource, Name: "Drawbridge demonstration server", Scopes: []string{demoScope},
		Issuers:   []guard.Issuer{{URL: issuer}},
		Skew:      time.Millisecond, // both ends have one clock here
		Authorize: demoPolicy,
		Audit:     func(ctx context.Context, e guard.Event) error { return d.audit.Append(ctx, audit.Decision(e)) },
	})
	if err != nil {
		return nil, err
	}
	return g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := guard.FromContext(r.Context())
		inside.ServeHTTP(w, demo.Admit(r, demo.Caller{
			Issuer: id.Issuer, Subject: id.Subject, ClientID: id.ClientID, Email: id.Email, Name: id.Username,
			Scopes: id.Scopes, Groups: id.Groups, Expires: id.Expiry,
		}))
	})), nil
}

// Scopes of the demo's server: of everything, and of the tool admin besides.
const (
	demoScope      = "mcp"
	demoAdminScope = "mcp:admin"
)

// demoPolicy wants the scopes that the demo's server names.
func demoPolicy(_ context.Context, r *guard.Request) guard.Decision {
	needed := []string{demoScope}
	if r.Call.Method == "tools/call" && r.Call.Name == "admin" {
		needed = append(needed, demoAdminScope)
	}
	if !r.Identity.HasScopes(needed...) {
		return guard.Decision{Outcome: guard.NeedScopes, Scopes: needed, Reason: "the operation needs more scopes"}
	}
	return guard.Decision{Outcome: guard.Allow, Rule: "scopes"}
}

// verified checks the chain of the audit and returns how many lines it has.
func (d *demoGuard) verified() (int, error) {
	var v audit.Verifier
	lines := d.lines()
	if err := v.Read("audit", bytes.NewReader(lines)); err != nil {
		return 0, err
	}
	if problems := v.Report().Problems; len(problems) > 0 {
		return 0, fmt.Errorf("the audit does not hold together: %v", problems)
	}
	return bytes.Count(lines, []byte("\n")), nil
}

// last returns the last audit line that has all of the words.
func (d *demoGuard) last(words ...string) string {
	lines := strings.Split(strings.TrimSpace(string(d.lines())), "\n")
	for _, line := range slices.Backward(lines) {
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
			return line
		}
	}
	return ""
}
