package policy

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
)

// Rules is the simple form of a policy: what is not allowed by a rule is denied. It is compiled to Cedar.
type Rules struct {
	// Connect says who may use the server at all. If nil, everybody with a valid token.
	Connect *Connect `yaml:"connect"`

	// Allow are the rules. If empty, everything is allowed to those who may connect.
	Allow []Rule `yaml:"allow"`

	// ScopeIncludes says which scopes another one includes: a token with the key has the values too.
	ScopeIncludes map[string][]string `yaml:"scope_includes"`
}

// Connect is what every request needs.
type Connect struct {
	Who    `yaml:",inline"`
	Demand `yaml:",inline"`
}

// Rule allows somebody something. In patterns, * stands for any text.
type Rule struct {
	Name      string   `yaml:"name"` // for the audit; if "", its number
	Tools     []string `yaml:"tools"`
	Prompts   []string `yaml:"prompts"`
	Resources []string `yaml:"resources"` // by URI
	Methods   []string `yaml:"methods"`   // that are neither tools, prompts, resources nor what every client needs
	Who       `yaml:",inline"`
	Demand    `yaml:",inline"`
}

// Who says whom a rule is for: those in one of the groups, with one of the clients. An empty list is everybody.
type Who struct {
	Groups  []string `yaml:"groups"`
	Clients []string `yaml:"clients"`
}

// Demand is what a token must have besides; another token can meet it.
type Demand struct {
	Scopes []string      `yaml:"scopes"`  // all of them
	ACR    []string      `yaml:"acr"`     // one of them (RFC 9470)
	MaxAge time.Duration `yaml:"max_age"` // since the person signed in (RFC 9470)
}

// Annotations that carry a demand in Cedar.
const (
	atID     = "id"
	atScopes = "scopes"
	atACR    = "acr"
	atMaxAge = "max_age"
	atReason = "reason" // of a forbid: what the caller is told
)

// compile returns the rules as Cedar policies.
func (r Rules) compile() (*cedar.PolicySet, error) {
	set := cedar.NewPolicySet()
	connect := permit("connect", Connect{}.Demand).ActionEq(actionConnect)
	if r.Connect != nil {
		if err := r.Connect.Demand.check(); err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
		connect = r.Connect.restrict(permit("connect", r.Connect.Demand).ActionEq(actionConnect))
	}
	set.Add("connect", cedar.NewPolicyFromAST(connect))
	if len(r.Allow) == 0 {
		everything := ast.Permit().Annotate(atID, "everything")
		set.Add("everything", cedar.NewPolicyFromAST(everything.When(ast.Action().NotEqual(entity(actionConnect)))))
	}
	for i, rule := range r.Allow {
		id := types.PolicyID(fmt.Sprintf("rule%04d", i+1)) // in the order of the file
		if rule.Name == "" {
			rule.Name = fmt.Sprintf("rule %d", i+1)
		}
		compiled, err := rule.compile()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", rule.Name, err)
		}
		set.Add(id, cedar.NewPolicyFromAST(compiled))
	}
	return set, nil
}

func (r Rule) compile() (*ast.Policy, error) {
	var targets []ast.Node
	for _, kind := range []struct {
		of       types.EntityType
		patterns []string
	}{{typeTool, r.Tools}, {typePrompt, r.Prompts}, {typeResource, r.Resources}, {typeMethod, r.Methods}} {
		for _, pattern := range kind.patterns {
			targets = append(targets, ast.Resource().Is(kind.of).And(ast.Resource().Access(attrName).Like(glob(pattern))))
		}
	}
	if len(targets) == 0 {
		return nil, errors.New("it allows nothing: name tools, prompts, resources or methods (\"*\" for all)")
	}
	if err := r.Demand.check(); err != nil {
		return nil, err
	}
	return r.restrict(permit(r.Name, r.Demand)).When(anyOf(targets)), nil
}

// permit begins a policy that is not about connecting, unless its scope says so.
func permit(name string, d Demand) *ast.Policy {
	p := ast.Permit().Annotate(atID, types.String(name))
	if len(d.Scopes) > 0 {
		p = p.Annotate(atScopes, types.String(strings.Join(d.Scopes, " ")))
	}
	if len(d.ACR) > 0 {
		p = p.Annotate(atACR, types.String(strings.Join(d.ACR, " ")))
	}
	if d.MaxAge > 0 {
		p = p.Annotate(atMaxAge, types.String(d.MaxAge.String()))
	}
	return p
}

func (d Demand) check() error {
	if d.MaxAge < 0 || d.MaxAge%time.Second != 0 {
		return fmt.Errorf("max_age %s: want whole seconds", d.MaxAge)
	}
	for _, word := range append(d.Scopes, d.ACR...) {
		if word == "" || strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' }) {
			return fmt.Errorf("%q: want one word without spaces, quotes and backslashes", word)
		}
	}
	return nil
}

func (w Who) restrict(p *ast.Policy) *ast.Policy {
	if len(w.Groups) > 0 {
		var groups []ast.Node
		for _, name := range w.Groups {
			groups = append(groups, entity(group(name)))
		}
		p = p.When(ast.Principal().In(ast.Set(groups...)))
	}
	if len(w.Clients) > 0 {
		var clients []ast.Node
		for _, id := range w.Clients {
			clients = append(clients, ast.String(id))
		}
		p = p.When(ast.Set(clients...).Contains(ast.Principal().Access(attrClient)))
	}
	return p
}

func anyOf(nodes []ast.Node) ast.Node {
	all := nodes[0]
	for _, n := range nodes[1:] {
		all = all.Or(n)
	}
	return all
}

func entity(uid types.EntityUID) ast.Node { return ast.EntityUID(types.Ident(uid.Type), uid.ID) }

func glob(pattern string) types.Pattern {
	var parts []any
	for i, text := range strings.Split(pattern, "*") {
		if i > 0 {
			parts = append(parts, types.Wildcard{})
		}
		parts = append(parts, text)
	}
	return types.NewPattern(parts...)
}
