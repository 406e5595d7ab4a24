package people

import (
	"encoding/json"
	"testing"
)

// What is of a person is found in others' documents, and what is of others is not.
func TestDocumentsOfAPersonAreFoundByTheirNames(t *testing.T) {
	record := func(text string) []byte {
		b, err := json.Marshal(map[string]any{"v": 1, "seq": 1, "record": []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	encoded := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, x := range []struct {
		name        string
		identifiers []string
		body        []byte
		is          bool
	}{
		{"of everybody, with a number", []string{"user_id:1"}, []byte(`{"v":1,"lane":"q/1","n":"1"}`), false},
		{"of everybody, with a word", []string{"user_id:web", "loyalty:track"}, []byte(`{"from":{"kind":"web"},"type":"track"}`), false},
		{"of everybody, with a long word", []string{"user_id:forbidden"}, []byte(`{"code":"forbidden"}`), false},
		{"a short one behind its kind", []string{"user_id:1"}, []byte(`{"identifiers":["user_id:1"]}`), true},
		{"a longer one behind the kind", []string{"user_id:1"}, []byte(`{"identifiers":["user_id:12"]}`), false},
		{"a short one of a call", []string{"user_id:1"}, record(`{"userId": "1","v":2}`), true},
		{"a short one of a call, as a number", []string{"user_id:1"}, record(`{"userId":1}`), true},
		{"a short one of a row", []string{"loyalty:77"}, record(`{"loyalty_number":"77"}`), true},
		{"another's of a call", []string{"user_id:1"}, record(`{"userId":"12","n":1}`), false},
		{"the profile", nil, []byte(`{"profile":"u0123456789abcdef"}`), true},
		{"another profile", nil, []byte(`{"profile":"u0123456789abcdef0"}`), false},
		{"an address, as it was written", []string{"email:ada@example.org"}, record(`{"traits":{"email":"Ada@Example.org"}}`), true},
		{"an address with what JSON escapes", []string{"email:a&b@example.org"}, encoded(map[string]string{"reason": "a&b@example.org"}), true},
		{"a part of a word, twice", []string{"user_id:ab-ab-ab-1"}, []byte(`{"x":"xab-ab-ab-1"}`), false},
		{"an id that is no word", []string{"user_id:ada-of-byron"}, []byte(`{"reason":"ada-of-byron has none"}`), true},
	} {
		s := &Subject{Workspace: "acme", Profile: "u0123456789abcdef", Identifiers: x.identifiers}
		if is := namesOf(s).in(x.body); is != x.is {
			t.Errorf("%s: found %v", x.name, is)
		}
	}
}
