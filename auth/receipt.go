package auth

import (
	"time"

	"drawbridge/tokenstore"
)

// Receipt says what became of one sign-in, or, where ServerURL is "" and Registration is not absent, of one client
// registration.
type Receipt struct {
	Name      tokenstore.Name // of the item
	ServerURL string          // "" where the record could not be read
	Profile   string
	Subject   string
	Issuer    string

	Local        Outcome // the record in the store
	RefreshToken Outcome // at the issuer
	AccessToken  Outcome // at the issuer
	Registration Outcome // of the client, at the issuer
	Key          Outcome // a static key, at the server
}

// Outcome is what became of one thing that a logout is to end.
type Outcome struct {
	State State
	Cause error     // why it is Kept or Unconfirmed; nil otherwise
	Until time.Time // Unconfirmed: when it ends by itself; zero when that is not known
}

// State sorts outcomes.
type State string

// States of an [Outcome].
const (
	Absent      State = "absent"      // there was no such thing
	Ended       State = "ended"       // deleted from the store, or confirmed by the issuer
	Expired     State = "expired"     // the issuer confirmed nothing, and it has ended by itself
	Kept        State = "kept"        // left in place on purpose
	Unconfirmed State = "unconfirmed" // it may still be there, or be valid
)

// Wiped reports whether nothing of the sign-in is left in the store.
func (r Receipt) Wiped() bool { return r.Local.State != Unconfirmed }

// Confirmed reports whether nothing of the sign-in is valid at the issuer any more, as far as we were told.
func (r Receipt) Confirmed() bool {
	return r.RefreshToken.State != Unconfirmed && r.AccessToken.State != Unconfirmed && r.Registration.State != Unconfirmed &&
		r.Key.State != Unconfirmed
}

func newReceipt(name tokenstore.Name) Receipt {
	none := Outcome{State: Absent}
	return Receipt{Name: name, Local: none, RefreshToken: none, AccessToken: none, Registration: none, Key: none}
}

// outcome is Ended without an error.
func outcome(err error, until time.Time) Outcome {
	if err != nil {
		return Outcome{Unconfirmed, err, until}
	}
	return Outcome{State: Ended}
}
