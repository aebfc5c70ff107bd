package guard

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// wellKnownResource is where protected resource metadata begins (RFC 9728 section 3).
const wellKnownResource = "/.well-known/oauth-protected-resource"

// resourceMetadata is the document of RFC 9728 section 2.
type resourceMetadata struct {
	Resource               string   `json:"resource"`
	AuthorizationServers   []string `json:"authorization_servers"`
	ScopesSupported        []string `json:"scopes_supported,omitempty"`
	BearerMethodsSupported []string `json:"bearer_methods_supported"`
	ResourceName           string   `json:"resource_name,omitempty"`
	ResourceDocumentation  string   `json:"resource_documentation,omitempty"`
}

// document makes the resource's metadata.
func (g *Guard) document() resourceMetadata {
	c := &g.cfg
	m := resourceMetadata{
		Resource: c.Resource, ScopesSupported: c.Scopes, BearerMethodsSupported: []string{"header"},
		ResourceName: c.Name, ResourceDocumentation: c.Documentation,
	}
	for _, issuer := range c.Issuers {
		if issuer.Mirror != nil {
			issuer.URL = g.mirror.issuer
		}
		m.AuthorizationServers = append(m.AuthorizationServers, issuer.URL)
	}
	return m
}

// metadataPaths returns where the metadata of a resource is: at the path-inserted URL (RFC 9728 section 3.1), and at the
// root for clients that look only there.
func metadataPaths(resource *url.URL) []string {
	return union([]string{wellKnownResource + trimmedPath(resource), wellKnownResource})
}

// trimmedPath is the path without the slash at its end, which no well-known URL has.
func trimmedPath(u *url.URL) string { return strings.TrimSuffix(u.EscapedPath(), "/") }

// serveDocument answers with a public document. Pages of any origin may read it: a client in a browser has to.
func serveDocument(w http.ResponseWriter, r *http.Request, document any) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "max-age=300")
		_ = json.NewEncoder(w).Encode(document) // the caller has gone
	case http.MethodOptions:
		preflight(w, "GET, HEAD, OPTIONS")
	default:
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// preflight answers the question of a browser whether a page may make a request (Fetch standard, CORS preflight).
func preflight(w http.ResponseWriter, methods string) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", methods)
	h.Set("Access-Control-Allow-Headers", "Accept, Content-Type, MCP-Protocol-Version")
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}
