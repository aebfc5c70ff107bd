package demo

import "testing"

// TestPrivateAddresses: the provider must not be sent around somebody's network by a client id.
func TestPrivateAddresses(t *testing.T) {
	for address, refused := range map[string]bool{
		"10.0.0.1:443": true, "192.168.1.1:80": true, "[fd00::1]:443": true, "169.254.169.254:80": true, "[fe80::1]:443": true,
		"0.0.0.0:80": true, "[::ffff:10.0.0.1]:443": true, "224.0.0.1:80": true, "not an address": true,
		"127.0.0.1:80": false, "[::1]:80": false, "192.0.2.1:443": false,
	} {
		if err := refusePrivate("tcp", address, nil); (err != nil) != refused {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestIsClientDocument(t *testing.T) {
	for id, want := range map[string]bool{
		"https://app.example/client.json": true, "http://127.0.0.1:5000/c": true, "http://localhost/c": true,
		"https://app.example": false, "https://app.example/": false, "http://app.example/c": false,
		"https://app.example/c#f": false, "https://u@app.example/c": false, "client-1": false, "file:///etc/passwd": false,
	} {
		if got := isClientDocument(id); got != want {
			t.Errorf("%s: got %t", id, got)
		}
	}
}
