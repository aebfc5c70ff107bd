package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"drawbridge/auth"
	"drawbridge/tokenstore"
)

// TestReceiptIsPlain shows the receipts of records that hold what a hostile server would like to write on a terminal.
func TestReceiptIsPlain(t *testing.T) {
	evil := "x\x1b[2J\u202e\r\nsigned out of https://good.example"
	gone := auth.Outcome{State: auth.Ended}
	for name, r := range map[string]auth.Receipt{
		"sign-in": {ServerURL: "https://mcp.example.com", Profile: evil, Subject: evil, Local: gone,
			RefreshToken: auth.Outcome{State: auth.Unconfirmed, Cause: errors.New(evil)}},
		"registration": {Name: tokenstore.RegistrationName("x"), Issuer: evil, Local: gone, Registration: auth.Outcome{State: auth.Kept, Cause: errors.New(evil)}},
	} {
		var out bytes.Buffer
		if err := printReceipt(Env{Stdout: &out}, r, tokenstore.NewMemory()); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		if strings.ContainsAny(text, "\x1b\r\u202e") || strings.Contains(text, "\nsigned out of https://good") || !strings.Contains(text, "x[2Jsigned") {
			t.Errorf("%s:\n%q", name, text)
		}
	}
}
