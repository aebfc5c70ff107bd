package bridge

import (
	"strings"
	"testing"

	"drawbridge/bridge/envelope"
)

// TestLongListIsNotCopied: pages of a list that is too long to be kept are not held, neither one nor several.
func TestLongListIsNotCopied(t *testing.T) {
	page := func(size int, next string) []byte {
		return []byte(`{"tools":["` + strings.Repeat("x", size) + `"],"nextCursor":"` + next + `"}`)
	}
	first := &call{Message: envelope.Message{Method: "tools/list"}}
	second := &call{Message: envelope.Message{Method: "tools/list", Params: []byte(`{"cursor":"2"}`)}}
	for name, pages := range map[string][2]int{"the first page": {maxKept, 10}, "the second page": {10, maxKept}, "both": {maxKept / 2, maxKept / 2}} {
		var of trails
		list := of.follow(first, "ada", page(pages[0], "2"))
		if list == nil && len(of.of) > 0 {
			list = of.follow(second, "ada", page(pages[1], ""))
		}
		if list != nil || len(of.of) > 0 {
			t.Errorf("%s is too long: a list of %d bytes, %d trails", name, len(list), len(of.of))
		}
	}
	var of trails
	of.follow(first, "ada", page(10, "2"))
	if of.follow(second, "ada", page(10, "")) == nil {
		t.Error("a short list is not followed")
	}
}
