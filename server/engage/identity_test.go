package engage_test

import (
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
)

func TestAnIdentifierIsWrittenOneWay(t *testing.T) {
	for _, c := range []struct{ kind, value, want string }{
		{engage.IDUser, " Ada ", "user_id:Ada"},
		{engage.IDEmail, "Ada@Example.ORG", "email:ada@example.org"},
		{engage.IDLoyalty, "00:17", "loyalty:00:17"},
		{engage.IDAnonymous, "مرحبا", "anonymous_id:مرحبا"},
	} {
		if got, err := engage.Identifier(c.kind, c.value); err != nil || got != c.want {
			t.Errorf("%s %q: %q, %v", c.kind, c.value, got, err)
		}
	}
	for _, c := range []struct{ kind, value string }{
		{"install", "x"},
		{"", "x"},
		{engage.IDUser, " \n"},
		{engage.IDUser, strings.Repeat("a", engage.MaxIdentifier)},
		{engage.IDUser, "a\x00b"},
		{engage.IDUser, "a\xffb"},
		{engage.IDEmail, "ada"},
		{engage.IDEmail, "a@b@c"},
		{engage.IDEmail, "@b"},
	} {
		if got, err := engage.Identifier(c.kind, c.value); err == nil || engage.CodeOf(err) == engage.Internal {
			t.Errorf("%s %q is taken as %q: %v", c.kind, c.value, got, err)
		}
	}
}

// Of any two profiles exactly one is senior, users before other identifiers before
// browsers before installs.
func TestSeniorityIsAnOrder(t *testing.T) {
	ids := []string{
		engage.PersonID("acme", "user_id:ada"), engage.PersonID("acme", "user_id:bob"), engage.PersonID("acme", "email:ada@example.org"),
		engage.PersonID("acme", "loyalty:17"), engage.PersonID("acme", "anonymous_id:x"), engage.ProfileID("acme", "phone"), engage.LogoutProfileID("acme", "phone", 3),
		engage.ShadowID("acme", "w1", 0),
	}
	rank := func(id string) int { return strings.IndexByte("uvw", id[0]) & 3 }
	for i, a := range ids {
		for j, b := range ids {
			if i != j && engage.Senior(a, b) == engage.Senior(b, a) {
				t.Errorf("%s and %s", a, b)
			}
			if rank(a) < rank(b) && !engage.Senior(a, b) {
				t.Errorf("%s is not senior to %s", a, b)
			}
		}
	}
	if engage.Senior(ids[0], ids[0]) {
		t.Error("one is senior to itself")
	}
	if engage.PersonID("other", "user_id:ada") == ids[0] || !engage.MintedByUser(ids[0]) || engage.MintedByUser(ids[2]) {
		t.Error("minted wrongly")
	}
}
