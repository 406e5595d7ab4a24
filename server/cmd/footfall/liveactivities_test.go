package main

import (
	"strings"
	"testing"
)

func TestLiveActivitiesOnTheCommandLine(t *testing.T) {
	var answer string
	s := newFakeServer(t, func(string) (int, string) { return 200, answer })
	file := func(text string) string { return tempFile(t, text) }
	const two = `{"activity":"o/1","done":1,"results":[{"to":"user_id:ada","install":"i1","state":"started","done":true},{"to":"user_id:ada","install":"i2","state":"failed","done":false,"why":"no_token"}]}`
	const table = `TO           PHONE  STATE    TAKEN BY APPLE  WHY NOT
user_id:ada  i1     started  yes             
user_id:ada  i2     failed   no              no_token
`
	const phones = `{"items":[{"activity":"o/1","install":"i1","attributes_type":"Order","state":"started","waits":true,"since":"2026-03-02T09:30:00Z","attempts":[{"event":"start","outcome":"accepted"},{"event":"update","outcome":"rejected","reason":"BadDeviceToken"}]}]}`
	const shown = `ACTIVITY  PHONE  TYPE   STATE                  SINCE                LAST REQUEST
o/1       i1     Order  started, a step waits  2026-03-02 09:30:00  update: rejected BadDeviceToken
`
	const said = "o/1: Apple took it for 1 of 2\n"
	for _, c := range []struct {
		args, answer, out, errs, asked string
		code                           int
	}{
		{args: "start " + file(`{"app":"a"}`), answer: two, out: table, errs: said, asked: `POST /api/v1/live-activities {"app":"a"}`},
		{args: "update o/1 " + file(`{"content_state":{}}`), answer: two, out: table, errs: said, asked: `POST /api/v1/live-activities/o%2F1/update {"content_state":{}}`},
		{args: "update o/1", code: 2},
		{args: "end o/1", answer: two, out: table, errs: said, asked: `POST /api/v1/live-activities/o%2F1/end {}`},
		{args: "end o/1 " + file(`{"dismiss_at":"2026-03-02T10:00:00Z"}`) + " --json", answer: two, out: two + "\n", asked: `POST /api/v1/live-activities/o%2F1/end {"dismiss_at":"2026-03-02T10:00:00Z"}`},
		{args: "end o/1", answer: `{"activity":"o/1","done":0,"results":[]}`, asked: `POST /api/v1/live-activities/o%2F1/end {}`, code: 1},
		{args: "start " + file(`{`), code: 2},
		{args: "start /nowhere/x.json", code: 1},
		{args: "start", code: 2},
		{args: "get o/1", answer: phones, out: shown, asked: "GET /api/v1/live-activities/o%2F1"},
		{args: "list user_id:ada --json", answer: phones, out: phones + "\n", asked: "GET /api/v1/people/user_id:ada/live-activities"},
		{args: "list user_id:ada", answer: phones, out: shown, asked: "GET /api/v1/people/user_id:ada/live-activities"},
	} {
		answer = c.answer
		code, out, errs := s.run(append([]string{"live-activities"}, strings.Split(c.args, " ")...)...)
		if code != c.code || code == 0 && (out != c.out || errs != c.errs) || s.asked != c.asked {
			t.Errorf("%s: %d\n%s\n%s\nasked %s", c.args, code, out, errs, s.asked)
		}
	}
}
