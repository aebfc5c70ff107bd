package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// idpOptions are the flags for identity providers that no profile gets right.
type idpOptions struct {
	resource        string
	authorizeParams []string
	trustIssuer     string
	assumePKCE      bool
}

func (o *idpOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.resource, "resource", "", "name the server to the identity provider by this URI, or by nothing: none")
	f.StringArrayVar(&o.authorizeParams, "authorize-param", nil, "add name=value to the authorization request (repeatable)")
	f.StringVar(&o.trustIssuer, "trust-issuer", "", "accept this issuer in metadata and answers of a gateway in front of it")
	f.BoolVar(&o.assumePKCE, "assume-pkce", false, "go on where the identity provider's metadata does not say whether PKCE is checked")
}

// params reads --authorize-param. Of a repeated name the last counts.
func (o *idpOptions) params() (map[string]string, error) {
	params := map[string]string{}
	for _, pair := range o.authorizeParams {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, usageError{hinted{fmt.Errorf("--authorize-param %q: want name=value", pair), "for instance --authorize-param prompt=select_account"}}
		}
		params[name] = value
	}
	return params, nil
}
