package cli

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// This file keeps secrets out of the configurations of clients, which are read, copied and committed. It cannot know every
// secret; it knows where they are put and what the common ones look like. It never repeats what it found.

var (
	// sensitiveName matches names of headers and parameters that carry a credential.
	sensitiveName = regexp.MustCompile(`(?i)authorization|cookie|token|secret|passw|credential|api-?_?key|access-?_?key|(^|[-_])(key|auth|sig|signature|session|jwt|pat)$`)

	// credentialShape matches what well-known credentials look like.
	credentialShape = regexp.MustCompile(`(?i:^\s*(bearer|basic|token|apikey)\s+[^\s%$])|eyJ[A-Za-z0-9_-]{8,}\.|\b(sk|pk|rk)[-_][A-Za-z0-9_-]{12,}|\bgh[opsur]_[A-Za-z0-9]{16,}|\bgithub_pat_|\bglpat-|\bxox[abprs]-|\bAKIA[A-Z0-9]{12,}|\bAIza[A-Za-z0-9_-]{20,}`)

	// shownCredential matches all of a credential, to cover it.
	shownCredential = regexp.MustCompile(`(?i:\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]+)|\beyJ[A-Za-z0-9._-]{8,}|\b(?:sk|pk|rk)[-_][\w-]{12,}|\bgh[opsur]_\w+|\bgithub_pat_\w+|\bglpat-[\w-]+|\bxox[abprs]-[\w-]+|\bAKIA[A-Z0-9]+|\bAIza[\w-]+`)

	// longWord matches what nobody types: a key, most likely.
	longWord = regexp.MustCompile(`[A-Za-z0-9+/_=-]{24,}`)
)

// assignment matches a name and its text in JSON or TOML.
var assignment = regexp.MustCompile(`"?([A-Za-z0-9_.-]+)"?\s*[:=]\s*"((?:[^"\\]|\\.)*)"`)

// coverSecret covers the text of an assignment whose name says that it is a secret, or that looks like one.
func coverSecret(found string) string {
	parts := assignment.FindStringSubmatchIndex(found)
	name, value := found[parts[2]:parts[3]], found[parts[4]:parts[5]]
	reference := strings.HasPrefix(value, "$") || strings.HasPrefix(value, "%{") || strings.HasPrefix(value, "{env:")
	if value == "" || reference || !sensitiveName.MatchString(name) && !longSecret(value) {
		return found
	}
	return found[:parts[4]] + "***" + found[parts[5]:]
}

// longSecret reports whether there is a long word with digits in it, as keys are.
func longSecret(text string) bool {
	for _, word := range longWord.FindAllString(text, -1) {
		digits := len(word) - len(strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return -1
			}
			return r
		}, word))
		if digits >= 3 && !strings.Contains(word, "/") {
			return true
		}
	}
	return false
}

// secretInFlag says why a flag's value must not be written into a file.
func secretInFlag(flag, value string) error {
	var found bool
	switch flag {
	case "header":
		name, rest, _ := strings.Cut(value, ":")
		literal := variablePattern.ReplaceAllString(rest, " ")
		found = sensitiveName.MatchString(strings.TrimSpace(name)) && literal == rest || credentialShape.MatchString(rest) || longSecret(literal)
		value = strings.TrimSpace(name)
	case "authorize-param":
		name, _, _ := strings.Cut(value, "=")
		found = sensitiveName.MatchString(name) || credentialShape.MatchString(value)
	case "token-store-key-command", "header-command":
		found = keyShape.MatchString(value) || shownCredential.MatchString(value)
	case "static-oauth-client-info":
		_, secret, _ := strings.Cut(value, "client_secret")
		found = secret != "" && !variablePattern.MatchString(secret)
	default:
		found = credentialShape.MatchString(value)
	}
	switch {
	case !found:
		return nil
	case flag == "header":
		return usageError{hinted{fmt.Errorf("--header %q holds a secret, and a client's configuration is no place for one", value),
			"keep it in an environment variable, and write the variable: --header 'Authorization: Bearer ${EXAMPLE_API_KEY}'"}}
	}
	return usageError{hinted{fmt.Errorf("--%s holds a secret, and a client's configuration is no place for one", flag), "keep it in a file of your own or in the environment; --client-secret-file, --client-secret-env, --header-file and --token-store-key-file name it there"}}
}

// keyShape matches 32 bytes as hexadecimal digits or base64.
var keyShape = regexp.MustCompile(`[0-9a-fA-F]{64}|[A-Za-z0-9+/]{43}=`)

// secretInURL says why a server's URL must not be written into a file.
func secretInURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return usageError{errors.New("the server URL cannot be read")}
	}
	for name, values := range u.Query() {
		if sensitiveName.MatchString(name) || credentialShape.MatchString(strings.Join(values, " ")) {
			return usageError{hinted{fmt.Errorf("the parameter %q of the server URL holds a secret, and a client's configuration is no place for one", name),
				"if the server takes it as a header: --header 'X-Api-Key: ${EXAMPLE_API_KEY}'"}}
		}
	}
	if credentialShape.MatchString(u.Path) {
		return usageError{hinted{errors.New("the path of the server URL holds a secret, and a client's configuration is no place for one"), "if the server takes it as a header: --header 'X-Api-Key: ${EXAMPLE_API_KEY}'"}}
	}
	return nil
}
