package auth

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestHostileRegistration has the registration endpoint answer what no client can be made of.
func TestHostileRegistration(t *testing.T) {
	at := func(h http.HandlerFunc) func(*stage) { return atIdP("/register", h) }
	// granted answers what was asked for, with one member changed; nil drops it.
	granted := func(key string, value any) func(*stage) {
		doc := object{"client_id": "evil", "token_endpoint_auth_method": "none"}
		return at(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusCreated)
			answerJSON(with(doc, key, value))(w, r)
		})
	}
	withSecret := func(key string, value any) func(*stage) {
		doc := object{"client_id": "evil", "client_secret": "CANARY-evil", "client_secret_expires_at": 0}
		return at(answerJSON(with(doc, key, value)))
	}
	play(t, []misdeed{
		{name: "redirect to another origin", do: at(sendTo(307, "http://127.0.0.1:1/register")), err: "status 307", hint: others},
		{name: "redirect within the origin", do: at(sendTo(308, "/elsewhere")), err: "status 308", hint: others},
		{name: "not found", do: at(http.NotFound), err: "status 404", hint: others},
		{name: "outage", do: at(answerStatus(503, "")), err: "status 503", hint: others},
		{name: "empty 400", do: at(answerStatus(400, "")), err: "status 400", hint: others},
		{name: "refusal that says nothing", do: at(answerStatus(400, `{"error":"invalid_client_metadata"}`)), err: `"invalid_client_metadata"`, hint: others},
		{name: "refusal with escapes", do: at(answerStatus(400, `{"error":"x\u001b[2J","error_description":"\u202egnp.exe<script>"}`)), err: `"x[2J": "gnp.exe<script>"`, hint: others},
		{name: "refusal of 10 kB", do: at(answerStatus(400, `{"error":"x","error_description":"`+strings.Repeat("a", 10_000)+`"}`)), err: strings.Repeat("a", quoteLimit) + `"`, hint: others},
		{name: "a page", do: at(answerStatus(200, htmlPage)), err: "no client_id", hint: others},
		{name: "truncated", do: at(answerStatus(201, `{"client_id":"CANARY-`)), err: "no client_id", hint: others},
		{name: "giant", do: at(answerStatus(201, `{"x":"`+strings.Repeat("a", 1<<20)+`"}`)), err: "larger than 1 MiB", hint: others},
		{name: "unpacks to much", do: at(bomb), err: "larger than 1 MiB", hint: others},
		{name: "never comes", do: at(hang), patience: 100 * time.Millisecond, err: "Client.Timeout", hint: others},
		{name: "no client id", do: granted("client_id", nil), err: "no client_id", hint: others},
		{name: "client id of the wrong type", do: granted("client_id", 7), err: "no client_id", hint: others},
		{name: "client id with escapes", do: granted("client_id", "evil\x1b[2J"), err: `client_id "evil[2J" has characters`, hint: others},
		{name: "client id that turns the writing", do: granted("client_id", "evil\u202egnp"), err: `client_id "evilgnp" has characters`, hint: others},
		{name: "client id of two lines", do: granted("client_id", "evil\nissuer  https://good.example"), err: "has characters that OAuth does not allow", hint: others},
		{name: "another redirect URI", do: granted("redirect_uris", []string{"https://evil.example/cb"}), err: "replaced the redirect URI", hint: others},
		{name: "secret that has expired", do: withSecret("client_secret_expires_at", 1), err: "has expired", hint: "clock"},
		{name: "method that needs a key", do: withSecret("token_endpoint_auth_method", "private_key_jwt"), err: `authenticate by "private_key_jwt"`, hint: others},
		{name: "method that needs a key, no secret", do: granted("token_endpoint_auth_method", "private_key_jwt"), err: `authenticate by "private_key_jwt"`, hint: others},
	})
}

// TestHostileResponse changes the authorization response on its way. What does not fit is ignored, and the real
// response still counts; what fits and says no ends the sign-in.
func TestHostileResponse(t *testing.T) {
	set := func(pairs ...string) func(*stage, url.Values) {
		return func(_ *stage, q url.Values) {
			for i := 0; i < len(pairs); i += 2 {
				q[pairs[i]] = strings.Fields(pairs[i+1])
			}
		}
	}
	iss := func(edit func(issuer string) string) func(*stage, url.Values) {
		return func(st *stage, q url.Values) { q.Set("iss", edit(st.Issuer())) }
	}
	// says turns the response into an error.
	says := func(code, description string) func(*stage, url.Values) {
		return func(_ *stage, q url.Values) {
			q.Del("code")
			q.Set("error", code)
			if description != "" {
				q.Set("error_description", description)
			}
		}
	}
	const mixedUp, missing, foreign = "another identity provider", "iss is missing", "not the sign-in that is under way"
	ignored := []misdeed{
		{name: "iss of another", redirect: set("iss", "https://evil.example"), ignored: mixedUp},
		{name: "no iss", redirect: set("iss", ""), ignored: missing},
		{name: "empty iss", redirect: iss(func(string) string { return "" }), ignored: mixedUp},
		{name: "iss with a slash", redirect: iss(func(i string) string { return i + "/" }), ignored: mixedUp},
		{name: "iss in capitals", redirect: iss(strings.ToUpper), ignored: mixedUp},
		{name: "iss under another name", redirect: iss(func(i string) string { return strings.Replace(i, "127.0.0.1", "localhost", 1) }), ignored: mixedUp},
		{name: "iss with a default port", redirect: iss(func(i string) string { return i[:strings.LastIndex(i, ":")] + ":80" }), ignored: mixedUp},
		{name: "two iss", redirect: func(st *stage, q url.Values) { q.Add("iss", st.Issuer()) }, ignored: "malformed"},
		{name: "another state", redirect: set("state", "evil"), ignored: foreign},
		{name: "no state", redirect: set("state", ""), ignored: foreign},
		{name: "two states", redirect: func(_ *stage, q url.Values) { q.Add("state", q.Get("state")) }, ignored: "malformed"},
		{name: "two codes", redirect: func(_ *stage, q url.Values) { q.Add("code", "evil") }, ignored: "malformed"},
		{name: "no code", redirect: set("code", ""), ignored: "neither a code nor an error"},
		{name: "an error of another sign-in", redirect: set("state", "evil", "code", "", "error", "access_denied"), ignored: foreign},
		{name: "an error of another provider", redirect: set("iss", "https://evil.example", "code", "", "error", "access_denied"), ignored: mixedUp},
	}
	for i := range ignored {
		ignored[i].tabs = 1
	}
	play(t, ignored)
	play(t, []misdeed{
		{name: "code of somebody else", redirect: set("code", "evil"), err: `"invalid_grant"`, hint: others, tabs: 1},
		{name: "error without description", redirect: says("server_error", ""), err: `"server_error"`, hint: others, tabs: 1},
		{name: "error with escapes", redirect: says("server_error\x1b[31m", "\x1b]8;;https://evil.example\x07click\x1b]8;;\x07"), err: `"server_error[31m": "]8;;https://evil.exampleclick]8;;"`, hint: others, tabs: 1},
		{name: "error with HTML", redirect: says("x", "<script>alert(1)</script>"), err: "<script>alert(1)</script>", hint: others, tabs: 1},
		{name: "error of 10 kB", redirect: says("x", strings.Repeat("a", 10_000)), err: strings.Repeat("a", quoteLimit) + `"`, hint: others, tabs: 1},
		{name: "refused by a person", redirect: says("access_denied", "no"), err: `"access_denied": "no"`, hint: "administrator", tabs: 1},
	})
}

// badToken is an answer of a token endpoint that holds no token for us.
type badToken struct {
	name     string
	answer   http.HandlerFunc
	patience time.Duration
	err      string
}

// badTokens are answers that pass for an accident: they cost a sign-in nothing that it has.
func badTokens() []badToken {
	says := func(body string) http.HandlerFunc { return answerStatus(200, body) }
	const token = `"access_token":"CANARY-evil","token_type":"Bearer"`
	return []badToken{
		{name: "301 to another origin", answer: sendTo(301, "http://127.0.0.1:1/token"), err: "redirects are not followed"},
		{name: "307 to another origin", answer: sendTo(307, "http://127.0.0.1:1/token"), err: "redirects are not followed"},
		{name: "308 within the origin", answer: sendTo(308, "/elsewhere"), err: "redirects are not followed"},
		{name: "truncated", answer: says(`{"access_token":"CANARY-evil`), err: "not the JSON of RFC 6749"},
		{name: "a page", answer: says(htmlPage + "<script>CANARY</script>"), err: "HTML page"},
		{name: "nothing", answer: says(""), err: "not the JSON of RFC 6749"},
		{name: "null", answer: says("null"), err: "no access_token"},
		{name: "a list", answer: says(`[{` + token + `}]`), err: "not the JSON of RFC 6749"},
		{name: "two documents", answer: says(`{` + token + `}{` + token + `}`), err: "not the JSON of RFC 6749"},
		{name: "as a form", answer: says("access_token=CANARY-evil&token_type=Bearer"), err: "not the JSON of RFC 6749"},
		{name: "no access token", answer: says(`{"token_type":"Bearer"}`), err: "no access_token"},
		{name: "empty access token", answer: says(`{"access_token":"","token_type":"Bearer"}`), err: "no access_token"},
		{name: "access token of the wrong type", answer: says(`{"access_token":["CANARY"],"token_type":"Bearer"}`), err: "not the JSON of RFC 6749"},
		{name: "access token with a line break", answer: says(`{"access_token":"CANARY\r\nX-Evil: 1","token_type":"Bearer"}`), err: "no header can carry"},
		{name: "access token with a space", answer: says(`{"access_token":"CANARY evil","token_type":"Bearer"}`), err: "no header can carry"},
		{name: "access token outside ASCII", answer: says(`{"access_token":"CANARY-é","token_type":"Bearer"}`), err: "no header can carry"},
		{name: "access token with NUL", answer: says(`{"access_token":"CANARY\u0000","token_type":"Bearer"}`), err: "no header can carry"},
		{name: "no token type", answer: says(`{"access_token":"CANARY-evil"}`), err: "no token_type"},
		{name: "token type mac", answer: says(`{"access_token":"CANARY-evil","token_type":"mac"}`), err: `token_type is "mac"`},
		{name: "token type DPoP", answer: says(`{"access_token":"CANARY-evil","token_type":"DPoP"}`), err: `token_type is "DPoP"`},
		{name: "token type with escapes", answer: says(`{"access_token":"CANARY-evil","token_type":"\u001b[2JBearer"}`), err: `token_type is "[2JBearer"`},
		{name: "refresh token of the wrong type", answer: says(`{` + token + `,"refresh_token":{"a":1}}`), err: "not the JSON of RFC 6749"},
		{name: "scope of the wrong type", answer: says(`{` + token + `,"scope":["mcp"]}`), err: "not the JSON of RFC 6749"},
		{name: "scope with escapes", answer: says(`{` + token + `,"scope":"mcp \u001b[2Jadmin"}`), err: `scope "mcp [2Jadmin" has characters`},
		{name: "scope outside ASCII", answer: says(`{` + token + `,"scope":"mcp\u202epcm"}`), err: "has characters that OAuth does not allow"},
		{name: "giant", answer: says(`{` + token + `,"x":"` + strings.Repeat("a", 1<<20) + `"}`), err: "larger than 1 MiB"},
		{name: "unpacks to much", answer: bomb, err: "larger than 1 MiB"},
		{name: "never comes", answer: hang, patience: 100 * time.Millisecond, err: "Client.Timeout"},
		{name: "never ends", answer: drip, patience: 100 * time.Millisecond, err: "read answer"},
		{name: "outage", answer: answerStatus(502, "<html>"), err: "status 502"},
		{name: "an outage that speaks OAuth", answer: answerStatus(503, `{"error":"temporarily_unavailable"}`), err: "temporarily_unavailable"},
		{name: "cut off", answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, err: "token endpoint"},
	}
}

// refusals are answers that say no. Nothing is lost by them either, but only a new sign-in may help.
func refusals() []badToken {
	return []badToken{
		{name: "empty 400", answer: answerStatus(400, ""), err: "does not say why"},
		{name: "error with 200", answer: answerStatus(200, `{"error":"invalid_request"}`), err: `"invalid_request"`},
		{name: "error without description", answer: answerStatus(400, `{"error":"invalid_request"}`), err: `"invalid_request"`},
		{name: "error and token", answer: answerStatus(200, `{"error":"evil","access_token":"CANARY-evil","token_type":"Bearer"}`), err: `"evil"`},
		{name: "error with escapes", answer: answerStatus(400, `{"error":"x","error_description":"\u001b[31mred\r\n\u0007"}`), err: `"x": "[31mred"`},
		{name: "error with HTML", answer: answerStatus(400, `{"error":"x","error_description":"<script>alert(1)</script>"}`), err: "<script>"},
		{name: "error of 10 kB", answer: answerStatus(400, `{"error":"x","error_description":"`+strings.Repeat("a", 10_000)+`"}`), err: strings.Repeat("a", quoteLimit) + `"`},
	}
}

// TestHostileTokenEndpoint has the code redeemed for something else than a token.
func TestHostileTokenEndpoint(t *testing.T) {
	var all []misdeed
	for _, b := range append(badTokens(), refusals()...) {
		all = append(all, misdeed{name: b.name, do: atIdP("/token", b.answer), patience: b.patience, err: b.err, hint: others, tabs: 1})
	}
	play(t, all)
}
