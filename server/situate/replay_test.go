package situate_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/situate"
)

// story is a bit of everything, for tests that compare runs.
func story(t *testing.T) []engage.Entry {
	t.Helper()
	es := []engage.Entry{session(t, 0)}
	seq := uint64(0)
	add := func(at time.Duration, items ...*sdkpb.Item) {
		for _, it := range items {
			seq++
			es = append(es, entry(seq, at, it))
		}
	}
	for _, c := range allConsents {
		add(0, consent(c, true))
	}
	add(0, consent(sdkpb.Consent_PURPOSE_MARKETING, true))
	add(10*sec, fix(east(1000), 20), fix(east(250), 10))
	es = append(es, weather(t, 11*sec, time.Minute))
	add(20*sec, region("cafe-in", enter), fix(shop, 10), pushToken("second"))
	add(15*sec, fix(east(2000), 10)) // late
	add(5*time.Minute, fix(east(2000), 10), region("cafe-in", enter))
	seq += 3 // a hole
	add(6*time.Minute, consent(sdkpb.Consent_PURPOSE_LOCATION_PRECISE, false), fix(east(1), 10))
	add(7*time.Minute, consent(sdkpb.Consent_PURPOSE_LOCATION_PRECISE, true), fix(east(2), 10))
	return es
}

func TestTheSameEntriesGiveTheSameBytes(t *testing.T) {
	run := func(reload bool) string {
		p := newPhone(t)
		p.Reload = reload
		p.apply(story(t)...)
		return p.Dump()
	}
	once := run(false)
	if again := run(false); again != once {
		t.Errorf("a second run differs:\n%s\n%s", once, again)
	}
	if reloaded := run(true); reloaded != once {
		t.Errorf("with states decoded before every entry it differs:\n%s\n%s", once, reloaded)
	}
}

// The bytes of every version stay readable: when the format changes, the old files
// stay and new ones join them.
func TestStatesOfEveryVersionAreReadable(t *testing.T) {
	old, err := os.ReadFile(filepath.Join("testdata", "install_v1.json"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := situate.Machine{}.Decode(key, old)
	if err != nil {
		t.Fatal(err)
	}
	if in, ok := s.(*situate.Install); !ok || in.V != 2 || len(in.Places()) != 1 || in.Fix == nil {
		t.Errorf("version 1 became %+v", s)
	}
	if old, err = os.ReadFile(filepath.Join("testdata", "install_v2_issue5.json")); err != nil {
		t.Fatal(err)
	}
	if s, err = (situate.Machine{}).Decode(key, old); err != nil {
		t.Fatal(err)
	}
	if again, err := s.Encode(); err != nil || !bytes.Equal(again, bytes.TrimSpace(old)) {
		t.Errorf("of issue 5 it is now written as\n%s\nkept:\n%s", again, old)
	}

	p := newPhone(t)
	p.apply(story(t)...)
	for _, o := range p.Take() { // the same partition owns the tokens
		if o.Entry.Kind == engage.KindTokenClaim {
			p.apply(o.Entry)
		}
	}
	cell, _ := geo.CellOf(shop, engage.WeatherResolution)
	for name, k := range map[string]string{
		"install_v2.json": key,
		"weather_v1.json": engage.WeatherKey(cell.String()) + "@in/0",
		"slot_v1.json":    engage.TokenKey(ws, "shop-android", "fcm", "second"),
	} {
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, append(p.Bytes(k), '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		kept, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s, err := situate.Machine{}.Decode(k, kept)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, bytes.TrimSpace(kept)) {
			t.Errorf("%s is now written as\n%s\nkept:\n%s", name, again, kept)
		}
		if now := p.Bytes(k); !bytes.Equal(now, bytes.TrimSpace(kept)) {
			t.Errorf("%s: the same story gives\n%s\nkept:\n%s", name, now, kept)
		}
		for _, bad := range []string{"", "null", "[]", "{}", `{"v":3}`, string(kept[:len(kept)/2])} {
			if _, err := (situate.Machine{}).Decode(k, []byte(bad)); err == nil {
				t.Errorf("%s: %q was read", name, bad)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("acme/i:x", []byte(`{"v":1,"accepted":[[1,2]],"visits":{"a":{"id":"x","fences":["f"]}}}`))
	f.Add("_/w:851f1d4bfffffff@in/0", []byte(`{"v":1}`))
	f.Add("", []byte(`{}`))
	f.Fuzz(func(t *testing.T, key string, body []byte) {
		s, err := situate.Machine{}.Decode(key, body)
		if err != nil {
			return
		}
		if _, err := s.Clone().Encode(); err != nil {
			t.Errorf("decoded, but not encoded: %v", err)
		}
	})
}

func TestNearestIsOfTheWorkspace(t *testing.T) {
	c := config(t, cafe(shop))
	if hits := c.Nearest(ws, shop, 5, nil); len(hits) != 2 {
		t.Errorf("%d hits, want 2", len(hits))
	}
	if hits := c.Nearest("rival", shop, 5, nil); len(hits) != 0 {
		t.Errorf("another workspace sees %v", hits)
	}
}

func TestBadPlacesAreRefused(t *testing.T) {
	bad := cafe(shop)
	bad.Geofences[0].Shape = geo.Circle{Around: shop, RadiusM: -1}
	if _, err := situate.NewConfig(nil, []situate.Workspace{{ID: bad.Workspace, Places: []*engage.Place{bad}}}); err == nil {
		t.Error("a radius of -1 was indexed")
	}
}
