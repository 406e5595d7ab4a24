package main

import (
	"strings"
	"testing"
)

func TestDecisionsOnTheCommandLine(t *testing.T) {
	const one = `{"at":"2026-03-02T09:30:00Z","campaign":"rain","profile":"ada","state":"suppressed","reason":"cap","moment":"Entered Café","words":"Had enough."}`
	const two = `{"at":"2026-03-02T09:00:00Z","campaign":"rain","profile":"bob","state":"sent","moment":"Entered Bar","words":"Sent."}`
	s := newFakeServer(t, known(map[string]string{
		"GET /api/v1/decisions": `{"items":[` + one + `],"next":"c2"}`, "GET /api/v1/decisions?cursor=c2": `{"items":[` + two + `]}`,
		"GET /api/v1/decisions?campaign=rain&from=2026-03-01T00%3A00%3A00Z&place=caf%C3%A9&profile=user_id%3Aada&reason=cap&state=suppressed": `{"items":[` + one + `]}`,
	}, 422, `{"title":"Unprocessable","detail":"state: must be one of them","code":"invalid","field":"state"}`))
	for _, c := range []struct {
		args, out, not, errs string
		code                 int
	}{
		{args: "decisions", out: "2026-03-02 09:30:00  rain      ada     suppressed  cap     Entered Café  Had enough.\n2026-03-02 09:00:00  rain      bob     sent        -       Entered Bar   Sent.\n"},
		{args: "decisions --most 1", out: "Had enough.", not: "bob"},
		{args: "decisions --json", out: one + "\n" + two + "\n", not: "PERSON"},
		{args: "decisions --person user_id:ada --campaign rain --place café --reason cap --state suppressed --from 2026-03-01", out: "Had enough."},
		{args: "decisions --state lost", code: 1, errs: "state: must be one of them"},
		{args: "decisions --to soon", code: 2, errs: "--to"},
	} {
		code, out, errs := s.run(strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out, c.out) || c.not != "" && strings.Contains(out, c.not) || !strings.Contains(errs, c.errs) {
			t.Errorf("%s: %d\nout %s\nerrs %s\nasked %s", c.args, code, out, errs, s.asked)
		}
	}
}
