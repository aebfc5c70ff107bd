package auth

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"testing"

	"drawbridge/internal/demo"
)

// hosts lists the callback hosts that this machine can serve, and the addresses of each.
func hosts(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{"127.0.0.1": {"127.0.0.1"}, "localhost": {"127.0.0.1"}}
	if ln, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		_ = ln.Close() // it only had to open
		all["::1"], all["localhost"] = []string{"::1"}, []string{"127.0.0.1", "::1"}
	} else {
		t.Logf("no IPv6 loopback here: %v", err)
	}
	return all
}

// TestCallbackHosts signs in through every loopback of this machine, and looks where the port was open.
func TestCallbackHosts(t *testing.T) {
	for host, addresses := range hosts(t) {
		t.Run(host, func(t *testing.T) {
			st := newStage(t)
			s := st.session(func(c *Config) { c.Callback.Host = host })
			p, redirect, _ := st.pending(s)
			if redirect.Hostname() != host {
				t.Errorf("the redirect URI is %s", redirect)
			}
			for _, address := range []string{"127.0.0.1", "::1"} {
				open := dials(net.JoinHostPort(address, redirect.Port()))
				want := false
				for _, a := range addresses {
					want = want || a == address
				}
				if open != want {
					t.Errorf("the port is open on %s: %v", address, open)
				}
			}
			p.Present(nil)
			<-p.Done
			if err := p.Err(); err != nil {
				t.Error(err)
			}
			st.mustCall(s)
			for _, address := range addresses {
				wantFree(t, net.JoinHostPort(address, redirect.Port()))
			}
		})
	}
}

// TestHostsOfOthers refuses, on each loopback, the names of the others.
func TestHostsOfOthers(t *testing.T) {
	all := hosts(t)
	for host := range all {
		st := newStage(t)
		_, redirect, state := st.pending(st.session(func(c *Config) { c.Callback.Host = host }))
		query := url.Values{"error": {"x"}, "state": {state}, "iss": {st.Issuer()}}
		for other := range all {
			if other == host {
				continue
			}
			status, _ := visit(t, "", redirect.String()+"?"+query.Encode(), net.JoinHostPort(other, redirect.Port()))
			if status != 400 {
				t.Errorf("%s answers to %s with %d", host, other, status)
			}
		}
	}
}

func dials(address string) bool {
	conn, err := net.Dial("tcp", address)
	if err == nil {
		_ = conn.Close() // it only had to open
	}
	return err == nil
}

// TestTakenOnOneLoopback never shares a port of localhost with another program, on whichever address that sits.
func TestTakenOnOneLoopback(t *testing.T) {
	for _, address := range hosts(t)["localhost"] {
		taken, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		port := taken.Addr().(*net.TCPAddr).Port
		_, err = openLanding(CallbackConfig{Host: "localhost", Port: port})
		wantError(t, err, "listen for the sign-in at http://localhost:"+strconv.Itoa(port))
		for _, other := range hosts(t)["localhost"] {
			if other != address {
				wantFree(t, net.JoinHostPort(other, strconv.Itoa(port)))
			}
		}
	}
}

// TestPortFreeOnOneLoopback tries other ports while the one it got is taken on the last address, and not for ever.
func TestPortFreeOnOneLoopback(t *testing.T) {
	addresses := hosts(t)["localhost"]
	last := addresses[len(addresses)-1]
	for _, c := range []struct{ taken, calls int }{{0, 1}, {3, 4}, {portTries, portTries}} {
		calls := 0
		l, err := openLandingBy(func(network, address string) (net.Listener, error) {
			if host, _, _ := net.SplitHostPort(address); host == last {
				if calls++; calls <= c.taken {
					return nil, errors.New("address already in use")
				}
			}
			return net.Listen(network, address)
		}, CallbackConfig{Host: "localhost"})
		if (err == nil) != (c.taken < portTries) || calls != c.calls {
			t.Errorf("%d ports taken: %d tries, %v", c.taken, calls, err)
		}
		if err == nil {
			l.close()
		}
	}
}

// TestExactPorts signs in again and again at a provider that compares redirect URIs character by character.
func TestExactPorts(t *testing.T) {
	for host := range hosts(t) {
		t.Run(host, func(t *testing.T) {
			st := newStage(t, func(c *demo.Config) { c.IdP.AnyLoopbackPort = false })
			at := func(c *Config) { c.Callback.Host = host }
			first := st.landsAt(st.session(at))
			if again := st.landsAt(st.session(at)); again != first {
				t.Errorf("the second sign-in lands at %s, the first at %s", again, first)
			}
			st.wantTally(tally{Tabs: 2, SignIns: 2, Registrations: 1})

			taken, err := openLandingAt(first) // another program has the port now
			if err != nil {
				t.Fatal(err)
			}
			moved := st.landsAt(st.session(at))
			taken.close()
			if moved == first {
				t.Error("the third sign-in lands at a port that is taken")
			}
			if again := st.landsAt(st.session(at)); again != moved {
				t.Errorf("the fourth sign-in lands at %s, the third at %s", again, moved)
			}
			st.wantTally(tally{Tabs: 4, SignIns: 4, Registrations: 2})
		})
	}
}

// landsAt signs in as the login command does and returns the registered redirect URI.
func (st *stage) landsAt(s *Session) string {
	st.t.Helper()
	if _, err := s.SignIn(st.t.Context()); err != nil {
		st.t.Fatal(err)
	}
	reg, err := st.registration()
	if err != nil {
		st.t.Fatal(err)
	}
	return reg.RedirectURI
}
