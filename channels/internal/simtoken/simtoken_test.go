package simtoken_test

import (
	"testing"

	"github.com/footfall-engage/footfall/channels/internal/simtoken"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		token, kind string
		times       int
		name        string
	}{
		{"ok-ada", "ok", 0, "ada"},
		{"outage-3-ada", "outage", 3, "ada"},
		{"outage-ada", "outage", 0, "ada"},
		{"outage-ada-3", "outage", 0, "ada-3"},
		{"outage-0-ada", "outage", 0, "0-ada"},
		{"outage--1-ada", "outage", 0, "-1-ada"},
		{"plain", "", 0, "plain"},
		{"", "", 0, ""},
	} {
		kind, times, name := simtoken.Split(c.token)
		if kind != c.kind || times != c.times || name != c.name {
			t.Errorf("Split(%q) = %q, %d, %q", c.token, kind, times, name)
		}
	}
}

func FuzzSplitJoin(f *testing.F) {
	f.Add("outage-3-ada")
	f.Add("-")
	f.Fuzz(func(t *testing.T, token string) {
		kind, times, name := simtoken.Split(token)
		if times == 0 && kind == "" {
			return
		}
		k, n, m := simtoken.Split(simtoken.Join(kind, times, name))
		if k != kind || n != times || m != name {
			t.Errorf("%q: %q %d %q, again %q %d %q", token, kind, times, name, k, n, m)
		}
	})
}

func TestCounterCountsEachTokenApart(t *testing.T) {
	var c simtoken.Counter
	if a, b, d := c.Next("a"), c.Next("a"), c.Next("b"); a != 1 || b != 2 || d != 1 {
		t.Error(a, b, d)
	}
}
