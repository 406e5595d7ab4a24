package main

import (
	"strings"
	"testing"
)

func TestWriteKeysAndWhatWasDroppedOnTheCommandLine(t *testing.T) {
	answers := map[string]string{
		"POST /api/v1/write-keys": `{"id":"w1","name":"web shop","kind":"public","source":"web","token":"ffw_w1_x"}`,
		"GET /api/v1/write-keys": `{"items":[{"id":"w1","name":"web shop","kind":"public","source":"web","token":"ffw_w1_x","updated_at":"2026-03-02T09:30:00Z"},
			{"id":"w4","name":"bound","kind":"public","source":"web","token":"ffw_w4_x","updated_at":"2026-03-02T09:30:00Z","version":7,"origins":["https://a.example"],"calls_per_s":50},
			{"id":"w2","name":"tills","kind":"server","source":"till","updated_at":"2026-03-02T09:30:00Z"},
			{"id":"w3","name":"old","kind":"server","source":"server","updated_at":"2026-03-02T09:30:00Z","revoked_at":"2026-03-03T09:30:00Z"}]}`,
		"DELETE /api/v1/write-keys/w%2F1": "",
		"PUT /api/v1/write-keys/w4":       "{}",
		"GET /api/v1/dropped?code=invalid&key=w1": `{"items":[{"at":"2026-03-02T09:30:01Z","from":{"kind":"web","key":"w1"},"type":"track","code":"invalid","field":"event","reason":"is required","message":"m9"},
			{"at":"2026-03-02T09:30:00Z","from":{"kind":"web","key":"w1"},"code":"invalid","reason":"second"}],"next":"c2"}`,
	}
	s := newFakeServer(t, known(answers, 422, ""))
	for _, c := range []struct {
		args, out, errs, asked string
		code                   int
	}{
		{args: "write-keys create web --kind public", out: "ffw_w1_x\n", errs: "write key w1 (web shop, public, of a web)\n", asked: `POST /api/v1/write-keys {"kind":"public","name":"web"}`},
		{args: "write-keys create tills --kind server --source till", asked: `POST /api/v1/write-keys {"kind":"server","name":"tills","source":"till"}`},
		{args: "write-keys create web --kind public --origin https://a.example --origin https://b.example --requests-per-s 9", asked: `POST /api/v1/write-keys {"kind":"public","name":"web","origins":["https://a.example","https://b.example"],"requests_per_s":9}`},
		{args: "write-keys list", out: "ffw_w4_x  from https://a.example  at most any requests/s, 50 calls/s\n"},
		{args: "write-keys set w4 --requests-per-s 5", errs: "changed w4", asked: `PUT /api/v1/write-keys/w4 {"calls_per_s":50,"name":"bound","origins":["https://a.example"],"requests_per_s":5,"version":7}`},
		{args: "write-keys set w4 --origin= --calls-per-s 0 --name free", asked: `PUT /api/v1/write-keys/w4 {"name":"free","version":7}`},
		{args: "write-keys set w9 --calls-per-s 0", code: 1, errs: "there is no write key w9"},
		{args: "write-keys create web", code: 2, errs: "--kind public or --kind server"},
		{args: "write-keys list", out: "w1  public  web     web shop  2026-03-02 09:30:00  ffw_w1_x"},
		{args: "write-keys list", out: "(secret)"},
		{args: "write-keys list", out: "revoked 2026-03-03 09:30:00"},
		{args: "write-keys revoke w/1", errs: "revoked w/1", asked: "DELETE /api/v1/write-keys/w%2F1"},
		{args: "write-keys", out: "A public key may stand in pages"},
		{args: "dropped --code invalid --key w1 --most 1", out: "2026-03-02 09:30:01  web w1  track  invalid  event  is required  m9\n"},
		{args: "dropped --code other", code: 1},
	} {
		code, out, errs := s.run(strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errs, c.errs) || !strings.HasPrefix(s.asked, c.asked) {
			t.Errorf("%s: %d\n%s\n%s\nasked %s", c.args, code, out, errs, s.asked)
		}
		if strings.Contains(c.args, "--most 1") && strings.Contains(out, "second") {
			t.Errorf("%s: more than asked for\n%s", c.args, out)
		}
	}
}
