package auth

import (
	"net/url"
	"strings"
)

// explain tells the human the ways to sign in without a browser on this machine.
func (s *Session) explain(p *signIn) {
	s.cfg.Notice("to sign in to " + s.server.Host + ", open " + p.url)
	if d := p.device; d.UserCode != "" {
		s.cfg.Notice("or, on any device, open " + d.URI + " and enter the code " + d.UserCode)
	}
	if line := tunnel(p.redirectURI, s.cfg.SSH); line != "" {
		s.cfg.Notice("from another machine, first run there: " + line)
	}
	s.cfg.Notice("or sign in anywhere, and give the address of the page you end on (it need not load) to: drawbridge login " + s.cfg.ServerURL)
}

// tunnel returns the command that brings what another machine's browser sends to the redirect URI to this one; "" where there
// is none. Both ends are the host of the URI: there the browser looks, here the port is open. Where that is localhost, ssh
// listens on both loopback addresses.
func tunnel(redirectURI, ssh string) string {
	u, err := url.Parse(redirectURI)
	if err != nil || u.Port() == "" || ssh == "" {
		return ""
	}
	forward := u.Port() + ":" + u.Host
	if strings.HasPrefix(u.Host, "[") {
		// A bare port is only sure to be open on 127.0.0.1, and some shells take brackets for a pattern.
		forward = `"` + u.Host + ":" + u.Host + `"`
	}
	return "ssh -N -L " + forward + " " + ssh
}
