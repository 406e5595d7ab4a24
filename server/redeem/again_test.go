package redeem_test

import (
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/redeem"
)

// Two tills that number alike are told so: under an id the same is asked again, by
// whomever the person is now, or nothing; and nobody learns what the other asked.
func TestAnIDIsOfOneRedemption(t *testing.T) {
	order := func(order string) func(*redeem.Ask) { return func(a *redeem.Ask) { a.Order = order } }
	paid := func(value float64, currency string) func(*redeem.Ask) {
		return func(a *redeem.Ask) { a.Value, a.Currency = value, currency }
	}
	worth := func(worth float64) func(*redeem.Ask) { return func(a *redeem.Ask) { a.Worth = worth } }
	of := func(all ...func(*redeem.Ask)) []func(*redeem.Ask) { return all }
	for name, c := range map[string]struct {
		code           string
		first, second  []func(*redeem.Ask)
		other, another string // what differs, and the code of the second
	}{
		"the same":               {"COFFEE", of(by("ada"), at("cafe"), order("o1"), paid(5, "EUR"), worth(1)), of(by("ada"), at("cafe"), order("o1"), paid(5, "EUR"), worth(1)), "", ""},
		"written otherwise":      {"COFFEE", of(by("ada")), of(by("ada")), "", " coffee"},
		"nothing said":           {"COFFEE", nil, nil, "", ""},
		"another code":           {"COFFEE", nil, nil, "code", "GIFT-1"},
		"no code of ours":        {"COFFEE", nil, nil, "code", "NONE"},
		"another order":          {"COFFEE", of(order("o1")), of(order("o2")), "order", ""},
		"an order now":           {"COFFEE", nil, of(order("o2")), "order", ""},
		"no order now":           {"COFFEE", of(order("o1")), nil, "order", ""},
		"another value":          {"COFFEE", of(paid(5, "EUR")), of(paid(6, "EUR")), "value", ""},
		"no value now":           {"COFFEE", of(paid(5, "EUR")), nil, "value", ""},
		"another currency":       {"COFFEE", of(paid(5, "EUR")), of(paid(5, "USD")), "value", ""},
		"the offer's currency":   {"COFFEE", of(paid(5, "EUR")), of(paid(5, "")), "", ""},
		"another worth":          {"COFFEE", of(worth(1)), of(worth(2)), "worth", ""},
		"another place":          {"COFFEE", of(at("cafe")), of(at("bar")), "place", ""},
		"another person":         {"COFFEE", of(by("ada")), of(by("eve")), "person", ""},
		"a person now":           {"COFFEE", nil, of(by("eve")), "person", ""},
		"no person now":          {"COFFEE", of(by("ada")), nil, "person", ""},
		"who is ann since":       {"COFFEE", of(by("ada")), of(by("ann")), "", ""},
		"the same message":       {"COFFEE", of(with("d2")), of(with("d2")), "", ""},
		"another message":        {"COFFEE", of(with("d2")), of(with("d3")), "message", ""},
		"a message now":          {"COFFEE", nil, of(with("d3")), "message", ""},
		"unique":                 {"GIFT-1", of(order("o1"), paid(5, "EUR")), of(order("o1"), paid(5, "EUR")), "", ""},
		"unique, who pays":       {"GIFT-1", of(by("eve")), of(by("eve")), "", ""}, // whose it is, the code says
		"unique, another value":  {"GIFT-1", of(paid(5, "EUR")), of(paid(6, "EUR")), "value", ""},
		"unique, another's code": {"GIFT-1", nil, nil, "code", "COFFEE"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.coffee(func(o *engage.Offer) { o.Worth, o.Currency = 3, "EUR" })
			w.gift("GIFT-1")
			w.reserve("d1", "GIFT-1", "bob")
			w.reserve("d2", "COFFEE", "joe")
			w.reserve("d3", "COFFEE", "zoe")
			first := w.redeem("t1", c.code, "redeemed", c.first...)
			w.same["ann"] = []string{"ann", "ada"}
			a := &redeem.Ask{Workspace: "acme", Ref: "t1", By: "till-1", Code: c.code}
			if c.another != "" {
				a.Code = c.another
			}
			for _, f := range c.second {
				f(a)
			}
			r, again, err := w.Redeem(t.Context(), a)
			switch {
			case c.other == "" && (err != nil || !again || r.ID != first.ID):
				t.Errorf("%+v, again %v, %v", r, again, err)
			case c.other != "" && (engage.CodeOf(err) != engage.Conflict || !strings.Contains(err.Error(), "another "+c.other+":")):
				t.Errorf("%+v, again %v, %v; want another %s", r, again, err, c.other)
			case c.other != "" && strings.Contains(err.Error(), first.Code):
				t.Errorf("it tells the other's code: %v", err)
			}
			if list, _, err := w.List(t.Context(), "acme", redeem.Filter{}, "", 10); err != nil || len(list) != 1 {
				t.Errorf("%d redemptions, %v", len(list), err)
			}
			if u, err := w.Used(t.Context(), "acme", first.Offer); err != nil || u.Redeemed != 1 {
				t.Errorf("counted: %+v, %v", u, err)
			}
		})
	}
}
