package collect_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

func TestOrdersOfTheECommerceSpecification(t *testing.T) {
	s := newSite(t)
	lines1 := []engage.OrderedItem{{ID: "u1", Name: "Umbrella", Category: "rain", Brand: "Acme", Price: 12.5, Quantity: 2}, {ID: "s9"}}
	for name, c := range map[string]struct {
		event, properties string
		want              *engage.Order
		dropped           string
	}{
		"completed": {
			"Order Completed", `{"order_id":"o1","total":30,"revenue":25,"currency":"eur","coupon":"RAIN","place":"cafe","products":[
			{"product_id":"u1","sku":"x","name":"Umbrella","category":"rain","brand":"Acme","price":12.5,"quantity":2},{"sku":"s9"}]}`,
			&engage.Order{ID: "o1", Status: engage.OrderCompleted, Value: 30, Currency: "EUR", Coupon: "RAIN", Place: "cafe", Products: lines1}, "",
		},
		"revenue":            {"order_completed", `{"orderId":17,"revenue":"25.50"}`, &engage.Order{ID: "17", Status: engage.OrderCompleted, Value: 25.5}, ""},
		"sum of products":    {"Order Updated", `{"order_id":"o1","products":[{"price":2,"quantity":3},{"price":4}]}`, &engage.Order{ID: "o1", Status: engage.OrderUpdated, Value: 10, Products: []engage.OrderedItem{{Price: 2, Quantity: 3}, {Price: 4}}}, ""},
		"refunded in part":   {"Order Refunded", `{"order_id":"o1","total":5}`, &engage.Order{ID: "o1", Status: engage.OrderRefunded, Value: 5}, ""},
		"refunded wholly":    {"Order Refunded", `{"order_id":"o1"}`, &engage.Order{ID: "o1", Status: engage.OrderCancelled}, ""},
		"cancelled":          {"Order Cancelled", `{"order_id":"o1","total":30}`, &engage.Order{ID: "o1", Status: engage.OrderCancelled, Value: 30}, ""},
		"for nothing":        {"Order Completed", `{"order_id":"o1","total":0}`, &engage.Order{ID: "o1", Status: engage.OrderCompleted}, ""},
		"unknown place":      {"Order Completed", `{"order_id":"o1","total":1,"store_id":"elsewhere"}`, &engage.Order{ID: "o1", Status: engage.OrderCompleted, Value: 1}, "not_found properties.store_id"},
		"a line that is odd": {"Order Completed", `{"order_id":"o1","total":1,"products":[7,{"sku":"a"},{"sku":"b","price":-1}]}`, &engage.Order{ID: "o1", Status: engage.OrderCompleted, Value: 1, Products: []engage.OrderedItem{{ID: "a"}}}, "invalid properties.products[0]|invalid properties.products[2].price"},
		"no id":              {"Order Completed", `{"total":30}`, nil, "invalid properties.order_id"},
		"no number":          {"Order Completed", `{"order_id":"o1","total":"many"}`, nil, "invalid properties.total"},
		"negative":           {"Order Completed", `{"order_id":"o1","total":-1}`, nil, "invalid properties.total"},
		"infinite":           {"Order Completed", `{"order_id":"o1","total":"Inf"}`, nil, "invalid properties.total"},
		"hexadecimal":        {"Order Completed", `{"order_id":"o1","total":"0x10"}`, nil, "invalid properties.total"},
		"no currency":        {"Order Completed", `{"order_id":"o1","total":1,"currency":"€"}`, nil, "invalid properties.currency"},
		"a long id":          {"Order Completed", `{"order_id":"` + strings.Repeat("o", 201) + `","total":1}`, nil, "too_large properties.order_id"},
		"a product, seen":    {"Product Viewed", `{"order_id":"o1","total":1}`, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.send(till, "/v1/t", `{"userId":"ada","event":"`+c.event+`","properties":`+c.properties+`}`)
			got, _ := s.one()
			if got.Event == nil || got.Event.Name != c.event {
				t.Errorf("the event is %+v", got.Event)
			}
			if !reflect.DeepEqual(got.Order, c.want) {
				t.Errorf("order %+v, want %+v", got.Order, c.want)
			}
			if d := strings.Join(lines(s.dropped()), "|"); d != c.dropped {
				t.Errorf("dropped %q, want %q", d, c.dropped)
			}
		})
	}
	// A till says its place once, in the context of all.
	s.send(till, "/v1/b", `{"context":{"store_id":"cafe"},"batch":[{"type":"track","traits":{"loyalty":"77"},"event":"Order Completed","properties":{"order_id":"o2","total":1}}]}`)
	if got, _ := s.one(); got.Order == nil || got.Order.Place != "cafe" || got.From.Kind != "till" || got.Identifiers[0] != "loyalty:77" {
		t.Errorf("of a till: %+v %+v", got, got.Order)
	}
}

// Where the schema says time, a day is its midnight in UTC; what is no day stays as it was
// told, and elsewhere a day is text.
func TestADayIsATimeWhereTheSchemaSaysTime(t *testing.T) {
	s := newSite(t)
	for told, want := range map[string]any{
		`"2026-01-31"`: "2026-01-31T00:00:00Z", `"2024-02-29"`: "2024-02-29T00:00:00Z", `"2026-01-31T09:30:00+01:00"`: "2026-01-31T09:30:00+01:00",
		`"2026-02-30"`: "2026-02-30", `"31-01-2026"`: "31-01-2026", `"2026-1-31"`: "2026-1-31", `"in January"`: "in January", `20260131`: 20260131.0, `null`: nil,
	} {
		s.send(server, "/v1/i", `{"userId":"ada","traits":{"member":{"since":`+told+`},"birthday":"2026-01-31"}}`)
		if got, _ := s.one(); !reflect.DeepEqual(got.Traits, map[string]any{"member_since": want, "birthday": "2026-01-31"}) {
			t.Errorf("%s becomes %v, want %v", told, got.Traits, want)
		}
	}
	s.send(rival, "/v1/i", `{"userId":"ada","traits":{"member_since":"2026-01-31"}}`)
	if got, _ := s.one(); got.Traits["member_since"] != "2026-01-31" {
		t.Errorf("another workspace's schema holds: %v", got.Traits)
	}
}

func TestTraitsBecomeAttributes(t *testing.T) {
	s := newSite(t)
	s.send(server, "/v1/i", `{"userId":"ada","traits":{
		"name":"Ada 👩🏽‍🦰","age":36,"vip":true,"gone":null,"sizes":["s","m"],"birthday":"1700-01-01",
		"address":{"city":"Utrecht","geo":{"zone":"B"}},"address_city":"Leiden",
		"a b":1,"":2,"a.b":3,"big":"`+strings.Repeat("x", 1100)+`","huge":1e999,"mixed":[1,"a"],"a":1,"a":2}}`)
	got, _ := s.one()
	want := map[string]any{
		"name": "Ada 👩🏽‍🦰", "age": 36.0, "vip": true, "gone": nil, "sizes": []any{"s", "m"}, "birthday": "1700-01-01",
		"address_city": "Utrecht", "address_geo_zone": "B", "a": 2.0,
	}
	if !reflect.DeepEqual(got.Traits, want) {
		t.Errorf("attributes %v", got.Traits)
	}
	// 300 names are above what a call may set: those that come first by name stay.
	many := map[string]int{}
	for i := range 300 {
		many[fmt.Sprintf("n%03d", i)] = i
	}
	body, _ := json.Marshal(map[string]any{"userId": "ada", "traits": many})
	s.send(server, "/v1/i", string(body))
	got, _ = s.one()
	if _, last := got.Traits["n199"]; len(got.Traits) != 200 || !last {
		t.Errorf("%d attributes", len(got.Traits))
	}
	s.send(server, "/v1/i", `{"userId":"ada","traits":`+strings.Repeat(`{"a":`, 500)+`1`+strings.Repeat(`}`, 500)+`}`)
	if got, _ = s.one(); len(got.Traits) != 0 {
		t.Errorf("attributes of the deep: %v", got.Traits)
	}
	s.send(server, "/v1/i", `{"userId":"ada","traits":[1]}`)
	s.one()
	d := s.dropped()
	first := []string{"invalid traits.", "invalid traits.a b", "invalid traits.a.b", "conflict traits.address_city", "too_large traits.big", "invalid traits.huge", "invalid traits.mixed[0]"}
	got1 := lines(d)[:7]
	slices.Sort(first)
	slices.Sort(got1)
	if !slices.Equal(got1, first) || len(d) != 7+11+1+1 {
		t.Errorf("dropped %d: %q", len(d), got1)
	}
	for _, x := range d {
		if strings.Contains(x.Reason, "xxx") || strings.Contains(x.Reason, "Utrecht") || len(x.Reason) > 300 || len(x.Field) > 200 {
			t.Errorf("a line shows what was sent: %+v", x)
		}
	}
}

func TestAnEventIsBounded(t *testing.T) {
	s := newSite(t)
	many := map[string]int{}
	for i := range 501 {
		many[fmt.Sprint("n", i)] = i
	}
	names, _ := json.Marshal(many)
	for _, properties := range []string{
		string(names), `[1]`, `"x"`, `{"a":1e999}`, `{"a\u0000b":1}`, `{"":1}`,
		strings.Repeat(`{"a":`, 11) + `1` + strings.Repeat(`}`, 11),
	} {
		s.send(server, "/v1/t", `{"userId":"ada","event":"x","properties":`+properties+`}`)
		if got, _ := s.took(); len(got) != 0 {
			t.Errorf("%.40s was taken", properties)
		}
	}
	for _, event := range []string{`""`, `" "`, `null`, `["x"]`, `"` + strings.Repeat("x", 201) + `"`, `"a\u0007b"`} {
		s.send(server, "/v1/t", `{"userId":"ada","event":`+event+`}`)
		if got, _ := s.took(); len(got) != 0 {
			t.Errorf("the event %.40s was taken", event)
		}
	}
	for properties, want := range map[string]map[string]any{
		`{"a":{"b":[1,{"c":"\u0000"}]},"a":1}`: {"a": 1.0},
		`null`:                                 nil,
		`{"x":` + fmt.Sprint(math.MaxInt64) + `}`: {"x": float64(math.MaxInt64)},
	} {
		s.send(server, "/v1/t", `{"userId":"ada","event":"x","properties":`+properties+`}`)
		if got, _ := s.one(); !reflect.DeepEqual(got.Event.Properties, want) {
			t.Errorf("%s became %v", properties, got.Event.Properties)
		}
	}
	if d := s.dropped(); len(d) != 7+6 {
		t.Errorf("dropped %q", lines(d))
	}
}

func TestMessageIDs(t *testing.T) {
	s := newSite(t)
	seen := map[string]bool{}
	for _, body := range []string{`{"userId":"ada","event":"x"}`, `{"userId":"ada","event":"x"}`, `{"userId":"ada","event":"x","messageId":""}`, `{"userId":"ada","event":"x","messageId":["a"]}`} {
		s.send(server, "/v1/t", body)
		got, _ := s.one()
		if len(got.ID) < 30 || seen[got.ID] {
			t.Errorf("%s has the id %q", body, got.ID)
		}
		seen[got.ID] = true
	}
	long := strings.Repeat("m", 150)
	var ids []string
	for range 2 {
		s.send(server, "/v1/t", `{"userId":"ada","event":"x","messageId":"`+long+`"}`)
		got, _ := s.one()
		ids = append(ids, got.ID)
	}
	if ids[0] != ids[1] || len(ids[0]) > 100 {
		t.Errorf("a long id becomes %q", ids)
	}
}

func TestWhenItHappened(t *testing.T) {
	at := func(d time.Duration) string { return start.Add(d).Format(time.RFC3339Nano) }
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		path, library, original, sent string
		want                          time.Duration // from its arrival
	}{
		"nothing is said":                           {"t", "", "", "", 0},
		"a server's own time":                       {"t", "analytics-python", at(-time.Hour), "", -time.Hour},
		"a right clock":                             {"t", "analytics.js", at(-time.Minute), at(0), -time.Minute},
		"a clock an hour ahead":                     {"t", "analytics.js", at(59 * time.Minute), at(time.Hour), -time.Minute},
		"a clock of 1970":                           {"t", "analytics.js", "1970-01-01T00:00:10Z", "1970-01-01T00:01:10Z", -time.Minute},
		"kept offline for three days":               {"t", "analytics-react-native", at(-3 * day), at(0), -3 * day},
		"Kotlin, offline, stamped early":            {"b", "analytics-kotlin", at(-3 * day), at(-3*day + time.Second), -3 * day},
		"Swift, offline, stamped early":             {"b", "analytics-swift", at(-3 * day), at(-3*day + time.Second), -3 * day},
		"Kotlin, a clock a year behind":             {"b", "analytics-kotlin", at(-365*day - time.Minute), at(-365 * day), -time.Minute},
		"Kotlin, a clock an hour ahead":             {"b", "analytics-kotlin", at(time.Hour - time.Minute), at(time.Hour), -time.Minute},
		"made after it was sent":                    {"t", "analytics.js", at(time.Hour), at(0), 0},
		"in the year 9999":                          {"t", "", "9999-12-31T23:59:59Z", "", 0},
		"in 1700":                                   {"t", "", "1700-01-01T00:00:00Z", "", 0},
		"milliseconds":                              {"t", "", fmt.Sprint(start.Add(-time.Hour).UnixMilli()), "", -time.Hour},
		"seconds":                                   {"t", "", fmt.Sprint(start.Add(-time.Hour).Unix()), "", -time.Hour},
		"no zone":                                   {"t", "", start.Add(-time.Hour).Format("2006-01-02T15:04:05"), "", -time.Hour},
		"another zone":                              {"t", "", "2026-03-02T10:00:00.000+0100", "", -30 * time.Minute},
		"nonsense":                                  {"t", "", "yesterday", at(0), 0},
		"imported, as it stands":                    {"import", "", "1998-05-01T12:00:00Z", at(-time.Hour), time.Date(1998, 5, 1, 12, 0, 0, 0, time.UTC).Sub(start)},
		"imported from before there were any shops": {"import", "", "1700-01-01T00:00:00Z", "", 0},
	} {
		s := newSite(t)
		call := map[string]any{"type": "track", "userId": "ada", "event": "x", "context": map[string]any{"library": map[string]string{"name": c.library}}}
		if c.original != "" {
			call["timestamp"] = c.original
			if c.original[0] >= '0' && c.original[0] <= '9' && !strings.Contains(c.original, "-") {
				call["timestamp"] = json.Number(c.original)
			}
		}
		var body any = call
		holder := call
		if c.path != "t" {
			holder = map[string]any{"batch": []any{call}}
			body = holder
		}
		if c.sent != "" {
			holder["sentAt"] = c.sent
		}
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		s.send(server, "/v1/"+c.path, string(b))
		if _, e := s.one(); e.Occurred.Sub(start) != c.want {
			t.Errorf("%s: %s after it came, want %s", name, e.Occurred.Sub(start), c.want)
		}
		s.stop()
	}
}

// Whatever is sent, the answer is one of ours, and what reaches the log can be read.
func FuzzBody(f *testing.F) {
	for _, body := range []string{
		`{"userId":"ada","event":"Order Completed","properties":{"order_id":"1","total":"3","products":[{"sku":"a"}]},"context":{"traits":{"email":"a@b.c"}}}`,
		`{"batch":[{"type":"identify","userId":"a","traits":{"a":{"b":[1,"c"]}}},{"type":"alias","userId":"a","previousId":"b"},{"type":"group","anonymousId":"x","groupId":1,"traits":{}}],"sentAt":"2026-03-02T09:29:00Z"}`,
		`{"anonymousId":"\ud800","timestamp":1e300,"sentAt":-5,"messageId":{},"name":null}`,
	} {
		for _, path := range []string{"t", "i", "g", "a", "b", "import"} {
			f.Add(path, body)
		}
	}
	f.Fuzz(func(t *testing.T, path, body string) {
		if strings.ContainsAny(path, " ?#%\r\n") || len(path) > 20 {
			return
		}
		s := newQuietSite(t)
		for _, key := range []string{server, public} {
			req := httptest.NewRequest("POST", "/v1/t", strings.NewReader(body))
			req.URL.Path = "/v1/" + path
			req.Header.Set("Authorization", basic(key))
			w := httptest.NewRecorder()
			s.c.Handler().ServeHTTP(w, req)
			if w.Code != 200 && w.Code != 400 && w.Code != 404 && w.Code != 405 {
				t.Errorf("answered %d %s", w.Code, w.Body)
			}
		}
		touches, entries := s.took()
		for i, x := range touches {
			if e := entries[i]; e.Occurred.After(start) || e.Occurred.Year() < 1900 || len(x.ID) > 110 {
				t.Errorf("%s at %s", x.ID, e.Occurred)
			}
			if !x.Trusted && (len(x.Identifiers) != 1 || !strings.HasPrefix(x.Identifiers[0], "anonymous_id:") || x.Alias != "") {
				t.Errorf("a page speaks of %q", x.Identifiers)
			}
			if x.Order != nil && (x.Order.ID == "" || x.Order.Value < 0 || math.IsInf(x.Order.Value, 0)) {
				t.Errorf("order %+v", x.Order)
			}
		}
	})
}
