package main

import (
	"fmt"
	"strings"
	"testing"
)

// A file of codes is read whatever it is: lines or the first column of a table, with a
// header or without; the last portion says that it is the last.
func TestAFileOfCodesIsSentInPortions(t *testing.T) {
	var file strings.Builder
	file.WriteString("\ufeffCode;for whom\r\n\n\"A-1\";x\r\nB-2,y\n")
	for n := range sentCodes {
		fmt.Fprintf(&file, "C-%d\n", n)
	}
	var portions []string
	err := eachCodes(strings.NewReader(file.String()), func(rows []codeRow, more bool) error {
		portions = append(portions, fmt.Sprint(len(rows), " from ", rows[0].code, " in line ", rows[0].line, " ", more))
		return nil
	})
	want := fmt.Sprintf("[%d from A-1 in line 3 true 2 from C-%d in line %d false]", sentCodes, sentCodes-2, sentCodes+3)
	if err != nil || fmt.Sprint(portions) != want {
		t.Errorf("%v, %v, want %s", portions, err, want)
	}
	if err := eachCodes(strings.NewReader("code\n\n"), nil); err == nil {
		t.Error("a file without codes is sent")
	}
}

func TestAnOfferShowsWhatBecameOfIt(t *testing.T) {
	const gift = `{"id":"gift","version":3,"name":"Free coffee","status":"active","kind":"gift","codes":"unique","pool":100,"total":50,"issued":40,"given_back":4,"redeemed":20,"voided":1,"redeemed_value":{"USD":3,"EUR":12.5}}`
	s := newFakeServer(t, known(map[string]string{"GET /api/v1/offers/gift": gift}, 404, `{"title":"Not Found","detail":"id: there is no offer \"none\""}`))
	code, out, errs := s.run("offers", "show", "gift")
	const want = `gift, version 3, active: Free coffee
kind gift, codes unique
POOL  STOCK  ISSUED  GIVEN BACK  REDEEMED  OF AT MOST  VOIDED  PAID                 WORTH
100   -      40      4           20        50          1       12.50 EUR, 3.00 USD  -
`
	if code != 0 || out != want || errs != "" {
		t.Errorf("%d\n%s\n%s", code, out, errs)
	}
	if code, out, _ := s.run("offers", "show", "gift", "--json"); code != 0 || out != gift+"\n" {
		t.Errorf("%d\n%s", code, out)
	}
	if code, _, errs := s.run("offers", "show", "none"); code != 1 || !strings.Contains(errs, "there is no offer") {
		t.Errorf("%d\n%s", code, errs)
	}
}
