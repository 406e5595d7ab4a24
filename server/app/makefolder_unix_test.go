//go:build unix

package app_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

type savedPhone struct {
	Token   string `json:"token"`
	NextSeq uint64 `json:"next_seq"`
}

// TestMakeAFolder writes the data folder of this build for TestPhonesOfEarlierBuildsGoOn,
// when an issue closes: FOOTFALL_MAKE_FOLDER=issue4-stopped.tar.gz go test -run
// MakeAFolder ./server/app; and with FOOTFALL_MAKE_FOLDER_OF=killed, which ends in a
// SIGKILL, a text file with the path of the folder to pack.
func TestMakeAFolder(t *testing.T) {
	out, how := os.Getenv("FOOTFALL_MAKE_FOLDER"), os.Getenv("FOOTFALL_MAKE_FOLDER_OF")
	if out == "" {
		t.Skip("makes a folder: set FOOTFALL_MAKE_FOLDER")
	}
	s := newStory(t)
	stores := map[string]*client.MemStore{}
	ring := func(lat, lng, dlat, dlng float64) [][]float64 {
		return [][]float64{{lng - dlng, lat - dlat}, {lng + dlng, lat - dlat}, {lng + dlng, lat + dlat}, {lng - dlng, lat + dlat}, {lng - dlng, lat - dlat}}
	}
	mall := geo.Point{Lat: 52.36, Lng: 4.92}
	poly := func(id, r string, rings ...[][]float64) map[string]any {
		return map[string]any{"id": id, "ring": r, "geometry": map[string]any{"type": "Polygon", "coordinates": rings}}
	}
	s.must("PUT", "/api/v1/places/mall", map[string]any{
		"name": "Mall", "tags": []string{"mall"}, "time_zone": "Europe/Amsterdam", "location": mall,
		"geofences": []any{
			poly("mall-inside", "inside", ring(mall.Lat, mall.Lng, 0.0015, 0.002), ring(mall.Lat+0.001, mall.Lng+0.0012, 0.0002, 0.0003)),
			poly("mall-near", "near", ring(mall.Lat, mall.Lng, 0.004, 0.006)),
		},
	}, nil)
	s.place("cafe", cafe)
	plain := func(transition string, rings ...string) func(map[string]any) {
		return func(c map[string]any) {
			delete(c, "context")
			delete(c, "limits")
			c["trigger"] = map[string]any{"type": "place", "transition": transition, "rings": rings}
			c["arms"] = []any{map[string]any{"id": "a", "message": map[string]any{"title": transition + " at {{ place.name }}", "body": "Hello."}}}
		}
	}
	s.campaign("hello", plain("enter", "near", "inside"))
	s.campaign("goodbye", plain("exit", "inside"))
	s.campaign("rainy-day", func(c map[string]any) {
		c["trigger"] = map[string]any{"type": "place", "transition": "enter", "rings": []string{"near", "inside"}, "places": []string{"cafe"}}
	})
	s.sky.SetFault(outage())
	make1 := func(name string, change func(*client.Options), but ...sdkpb.Consent_Purpose) *phone {
		st := &client.MemStore{}
		stores[name] = st
		return s.phone(name, "android", func(o *client.Options) {
			o.Store = st
			if change != nil {
				change(o)
			}
		}).agree(but...).likes("fashion").background()
	}
	ada := make1("ada", nil).identify("ada")
	ada.post()
	ada.at(mall, 10).post()
	s.want(ada, "hello", engage.Sent, "")
	ben := make1("ben", nil, sdkpb.Consent_PURPOSE_MARKETING)
	ben.at(mall, 10).post()
	s.want(ben, "hello", engage.Suppressed, engage.ReasonConsent)
	eve := make1("eve", func(o *client.Options) { o.Permissions.Notifications = sdkpb.Permissions_NOTIFICATIONS_DENIED })
	eve.at(mall, 10).post()
	s.eventually("inbox", func() bool { return s.inInbox(eve, "hello", "no_permission") })
	gil := make1("gil", nil)
	gil.at(mall, 10).post()
	s.want(gil, "hello", engage.Sent, "")
	s.clock.Advance(2 * time.Minute)
	gil.at(far, 10).post()
	s.clock.Advance(time.Minute)
	gil.at(far, 10).post()
	s.want(gil, "goodbye", engage.Sent, "")
	ada.at(mall, 10).post() // still there
	// A pending timer: her message waits for weather.
	cid := make1("cid", nil)
	cid.at(cafe, 10).post()
	s.eventually("it waits for weather", func() bool {
		ds := s.decisions(cid, "rainy-day")
		return len(ds) > 0 && ds[len(ds)-1].State == engage.Pending
	})
	hal := make1("hal", nil)
	s.eventually("pushes are with their phones", func() bool { return len(s.pushesTo(ada)) == 1 && len(s.pushesTo(gil)) == 2 })
	ended := s.clock.Now()
	save := func() {
		for _, p := range s.phones {
			s.eventually("all is said", func() bool { p.post(); return p.Pending() == 0 })
		}
		phones := map[string]savedPhone{}
		for name, st := range stores {
			v, err := st.Load()
			if err != nil || len(v.Items) > 0 {
				t.Fatal(name, err, len(v.Items))
			}
			phones[name] = savedPhone{v.Token, v.NextSeq}
		}
		b, _ := json.MarshalIndent(map[string]any{"admin_key": s.key, "app_key": s.keys["android"], "at": ended, "phones": phones}, "", " ")
		if err := os.WriteFile(filepath.Join(s.opts.Config.DataDir, "phones.json"), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if how == "killed" {
		if err := s.app.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		hal.at(mall, 10).post() // acknowledged; its effects may be anywhere
		save()
		if err := os.WriteFile(out, []byte(s.opts.Config.DataDir), 0o600); err != nil {
			t.Fatal(err)
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	hal.at(mall, 10).post()
	s.want(hal, "hello", engage.Sent, "")
	s.eventually("hal has it", func() bool { return len(s.pushesTo(hal)) == 1 })
	s.settle()
	save()
	s.stop()
	if b, err := exec.CommandContext(t.Context(), "tar", "--exclude", "*-shm", "-C", s.opts.Config.DataDir, "-czf", out, ".").CombinedOutput(); err != nil {
		t.Fatal(err, string(b))
	}
}
