package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/tokenstore"
)

// internet is a network of names and addresses in front of one server, which says for every connection which address
// it came from. On it are an honest MCP server and an honest identity provider.
type internet struct {
	*httptest.Server
	t     *testing.T
	names map[string]string // host to address

	mu    sync.Mutex
	docs  map[string]http.HandlerFunc // by host and path
	asked []string                    // hosts that got a request
}

const (
	publicServer = "https://mcp.example.com/mcp"
	publicIssuer = "https://idp.example.com"
)

func newInternet(t *testing.T) *internet {
	n := &internet{t: t, names: map[string]string{
		"mcp.example.com": "93.184.215.14", "idp.example.com": "93.184.215.15",
		"inside.example.com": "10.0.0.7", "metadata.example.com": "169.254.169.254", "home.example.com": "::1",
		"2130706433": "127.0.0.1", "127.1": "127.0.0.1", "0x7f000001": "127.0.0.1", "0177.0.0.1": "127.0.0.1",
	}}
	n.Server = httptest.NewUnstartedServer(n)
	n.Server.StartTLS()
	t.Cleanup(n.Close)
	n.behave()
	return n
}

// behave puts honest documents in place.
func (n *internet) behave() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.docs = map[string]http.HandlerFunc{
		"mcp.example.com/mcp":                                    bareChallenge,
		"mcp.example.com" + atPath:                               answerJSON(object{"resource": publicServer, "authorization_servers": []string{publicIssuer}}),
		"idp.example.com/.well-known/oauth-authorization-server": answerJSON(goodMetadata(publicIssuer)),
		"idp.example.com/register":                               answerJSON(object{"client_id": "c"}),
		"idp.example.com/token":                                  answerJSON(object{"access_token": "CANARY-a", "token_type": "Bearer", "refresh_token": "CANARY-r"}),
	}
}

func bareChallenge(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("WWW-Authenticate", "Bearer")
	w.WriteHeader(http.StatusUnauthorized)
}

func (n *internet) set(place string, h http.HandlerFunc) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.docs[place] = h
}

func (n *internet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	n.asked = append(n.asked, r.Host)
	doc := n.docs[r.Host+r.URL.Path]
	n.mu.Unlock()
	if doc == nil {
		doc = http.NotFound
	}
	doc(w, r)
}

func (n *internet) requests() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.asked)
}

func (n *internet) address(host string) (netip.Addr, error) {
	if known := n.names[host]; known != "" {
		host = known
	}
	return netip.ParseAddr(host)
}

// lookup is the resolver of this network.
func (n *internet) lookup(_ context.Context, _, host string) ([]netip.Addr, error) {
	addr, err := n.address(host)
	return []netip.Addr{addr}, err
}

// dial connects to the one server, whatever the address, and says it was the address.
func (n *internet) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addr, err := n.address(host)
	if err != nil {
		return nil, fmt.Errorf("no such host: %s", host)
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, n.Listener.Addr().String())
	return farConn{conn, net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 443))}, err
}

// farConn is a connection to somewhere else.
type farConn struct {
	net.Conn
	far net.Addr
}

func (c farConn) RemoteAddr() net.Addr { return c.far }

// session starts a session with the public server whose person has signed in long ago: every link leads straight back.
func (n *internet) session(store tokenstore.Store, tabs chan<- string) *Session {
	transport := &http.Transport{DialContext: n.dial, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	s, err := New(Config{
		ServerURL: publicServer, Store: store, HTTP: &http.Client{Transport: transport}, LoginTimeout: 20 * time.Second,
		Open: func(link string) error { tabs <- link; return comeBack(n.t.Context(), link) },
	})
	if err != nil {
		n.t.Fatal(err)
	}
	s.fetch.reach.lookup = n.lookup
	n.t.Cleanup(s.Close)
	return s
}

// comeBack plays the browser of a person whom the identity provider sends back at once.
func comeBack(ctx context.Context, link string) error {
	u, err := url.Parse(link)
	if err != nil {
		return err
	}
	answer := url.Values{"state": {u.Query().Get("state")}, "code": {"CANARY-code"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.Query().Get("redirect_uri")+"?"+answer.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return drain(resp)
}

// insiders are spellings of places that a public server has no business to name.
var insiders = []string{
	"https://169.254.169.254", "https://10.0.0.1", "https://172.16.0.1", "https://192.168.1.1", "https://100.64.0.1",
	"https://127.0.0.1", "https://[::1]", "https://0.0.0.0", "https://[::]", "https://[fe80::1]", "https://[fd00::1]",
	"https://localhost", "https://LOCALHOST", "https://localhost.", "https://idp.localhost", "http://localhost:8080",
	"http://127.0.0.1:8080", "http://[::1]:8080", "https://[::ffff:127.0.0.1]", "https://[::ffff:a9fe:a9fe]",
	"https://[64:ff9b::a00:1]", "https://[2002:7f00:1::]", "https://0.1.2.3", "https://198.18.0.1", "https://255.255.255.255",
	"https://2130706433", "https://127.1", "https://0x7f000001", "https://0177.0.0.1", "https://127.0.0.1.:443",
}

// rebound are names that lead inside; only who connects can see that.
var rebound = []string{"https://inside.example.com", "https://metadata.example.com", "https://home.example.com"}

// TestPublicServerPointsInside has a public server or its identity provider name places inside, one at a time and in
// every position. Nothing is sent there, nothing is opened, and an honest sign-in follows.
func TestPublicServerPointsInside(t *testing.T) {
	stated := func(key, path string) func(n *internet, place string) {
		return func(n *internet, place string) {
			n.set("idp.example.com/.well-known/oauth-authorization-server", answerJSON(with(goodMetadata(publicIssuer), key, place+path)))
		}
	}
	for _, c := range []struct {
		position string
		put      func(n *internet, place string)
		places   [][]string
		tabs     int // with names, which only the use gives away
	}{
		{"resource_metadata", func(n *internet, place string) {
			n.set("mcp.example.com/mcp", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+place+`/latest/meta-data"`)
				w.WriteHeader(http.StatusUnauthorized)
			})
		}, [][]string{insiders, rebound}, 0},
		{"authorization_servers", func(n *internet, place string) {
			n.set("mcp.example.com"+atPath, answerJSON(object{"resource": publicServer, "authorization_servers": []string{place}}))
		}, [][]string{insiders, rebound}, 0},
		{"authorization_endpoint", stated("authorization_endpoint", "/authorize"), [][]string{insiders}, 0},
		{"registration_endpoint", stated("registration_endpoint", "/register"), [][]string{insiders, rebound}, 0},
		{"revocation_endpoint", stated("revocation_endpoint", "/revoke"), [][]string{insiders}, 0},
		{"token_endpoint", stated("token_endpoint", "/token"), [][]string{insiders}, 0},
		{"token_endpoint by name", stated("token_endpoint", "/token"), [][]string{rebound}, 1},
	} {
		for _, places := range c.places {
			for _, place := range places {
				t.Run(c.position+" "+place, func(t *testing.T) { pointInside(t, c.put, place, c.tabs) })
			}
		}
	}
}

func pointInside(t *testing.T, put func(n *internet, place string), place string, wantTabs int) {
	n, store, tabs := newInternet(t), tokenstore.NewMemory(), make(chan string, 10)
	s := n.session(store, tabs)
	put(n, place)
	_, err := s.SignIn(t.Context())
	private := errors.Is(err, errPrivate)
	if err == nil || !private && !strings.Contains(err.Error(), "four decimal numbers") {
		t.Errorf("the error is %v", err)
	}
	var h interface{ Hint() string }
	if !errors.As(err, &h) || private && !strings.Contains(h.Hint(), "--issuer") || h.Hint() == "" {
		t.Errorf("the hint of %v", err)
	}
	if len(tabs) != wantTabs {
		t.Errorf("%d tabs, want %d", len(tabs), wantTabs)
	}
	for _, host := range n.requests() {
		if host != "mcp.example.com" && host != "idp.example.com" {
			t.Errorf("%s got a request", host)
		}
	}
	if err != nil && strings.Contains(err.Error(), "CANARY") {
		t.Errorf("a secret is in %v", err)
	}
	if _, err := s.Credential(t.Context()); !errors.Is(err, tokenstore.ErrNotFound) {
		t.Errorf("the store: %v", err)
	}
	n.behave()
	if _, err := s.SignIn(t.Context()); err != nil {
		t.Errorf("an honest sign-in: %v", err)
	}
}

// TestIsPrivate checks networks at their edges.
func TestIsPrivate(t *testing.T) {
	for addr, want := range map[string]bool{
		"0.0.0.0": true, "0.255.255.255": true, "1.0.0.0": false, "9.255.255.255": false, "10.0.0.0": true, "11.0.0.0": false,
		"100.63.255.255": false, "100.64.0.0": true, "100.127.255.255": true, "100.128.0.0": false, "127.255.255.255": true,
		"169.254.0.0": true, "169.255.0.0": false, "172.15.255.255": false, "172.31.255.255": true, "172.32.0.0": false,
		"192.0.0.255": true, "192.0.1.0": false, "192.168.0.0": true, "192.169.0.0": false, "198.17.255.255": false,
		"198.19.255.255": true, "198.20.0.0": false, "223.255.255.255": false, "224.0.0.1": true, "240.0.0.0": true,
		"255.255.255.255": true, "::": true, "::1": true, "::2": false, "2606:4700::1": false, "fc00::": true, "fe00::": false,
		"fe80::1": true, "fe80::1%eth0": true, "febf::1": true, "fec0::1": true, "ff02::1": true,
		"::ffff:8.8.8.8": false, "::ffff:10.0.0.1": true, "64:ff9b::8.8.8.8": false, "64:ff9b::10.0.0.1": true,
		"64:ff9b:1::8.8.8.8": true, "2002:808:808::": false, "2002:a00:1::": true,
	} {
		if got := isPrivate(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s is private: %v", addr, got)
		}
	}
}

func TestIsDisguisedNumber(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1": false, "::1": false, "example.com": false, "1.example.com": false, "1e100.net": false, "0x.example": false,
		"2130706433": true, "127.1": true, "0x7f.1": true, "0x7f000001": true, "0X7F000001": true, "0177.0.0.1": true,
		"127.0.0.1.": true, "example.1": true, "a.0x": true, "": false, "xn--p1ai": false,
	} {
		if got := isDisguisedNumber(host); got != want {
			t.Errorf("%q is a number in disguise: %v", host, got)
		}
	}
}
