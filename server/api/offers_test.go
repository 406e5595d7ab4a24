package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// pools is a fake of package redeem: it refuses what it has.
type pools struct {
	mu    sync.Mutex
	codes map[string]string // "<workspace>/<code>" -> offer
}

func newPools() *pools { return &pools{codes: map[string]string{}} }

func (p *pools) AddCodes(_ context.Context, workspace, offer string, codes []string) ([]error, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]error, len(codes))
	for i, c := range codes {
		at := workspace + "/" + engage.NormalCode(c)
		switch {
		case engage.NormalCode(c) == "":
			out[i] = engage.Errorf(engage.Invalid, "code", "is none")
		case p.codes[at] != "":
			out[i] = engage.Errorf(engage.Conflict, "code", "is there already")
		default:
			p.codes[at] = offer
		}
	}
	return out, nil
}

func (p *pools) Size(_ context.Context, workspace, offer string) (n int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at, of := range p.codes {
		if of == offer && strings.HasPrefix(at, workspace+"/") {
			n++
		}
	}
	return n, nil
}

func (p *pools) Counts(context.Context, string, string) (api.OfferCounts, error) {
	return api.OfferCounts{Reserved: 3, Leased: 2}, nil
}

func TestAnOfferIsMadeFilledAndKeptFromHarm(t *testing.T) {
	s := newSite(t)
	do := func(method, path, body string) answer {
		t.Helper()
		return s.do(request{method: method, path: "/api/v1/offers" + path, body: body, role: catalog.Marketer})
	}
	for body, field := range map[string]string{
		`{"name":"G","status":"active","kind":"gift","codes":"shared"}`:                                                              "code",
		`{"name":"G","status":"active","kind":"percent","value":120,"codes":"unique"}`:                                               "value",
		`{"name":"G","status":"active","kind":"amount","value":5,"codes":"unique"}`:                                                  "currency",
		`{"name":"G","status":"active","kind":"gift","codes":"unique","places":["nowhere"]}`:                                         "places[0]",
		`{"name":"G","status":"active","kind":"gift","codes":"unique","stock":-1}`:                                                   "stock",
		`{"name":"G","status":"active","kind":"gift","codes":"unique","from":"2026-02-01T00:00:00Z","until":"2026-01-01T00:00:00Z"}`: "until",
	} {
		do("PUT", "/gift", body).wantProblem(http.StatusUnprocessableEntity, engage.Invalid, field)
	}
	gift := `{"name":"Gift","status":"active","kind":"gift","codes":"unique","per_person":1}`
	do("PUT", "/gift", gift).want(http.StatusCreated)
	do("PUT", "/gift/codes", gift).want(http.StatusMethodNotAllowed)
	var report struct {
		Taken   int
		Refused []struct{ Index int }
		Pool    int64
	}
	a := do("POST", "/gift/codes", `{"codes":["A-1","a-1","B-2","?"]}`)
	a.want(http.StatusOK)
	if err := json.Unmarshal(a.body, &report); err != nil || report.Taken != 2 || report.Pool != 2 || fmt.Sprint(report.Refused) != "[{1} {3}]" {
		t.Errorf("%+v, %v: %s", report, err, a.body)
	}
	var o struct {
		Pool, Reserved, Leased, Version int64
	}
	a = do("GET", "/gift", "")
	if err := json.Unmarshal(a.body, &o); err != nil || o.Pool != 2 || o.Reserved != 3 || o.Leased != 2 || o.Version != 2 {
		t.Errorf("%+v, %v: %s", o, err, a.body)
	}
	do("POST", "/gift/codes", `{"codes":["C-3"],"more":true}`).want(http.StatusOK)
	if a = do("GET", "/gift", ""); !strings.Contains(string(a.body), `"pool":2`) {
		t.Errorf("codes of which more follow are given out: %s", a.body)
	}
	// Saved again, it has all that were uploaded; its codes stay what they are.
	do("PUT", "/gift", strings.Replace(gift, `{`, `{"version":2,`, 1)).want(http.StatusOK)
	if a = do("GET", "/gift", ""); !strings.Contains(string(a.body), `"pool":3`) {
		t.Errorf("saved: %s", a.body)
	}
	do("PUT", "/gift", `{"version":3,"name":"G","status":"active","kind":"gift","codes":"shared","code":"ALL"}`).wantProblem(http.StatusConflict, engage.Conflict, "codes")
	do("DELETE", "/gift", "").wantProblem(http.StatusConflict, engage.Conflict, "id")

	do("PUT", "/coffee", `{"name":"C","status":"active","kind":"percent","value":10,"codes":"shared","code":"Coffee"}`).want(http.StatusCreated)
	do("PUT", "/tea", `{"name":"T","status":"active","kind":"gift","codes":"shared","code":"COFFEE"}`).wantProblem(http.StatusConflict, engage.Conflict, "code")
	do("POST", "/coffee/codes", `{"codes":["D-4"]}`).wantProblem(http.StatusConflict, engage.Conflict, "codes")
	campaign := func(offer, body string) answer {
		t.Helper()
		return s.do(request{method: "PUT", path: "/api/v1/campaigns/brings", role: catalog.Marketer, body: `{"name":"B","class":"marketing","status":"draft",` + offer +
			`"trigger":{"type":"event","event":"e"},"arms":[{"id":"a","message":{"title":"T","body":"` + body + `"}}]}`})
	}
	campaign("", "{{ offer.code }}").wantProblem(http.StatusUnprocessableEntity, engage.Invalid, "arms[0].message")
	campaign(`"offer":"none",`, "{{ offer.code }}").wantProblem(http.StatusUnprocessableEntity, engage.Invalid, "offer")
	campaign(`"offer":"coffee",`, "{{ offer.code }}").want(http.StatusCreated)
	do("DELETE", "/coffee", "").wantProblem(http.StatusConflict, engage.Conflict, "id")
}
