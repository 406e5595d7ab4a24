package engage_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

const ibeaconUUID = "f7826da6-4fa2-4e98-8024-bc5b71e0893e"

func cafe(change ...func(*engage.Place)) *engage.Place {
	at := geo.Point{Lat: 52.3731, Lng: 4.8922}
	p := &engage.Place{ID: "cafe", Workspace: "acme", Name: "Café", Location: at, Geofences: []engage.Geofence{
		{ID: "around", Ring: engage.Near, Shape: geo.Circle{Around: at, RadiusM: 300}},
		{ID: "door", Ring: engage.Inside, Shape: geo.Circle{Around: at, RadiusM: 50}},
	}}
	for _, f := range change {
		f(p)
	}
	return p
}

func TestAPlaceIsRefusedWithTheFieldAndTheReason(t *testing.T) {
	beacon := func(b engage.Beacon) func(*engage.Place) {
		return func(p *engage.Place) { p.Beacons = append(p.Beacons, b) }
	}
	ib := engage.Beacon{ID: "b1", Type: engage.IBeacon, UUID: ibeaconUUID}
	with := func(b engage.Beacon, f func(*engage.Beacon)) func(*engage.Place) { f(&b); return beacon(b) }
	ed := engage.Beacon{ID: "e1", Type: engage.EddystoneUID, Namespace: "edd1ebeac04e5defa017"}
	for name, c := range map[string]struct {
		change func(*engage.Place)
		field  string // empty: it is good
		reason string
	}{
		"good":                  {func(*engage.Place) {}, "", ""},
		"id":                    {func(p *engage.Place) { p.ID = "a/b" }, "id", "1 to 100"},
		"a blank name":          {func(p *engage.Place) { p.Name = " \u00a0" }, "name", "blank"},
		"a name with a control": {func(p *engage.Place) { p.Name = "a\u0096b" }, "name", "byte 1"},
		"a name of two lines":   {func(p *engage.Place) { p.Name = "a\nb" }, "name", "control"},
		"an empty tag":          {func(p *engage.Place) { p.Tags = []string{"a", ""} }, "tags[1]", "blank"},
		"a tag with a tab":      {func(p *engage.Place) { p.Tags = []string{"a\tb"} }, "tags[0]", "control"},
		"a doubled tag":         {func(p *engage.Place) { p.Tags = []string{"a", "b", "a"} }, "tags[2]", "twice"},
		"a doubled holiday":     {func(p *engage.Place) { p.Holidays = []string{"2026-12-25", "2026-12-25"} }, "holidays[1]", "twice"},
		"zone":                  {func(p *engage.Place) { p.TimeZone = "Local" }, "time_zone", `"Local"`},
		"a long tag":            {func(p *engage.Place) { p.Tags = []string{"a", strings.Repeat("x", 201)} }, "tags[1]", "200 bytes"},
		"no fence":              {func(p *engage.Place) { p.Geofences = nil }, "geofences", "1 to 20"},
		"dwell":                 {func(p *engage.Place) { p.Geofences[1].DwellS = -1 }, "geofences[1].dwell_s", "-1"},
		"dwell beyond 30 days":  {func(p *engage.Place) { p.Geofences[1].DwellS = 30*86400 + 1 }, "geofences[1].dwell_s", "2592001"},
		"dwell of 30 days":      {func(p *engage.Place) { p.Geofences[1].DwellS = 30 * 86400 }, "", ""},
		"dwell that overflows":  {func(p *engage.Place) { p.Geofences[1].DwellS = 1 << 62 }, "geofences[1].dwell_s", "2592000"},
		"rule of the place":     {func(p *engage.Place) { p.Rule = &engage.FenceRule{ClearFactor: new(-1.0)} }, "rule.clear_factor", "-1"},
		"rule of a fence":       {func(p *engage.Place) { p.Geofences[1].Rule = &engage.FenceRule{MaxGapS: new(0.0)} }, "geofences[1].rule.max_gap_s", "0"},
		"rule that overflows":   {func(p *engage.Place) { p.Rule = &engage.FenceRule{SilenceS: new(1e300)} }, "rule.silence_s", "must be 60 to"},
		"rule below zero":       {func(p *engage.Place) { p.Rule = &engage.FenceRule{ExitConfirmS: new(-1e300)} }, "rule.exit_confirm_s", "0"},
		"rules that do not fit": {func(p *engage.Place) { p.Rule = &engage.FenceRule{MaxAccuracyM: new(40.0)} }, "rule.assumed_accuracy_m", "max_accuracy_m"},
		"a fence's over the place's": {func(p *engage.Place) {
			p.Rule = &engage.FenceRule{MaxAccuracyM: new(60.0)}
			p.Geofences[0].Rule = &engage.FenceRule{FloorAccuracyM: new(61.0)}
		}, "geofences[0].rule.floor_accuracy_m", "max_accuracy_m"},
		"holiday":                  {func(p *engage.Place) { p.Holidays = []string{"2026-12-25", "2026-02-29"} }, "holidays[1]", "2026-02-29"},
		"exceptions without hours": {func(p *engage.Place) { p.Exceptions = []engage.Exception{{Date: "2026-12-24", Hours: "off"}} }, "exceptions", "hours"},
		"exception's date": {func(p *engage.Place) {
			p.Hours = "24/7"
			p.Exceptions = []engage.Exception{{Date: "24.12.", Hours: "off"}}
		}, "exceptions[0].date", "24.12."},
		"an exception twice": {func(p *engage.Place) {
			p.Hours = "24/7"
			p.Exceptions = []engage.Exception{{Date: "2026-12-24", Hours: "off"}, {Date: "2026-12-24", Hours: "10:00-12:00"}}
		}, "exceptions[1].date", "twice"},
		"hours too long":           {func(p *engage.Place) { p.Hours = strings.Repeat("Mo 10:00-12:00; ", 200) }, "hours", "2000"},
		"ibeacon":                  {beacon(ib), "", ""},
		"ibeacon in capitals":      {with(ib, func(b *engage.Beacon) { b.UUID = strings.ToUpper(b.UUID) }), "", ""},
		"no uuid":                  {with(ib, func(b *engage.Beacon) { b.UUID = "" }), "beacons[0].uuid", "missing"},
		"uuid without dashes":      {with(ib, func(b *engage.Beacon) { b.UUID = strings.ReplaceAll(b.UUID, "-", "") }), "beacons[0].uuid", "8-4-4-4-12"},
		"uuid of other letters":    {with(ib, func(b *engage.Beacon) { b.UUID = "g" + b.UUID[1:] }), "beacons[0].uuid", "hex"},
		"major":                    {with(ib, func(b *engage.Beacon) { n := 65536; b.Major = &n }), "beacons[0].major", "65536"},
		"minor":                    {with(ib, func(b *engage.Beacon) { n, m := 0, -1; b.Major, b.Minor = &n, &m }), "beacons[0].minor", "-1"},
		"minor without major":      {with(ib, func(b *engage.Beacon) { n := 0; b.Minor = &n }), "beacons[0].major", "minor"},
		"ibeacon with an instance": {with(ib, func(b *engage.Beacon) { b.Instance = "0123456789ab" }), "beacons[0].instance", "eddystone"},
		"eddystone":                {beacon(ed), "", ""},
		"namespace":                {with(ed, func(b *engage.Beacon) { b.Namespace += "0" }), "beacons[0].namespace", "20"},
		"instance":                 {with(ed, func(b *engage.Beacon) { b.Instance = "0123456789a" }), "beacons[0].instance", "12"},
		"eddystone with a major":   {with(ed, func(b *engage.Beacon) { n := 1; b.Major = &n }), "beacons[0].major", "ibeacon"},
		"another type":             {with(ed, func(b *engage.Beacon) { b.Type = "altbeacon" }), "beacons[0].type", "altbeacon"},
		"a beacon's id":            {with(ed, func(b *engage.Beacon) { b.ID = "" }), "beacons[0].id", "1 to 100"},
		"two of an id":             {func(p *engage.Place) { beacon(ib)(p); with(ed, func(b *engage.Beacon) { b.ID = ib.ID })(p) }, "beacons[1].id", "twice"},
		"two of a kind": {func(p *engage.Place) {
			beacon(ib)(p)
			with(ib, func(b *engage.Beacon) { b.ID, b.UUID = "b2", strings.ToUpper(b.UUID) })(p)
		}, "beacons[1]", `"b1"`},
		"one within the other": {func(p *engage.Place) {
			beacon(ib)(p)
			with(ib, func(b *engage.Beacon) { n := 1; b.ID, b.Major = "b2", &n })(p)
		}, "", ""},
		"a fence that is not there": {with(ib, func(b *engage.Beacon) { b.Fence = "window" }), "beacons[0].fence", "window"},
	} {
		t.Run(name, func(t *testing.T) {
			err := cafe(c.change).Validate()
			if c.field == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var e *engage.Error
			if !errors.As(err, &e) || e.Code != engage.Invalid || e.Field != c.field || !strings.Contains(e.Msg, c.reason) {
				t.Errorf("%v, want %s with %q", err, c.field, c.reason)
			}
		})
	}
}

func TestAFencesRuleIsItsOwnThenThePlacesThenTheDefault(t *testing.T) {
	p := cafe(func(p *engage.Place) {
		p.Rule = &engage.FenceRule{MaxAccuracyM: new(500.0), ClearFactor: new(2.0), SilenceS: new(3600.0)}
		p.Geofences[1].Rule = &engage.FenceRule{ClearFactor: new(1.0), EnterConfirmS: new(0.0), ExitConfirmS: new(0.5)}
	})
	want := geo.DefaultRule()
	want.MaxAccuracyM, want.ClearFactor, want.Silence = 500, 2, time.Hour
	if got := p.RuleOf(&p.Geofences[0]); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	want.ClearFactor, want.EnterConfirm, want.ExitConfirm = 1, 0, 500*time.Millisecond
	if got := p.RuleOf(&p.Geofences[1]); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := cafe().RuleOf(nil); got != geo.DefaultRule() {
		t.Errorf("%+v", got)
	}
}

func TestABeaconIsEvidenceForItsFenceOrTheFirstInside(t *testing.T) {
	p := cafe()
	for fence, want := range map[string]string{"": "door", "around": "around", "door": "door"} {
		if got := p.FenceOf(&engage.Beacon{Fence: fence}); got == nil || got.ID != want {
			t.Errorf("%q: %v, want %s", fence, got, want)
		}
	}
	p.Geofences = p.Geofences[:1]
	if got := p.FenceOf(&engage.Beacon{}); got == nil || got.ID != "around" {
		t.Errorf("%v", got)
	}
}

func TestWhatIsSeenFindsTheMostExactBeaconFirst(t *testing.T) {
	major, minor := 7, 0
	seen := engage.Beacon{Type: engage.IBeacon, UUID: strings.ToUpper(ibeaconUUID), Major: &major, Minor: &minor}
	want := []string{"ibeacon:" + ibeaconUUID + ":7:0", "ibeacon:" + ibeaconUUID + ":7", "ibeacon:" + ibeaconUUID}
	if got := seen.Keys(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for i, b := range []engage.Beacon{{UUID: ibeaconUUID, Major: &major, Minor: &minor}, {UUID: ibeaconUUID, Major: &major}, {UUID: ibeaconUUID}} {
		if b.Type = engage.IBeacon; b.Key() != want[i] {
			t.Errorf("%s, want %s", b.Key(), want[i])
		}
	}
	seen = engage.Beacon{Type: engage.EddystoneUID, Namespace: "EDD1EBEAC04E5DEFA017", Instance: "0123456789AB"}
	if got := fmt.Sprint(seen.Keys()); got != "[eddystone_uid:edd1ebeac04e5defa017:0123456789ab eddystone_uid:edd1ebeac04e5defa017]" {
		t.Error(got)
	}
}

func TestAPlaceOfBeforeReadsAndWritesTheSameBytes(t *testing.T) {
	const old = `{"id":"cafe","workspace":"acme","version":3,"name":"Café","tags":["food"],"location":{"lat":52.3731,"lng":4.8922},"geofences":[` +
		`{"id":"door","ring":"inside","geometry":{"type":"Point","coordinates":[4.8922,52.3731]},"radius":50}],"updated_at":"2026-11-02T10:00:00Z"}`
	var p engage.Place
	if err := json.Unmarshal([]byte(old), &p); err != nil {
		t.Fatal(err)
	}
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	if got, err := json.Marshal(&p); err != nil || string(got) != old {
		t.Errorf("%s %v, was %s", got, err, old)
	}
}

func TestAPlaceWithEverythingGoesThroughJSON(t *testing.T) {
	major := 0
	p := cafe(func(p *engage.Place) {
		p.TimeZone, p.Hours, p.Holidays = "Europe/Amsterdam", "Mo-Fr 09:00-18:00", []string{"2026-12-25"}
		p.Exceptions = []engage.Exception{{Date: "2026-12-24", Hours: "10:00-14:00"}}
		p.Rule = &engage.FenceRule{MaxAccuracyM: new(500.0), BeaconLostS: new(30.0)}
		p.Geofences[1].DwellS = 120
		p.Geofences[1].Rule = &engage.FenceRule{SureFactor: new(0.0)}
		p.Beacons = []engage.Beacon{{ID: "b", Type: engage.IBeacon, UUID: ibeaconUUID, Major: &major, Fence: "door"}}
	})
	first, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"dwell_s":120`, `"sure_factor":0`, `"major":0`, `"beacon_lost_s":30`} {
		if !strings.Contains(string(first), want) {
			t.Errorf("%s lacks %s", first, want)
		}
	}
	var again engage.Place
	if err := json.Unmarshal(first, &again); err != nil {
		t.Fatal(err)
	}
	if second, err := json.Marshal(&again); err != nil || string(second) != string(first) {
		t.Errorf("%s %v, was %s", second, err, first)
	}
	var g engage.Geofence
	err = json.Unmarshal([]byte(`{"id":"x","ring":"inside","geometry":{"type":"Point","coordinates":[4,52]},"radius":50,"rule":{"max_gap_s":"long"}}`), &g)
	var e *engage.Error
	if !errors.As(err, &e) || e.Field != "rule.max_gap_s" {
		t.Errorf("%v, want the field", err)
	}
}
