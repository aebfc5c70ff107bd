package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
)

// TestCookiesStayAtTheirOrigin: no cookie of another origin is kept, none goes to one, and a server cannot fill the memory.
func TestCookiesStayAtTheirOrigin(t *testing.T) {
	at := func(raw string) *url.URL {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	jar := newOriginJar("https://mcp.example.com/mcp")
	jar.SetCookies(at("https://mcp.example.com/mcp"), []*http.Cookie{{Name: "lb", Value: "7", Path: "/", Domain: "example.com"}})
	jar.SetCookies(at("https://login.example.com/"), []*http.Cookie{{Name: "other", Value: "1", Path: "/", Domain: "example.com"}})
	for raw, want := range map[string]int{
		"https://mcp.example.com/mcp": 1, "https://MCP.example.com/mcp/more": 1,
		"http://mcp.example.com/mcp": 0, "https://mcp.example.com:8443/mcp": 0, "https://login.example.com/": 0, "https://example.com/": 0,
	} {
		if got := jar.Cookies(at(raw)); len(got) != want {
			t.Errorf("%s gets %d cookies, want %d", raw, len(got), want)
		}
	}
	for i := range 10 * maxCookies {
		jar.SetCookies(at("https://mcp.example.com/mcp"), []*http.Cookie{{Name: fmt.Sprint("c", i), Value: "x", Path: "/"}})
	}
	if got := len(jar.Cookies(at("https://mcp.example.com/mcp"))); got != maxCookies {
		t.Errorf("%d cookies are kept, want %d", got, maxCookies)
	}
}
