package cli

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
)

// maxCookies bounds what a server can make this process keep.
const maxCookies = 64

// originJar keeps the cookies of one origin, in memory. Load balancers use them to send all requests of a session to one
// machine. Whatever a cookie says about domains, no other origin gets it.
type originJar struct {
	scheme, host string
	jar          *cookiejar.Jar

	mu   sync.Mutex
	seen map[string]bool // by name and path; guarded by mu
}

func newOriginJar(server string) http.CookieJar {
	u, err := url.Parse(server)
	if err != nil {
		return nil // the URL is refused elsewhere
	}
	jar, _ := cookiejar.New(nil) // it returns no error
	return &originJar{scheme: u.Scheme, host: strings.ToLower(u.Host), jar: jar, seen: map[string]bool{}}
}

func (j *originJar) is(u *url.URL) bool {
	return u.Scheme == j.scheme && strings.ToLower(u.Host) == j.host
}

// SetCookies implements [http.CookieJar].
func (j *originJar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	if !j.is(u) {
		return
	}
	var kept []*http.Cookie
	for _, c := range cookies {
		if j.admit(c) {
			c.Domain = "" // of this host alone
			kept = append(kept, c)
		}
	}
	j.jar.SetCookies(u, kept)
}

func (j *originJar) admit(c *http.Cookie) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	key := c.Name + ";" + c.Path
	if !j.seen[key] && len(j.seen) >= maxCookies {
		return false
	}
	j.seen[key] = true
	return true
}

// Cookies implements [http.CookieJar].
func (j *originJar) Cookies(u *url.URL) []*http.Cookie {
	if j.empty() || !j.is(u) { // most servers set none, and the jar is slow to say so
		return nil
	}
	return j.jar.Cookies(u)
}

func (j *originJar) empty() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.seen) == 0
}
