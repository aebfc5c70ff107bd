package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestDocumented holds docs/guard.md to the program: every flag and every key of the configuration is in it.
func TestDocumented(t *testing.T) {
	text := read(t, "../../docs/guard.md")
	newRoot(env{}).PersistentFlags().VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(text, "--"+f.Name) {
			t.Errorf("docs/guard.md does not have the flag --%s", f.Name)
		}
	})
	names := keys(reflect.TypeFor[config]())
	if len(names) < 40 {
		t.Errorf("found %d keys: are they still written like this?", len(names))
	}
	for _, name := range names {
		if !strings.Contains(text, "`"+name) && !strings.Contains(text, name+":") {
			t.Errorf("docs/guard.md does not have the key %s", name)
		}
	}
}

// keys returns the YAML names of a struct's fields and of what is below them.
func keys(of reflect.Type) (names []string) {
	switch of.Kind() {
	case reflect.Pointer, reflect.Slice:
		return keys(of.Elem())
	case reflect.Struct:
	default:
		return nil
	}
	for i := range of.NumField() {
		name, _, tagged := strings.Cut(of.Field(i).Tag.Get("yaml"), ",")
		if name != "" {
			names = append(names, name)
		}
		if name != "" || tagged {
			names = append(names, keys(of.Field(i).Type)...)
		}
	}
	return names
}
