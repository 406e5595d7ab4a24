package profile_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/profile"
	"github.com/footfall-engage/footfall/server/rules"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// town is what places there are, with their tags.
func town(places map[string][]string) func(string) ([]string, bool) {
	return func(id string) ([]string, bool) {
		tags, there := places[id]
		return tags, there
	}
}

// visitor agreed to what visits need.
func visitor() *profile.Profile {
	p := &profile.Profile{}
	yes := engage.Consent{Granted: true, At: noon.Add(-400 * day)}
	p.SetConsents("", engage.ByPurpose[engage.Consent]{}.With(engage.ConsentProfiling, yes).With(engage.ConsentLocationForeground, yes))
	return p
}

func holds(t *testing.T, p *profile.Profile, places map[string][]string, rule string) bool {
	t.Helper()
	r, err := rules.Parse(json.RawMessage(rule), rules.PersonSchema(nil))
	if err != nil {
		t.Fatalf("%s: %v", rule, err)
	}
	env := profile.Env{Profile: p, Now: noon, Place: town(places)}
	ok := r.Match(env, noon)
	if x, _ := r.Eval(env, noon); x != ok {
		t.Errorf("%s: Match and Eval differ", rule)
	}
	return ok
}

func TestVisitsToPlacesAndTags(t *testing.T) {
	p := visitor()
	for _, v := range []struct {
		place string
		ago   time.Duration
	}{
		{"cafe", 200 * day}, {"cafe", 40 * day}, {"cafe", 3 * day}, {"cafe", 5 * day}, {"bar.1", 20 * day}, {"gone", day},
	} {
		p.VisitedPlace(v.place, noon.Add(-v.ago))
	}
	places := map[string][]string{"cafe": {"coffee"}, "bar.1": {"coffee", "v1.0"}, "new": {"coffee"}}
	for _, c := range []struct {
		rule string
		want bool
	}{
		{`{"field":"visited.cafe.last_at","op":"within_last","value":"4d"}`, true},
		{`{"field":"visited.cafe.last_at","op":"within_last","value":"2d"}`, false},
		{`{"field":"visited.cafe.visits","op":"eq","value":3}`, true}, // that of 200 days ago counts no more
		{`{"field":"visited.bar.1.visits","op":"eq","value":1}`, true},
		{`{"field":"visited.new.visits","op":"eq","value":0}`, true},
		{`{"field":"visited.new.last_at","op":"absent"}`, true},
		{`{"field":"visited_tag.coffee.visits","op":"eq","value":4}`, true},
		{`{"field":"visited_tag.coffee.last_at","op":"within_last","value":"4d"}`, true},
		{`{"field":"visited_tag.v1.0.last_at","op":"within_last","value":"21d"}`, true},
		{`{"field":"visited_tag.tea.visits","op":"eq","value":0}`, true},
		{`{"field":"visited.gone.visits","op":"ge","value":1}`, false}, // the place is no more
		{`{"field":"visited.gone.last_at","op":"exists"}`, false},
	} {
		if got := holds(t, p, places, c.rule); got != c.want {
			t.Errorf("%s: %v", c.rule, got)
		}
	}
	no := engage.ByPurpose[engage.Consent]{}.With(engage.ConsentProfiling, engage.Consent{At: noon})
	p.SetConsents("", no)
	p.Unprofiled()
	if holds(t, p, places, `{"field":"visited.cafe.visits","op":"exists"}`) || p.PlaceAt != nil {
		t.Error("who agrees no more is still known to have visited")
	}
	if v, known := (profile.Env{Profile: visitor(), Now: noon}).Value("visited.cafe.visits"); known {
		t.Errorf("of no places: %v", v)
	}
}

// What an earlier build kept has no times: a visit began with its ten days, at the
// earliest.
func TestVisitsOfAnEarlierBuild(t *testing.T) {
	p := visitor()
	p.VisitedPlace("cafe", noon.Add(-3*day))
	p.PlaceAt = nil
	n, last := p.VisitsTo("cafe", noon)
	if ago := noon.Sub(last); n != 1 || ago < 3*day || ago > 13*day {
		t.Errorf("%d visits, the newest %v ago", n, ago)
	}
}

// Times of visits go with the visits when two become one, and when there are too many.
func TestTimesOfVisitsGoWithTheVisits(t *testing.T) {
	p, q := visitor(), visitor()
	p.VisitedPlace("cafe", noon.Add(-5*day))
	q.VisitedPlace("cafe", noon.Add(-2*day))
	q.VisitedPlace("bar", noon.Add(-9*day))
	p.Absorb(q, profile.Link{})
	if n, last := p.VisitsTo("cafe", noon); n != 2 || !last.Equal(noon.Add(-2*day)) {
		t.Errorf("%d visits, the newest at %v", n, last)
	}
	if n, last := p.VisitsTo("bar", noon); n != 1 || !last.Equal(noon.Add(-9*day)) {
		t.Errorf("%d visits, the newest at %v", n, last)
	}
	for i := range 400 {
		p.VisitedPlace("place-"+string(rune('a'+i%26))+string(rune('a'+i/26)), noon)
	}
	if len(p.PlaceAt) > 150 || len(p.PlaceAt) != len(p.Places) {
		t.Errorf("%d times of %d places", len(p.PlaceAt), len(p.Places))
	}
}

func TestPhonesPurchasesAndAffinitiesInRules(t *testing.T) {
	p := visitor()
	p.Identifiers = []string{"email:a@b.example", "user_id:1", "user_id:2"}
	p.Devices = map[string]engage.Device{
		"a": {Install: "a", Platform: "android", AppVersion: "3.9.1", OSVersion: "14", Location: "always", SeenAt: noon},
		"b": {Install: "b", Platform: "android", AppVersion: "3.10-beta", OSVersion: "9", Location: "none", Notifications: "provisional"},
		"c": {Install: "c", Platform: "ios", OSVersion: "18.2", Notifications: "denied", Push: &engage.PushTarget{Provider: "apns"}},
	}
	p.Bought(&engage.Order{ID: "1", Status: engage.OrderCompleted, Value: 20, Currency: "EUR"}, noon.Add(-9*day))
	p.Bought(&engage.Order{ID: "2", Status: engage.OrderCompleted, Value: 30, Currency: "USD"}, noon.Add(-5*day))
	p.Bought(&engage.Order{ID: "2", Status: engage.OrderRefunded, Value: 5, Currency: "USD"}, noon.Add(-4*day))
	p.Bought(&engage.Order{ID: "3", Status: engage.OrderCancelled, Currency: "EUR"}, noon.Add(-day))
	p.Lean(profile.AffinityCategory, "Shoes", profile.WeightBought, noon)
	for _, c := range []struct {
		rule string
		want bool
	}{
		{`{"field":"app_version.android","op":"ge","value":"3.10"}`, true}, // by number, not by letter
		{`{"field":"app_version.android","op":"lt","value":"3.10.1"}`, true},
		{`{"field":"app_version.ios","op":"exists"}`, false},
		{`{"field":"os_version.android","op":"between","value":["14","15"]}`, true},
		{`{"field":"os_version.ios","op":"eq","value":"18.2.0"}`, true},
		{`{"field":"devices_count","op":"eq","value":3}`, true},
		{`{"field":"notifications_granted","op":"eq","value":true}`, true},
		{`{"field":"push_reachable","op":"eq","value":true}`, false}, // the one with a token may not show it
		{`{"field":"location_permissions","op":"contains","value":"always"}`, true},
		{`{"field":"identifier_kinds","op":"contains","value":"email"}`, true},
		{`{"field":"identifier_kinds","op":"contains","value":"loyalty"}`, false},
		{`{"field":"purchases_total.EUR","op":"eq","value":20}`, true},
		{`{"field":"purchases_total.GBP","op":"exists"}`, false},
		{`{"field":"last_purchase_value","op":"eq","value":25}`, true},
		{`{"field":"first_purchase_at","op":"within_last","value":"10d"}`, true},
		{`{"field":"first_purchase_at","op":"within_last","value":"8d"}`, false},
		{`{"field":"affinity.category.shoes","op":"gt","value":4}`, true},
		{`{"field":"affinity.category.Shoes","op":"gt","value":4}`, true},
		{`{"field":"affinity.brand.shoes","op":"exists"}`, false},
	} {
		if got := holds(t, p, nil, c.rule); got != c.want {
			t.Errorf("%s: %v", c.rule, got)
		}
	}
}
