package api

import (
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
)

func TestTheLanguageOfAMessageIsTold(t *testing.T) {
	for _, c := range []struct {
		saw  map[string]any
		want string
	}{
		{nil, "Every arm of the message could be written."},
		{map[string]any{"locale": "nl-BE", "chosen": map[string]string{"a": "nl"}}, "Every arm of the message could be written, in the language nl, for a phone in nl-BE."},
		{map[string]any{"locale": "", "chosen": map[string]string{"a": "", "b": ""}}, "Every arm of the message could be written, in the message's own language: the phone has not said its own."},
		{
			map[string]any{"locale": "nl", "chosen": map[string]string{"a": "nl", "b": "en"}},
			"Every arm of the message could be written, in the language nl (a), the language en (b), for a phone in nl.",
		},
	} {
		if got := gateWords(engage.GateResult{Gate: "render", OK: true, Saw: engage.SawOf(c.saw)}); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
