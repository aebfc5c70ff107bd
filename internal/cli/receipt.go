package cli

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"drawbridge/auth"
	"drawbridge/tokenstore"
)

// receipt is the JSON form of what a logout did. It is stable.
type receipt struct {
	Server       string   `json:"server,omitempty"` // absent for a client registration
	Profile      string   `json:"profile,omitempty"`
	Account      string   `json:"account,omitempty"`
	Issuer       string   `json:"issuer,omitempty"`
	Local        outcome  `json:"local"`
	RefreshToken outcome  `json:"refresh_token"`
	AccessToken  outcome  `json:"access_token"`
	Registration outcome  `json:"registration"`
	Key          *outcome `json:"key,omitempty"` // absent where there was none
}

type outcome struct {
	State      auth.State `json:"state"`
	Reason     string     `json:"reason,omitempty"`
	ValidUntil *time.Time `json:"valid_until,omitempty"`
}

func receiptOf(r auth.Receipt) receipt {
	j := receipt{
		Server: r.ServerURL, Profile: r.Profile, Account: r.Subject, Issuer: r.Issuer,
		Local: outcomeOf(r.Local), RefreshToken: outcomeOf(r.RefreshToken), AccessToken: outcomeOf(r.AccessToken),
		Registration: outcomeOf(r.Registration),
	}
	if r.Key.State != auth.Absent {
		key := outcomeOf(r.Key)
		j.Key = &key
	}
	return j
}

func outcomeOf(o auth.Outcome) outcome {
	j := outcome{State: o.State}
	if o.Cause != nil {
		j.Reason = o.Cause.Error()
	}
	if !o.Until.IsZero() {
		j.ValidUntil = &o.Until
	}
	return j
}

// printReceipt prints what became of one sign-in or registration, a line for each thing that was there.
func printReceipt(env Env, r auth.Receipt, store tokenstore.Store) error {
	fmt.Fprintln(env.Stdout, plain(headline(r)))
	w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	if r.Local.State == auth.Ended {
		fmt.Fprintf(w, "  this machine\tdeleted from %s\n", store.Location())
	}
	printOutcome(w, "refresh token", "revoked", r.RefreshToken)
	printOutcome(w, "access token", "revoked", r.AccessToken)
	printOutcome(w, "client registration", "deleted", r.Registration)
	printOutcome(w, "static key", "withdrawn", r.Key)
	return w.Flush()
}

func headline(r auth.Receipt) string {
	switch {
	case r.Local.State == auth.Absent:
		return "not signed in to " + subjectOf(r)
	case !r.Wiped():
		return "NOT signed out of " + subjectOf(r)
	case isRegistration(r):
		return "deleted " + subjectOf(r)
	}
	return "signed out of " + subjectOf(r) + as(r.Subject)
}

func isRegistration(r auth.Receipt) bool { return r.Name.Kind() == tokenstore.KindRegistration }

// subjectOf names what a receipt is about.
func subjectOf(r auth.Receipt) string {
	switch {
	case isRegistration(r):
		return "the client registration at " + orDash(r.Issuer, string(r.Name))
	case r.Profile != "":
		return orDash(r.ServerURL, string(r.Name)) + " (profile " + r.Profile + ")"
	}
	return orDash(r.ServerURL, string(r.Name))
}

// printOutcome says what the identity provider confirmed. What it did not stays valid for a while, and that is the news.
func printOutcome(w io.Writer, what, ended string, o auth.Outcome) {
	says := ""
	switch o.State {
	case auth.Absent:
		return
	case auth.Ended:
		says = ended + " at the identity provider"
	case auth.Expired:
		says = "expired already"
	case auth.Kept:
		says = "kept: " + o.Cause.Error()
	case auth.Unconfirmed:
		says = "NOT confirmed: " + o.Cause.Error()
		if ended == "revoked" {
			says += "; " + validity(o.Until)
		}
	}
	fmt.Fprintf(w, "  %s\t%s\n", what, plain(says))
}

func validity(until time.Time) string {
	if until.IsZero() {
		return "it stays valid until the identity provider ends it"
	}
	return "it stays valid until " + until.Local().Format("2006-01-02 15:04:05 MST")
}
