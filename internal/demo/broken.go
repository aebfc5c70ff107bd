package demo

import (
	"io"
	"net"
	"net/http"
	"strconv"
)

// Broken is an endpoint for every way in which something that is not a working MCP server answers a POST:
//
//	/html       200 with an HTML page
//	/truncated  200 with JSON that stops in the middle
//	/wrongtype  200 with JSON labelled text/plain
//	/empty      200 with no body and no content type
//	/redirect   307 to /redirected of another origin, which answers 418
//	/hang       no answer until the client leaves
//	/dropped    200 with an SSE stream that ends before it holds an answer
//	/cut        the connection is closed without an answer
//	/500        that status, with a stack trace; so does every other status from 400 to 599
//	/429        with Retry-After: 1; so does /503
//
// Other methods are answered 405.
func Broken() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /html", func(w http.ResponseWriter, _ *http.Request) { proxyPage(w, http.StatusOK) })
	mux.HandleFunc("POST /truncated", fixed("application/json", `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"na`))
	mux.HandleFunc("POST /wrongtype", fixed("text/plain", `{"jsonrpc":"2.0","id":1,"result":{}}`))
	mux.HandleFunc("POST /dropped", fixed("text/event-stream", ": one moment\n\nid: 1\ndata:\n\n"))
	mux.HandleFunc("POST /empty", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil // net/http would guess one
		w.WriteHeader(http.StatusOK)
	})
	mux.HandleFunc("POST /redirect", redirectAway)
	mux.HandleFunc("POST /redirected", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "a redirect to another origin was followed", http.StatusTeapot)
	})
	mux.HandleFunc("POST /hang", func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // net/http notices a client that leaves once the body is read
		<-r.Context().Done()
	})
	mux.HandleFunc("POST /cut", func(w http.ResponseWriter, _ *http.Request) { cut(w) })
	mux.HandleFunc("POST /{status}", failWith)
	return mux
}

func fixed(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body) // the caller may have left
	}
}

// redirectAway sends the caller to the same port under another name, which is another origin.
func redirectAway(w http.ResponseWriter, r *http.Request) {
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		http.Error(w, "no port", http.StatusBadRequest)
		return
	}
	other := "localhost"
	if host == other {
		other = "127.0.0.1"
	}
	// http.Redirect would resolve the path against the one that StripPrefix left.
	w.Header().Set("Location", "http://"+net.JoinHostPort(other, port)+"/broken/redirected")
	w.WriteHeader(http.StatusTemporaryRedirect)
}

func failWith(w http.ResponseWriter, r *http.Request) {
	status, err := strconv.Atoi(r.PathValue("status"))
	if err != nil || status < 400 || status > 599 {
		http.NotFound(w, r)
		return
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	http.Error(w, "panic: runtime error: index out of range [3] with length 3\n\ngoroutine 1 [running]:", status)
}
