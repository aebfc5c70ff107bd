package policy

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"drawbridge/auth/guard"
)

// answer is what Cedar says to a question.
type answer struct {
	permits []types.PolicyID // satisfied, in the order of the file; none if a forbid is
	forbids []types.PolicyID
	broken  bool // a forbid could not be evaluated
}

func (a answer) allowed() bool { return len(a.permits) > 0 && !a.broken }

// principal is an identity as Cedar sees it.
func principal(id *guard.Identity, groups []string) types.Entity {
	parents := make([]types.EntityUID, len(groups))
	for i, name := range groups {
		parents[i] = group(name)
	}
	uid := types.NewEntityUID(typeUser, types.String(id.Issuer+" "+id.Subject)) // an issuer is a URL: it has no space
	return types.Entity{
		UID: uid, Parents: types.NewEntityUIDSet(parents...),
		Attributes: types.NewRecord(types.RecordMap{
			"issuer": types.String(id.Issuer), "subject": types.String(id.Subject), "email": types.String(id.Email),
			attrClient: types.String(id.ClientID), "acr": types.String(id.ACR),
			"scopes": words(id.Scopes), "groups": words(groups),
		}),
	}
}

func words(list []string) types.Set {
	values := make([]types.Value, len(list))
	for i, s := range list {
		values[i] = types.String(s)
	}
	return types.NewSet(values...)
}

// world is what one question is about.
type world struct{ principal, target types.Entity }

// Get implements [types.EntityGetter].
func (w world) Get(uid types.EntityUID) (types.Entity, bool) {
	switch uid {
	case w.principal.UID:
		return w.principal, true
	case w.target.UID:
		return w.target, true
	}
	return types.Entity{}, false
}

// question is all that an answer depends on. Identities are shared between the requests of a token and never change, so a
// pointer stands for what they say.
type question struct {
	id             *guard.Identity
	action, target types.EntityUID
	method         string
}

// maxAnswers bounds the answers that are remembered. Clients make up names, so when it is reached all are forgotten.
const maxAnswers = 4096

// ask returns what Cedar says, or said before.
func (p *Policy) ask(q question) answer {
	p.mu.RLock()
	a, known := p.answers[q]
	p.mu.RUnlock()
	if known {
		return a
	}
	a = p.evaluate(q, q.id.Groups)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.answers) >= maxAnswers || p.answers == nil {
		p.answers = make(map[question]answer)
	}
	p.answers[q] = a
	return a
}

// evaluate puts a question to Cedar, with the principal in the given groups.
func (p *Policy) evaluate(q question, groups []string) (a answer) {
	who := principal(q.id, groups)
	thing := types.Entity{UID: q.target, Attributes: types.NewRecord(types.RecordMap{attrName: q.target.ID})}
	decision, notes := p.set.IsAuthorized(world{who, thing}, types.Request{
		Principal: who.UID, Action: q.action, Resource: q.target,
		Context: types.NewRecord(types.RecordMap{"method": types.String(q.method)}),
	})
	for _, reason := range notes.Reasons {
		if decision == cedar.Allow {
			a.permits = append(a.permits, reason.PolicyID)
		} else {
			a.forbids = append(a.forbids, reason.PolicyID)
		}
	}
	slices.SortFunc(a.permits, byNumber)
	for _, failed := range notes.Errors {
		// Fail closed: Cedar passes over a policy that cannot be evaluated, which for a forbid would allow what it forbids.
		a.broken = a.broken || p.set.Get(failed.PolicyID).Effect() == cedar.Forbid
	}
	return a
}

// byNumber sorts as the file does: Cedar numbers the policies of a document policy0, policy1, ..., policy10.
func byNumber(a, b types.PolicyID) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(string(a), string(b))
}

// targetOf says what a call does to what. named is false for what every client has to do to use a server at all.
func targetOf(call guard.Call) (action, target types.EntityUID, named bool) {
	of := func(action types.String, kind types.EntityType, name string) (types.EntityUID, types.EntityUID, bool) {
		return types.NewEntityUID(typeAction, action), types.NewEntityUID(kind, types.String(name)), true
	}
	switch {
	case call.Type == "tool":
		return of("call", typeTool, call.Name)
	case call.Type == "prompt":
		return of("get", typePrompt, call.Name)
	case call.Type == "resource":
		return of("read", typeResource, call.Name)
	case !plumbing(call.Method):
		return of("request", typeMethod, call.Method)
	}
	return actionConnect, server, false
}

// plumbing reports whether a method is what every client has to use, or only gets lists that are filtered.
func plumbing(method string) bool {
	switch method {
	case "", "initialize", "ping", "server/discover", "logging/setLevel", "subscriptions/listen",
		"tools/list", "prompts/list", "resources/list", "resources/templates/list":
		return true
	}
	return strings.HasPrefix(method, "notifications/")
}

// unclear says why a resource cannot be judged by its address; "" if it can. A pattern such as file:///public/* must not
// allow file:///public/../secret, and servers differ in what they decode before they resolve it.
func unclear(call guard.Call) string {
	if call.Type != "resource" {
		return ""
	}
	uri := call.Name
	for range 3 {
		for _, step := range strings.FieldsFunc(uri, func(r rune) bool { return r == '/' || r == '\\' || r == '?' || r == '#' }) {
			step, _, _ = strings.Cut(step, ";") // some servers read parameters into a step
			if step == "." || step == ".." {
				return "a resource's address must not have . or .. as a step"
			}
		}
		uri = unescaped(uri)
	}
	return ""
}

// unescaped undoes percent signs. What is no escape stays, as lenient readers have it: to give up there would hide the
// others.
func unescaped(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				out.Write(c)
				i += 2
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// shown names something for people: quoted and cut, because a client wrote the name.
func shown(target types.EntityUID) string {
	return fmt.Sprintf("%s %.100q", strings.ToLower(string(target.Type)), string(target.ID))
}

// deny says why, and which groups would help.
func (p *Policy) deny(q question, a answer, what string) guard.Decision {
	if a.broken {
		return guard.Decision{Reason: "the policy of this server cannot be evaluated; tell its administrator"}
	}
	if len(a.forbids) > 0 {
		d := p.demands[a.forbids[0]]
		reason := d.reason
		if reason == "" {
			reason = what + " is forbidden"
		}
		return guard.Decision{Reason: reason, Rule: d.name}
	}
	if helps := p.helping(q); len(helps) == 1 {
		return guard.Decision{Reason: what + " needs the group " + helps[0]}
	} else if len(helps) > 1 {
		return guard.Decision{Reason: what + " needs one of the groups " + strings.Join(helps, ", ")}
	}
	return guard.Decision{Reason: what + " is not allowed to you by any rule"}
}

// helping returns the groups that the policies mention which would allow it if the principal were in all groups.
func (p *Policy) helping(q question) (groups []string) {
	for _, id := range p.evaluate(q, union(q.id.Groups, p.groups)).permits {
		for _, name := range p.demands[id].groups {
			if !slices.Contains(q.id.Groups, name) && !slices.Contains(groups, name) {
				groups = append(groups, name)
			}
		}
	}
	return groups
}

// mentioned returns the groups that a policy names, from its JSON form.
func mentioned(policy *cedar.Policy) (groups []string, err error) {
	text, err := policy.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		return nil, err
	}
	collect(tree, &groups)
	slices.Sort(groups)
	return groups, nil
}

func collect(node any, groups *[]string) {
	switch node := node.(type) {
	case []any:
		for _, n := range node {
			collect(n, groups)
		}
	case map[string]any:
		kind, _ := node["type"].(string)
		if id, ok := node["id"].(string); ok && kind == string(typeGroup) {
			*groups = union(*groups, []string{id})
		}
		for _, n := range node {
			collect(n, groups)
		}
	}
}
