package guard

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// FuzzBearer: whatever the header and the query are, there is either one token of one header, or a refusal.
func FuzzBearer(f *testing.F) {
	f.Add("Bearer abc", "", "")
	f.Add("bearer  a.b.c ", "Bearer x", "access_token=y")
	f.Add("Basic eA==", "", "a=b;%61ccess_token=x&%zz")
	f.Add("Bearer a,b", "", "access%5Ftoken")
	f.Fuzz(func(t *testing.T, first, second, query string) {
		r := &http.Request{Header: http.Header{"Authorization": {first}}, URL: mustParse("https://mcp.example.com/mcp")}
		if second != "" {
			r.Header.Add("Authorization", second)
		}
		r.URL.RawQuery = query
		token, refused := bearer(r)
		got := token.Reveal()
		switch {
		case refused == nil && (got == "" || len(got) > maxTokenBytes || strings.ContainsAny(got, " ,\"\t\r\n")):
			t.Errorf("token %q", got)
		case refused == nil && (second != "" || r.URL.Query().Has("access_token")):
			t.Errorf("token %q was not the only one", got)
		case refused == nil && !strings.EqualFold(strings.ReplaceAll(first, " ", ""), "Bearer"+got):
			t.Errorf("token %q of %q", got, first)
		case refused != nil && (got != "" || refused.status != 400 && refused.status != 401 || printable(refused.text) != refused.text):
			t.Errorf("refusal %+v with token %q", refused, got)
		}
	})
}

// FuzzGroups: whatever the claims are, the groups are names that can be shown, each once; and a list of them is the same
// list again.
func FuzzGroups(f *testing.F) {
	for _, seed := range []string{
		`{"groups":["a","/b"],"roles":"a b, c","realm_access":{"roles":["x"]},"resource_access":{"c":{"roles":["y"]},"d":1}}`,
		`{"groups":"[\"a\"]","cognito:groups":"[a, b]","https://x/groups":{"a":1},"memberOf":"CN=A B,DC=x"}`,
		`{"realm_access":[],"resource_access":{"c":null},"_claim_names":{"groups":"src"}}`,
	} {
		f.Add(seed, "a.b")
	}
	f.Fuzz(func(t *testing.T, text, place string) {
		var c claims
		if json.Unmarshal([]byte(text), &c) != nil {
			return
		}
		overflowed(c)
		for _, places := range [][]string{nil, {place}} {
			groups := groupsOf(c, places)
			for i, g := range groups {
				if g == "" || shown(g) != g || slices.Index(groups, g) != i {
					t.Errorf("groups %q of %s", groups, text)
				}
			}
			list := make([]any, len(groups))
			for i, g := range groups {
				list[i] = g
			}
			if again := groupsOf(claims{"groups": list}, nil); !slices.Equal(again, groups) && places != nil {
				t.Errorf("groups %q become %q", groups, again)
			}
		}
	})
}

// TestCacheIsBounded: tokens in use stay, however many others come, and those do not pile up.
func TestCacheIsBounded(t *testing.T) {
	var c cache
	used := keyOf("used")
	c.put(used, &verified{id: &Identity{Subject: "ada"}})
	for i := range 3 * cacheSize {
		c.put(keyOf(fmt.Sprint(i)), &verified{})
		if v := c.get(used); v == nil || v.id.Subject != "ada" {
			t.Fatalf("the token in use is forgotten after %d others", i)
		}
	}
	if n := len(c.young) + len(c.old); n > cacheSize {
		t.Errorf("%d tokens are remembered", n)
	}
	if c.get(keyOf("0")) != nil {
		t.Error("the first token is remembered")
	}
}

// TestInventedTokensAreApart: what an issuer does not know drives no good token out.
func TestInventedTokensAreApart(t *testing.T) {
	var g Guard
	g.keep(keyOf("invented"), &verified{wrong: badToken("x")})
	g.keep(keyOf("good"), &verified{id: &Identity{}})
	if len(g.known.young) != 1 || len(g.inactive.young) != 1 || g.recall(keyOf("invented")) == nil || g.recall(keyOf("good")) == nil {
		t.Errorf("known %v, inactive %v", g.known.young, g.inactive.young)
	}
}

// TestDecisions: what the caller is told when the policy does not allow. The challenge names all scopes of the operation
// (MCP 2026-07-28, authorization: runtime insufficient scope), and RFC 9470 has the words for a stronger sign-in.
func TestDecisions(t *testing.T) {
	g := &Guard{cfg: Config{Scopes: []string{"mcp:tools"}}, metadataURL: "https://m"}
	for _, test := range []struct {
		d       Decision
		status  int
		want    string
		verdict Verdict
	}{
		{Decision{}, 403, "", Denied},
		{Decision{Reason: "needs group ops"}, 403, "", Denied},
		{Decision{Outcome: NeedScopes, Scopes: []string{"mcp:tools", "mcp:write"}, Reason: `needs "mcp:write"`}, 403,
			`Bearer error="insufficient_scope", error_description="needs 'mcp:write'", scope="mcp:tools mcp:write", resource_metadata="https://m"`, ScopeNeeded},
		{Decision{Outcome: StepUp, ACR: []string{"phr", "mfa"}, MaxAge: 5 * time.Minute, Reason: "sign in again\r\nX: y"}, 401,
			`Bearer error="insufficient_user_authentication", error_description="sign in againX: y", acr_values="phr mfa", max_age="300", resource_metadata="https://m"`, StepUpNeeded},
	} {
		r := test.d.refused()
		if got := g.challenge(r); r.status != test.status || got != test.want || r.verdict != test.verdict {
			t.Errorf("%+v: got %d %s %s\nwant %s", test.d, r.status, r.verdict, got, test.want)
		}
	}
}

// BenchmarkValidate is the cost of a token that is known.
func BenchmarkValidate(b *testing.B) {
	g, err := New(Config{Resource: "https://mcp.example.com/mcp", Issuers: []Issuer{{URL: "https://idp.example.com"}}})
	if err != nil {
		b.Fatal(err)
	}
	ring := &keyRing{}
	p := g.providers["https://idp.example.com"]
	p.state.Store(&published{keys: ring, refreshed: time.Now()})
	token := strings.Repeat("x", 900)
	g.known.put(keyOf(token), &verified{id: &Identity{Subject: "ada"}, until: time.Now().Add(time.Hour), ring: ring, by: p})
	h := g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r := (&http.Request{Method: http.MethodGet, URL: mustParse("https://mcp.example.com/mcp"), Header: http.Header{}}).WithContext(context.Background())
	r.Header.Set("Authorization", "Bearer "+token)
	for _, name := range []string{"Accept", "Mcp-Session-Id", "Mcp-Protocol-Version", "User-Agent"} {
		r.Header.Set(name, "x")
	}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(sink{}, r)
	}
}

// sink is a ResponseWriter that fails the benchmark's point if anything is refused.
type sink struct{}

func (sink) Header() http.Header         { return http.Header{} }
func (sink) Write(b []byte) (int, error) { return len(b), nil }
func (sink) WriteHeader(status int)      { panic(status) }

func mustParse(raw string) *url.URL {
	u, err := url.Parse(raw)
	if err != nil {
		panic(err)
	}
	return u
}
