package api_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/redeem"
)

// tills is a fake of package redeem: COFFEE is an offer's code in every workspace, USED
// was redeemed, and nothing has a limit.
type tills struct {
	mu  sync.Mutex
	all []*engage.Redemption
	of  []string // their workspaces
}

func (x *tills) refused(text string) error {
	switch engage.NormalCode(text) {
	case "COFFEE":
		return nil
	case "USED":
		return &redeem.Refused{Err: engage.Errorf(engage.TillAlready, "code", "it was redeemed"), At: start, Place: "shop"}
	}
	return &redeem.Refused{Err: engage.Errorf(engage.TillUnknownCode, "code", "no offer has this code")}
}

func (x *tills) Redeem(_ context.Context, a *redeem.Ask) (*engage.Redemption, bool, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	id := engage.RedemptionID(a.Workspace, a.Ref)
	for _, r := range x.all {
		if r.ID == id {
			return r, true, nil
		}
	}
	if err := x.refused(a.Code); err != nil {
		return nil, false, err
	}
	r := &engage.Redemption{
		V: 1, ID: id, Ref: a.Ref, State: engage.Redeemed, Offer: "coffee", Code: engage.NormalCode(a.Code), By: a.By, At: start,
		Profile: a.Profile, Value: a.Value, Currency: a.Currency, Order: a.Order,
	}
	if a.Place != nil {
		r.Place = a.Place.ID
	}
	x.all, x.of = append(x.all, r), append(x.of, a.Workspace)
	return r, false, nil
}

func (x *tills) Check(_ context.Context, a *redeem.Ask) (*engage.Redemption, error) {
	return &engage.Redemption{Offer: "coffee", Worth: 2.5, Currency: "EUR"}, x.refused(a.Code)
}

func (x *tills) Redemption(_ context.Context, workspace, id string) (*engage.Redemption, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, r := range x.all {
		if r.ID == id && x.of[i] == workspace {
			return r, nil
		}
	}
	return nil, engage.Errorf(engage.NotFound, "id", "there is no such redemption")
}

func (x *tills) Void(ctx context.Context, workspace, id, by, reason string) (*engage.Redemption, error) {
	r, err := x.Redemption(ctx, workspace, id)
	if err == nil {
		r.State, r.VoidedBy, r.VoidReason, r.VoidedAt = engage.Voided, by, reason, start
	}
	return r, err
}

func (x *tills) List(_ context.Context, workspace string, f redeem.Filter, cursor string, limit int) (all []*engage.Redemption, next string, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, r := range x.all {
		if x.of[i] == workspace && (f.Offer == "" || f.Offer == r.Offer) && (f.State == "" || f.State == r.State) {
			all = append(all, r)
		}
	}
	p, err := page(all, cursor, limit)
	return p.Items, p.Next, err
}

// A till redeems, is told the same again, looks, voids, and reads nothing else; what it
// sees tells nothing of the person.
func TestATillRedeemsAndReadsNothing(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	do := func(method, path, body string, header map[string]string) answer {
		return s.do(request{method: method, path: "/api/v1/redemptions" + path, body: body, role: catalog.Till, header: header})
	}
	var r struct {
		ID, Ref, State, Place, Order string
		Value                        float64
		Again                        bool
	}
	full := `{"code":"coffee","person":"user_id:ada","place":"shop","order":"o7","value":12.5,"currency":"EUR"}`
	raw := string(do("POST", "", full, map[string]string{"Idempotency-Key": "t1"}).want(201, &r).body)
	if r.Ref != "t1" || r.State != "redeemed" || r.Place != "shop" || r.Order != "o7" || r.Value != 12.5 || r.Again {
		t.Errorf("redeemed: %s", raw)
	}
	if a := do("POST", "", `{"id":"t1","code":"COFFEE"}`, nil).want(200, &r); !r.Again {
		t.Errorf("again: %s", a.body)
	}
	do("POST", "", `{"code":"COFFEE"}`, nil).wantProblem(422, engage.Invalid, "id")
	do("POST", "", `{"id":"a","code":"COFFEE"}`, map[string]string{"Idempotency-Key": "b"}).wantProblem(422, engage.Invalid, "id")
	do("POST", "", `{"id":"a","code":"COFFEE","place":"none"}`, nil).wantProblem(422, engage.Invalid, "place")
	do("POST", "", `{"id":"a","code":"COFFEE","person":"x:"}`, nil).wantProblem(422, engage.Invalid, "person")
	do("POST", "", `{"id":"a","code":"NONE"}`, nil).wantProblem(404, engage.TillUnknownCode, "code")
	var p struct{ Redeemed struct{ Place string } }
	do("POST", "", `{"id":"a","code":"USED"}`, nil).want(409, &p)
	if p.Redeemed.Place != "shop" {
		t.Errorf("a problem without where: %+v", p)
	}
	var c struct {
		State string
		Worth float64
	}
	if a := do("POST", "/check", `{"code":"COFFEE"}`, nil).want(200, &c); c.State != "redeemable" || c.Worth != 2.5 {
		t.Errorf("checked: %s", a.body)
	}
	if a := do("POST", "/check", `{"code":"USED"}`, nil).want(200, &c); c.State != "already_redeemed" {
		t.Errorf("checked: %s", a.body)
	}
	do("GET", "", "", nil).wantProblem(403, engage.Forbidden, "")
	do("GET", "/"+r.ID, "", nil).wantProblem(403, engage.Forbidden, "")
	s.do(request{method: "GET", path: "/api/v1/people", role: catalog.Till}).wantProblem(403, engage.Forbidden, "")
	if a := do("POST", "/"+r.ID+"/void", `{"reason":"returned"}`, nil).want(200, &r); r.State != "voided" {
		t.Errorf("voided: %s", a.body)
	}
	do("POST", "/none/void", `{}`, nil).wantProblem(404, engage.NotFound, "id")
	var list struct{ Items []engage.Redemption }
	s.do(request{method: "GET", path: "/api/v1/redemptions?offer=coffee&state=voided", role: catalog.Viewer}).want(200, &list)
	if len(list.Items) != 1 || list.Items[0].VoidReason != "returned" {
		t.Errorf("listed: %+v", list)
	}
	s.do(request{method: "POST", path: "/api/v1/keys", body: `{"name":"till 3","role":"till"}`, role: catalog.Admin}).want(201)
}

// Who only reads redeems and voids nothing, and who redeems reads nothing.
func TestRolesAtRedemptions(t *testing.T) {
	for _, op := range []struct {
		method, path, body string
		status             int
		may                []catalog.Role
	}{
		{"POST", "", `{"id":"t2","code":"COFFEE"}`, 201, []catalog.Role{catalog.Till, catalog.Marketer, catalog.Admin}},
		{"POST", "/ID/void", `{}`, 200, []catalog.Role{catalog.Till, catalog.Marketer, catalog.Admin}},
		{"POST", "/check", `{"code":"COFFEE"}`, 200, []catalog.Role{catalog.Till, catalog.Viewer, catalog.Marketer, catalog.Admin}},
		{"GET", "", "", 200, []catalog.Role{catalog.Viewer, catalog.Marketer, catalog.Admin}},
		{"GET", "/ID", "", 200, []catalog.Role{catalog.Viewer, catalog.Marketer, catalog.Admin}},
	} {
		for _, role := range []catalog.Role{catalog.Till, catalog.Viewer, catalog.Marketer, catalog.Admin} {
			t.Run(op.method+op.path+" as "+string(role), func(t *testing.T) {
				s := newSite(t)
				var r struct{ ID string }
				s.do(request{method: "POST", path: "/api/v1/redemptions", body: `{"id":"t1","code":"COFFEE"}`, role: catalog.Till}).want(201, &r)
				a := s.do(request{method: op.method, path: "/api/v1/redemptions" + strings.Replace(op.path, "ID", r.ID, 1), body: op.body, role: role})
				if slices.Contains(op.may, role) {
					a.want(op.status)
				} else {
					a.wantProblem(403, engage.Forbidden, "")
				}
				var list struct{ Items []engage.Redemption }
				s.do(request{method: "GET", path: "/api/v1/redemptions", role: catalog.Viewer}).want(200, &list)
				changed := len(list.Items) != 1 || list.Items[0].State != engage.Redeemed
				if want := op.method == "POST" && op.path != "/check" && a.status < 300; changed != want {
					t.Errorf("status %d, and there is %+v", a.status, list.Items)
				}
			})
		}
	}
}

// Limits hold for somebody: who is no person by any identifier, and no profile that is
// known, is refused, and what is broken here is not the till's fault.
func TestATillNamesSomebodyOrNobody(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	ada := engage.ProfileID(alpha, "phone-1")
	for i, c := range []struct{ person, profile string }{
		{"user_id:ada", ada},
		{ada, ada},
		{"loyalty:4711", engage.PersonID(alpha, "loyalty:4711")}, // whom nobody knows yet
		{"email: Eve@Example.org", engage.PersonID(alpha, "email:eve@example.org")},
		{"anonymous_id:browser-1", engage.PersonID(alpha, "anonymous_id:browser-1")},
		{"garbage", ""},
		{"no id", ""},
		{engage.PersonID(alpha, "loyalty:4711"), ""}, // made up, and known to nobody
		{engage.ProfileID(beta, "phone-1"), ""},
		{"install:nope", ""},
		{"install:phone-1", ""},
		{"email:nobody", ""},
		{"phone:123", ""},
		{"user_id:", ""},
		{"loyalty: ", ""},
		{":x", ""},
		{"user_id:" + strings.Repeat("x", engage.MaxIdentifier), ""},
	} {
		body := `{"id":"t` + strconv.Itoa(i) + `","code":"COFFEE","person":` + strconv.Quote(c.person) + `}`
		for _, path := range []string{"/api/v1/redemptions", "/api/v1/redemptions/check"} {
			a := s.do(request{method: "POST", path: path, body: body, role: catalog.Till})
			switch {
			case c.profile == "":
				a.wantProblem(422, engage.Invalid, "person")
			case a.status != 200 && a.status != 201:
				t.Errorf("%s: %d %s", c.person, a.status, a.body)
			}
		}
		var list struct{ Items []engage.Redemption }
		s.do(request{method: "GET", path: "/api/v1/redemptions", role: catalog.Viewer}).want(200, &list)
		last := engage.Redemption{}
		if len(list.Items) > 0 {
			last = list.Items[len(list.Items)-1]
		}
		if redeemed := last.Ref == "t"+strconv.Itoa(i); redeemed != (c.profile != "") || redeemed && last.Profile != c.profile {
			t.Errorf("%s: redeemed %v by %q, want %q", c.person, redeemed, last.Profile, c.profile)
		}
	}
	s.world.broken = errors.New("the store is away")
	if a := s.do(request{method: "POST", path: "/api/v1/redemptions", body: `{"id":"z","code":"COFFEE","person":"` + ada + `"}`, role: catalog.Till}); a.status < 500 {
		t.Errorf("a broken store: %d %s", a.status, a.body)
	}
}
