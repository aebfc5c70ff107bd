package cli

import (
	"net/http"
	"testing"
)

// TestAllProxy: ALL_PROXY covers all that is neither on this machine nor in NO_PROXY.
func TestAllProxy(t *testing.T) {
	const proxy = "socks5://127.0.0.1:1080"
	for _, test := range []struct {
		exempt, url string
		want        bool
	}{
		{"", "https://mcp.example.com/mcp", true},
		{"", "http://mcp.example.com/mcp", true},
		{"", "https://localhost/mcp", false},
		{"", "http://127.0.0.1:8080/mcp", false},
		{"", "http://[::1]:8080/mcp", false},
		{"*", "https://mcp.example.com/mcp", false},
		{"example.com", "https://mcp.example.com/mcp", false},
		{"example.com", "https://example.com/mcp", false},
		{"example.com", "https://badexample.com/mcp", true},
		{".example.com", "https://MCP.example.com./mcp", false},
		{".example.com", "https://example.com/mcp", true},
		{"*.example.com", "https://mcp.example.com/mcp", false},
		{"other.org, mcp.example.com", "https://mcp.example.com/mcp", false},
		{"mcp.example.com:8443", "https://mcp.example.com/mcp", true},
		{"mcp.example.com:8443", "https://mcp.example.com:8443/mcp", false},
		{"mcp.example.com:443", "https://mcp.example.com/mcp", false},
		{"10.0.0.0/8", "https://10.1.2.3/mcp", false},
		{"10.0.0.0/8", "https://11.1.2.3/mcp", true},
		{"10.0.0.0/8", "https://mcp.example.com/mcp", true},
		{"10.1.2.3", "https://10.1.2.3/mcp", false},
		{"2.3", "https://10.1.2.3/mcp", true},
		{"fd00::/8", "https://[fd00::1]/mcp", false},
		{"[fd00::1]:443", "https://[fd00::1]/mcp", false},
		{",,", "https://mcp.example.com/mcp", true},
	} {
		env := Env{LookupEnv: func(name string) (string, bool) {
			v, ok := map[string]string{"ALL_PROXY": proxy, "no_proxy": test.exempt}[name]
			return v, ok
		}}
		p, err := readProxies(env)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest(http.MethodGet, test.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.forRequest(req); err != nil || (got != nil) != test.want {
			t.Errorf("NO_PROXY %q, %s: proxy %v, error %v; want one: %v", test.exempt, test.url, got, err, test.want)
		}
	}
}

// TestProxyAddress: what is no address of a proxy is refused, because net/http would go past it, and is not repeated.
func TestProxyAddress(t *testing.T) {
	for value, want := range map[string]string{
		"http://proxy.example.com:3128": "http", "proxy.example.com:3128": "http", "proxy.example.com": "http", "10.0.0.1:3128": "http",
		"https://proxy.example.com": "https", "socks5h://[::1]:1080": "socks5h", "http://ada:pw@proxy:8080": "http",
		"gopher://proxy": "", "socks4://proxy:1080": "", "http://": "", "http://%zz": "", ":3128": "",
	} {
		u, err := parseProxy(value)
		if (err == nil) != (want != "") || err == nil && u.Scheme != want {
			t.Errorf("parseProxy(%q) = %v, %v; want the scheme %q", value, u, err, want)
		}
	}
}
