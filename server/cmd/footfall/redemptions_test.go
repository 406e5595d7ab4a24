package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// refusal is a problem of the server's that a till gets.
func refusal(code, field, reason string) string {
	b, err := json.Marshal(map[string]any{"title": "Conflict", "detail": field + ": " + reason, "code": code, "field": field, "reason": reason})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestRedemptionsAreSearchedOnTheCommandLine(t *testing.T) {
	const one = `{"id":"r1","ref":"t1","state":"voided","offer":"gift","code":"GIFT-A","place":"cafe","order":"o7","by":"k3","at":"2026-03-02T09:30:00Z","value":12.5,"worth":3,"currency":"EUR","profile":"ada","delivery":"d1","campaign":"gifts","arm":"a","voided_at":"2026-03-02T10:00:00Z","voided_by":"k4","void_reason":"returned"}`
	const two = `{"id":"r2","ref":"t2","state":"redeemed","offer":"rain","code":"RAIN","by":"k3","at":"2026-03-02T09:00:00Z"}`
	s := newFakeServer(t, known(map[string]string{
		"GET /api/v1/redemptions": `{"items":[` + one + `],"next":"c2"}`, "GET /api/v1/redemptions?cursor=c2": `{"items":[` + two + `]}`,
		"GET /api/v1/redemptions?campaign=gifts&code=gift-a&from=2026-03-01T00%3A00%3A00Z&offer=gift&person=user_id%3Aada&place=cafe&state=voided&to=2026-04-01T00%3A00%3A00Z": `{"items":[` + one + `]}`,
		"GET /api/v1/redemptions/r1": one, "GET /api/v1/redemptions/r2": two,
	}, 422, `{"title":"Unprocessable","detail":"state: must be one of them","code":"invalid","field":"state"}`))
	for _, c := range []struct {
		args, out, not, errs string
		code                 int
	}{
		{args: "list", out: "AT                   STATE     OFFER  CODE    PLACE  VALUE      WORTH     CAMPAIGN  PERSON  ID\n" +
			"2026-03-02 09:30:00  voided    gift   GIFT-A  cafe   12.50 EUR  3.00 EUR  gifts     ada     r1\n" +
			"2026-03-02 09:00:00  redeemed  rain   RAIN    -      -          -         -         -       r2\n"},
		{args: "list --most 1", out: "GIFT-A", not: "RAIN"},
		{args: "list --json", out: one + "\n" + two + "\n", not: "STATE"},
		{args: "list --offer gift --campaign gifts --person user_id:ada --place cafe --code gift-a --state voided --from 2026-03-01 --to 2026-04-01", out: "GIFT-A", not: "RAIN"},
		{args: "list --state lost", code: 1, errs: "state: must be one of them"},
		{args: "list --from soon", code: 2, errs: "--from"},
		{args: "get r1", out: `the code GIFT-A of the offer gift, redeemed 2026-03-02 09:30:00 UTC by the key k3
  id: r1
  the till's id: t1
  place: cafe
  order: o7
  paid: 12.50 EUR
  worth: 3.00 EUR
  person: ada
  message: d1
  campaign: gifts
  arm: a
voided 2026-03-02 10:00:00 UTC by the key k4: returned
`},
		{args: "get r2", out: "  id: r2\n  the till's id: t2\n", not: "void"},
		{args: "get r1 --json", out: one + "\n"},
		{args: "get", code: 2, errs: "give the redemption's id"},
		{args: "frob", code: 2, errs: "known are check, get, list, redeem, void"},
	} {
		code, out, errs := s.run(append([]string{"redemptions"}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(out, c.out) || c.not != "" && strings.Contains(out, c.not) || !strings.Contains(errs, c.errs) {
			t.Errorf("%s: %d\nout %s\nerrs %s\nasked %s", c.args, code, out, errs, s.asked)
		}
	}
}

func TestACodeIsRedeemedCheckedAndVoidedOnTheCommandLine(t *testing.T) {
	const offer = `,"offer":{"id":"gift","name":"Free coffee","kind":"gift","terms":"One each"}}`
	const done = `{"id":"r1","ref":"t1","state":"redeemed","code":"GIFT-A","at":"2026-03-02T09:30:00Z","worth":3,"currency":"EUR"` + offer
	const amount = `{"id":"r1","state":"redeemed","code":"OFF","at":"2026-03-02T09:30:00Z","worth":2,"currency":"EUR","offer":{"name":"Two off","kind":"amount","value":2,"currency":"EUR"}}`
	const percent = `{"state":"redeemable","words":"the code can be redeemed","offer":{"name":"Tenth","kind":"percent","value":12.5}}`
	const used = `{"state":"already_redeemed","words":"it was redeemed before"` + offer
	var status int
	var answer string
	s := newFakeServer(t, func(string) (int, string) { return status, answer })
	for _, c := range []struct {
		args, answer, out, errs, asked string
		status, code                   int
	}{
		{
			args: "redeem gift-a --id t1 --place cafe --order o7 --value 12.5 --worth 3 --currency EUR --person loyalty:1 --delivery d1", status: 201, answer: done,
			asked: `POST /api/v1/redemptions {"id":"t1","code":"gift-a","delivery":"d1","person":"loyalty:1","place":"cafe","order":"o7","value":12.5,"worth":3,"currency":"EUR"}`,
			out:   "Redeemed: GIFT-A, \"Free coffee\": a gift, worth 3.00 EUR\nTerms: One each\nTo take it back: footfall redemptions void r1\n",
		},
		{
			args: "redeem gift-a --id t1", status: 200, answer: strings.Replace(done, `"worth"`, `"again":true,"worth"`, 1), asked: `POST /api/v1/redemptions {"id":"t1","code":"gift-a"}`,
			out: "Redeemed: GIFT-A, \"Free coffee\": a gift, worth 3.00 EUR\nIt was redeemed under this id before, on 2026-03-02 09:30:00 UTC, and not again.\nTerms: One each\nTo take it back: footfall redemptions void r1\n",
		},
		{
			args: "redeem off --id t1", status: 201, answer: amount, asked: `POST /api/v1/redemptions {"id":"t1","code":"off"}`,
			out: "Redeemed: OFF, \"Two off\": 2.00 EUR off\nTo take it back: footfall redemptions void r1\n",
		},
		{args: "redeem gift-a --id t1 --json", status: 201, answer: done, asked: `POST /api/v1/redemptions {"id":"t1","code":"gift-a"}`, out: done + "\n"},
		{
			args: "redeem gift-a --id t1", status: 200, code: 1, answer: `{"state":"voided","again":true,"voided_at":"2026-03-02T10:00:00Z"}`, asked: `POST /api/v1/redemptions {"id":"t1","code":"gift-a"}`,
			errs: "footfall: not redeemed: under this id it was, and was taken back on 2026-03-02 10:00:00 UTC; give another --id\n",
		},
		{
			args: "redeem gift-a --id t1", status: 409, code: 1, answer: refusal("already_redeemed", "code", "it was redeemed on 2 March 2026 at 09:30 UTC and cannot be used again"), asked: `POST /api/v1/redemptions {"id":"t1","code":"gift-a"}`,
			errs: "footfall: not redeemed: it was redeemed on 2 March 2026 at 09:30 UTC and cannot be used again\n",
		},
		{
			args: "redeem gift-a --id t1", status: 409, code: 1, answer: refusal("conflict", "id", "is that of another redemption"), asked: `POST /api/v1/redemptions {"id":"t1","code":"gift-a"}`,
			errs: "footfall: the server answered 409: id: is that of another redemption\n",
		},
		{
			args: "redeem gift-a --id t1", status: 503, code: 1, answer: refusal("unavailable", "code", "try again"), asked: `POST /api/v1/redemptions {"id":"t1","code":"gift-a"}`,
			errs: "footfall: the server answered 503: code: try again; whether it was redeemed is not known: ask the same again with --id t1\n",
		},
		{args: "redeem gift-a --value NaN", code: 2, errs: "--value: must be a number\n"},
		{args: "redeem", code: 2, errs: "give the code"},

		{args: "check gift-a --place cafe", status: 200, answer: percent, asked: `POST /api/v1/redemptions/check {"code":"gift-a","place":"cafe"}`, out: "It can be redeemed: \"Tenth\": 12.5 % off\n"},
		{args: "check gift-a --json", status: 200, answer: percent, asked: `POST /api/v1/redemptions/check {"code":"gift-a"}`, out: percent + "\n"},
		{args: "check gift-a", status: 200, code: 1, answer: used, asked: `POST /api/v1/redemptions/check {"code":"gift-a"}`, errs: "footfall: already_redeemed: it was redeemed before\n"},
		{args: "check gift-a --json", status: 200, code: 1, answer: used, asked: `POST /api/v1/redemptions/check {"code":"gift-a"}`, out: used + "\n", errs: "it was redeemed before"},

		{
			args: "void r/1 --reason returned", status: 200, answer: `{"state":"voided","code":"GIFT-A","voided_at":"2026-03-02T10:00:00Z"}`, asked: `POST /api/v1/redemptions/r%2F1/void {"reason":"returned"}`,
			out: "Taken back on 2026-03-02 10:00:00 UTC: the code GIFT-A counts as not redeemed.\n",
		},
		{args: "void r1", status: 404, code: 1, answer: refusal("not_found", "id", "there is no such redemption"), asked: `POST /api/v1/redemptions/r1/void {}`, errs: "id: there is no such redemption"},
		{args: "void", code: 2, errs: "give the redemption's id"},
	} {
		status, answer = c.status, c.answer
		code, out, errs := s.run(append([]string{"redemptions"}, strings.Fields(c.args)...)...)
		if code != c.code || out != c.out || !strings.Contains(errs, c.errs) || c.errs == "" && errs != "" || s.asked != c.asked {
			t.Errorf("%s: %d\nout %s\nerrs %s\nasked %s", c.args, code, out, errs, s.asked)
		}
	}
}

// Who gives no id gets one of their own each time, and is told it when they must ask again.
func TestARedemptionHasAnIDOfItsOwn(t *testing.T) {
	s := newFakeServer(t, func(string) (int, string) { return 502, "<html>" })
	ids := map[string]bool{}
	for range 20 {
		code, _, errs := s.run("redemptions", "redeem", "GIFT-A")
		var sent struct{ ID string }
		_, body, _ := strings.Cut(s.asked, " {")
		if err := json.Unmarshal([]byte("{"+body), &sent); err != nil {
			t.Fatal(err)
		}
		told := regexp.MustCompile(`ask the same again with --id (\S+)\n`).FindStringSubmatch(errs)
		if code != 1 || sent.ID == "" || len(told) != 2 || told[1] != sent.ID {
			t.Fatalf("%d, sent %q, told %s", code, sent.ID, errs)
		}
		ids[sent.ID] = true
	}
	if len(ids) != 20 {
		t.Errorf("%d ids of 20", len(ids))
	}
}
