package demo

import "time"

// AddResource makes a resource identifier known (RFC 8707).
func (p *IdP) AddResource(resource string) { p.update(func(s *state) { s.resources[resource] = true }) }

// AddClient registers a client, or replaces the one with the same ID.
func (p *IdP) AddClient(c Client) { p.update(func(s *state) { s.addClient(c) }) }

// RemoveClient forgets a client: its next request is refused with invalid_client.
func (p *IdP) RemoveClient(id string) { p.update(func(s *state) { delete(s.clients, id) }) }

// AddUser adds a person, or replaces the one with the same name, who is then active.
func (p *IdP) AddUser(u User) { p.update(func(s *state) { s.users[u.Name] = &account{User: u} }) }

// Deactivate is what IT does on the last day: the person can no longer sign in and their refresh tokens are refused
// with invalid_grant. Access tokens end by themselves.
func (p *IdP) Deactivate(user string) {
	p.update(func(s *state) {
		if a := s.users[user]; a != nil {
			a.inactive = true
		}
		s.endSessions(user)
	})
}

// Activate undoes Deactivate. Refresh tokens given out before stay refused.
func (p *IdP) Activate(user string) {
	p.update(func(s *state) {
		if a := s.users[user]; a != nil {
			a.inactive = false
		}
	})
}

// RevokeUser ends every refresh token of the person, and their login session in the browser.
func (p *IdP) RevokeUser(user string) { p.update(func(s *state) { s.endSessions(user) }) }

// endSessions ends what lives longer than an access token.
func (s *state) endSessions(user string) {
	for _, g := range s.grants {
		if g.user == user {
			g.ended = true
		}
	}
	for _, session := range s.sessions {
		if session.user == user {
			session.user = ""
		}
	}
}

// SetTokenLifetime sets how long access tokens issued from now on live, at least one second.
func (p *IdP) SetTokenLifetime(d time.Duration) {
	p.update(func(s *state) { s.lifetime = max(d, time.Second) })
}

// Revoked reports whether the access token with this jti was revoked: by its client (RFC 7009), or because a code or
// a refresh token of the same grant was stolen. Deactivate and RevokeUser leave access tokens to end by themselves.
func (p *IdP) Revoked(jti string) (revoked bool) {
	p.update(func(s *state) {
		g := s.access[jti]
		revoked = s.revoked[jti] || g != nil && g.revoked
	})
	return revoked
}
