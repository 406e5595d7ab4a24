package profile_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/profile"
	"github.com/footfall-engage/footfall/server/rules"
)

var t0 = time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)

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
	p.Bind("user_id:ada")
	p.SetConsents(map[engage.Purpose]engage.Consent{
		engage.ConsentMarketing: {Granted: true, At: t0}, engage.ConsentProfiling: {At: t0}, engage.ConsentLocationPrecise: {Granted: true, At: t0},
	})
	p.SetDevice(engage.Device{Install: "old", Platform: "ios", Locale: "en-GB", SeenAt: t0})
	p.SetDevice(engage.Device{Install: "new", Platform: "android", Locale: "nl-NL", SeenAt: t0.Add(time.Minute)})
	p.SetDevice(engage.Device{Install: "newest", SeenAt: t0.Add(time.Hour)}) // says nothing of itself
	if err := p.SetPreferences(map[string]engage.Attitude{"tea": engage.Like, "art": engage.Like, "meat": engage.Dislike}); err != nil {
		t.Fatal(err)
	}
	if err := p.SetAttributes(json.RawMessage(`{"city":"Delft","points":12.5,"vip":true,"born":"1990-02-03T00:00:00Z","sizes":["s","m"],"any":7,"a.b":"dotted"}`)); err != nil {
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
		"last_visit_at":     `"op":"between","value":["2026-11-02T10:01:00Z","2026-11-02T10:01:00Z"]`,
		"visits":            `"op":"eq","value":1`,
		"attributes.city":   `"op":"prefix","value":"Del"`,
		"attributes.points": `"op":"between","value":[12,13]`,
		"attributes.vip":    `"op":"eq","value":true`,
		"attributes.born":   `"op":"lt","value":"2000-01-01T00:00:00Z"`,
		"attributes.sizes":  `"op":"contains","value":"m"`,
		"attributes.any":    `"op":"eq","value":7`,
	}
	schema := rules.PersonSchema(attributes)
	at := t0.Add(time.Hour)
	nobody := &profile.Profile{}
	always := []string{"identified", "visits"} // known of everybody
	for _, f := range schema.Fields() {
		clause, ok := value[f.Path]
		if !ok {
			t.Errorf("%s is in the schema and not in this test", f.Path)
			continue
		}
		delete(value, f.Path)
		rule, err := rules.Parse(json.RawMessage(fmt.Sprintf(`{"field":%q,%s}`, f.Path, clause)), schema)
		if err != nil {
			t.Errorf("%s: %v", f.Path, err)
			continue
		}
		if !rule.Match(p, at) {
			_, x := rule.Eval(p, at)
			t.Errorf("%s: %+v", f.Path, x)
		}
		exists, err := rules.Parse(json.RawMessage(fmt.Sprintf(`{"field":%q,"op":"exists"}`, f.Path)), schema)
		if err != nil {
			t.Fatal(err)
		}
		if !exists.Match(p, at) {
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
		"seen":        func(p *profile.Profile) error { p.Seen(t0.Add(9 * time.Hour)); return nil },
		"visited":     func(p *profile.Profile) error { p.Visited(t0.Add(9 * time.Hour)); return nil },
		"device":      func(p *profile.Profile) error { p.SetDevice(engage.Device{Install: "new"}); return nil },
		"preferences": func(p *profile.Profile) error { return p.SetPreferences(map[string]engage.Attitude{"tea": ""}) },
		"attributes":  func(p *profile.Profile) error { return p.SetAttributes(json.RawMessage(`{"city":null}`)) },
		"bind":        func(p *profile.Profile) error { p.Bind("email:a"); p.Bind("zzz"); return nil },
		"consents": func(p *profile.Profile) error {
			p.SetConsents(map[engage.Purpose]engage.Consent{engage.ConsentMarketing: {}})
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
	if err := p.SetPreferences(map[string]engage.Attitude{"tea": engage.Dislike, "art": "", "new": engage.Like}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(p.Topics(engage.Like), p.Topics(engage.Dislike)); got != "[new] [meat tea]" {
		t.Errorf("topics %s", got)
	}
	if err := p.SetAttributes(json.RawMessage(`{"city":null,"points":13,"new":"x"}`)); err != nil {
		t.Fatal(err)
	}
	if _, ok := p.Value("attributes.city"); ok || p.Attributes["points"] != 13.0 || p.Attributes["new"] != "x" || p.Attributes["vip"] != true {
		t.Errorf("attributes %v", p.Attributes)
	}
	p.Bind("user_id:ada")
	p.Bind("email:ada")
	if !reflect.DeepEqual(p.Identifiers, []string{"email:ada", "user_id:ada"}) {
		t.Errorf("identifiers %v", p.Identifiers)
	}
	p.SetConsents(map[engage.Purpose]engage.Consent{engage.ConsentMarketing: {}})
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

func TestLimitsAndBadAnswersChangeNothing(t *testing.T) {
	p := ada(t)
	before, _ := json.Marshal(p)
	topics, traits := map[string]engage.Attitude{}, map[string]int{}
	for i := range profile.MaxPreferences {
		topics[fmt.Sprint(i)] = engage.Like
	}
	for i := range profile.MaxAttributes {
		traits[fmt.Sprint(i)] = i
	}
	many, _ := json.Marshal(traits)
	for name, c := range map[string]struct {
		err   error
		code  engage.Code
		field string
	}{
		"attitude":   {p.SetPreferences(map[string]engage.Attitude{"tea": "love"}), engage.Invalid, "preferences.tea"},
		"topics":     {p.SetPreferences(topics), engage.TooLarge, "preferences"},
		"attributes": {p.SetAttributes(many), engage.TooLarge, "attributes"},
		"not JSON":   {p.SetAttributes(json.RawMessage(`{`)), engage.Internal, ""},
		"a list":     {p.SetAttributes(json.RawMessage(`[]`)), engage.Internal, ""},
	} {
		e, _ := c.err.(*engage.Error) //nolint:errorlint // the error itself, with its field
		if engage.CodeOf(c.err) != c.code || c.field != "" && (e == nil || e.Field != c.field) {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	if now, _ := json.Marshal(p); string(now) != string(before) {
		t.Errorf("changed to\n%s", now)
	}
	for i := range profile.MaxDevices + 5 {
		p.SetDevice(engage.Device{Install: fmt.Sprintf("d%02d", i), SeenAt: t0.Add(time.Duration(i+2) * time.Hour)})
	}
	ds := p.DevicesByUse()
	if len(ds) != profile.MaxDevices || ds[0].Install != "d24" || ds[len(ds)-1].Install != "d05" {
		t.Errorf("%d devices from %s to %s", len(ds), ds[0].Install, ds[len(ds)-1].Install)
	}
}
