package auth

import "strings"

// vendorHint says what to do about a vendor's own error text, which people would otherwise have to look up; "" when the
// text is not known.
func vendorHint(description string) string {
	for _, known := range []struct{ text, hint string }{
		{"AADSTS9010010", "leave the resource out with --resource none, or name the application ID URI of the API with --resource"},
		{"AADSTS90009", "the client and the API are one application in Entra ID: ask for a scope that begins with its GUID, --scope GUID/.default"},
		{"AADSTS7000218", "in Entra ID set \"Allow public client flows\" to yes and register the redirect URI for mobile and desktop applications, not for the web"},
		{"AADSTS9002327", "in Entra ID register the redirect URI for mobile and desktop applications, not for a single-page application"},
		{"AADSTS65001", "an Entra ID administrator has to consent to this application"},
		{"AADSTS90094", "an Entra ID administrator has to consent to this application"},
		{"AADSTS650053", "the API in Entra ID has no such scope: name one it has with --scope, or its application ID URI with --resource"},
		{"AADSTS500011", "Entra ID knows no API of that name: name its application ID URI with --resource"},
		{"Service not found", "register an API in Auth0 whose identifier is the resource, or name the existing one with --resource"},
		{"client_secret is missing", "Google gives desktop clients a secret: name its file with --client-secret-file"},
	} {
		if strings.Contains(description, known.text) {
			return known.hint
		}
	}
	return ""
}
