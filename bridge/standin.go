package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"

	"drawbridge/bridge/envelope"
)

// signInToolName is the tool that stands in for a server's tools while a person has to sign in.
const signInToolName = "sign_in"

// emptyResult is the answer to a list, completion or log level of a server that has none.
func emptyResult(method string) []byte {
	switch method {
	case "tools/list":
		return []byte(`{"tools":[]}`)
	case "prompts/list":
		return []byte(`{"prompts":[]}`)
	case "resources/list":
		return []byte(`{"resources":[]}`)
	case "resources/templates/list":
		return []byte(`{"resourceTemplates":[]}`)
	case "completion/complete":
		return []byte(`{"completion":{"values":[]}}`)
	}
	return emptyObject
}

// standInFor answers c while the server is not there, as err says; false if that is for c to be told.
func (p *pump) standInFor(c *call, kind standIn, err error) bool {
	s, pending := p.cfg.Auth.Pending()
	if pending {
		go p.relistAfter(s)
	}
	if !p.session.stands() {
		defer func() {
			if p.session.stands() { // since a moment: what was announced then is not all
				go p.relist()
			}
		}()
	}
	switch {
	case !absent(err) && !passes(err):
		return false
	case kind == list && p.serveKept(c):
		return true
	case kind == list && !absent(err) && !atSignIn(err):
		if !p.session.stands() {
			p.view.missed(c.Method)
		}
		return false
	case kind == list:
		p.view.stoodIn(c.Method)
	}
	if c.Method == "tools/list" {
		p.result(c, concat(`{"tools":[`, p.signInToolOf(s, err), `]}`, nil, ``))
		return true
	}
	p.result(c, emptyResult(c.Method))
	return true
}

// signInToolOf is the tool sign_in. Its description holds the URL, because that is what a person gets to see in clients
// that show nothing else of a server. err is what the server is waited for.
func (p *pump) signInToolOf(s SignIn, err error) []byte {
	text := "Connects to " + p.up.host + ", whose tools are listed once that is done. It may need a person to sign in."
	if s.URL == "" && err != nil && !errors.Is(err, errNotYet) {
		text += " At present that fails: " + err.Error() + "."
	}
	if s.URL != "" {
		text = "Sign in to " + p.up.host + ". A person has to open this page in a browser: " + s.URL +
			" . Calling this tool opens it on the person's computer and waits; after the sign-in the tools of " + p.up.host + " are listed."
		if s.Other != "" {
			text += " Or " + s.Other + "."
		}
		if s.Reason != "" {
			text += " Needed because " + s.Reason + "."
		}
	}
	return mustJSON(map[string]any{
		"name": signInToolName, "title": "Sign in to " + p.up.host, "description": text,
		"inputSchema": map[string]any{"type": "object", "properties": struct{}{}},
	})
}

// atSignIn reports whether err arose on the way to a sign-in, at the identity provider and not at the server.
func atSignIn(err error) bool {
	var f *fault
	return errors.As(err, &f) && f.kind == "not_authorized"
}

// hasTool reports whether a result of tools/list holds a tool of that name.
func hasTool(list []byte, name string) bool {
	var tools struct{ Tools []struct{ Name string } }
	_ = json.Unmarshal(list, &tools) // what is no tool has no name
	return slices.ContainsFunc(tools.Tools, func(t struct{ Name string }) bool { return t.Name == name })
}

// addTool puts a tool before those of a result of tools/list. What else the result holds is left out.
func addTool(list, tool []byte) []byte {
	tools, _ := envelope.Member(list, "tools")
	rest := bytes.TrimSpace(bytes.TrimPrefix(tools, []byte("[")))
	if rest[0] != ']' {
		tool = append(tool, ',')
	}
	return concat(`{"tools":[`, tool, ``, rest, `}`)
}

// isSignIn reports whether c calls the tool of signInToolList. A server's own sign_in is reached once its list is.
func (p *pump) isSignIn(c *call) bool {
	return c.Method == "tools/call" && p.view.hasSignIn() && envelope.StringMember(c.Params, "name") == signInToolName
}

// signInTool waits for the handshake and for a sign-in under way, as operations do, and says how it ended. It asks the
// server for a ping because that shows whether it accepts the credential, and is the request that brings a sign-in
// about where none is pending.
func (p *pump) signInTool(c *call) error {
	p.presentAgain()
	h, err := p.readyFor(c, wait)
	if err == nil {
		err = p.checkAccess(c, h)
	}
	switch {
	case c.ctx.Err() != nil:
		return err
	case err != nil:
		p.result(c, toolText(signInText(err), true))
	default:
		go p.relist()
		p.result(c, toolText("Signed in to "+p.up.host+". Its tools are available now.", false))
	}
	return nil
}

func (p *pump) checkAccess(c *call, h *handshake) error {
	resp, err := p.up.send(c.ctx, exchange{
		method: "POST", body: concat(`{"jsonrpc":"2.0","id":`, p.ownID(), `,"method":"ping"}`, nil, ``), link: h.link,
		attempt: Attempt{Operation: "tools/call " + signInToolName}, human: p.humanFor(c, wait), limit: p.cfg.CallWait,
	})
	if err != nil {
		return err
	}
	defer func() { go finish(resp) }()
	_, err = p.soleAnswer(resp, nil)
	var own *serverError
	if errors.As(err, &own) {
		return nil // the server knows no ping, but it listened
	}
	return err
}

// signInText explains to a model and its person why signing in did not end.
func signInText(err error) string {
	var f *fault
	if errors.As(err, &f) && f.hint != "" {
		return f.Error() + ". What to do: " + f.hint
	}
	return err.Error()
}

// toolText is a CallToolResult of one text.
func toolText(text string, isError bool) []byte {
	return mustJSON(map[string]any{"content": []any{map[string]string{"type": "text", "text": text}}, "isError": isError})
}
