package audit

import (
	"crypto/sha256"
	"encoding/hex"

	"drawbridge/auth/guard"
)

// Decision returns the entry for what a guard decided. Trace is left to the caller, who may have a trace of his own.
func Decision(e guard.Event) Entry {
	out := Entry{
		Time: e.Time.UTC(), Event: EventDecision, HTTPMethod: e.HTTPMethod, Remote: e.RemoteAddr, Session: short(e.SessionID),
		Method: e.Call.Method, Target: e.Call.Type, Name: e.Call.Name, ID: e.Call.ID,
		Decision: string(e.Verdict), Reason: e.Reason, Rule: e.Rule, Status: e.Status, Took: e.Took,
	}
	out.Arguments = string(e.Call.Arguments)
	if id := e.Identity; id != nil {
		out.Issuer, out.Subject, out.Email, out.Username, out.Groups = id.Issuer, id.Subject, id.Email, id.Username, id.Groups
		out.Client, out.Token, out.Via, out.Deprecated = id.ClientID, id.TokenHash, string(id.Via), id.Deprecated
	}
	return out
}

// short stands for a session: the same line by line, and of no use to anybody.
func short(session string) string {
	if session == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(session))
	return hex.EncodeToString(sum[:8])
}
