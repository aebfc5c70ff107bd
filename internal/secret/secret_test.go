package secret_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"drawbridge/internal/secret"
)

const canary = "CANARY-8f2"

type holder struct {
	Open   secret.Text
	hidden secret.Text
	ptr    *secret.Text
}

// TestNoFormatterShowsIt prints secrets in every shape and with every verb that code reaches by accident.
func TestNoFormatterShowsIt(t *testing.T) {
	s := secret.New(canary)
	shapes := map[string]any{
		"value": s, "pointer": &s, "slice": []secret.Text{s}, "map": map[string]secret.Text{"k": s},
		"struct": holder{s, s, &s}, "struct pointer": &holder{s, s, &s}, "any": []any{s},
		"array": [1]secret.Text{s}, "error": fmt.Errorf("token %v: %+v", s, holder{s, s, &s}),
	}
	for name, v := range shapes {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p"} {
			if out := fmt.Sprintf(verb, v); leaks(out) {
				t.Errorf("%s with %s shows the secret: %s", name, verb, out)
			}
		}
		for kind, out := range logged(v) {
			if leaks(out) {
				t.Errorf("%s in a %s log shows the secret: %s", name, kind, out)
			}
		}
	}
}

func logged(v any) map[string]string {
	var text, js bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("m", "v", v)
	slog.New(slog.NewJSONHandler(&js, nil)).Info("m", "v", v)
	return map[string]string{"text": text.String(), "json": js.String()}
}

func leaks(out string) bool {
	return strings.Contains(out, canary) || strings.Contains(out, fmt.Sprintf("%x", canary))
}

func TestEncodersRefuse(t *testing.T) {
	if out, err := json.Marshal(holder{Open: secret.New(canary)}); err == nil {
		t.Errorf("json.Marshal gave %s, want an error", out)
	}
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(secret.New(canary)); err == nil {
		t.Errorf("gob encoded %q, want an error", buf.String())
	}
}

func TestRevealAndEqual(t *testing.T) {
	var zero secret.Text
	if !zero.IsZero() || zero.Reveal() != "" || !secret.New("").IsZero() {
		t.Error("the zero value is not the empty secret")
	}
	if s := secret.New(canary); s.Reveal() != canary || !s.Equal(secret.New(canary)) || s.Equal(zero) {
		t.Error("Reveal or Equal is wrong")
	}
}
