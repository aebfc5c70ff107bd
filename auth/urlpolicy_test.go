package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"testing"
)

// TestInsideAddresses keeps a public server from sending us to hosts inside.
func TestInsideAddresses(t *testing.T) {
	inside := newScript(t)
	inside.on("/doc", answerJSON(object{}))
	port := netip.MustParseAddrPort(inside.Listener.Addr().String()).Port()
	public, private := []netip.Addr{netip.MustParseAddr("93.184.215.14")}, []netip.Addr{netip.MustParseAddr("10.0.0.7")}
	for _, c := range []struct {
		name       string
		server     []netip.Addr // what the server's name resolves to
		url        string
		anyAddress bool
		refused    bool
	}{
		{"metadata service", public, "https://169.254.169.254/latest", false, true},
		{"loopback", public, fmt.Sprintf("http://127.0.0.1:%d/doc", port), false, true},
		{"localhost", public, fmt.Sprintf("http://localhost:%d/doc", port), false, true},
		{"mapped loopback", public, fmt.Sprintf("http://[::ffff:127.0.0.1]:%d/doc", port), false, true},
		{"RFC 1918", public, "https://10.1.2.3/doc", false, true},
		{"shared address space", public, "https://100.64.0.1/doc", false, true},
		{"unique local", public, "https://[fd00::1]/doc", false, true},
		{"a name that leads inside", public, fmt.Sprintf("http://idp.example.com:%d/doc", port), false, true},
		{"named by the user", public, fmt.Sprintf("http://idp.example.com:%d/doc", port), true, false},
		{"server inside", private, fmt.Sprintf("http://idp.example.com:%d/doc", port), false, false},
		{"server unknown", nil, fmt.Sprintf("http://idp.example.com:%d/doc", port), false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &reach{server: &url.URL{Scheme: "https", Host: "mcp.example.com"},
				lookup: func(context.Context, string, string) ([]netip.Addr, error) { return c.server, nil }}
			f := newFetcher(dialing(inside), r, slog.New(slog.DiscardHandler))
			defer f.close()
			before := len(inside.requests())
			u, err := url.Parse(c.url)
			if err != nil {
				t.Fatal(err)
			}
			var v object
			err = f.document(t.Context(), u, c.anyAddress, &v)
			if errors.Is(err, errPrivate) != c.refused || !c.refused && err != nil {
				t.Errorf("document gave %v", err)
			}
			if c.refused && len(inside.requests()) != before {
				t.Error("a request arrived inside")
			}
		})
	}
}

// TestInsideEndpoints refuses what is visibly inside before anything is dialled or shown to a browser, whatever the
// transport.
func TestInsideEndpoints(t *testing.T) {
	network := roundTrips(func(r *http.Request) (*http.Response, error) {
		t.Errorf("a request was sent to %s", r.URL.Host)
		return nil, errors.New("no network")
	})
	d := discoveryFor(t, farServer, "")
	d.fetch = newFetcher(network, d.fetch.reach, d.log)
	for _, raw := range []string{"https://10.1.2.3/a", "http://localhost:8080/a", "http://127.0.0.1/a", "https://[fe80::1]/a"} {
		if err := d.checkEndpoint("authorization_endpoint", raw); !errors.Is(err, errPrivate) {
			t.Errorf("%s as an endpoint: %v", raw, err)
		}
		if _, err := d.resourceMetadata(t.Context(), raw); !errors.Is(err, errPrivate) {
			t.Errorf("%s as resource metadata: %v", raw, err)
		}
		if _, err := d.serverMetadata(t.Context(), raw, raw); !errors.Is(err, errPrivate) {
			t.Errorf("%s as an issuer: %v", raw, err)
		}
	}
	d.issuer = "https://10.1.2.3"
	if err := d.checkEndpoint("token_endpoint", "https://10.1.2.3/t"); err != nil {
		t.Errorf("an endpoint of a pinned issuer: %v", err)
	}
}

// dialing returns a transport for which every name leads to s.
func dialing(s *script) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dial(ctx, network, s.Listener.Addr().String())
	}
	return t
}

// TestProxyIsNotJudged reaches a public host through a proxy that is inside, as company networks have it.
func TestProxyIsNotJudged(t *testing.T) {
	proxy := newScript(t)
	proxy.on("/doc", answerJSON(object{}))
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(at)}
	r := &reach{server: &url.URL{Scheme: "https", Host: "mcp.example.com"}, lookup: noLookup}
	f := newFetcher(transport, r, slog.New(slog.DiscardHandler))
	defer f.close()
	var v object
	u := &url.URL{Scheme: "http", Host: "idp.example.com", Path: "/doc"}
	if err := f.document(t.Context(), u, false, &v); err != nil {
		t.Error(err)
	}
}
