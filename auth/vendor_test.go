package auth

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drawbridge/tokenstore"
)

func anyRequest(url.Values) bool { return true }

func asksOffline(q url.Values) bool {
	return slices.Contains(strings.Fields(q.Get("scope")), "offline_access")
}

func forServer(url.Values) string { return vendorServer }

// The error texts below are the vendors' own where their documents or their users quote them.

func entra() fakeIdP {
	const home = "https://login.microsoftonline.com/9122040d-6c67-4c5b-b112-36a304b66dad"
	return fakeIdP{
		issuer: home + "/v2.0", authorization: home + "/oauth2/v2.0/authorize", token: home + "/oauth2/v2.0/token",
		metadataAt: home + "/v2.0/.well-known/openid-configuration",
		metadata:   object{"scopes_supported": []string{"openid", "profile", "email", "offline_access"}},
		refuse: func(q url.Values) *OAuthError {
			named, all := entraScopes(q.Get("scope"))
			switch {
			case q.Has("resource"):
				return &OAuthError{Code: "invalid_target", Description: "AADSTS9010010: The resource parameter provided in the request doesn't match with the requested scopes."}
			case len(named) > 0 && len(all) > 0:
				return &OAuthError{Code: "invalid_scope", Description: "AADSTS70011: .default scope can't be combined with resource-specific scopes."}
			case len(named)+len(all) == 0 || slices.ContainsFunc(named, func(s string) bool { return !strings.Contains(s, "/") }):
				return &OAuthError{Code: "invalid_client", Description: "AADSTS650053: The application asked for a scope that doesn't exist on the resource '00000003-0000-0000-c000-000000000000'."}
			}
			return nil
		},
		refuseToken: func(form, _ url.Values) *OAuthError {
			if form.Has("resource") {
				return &OAuthError{Code: "invalid_target", Description: "AADSTS9010010: The resource parameter provided in the request doesn't match with the requested scopes."}
			}
			if form.Get("grant_type") == "refresh_token" && !form.Has("scope") {
				return &OAuthError{Code: "invalid_request", Description: "AADSTS90009: Application is requesting a token for itself. This scenario is supported only if resource is specified using the GUID based App Identifier."}
			}
			return nil
		},
		audience: func(q url.Values) string {
			named, all := entraScopes(q.Get("scope"))
			first := slices.Concat(named, all)[0]
			api := first[:strings.LastIndex(first, "/")]
			if api == "api://mcp" { // the application ID URI of the same API
				return vendorServer
			}
			return api
		},
		renews: asksOffline,
	}
}

// entraScopes sorts the scopes that belong to an API.
func entraScopes(scope string) (named, all []string) {
	for s := range strings.FieldsSeq(scope) {
		switch {
		case isOpenID(s):
		case strings.HasSuffix(s, "/.default"):
			all = append(all, s)
		default:
			named = append(named, s)
		}
	}
	return named, all
}

func okta() fakeIdP {
	const home = "https://acme.okta.com/oauth2/default"
	return fakeIdP{
		issuer: home, authorization: home + "/v1/authorize", token: home + "/v1/token",
		metadataAt: home + "/.well-known/openid-configuration", serverScopes: []string{"mcp.read"},
		metadata: object{
			"code_challenge_methods_supported": []string{"S256"}, "scopes_supported": []string{"openid", "mcp.read", "offline_access"},
		},
		refuse: func(q url.Values) *OAuthError {
			for s := range strings.FieldsSeq(q.Get("scope")) {
				if !isOpenID(s) && s != "mcp.read" {
					return &OAuthError{Code: "invalid_scope", Description: "One or more scopes are not configured for the authorization server resource."}
				}
			}
			return nil
		},
		audience: forServer, renews: asksOffline, // the audience is a setting of the authorization server
	}
}

func auth0() fakeIdP {
	const home = "https://acme.us.auth0.com"
	return fakeIdP{
		issuer: home + "/", authorization: home + "/authorize", token: home + "/oauth/token",
		metadataAt: home + "/.well-known/openid-configuration",
		metadata: object{
			"code_challenge_methods_supported": []string{"S256", "plain"}, "scopes_supported": []string{"openid", "profile", "offline_access"},
		},
		refuse: func(q url.Values) *OAuthError {
			if audience := q.Get("audience"); audience != "" && audience != vendorServer {
				return &OAuthError{Code: "access_denied", Description: "Service not found: " + audience}
			}
			return nil
		},
		audience: func(q url.Values) string { return q.Get("audience") }, // without one the token is opaque and for /userinfo
		renews:   asksOffline,
	}
}

func keycloak() fakeIdP {
	const home = "https://sso.example.com/realms/acme"
	return fakeIdP{
		issuer: home, authorization: home + "/protocol/openid-connect/auth", token: home + "/protocol/openid-connect/token",
		metadataAt: home + "/.well-known/openid-configuration", sendsIss: true,
		metadata: object{
			"code_challenge_methods_supported": []string{"plain", "S256"}, "scopes_supported": []string{"openid", "offline_access"},
			"authorization_response_iss_parameter_supported": true,
		},
		serverScopes: []string{"mcp"},
		refuseToken: func(_, first url.Values) *OAuthError {
			if asksOffline(first) {
				return &OAuthError{Code: "not_allowed", Description: "Offline tokens not allowed for the user or client"}
			}
			return nil
		},
		audience: forServer, renews: anyRequest, // the audience comes from a mapper
	}
}

func google() fakeIdP {
	return fakeIdP{
		issuer: "https://accounts.google.com", authorization: "https://accounts.google.com/o/oauth2/v2/auth",
		token: "https://oauth2.googleapis.com/token", metadataAt: "https://accounts.google.com/.well-known/openid-configuration",
		metadata: object{
			"code_challenge_methods_supported":      []string{"plain", "S256"},
			"token_endpoint_auth_methods_supported": []string{"client_secret_post", "client_secret_basic"},
		},
		serverScopes: []string{"openid", "email", "offline_access"}, clientSecret: "CANARY-desktop",
		page: func(q url.Values) string {
			if asksOffline(q) {
				return "Error 400: invalid_scope: Some requested scopes were invalid. {valid=[openid, email], invalid=[offline_access]}"
			}
			return ""
		},
		audience: forServer, // the server asks Google whom an opaque token is for
		renews:   func(q url.Values) bool { return q.Get("access_type") == "offline" && q.Get("prompt") == "consent" },
	}
}

func cognito() fakeIdP {
	const pool, home = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab1", "https://acme.auth.eu-central-1.amazoncognito.com"
	return fakeIdP{
		issuer: pool, authorization: home + "/oauth2/authorize", token: home + "/oauth2/token",
		metadataAt:   pool + "/.well-known/openid-configuration",
		metadata:     object{"scopes_supported": []string{"openid", "email", "phone", "profile"}},
		serverScopes: []string{vendorServer + "/read"},
		refuse: func(q url.Values) *OAuthError {
			switch {
			case q.Has("resource"):
				return &OAuthError{Code: "invalid_request", Description: "resource"}
			case asksOffline(q):
				return &OAuthError{Code: "invalid_scope"}
			}
			return nil
		},
		audience: forServer, renews: anyRequest,
	}
}

// abroad moves an identity provider to hosts and paths that show no vendor.
func (f fakeIdP) abroad() fakeIdP {
	const home = "https://idp.example.com"
	f.issuer, f.authorization, f.token = home, home+"/authorize", home+"/token"
	f.metadataAt = home + "/.well-known/openid-configuration"
	return f
}

// course is how two calls went, the second after the first token expired.
type course struct {
	Err       string // of the first call that failed, as far as the table says
	SignIns   int
	Refreshes int
}

func (v *vendorStage) course(edit ...func(*Config)) (course, error) {
	s := v.session(edit...)
	_, err := v.call(s)
	if err == nil {
		v.clock.advance(2 * time.Hour)
		_, err = v.call(s)
	}
	asked, forms := v.requests()
	refreshes := slices.DeleteFunc(forms, func(f url.Values) bool { return f.Get("grant_type") != "refresh_token" })
	return course{SignIns: len(asked), Refreshes: len(refreshes)}, err
}

// TestVendorsWithoutAFlag signs in at each vendor's own hosts, and lives through an expiry.
func TestVendorsWithoutAFlag(t *testing.T) {
	serverScoped := func(f fakeIdP, scopes ...string) fakeIdP { f.serverScopes = scopes; return f }
	for _, c := range []struct {
		name string
		idp  fakeIdP
		want tokenstore.IdP
	}{
		{"entra without scopes", entra(), tokenstore.IdP{
			Profile: "entra", Asked: []string{vendorServer + "/.default", "offline_access"},
			Refresh: map[string]string{"scope": vendorServer + "/.default offline_access"},
			Changes: []string{
				"the scopes name the resource, no parameter does", "a refresh repeats the scopes",
				"PKCE is used though the metadata does not list it (the vendor is known to check it)",
			},
		}},
		{"entra with names", serverScoped(entra(), "mcp.read", "openid"), tokenstore.IdP{
			Profile: "entra", Asked: []string{vendorServer + "/mcp.read", "openid", "offline_access"},
			Refresh: map[string]string{"scope": vendorServer + "/mcp.read openid offline_access"},
			Changes: []string{
				"the scopes name the resource, no parameter does", "a refresh repeats the scopes",
				"PKCE is used though the metadata does not list it (the vendor is known to check it)",
			},
		}},
		{"entra with application ID URI", serverScoped(entra(), "api://mcp/mcp.read"), tokenstore.IdP{
			Profile: "entra", Asked: []string{"api://mcp/mcp.read", "offline_access"},
			Refresh: map[string]string{"scope": "api://mcp/mcp.read offline_access"},
			Changes: []string{
				"the scopes name the resource, no parameter does", "a refresh repeats the scopes",
				"PKCE is used though the metadata does not list it (the vendor is known to check it)",
			},
		}},
		{"okta", okta(), tokenstore.IdP{
			Profile: "okta", Asked: []string{"mcp.read", "offline_access"}, Refresh: map[string]string{"resource": vendorServer},
		}},
		{"auth0", auth0(), tokenstore.IdP{
			Profile: "auth0", Asked: []string{"offline_access"}, Refresh: map[string]string{"resource": vendorServer},
			Changes: []string{"the resource is named as audience too"},
		}},
		{"keycloak", keycloak(), tokenstore.IdP{
			Profile: "keycloak", Asked: []string{"mcp"}, Refresh: map[string]string{"resource": vendorServer},
			Changes: []string{"offline_access is not added"},
		}},
		{"google", google(), tokenstore.IdP{
			Profile: "google", Asked: []string{"openid", "email"},
			Changes: []string{"no resource is named", "access_type=offline and prompt=consent ask for a refresh token"},
		}},
		{"cognito", cognito(), tokenstore.IdP{
			Profile: "cognito", Asked: []string{vendorServer + "/read"},
			Changes: []string{
				"no resource is named", "offline_access is not asked for",
				"PKCE is used though the metadata does not list it (the vendor is known to check it)",
			},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newVendorStage(t, c.idp)
			got, err := v.course()
			if err != nil || got != (course{SignIns: 1, Refreshes: 1}) {
				t.Fatalf("%+v, %v; the browser showed %q", got, err, v.lastPage())
			}
			if diff := cmp.Diff(c.want, v.credential().IdP); diff != "" {
				t.Errorf("stored (-want +got):\n%s", diff)
			}
		})
	}
}

// TestVendorsUnrecognised has the same providers on hosts that show no vendor: each refuses what it refuses, and flags
// help where there are some.
func TestVendorsUnrecognised(t *testing.T) {
	briefly := func(c *Config) { c.LoginTimeout = time.Second / 2 }
	for _, c := range []struct {
		name string
		idp  fakeIdP
		edit func(*Config)
		want course
		page string // in what the browser showed
	}{
		{"entra", entra(), nil, course{Err: "code_challenge_methods_supported is missing"}, ""},
		{"entra, PKCE assumed", entra(), func(c *Config) { c.AssumePKCE = true }, course{Err: "AADSTS9010010", SignIns: 1}, "AADSTS9010010"},
		{"entra, no resource", entra(), func(c *Config) { c.AssumePKCE, c.Resource = true, noResource },
			course{Err: "AADSTS650053", SignIns: 1}, ""},
		{"entra, refresh without scope", entra(), func(c *Config) {
			c.AssumePKCE, c.Resource, c.Scopes = true, noResource, []string{vendorServer + "/.default"}
		}, course{SignIns: 2, Refreshes: 1}, ""}, // AADSTS90009
		{"okta, unknown scope", okta(), func(c *Config) { c.Scopes = []string{"x"} }, course{Err: "not configured", SignIns: 1}, ""},
		{"auth0", auth0(), nil, course{Err: "refuses the token of a sign-in that just succeeded", SignIns: 1}, ""},
		{"auth0, audience", auth0(), func(c *Config) {
			c.AuthorizeParams = map[string]string{"audience": vendorServer}
		}, course{SignIns: 2}, ""}, // no scope is asked for, so offline_access is not either
		{"auth0, unknown audience", auth0(), func(c *Config) {
			c.AuthorizeParams = map[string]string{"audience": "https://other.example"}
		}, course{Err: "Service not found", SignIns: 1}, "Service not found"},
		{"keycloak", keycloak(), nil, course{Err: "Offline tokens not allowed", SignIns: 1}, ""},
		{"google, offline_access", google(), briefly, course{Err: "nobody signed in", SignIns: 1}, "invalid_scope"},
		{"google", google(), func(c *Config) { c.Scopes = []string{"openid"} }, course{SignIns: 2}, ""},
		{"google, parameters", google(), func(c *Config) {
			c.Scopes = []string{"openid"}
			c.AuthorizeParams = map[string]string{"access_type": "offline", "prompt": "consent"}
		}, course{SignIns: 1, Refreshes: 1}, ""},
		{"google, no secret", google(), func(c *Config) {
			c.Scopes, c.Client.Secret = []string{"openid"}, text("")
		}, course{Err: "client_secret is missing", SignIns: 1}, ""},
		{"cognito", cognito(), nil, course{Err: "code_challenge_methods_supported is missing"}, ""},
		{"cognito, PKCE assumed", cognito(), func(c *Config) { c.AssumePKCE = true }, course{Err: "invalid_request", SignIns: 1}, ""},
		{"cognito, both", cognito(), func(c *Config) { c.AssumePKCE, c.Resource = true, noResource }, course{SignIns: 1, Refreshes: 1}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newVendorStage(t, c.idp.abroad())
			if c.edit == nil {
				c.edit = func(*Config) {}
			}
			got, err := v.course(c.edit)
			wantError(t, err, c.want.Err)
			got.Err = c.want.Err
			if got != c.want {
				t.Errorf("went %+v, want %+v", got, c.want)
			}
			if page := v.lastPage(); !strings.Contains(page, c.page) {
				t.Errorf("the browser showed %q, want %q", page, c.page)
			}
		})
	}
}
