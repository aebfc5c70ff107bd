package auth

import (
	"fmt"
	"strings"
	"testing"
)

// TestVendorHint turns a vendor's own words into what to do, whatever the code beside them.
func TestVendorHint(t *testing.T) {
	for _, c := range []struct{ code, description, want string }{
		{"invalid_target", "AADSTS9010010: The resource parameter provided in the request doesn't match with the requested scopes. Trace ID: 1", "--resource none"},
		{"invalid_request", "AADSTS90009: Application is requesting a token for itself.", "--scope GUID/.default"},
		{"invalid_client", "AADSTS7000218: The request body must contain the following parameter: 'client_assertion' or 'client_secret'.", "public client flows"},
		{"invalid_request", "AADSTS9002327: Tokens issued for the 'Single-Page Application' client-type may only be redeemed via cross-origin requests.", "mobile and desktop"},
		{"access_denied", "AADSTS65001: The user or administrator has not consented to use the application.", "administrator has to consent"},
		{"invalid_client", "AADSTS650053: The application asked for scope 'x' that doesn't exist on the resource.", "--scope"},
		{"access_denied", "Service not found: https://mcp.example.com/mcp", "--resource"},
		{"invalid_request", "client_secret is missing.", "--client-secret-file"},
		{"invalid_target", "", "--resource"},
		{"access_denied", "no", "an administrator can grant"},
		{"something_else", "no", ""},
	} {
		err := fmt.Errorf("sign-in: %w", &OAuthError{Code: c.code, Description: c.description})
		if got := hintOf(err); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s %q: the hint is %q, want %q", c.code, c.description, got, c.want)
		}
	}
}
