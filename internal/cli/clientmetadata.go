package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"drawbridge/auth"
)

func newClientMetadata(env Env, o *options) *cobra.Command {
	var at, name string
	cmd := &cobra.Command{
		Use:   "client-metadata --client-id-url URL",
		Short: "Print the client id metadata document to host at URL, for --client-metadata-url",
		Long: `client-metadata prints a document that makes URL a client id (MCP 2025-11-25, Client ID Metadata Documents). Host it there,
as application/json, and people sign in with --client-metadata-url URL, without any registration, where the authorization
server supports such documents. The --callback- flags say which redirect URI it names; give them to the bridge too.`,
		Example: "  drawbridge client-metadata --client-id-url https://example.com/oauth/drawbridge.json > drawbridge.json",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			if at == "" {
				return usageError{hinted{errors.New("client-metadata: no --client-id-url"), "name the https URL where the document will be hosted"}}
			}
			document, err := auth.NewClientDocument(at, name, o.callback)
			if err != nil {
				return usageError{hinted{err, "the URL is the client id: https, with a path, such as https://example.com/oauth/drawbridge.json"}}
			}
			return printJSON(env, document)
		},
	}
	cmd.Flags().StringVar(&at, "client-id-url", "", "https URL where the document will be hosted; it becomes the client id")
	cmd.Flags().StringVar(&name, "name", "", `name on consent pages (default "Drawbridge")`)
	return cmd
}
