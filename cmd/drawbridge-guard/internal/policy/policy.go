// Package policy decides who may use which tool, prompt, resource and method of an MCP server, by rules in Cedar or in a
// simpler form that is compiled to it.
//
// Each call is put to Cedar twice: may this principal connect to the server, and may it do this. What a principal is and
// where it belongs stands in the conditions of a policy; what another token of the same person would have stands in its
// annotations @scopes, @acr and @max_age. So a policy whose conditions hold and whose demands are not met is cured by a new
// token, and the caller is told which; where no condition holds, no token helps, and the caller is told which group would.
//
//	principal   User::"ISSUER SUBJECT" with issuer, subject, email, client, scopes, groups, acr; in Group::"NAME"
//	action      Action::"connect", "call" (Tool), "get" (Prompt), "read" (Resource), "request" (Method)
//	resource    Server::"mcp", Tool::"NAME", Prompt::"NAME", Resource::"URI", Method::"NAME"; each with name
//	context     method
package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"drawbridge/auth/guard"
)

// The entity types of the policies.
const (
	typeUser     types.EntityType = "User"
	typeGroup    types.EntityType = "Group"
	typeAction   types.EntityType = "Action"
	typeServer   types.EntityType = "Server"
	typeTool     types.EntityType = "Tool"
	typePrompt   types.EntityType = "Prompt"
	typeResource types.EntityType = "Resource"
	typeMethod   types.EntityType = "Method"

	attrName   = "name"
	attrClient = "client"
)

var (
	actionConnect = types.NewEntityUID(typeAction, "connect")
	server        = types.NewEntityUID(typeServer, "mcp")
)

func group(name string) types.EntityUID { return types.NewEntityUID(typeGroup, types.String(name)) }

// Policy judges requests. It is safe for concurrent use.
type Policy struct {
	set      *cedar.PolicySet
	demands  map[types.PolicyID]demand
	groups   []string // that any permit mentions
	includes map[string][]string
	now      func() time.Time

	mu      sync.RWMutex
	answers map[question]answer // guarded by mu
}

// demand is what a policy wants of the token, and what it is called.
type demand struct {
	Demand
	name   string
	reason string
	groups []string // that it mentions
}

// New makes a policy of rules. now is the clock; if nil, it is time.Now.
func New(r Rules, now func() time.Time) (*Policy, error) {
	set, err := r.compile()
	if err != nil {
		return nil, err
	}
	return newPolicy(set, r.ScopeIncludes, now)
}

// NewCedar makes a policy of a Cedar document. file is its name, for errors.
func NewCedar(file string, document []byte, includes map[string][]string, now func() time.Time) (*Policy, error) {
	set, err := cedar.NewPolicySetFromBytes(file, document)
	if err != nil {
		return nil, fmt.Errorf("cedar policy %q: %w", file, err)
	}
	return newPolicy(set, includes, now)
}

func newPolicy(set *cedar.PolicySet, includes map[string][]string, now func() time.Time) (*Policy, error) {
	if now == nil {
		now = time.Now
	}
	p := &Policy{set: set, demands: map[types.PolicyID]demand{}, includes: includes, now: now}
	for id, policy := range set.All() {
		d, err := demandOf(id, policy)
		if err != nil {
			return nil, fmt.Errorf("policy %s: %w", id, err)
		}
		p.demands[id] = d
		if policy.Effect() == cedar.Permit {
			p.groups = union(p.groups, d.groups)
		}
	}
	if len(p.demands) == 0 {
		return nil, errors.New("the policy is empty: it would deny everything")
	}
	return p, nil
}

func demandOf(id types.PolicyID, policy *cedar.Policy) (d demand, err error) {
	notes := policy.Annotations()
	d.name, d.reason = string(notes[atID]), string(notes[atReason])
	if d.name == "" {
		d.name = string(id)
	}
	d.Scopes, d.ACR = strings.Fields(string(notes[atScopes])), strings.Fields(string(notes[atACR]))
	if age, ok := notes[atMaxAge]; ok {
		if d.MaxAge, err = time.ParseDuration(string(age)); err != nil || d.MaxAge <= 0 {
			return d, fmt.Errorf("@max_age(%q): want a time such as 15m", string(age))
		}
	}
	if err := d.check(); err != nil {
		return d, err
	}
	if d.demanding() && policy.Effect() == cedar.Forbid {
		return d, errors.New("a forbid cannot demand scopes, acr or max_age: put them on a permit")
	}
	d.groups, err = mentioned(policy)
	return d, err
}

func (d Demand) demanding() bool { return len(d.Scopes) > 0 || len(d.ACR) > 0 || d.MaxAge > 0 }

// Cedar returns the policies as text.
func (p *Policy) Cedar() string { return string(p.set.MarshalCedar()) }

// Authorize judges a request. It is a [guard.Config.Authorize].
func (p *Policy) Authorize(_ context.Context, q *guard.Request) guard.Decision {
	id := q.Identity
	may := question{id, actionConnect, server, q.Call.Method}
	connect := p.ask(may)
	if !connect.allowed() {
		return p.deny(may, connect, "this server")
	}
	needs := []*demand{p.best(id, connect)}
	action, target, named := targetOf(q.Call)
	if named {
		if why := unclear(q.Call); why != "" {
			return guard.Decision{Reason: why}
		}
		may = question{id, action, target, q.Call.Method}
		answer := p.ask(may)
		if !answer.allowed() {
			return p.deny(may, answer, shown(target))
		}
		needs = append(needs, p.best(id, answer))
	}
	return p.settle(id, needs)
}

// Visible reports whether an identity could use something if its token met the demands: lists show it then. method is the
// one that would use it.
func (p *Policy) Visible(id *guard.Identity, method, kind, name string) bool {
	call := guard.Call{Method: method, Type: kind, Name: name}
	action, target, _ := targetOf(call)
	return unclear(call) == "" && p.ask(question{id, actionConnect, server, method}).allowed() &&
		p.ask(question{id, action, target, method}).allowed()
}

// settle allows what needs nothing more, and else says all that is needed.
func (p *Policy) settle(id *guard.Identity, needs []*demand) guard.Decision {
	d := guard.Decision{Outcome: guard.Allow, Rule: needs[len(needs)-1].name}
	var scopes []string
	for _, need := range needs {
		scopes = union(scopes, need.Scopes)
		if !p.signedIn(id, need) {
			d.Outcome, d.ACR = guard.StepUp, union(d.ACR, need.ACR)
			d.Reason = "this needs a newer or stronger sign-in"
			if d.MaxAge == 0 || need.MaxAge > 0 && need.MaxAge < d.MaxAge {
				d.MaxAge = need.MaxAge
			}
		}
	}
	if missing := p.missing(id, scopes); len(missing) > 0 {
		d.Scopes = scopes
		if d.Outcome == guard.Allow {
			d.Outcome, d.Reason = guard.NeedScopes, "this needs the scope "+strings.Join(missing, " ")
		}
	}
	return d
}

// best returns the demand of the satisfied policies that is met, or else the first that could be.
func (p *Policy) best(id *guard.Identity, a answer) *demand {
	var first *demand
	for _, policy := range a.permits {
		d := p.demands[policy]
		if len(p.missing(id, d.Scopes)) == 0 && p.signedIn(id, &d) {
			return &d
		}
		if first == nil {
			first = &d
		}
	}
	return first
}

// signedIn reports whether the person's sign-in is recent and strong enough (RFC 9470).
func (p *Policy) signedIn(id *guard.Identity, d *demand) bool {
	if len(d.ACR) > 0 && !slices.Contains(d.ACR, id.ACR) {
		return false
	}
	return d.MaxAge == 0 || !id.AuthTime.IsZero() && p.now().Sub(id.AuthTime) <= d.MaxAge
}

// missing returns the scopes that the token lacks, with those in mind that others include (MCP 2026-07-28, authorization:
// account for scope hierarchies).
func (p *Policy) missing(id *guard.Identity, wanted []string) (lacks []string) {
	held := slices.Clone(id.Scopes)
	for i := 0; i < len(held); i++ {
		held = union(held, p.includes[held[i]])
	}
	for _, scope := range wanted {
		if !slices.Contains(held, scope) {
			lacks = append(lacks, scope)
		}
	}
	return lacks
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(slices.Clip(a), s)
		}
	}
	return a
}
