package app_test

import (
	"net/http"
	"strings"
	"testing"
)

// What is too large for a provider is refused when it is saved and not when it would be
// sent, and what is nearly so is told.
func TestASavedMessageFitsIntoAPush(t *testing.T) {
	s := newStory(t)
	campaign := func(message map[string]any) map[string]any {
		return map[string]any{
			"name": "Sizes", "class": "service", "status": "draft", "trigger": map[string]any{"type": "event", "event": "e"},
			"arms": []any{map[string]any{"id": "a", "message": message}},
		}
	}
	long := func(n int) string { return strings.Repeat("x", n) }
	data := func(n ...int) map[string]any {
		out := map[string]any{}
		for i, n := range n {
			out["k"+string(rune('a'+i))] = long(n)
		}
		return out
	}
	type warning struct{ Code, Field, Reason string }
	var saved struct {
		ID       string
		Warnings []warning
	}
	var refused struct{ Code, Field, Reason string }
	for _, x := range []struct {
		name    string
		message map[string]any
		field   string // that is too long; empty: it is saved
		warned  string
	}{
		{name: "short", message: map[string]any{"title": "Hello"}},
		{name: "long data", message: map[string]any{"title": "Hello", "data": data(1000, 999, 999, 999, 999)}, field: "arms[0].message.data.ka"},
		{name: "not pushed", message: map[string]any{"title": "Hello", "data": data(1000, 999, 999, 999, 999), "channels": []string{"in_app", "inbox"}}},
		{name: "near", message: map[string]any{"title": "Hello", "data": data(1000, 999, 999, 780)}, warned: "arms[0].message.data.ka"},
		{name: "only the empty person fits", message: map[string]any{"title": "Hello {{ profile.attributes.name }}", "data": data(1000, 999, 999, 780)}, warned: "arms[0].message.data.ka"},
		{name: "escapes, for APNs", message: map[string]any{"title": "Hello", "body": "x" + strings.Repeat("\\\"", 900) + "x", "data": data(900)}, field: "arms[0].message.body"},
	} {
		t.Run(strings.ReplaceAll(x.name, " ", "_"), func(t *testing.T) {
			path := "/api/v1/campaigns/sizes-" + strings.ReplaceAll(strings.ReplaceAll(x.name, " ", "-"), ",", "")
			saved.Warnings, refused.Field = nil, ""
			if x.field != "" {
				if code := s.call("PUT", path, campaign(x.message), &refused); code != http.StatusUnprocessableEntity || refused.Field != x.field || !strings.Contains(refused.Reason, "4096") {
					t.Fatalf("%d %+v", code, refused)
				}
				if code := s.call("GET", path, nil, nil); code != http.StatusNotFound {
					t.Errorf("it was kept: %d", code)
				}
				return
			}
			s.must("PUT", path, campaign(x.message), &saved)
			sizes := 0
			for _, w := range saved.Warnings {
				if w.Code == "too_large" {
					sizes++
					if w.Field != x.warned || !strings.Contains(w.Reason, "4096") {
						t.Errorf("warned of %+v", w)
					}
				}
			}
			if sizes > 0 != (x.warned != "") {
				t.Errorf("warnings: %+v", saved.Warnings)
			}
		})
	}
}
