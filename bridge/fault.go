package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
	"unicode"

	"drawbridge/bridge/envelope"
)

// Codes of JSON-RPC errors made here. Those of our own lie outside the range JSON-RPC and MCP reserve (MCP 2026-07-28
// basic, error codes), so that they cannot be mistaken for the server's.
const (
	codeParseError     = -32700
	codeInvalidRequest = -32600
	codeMethodNotFound = -32601

	codeSignIn      = 4010 // a person has to sign in
	codeRefused     = 4030 // the server or the identity provider refuses
	codeBadAnswer   = 5020 // the server's answer is no MCP
	codeUnreachable = 5030 // the server cannot be reached; the request was not executed
	codeUnknown     = 5040 // the connection broke after the request was sent; it may have been executed
)

// fault is an error that the client is to see: what happened, why, and what a person can do.
type fault struct {
	code   int
	kind   string // stable word for programs
	text   string
	cause  error
	hint   string
	status int    // HTTP status, 0 if none
	url    string // page to open, "" if none

	retryAfter *time.Duration // what the server's Retry-After asks for; nil if it does not
	unsent     bool           // nothing was sent, to a server that may be starting: it refuses or cuts connections
}

// Error implements error.
func (f *fault) Error() string {
	if f.cause == nil {
		return f.text
	}
	return f.text + ": " + f.cause.Error()
}

// Unwrap returns the cause.
func (f *fault) Unwrap() error { return f.cause }

// Hint returns what a person can do; "" if nothing is known.
func (f *fault) Hint() string { return f.hint }

// serverError is a JSON-RPC error of the server that is to reach the client in the server's words.
type serverError struct{ message envelope.Message }

// Error implements error.
func (e *serverError) Error() string { return "the server answered " + snippet(e.message.Error) }

var (
	nullID      = []byte("null")
	emptyObject = []byte("{}")
)

// fail answers c with err.
func (p *pump) fail(c *call, err error) {
	var own *serverError
	if errors.As(err, &own) {
		p.answer(c, own.message.WithID(c.ID))
		return
	}
	var f *fault
	if !errors.As(err, &f) {
		f = &fault{code: codeBadAnswer, kind: "failed", text: "the request failed", cause: err, hint: hintOf(err)}
	}
	p.cfg.Log.Info("request failed", "method", c.Method, "error", f)
	p.answer(c, errorMessage(c.ID, f))
}

// errorMessage is f as a JSON-RPC error response.
func errorMessage(id []byte, f *fault) []byte {
	type data struct {
		Source string `json:"source"`
		Kind   string `json:"kind"`
		Cause  string `json:"cause,omitempty"`
		Hint   string `json:"hint,omitempty"`
		Status int    `json:"status,omitempty"`
		URL    string `json:"url,omitempty"`
	}
	d := data{Source: "drawbridge", Kind: f.kind, Hint: f.hint, Status: f.status, URL: f.url}
	d.Cause = f.text
	if f.cause != nil {
		d.Cause = f.cause.Error()
	}
	text := "drawbridge: " + f.Error()
	if f.hint != "" {
		text += " (" + f.hint + ")"
	}
	body := mustJSON(map[string]any{"code": f.code, "message": text, "data": d})
	return concat(`{"jsonrpc":"2.0","id":`, id, `,"error":`, body, `}`)
}

func resultMessage(id, result []byte) []byte {
	return concat(`{"jsonrpc":"2.0","id":`, id, `,"result":`, result, `}`)
}

func notificationMessage(method string) []byte {
	return concat(`{"jsonrpc":"2.0","method":"`, []byte(method), `"}`, nil, ``)
}

func concat(a string, b []byte, c string, d []byte, e string) []byte {
	out := make([]byte, 0, len(a)+len(b)+len(c)+len(d)+len(e))
	return append(append(append(append(append(out, a...), b...), c...), d...), e...)
}

// mustJSON encodes values made here, which always encode. URLs in them stay readable: no HTML is near.
func mustJSON(v any) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // a programming error: v is built from strings, numbers, maps and bools of ours
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

func tooLong(limit int) *fault {
	return &fault{code: codeInvalidRequest, kind: "too_long", text: fmt.Sprintf("the message is longer than %d bytes", limit),
		hint: "the limit is drawbridge's, and can be raised where it is started"}
}

// hintOf returns the hint that an error of another package carries.
func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// authFault is an error of the Authorizer.
func authFault(err error) error {
	var f *fault
	if errors.As(err, &f) {
		return err
	}
	return &fault{code: codeRefused, kind: "not_authorized", text: "not authorized", cause: err, hint: hintOf(err)}
}

// signInFault says that a person has to sign in first.
func signInFault(s SignIn) *fault {
	f := &fault{code: codeSignIn, kind: "sign_in_required", text: "a person has to sign in first", url: s.URL,
		hint: "open " + s.URL + " in a browser, sign in, then try again"}
	if s.Other != "" {
		f.hint += "; or " + s.Other
	}
	if s.Reason != "" {
		f.cause = errors.New(s.Reason)
	}
	return f
}

// networkFault sorts failures of an HTTP request by whether the server can have seen it.
func networkFault(host string, err error) error {
	if f := wayFault(host, err); f != nil {
		return f
	}
	f := &fault{code: codeUnreachable, kind: "unreachable", text: "cannot reach " + host, cause: bare(err)}
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		f.hint = "check the host name in the URL, and that the network or VPN is up"
	case errors.Is(err, syscall.ECONNREFUSED):
		f.hint, f.unsent = "check that the server runs and that the port in the URL is right", neverSent(err)
	case errors.As(err, &handshakeBroke{}):
		f.text, f.hint, f.unsent = "the TLS handshake with "+host+" broke off", brokenHandshakeHint, !isTimeout(err)
	case neverSent(err):
		f.hint = "check that the network or VPN is up"
	default:
		f.code, f.kind, f.text = codeUnknown, "outcome_unknown", "the connection to "+host+" broke before the answer; the request may have been executed"
		f.hint = "check whether it took effect before you try again"
	}
	return f
}

// errMalformed stands in for what net/http says about a broken answer, because that quotes the answer, in which a server
// may echo a token.
var errMalformed = errors.New("the answer is malformed HTTP")

// bare takes method and URL off an error of net/http (a URL may hold what a log must not), and the words of the server.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if text := err.Error(); strings.Contains(text, "malformed") || strings.Contains(text, `"`) {
		return errMalformed
	}
	return err
}

// neverSent reports whether err happened before the connection stood.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// httpFault is an answer with a status that is no success and no JSON-RPC error of the server.
func (p *pump) httpFault(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // a part of it explains as well as all of it
	if m, err := envelope.Parse(body); err == nil && m.Error != nil {
		return &serverError{m}
	}
	return p.faultOf(resp, body)
}

// statusFault is an answer whose status says more than its body, JSON-RPC or not.
func (p *pump) statusFault(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // a part of it explains as well as all of it
	return p.faultOf(resp, body)
}

func (p *pump) faultOf(resp *http.Response, body []byte) error {
	f := &fault{code: codeBadAnswer, kind: "http_status", status: resp.StatusCode, hint: statusHint(resp), retryAfter: retryAfter(resp),
		text: fmt.Sprintf("%s answered %s", p.up.host, httpStatus(resp.StatusCode))}
	if s := snippet(withoutToken(body, resp)); s != "" {
		f.cause = errors.New(s)
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		f.code, f.kind = codeRefused, "refused"
	case http.StatusProxyAuthRequired: // of the proxy of a plain http URL
		f.code, f.kind, f.hint = codeUnreachable, "proxy", (&ProxyError{Status: resp.StatusCode}).Hint()
	}
	return f
}

func httpStatus(code int) string {
	return strings.TrimSpace(fmt.Sprintf("HTTP %d %s", code, http.StatusText(code)))
}

func statusHint(resp *http.Response) string {
	switch code := resp.StatusCode; {
	case code >= 300 && code < 400:
		return fmt.Sprintf("the server redirects to %q; if that is the MCP endpoint, use it as the URL", cut(resp.Header.Get("Location")))
	case code == http.StatusUnauthorized:
		return "the server does not accept this credential"
	case code == http.StatusForbidden:
		return "your account is not allowed to do this; ask the server's administrator"
	case code == http.StatusNotFound, code == http.StatusMethodNotAllowed:
		return "check the path of the URL: MCP endpoints often end in /mcp"
	case code == http.StatusTooManyRequests:
		if d := retryAfter(resp); d != nil {
			return fmt.Sprintf("the server asks for fewer requests; it did not execute this one; try again in %v", *d)
		}
		return "the server asks for fewer requests; it did not execute this one; try again later"
	case code >= 500:
		return "the fault is the server's; try again later or tell its operator"
	}
	return "the server does not take this request; check that the URL is the MCP endpoint, or tell the server's operator"
}

// contentFault is a good status with a body that is no MCP.
func (p *pump) contentFault(resp *http.Response, body []byte) error {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	f := &fault{code: codeBadAnswer, kind: "not_mcp", status: resp.StatusCode,
		text: fmt.Sprintf("%s answered with %q, not with JSON or an event stream", p.up.host, cut(kind)),
		hint: "check that the URL is the MCP endpoint, often https://host/mcp"}
	if kind == "text/html" {
		f.hint = "this URL shows a web page; the MCP endpoint is another one, often https://host/mcp, or a sign-in portal is in between"
	}
	if s := snippet(withoutToken(body, resp)); s != "" {
		f.cause = errors.New(s)
	}
	return f
}

// withoutToken takes out of a body the token of the request that it answers, or a key in another header, and all that
// follows: servers that show what they received show that too.
func withoutToken(body []byte, resp *http.Response) []byte {
	if resp.Request == nil {
		return body
	}
	const enough, tooShort = 32, 6 // bytes of a token that tell it from other text, and of a value that may be any word
	for name, values := range resp.Request.Header {
		for _, value := range values {
			if _, token, ok := strings.Cut(value, " "); ok && name == "Authorization" {
				value = token
			} else if protocolHeaders[name] || len(value) < tooShort && name != "Authorization" {
				continue
			}
			if i := bytes.Index(body, []byte(value[:min(len(value), enough)])); value != "" && i >= 0 {
				body = append(body[:i:i], "[secret]"...)
			}
		}
	}
	return body
}

// protocolHeaders hold no secret.
var protocolHeaders = map[string]bool{
	"Accept": true, "Accept-Encoding": true, "Content-Type": true, "Last-Event-Id": true, "Mcp-Session-Id": true, "Mcp-Protocol-Version": true, "User-Agent": true,
}

// syntaxFault is a body that should be a JSON-RPC message and is not.
func (p *pump) syntaxFault(err error) error {
	return &fault{code: codeBadAnswer, kind: "bad_json", text: p.up.host + " answered with broken JSON", cause: err,
		hint: "the fault is the server's, or of a proxy on the way; tell its operator"}
}

// sessionFault is httpFault, as sessionLost where the server does not know the session of the request. MCP 2025-11-25
// transports: that is a 404 to a request with a session id. Servers in the wild also say it with a 400 whose error is no
// answer to the request and speaks of the session.
func (p *pump) sessionFault(link link, resp *http.Response) error {
	err := p.httpFault(resp)
	switch {
	case link.sessionID == "":
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusBadRequest && speaksOfSession(err):
		return sessionLost{err}
	}
	return err
}

func speaksOfSession(err error) bool {
	text := err.Error()
	var own *serverError
	if errors.As(err, &own) {
		if id := own.message.ID; id != nil && string(id) != "null" && string(id) != `"server-error"` {
			return false
		}
		text = string(own.message.Error)
	}
	text = strings.ToLower(text)
	return strings.Contains(text, "session") || strings.Contains(text, "not initialized")
}

// unknownAfter is f, an answer after which the request may or may not have been executed.
func (p *pump) unknownAfter(f *fault) *fault {
	return &fault{code: codeUnknown, kind: "outcome_unknown", text: f.text + "; the request may have been executed", cause: f.cause,
		status: f.status, hint: f.hint + "; check whether it took effect before you try again"}
}

// endedFault says that a request was under way when its session ended.
func (p *pump) endedFault() *fault {
	return &fault{code: codeUnknown, kind: "outcome_unknown", text: "the request may have been executed", cause: errSessionEnded,
		hint: "check whether it took effect before you try again"}
}

// cutFault says that an answer ended before it was complete.
func (p *pump) cutFault(cause error) error {
	return &fault{code: codeUnknown, kind: "outcome_unknown", cause: cause,
		text: "the answer of " + p.up.host + " was cut off; the request may have been executed",
		hint: "check whether it took effect before you try again"}
}

// handshakeFault is err as a failure to connect: whether initialize was executed is of no interest, it can be sent again.
func (p *pump) handshakeFault(err error) error {
	var f *fault
	if !errors.As(err, &f) || f.code != codeUnknown {
		return err
	}
	return &fault{code: codeUnreachable, kind: "unreachable", cause: f.cause, text: "the handshake with " + p.up.host + " broke off",
		hint: brokenHandshakeHint}
}

const brokenHandshakeHint = "try again; if it stays so, the server or a proxy on the way cuts connections, or the server wants a client certificate (--client-cert)"

// snippetLimit is how much foreign text an error quotes, in bytes.
const snippetLimit = 200

// snippet quotes the beginning of a foreign text: one line, no control characters, cut.
func snippet(body []byte) string {
	text := strings.Join(strings.Fields(cut(string(body))), " ")
	if text == "" {
		return ""
	}
	return fmt.Sprintf("%q", text)
}

func cut(s string) string {
	if len(s) > snippetLimit {
		s = s[:snippetLimit] + "..."
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, s)
}
