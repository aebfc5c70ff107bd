package auth

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"drawbridge/internal/demo"
)

// TestMixUp has the server name an evil authorization server that borrows the honest one's sign-in page: the person signs
// in there, and the code would go to the evil token endpoint (RFC 9700 section 4.4). The response says who it is from.
func TestMixUp(t *testing.T) {
	for name, advertised := range map[string]bool{"iss advertised": true, "iss not advertised": false} {
		t.Run(name, func(t *testing.T) {
			v := newVictim(t, misdeed{})
			v.mustCall(v.stage.session())
			good := v.mustStored()

			evil := newScript(t)
			doc := with(goodMetadata(evil.URL), "authorization_endpoint", v.Issuer()+"/authorize")
			evil.on("/.well-known/oauth-authorization-server", answerJSON(with(doc, "authorization_response_iss_parameter_supported", advertised)))
			evil.on("/register", relay(v.Issuer()+"/register"))
			v.Server.SetIntercept(naming(v.URL(), evil.URL))

			v.begin()
			p, _, _ := v.pendingAfterLogin(v.session)
			if !strings.HasPrefix(p.URL, v.Issuer()+"/authorize") {
				t.Fatalf("the page to open is %s", p.URL)
			}
			page, err := v.human.SignIn(t.Context(), p.URL, "ada", demo.Ada().Password)
			if err == nil || !strings.Contains(page, "another identity provider") {
				t.Errorf("the page says %q, %v", page, err)
			}
			if slices.Contains(evil.requests(), "/token") {
				t.Error("the code went to the evil token endpoint")
			}
			if diff := cmp.Diff(fingerprint(good), fingerprint(v.mustStored())); diff != "" {
				t.Errorf("the good sign-in is not what it was (-want +got):\n%s", diff)
			}
			v.session.Close()
			v.behave()
			if _, err := v.stage.session().SignIn(t.Context()); err != nil {
				t.Errorf("an honest sign-in: %v", err)
			}
		})
	}
}

// relay passes requests on to another place.
func relay(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), r.Method, to, r.Body)
		if err != nil {
			panic(err) // the tests name only good places
		}
		req.Header = r.Header.Clone()
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body) // the test sees a broken answer
	}
}

// TestOddChallenges sends challenges that are wrong, large or many, and still leave a way to sign in.
func TestOddChallenges(t *testing.T) {
	var parameters, schemes strings.Builder
	for range 1000 {
		parameters.WriteString(`, p="` + strings.Repeat("x", 20) + `"`)
		schemes.WriteString("Evil x=1, ")
	}
	honest := `resource_metadata="SERVER` + atPath + `"`
	for name, lines := range map[string][]string{
		"none":                         nil,
		"empty":                        {""},
		"Bearer alone":                 {"Bearer"},
		"1000 parameters after ours":   {"Bearer " + honest + parameters.String()},
		"1000 parameters before ours":  {"Bearer a=b" + parameters.String() + ", " + honest},
		"1000 schemes before ours":     {schemes.String() + "Bearer " + honest},
		"1000 lines":                   slices.Repeat([]string{"Bearer " + honest}, 1000),
		"several Bearer, ours first":   {"Bearer " + honest, `Bearer resource_metadata="https://evil.example/x"`},
		"several Bearer in one line":   {"Bearer " + honest + `, Bearer resource_metadata="https://evil.example/x"`},
		"another scheme names a place": {`Evil resource_metadata="https://evil.example/x"`, "Bearer " + honest},
		"parameter twice":              {"Bearer " + honest + `, resource_metadata="https://evil.example/x"`},
		"no closing quote":             {strings.TrimSuffix("Bearer "+honest, `"`)},
		"nothing but separators":       {strings.Repeat(",=\"", 1000)},
		"place that is not there":      {`Bearer resource_metadata="SERVER/nowhere"`},
		"bytes that are no text":       {"Bearer realm=\"\xff\xfe\u202e\", " + honest},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVictim(t, misdeed{do: challenging(lines...)})
			v.begin()
			v.mustCall(v.session)
			v.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1})
			v.harmless("log", v.said.String())
		})
	}
}

// TestMetadataOnAnotherOrigin takes a document from elsewhere for what it says: about this server or not.
func TestMetadataOnAnotherOrigin(t *testing.T) {
	for _, c := range []struct{ name, path, err string }{
		{"about this server", "/mcp", ""},
		{"about another path", "/other", "its resource is"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, elsewhere := newVictim(t, misdeed{}), newScript(t)
			elsewhere.on("/doc", answerJSON(object{"resource": v.Server.Origin() + c.path, "authorization_servers": []string{v.Issuer()}}))
			v.do = challenging(`Bearer resource_metadata="` + elsewhere.URL + `/doc"`)
			v.begin()
			_, err := v.call(v.session)
			wantError(t, err, c.err)
		})
	}
}

// TestWordsOfAServer has a server explain its refusal with what must not reach a terminal.
func TestWordsOfAServer(t *testing.T) {
	for name, refuse := range map[string]http.HandlerFunc{
		"in the challenge": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="`+"\u202e\u0085evil "+r.Header.Get("Authorization")+`"`)
			w.WriteHeader(http.StatusUnauthorized)
		},
		"the token in the body": func(w http.ResponseWriter, r *http.Request) {
			answerStatus(401, "we do not like "+r.Header.Get("Authorization"))(w, r)
		},
		"the token in the body, cut": func(w http.ResponseWriter, r *http.Request) {
			answerStatus(401, "we do not like "+r.Header.Get("Authorization")[:100])(w, r)
		},
		"in the body":      answerStatus(401, "\x1b[31mno\r\n\u202e"+strings.Repeat("a", 10_000)),
		"a page":           answerStatus(401, htmlPage+"<script>"),
		"nothing":          answerStatus(401, ""),
		"invalid encoding": answerStatus(401, "\xff\xfe\x00no"),
	} {
		t.Run(name, func(t *testing.T) {
			v := newVictim(t, misdeed{})
			v.begin()
			v.mustCall(v.session)
			good := v.mustStored()
			v.Server.SetIntercept(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Authorization") == "" || r.URL.Path != "/mcp" {
					return false
				}
				refuse(w, r)
				return true
			})
			_, err := v.call(v.session)
			if err == nil || len(err.Error()) > 2*quoteLimit {
				t.Fatalf("the error is %v", err)
			}
			v.harmless("error", err.Error())
			v.harmless("log", v.said.String())
			if strings.Contains(err.Error(), good.AccessToken.Reveal()) || strings.Contains(err.Error(), "eyJ") {
				t.Error("the error shows a token")
			}
			if _, err := v.stored(); err != nil {
				t.Errorf("the record: %v", err)
			}
		})
	}
}
