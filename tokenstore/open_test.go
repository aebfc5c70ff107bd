package tokenstore

import (
	"errors"
	"runtime"
	"testing"
)

func TestOpen(t *testing.T) {
	for kind, want := range map[string]string{"memory": "memory of this process", "vault": ""} {
		s, err := Open(Options{Kind: kind})
		switch {
		case want == "" && (err == nil || hintOf(err) == ""):
			t.Errorf("%s: error %v", kind, err)
		case want != "" && (err != nil || s.Location() != want):
			t.Errorf("%s: %v, error %v", kind, s, err)
		}
	}
	o := Options{SessionBus: "unix:path=/nonexistent"} // Open does not connect
	s, err := Open(o)
	if err != nil || s.Location() != keychainLocation {
		t.Errorf("keychain: %v, error %v", s, err)
	}
}

func TestKernelIsForLinux(t *testing.T) {
	s, err := Open(Options{Kind: "kernel"})
	if refused := errors.Is(err, ErrUnavailable) && hintOf(err) != ""; refused == (runtime.GOOS == "linux") {
		t.Errorf("on %s: %v, %v", runtime.GOOS, s, err)
	}
}
