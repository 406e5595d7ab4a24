package main

import (
	"strings"
	"testing"
)

func TestLimitsOnTheCommandLine(t *testing.T) {
	var now string
	s := newFakeServer(t, func(request string) (int, string) {
		if strings.HasPrefix(request, "PUT ") {
			return 200, `{"version":8}`
		}
		return 200, now
	})
	file := func(text string) string { return tempFile(t, text) }
	const some = `{"version":7,"caps":[{"max":3,"calendar":"day"},{"tag":"sale","max":1,"window_s":90000},{"channel":"push","max":2,"calendar":"week"}],
		"gap_s":5400,"quiet_hours":{"start":"22:00","end":"07:00","then":"drop"},"attention":{"points":12},"may_ignore":true,"updated_at":"2026-03-02T09:30:00Z"}`
	for _, c := range []struct {
		args, now, out, errs, asked string
		code                        int
	}{
		{args: "limits", now: `{"version":0}`, out: "no limits were ever set\n", asked: "GET /api/v1/limits"},
		{args: "limits", now: some, asked: "GET /api/v1/limits", out: `version 7 of 2026-03-02 09:30:00
at most 3 in a calendar day: all messages
at most 1 in 25h0m0s: messages tagged sale
at most 2 in a calendar week: messages that may go by push
at least 1h30m0s between two
quiet from 22:00 to 07:00: messages are not sent
12 points of attention in 168h0m0s
campaigns may leave all of this aside (limits.ignore_global)
`},
		{args: "limits --json", now: some, out: some + "\n", asked: "GET /api/v1/limits"},
		{args: "limits put " + file(`{"gap_s":60}`), now: `{"version":0}`, errs: "the limits are set, version 8\n", asked: `PUT /api/v1/limits {"gap_s":60}`},
		{args: "limits put " + file(`{"gap_s":60}`), now: some, errs: "the limits are set, version 8\n", asked: `PUT /api/v1/limits {"gap_s":60,"version":7}`},
		{args: "limits put " + file(`{"version":3}`), now: some, errs: "the limits are set, version 8\n", asked: `PUT /api/v1/limits {"version":3}`},
		{args: "limits put " + file(`[]`), code: 2},
		{args: "limits put", code: 2},
		{args: "limits put /nowhere/x.json", code: 1},
	} {
		now = c.now
		code, out, errs := s.run(strings.Split(c.args, " ")...)
		if code != c.code || code == 0 && (out != c.out || errs != c.errs) || s.asked != c.asked {
			t.Errorf("%s: %d\n%s\n%s\nasked %s", c.args, code, out, errs, s.asked)
		}
	}
}
