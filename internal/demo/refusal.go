package demo

import (
	"encoding/json"
	"net/http"
)

// refusal is an error answer of OAuth: RFC 6749 §4.1.2.1 and §5.2, RFC 7009 §2.2.1, RFC 7591 §3.2.2.
type refusal struct {
	// Status is the HTTP status. If zero, 400.
	Status      int    `json:"-"`
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

func invalidRequest(description string) *refusal {
	return &refusal{Code: "invalid_request", Description: description}
}

func invalidGrant(description string) *refusal {
	return &refusal{Code: "invalid_grant", Description: description}
}

func invalidTarget(description string) *refusal {
	return &refusal{Code: "invalid_target", Description: description}
}

func (f *refusal) write(w http.ResponseWriter) {
	status := f.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	if status == http.StatusUnauthorized {
		// RFC 6749 §5.2: a client that tried Basic must be told so; saying it to all is allowed.
		w.Header().Set("WWW-Authenticate", `Basic realm="demo"`)
	}
	writeJSON(w, status, f)
}

// writeJSON sends v, which no cache may keep (RFC 6749 §5.1).
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the caller may have left
}
