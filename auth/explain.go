package auth

import "net/url"

// explain tells the human the ways to sign in without a browser on this machine.
func (s *Session) explain(p *signIn) {
	s.cfg.Notice("to sign in to " + s.server.Host + ", open " + p.url)
	if d := p.device; d.UserCode != "" {
		s.cfg.Notice("or, on any device, open " + d.URI + " and enter the code " + d.UserCode)
	}
	if port := p.port(); s.cfg.SSH != "" && port != "" {
		s.cfg.Notice("from another machine, first run there: ssh -N -L " + port + ":127.0.0.1:" + port + " " + s.cfg.SSH)
	}
	s.cfg.Notice("or sign in anywhere, and give the address of the page you end on (it need not load) to: drawbridge login " + s.cfg.ServerURL)
}

func (p *signIn) port() string {
	u, err := url.Parse(p.redirectURI)
	if err != nil {
		return ""
	}
	return u.Port()
}
