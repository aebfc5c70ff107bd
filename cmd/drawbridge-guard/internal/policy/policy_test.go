package policy_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drawbridge/auth/guard"
	"drawbridge/cmd/drawbridge-guard/internal/policy"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

var rules = policy.Rules{
	Connect: &policy.Connect{Who: policy.Who{Groups: []string{"staff"}}, Demand: policy.Demand{Scopes: []string{"mcp:use"}}},
	Allow: []policy.Rule{
		{Name: "reading", Tools: []string{"read_*", "list"}, Prompts: []string{"*"}, Resources: []string{"file:///public/*"}},
		{Name: "writing", Tools: []string{"write_*"}, Who: policy.Who{Groups: []string{"engineering", "writers"}}, Demand: policy.Demand{Scopes: []string{"mcp:write"}}},
		{Name: "release", Tools: []string{"deploy"}, Who: policy.Who{Groups: []string{"release"}}, Demand: policy.Demand{Scopes: []string{"mcp:write", "mcp:deploy"}, ACR: []string{"phr", "phrh"}, MaxAge: 15 * time.Minute}},
		{Name: "robots", Tools: []string{"deploy"}, Who: policy.Who{Clients: []string{"ci"}}},
		{Methods: []string{"tasks/*"}},
	},
	ScopeIncludes: map[string][]string{"mcp:admin": {"mcp:write"}, "mcp:write": {"mcp:use"}},
}

// The same in Cedar, with a forbid.
const document = `
@id("connect") @scopes("mcp:use")
permit (principal in Group::"staff", action == Action::"connect", resource);
@id("reading")
permit (principal, action, resource) when {
  (resource is Tool && (resource.name like "read_*" || resource.name == "list")) || resource is Prompt ||
  (resource is Resource && resource.name like "file:///public/*") };
@id("writing") @scopes("mcp:write")
permit (principal, action == Action::"call", resource) when { resource.name like "write_*" && principal in [Group::"engineering", Group::"writers"] };
@id("release") @scopes("mcp:write mcp:deploy") @acr("phr phrh") @max_age("15m")
permit (principal in Group::"release", action == Action::"call", resource == Tool::"deploy");
@id("robots")
permit (principal, action, resource == Tool::"deploy") when { principal.client == "ci" };
permit (principal, action == Action::"request", resource) when { resource.name like "tasks/*" };
`

func identity(change func(*guard.Identity)) *guard.Identity {
	id := &guard.Identity{Issuer: "https://idp.example", Subject: "s", ClientID: "drawbridge", Groups: []string{"staff"}, Scopes: []string{"mcp:use"}}
	if change != nil {
		change(id)
	}
	return id
}

func tool(name string) guard.Call {
	return guard.Call{ID: "1", Method: "tools/call", Type: "tool", Name: name}
}

func resource(uri string) guard.Call {
	return guard.Call{ID: "1", Method: "resources/read", Type: "resource", Name: uri}
}

func TestAuthorize(t *testing.T) {
	engineer := identity(func(id *guard.Identity) { id.Groups = append(id.Groups, "engineering") })
	releaser := identity(func(id *guard.Identity) {
		id.Groups, id.Scopes = append(id.Groups, "release"), []string{"mcp:write", "mcp:deploy"}
		id.ACR, id.AuthTime = "phr", now.Add(-15*time.Minute)
	})
	but := func(id *guard.Identity, change func(*guard.Identity)) *guard.Identity {
		other := *id
		change(&other)
		return &other
	}
	allow := func(rule string) guard.Decision { return guard.Decision{Outcome: guard.Allow, Rule: rule} }
	deny := func(why string) guard.Decision { return guard.Decision{Reason: why} }
	all := []string{"mcp:use", "mcp:write", "mcp:deploy"}
	stepUp := guard.Decision{Outcome: guard.StepUp, ACR: []string{"phr", "phrh"}, MaxAge: 15 * time.Minute, Rule: "release", Reason: "this needs a newer or stronger sign-in"}
	stepUpAndScopes := stepUp
	stepUpAndScopes.Scopes = all
	tests := []struct {
		name string
		id   *guard.Identity
		call guard.Call
		want guard.Decision
	}{
		{"connecting", identity(nil), guard.Call{Method: "initialize"}, allow("connect")},
		{"a list", identity(nil), guard.Call{Method: "tools/list"}, allow("connect")},
		{"a stream", identity(nil), guard.Call{}, allow("connect")},
		{"a notification", identity(nil), guard.Call{Method: "notifications/cancelled"}, allow("connect")},
		{"connecting as nobody", identity(func(id *guard.Identity) { id.Groups = nil }), guard.Call{Method: "initialize"}, deny("this server needs the group staff")},
		{"connecting without scope", identity(func(id *guard.Identity) { id.Scopes = nil }), guard.Call{Method: "initialize"},
			guard.Decision{Outcome: guard.NeedScopes, Scopes: []string{"mcp:use"}, Rule: "connect", Reason: "this needs the scope mcp:use"}},
		{"an allowed tool as nobody", identity(func(id *guard.Identity) { id.Groups = nil }), tool("read_x"), deny("this server needs the group staff")},
		{"tool by pattern", identity(nil), tool("read_x"), allow("reading")},
		{"tool by name", identity(nil), tool("list"), allow("reading")},
		{"tool with a longer name", identity(nil), tool("list2"), deny(`tool "list2" is not allowed to you by any rule`)},
		{"tool in another case", identity(nil), tool("LIST"), deny(`tool "LIST" is not allowed to you by any rule`)},
		{"tool with a star in its name", identity(nil), tool("*"), deny(`tool "*" is not allowed to you by any rule`)},
		{"prompt", identity(nil), guard.Call{Method: "prompts/get", Type: "prompt", Name: "any"}, allow("reading")},
		{"prompt with a tool's name", identity(nil), guard.Call{Method: "prompts/get", Type: "prompt", Name: "deploy"}, allow("reading")},
		{"resource", identity(nil), resource("file:///public/a/b"), allow("reading")},
		{"resource elsewhere", identity(nil), resource("file:///secret"), deny(`resource "file:///secret" is not allowed to you by any rule`)},
		{"resource by a detour", identity(nil), resource("file:///public/../secret"), deny("a resource's address must not have . or .. as a step")},
		{"resource by a hidden detour", identity(nil), resource("file:///public/%2e%2E/secret"), deny("a resource's address must not have . or .. as a step")},
		{"resource by a detour beside a broken escape", identity(nil), resource("file:///public/%2e%2e/secret?%zz"), deny("a resource's address must not have . or .. as a step")},
		{"resource by a detour with a parameter", identity(nil), resource("file:///public/..;a=b/secret"), deny("a resource's address must not have . or .. as a step")},
		{"resource with a broken escape", identity(nil), resource("file:///public/100%"), allow("reading")},
		{"resource by a twice hidden detour", identity(nil), resource("file:///public/%252e%252e%255csecret"), deny("a resource's address must not have . or .. as a step")},
		{"another method", identity(nil), guard.Call{Method: "tasks/get"}, allow("")},
		{"an unknown method", identity(nil), guard.Call{Method: "admin/reset"}, deny(`method "admin/reset" is not allowed to you by any rule`)},
		{"a method that looks like a list", identity(nil), guard.Call{Method: "tools/list "}, deny(`method "tools/list " is not allowed to you by any rule`)},
		{"tool of a group", identity(nil), tool("write_x"), deny(`tool "write_x" needs one of the groups engineering, writers`)},
		{"tool of one group", identity(nil), tool("deploy"), deny(`tool "deploy" needs the group release`)},
		{"tool of a client", identity(func(id *guard.Identity) { id.ClientID = "ci" }), tool("deploy"), allow("robots")},
		{"scope missing", engineer, tool("write_x"), guard.Decision{Outcome: guard.NeedScopes, Scopes: []string{"mcp:use", "mcp:write"}, Rule: "writing", Reason: "this needs the scope mcp:write"}},
		{"scope there", but(engineer, func(id *guard.Identity) { id.Scopes = []string{"mcp:use", "mcp:write"} }), tool("write_x"), allow("writing")},
		{"scope included in another", but(engineer, func(id *guard.Identity) { id.Scopes = []string{"mcp:admin"} }), tool("write_x"), allow("writing")},
		{"sign-in recent and strong", releaser, tool("deploy"), allow("release")},
		{"sign-in too old", but(releaser, func(id *guard.Identity) { id.AuthTime = now.Add(-15*time.Minute - time.Second) }), tool("deploy"), stepUp},
		{"sign-in too weak", but(releaser, func(id *guard.Identity) { id.ACR = "pwd" }), tool("deploy"), stepUp},
		{"sign-in of unknown age", but(releaser, func(id *guard.Identity) { id.AuthTime = time.Time{} }), tool("deploy"), stepUp},
		{"sign-in and scope", but(releaser, func(id *guard.Identity) { id.ACR, id.Scopes = "pwd", []string{"mcp:use"} }), tool("deploy"), stepUpAndScopes},
		{"other scopes than the rule's", but(releaser, func(id *guard.Identity) { id.Scopes = []string{"mcp:use"} }), tool("deploy"),
			guard.Decision{Outcome: guard.NeedScopes, Scopes: all, Rule: "release", Reason: "this needs the scope mcp:write mcp:deploy"}},
	}
	simple, err := policy.New(rules, clock)
	if err != nil {
		t.Fatal(err)
	}
	cedar, err := policy.NewCedar("x.cedar", []byte(document), rules.ScopeIncludes, clock)
	if err != nil {
		t.Fatal(err)
	}
	again, err := policy.NewCedar("y.cedar", []byte(simple.Cedar()), rules.ScopeIncludes, clock)
	if err != nil {
		t.Fatalf("the compiled rules as text: %v\n%s", err, simple.Cedar())
	}
	for _, form := range []struct {
		name string
		p    *policy.Policy
	}{{"rules", simple}, {"cedar", cedar}, {"rules through text", again}} {
		for _, tt := range tests {
			t.Run(form.name+"/"+tt.name, func(t *testing.T) {
				got := form.p.Authorize(context.Background(), &guard.Request{Identity: tt.id, Call: tt.call})
				if tt.want.Rule == "" { // its name differs between the forms
					got.Rule = ""
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("decision (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestVisible(t *testing.T) {
	p, err := policy.New(rules, clock)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		groups     string
		kind, name string
		want       bool
	}{
		{"staff", "tool", "read_x", true},
		{"staff", "tool", "deploy", false},
		{"staff release", "tool", "deploy", true}, // its scopes and sign-in can be had
		{"release", "tool", "deploy", false},      // may not connect
		{"staff", "prompt", "p", true},
		{"staff", "resource", "file:///public/x", true},
		{"staff", "resource", "file:///x", false},
		{"staff", "resource", "file:///public/../x", false},
	} {
		id := identity(func(id *guard.Identity) { id.Groups = strings.Fields(tt.groups) })
		if got := p.Visible(id, "x", tt.kind, tt.name); got != tt.want {
			t.Errorf("%s: %s %s visible = %v", tt.groups, tt.kind, tt.name, got)
		}
	}
}

// TestForbid: a forbid wins, says why, and denies everything when it cannot be evaluated.
func TestForbid(t *testing.T) {
	judge := func(text, name string) guard.Decision {
		p, err := policy.NewCedar("x", []byte("permit (principal, action, resource);\n"+text), nil, clock)
		if err != nil {
			t.Fatal(err)
		}
		return p.Authorize(context.Background(), &guard.Request{Identity: identity(nil), Call: tool(name)})
	}
	const named = `@id("freeze") @reason("deployments are frozen until Monday") forbid (principal, action, resource == Tool::"deploy");`
	for _, tt := range []struct {
		text, tool string
		want       guard.Decision
	}{
		{named, "deploy", guard.Decision{Reason: "deployments are frozen until Monday", Rule: "freeze"}},
		{named, "read", guard.Decision{Outcome: guard.Allow, Rule: "policy0"}},
		{`forbid (principal in Group::"staff", action == Action::"connect", resource);`, "read", guard.Decision{Reason: "this server is forbidden", Rule: "policy1"}},
		{`forbid (principal, action, resource) when { principal.nosuch == 1 };`, "read", guard.Decision{Reason: "the policy of this server cannot be evaluated; tell its administrator"}},
		{`permit (principal, action, resource) when { principal.nosuch == 1 };`, "read", guard.Decision{Outcome: guard.Allow, Rule: "policy0"}},
	} {
		if diff := cmp.Diff(tt.want, judge(tt.text, tt.tool)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.text, diff)
		}
	}
}

// TestEverything: without rules whoever may connect may do all.
func TestEverything(t *testing.T) {
	p, err := policy.New(policy.Rules{Connect: &policy.Connect{Who: policy.Who{Groups: []string{"staff"}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := p.Authorize(context.Background(), &guard.Request{Identity: identity(nil), Call: tool("any")}); d.Outcome != guard.Allow {
		t.Errorf("in the group: %+v", d)
	}
	stranger := identity(func(id *guard.Identity) { id.Groups = nil })
	if d := p.Authorize(context.Background(), &guard.Request{Identity: stranger, Call: tool("any")}); d.Outcome != guard.Deny {
		t.Errorf("outside: %+v", d)
	}
}

func TestRefuses(t *testing.T) {
	for name, r := range map[string]policy.Rules{
		"allows nothing":      {Allow: []policy.Rule{{Name: "x"}}},
		"whole seconds":       {Allow: []policy.Rule{{Tools: []string{"*"}, Demand: policy.Demand{MaxAge: 1500 * time.Millisecond}}}},
		"one word":            {Allow: []policy.Rule{{Tools: []string{"*"}, Demand: policy.Demand{Scopes: []string{"a b"}}}}},
		"connect: \"a\\\"\":": {Connect: &policy.Connect{Demand: policy.Demand{ACR: []string{`a"`}}}},
	} {
		if _, err := policy.New(r, nil); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"empty":                 ``,
		"x.cedar":               `permit (principal`,
		"@max_age":              `@max_age("soon") permit (principal, action, resource);`,
		"forbid cannot demand":  `@scopes("a") forbid (principal, action, resource);`,
		"quotes and backslash":  `@acr("a\\") permit (principal, action, resource);`,
		"want a time such as 1": `@max_age("-1m") permit (principal, action, resource);`,
	} {
		if _, err := policy.NewCedar("x.cedar", []byte(text), nil, nil); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMemory: answers are remembered for an identity, not for its name, and not without end.
func TestMemory(t *testing.T) {
	p, err := policy.New(rules, clock)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		id := identity(func(id *guard.Identity) {
			if i%2 == 0 {
				id.Groups = nil
			}
		})
		d := p.Authorize(context.Background(), &guard.Request{Identity: id, Call: tool("read_x")})
		if want := i%2 == 1; want != (d.Outcome == guard.Allow) {
			t.Fatalf("identity %d with groups %v: %+v", i, id.Groups, d)
		}
	}
}

func BenchmarkAuthorize(b *testing.B) {
	p, err := policy.New(rules, clock)
	if err != nil {
		b.Fatal(err)
	}
	q := &guard.Request{Identity: identity(func(id *guard.Identity) {
		id.Groups = append(id.Groups, strings.Fields("a b c d e f g h i j k l m n o p")...)
	}), Call: tool("read_x")}
	b.ReportAllocs()
	for b.Loop() {
		if d := p.Authorize(b.Context(), q); d.Outcome != guard.Allow {
			b.Fatal(d)
		}
	}
}
