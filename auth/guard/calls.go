package guard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"drawbridge/auth/guard/message"
)

// JSON-RPC error codes. codeForbidden is one that JSON-RPC leaves to servers and MCP does not use.
const (
	codeParse     = -32700
	codeInvalid   = -32600
	codeForbidden = -32003
)

// besideRefused is what a call of a batch is told that would have been allowed alone.
const besideRefused = "not run, because another message of the same batch is not allowed"

// readCalls reads what a POST asks for and leaves the request as it was. Other requests carry no message: they are one
// call without a method.
func (g *Guard) readCalls(w http.ResponseWriter, r *http.Request) (calls []Call, batch bool, refused *refusal) {
	if r.Method != http.MethodPost {
		return []Call{{}}, false, nil
	}
	raw, refused := g.readBody(w, r)
	if refused != nil {
		return nil, false, refused
	}
	body, err := message.Parse(raw)
	if err != nil {
		code := codeInvalid
		if errors.Is(err, message.ErrSyntax) {
			code = codeParse
		}
		return nil, false, malformed(code, nil, err)
	}
	if err := body.CheckHeaders(r.Header); err != nil {
		return nil, false, malformed(message.CodeHeaderMismatch, body.Messages[0].ID, err)
	}
	return callsOf(body), body.Batch, nil
}

// readBody reads the whole body and puts it back. The guard must be able to read what the server will read, so it takes
// neither other encodings nor other character sets.
func (g *Guard) readBody(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset, foreign := params["charset"]
	switch {
	case err != nil || media != "application/json" || len(r.Header.Values("Content-Type")) > 1,
		foreign && !strings.EqualFold(charset, "utf-8"):
		return nil, unsupported("send application/json in UTF-8")
	case len(r.Header.Values("Content-Encoding")) > 0:
		return nil, unsupported("send the body without a content encoding")
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, g.cfg.MaxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		text := fmt.Sprintf("the message is larger than the %d bytes that are accepted here", g.cfg.MaxBody)
		return nil, &refusal{status: http.StatusRequestEntityTooLarge, verdict: Malformed, text: text}
	}
	if err != nil {
		return nil, &refusal{status: http.StatusBadRequest, verdict: Malformed, text: "the message did not arrive whole", cause: err}
	}
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(raw)), int64(len(raw)), nil
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }
	return raw, nil
}

func unsupported(text string) *refusal {
	return &refusal{status: http.StatusUnsupportedMediaType, verdict: Malformed, text: text}
}

// callsOf lists what the messages want to use, each target a call of its own.
func callsOf(body message.Body) (calls []Call) {
	for _, m := range body.Messages {
		call := Call{Method: m.Method, Arguments: m.Arguments}
		if m.Kind == message.Request {
			call.ID = string(m.ID)
		}
		if len(m.Targets) == 0 {
			calls = append(calls, call)
		}
		for _, target := range m.Targets {
			call.Type, call.Name = target.Type, target.Name
			calls = append(calls, call)
		}
	}
	return calls
}

// rpcError is a JSON-RPC answer.
type rpcError struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Error   struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

func newRPCError(code int, id []byte, text string) rpcError {
	e := rpcError{Version: "2.0", ID: id}
	if len(id) == 0 {
		e.ID = json.RawMessage("null")
	}
	e.Error.Code, e.Error.Message = code, text
	return e
}

// malformed answers what cannot be judged with 400 (MCP, Streamable HTTP: an HTTP error status, the body may be a JSON-RPC
// error).
func malformed(code int, id []byte, err error) *refusal {
	text := "drawbridge-guard: " + printable(err.Error())
	return &refusal{status: http.StatusBadRequest, verdict: Malformed, text: text, body: newRPCError(code, id, text)}
}

// denial answers calls of which some are not allowed and no token would change that. Clients take a bare 403 for a broken
// connection and drop it, so every request gets a JSON-RPC error that says why, with 200 as for every answer. What has no
// id to be answered by gets the 403.
func denial(rulings []ruling, batch bool) *refusal {
	refused := &refusal{status: http.StatusForbidden, verdict: Denied}
	var answers []rpcError
	for _, ruled := range slices.SortedStableFunc(slices.Values(rulings), deniedFirst) {
		text := besideRefused
		if ruled.decision.Outcome != Allow {
			text = "not allowed: " + printable(ruled.decision.Reason)
		}
		if refused.text == "" {
			refused.text, refused.rule = text, ruled.decision.Rule
		}
		known := func(a rpcError) bool { return string(a.ID) == ruled.call.ID }
		if ruled.call.ID != "" && !slices.ContainsFunc(answers, known) {
			answers = append(answers, newRPCError(codeForbidden, []byte(ruled.call.ID), text))
		}
	}
	switch {
	case len(answers) > 0 && batch:
		refused.status, refused.body = http.StatusOK, answers
	case len(answers) > 0:
		refused.status, refused.body = http.StatusOK, answers[0]
	}
	return refused
}

// deniedFirst sorts by how much a ruling explains: a denial before what a token would cure, and what is allowed last.
func deniedFirst(a, b ruling) int {
	rank := map[Outcome]int{Deny: 0, NeedScopes: 1, StepUp: 1, Allow: 2}
	return rank[a.decision.Outcome] - rank[b.decision.Outcome]
}
