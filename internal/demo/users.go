package demo

import "drawbridge/internal/secret"

// User is a person that the identity provider knows.
type User struct {
	// Name is what the person types at login and the `sub` of their tokens.
	Name string
	// Password is what they type beside it.
	Password secret.Text
	// Email, FullName and Groups become the claims email, name and groups of their access tokens.
	Email    string
	FullName string
	Groups   []string
}

// Ada is a default user, an engineer who deploys. Her password is no secret.
func Ada() User {
	return User{Name: "ada", Password: secret.New("lovelace"), Email: "ada@example.com", FullName: "Ada Lovelace",
		Groups: []string{"engineering", "deployers"}}
}

// Grace is a default user, an engineer. Her password is no secret.
func Grace() User {
	return User{Name: "grace", Password: secret.New("hopper"), Email: "grace@example.com", FullName: "Grace Hopper",
		Groups: []string{"engineering"}}
}
