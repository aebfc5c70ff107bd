package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"drawbridge/bridge"
)

// proxies are those that the environment names. net/http reads HTTPS_PROXY, HTTP_PROXY and NO_PROXY; it does not know
// ALL_PROXY, and goes past a proxy whose address it cannot read.
type proxies struct {
	addrs   map[string]bool // host:port, to tell a proxy's failures from the server's
	all     *url.URL        // ALL_PROXY; nil if it is not set
	covered map[string]bool // schemes with a proxy of their own
	exempt  []string        // NO_PROXY
}

// proxyPorts are the kinds of proxies that net/http speaks to, with their default ports.
var proxyPorts = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}

// readProxies reads the variables. An error shows no value: there may be a password in it.
func readProxies(env Env) (*proxies, error) {
	p := &proxies{addrs: map[string]bool{}, covered: map[string]bool{}}
	for _, v := range []struct{ name, scheme string }{{"HTTPS_PROXY", "https"}, {"HTTP_PROXY", "http"}, {"ALL_PROXY", ""}} {
		value := firstOf(env.getenv(v.name), env.getenv(strings.ToLower(v.name)))
		if value == "" {
			continue
		}
		u, err := parseProxy(value)
		if err != nil {
			return nil, hinted{fmt.Errorf("%s holds no address of a proxy: %w", v.name, err), "write it like http://proxy.example.com:3128 or socks5://127.0.0.1:1080"}
		}
		p.addrs[net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), proxyPorts[u.Scheme]))] = true
		if p.covered[v.scheme] = true; v.scheme == "" {
			p.all = u
		}
	}
	p.exempt = strings.Split(firstOf(env.getenv("NO_PROXY"), env.getenv("no_proxy")), ",")
	return p, nil
}

func parseProxy(value string) (*url.URL, error) {
	if !strings.Contains(value, "://") {
		value = "http://" + value
	}
	u, err := url.Parse(value)
	if err != nil || u.Hostname() == "" || proxyPorts[u.Scheme] == "" {
		return nil, errors.New("want http, https or socks5, and a host")
	}
	return u, nil
}

// forRequest is [http.ProxyFromEnvironment] with ALL_PROXY where there is no other. There is never one for loopback.
func (p *proxies) forRequest(req *http.Request) (*url.URL, error) {
	if p.all == nil || p.covered[req.URL.Scheme] {
		return http.ProxyFromEnvironment(req)
	}
	if p.isExempt(req.URL) {
		return nil, nil
	}
	return p.all, nil
}

// isExempt reports whether u needs no proxy: it is this machine, or in NO_PROXY.
func (p *proxies) isExempt(u *url.URL) bool {
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	addr, err := netip.ParseAddr(host)
	if host == "localhost" || err == nil && addr.Unmap().IsLoopback() {
		return true
	}
	for _, pattern := range p.exempt {
		if matchesExempt(strings.ToLower(strings.TrimSpace(pattern)), host, port, addr) {
			return true
		}
	}
	return false
}

// matchesExempt reads one entry of NO_PROXY as net/http does: "*", a network, an address, a domain with all below it, or
// ".domain" for what is below it alone; with a port, that port alone.
func matchesExempt(pattern, host, port string, addr netip.Addr) bool {
	if network, err := netip.ParsePrefix(pattern); err == nil {
		return addr.IsValid() && network.Contains(addr.Unmap())
	}
	if name, only, err := net.SplitHostPort(pattern); err == nil {
		if only != port {
			return false
		}
		pattern = name
	}
	pattern = strings.TrimPrefix(strings.Trim(pattern, "[]"), "*.")
	switch {
	case pattern == "":
		return false
	case pattern == "*":
		return true
	case strings.HasPrefix(pattern, "."):
		return strings.HasSuffix(host, pattern)
	}
	return host == pattern || !addr.IsValid() && strings.HasSuffix(host, "."+pattern)
}

// dial names the proxy in errors of connecting to one.
func (p *proxies) dial(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil && p.addrs[addr] {
			return nil, &bridge.ProxyError{Proxy: addr, Err: err}
		}
		return conn, err
	}
}

// proxyAnswered judges the answer to CONNECT. net/http would return its status as a text without a name.
func proxyAnswered(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return &bridge.ProxyError{Proxy: proxy.Host, Status: resp.StatusCode}
}
