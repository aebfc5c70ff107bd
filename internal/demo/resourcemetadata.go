package demo

import (
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// MetadataPlace says where a server's protected resource metadata is found (RFC 9728).
type MetadataPlace int

// Places of protected resource metadata.
const (
	// MetadataEverywhere: at the path-inserted well-known URL, and named by the challenge.
	MetadataEverywhere MetadataPlace = iota
	// MetadataAtPath: at the path-inserted well-known URL; the challenge does not name it.
	MetadataAtPath
	// MetadataAtRoot: at the root well-known URL; the challenge does not name it. The resource is then the whole
	// origin (RFC 9728 §3.3), and so is the audience of tokens.
	MetadataAtRoot
	// MetadataInHeader: at a URL that only the challenge names.
	MetadataInHeader
	// MetadataNowhere: there is none.
	MetadataNowhere
)

const (
	wellKnownResource   = "/.well-known/oauth-protected-resource"
	privateMetadataPath = "/who-protects-this" // of MetadataInHeader
)

func (s *Server) place() (place MetadataPlace) {
	s.update(func(st *serverState) { place = st.metadata })
	return place
}

// metadataPath is where the metadata is now, or "".
func (s *Server) metadataPath() string {
	switch s.place() {
	case MetadataAtRoot:
		return wellKnownResource
	case MetadataInHeader:
		return privateMetadataPath
	case MetadataNowhere:
		return ""
	default:
		return wellKnownResource + s.cfg.Path
	}
}

// challengeMetadata is the URL that the challenge names (RFC 9728 §5.1), or "".
func (s *Server) challengeMetadata() string {
	switch s.place() {
	case MetadataEverywhere, MetadataInHeader:
		return s.origin + s.metadataPath()
	default:
		return ""
	}
}

// resource is the audience that tokens must have.
func (s *Server) resource() string {
	if s.place() == MetadataAtRoot {
		return s.origin
	}
	return s.url
}

// resourceMetadata answers with the document of RFC 9728 §2.
func (s *Server) resourceMetadata(w http.ResponseWriter, r *http.Request) {
	if s.keys == nil || r.URL.Path != s.metadataPath() {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", "*") // it is public
	writeJSON(w, http.StatusOK, oauthex.ProtectedResourceMetadata{
		Resource:               s.resource(),
		AuthorizationServers:   []string{s.cfg.Issuer},
		ScopesSupported:        s.cfg.Scopes,
		BearerMethodsSupported: []string{"header"},
		ResourceName:           "Drawbridge demonstration server",
	})
}
