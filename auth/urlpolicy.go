package auth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// secureURL parses a URL that a server told us to use. It wants https, or plain http on loopback, and nothing that a
// browser or a terminal would read differently (MCP security best practices: only http and https; RFC 9728
// section 7.7).
func secureURL(what, raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Opaque != "":
		return nil, fmt.Errorf("%s %s: not a URL that can be used", what, quoted(raw))
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("%s %s: want https", what, quoted(raw))
	case u.Hostname() == "" || u.User != nil || u.Fragment != "":
		return nil, fmt.Errorf("%s %s: want a host, no user and no fragment", what, quoted(raw))
	case strings.ContainsFunc(u.Hostname(), func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return nil, fmt.Errorf("%s %s: want the host in its ASCII form", what, quoted(raw))
	case strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		// RFC 3986 section 2; what is invisible, or turns the direction of writing, would be shown with it
		return nil, fmt.Errorf("%s %s: want percent-encoding for what is not ASCII", what, quoted(raw))
	case isDisguisedNumber(u.Hostname()):
		return nil, fmt.Errorf("%s %s: want an IPv4 address as four decimal numbers", what, quoted(raw))
	case u.Scheme == "http" && !isLoopbackName(u.Hostname()):
		return nil, fmt.Errorf("%s %s: plain http is only accepted on loopback", what, quoted(raw))
	}
	return u, nil
}

// isDisguisedNumber reports whether browsers and resolvers read host as an IPv4 address that is not written as one: as
// 2130706433, 127.1 or 0x7f.0.0.1 (WHATWG URL, "ends in a number"). Such a host is only there to slip past a check.
func isDisguisedNumber(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	host = strings.TrimSuffix(host, ".")
	last := strings.ToLower(host[strings.LastIndex(host, ".")+1:])
	if digits, hex := strings.CutPrefix(last, "0x"); hex {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// isLoopbackName reports whether host means this machine without asking a resolver (RFC 6761 section 6.3).
func isLoopbackName(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// notPublic are the networks that are not reachable from the public Internet and that netip does not know as such.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),      // this network (RFC 791)
	netip.MustParsePrefix("100.64.0.0/10"),  // shared address space (RFC 6598): carriers, overlay networks
	netip.MustParsePrefix("192.0.0.0/24"),   // protocol assignments (RFC 6890)
	netip.MustParsePrefix("198.18.0.0/15"),  // benchmarks (RFC 2544)
	netip.MustParsePrefix("240.0.0.0/4"),    // reserved (RFC 1112), broadcast
	netip.MustParsePrefix("64:ff9b:1::/48"), // translation of private IPv4 (RFC 8215)
	netip.MustParsePrefix("fec0::/10"),      // site-local (RFC 3879)
}

// Networks whose addresses carry an IPv4 address.
var (
	translated = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	sixToFour  = netip.MustParsePrefix("2002::/16")    // RFC 3056
)

// isPrivate reports whether addr is not reachable from the public Internet.
func isPrivate(addr netip.Addr) bool {
	addr = innermost(addr.Unmap().WithZone(""))
	return addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast() || addr.IsUnspecified() ||
		addr.IsMulticast() || slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// innermost returns the IPv4 address that addr leads to, where it carries one.
func innermost(addr netip.Addr) netip.Addr {
	raw := addr.As16()
	switch {
	case translated.Contains(addr):
		return netip.AddrFrom4([4]byte(raw[12:]))
	case sixToFour.Contains(addr):
		return netip.AddrFrom4([4]byte(raw[2:6]))
	}
	return addr
}

// sameOrigin compares scheme, host and port (RFC 6454).
func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

// origin returns scheme and host of u.
func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// errPrivate refuses a public server that points at a host inside (MCP security best practices, server-side request
// forgery).
var errPrivate = errors.New("a public server must not point at a private, loopback or link-local address")

func privateError() error {
	return hint(errPrivate, "if this identity provider is yours, pin it with --issuer URL")
}

// reach decides whether addresses inside may be contacted: only when the MCP server itself is inside, or the user
// named the authorization server.
type reach struct {
	server *url.URL
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

	once   sync.Once
	inside bool // set by once
}

// lookupLimit bounds the one name resolution that tells whether the MCP server is inside.
const lookupLimit = 3 * time.Second

// serverInside reports whether the MCP server has a private address. A name that does not resolve counts as public:
// that fails closed.
func (r *reach) serverInside() bool {
	r.once.Do(func() {
		if inside, known := literalInside(r.server.Hostname()); known {
			r.inside = inside
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), lookupLimit)
		defer cancel()
		addrs, _ := r.lookup(ctx, "ip", r.server.Hostname())
		for _, a := range addrs {
			r.inside = r.inside || isPrivate(a)
		}
	})
	return r.inside
}

// literalInside classifies a host that needs no resolver.
func literalInside(host string) (inside, known bool) {
	if isLoopbackName(host) {
		return true, true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && isPrivate(addr), err == nil
}

// check refuses a URL whose host is visibly inside. Names are checked when they are dialled, by checkDialled, so that
// no second resolution can tell a different story.
func (r *reach) check(u *url.URL) error {
	if inside, _ := literalInside(u.Hostname()); inside && !r.serverInside() {
		return privateError()
	}
	return nil
}

// destination travels with a request to the dialler.
type destination struct {
	addr       string // host:port that must not be inside
	anyAddress bool   // the user named this place
}

type destinationKey struct{}

func withDestination(ctx context.Context, u *url.URL, anyAddress bool) context.Context {
	return context.WithValue(ctx, destinationKey{}, destination{net.JoinHostPort(u.Hostname(), port(u)), anyAddress})
}

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// guard makes dial refuse connections that reach does not allow, before a byte is sent. Connections to a proxy are not
// judged: the proxy's address is the user's own setting, and what lies behind it is the proxy's to judge.
func (r *reach) guard(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if err := r.checkDialled(ctx, addr, conn.RemoteAddr()); err != nil {
			_ = conn.Close() // nothing was sent on it
			return nil, err
		}
		return conn, nil
	}
}

func (r *reach) checkDialled(ctx context.Context, addr string, remote net.Addr) error {
	dest, ok := ctx.Value(destinationKey{}).(destination)
	if !ok || dest.anyAddress || dest.addr != addr {
		return nil
	}
	ap, err := netip.ParseAddrPort(remote.String())
	if err != nil || !isPrivate(ap.Addr()) || r.serverInside() {
		return nil
	}
	return privateError()
}
