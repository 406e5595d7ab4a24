package profile_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/profile"
	"github.com/footfall-engage/footfall/server/rules"
)

var t0 = time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)

// later is a moment after t0: words count by when they were said.
func later(n int) profile.Stamp {
	return profile.StampOf(t0.Add(time.Duration(n)*time.Second), t0.Add(time.Hour), true)
}

var attributes = map[string]rules.Type{
	"city": rules.String, "points": rules.Number, "vip": rules.Bool, "born": rules.Time, "sizes": rules.Strings, "any": rules.Scalar,
}

// ada is a person of whom everything is known.
func ada(t *testing.T) *profile.Profile {
	t.Helper()
	p := &profile.Profile{Workspace: "acme", ID: "ada"}
	p.Seen(t0)
	p.Seen(t0.Add(time.Hour))
	p.Visited(t0.Add(time.Minute))
	p.Bought(&engage.Order{ID: "o1", Status: engage.OrderCompleted, Value: 12.5, Currency: "EUR"}, t0.Add(time.Minute))
	p.Lean(profile.AffinityCategory, "Shoes", profile.WeightBought, t0)
	p.Lean(profile.AffinityBrand, "Acme", profile.WeightBought, t0)
	p.Places = profile.Affinities{"cafe": {{Span: t0.Unix() / 864000, W: 2}}}
	p.Bind("user_id:ada")
	p.SetConsents("", engage.ByPurposeOf(map[engage.Purpose]engage.Consent{
		engage.ConsentMarketing: {Granted: true, At: t0}, engage.ConsentProfiling: {At: t0}, engage.ConsentLocationPrecise: {Granted: true, At: t0},
	}))
	p.SetDevice(engage.Device{Install: "old", Platform: "ios", Locale: "en-GB", SeenAt: t0}, t0)
	p.SetDevice(engage.Device{Install: "new", Platform: "android", Locale: "nl-NL", SeenAt: t0.Add(time.Minute)}, t0)
	p.SetDevice(engage.Device{Install: "newest", SeenAt: t0.Add(time.Hour)}, t0) // says nothing of itself
	if left := p.SetPreferences(map[string]engage.Attitude{"tea": engage.Like, "art": engage.Like, "meat": engage.Dislike}, later(1)); left != nil {
		t.Fatal(left)
	}
	if _, err := p.SetAttributes(json.RawMessage(`{"city":"Delft","points":12.5,"vip":true,"born":"1990-02-03T00:00:00Z","sizes":["s","m"],"any":7,"a.b":"dotted"}`), later(2)); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEveryFieldOfTheSchemaHasAValueOfItsType(t *testing.T) {
	p := ada(t)
	value := map[string]string{ // a clause of each field that holds for ada
		"likes":             `"op":"contains","value":"tea"`,
		"dislikes":          `"op":"contains","value":"meat"`,
		"identified":        `"op":"eq","value":true`,
		"consents":          `"op":"contains","value":"location_precise"`,
		"platforms":         `"op":"contains","value":"ios"`,
		"locale":            `"op":"eq","value":"nl-NL"`,
		"first_seen":        `"op":"le","value":"2026-11-02T10:00:00Z"`,
		"last_seen":         `"op":"within_last","value":"1h"`,
		"affinities":        `"op":"contains","value":"shoes"`,
		"favourite_brands":  `"op":"contains","value":"acme"`,
		"favourite_place":   `"op":"eq","value":"cafe"`,
		"favourite_places":  `"op":"contains","value":"cafe"`,
		"purchases_count":   `"op":"eq","value":1`,
		"purchases_total":   `"op":"between","value":[12.5,12.5]`,
		"last_purchase_at":  `"op":"within_last","value":"1h"`,
		"last_visit_at":     `"op":"between","value":["2026-11-02T10:01:00Z","2026-11-02T10:01:00Z"]`,
		"visits":            `"op":"eq","value":1`,
		"attributes.city":   `"op":"prefix","value":"Del"`,
		"attributes.points": `"op":"between","value":[12,13]`,
		"attributes.vip":    `"op":"eq","value":true`,
		"attributes.born":   `"op":"lt","value":"2000-01-01T00:00:00Z"`,
		"attributes.sizes":  `"op":"contains","value":"m"`,
		"attributes.any":    `"op":"eq","value":7`,
	}
	maps.Copy(value, map[string]string{
		"purchases_total.*":     `"op":"eq","value":12.5`,
		"first_purchase_at":     `"op":"within_last","value":"1h"`,
		"last_purchase_value":   `"op":"eq","value":12.5`,
		"redemptions_count":     `"op":"eq","value":3`,
		"last_redemption_at":    `"op":"within_last","value":"1h"`,
		"redeemed.*":            `"op":"eq","value":2`,
		"affinity.category.*":   `"op":"ge","value":1.25`,
		"affinity.brand.*":      `"op":"ge","value":1.25`,
		"affinity.topic.*":      `"op":"ge","value":1`,
		"home_place":            `"op":"eq","value":"corner"`,
		"identifier_kinds":      `"op":"contains","value":"user_id"`,
		"devices_count":         `"op":"ge","value":2`,
		"push_reachable":        `"op":"eq","value":true`,
		"notifications_granted": `"op":"eq","value":true`,
		"location_permissions":  `"op":"contains","value":"always"`,
		"app_version.android":   `"op":"eq","value":"3.10"`,
		"app_version.ios":       `"op":"gt","value":"3.9"`,
		"app_version.web":       `"op":"lt","value":"3.11"`,
		"os_version.android":    `"op":"ge","value":"14"`,
		"os_version.ios":        `"op":"ge","value":"14"`,
		"visited.*.visits":      `"op":"eq","value":3`,
		"visited.*.last_at":     `"op":"within_last","value":"1h"`,
		"visited_tag.*.visits":  `"op":"eq","value":3`,
		"visited_tag.*.last_at": `"op":"within_last","value":"1h"`,
	})
	more := *p
	for _, offer := range []string{"free-coffee", "tea", "free-coffee", "tea"} {
		more.Redeem(offer, 1, t0.Add(time.Minute))
	}
	more.Redeem("tea", -1, t0.Add(time.Minute)) // one was voided
	more.Lean(profile.AffinityTopic, "tea", profile.WeightWanted, t0)
	yes := engage.Consent{Granted: true, At: t0.Add(time.Second)}
	more.SetConsents("", engage.ByPurpose[engage.Consent]{}.With(engage.ConsentProfiling, yes).With(engage.ConsentLocationForeground, yes))
	more.VisitedPlace("cafe", t0.Add(30*time.Minute))
	for _, weeks := range []int{14, 13, 12, 11} { // too long ago for a favourite
		more.VisitedPlace("corner", t0.Add(-time.Duration(weeks)*7*24*time.Hour))
	}
	for _, platform := range []string{"android", "ios", "web"} {
		more.SetDevice(engage.Device{
			Install: "phone of " + platform, Platform: platform, AppVersion: "3.10.0", OSVersion: "14.1", Location: "always",
			Notifications: "granted", Push: &engage.PushTarget{Provider: "fcm"},
		}, t0)
	}
	named := map[string]string{ // a member of each family
		"redeemed.*":        "free-coffee",
		"purchases_total.*": "EUR", "affinity.category.*": "shoes", "affinity.brand.*": "acme", "affinity.topic.*": "tea",
		"visited.*.visits": "cafe", "visited.*.last_at": "cafe", "visited_tag.*.visits": "coffee", "visited_tag.*.last_at": "coffee",
	}
	schema := rules.PersonSchema(attributes)
	at := t0.Add(time.Hour)
	places := func(id string) ([]string, bool) {
		if id == "corner" {
			return nil, true
		}
		return []string{"coffee"}, true
	}
	person := profile.Env{Profile: &more, Now: at, Place: places}
	nobody := profile.Env{Profile: &profile.Profile{}, Now: at, Place: places}
	always := []string{ // known of everybody
		"identified", "visits", "purchases_count", "purchases_total", "redemptions_count", "redeemed.free-coffee", "devices_count", "push_reachable", "notifications_granted",
	}
	for _, f := range schema.Fields() {
		clause, ok := value[f.Path]
		if !ok {
			t.Errorf("%s is in the schema and not in this test", f.Path)
			continue
		}
		delete(value, f.Path)
		f.Path = strings.Replace(f.Path, "*", named[f.Path], 1)
		rule, err := rules.Parse(json.RawMessage(fmt.Sprintf(`{"field":%q,%s}`, f.Path, clause)), schema)
		if err != nil {
			t.Errorf("%s: %v", f.Path, err)
			continue
		}
		if !rule.Match(person, at) {
			_, x := rule.Eval(person, at)
			t.Errorf("%s: %+v", f.Path, x)
		}
		exists, err := rules.Parse(json.RawMessage(fmt.Sprintf(`{"field":%q,"op":"exists"}`, f.Path)), schema)
		if err != nil {
			t.Fatal(err)
		}
		if !exists.Match(person, at) {
			t.Errorf("%s is absent", f.Path)
		}
		if exists.Match(nobody, at) != slices.Contains(always, f.Path) {
			t.Errorf("%s of nobody: exists is %v", f.Path, !slices.Contains(always, f.Path))
		}
	}
	for path := range value {
		t.Errorf("%s is not in the schema", path)
	}
	for _, path := range []string{"", "nope", "attributes", "attributes.", "attributes.nope", "devices"} {
		if v, ok := p.Value(path); ok {
			t.Errorf("%q has the value %v", path, v)
		}
	}
	if v, _ := p.Value("attributes.a.b"); v != "dotted" {
		t.Errorf("a dotted name gives %v", v)
	}
	if v, _ := p.Value("platforms"); !reflect.DeepEqual(v, []string{"android", "ios"}) {
		t.Errorf("platforms %v: a phone that does not say has none", v)
	}
	if v, _ := p.Value("consents"); !reflect.DeepEqual(v, []string{"location_precise", "marketing"}) {
		t.Errorf("consents %v", v)
	}
}

// A copy shares what is the same: changing it leaves the first as it was.
func TestChangingACopyLeavesTheFirst(t *testing.T) {
	first := ada(t)
	before, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(p *profile.Profile) error{
		"seen":    func(p *profile.Profile) error { p.Seen(t0.Add(9 * time.Hour)); return nil },
		"visited": func(p *profile.Profile) error { p.Visited(t0.Add(9 * time.Hour)); return nil },
		"device": func(p *profile.Profile) error {
			p.SetDevice(engage.Device{Install: "new", SeenAt: t0.Add(time.Hour)}, t0)
			return nil
		},
		"preferences": func(p *profile.Profile) error {
			p.SetPreferences(map[string]engage.Attitude{"tea": ""}, later(3))
			return nil
		},
		"attributes": func(p *profile.Profile) error {
			_, err := p.SetAttributes(json.RawMessage(`{"city":null}`), later(4))
			return err
		},
		"bind": func(p *profile.Profile) error { p.Bind("email:a"); p.Bind("zzz"); return nil },
		"consents": func(p *profile.Profile) error {
			p.SetConsents("", engage.ByPurposeOf(map[engage.Purpose]engage.Consent{engage.ConsentMarketing: {At: t0.Add(time.Hour)}}))
			return nil
		},
	} {
		second := *first
		if err := change(&second); err != nil {
			t.Fatal(err)
		}
		if now, _ := json.Marshal(first); string(now) != string(before) {
			t.Fatalf("%s changed the first to\n%s from\n%s", name, now, before)
		}
		if now, _ := json.Marshal(second); string(now) == string(before) {
			t.Errorf("%s changed nothing", name)
		}
	}
}

func TestAnswersFoldIn(t *testing.T) {
	p := ada(t)
	if left := p.SetPreferences(map[string]engage.Attitude{"tea": engage.Dislike, "art": "", "new": engage.Like}, later(5)); left != nil {
		t.Fatal(left)
	}
	if got := fmt.Sprint(p.Topics(engage.Like), p.Topics(engage.Dislike)); got != "[new] [meat tea]" {
		t.Errorf("topics %s", got)
	}
	if left, err := p.SetAttributes(json.RawMessage(`{"city":null,"points":13,"new":"x"}`), later(6)); err != nil || left != nil {
		t.Fatal(left, err)
	}
	if _, ok := p.Value("attributes.city"); ok || p.Attributes["points"] != 13.0 || p.Attributes["new"] != "x" || p.Attributes["vip"] != true {
		t.Errorf("attributes %v", p.Attributes)
	}
	p.Bind("user_id:ada")
	p.Bind("email:ada")
	if !reflect.DeepEqual(p.Identifiers, []string{"email:ada", "user_id:ada"}) {
		t.Errorf("identifiers %v", p.Identifiers)
	}
	p.SetConsents("", engage.ByPurposeOf(map[engage.Purpose]engage.Consent{engage.ConsentMarketing: {At: t0.Add(time.Hour)}}))
	if p.Consented(engage.ConsentMarketing) || !p.Consented(engage.ConsentLocationPrecise) || p.Consented("nope") {
		t.Errorf("consents %v", p.Consents)
	}
	p.Visited(t0)
	if p.Visits != 2 || !p.LastVisitAt.Equal(t0.Add(time.Minute)) {
		t.Errorf("a late visit: %d, the last at %v", p.Visits, p.LastVisitAt)
	}
	p.Seen(t0.Add(-time.Hour))
	if !p.FirstSeen.Equal(t0.Add(-time.Hour)) || !p.LastSeen.Equal(t0.Add(time.Hour)) {
		t.Errorf("seen from %v to %v", p.FirstSeen, p.LastSeen)
	}
}

func TestWhatIsFullKeepsWhatItHasAndTakesNewByName(t *testing.T) {
	p := ada(t)
	topics, traits := map[string]engage.Attitude{"tea": engage.Dislike, "meat": "", "odd": "love"}, map[string]any{"city": "Gouda", "vip": nil}
	for i := range profile.MaxPreferences {
		topics[fmt.Sprintf("t%03d", i)] = engage.Like
		traits[fmt.Sprintf("t%03d", i)] = i
	}
	// Of 500, tea and art stay, meat goes, 498 come in.
	if left := p.SetPreferences(topics, later(7)); !slices.Equal(left, []string{"odd", "t498", "t499"}) {
		t.Errorf("left out are the topics %v", left)
	}
	if p.Preferences["tea"] != engage.Dislike || p.Preferences["art"] != engage.Like || p.Preferences["t497"] != engage.Like || len(p.Preferences) != profile.MaxPreferences {
		t.Errorf("%d preferences %v", len(p.Preferences), p.Preferences)
	}
	// Of 500, six of the seven stay, 494 come in.
	many, _ := json.Marshal(traits)
	left, err := p.SetAttributes(many, later(8))
	if err != nil || !slices.Equal(left, []string{"t494", "t495", "t496", "t497", "t498", "t499"}) {
		t.Errorf("left out are the attributes %v, %v", left, err)
	}
	if p.Attributes["city"] != "Gouda" || p.Attributes["points"] != 12.5 || p.Attributes["t493"] != 493.0 || len(p.Attributes) != profile.MaxAttributes {
		t.Errorf("%d attributes %v", len(p.Attributes), p.Attributes)
	}
	if left := p.SetPreferences(map[string]engage.Attitude{"new": engage.Like, "art": "", "tea": engage.Like}, later(9)); left != nil || p.Preferences["new"] != engage.Like {
		t.Errorf("who forgets one has room for another: left out %v", left)
	}
	if left := p.SetPreferences(map[string]engage.Attitude{"newer": engage.Like}, later(10)); !slices.Equal(left, []string{"newer"}) {
		t.Errorf("left out %v", left)
	}
}

func TestAValueThatNoAttributeCanHaveIsLeftOutAlone(t *testing.T) {
	p := ada(t)
	left, err := p.SetAttributes(json.RawMessage(`{"points":1e999,"deep":{"a":[-1e999]},"city":"Gouda","\ud800":"half"}`), later(11))
	if err != nil || !slices.Equal(left, []string{"deep", "points"}) {
		t.Errorf("left out %v, %v", left, err)
	}
	large := strings.Repeat("x", profile.MaxAttribute-len("city")-len(`""`))
	traits, _ := json.Marshal(map[string]string{"city": large, "sizes": large})
	if left, err := p.SetAttributes(traits, later(12)); err != nil || !slices.Equal(left, []string{"sizes"}) || p.Attributes["city"] != large {
		t.Errorf("left out for their size %v, %v", left, err)
	}
	if _, err := p.SetAttributes(json.RawMessage(`{"city":"Gouda"}`), later(13)); err != nil {
		t.Fatal(err)
	}
	if p.Attributes["points"] != 12.5 || p.Attributes["city"] != "Gouda" || p.Attributes["\ufffd"] != "half" {
		t.Errorf("attributes %v", p.Attributes)
	}
}

func TestTraitsThatAreNoObjectChangeNothing(t *testing.T) {
	p := ada(t)
	before, _ := json.Marshal(p)
	for _, traits := range []string{`{`, `[]`, ``, `7`} {
		if left, err := p.SetAttributes(json.RawMessage(traits), later(14)); err == nil || left != nil {
			t.Errorf("%s: %v, %v", traits, left, err)
		}
	}
	if now, _ := json.Marshal(p); string(now) != string(before) {
		t.Errorf("changed to\n%s", now)
	}
}

func TestTheDeviceNotSeenForLongestIsForgotten(t *testing.T) {
	p := ada(t)
	for i := range profile.MaxDevices + 5 {
		p.SetDevice(engage.Device{Install: fmt.Sprintf("d%02d", i), SeenAt: t0.Add(time.Duration(i+2) * time.Hour)}, t0)
	}
	ds := p.DevicesByUse()
	if len(ds) != profile.MaxDevices || ds[0].Install != "d24" || ds[len(ds)-1].Install != "d05" {
		t.Errorf("%d devices from %s to %s", len(ds), ds[0].Install, ds[len(ds)-1].Install)
	}
}
