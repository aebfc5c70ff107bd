package guard_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"drawbridge/auth/guard"
)

// A server of any kind behind a guard: people in the group ops get through, and are greeted by name.
func Example() {
	g, err := guard.New(guard.Config{
		Resource: "https://mcp.example.com/mcp",
		Issuers:  []guard.Issuer{{URL: "https://idp.example.com"}},
		Authorize: func(_ context.Context, r *guard.Request) guard.Decision {
			if !r.Identity.InGroup("ops") {
				return guard.Decision{Outcome: guard.Deny, Reason: "needs group ops"}
			}
			return guard.Decision{Outcome: guard.Allow}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := g.Prepare(context.Background()); err != nil && !errors.Is(err, guard.ErrAway) {
		fmt.Println(err)
		return
	}
	server := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s\n", guard.FromContext(r.Context()).Email)
	})
	http.Handle("/", g.Wrap(server))
}
