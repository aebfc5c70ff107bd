package auth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func discoveryFor(t *testing.T, server, pin string) *discovery {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	r := &reach{server: u, lookup: noLookup}
	return &discovery{server: u, issuer: pin, fetch: newFetcher(nil, r, log), log: log}
}

func noLookup(context.Context, string, string) ([]netip.Addr, error) {
	return nil, errors.New("no such host")
}

const (
	atPath = "/.well-known/oauth-protected-resource/mcp"
	atRoot = "/.well-known/oauth-protected-resource"
)

// TestWhereResourceMetadataIsLookedFor checks the order of places, and that none is asked in vain.
func TestWhereResourceMetadataIsLookedFor(t *testing.T) {
	for _, c := range []struct {
		name      string
		server    string // path of the server, "/mcp" if empty
		challenge string // path of resource_metadata
		answers   map[string]http.HandlerFunc
		found     string // path that holds the document; "" for none
		asked     []string
		err       string
	}{
		{name: "in the challenge", challenge: "/x", found: "/x", asked: []string{"/x"}},
		{name: "challenge leads nowhere", challenge: "/x", found: atPath, asked: []string{"/x", atPath}},
		{name: "path before root", found: atPath, asked: []string{atPath}},
		{name: "root", found: atRoot, asked: []string{atPath, atRoot}},
		{name: "server at the root", server: "/", found: atRoot, asked: []string{atRoot}},
		{name: "query belongs to the resource", server: "/mcp?t=1", found: atPath + "?t=1", asked: []string{atPath + "?t=1"}},
		{name: "a page for everything", found: atRoot, asked: []string{atPath, atRoot},
			answers: map[string]http.HandlerFunc{atPath: answerStatus(200, htmlPage)}},
		{name: "broken JSON", found: atRoot, asked: []string{atPath, atRoot},
			answers: map[string]http.HandlerFunc{atPath: answerStatus(200, `{"resource":`)}},
		{name: "nowhere", asked: []string{atPath, atRoot}, err: errNoMetadata.Error()},
		{name: "an outage is not an absence", asked: []string{atPath, atRoot}, err: "status 503",
			answers: map[string]http.HandlerFunc{atRoot: answerStatus(503, "")}},
		{name: "too large", asked: []string{atPath, atRoot}, err: "larger than 1 MiB",
			answers: map[string]http.HandlerFunc{atPath: answerStatus(200, `{"x":"`+strings.Repeat("a", 1<<20)+`"}`)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t)
			path := c.server
			if path == "" {
				path = "/mcp"
			}
			server := strings.TrimSuffix(s.URL+path, "/")
			for p, a := range c.answers {
				s.on(p, a)
			}
			if c.found != "" {
				s.on(c.found, answerJSON(object{"resource": server, "authorization_servers": []string{"https://idp.example"}}))
			}
			challenge := ""
			if c.challenge != "" {
				challenge = s.URL + c.challenge
			}
			_, err := discoveryFor(t, server, "").resourceMetadata(t.Context(), challenge)
			wantError(t, err, c.err)
			if absent := c.err == errNoMetadata.Error(); errors.Is(err, errNoMetadata) != absent {
				t.Errorf("%v counts as absence: %v", err, !absent)
			}
			if diff := cmp.Diff(c.asked, s.requests()); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

// wantError fails the test unless err is nil for "" and contains the text otherwise.
func wantError(t *testing.T, err error, text string) {
	t.Helper()
	if (err == nil) != (text == "") || err != nil && !strings.Contains(err.Error(), text) {
		t.Errorf("the error is %v, want %q", err, text)
	}
}

// TestWhereServerMetadataIsLookedFor checks the order of places for an issuer with and without a path.
func TestWhereServerMetadataIsLookedFor(t *testing.T) {
	const oauth, openID = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
	for _, c := range []struct {
		name    string
		issuer  string // path
		answers map[string]http.HandlerFunc
		found   string
		stated  string // path of the issuer in the document, if it differs
		asked   []string
		err     string
	}{
		{name: "no path", found: oauth, asked: []string{oauth}},
		{name: "no path, OpenID", found: openID, asked: []string{oauth, openID}},
		{name: "path", issuer: "/t1", found: oauth + "/t1", asked: []string{oauth + "/t1"}},
		{name: "path, OpenID inserted", issuer: "/t1", found: openID + "/t1", asked: []string{oauth + "/t1", openID + "/t1"}},
		{name: "path, OpenID appended", issuer: "/t1", found: "/t1" + openID, asked: []string{oauth + "/t1", openID + "/t1", "/t1" + openID}},
		{name: "the root is another tenant's", issuer: "/t1", found: oauth, stated: "/t1",
			asked: []string{oauth + "/t1", openID + "/t1", "/t1" + openID}, err: "status 404"},
		{name: "an outage, a page, nonsense", issuer: "/t1", found: "/t1" + openID,
			answers: map[string]http.HandlerFunc{oauth + "/t1": answerStatus(500, ""), openID + "/t1": answerStatus(200, htmlPage)},
			asked:   []string{oauth + "/t1", openID + "/t1", "/t1" + openID}},
		{name: "a slash is no path", issuer: "/", found: oauth, asked: []string{oauth}},
		{name: "another issuer", found: oauth, stated: "/other", asked: []string{oauth, openID}, err: "its issuer is"},
		{name: "a slash too many", found: oauth, stated: "/", asked: []string{oauth, openID}, err: "its issuer is"},
		{name: "a slash too few", issuer: "/t1/", found: oauth + "/t1", stated: "/t1",
			asked: []string{oauth + "/t1", openID + "/t1", "/t1" + openID}, err: "its issuer is"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t)
			issuer := s.URL + c.issuer
			for p, a := range c.answers {
				s.on(p, a)
			}
			stated := issuer
			if c.stated != "" {
				stated = s.URL + c.stated
			}
			s.on(c.found, answerJSON(with(goodMetadata(s.URL), "issuer", stated)))
			_, err := discoveryFor(t, s.URL+"/mcp", "").serverMetadata(t.Context(), issuer, issuer)
			wantError(t, err, c.err)
			if diff := cmp.Diff(c.asked, s.requests()); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

func TestResourceCovers(t *testing.T) {
	server, err := url.Parse("https://mcp.example.com/a/mcp")
	if err != nil {
		t.Fatal(err)
	}
	for resource, want := range map[string]coverage{
		"https://mcp.example.com/a/mcp":        resourceEqual,
		"https://mcp.example.com/a/mcp/":       resourceEqual,
		"HTTPS://MCP.example.com:443/a/mcp":    resourceEqual,
		"https://mcp.example.com/a":            resourceParent,
		"https://mcp.example.com/":             resourceParent,
		"https://mcp.example.com":              resourceParent,
		"https://mcp.example.com/a/mc":         resourceForeign,
		"https://mcp.example.com/a/mcp/below":  resourceForeign,
		"https://mcp.example.com/A/mcp":        resourceForeign,
		"https://mcp.example.com/?x":           resourceForeign,
		"http://mcp.example.com/a/mcp":         resourceForeign,
		"https://mcp.example.com:8443/a/mcp":   resourceForeign,
		"https://evil.example.com/a/mcp":       resourceForeign,
		"https://mcp.example.com@evil.example": resourceForeign,
		"https://mcp.example.com.evil.example": resourceForeign,
		"urn:mcp":                              resourceForeign,
		"":                                     resourceForeign,
	} {
		if got := resourceCovers(resource, server); got != want {
			t.Errorf("%q covers the server: %v, want %v", resource, got, want)
		}
	}
}

// TestChoice checks which authorization server is taken from a list.
func TestChoice(t *testing.T) {
	for _, c := range []struct {
		name, pin string
		listed    []string
		want, err string
	}{
		{name: "the first", listed: []string{"https://a", "https://b"}, want: "https://a"},
		{name: "the pinned", pin: "https://b", listed: []string{"https://a", "https://b"}, want: "https://b"},
		{name: "the pinned, spelt its own way", pin: "https://b", listed: []string{"https://b/"}, want: "https://b"},
		{name: "the pinned, unlisted", pin: "https://c", listed: []string{"https://a"}, err: "not the pinned"},
		{name: "the pinned, nothing listed", pin: "https://c", want: "https://c"},
		{name: "nothing", err: "names no authorization server"},
	} {
		d := discovery{issuer: c.pin}
		got, err := d.choose(c.listed)
		wantError(t, err, c.err)
		if got != c.want {
			t.Errorf("%s: chose %q, want %q", c.name, got, c.want)
		}
	}
}

// TestServersWithoutResourceMetadata covers what older servers and servers with other keys answer.
func TestServersWithoutResourceMetadata(t *testing.T) {
	const oauth = "/.well-known/oauth-authorization-server"
	for _, c := range []struct {
		name   string
		pinned bool
		wanted wanted
		meta   bool
		err    string
	}{
		{name: "2025-03-26", wanted: wanted{bearer: true, schemes: []string{"bearer"}}, meta: true},
		{name: "no challenge at all", meta: true},
		{name: "pinned", pinned: true, meta: true},
		{name: "no metadata anywhere", wanted: wanted{bearer: true}, err: "names no authorization server"},
		{name: "basic", wanted: wanted{schemes: []string{"basic"}}, meta: true, err: `wants "basic" authentication`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t)
			if c.meta {
				s.on(oauth, answerJSON(goodMetadata(s.URL)))
			}
			pin := ""
			if c.pinned {
				pin = s.URL
			}
			got, err := discoveryFor(t, s.URL+"/mcp", pin).find(t.Context(), c.wanted)
			wantError(t, err, c.err)
			if c.err == "" && (got.as.Issuer != s.URL || got.resource != s.URL+"/mcp") {
				t.Errorf("found %+v", got)
			}
			var h interface{ Hint() string }
			if err != nil && (!errors.As(err, &h) || !strings.Contains(h.Hint(), "--header")) {
				t.Errorf("no hint at --header in %v", err)
			}
		})
	}
}

// TestHostileMetadata has the server and the identity provider say what must not be believed.
func TestHostileMetadata(t *testing.T) {
	const oauth = "/.well-known/oauth-authorization-server"
	for _, c := range []struct {
		name     string
		resource func(base string) object // nil: good
		metadata func(base string) object // nil: good
		err      string
	}{
		{name: "all good"},
		{name: "resource of another host", resource: func(base string) object {
			return object{"resource": "https://mcp.example.com/mcp", "authorization_servers": []string{base}}
		}, err: "its resource is"},
		{name: "no resource", resource: func(base string) object {
			return object{"authorization_servers": []string{base}}
		}, err: "its resource is"},
		{name: "http issuer", resource: func(base string) object {
			return object{"resource": base + "/mcp", "authorization_servers": []string{"http://idp.example.com"}}
		}, err: "plain http"},
		{name: "issuer with a user", resource: func(base string) object {
			return object{"resource": base + "/mcp", "authorization_servers": []string{"https://a@idp.example.com"}}
		}, err: "no user"},
		{name: "issuer with a query", resource: func(base string) object {
			return object{"resource": base + "/mcp", "authorization_servers": []string{base + "?x"}}
		}, err: "no query"},
		{name: "javascript issuer", resource: func(base string) object {
			return object{"resource": base + "/mcp", "authorization_servers": []string{"javascript:alert(1)"}}
		}, err: "not a URL that can be used"},
		{name: "javascript authorization endpoint", metadata: func(base string) object {
			return with(goodMetadata(base), "authorization_endpoint", "javascript:alert(1)")
		}, err: "authorization_endpoint"},
		{name: "file authorization endpoint", metadata: func(base string) object {
			return with(goodMetadata(base), "authorization_endpoint", "file:///etc/passwd")
		}, err: "want https"},
		{name: "command as authorization endpoint", metadata: func(base string) object {
			return with(goodMetadata(base), "authorization_endpoint", "calc.exe")
		}, err: "want https"},
		{name: "http authorization endpoint", metadata: func(base string) object {
			return with(goodMetadata(base), "authorization_endpoint", "http://idp.example.com/a")
		}, err: "plain http"},
		{name: "homograph", metadata: func(base string) object {
			return with(goodMetadata(base), "authorization_endpoint", "https://іdp.example.com/a")
		}, err: "ASCII"},
		{name: "http token endpoint", metadata: func(base string) object {
			return with(goodMetadata(base), "token_endpoint", "http://idp.example.com/t")
		}, err: "token_endpoint"},
		{name: "no token endpoint", metadata: func(base string) object {
			return with(goodMetadata(base), "token_endpoint", nil)
		}, err: "token_endpoint"},
		{name: "http registration endpoint", metadata: func(base string) object {
			return with(goodMetadata(base), "registration_endpoint", "http://idp.example.com/r")
		}, err: "registration_endpoint"},
		{name: "http revocation endpoint", metadata: func(base string) object {
			return with(goodMetadata(base), "revocation_endpoint", "http://idp.example.com/r")
		}, err: "revocation_endpoint"},
		{name: "fragment", metadata: func(base string) object {
			return with(goodMetadata(base), "authorization_endpoint", "https://idp.example.com/a#x")
		}, err: "no fragment"},
		{name: "no PKCE", metadata: func(base string) object {
			return with(goodMetadata(base), "code_challenge_methods_supported", nil)
		}, err: "S256"},
		{name: "plain PKCE only", metadata: func(base string) object {
			return with(goodMetadata(base), "code_challenge_methods_supported", []string{"plain"})
		}, err: "S256"},
		{name: "wrong types", metadata: func(base string) object {
			return with(goodMetadata(base), "token_endpoint", 7)
		}, err: "not the JSON that is due"},
		{name: "a wrong type that nobody needs", metadata: func(base string) object {
			return with(goodMetadata(base), "ui_locales_supported", 7)
		}},
		{name: "terminal escapes", metadata: func(base string) object {
			return with(goodMetadata(base), "issuer", "\x1b[2Jhttps://evil.example")
		}, err: `"[2Jhttps://evil.example"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t)
			resource := object{"resource": s.URL + "/mcp", "authorization_servers": []string{s.URL}}
			if c.resource != nil {
				resource = c.resource(s.URL)
			}
			metadata := goodMetadata(s.URL)
			if c.metadata != nil {
				metadata = c.metadata(s.URL)
			}
			s.on(atPath, answerJSON(resource))
			s.on(oauth, answerJSON(metadata))
			_, err := discoveryFor(t, s.URL+"/mcp", "").find(t.Context(), wanted{bearer: true})
			wantError(t, err, c.err)
		})
	}
}

// TestMetadataRedirects follows a redirect on the same origin and none to another.
func TestMetadataRedirects(t *testing.T) {
	s, other := newScript(t), newScript(t)
	doc := answerJSON(object{"resource": s.URL + "/mcp", "authorization_servers": []string{"https://idp.example"}})
	s.on("/doc", doc)
	other.on("/doc", doc)
	to := func(url string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, url, http.StatusFound) }
	}
	d := discoveryFor(t, s.URL+"/mcp", "")

	s.on(atPath, to(s.URL+"/doc"))
	_, err := d.resourceMetadata(t.Context(), "")
	wantError(t, err, "")

	s.on(atPath, to(other.URL+"/doc"))
	_, err = d.resourceMetadata(t.Context(), "")
	wantError(t, err, "redirects to another origin are not followed")
	if asked := other.requests(); len(asked) != 0 {
		t.Errorf("the other origin was asked %q", asked)
	}
}

// TestSlowMetadata is given up after its time-out.
func TestSlowMetadata(t *testing.T) {
	s := newScript(t)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	s.on(atPath, func(http.ResponseWriter, *http.Request) { <-release })
	d := discoveryFor(t, s.URL+"/mcp", "")
	d.fetch.get.Timeout = 50 * time.Millisecond
	_, err := d.resourceMetadata(t.Context(), "")
	wantError(t, err, "Client.Timeout")
}
