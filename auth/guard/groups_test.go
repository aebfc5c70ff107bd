package guard_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"drawbridge/auth/guard"
)

// vendorToken is an access token as a vendor's product issues it, and what is to be made of it. iss, iat and exp are those
// of the test.
type vendorToken struct {
	name      string
	typ       string // of the header
	claims    string
	audiences []string // where the vendor cannot put the resource into aud
	groups    []string // claims configured
	want      guard.Identity
}

// vendorTokens have the members that each vendor documents for access tokens, with a groups or roles claim set up where
// that is left to the customer.
var vendorTokens = []vendorToken{
	{
		name: "Okta, custom authorization server", typ: "", audiences: []string{"api://mcp"},
		claims: `{"ver":1,"jti":"AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE","aud":"api://mcp","cid":"0oahdv4gzaUjOYJ8Z0h7",
			"uid":"00uid4BxXw6I6TV4m0g3","scp":["mcp:tools","offline_access"],"sub":"ada@example.com","auth_time":1700000000,
			"groups":["Everyone","Engineering Leads"]}`,
		want: guard.Identity{Subject: "ada@example.com", ClientID: "0oahdv4gzaUjOYJ8Z0h7", Scopes: []string{"mcp:tools", "offline_access"},
			Groups: []string{"Everyone", "Engineering Leads"}, AuthTime: time.Unix(1700000000, 0)},
	}, {
		name: "Entra ID v2.0, delegated", typ: "JWT", audiences: []string{"6e74172b-be56-4843-9ff4-e66a39bb12e3"},
		claims: `{"aud":"6e74172b-be56-4843-9ff4-e66a39bb12e3","aio":"AXQAi/8IAAAA","azp":"04b07795-8ddb-461a-bbee-02f9e1bf7b46","azpacr":"0",
			"groups":["0c7a9d4f-2d6b-4bd4-9a5e-8b2a5f1d1c11","7f1e5c1a-98b0-4a45-8bd3-3d2d1f0c9a22"],"name":"Ada Lovelace",
			"oid":"690222be-ff1a-4d56-abd1-7e4f7d38e474","preferred_username":"ada@example.com","rh":"0.AXkA","roles":["Mcp.Admin"],
			"scp":"Tools.Call Tools.Read","sub":"HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ","tid":"72f988bf-86f1-41af-91ab-2d7cd011db47",
			"uti":"fqiBqXLPj0eQa82S-IYFAA","ver":"2.0"}`,
		want: guard.Identity{Subject: "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ", Username: "ada@example.com",
			ClientID: "04b07795-8ddb-461a-bbee-02f9e1bf7b46", Scopes: []string{"Tools.Call", "Tools.Read"},
			Groups: []string{"0c7a9d4f-2d6b-4bd4-9a5e-8b2a5f1d1c11", "7f1e5c1a-98b0-4a45-8bd3-3d2d1f0c9a22", "Mcp.Admin"}},
	}, {
		name: "Entra ID v1.0", typ: "JWT", audiences: []string{"api://mcp"},
		claims: `{"aud":"api://mcp","acr":"1","amr":["pwd","mfa"],"appid":"04b07795-8ddb-461a-bbee-02f9e1bf7b46","appidacr":"0",
			"family_name":"Lovelace","groups":["0c7a9d4f-2d6b-4bd4-9a5e-8b2a5f1d1c11"],"ipaddr":"192.0.2.1","oid":"690222be",
			"scp":"user_impersonation","sub":"l3_roISQU222bULS9yi2k0XpqpOiMz5H3ZACo1GeXA","unique_name":"ada@example.com","upn":"ada@example.com","ver":"1.0"}`,
		want: guard.Identity{Subject: "l3_roISQU222bULS9yi2k0XpqpOiMz5H3ZACo1GeXA", Username: "ada@example.com", ACR: "1",
			AMR: []string{"pwd", "mfa"}, ClientID: "04b07795-8ddb-461a-bbee-02f9e1bf7b46", Scopes: []string{"user_impersonation"},
			Groups: []string{"0c7a9d4f-2d6b-4bd4-9a5e-8b2a5f1d1c11"}},
	}, {
		name: "Keycloak, groups and roles", typ: "JWT",
		claims: `{"auth_time":1700000000,"jti":"onrtac:7a1c","aud":["https://mcp.example.com/mcp","account"],"sub":"f:1:ada","typ":"Bearer","azp":"mcp-cli",
			"sid":"s","acr":"1","allowed-origins":["https://mcp.example.com"],"realm_access":{"roles":["default-roles-acme","staff"]},
			"resource_access":{"account":{"roles":["manage-account"]},"mcp":{"roles":["operator"]}},"scope":"email profile mcp:tools",
			"email_verified":true,"groups":["/engineering","/engineering/backend"],"preferred_username":"ada","email":"ada@example.com"}`,
		want: guard.Identity{Subject: "f:1:ada", Email: "ada@example.com", Username: "ada", ClientID: "mcp-cli", ACR: "1",
			Scopes: []string{"email", "profile", "mcp:tools"}, AuthTime: time.Unix(1700000000, 0),
			Groups: []string{"engineering", "engineering/backend", "default-roles-acme", "staff", "account:manage-account", "mcp:operator"}},
	}, {
		name: "Keycloak, roles of one client by its path", typ: "JWT", groups: []string{"resource_access.mcp.roles"},
		claims: `{"aud":"https://mcp.example.com/mcp","sub":"ada","typ":"Bearer","azp":"mcp-cli","realm_access":{"roles":["operator"]},
			"resource_access":{"account":{"roles":["admin"]},"mcp":{"roles":["operator","viewer"]}},"email":"ada@example.com","email_verified":false}`,
		want: guard.Identity{Subject: "ada", ClientID: "mcp-cli", Groups: []string{"operator", "viewer"}},
	}, {
		name: "Auth0, namespaced claims", typ: "JWT",
		claims: `{"https://acme.example.com/roles":["operator"],"https://acme.example.com/groups":"engineering","https://acme.example.com/email":"x@example.com",
			"sub":"auth0|5f7c8ec7c33c6c004bbafe82","aud":["https://mcp.example.com/mcp","https://acme.eu.auth0.com/userinfo"],
			"scope":"openid profile mcp:tools","azp":"my_client_id","permissions":["mcp:admin"]}`,
		want: guard.Identity{Subject: "auth0|5f7c8ec7c33c6c004bbafe82", ClientID: "my_client_id",
			Scopes: []string{"openid", "profile", "mcp:tools"}, Groups: []string{"engineering", "operator"}},
	}, {
		name: "Auth0, RFC 9068 profile, claim by a JSON pointer", typ: "at+jwt", groups: []string{"/https:~1~1acme.example.com~1authorization/teams"},
		claims: `{"https://acme.example.com/authorization":{"teams":["platform"]},"https://acme.example.com/roles":["ignored"],
			"sub":"auth0|1","aud":"https://mcp.example.com/mcp","client_id":"my_client_id","jti":"x"}`,
		want: guard.Identity{Subject: "auth0|1", ClientID: "my_client_id", Groups: []string{"platform"}},
	}, {
		name: "Google (Identity Platform), the hosted domain as group", typ: "at+jwt", groups: []string{"hd"},
		claims: `{"aud":"https://mcp.example.com/mcp","azp":"32555940559.apps.googleusercontent.com","sub":"10769150350006150715113082367",
			"email":"ada@example.com","email_verified":true,"hd":"example.com","scope":"openid email"}`,
		want: guard.Identity{Subject: "10769150350006150715113082367", Email: "ada@example.com", ClientID: "32555940559.apps.googleusercontent.com",
			Scopes: []string{"openid", "email"}, Groups: []string{"example.com"}},
	}, {
		name: "Cognito", typ: "", audiences: []string{"1example23456789"},
		claims: `{"sub":"aaaaaaaa-bbbb-cccc-dddd-example","device_key":"d","cognito:groups":["admin","eu-west-1_AcMe_Okta"],"version":2,"client_id":"1example23456789",
			"origin_jti":"o","event_id":"e","token_use":"access","scope":"mcp/tools openid","auth_time":1700000000,"username":"ada"}`,
		want: guard.Identity{Subject: "aaaaaaaa-bbbb-cccc-dddd-example", Username: "ada", ClientID: "1example23456789",
			Scopes: []string{"mcp/tools", "openid"}, Groups: []string{"admin", "eu-west-1_AcMe_Okta"}, AuthTime: time.Unix(1700000000, 0)},
	}, {
		name: "Cognito, list taken over from SAML", typ: "", audiences: []string{"1example23456789"}, groups: []string{"custom:groups"},
		claims: `{"sub":"a","custom:groups":"[Domain Admins, ops]","client_id":"1example23456789","token_use":"access","scope":"mcp/tools","username":"ada"}`,
		want: guard.Identity{Subject: "a", Username: "ada", ClientID: "1example23456789", Scopes: []string{"mcp/tools"},
			Groups: []string{"Domain Admins", "ops"}},
	}, {
		name: "PingOne", typ: "JWT",
		claims: `{"client_id":"3b7b5d9b","iss":"x","scope":"mcp:tools","aud":["https://mcp.example.com/mcp"],"sub":"80b2a0d1","sid":"s","env":"e","org":"o",
			"p1.rid":"r","p1.userId":"80b2a0d1","groups":["Engineering"],"acr":"Multi_Factor","auth_time":1700000000}`,
		want: guard.Identity{Subject: "80b2a0d1", ClientID: "3b7b5d9b", Scopes: []string{"mcp:tools"}, Groups: []string{"Engineering"},
			ACR: "Multi_Factor", AuthTime: time.Unix(1700000000, 0)},
	}, {
		name: "PingFederate, names of a directory", typ: "at+jwt",
		claims: `{"client_id":"cli","scope":["mcp:tools"],"aud":"https://mcp.example.com/mcp","sub":"ada",
			"memberOf":["CN=Domain Admins,OU=Groups,DC=example,DC=com","CN=ops,OU=Groups,DC=example,DC=com"]}`,
		want: guard.Identity{Subject: "ada", ClientID: "cli", Scopes: []string{"mcp:tools"},
			Groups: []string{"CN=Domain Admins,OU=Groups,DC=example,DC=com", "CN=ops,OU=Groups,DC=example,DC=com"}},
	}, {
		name: "PingFederate, one name of a directory as text", typ: "at+jwt",
		claims: `{"client_id":"cli","aud":"https://mcp.example.com/mcp","sub":"ada","memberOf":"CN=Domain Admins,OU=Groups,DC=example,DC=com"}`,
		want:   guard.Identity{Subject: "ada", ClientID: "cli", Groups: []string{"CN=Domain Admins,OU=Groups,DC=example,DC=com"}},
	}, {
		name: "JumpCloud", typ: "JWT", audiences: []string{"8d2e0c6d"},
		claims: `{"aud":["8d2e0c6d"],"client_id":"8d2e0c6d","ext":{},"jti":"j","nbf":1700000000,"scp":["openid","offline_access"],
			"sub":"5f1a","groups":"engineering"}`,
		want: guard.Identity{Subject: "5f1a", ClientID: "8d2e0c6d", Scopes: []string{"openid", "offline_access"}, Groups: []string{"engineering"}},
	}, {
		name: "Zitadel, names as members of an object", typ: "at+jwt", groups: []string{"urn:zitadel:iam:org:project:roles"},
		claims: `{"aud":["https://mcp.example.com/mcp"],"client_id":"cli","sub":"1","urn:zitadel:iam:org:project:roles":{"viewer":{"2":"x"},"admin":{"2":"x"}}}`,
		want:   guard.Identity{Subject: "1", ClientID: "cli", Groups: []string{"admin", "viewer"}},
	},
}

// TestVendorTokens sends each token through a guard that is set up for its vendor.
func TestVendorTokens(t *testing.T) {
	for _, test := range vendorTokens {
		t.Run(test.name, func(t *testing.T) {
			now := time.Now()
			var c object
			if err := json.Unmarshal([]byte(test.claims), &c); err != nil {
				t.Fatal(err)
			}
			c["iss"], c["iat"], c["exp"] = issuer, now.Unix(), now.Add(time.Minute).Unix()
			header := object{"alg": "ES256", "kid": "ec"}
			if test.typ != "" {
				header["typ"] = test.typ
			}
			s := protect(t, newIDP(), guard.Config{Issuers: []guard.Issuer{{URL: issuer, Audiences: test.audiences, Groups: test.groups}}})
			token := sign(ecKey(), header, c)
			got := s.identity(token)
			if got == nil {
				t.Fatalf("refused: %s", s.events[0].Reason)
			}
			want := test.want
			want.Issuer, want.Via, want.Expiry = issuer, guard.ViaJWT, time.Unix(now.Add(time.Minute).Unix(), 0)
			want.TokenHash = sha(token)[:32]
			if diff := cmp.Diff(&want, got, cmpopts.IgnoreUnexported(guard.Identity{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// TestGroupClaims: how a groups claim may be written.
func TestGroupClaims(t *testing.T) {
	for _, test := range []struct {
		name string
		in   any
		want []string
	}{
		{"list", []string{"a", "b c"}, []string{"a", "b c"}},
		{"one", "a", []string{"a"}},
		{"spaces", " a  b ", []string{"a", "b"}},
		{"commas", "a, b c,d", []string{"a", "b c", "d"}},
		{"semicolons", "a;b", []string{"a", "b"}},
		{"list in a text", `["a b","c"]`, []string{"a b", "c"}},
		{"broken list in a text", `[a, b`, []string{"[a", "b"}},
		{"twice", []string{"a", "a", "/a"}, []string{"a"}},
		{"not ASCII", []string{"Entwicklung Süd"}, []string{"Entwicklung Süd"}},
		{"case", []string{"Admin", "admin"}, []string{"Admin", "admin"}},
		{"empty ones", []any{"", " ", "/"}, nil},
		{"numbers and objects among them", []any{1, object{"name": "x"}, []string{"y"}, nil, true, "a"}, []string{"a"}},
		{"control characters", []string{"adm\x00in", "a\nb", "ok"}, []string{"ok"}},
		{"endless name", []string{strings.Repeat("a", 256), "b"}, []string{"b"}},
		{"number", 7, nil},
		{"true", true, nil},
		{"null", nil, nil},
	} {
		s := protect(t, newIDP(), guard.Config{})
		got := s.identity(accessToken(time.Now(), object{"groups": test.in}))
		if got == nil {
			t.Fatalf("%s: refused", test.name)
		}
		if diff := cmp.Diff(test.want, got.Groups, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: -want +got\n%s", test.name, diff)
		}
	}
}

// overage are the two ways in which Entra ID says that the groups did not fit into the token.
var overage = map[string]object{
	"_claim_names": {
		"_claim_names":   object{"groups": "src1"},
		"_claim_sources": object{"src1": object{"endpoint": "https://graph.windows.net/t/users/o/getMemberObjects"}},
	},
	"hasgroups": {"hasgroups": true},
}

// TestGroupOverage: a list of groups that is known to be incomplete is not judged by.
func TestGroupOverage(t *testing.T) {
	for name, claims := range overage {
		cfg := guard.Config{Authorize: func(context.Context, *guard.Request) guard.Decision { return guard.Decision{Outcome: guard.Allow} }}
		s := protect(t, newIDP(), cfg)
		w := ask(s, "Bearer "+accessToken(time.Now(), claims))
		if len(s.seen) > 0 || !strings.Contains(w.Body.String(), "left your groups out of the access token") {
			t.Errorf("%s: got %d %s", name, w.Code, w.Body)
		}
		if e := s.events[0]; e.Verdict != guard.Denied || e.Identity.Subject != "ada" {
			t.Errorf("%s: event %+v", name, e)
		}
	}
}

// TestGroupLookup: groups that did not fit are looked up once a token; a lookup that fails denies, and is tried again.
func TestGroupLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lookups, fails := 0, true
		lookup := func(_ context.Context, id *guard.Identity, c map[string]any) ([]string, error) {
			lookups++
			if fails || id.Subject != "ada" || c["_claim_sources"] == nil {
				return nil, errors.New("the directory is away: CANARY")
			}
			return []string{"ops", "kept"}, nil
		}
		s := protect(t, newIDP(), guard.Config{Issuers: []guard.Issuer{{URL: issuer, LookupGroups: lookup}}})
		claims := overage["_claim_names"]
		claims["roles"] = []string{"kept"}
		token := accessToken(time.Now(), claims)
		var w *httptest.ResponseRecorder
		for range 3 {
			w = ask(s, "Bearer "+token)
		}
		if body := w.Body.String(); !strings.Contains(body, "cannot be looked up at the moment") || strings.Contains(body, "CANARY") || lookups != 1 {
			t.Errorf("after %d lookups: %d %s", lookups, w.Code, body)
		}
		fails = false
		time.Sleep(10 * time.Second)
		for range 3 {
			if id := s.identity(token); id == nil || !cmp.Equal(id.Groups, []string{"kept", "ops"}) || !id.InGroup("x", "ops") || id.InGroup("x") {
				t.Fatalf("identity: %+v", id)
			}
		}
		if lookups != 2 {
			t.Errorf("%d lookups", lookups)
		}
	})
}
