package app_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/engage"
)

// earlier is what the phones of an earlier build's folder know: phones.json in it.
type earlier struct {
	AdminKey string    `json:"admin_key"`
	AppKey   string    `json:"app_key"` // of the app "android"
	At       time.Time `json:"at"`      // by the server's clock, at the end
	Phones   map[string]struct {
		Token   string `json:"token"`
		NextSeq uint64 `json:"next_seq"`
	} `json:"phones"`
}

// In the folders of issues 3 to 8 a mall has two polygons, one with a hole, a café has
// circles. "hello" greets who comes, "goodbye" who leaves the inside, "rainy-day"
// wants weather, and there was none. Ada and Ben (no marketing) are in the mall;
// Eve is, too, and has her hello in the inbox; Gil came, was greeted and left; Cid is
// in the café and his message waits for weather by a timer. Hal enters the mall last:
// in the folder of the server that was killed -9, it had just acknowledged him.
//
// TestMakeAFolder tells this story with the build's own newStory, saves what its
// clients' stores hold, and then stops the server and packs the folder, or saves the
// states (Flush), posts Hal's fix, and sends itself SIGKILL. Those of a build are made
// when its issue closes.
func TestPhonesOfEarlierBuildsGoOn(t *testing.T) {
	folders, err := filepath.Glob("testdata/folders/issue[3-9]-*.tar.gz")
	if err != nil || len(folders) < 4 {
		t.Fatalf("%d folders, %v", len(folders), err)
	}
	for _, path := range folders {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".tar.gz"), func(t *testing.T) { phonesGoOn(t, path) })
	}
}

func phonesGoOn(t *testing.T, archive string) {
	t.Helper()
	mall := geo.Point{Lat: 52.36, Lng: 4.92}
	s, were := reopen(t, archive)
	s.settle()

	var place struct {
		Geofences []struct {
			Geometry struct {
				Type        string
				Coordinates []json.RawMessage
			}
		}
	}
	s.must("GET", "/api/v1/places/mall", nil, &place)
	if f := place.Geofences; len(f) != 2 || f[0].Geometry.Type != "Polygon" || len(f[0].Geometry.Coordinates) != 2 || len(f[1].Geometry.Coordinates) != 1 {
		t.Errorf("the mall's geofences are %+v", f)
	}
	phones := map[string]*phone{}
	for name, was := range were.Phones {
		store := new(client.MemStore)
		// Its queue is empty; what it gave out before is known by the next number.
		if err := store.Append(&sdkpb.Item{Seq: was.NextSeq - 1}); err != nil {
			t.Fatal(err)
		}
		if err := store.Remove([]uint64{was.NextSeq - 1}); err != nil {
			t.Fatal(err)
		}
		if err := store.SetToken(was.Token); err != nil {
			t.Fatal(err)
		}
		phones[name] = s.phone(name, "android", func(o *client.Options) { o.Store = store })
		var person struct {
			Identifiers []string
			Consents    map[engage.Purpose]struct{ Granted bool }
			Devices     []struct{ Install string }
		}
		s.must("GET", "/api/v1/people/install:install-"+name, nil, &person)
		if len(person.Devices) != 1 || person.Devices[0].Install != "install-"+name {
			t.Errorf("%s has the devices %+v", name, person.Devices)
		}
		if !person.Consents[engage.ConsentLocationPrecise].Granted || person.Consents[engage.ConsentMarketing].Granted != (name != "ben") {
			t.Errorf("%s agreed to %+v", name, person.Consents)
		}
		if name == "ada" && !slices.Contains(person.Identifiers, "user_id:ada") {
			t.Errorf("Ada is known as %v", person.Identifiers)
		}
	}
	ada, hal := phones["ada"], phones["hal"]
	if !s.inInbox(phones["eve"], "hello", "no_permission") {
		t.Error("Eve's inbox is empty")
	}
	if ds := s.decisions(phones["gil"], "goodbye"); len(ds) != 1 || ds[0].State != engage.Sent {
		t.Errorf("Gil's goodbye is %+v", ds)
	}
	if ds := s.decisions(phones["cid"], "rainy-day"); len(ds) == 0 {
		t.Error("Cid's decision is lost")
	}
	s.eventually("Hal's arrival is decided", func() bool { return len(s.decisions(hal, "hello")) > 0 })

	// Whoever is inside and says so again has not come again.
	hellos := map[string]int{}
	for name, p := range phones {
		hellos[name] = len(s.decisions(p, "hello"))
	}
	for range 3 {
		s.clock.Advance(20 * time.Second)
		for _, name := range []string{"ada", "ben", "eve", "hal"} {
			phones[name].at(mall, 10).post()
		}
	}
	s.settle()
	for name, p := range phones {
		ds := s.decisions(p, "hello")
		if len(ds) != hellos[name] {
			t.Errorf("%s was decided on %d times before, %d after: a second enter of one visit", name, hellos[name], len(ds))
		}
		let := 0
		for _, d := range ds {
			if d.State != engage.Suppressed {
				let++
			}
		}
		if most := map[bool]int{true: 0, false: 1}[name == "ben" || name == "cid"]; name != "cid" && let != most {
			t.Errorf("%s has %d hellos, want %d: %+v", name, let, most, ds)
		}
	}

	// Who leaves leaves the visit that began before the upgrade.
	for range 3 {
		s.clock.Advance(time.Minute)
		ada.at(far, 10).post()
		hal.at(far, 10).post()
	}
	for _, p := range []*phone{ada, hal} {
		s.eventually(p.name+" has left", func() bool { return len(s.decisions(p, "goodbye")) > 0 })
		came, left := s.decisions(p, "hello")[0].Trigger, s.decisions(p, "goodbye")
		if len(left) != 1 || left[0].Trigger.Occasion != came.Occasion || left[0].Trigger.Transition != engage.Exit {
			t.Errorf("%s came by %+v and left by %+v", p.name, came, left)
		}
		if len(p.rejects) > 0 {
			t.Errorf("%s was refused %v", p.name, p.rejects)
		}
	}
	var quarantine struct{ Items []json.RawMessage }
	s.must("GET", "/api/v1/quarantine", nil, &quarantine)
	if len(quarantine.Items) > 0 {
		t.Errorf("set aside: %s", quarantine.Items)
	}
}

// reopen starts this build on the folder, a minute after it was left. No provider
// answers.
func reopen(t *testing.T, archive string) (*story, earlier) {
	t.Helper()
	s := &story{t: t, dir: t.TempDir(), start: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC), keys: map[string]string{}}
	c := config.Default()
	c.DataDir, c.Listen, c.Partitions = filepath.Join(s.dir, "data"), "127.0.0.1:0", 2
	if err := os.Mkdir(c.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	unpack(t, archive, c.DataDir)
	b, err := os.ReadFile(filepath.Join(c.DataDir, "phones.json"))
	if err != nil {
		t.Fatal(err)
	}
	var were earlier
	if err := json.Unmarshal(b, &were); err != nil || len(were.Phones) != 6 {
		t.Fatalf("%d phones, %v", len(were.Phones), err)
	}
	c.Providers.FCM.Endpoint = "http://127.0.0.1:1" // nobody listens there
	s.key, s.keys["android"] = were.AdminKey, were.AppKey
	s.clock = clock.NewManual(were.At.Add(time.Minute))
	s.opts = app.Options{Config: c, Clock: s.clock, Version: "later"}
	s.serve()
	t.Cleanup(func() { s.stop() })
	return s, were
}
