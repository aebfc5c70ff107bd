package auth

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// raw sends bytes to the open port and returns the status of the answer; 0 when the connection was closed without one.
func raw(t *testing.T, address, request string) (status int, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	page, _ := io.ReadAll(resp.Body) // what there is of it is looked at
	return resp.StatusCode, string(page)
}

// TestRawCallbackAttacks sends what no browser sends. All of it carries the right state and iss, and an error that would
// end the sign-in if it counted.
func TestRawCallbackAttacks(t *testing.T) {
	st := newStage(t)
	s := st.session()
	p, redirect, state := st.pending(s)
	host := redirect.Host
	query := "?" + url.Values{"error": {"EVIL"}, "state": {state}, "iss": {st.Issuer()}}.Encode()
	target := "/callback" + query
	head := func(method, target, host string, more ...string) string {
		return method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + strings.Join(more, "\r\n") + "\r\n\r\n"
	}
	for _, c := range []struct {
		name, request string
		statuses      []int
	}{
		{"two slashes", head("GET", "/"+target, host), []int{404}},
		{"slash at the end", head("GET", "/callback/"+query, host), []int{404}},
		{"capitals", head("GET", "/CALLBACK"+query, host), []int{404}},
		{"encoded slash", head("GET", "/%2fcallback"+query, host), []int{404}},
		{"encoded slash at the end", head("GET", "/callback%2f"+query, host), []int{404}},
		{"encoded letter", head("GET", "/callbac%6b"+query, host), []int{404}},
		{"dots", head("GET", "/x/../callback"+query, host), []int{404}},
		{"dot", head("GET", "/./callback"+query, host), []int{404}},
		{"path parameter", head("GET", "/callback;x"+query, host), []int{404}},
		{"NUL in the path", head("GET", "/callback%00"+query, host), []int{404}},
		{"space in the path", head("GET", "/callback%20"+query, host), []int{404}},
		{"absolute target", head("GET", "http://"+host+target, host), []int{400}},
		{"absolute target, another Host", head("GET", "http://"+host+target, "evil.example"), []int{400}},
		{"absolute target of another host", head("GET", "http://evil.example"+target, host), []int{400}},
		{"authority target", head("CONNECT", host, host), []int{400, 404}},
		{"asterisk", head("OPTIONS", "*", host), []int{200, 400, 404}},
		{"no Host", "GET " + target + " HTTP/1.1\r\n\r\n", []int{400}},
		{"two Hosts", head("GET", target, host, "Host: evil.example"), []int{400}},
		{"HTTP/1.0 without Host", "GET " + target + " HTTP/1.0\r\n\r\n", []int{400}},
		{"HTTP/0.9", "GET " + target + "\r\n\r\n", []int{400}},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{0, 400, 404, 505}},
		{"rebound name", head("GET", target, "evil.example:"+redirect.Port()), []int{400}},
		{"rebound name below", head("GET", target, "127.0.0.1.evil.example:"+redirect.Port()), []int{400}},
		{"localhost", head("GET", target, "localhost:"+redirect.Port()), []int{400}},
		{"other spelling of the address", head("GET", target, "127.1:"+redirect.Port()), []int{400}},
		{"address as a number", head("GET", target, "2130706433:"+redirect.Port()), []int{400}},
		{"dot at the end of the host", head("GET", target, "127.0.0.1.:"+redirect.Port()), []int{400}},
		{"no port", head("GET", target, "127.0.0.1"), []int{400}},
		{"user in the host", head("GET", target, "evil@"+host), []int{400}},
		{"forwarded host", head("GET", target, "evil.example", "X-Forwarded-Host: "+host), []int{400}},
		{"POST", head("POST", target, host, "Content-Length: 0"), []int{400}},
		{"POST with a form", head("POST", "/callback", host, "Content-Type: application/x-www-form-urlencoded",
			fmt.Sprintf("Content-Length: %d", len(query)-1)) + query[1:], []int{400}},
		{"GET with a form", head("GET", "/callback", host, "Content-Type: application/x-www-form-urlencoded",
			fmt.Sprintf("Content-Length: %d", len(query)-1)) + query[1:], []int{400}},
		{"method override", head("POST", target, host, "X-HTTP-Method-Override: GET", "Content-Length: 0"), []int{400}},
		{"HEAD", head("HEAD", target, host), []int{400}},
		{"OPTIONS", head("OPTIONS", target, host, "Origin: https://evil.example", "Access-Control-Request-Private-Network: true"), []int{400}},
		{"PUT", head("PUT", target, host, "Content-Length: 0"), []int{400}},
		{"DELETE", head("DELETE", target, host), []int{400}},
		{"TRACE", head("TRACE", target, host), []int{400}},
		{"method in small letters", head("get", target, host), []int{400}},
		{"huge header", head("GET", target, host, "X: "+strings.Repeat("a", 2*callbackHeaderBytes)), []int{0, 431}},
		{"huge query", head("GET", target+"&x="+strings.Repeat("a", 2*callbackHeaderBytes), host), []int{0, 431}},
		{"semicolons", head("GET", strings.ReplaceAll(target, "&", ";"), host), []int{400}},
		{"state in capitals", head("GET", strings.Replace(target, "state=", "STATE=", 1), host), []int{400}},
		{"parameters in a fragment", head("GET", "/callback#"+query[1:], host), []int{400, 404}},
		{"smuggled request", head("POST", "/x", host, "Content-Length: 6", "Transfer-Encoding: chunked") + "0\r\n\r\n" + head("GET", target, host), []int{400, 404}},
		{"TLS", "\x16\x03\x01\x00\x05hello\r\n\r\n", []int{0, 400}},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, page := raw(t, host, c.request)
			known := false
			for _, want := range c.statuses {
				known = known || status == want
			}
			if !known {
				t.Errorf("status %d, want one of %v", status, c.statuses)
			}
			if strings.Contains(page, "EVIL") || strings.Contains(page, state) {
				t.Errorf("the page repeats the request: %q", page)
			}
			if now, ok := s.Pending(); !ok || now.URL != p.URL {
				t.Fatal("the sign-in is not the same any more")
			}
		})
	}
	st.realOneWins(s, p)
}

// realOneWins has the person finish the sign-in.
func (st *stage) realOneWins(s *Session, p SignIn) {
	st.t.Helper()
	p.Present(nil)
	<-p.Done
	if err := p.Err(); err != nil {
		st.t.Errorf("the real response lost: %v", err)
	}
	st.mustCall(s)
	st.wantTally(tally{Tabs: 1, SignIns: 1, Registrations: 1})
}

// TestCallbackFlood sends a thousand wrong requests, as a web page can that guesses ports. They neither end the sign-in
// nor fill the log.
func TestCallbackFlood(t *testing.T) {
	st := newStage(t)
	s := st.session()
	p, redirect, state := st.pending(s)
	mixedUp := redirect.String() + "?code=EVIL&state=" + state + "&iss=https://evil.example"
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 125 {
				link := redirect.String() + fmt.Sprintf("?code=EVIL&state=%d-%d", worker, i)
				if i%5 == 0 {
					link = mixedUp
				}
				if status, _ := visit(t, "", link, ""); status != http.StatusBadRequest {
					t.Errorf("status %d", status)
				}
			}
		})
	}
	wg.Wait()
	if n := strings.Count(st.said.String(), "\n"); n > 4*loggedRejections {
		t.Errorf("%d lines were logged", n)
	}
	st.realOneWins(s, p)
}

// TestCallbackSlowloris opens hundreds of connections that never finish a request. The browser's is served beside them,
// and the port is free soon after.
func TestCallbackSlowloris(t *testing.T) {
	st := newStage(t)
	s := st.session()
	p, redirect, _ := st.pending(s)
	for i := range 300 {
		conn, err := net.Dial("tcp", redirect.Host)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if i%2 == 0 {
			if _, err := io.WriteString(conn, "GET /callback?state="); err != nil {
				t.Fatal(err)
			}
		}
	}
	st.realOneWins(s, p)
	wantFree(t, redirect.Host)
}

// TestCallbackLimits holds the port's server to its limits: nobody keeps a connection for long.
func TestCallbackLimits(t *testing.T) {
	s := newStage(t).session()
	srv := s.callbackServer(&signIn{})
	if srv.ReadTimeout != callbackReadTimeout || srv.MaxHeaderBytes != callbackHeaderBytes || srv.WriteTimeout == 0 {
		t.Errorf("read %v, write %v, header %d bytes", srv.ReadTimeout, srv.WriteTimeout, srv.MaxHeaderBytes)
	}
}
