package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/places"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

func saw(kv ...any) engage.Saw { return engage.SawOf(values(kv...)) }

func values(kv ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i].(string)] = kv[i+1]
	}
	return m
}

func failed(field, op string, want, got any, negated bool) map[string]any {
	return values("field", field, "op", op, "want", want, "got", got, "negated", negated)
}

func TestGatesAndDecisionsSpeakPlainly(t *testing.T) {
	at := time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)
	weather := values("kind", "forecast", "condition", "partly_cloudy", "temperature_c", 14.0)
	gates := []engage.GateResult{
		{Gate: "consent", OK: true},
		{Gate: "consent", Reason: engage.ReasonConsent, Saw: saw("purpose", "marketing")},
		{Gate: "consent", Reason: engage.ReasonConsent, Saw: saw("purpose", "marketing", "answered", saw("at", at, "text_version", "v3", "source", "app"))},
		{Gate: "eligibility", OK: true},
		{Gate: "eligibility", Reason: engage.ReasonNotStarted, Saw: saw("start", at)},
		{Gate: "eligibility", Reason: engage.ReasonEnded, Saw: saw("end", at)},
		{Gate: "eligibility", Reason: engage.ReasonStale, Saw: saw("age_s", 1200.5, "max_age_s", 900.0)},
		{Gate: "eligibility", Reason: engage.ReasonOccasionUsed, Saw: saw("occasion", "x")},
		{Gate: "eligibility", Reason: engage.ReasonNoChannel, Saw: saw("channels", []string{"push"})},
		{Gate: "eligibility", Reason: engage.ReasonPaused, Saw: saw("revision", 7)},
		{Gate: "audience", OK: true},
		{Gate: "audience", Reason: engage.ReasonAudience, Saw: saw("failed", []any{failed("likes", "contains", "fashion", []string{"tech", "books"}, false)})},
		{Gate: "audience", Reason: engage.ReasonAudience, Saw: saw("failed", []any{
			failed("attributes.city", "eq", "Delft", nil, false), failed("visits", "ge", 1.0, 0.0, false), failed("last_visit_at", "within_last", "7d", "2026-01-01T00:00:00Z", false),
			failed("dislikes", "contains", "fashion", []string{"fashion"}, true), failed("identified", "eq", true, false, false), failed("locale", "prefix", "nl", "de-DE", false),
		})},
		{Gate: "context", OK: true},
		{Gate: "context", OK: true, Saw: saw("weather", weather, "weather_is", "stale")},
		{Gate: "context", Reason: engage.ReasonContext, Saw: saw("weather", weather, "weather_is", "fresh", "distance_m", 12.0, "failed", []any{failed("weather.condition", "in", []string{"rain", "sleet"}, "partly_cloudy", false)})},
		{Gate: "context", Reason: engage.ReasonWeatherUnknown, Saw: saw("weather_is", "absent")},
		{Gate: "quiet", OK: true},
		{Gate: "quiet", Reason: engage.ReasonQuiet, Saw: saw("local_time", "23:10", "zone", "Europe/Amsterdam", "until", at)},
		{Gate: "cap", OK: true},
		{Gate: "cap", OK: true, Saw: saw("count", 1, "cap", 2, "window_s", 86400)},
		{Gate: "cap", Reason: engage.ReasonCap, Saw: saw("count", 1, "cap", 1, "window_s", 604800)},
		{Gate: "arbitration", OK: true, Saw: saw("wanted_by", 1)},
		{Gate: "arbitration", OK: true, Saw: saw("wanted_by", 3)},
		{Gate: "arbitration", Reason: engage.ReasonArbitration, Saw: saw("winner", "rainy-day")},
		{Gate: "render", OK: true},
		{Gate: "render", Reason: engage.ReasonRender, Saw: saw("error", "arms.a.title: profile.attributes.name is missing")},
		{Gate: "holdout", OK: true, Saw: saw("arm", "umbrella", "holdout_percent", 10)},
		{Gate: "holdout", Saw: saw("arm", "holdout", "holdout_percent", 10)},
		{Gate: "moon", OK: true},
		{Gate: "moon", Reason: "moon_full"},
		{Gate: "cap", Reason: engage.ReasonCap, Saw: saw("count", "many")}, // of another version
		{Gate: "eligibility", Reason: engage.ReasonMerged, Saw: saw("profile", "x")},
	}
	var b strings.Builder
	for _, g := range gates {
		fmt.Fprintf(&b, "%s %v %s: %s\n", g.Gate, g.OK, g.Reason, gateWords(g))
	}
	b.WriteString("\n")
	due := at.Add(time.Hour)
	for _, d := range []engage.Decision{
		{State: engage.Pending, DueAt: &due, Gates: []engage.GateResult{{Gate: "context", Reason: engage.ReasonWeatherUnknown}}},
		{State: engage.Pending, DueAt: &due, Gates: []engage.GateResult{gates[18]}},
		{State: engage.Pending, DueAt: &due, Delivery: "x", Gates: []engage.GateResult{gates[27]}},
		{State: engage.Pending, DueAt: &due, Delivery: "x", Channel: "inbox", Gates: []engage.GateResult{gates[27]}},
		{State: engage.Pending, DueAt: &due, Delivery: "x", Channel: "inbox", Detail: "held", Gates: []engage.GateResult{gates[27]}},
		{State: engage.Sent, Channel: "fcm"},
		{State: engage.Sent, Channel: "apns", Receipts: []string{"delivered", "opened"}},
		{State: engage.Sent, Channel: "in_app"},
		{State: engage.Sent, Channel: "inbox"},
		{State: engage.HeldOut},
		{State: engage.Suppressed, Reason: engage.ReasonCap, Gates: []engage.GateResult{gates[0], gates[21]}},
		{State: engage.Suppressed, Reason: "new_reason"},
		{State: engage.Expired, Reason: engage.ReasonNotDisplayed},
		{State: engage.Expired, Reason: engage.ReasonSendExpired},
		{State: engage.Failed, Reason: engage.ReasonRejected, Detail: "BadTopic"},
		{State: engage.Failed, Reason: engage.ReasonAmbiguous},
	} {
		fmt.Fprintf(&b, "%s %s: %s\n", d.State, d.Reason, decisionWords(&d))
	}
	b.WriteString("\n")
	for _, tr := range []engage.Trigger{
		{Type: engage.TriggerPlace, Transition: engage.Enter, Ring: engage.Inside, Place: "shop", Evidence: "fix", DistanceM: 12.6, AccuracyM: 8},
		{Type: engage.TriggerPlace, Transition: engage.Exit, Ring: engage.Near, Place: "gone", Evidence: "os_region"},
		{Type: engage.TriggerEvent, Event: "order_completed"},
		{Type: engage.TriggerBeacon, Transition: engage.ComeNear, Place: "shop", Beacon: "till", Evidence: "beacon"},
		{Type: engage.TriggerBeacon, Transition: engage.Exit, Place: "shop", Beacon: "till", Evidence: "silence"},
		{Type: engage.TriggerWeather, Place: "shop", Weather: &engage.Weather{Kind: "forecast", Condition: "rain", TemperatureC: 9}},
		{Type: engage.TriggerAPI, Campaign: "orders"},
		{Type: engage.TriggerAPI, Campaign: "orders", Place: "shop"},
		{Type: engage.TriggerSchedule, Campaign: "friday", Local: "2026-12-04T09:00"},
	} {
		fmt.Fprintln(&b, triggerWords(&tr, map[string]string{"shop": "Corner shop"}[tr.Place]))
	}
	b.WriteString("\n")
	for _, e := range []engage.TimelineEntry{
		{Kind: engage.KindConsent, Data: json.RawMessage(`{"marketing":{"granted":true},"location_precise":{"granted":false}}`)},
		{Kind: engage.KindPreferences, Data: json.RawMessage(`{"fashion":"like","books":"like","tech":"dislike"}`)},
		{Kind: engage.KindPreferences, Data: json.RawMessage(`{"fashion":""}`)},
		{Kind: engage.KindOutcome, Data: json.RawMessage(`{"delivery":"0123456789","state":"accepted","channel":"fcm"}`)},
		{Kind: engage.KindReceipt, Data: json.RawMessage(`{"message":"0123456789","state":"displayed"}`)},
		{Kind: engage.KindReceipt, Data: json.RawMessage(`{"message":"0123456789","state":"action","action":"buy"}`)},
		{Kind: engage.KindReceipt, Data: json.RawMessage(`{"message":"0123456789","state":"failed"}`)},
		{Kind: engage.KindDevice},
		{Kind: engage.KindTraits},
		{Kind: engage.KindBound},
		{Kind: engage.KindBindRefused},
		{Kind: "moon"},
		{Kind: engage.KindCall, Data: json.RawMessage(`{"type":"api","campaign":"orders","occasion":"x"}`)},
		{Kind: engage.KindCall, Data: json.RawMessage(`{"type":"schedule","campaign":"friday","local":"2026-12-04T09:00"}`)},
		{Kind: engage.KindCall, Data: json.RawMessage(`{"type":"weather","campaign":"rain","place":"shop"}`)},
	} {
		fmt.Fprintf(&b, "%s: %s\n", e.Kind, timelineWords(&e, func(string) string { return "" }))
	}
	golden(t, "words.golden", b.String())
}

// fields of a struct type by their JSON names, nested ones by path.
func fields(t reflect.Type, path string, out map[string]bool) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() || t == reflect.TypeFor[ruleDoc]() || t == reflect.TypeFor[geometryDoc]() {
		return
	}
	if t == reflect.TypeFor[engage.Geofence]() { // it encodes itself
		for _, name := range []string{"id", "ring", "geometry", "radius", "dwell_s", "rule"} {
			out[below(path, name)] = true
		}
		fields(reflect.TypeFor[engage.FenceRule](), below(path, "rule"), out)
		return
	}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			fields(f.Type, path, out)
			continue
		}
		if name == "" || name == "-" {
			continue
		}
		out[below(path, name)] = true
		fields(f.Type, below(path, name), out)
	}
}

func TestTheDocumentSaysWhatTheVocabularyReads(t *testing.T) {
	for _, x := range []struct{ doc, body, is reflect.Type }{
		{reflect.TypeFor[CampaignDoc](), reflect.TypeFor[campaignBody](), reflect.TypeFor[engage.Campaign]()},
		{reflect.TypeFor[placeDoc](), reflect.TypeFor[placeBody](), reflect.TypeFor[placeView]()},
		{reflect.TypeFor[featureDoc](), reflect.TypeFor[featureDoc](), reflect.TypeFor[places.Feature]()},
	} {
		is := map[string]bool{}
		fields(x.is, "", is)
		for what, typ := range map[string]reflect.Type{"documented": x.doc, "read": x.body} {
			got := map[string]bool{}
			fields(typ, "", got)
			for f := range is {
				top, _, _ := strings.Cut(f, ".")
				unread := what == "read" && (top == "opening" || top == "warnings") && top != f // only answered
				if !got[f] && !unread {
					t.Errorf("%s.%s is not %s", x.is, f, what)
				}
			}
			for f := range got {
				answered := what == "read" && (f == "warnings" || f == "findings") // of an answer to a save, which may come back
				if !is[f] && !answered {
					t.Errorf("%s.%s is %s and is not there", x.is, f, what)
				}
			}
		}
	}
}

func TestTheDocumentTellsTheRulesThatHoldByDefault(t *testing.T) {
	rule := reflect.ValueOf(geo.DefaultRule())
	for f := range reflect.TypeFor[fenceRuleDoc]().Fields() {
		v := rule.FieldByName(f.Name)
		if !v.IsValid() { // a time, in seconds
			v = rule.FieldByName(strings.TrimSuffix(f.Name, "S"))
		}
		want := fmt.Sprint(v)
		if d, ok := reflect.TypeAssert[time.Duration](v); ok {
			want = fmt.Sprint(d.Seconds())
		}
		if !strings.HasSuffix(f.Tag.Get("doc"), "Absent: "+want) {
			t.Errorf("%s: %q, want %s at its end", f.Name, f.Tag.Get("doc"), want)
		}
	}
}

func TestExamplesAgreeWithTheirSchemas(t *testing.T) {
	r := newRegistry()
	for name, typ := range map[string]reflect.Type{
		RainyDay: reflect.TypeFor[CampaignDoc](), WelcomeBack: reflect.TypeFor[CampaignDoc](),
		"corner-shop": reflect.TypeFor[placeDoc](), "mall": reflect.TypeFor[placeDoc](), "two-shops": reflect.TypeFor[featureCollectionDoc](),
	} {
		var v any
		if err := json.Unmarshal(example(name), &v); err != nil {
			t.Fatal(err)
		}
		var res huma.ValidateResult
		huma.Validate(r, r.Schema(typ, true, ""), huma.NewPathBuffer(nil, 0), huma.ModeWriteToServer, v, &res)
		for _, err := range res.Errors {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryReasonHasWords(t *testing.T) {
	for r := range reasonWords {
		if w := gateWords(engage.GateResult{Gate: "x", Reason: r}); strings.Contains(w, "The gate x said no") {
			t.Errorf("%s is only told by its code", r)
		}
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[armResultsView](), reflect.TypeFor[TotalsView]()} {
		for _, field := range reflect.VisibleFields(typ) {
			if field.Anonymous {
				continue
			}
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !field.Anonymous && name != "arm" && name != "control" && meanings[name] == "" {
				t.Errorf("the count %s has no meaning", name)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, name := range []string{RainyDay, WelcomeBack, "corner-shop", "two-shops"} {
		f.Add([]byte(example(name)))
	}
	for _, s := range []string{`{"a":1,"a":2}`, `[[[`, `{"start":"x"}`, `{"limits":{"cap":1e3}}`, "\xff", `{"arms":[null]}`, `{"limits":null} `, `{"":{}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var c campaignBody
		if decode(raw, &c) == nil {
			// What is accepted is what Go's own decoder reads.
			var same campaignBody
			d := json.NewDecoder(bytes.NewReader(raw))
			d.DisallowUnknownFields()
			if err := d.Decode(&same); err != nil {
				t.Fatalf("accepted %q: %v", raw, err)
			}
			a, err1 := json.Marshal(c)
			b, err2 := json.Marshal(same)
			if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
				t.Fatalf("%q: %s, Go reads %s", raw, a, b)
			}
		}
		var p placeBody
		if decode(raw, &p) == nil {
			if _, err := locate(p.Location, p.Geofences); err != nil {
				return
			}
		}
	})
}
