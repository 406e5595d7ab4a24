package app_test

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/catalog"
)

type nearAnswer struct {
	Items []struct {
		Profile, Install, Platform string
		DistanceM                  float64 `json:"distance_m"`
		AccuracyM                  float64 `json:"accuracy_m"`
		AgeS                       float64 `json:"age_s"`
		Places                     []string
	}
	Truncated bool
	Match     *struct{ Matched, Unreadable int }
}

// near is who is near the café, as the marketer's key sees it.
func (s *story) near(query string) (a nearAnswer) {
	s.t.Helper()
	s.settle()
	s.must("GET", "/api/v1/places/cafe/nearby?"+query, nil, &a)
	return a
}

func (s *story) wantNear(query string, installs ...string) nearAnswer {
	s.t.Helper()
	a := s.near(query)
	got := []string{}
	for _, x := range a.Items {
		got = append(got, x.Install)
	}
	if fmt.Sprint(got) != fmt.Sprint(installs) {
		s.t.Fatalf("near the café are %v, want %v", got, installs)
	}
	return a
}

// north of the café by so many metres.
func north(m float64) geo.Point { return geo.Point{Lat: cafe.Lat + m/111_250, Lng: cafe.Lng} }

// A phone walks to the café and is found, until it walks on or falls silent.
func TestWhoIsNearAPlaceIsFound(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	s.wantNear("")
	ada := s.phone("ada", "android", nil).agree().likes("fashion").background()
	ben := s.phone("ben", "android", nil).agree().likes("books").background()
	s.wantNear("") // known, but nobody knows where
	ada.at(north(400), 10).post()
	ben.at(north(30), 25).post()
	s.wantNear("radius_m=300", "install-ben")
	s.clock.Advance(time.Minute)
	ada.at(north(20), 10).post()
	a := s.wantNear("radius_m=300", "install-ada", "install-ben")
	if x := a.Items[0]; x.Profile != ada.profile || x.Platform != "android" || x.DistanceM < 19 || x.DistanceM > 21 || x.AccuracyM != 10 || x.AgeS != 0 || fmt.Sprint(x.Places) != "[cafe]" {
		t.Errorf("Ada is %+v", x)
	}
	if x := a.Items[1]; x.AgeS != 60 {
		t.Errorf("Ben is %+v", x)
	}
	// Only who likes fashion: their persons are read as committed.
	if err := s.app.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	match := "match=" + url.QueryEscape(`{"field":"likes","op":"contains","value":"fashion"}`)
	if a := s.wantNear(match, "install-ada"); a.Match.Matched != 1 || a.Match.Unreadable != 0 {
		t.Errorf("matched %+v", a.Match)
	}
	if a := s.wantNear("limit=1", "install-ada"); !a.Truncated {
		t.Error("an answer that leaves Ben out does not say so")
	}
	// Another item without a fix does not make the fix younger.
	s.clock.Advance(14*time.Minute + 30*time.Second)
	ben.likes("chess").post()
	s.wantNear("", "install-ada")
	ada.at(far, 10).post()
	s.wantNear("")
	s.clock.Advance(16 * time.Minute)
	s.eventually("the silent are forgotten", func() bool { return s.app.LiveDevices() == 0 })
}

// Consent goes, and with it the position, at once; without consent to precise
// location there never was one.
func TestWhoTakesConsentBackIsGone(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	ada := s.phone("ada", "android", nil).agree().background()
	ben := s.phone("ben", "android", nil).agree().background()
	cleo := s.phone("cleo", "android", nil).agree(sdkpb.Consent_PURPOSE_LOCATION_PRECISE).background()
	for i, p := range []*phone{ada, ben, cleo} {
		p.at(north(float64(10*i)), 10).post()
	}
	s.wantNear("radius_m=20000", "install-ada", "install-ben")
	ada.SetConsent(sdkpb.Consent_PURPOSE_LOCATION_PRECISE, false, "v1", "settings")
	ada.post()
	s.wantNear("radius_m=20000", "install-ben")
	ada.at(cafe, 10).post() // kept as a coarse cell
	s.wantNear("radius_m=20000", "install-ben")
	ben.SetConsent(sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND, false, "v1", "settings")
	ben.SetConsent(sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND, false, "v1", "settings")
	ben.post()
	s.wantNear("radius_m=20000")
	if n := s.app.LiveDevices(); n != 0 {
		t.Errorf("%d positions are kept", n)
	}
	ada.SetConsent(sdkpb.Consent_PURPOSE_LOCATION_PRECISE, true, "v1", "settings")
	s.clock.Advance(time.Second)
	ada.at(cafe, 10).post()
	s.wantNear("", "install-ada")
}

func TestARestartKnowsWhoIsNear(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	ada := s.phone("ada", "android", nil).agree().background()
	ben := s.phone("ben", "android", nil).agree().background()
	cleo := s.phone("cleo", "android", nil).agree().background()
	ada.at(north(10), 10).post()
	s.clock.Advance(10 * time.Minute)
	ben.at(north(20), 10).post()
	cleo.at(north(30), 10).post()
	cleo.SetConsent(sdkpb.Consent_PURPOSE_LOCATION_PRECISE, false, "v1", "settings")
	cleo.post()
	s.wantNear("", "install-ada", "install-ben")
	s.stop()
	s.phones = nil
	s.clock.Advance(6 * time.Minute) // meanwhile Ada's fix has grown old
	s.serve()
	s.wantNear("", "install-ben")
	if n := s.app.LiveDevices(); n != 1 {
		t.Errorf("%d positions are kept, of one who is live", n)
	}
}

// Two workspaces with the same place: each sees its own visitors only.
func TestNobodyIsNearInAnotherWorkspace(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	s.phone("ada", "android", nil).agree().background().at(cafe, 10).post()
	s.wantNear("", "install-ada")

	ctx := t.Context()
	if err := s.app.Catalog().PutWorkspace(ctx, "test", &catalog.Workspace{ID: "other", Name: "Other"}, 0); err != nil {
		t.Fatal(err)
	}
	k, token := catalog.NewKey("other", "test", catalog.Admin)
	if err := s.app.Catalog().PutKey(ctx, "test", k, 0); err != nil {
		t.Fatal(err)
	}
	first := s.key
	s.key = token.Reveal()
	s.place("cafe", cafe)
	s.wantNear("")
	var made struct{ Key string }
	s.must("POST", "/api/v1/apps", map[string]any{"id": "other-app", "name": "Other", "platform": "android"}, &made)
	s.keys["other"] = made.Key
	s.phone("eve", "other", nil).agree().background().at(north(5), 10).post()
	s.phone("ada", "other", nil).agree().background().at(north(15), 10).post() // the same install id as in the first
	s.wantNear("", "install-eve", "install-ada")
	s.key = first
	if a := s.wantNear("", "install-ada"); a.Items[0].DistanceM > 1 {
		t.Errorf("the other workspace's Ada is shown: %+v", a.Items[0])
	}
	var heat struct{ Cells []any }
	s.must("GET", "/api/v1/heat?bbox=4,52,6,53&resolution=4", nil, &heat)
	if len(heat.Cells) != 0 {
		t.Errorf("one device here and two there are counted together: %v", heat.Cells)
	}
}

// Four people are no heat; five are, from the next map on.
func TestHeatNeedsFive(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	cells := func(resolution int) (counts []int) {
		t.Helper()
		s.settle()
		var heat struct {
			Least int
			Cells []struct{ Count int }
		}
		s.must("GET", fmt.Sprintf("/api/v1/heat?bbox=4,52,6,53&resolution=%d", resolution), nil, &heat)
		for _, c := range heat.Cells {
			counts = append(counts, c.Count)
		}
		if heat.Least != 5 {
			t.Errorf("least %d", heat.Least)
		}
		return counts
	}
	for i := range 4 {
		s.phone(fmt.Sprint("p", i), "android", nil).agree().background().at(cafe, 10).post()
	}
	if got := cells(4); got != nil {
		t.Errorf("four are shown: %v", got)
	}
	s.phone("p4", "android", nil).agree().background().at(cafe, 10).post()
	if got := cells(4); got != nil {
		t.Errorf("the map has changed within 15 s: %v", got)
	}
	s.clock.Advance(15 * time.Second)
	for _, resolution := range []int{4, 8, 10} {
		if got := cells(resolution); fmt.Sprint(got) != "[5]" {
			t.Errorf("resolution %d: %v", resolution, got)
		}
	}
	// A sixth, alone elsewhere: the five would give her away, one level up.
	s.clock.Advance(15 * time.Second)
	s.phone("p5", "android", nil).agree().background().at(north(3000), 10).post()
	sum := 0
	for resolution := 4; resolution <= 10; resolution++ {
		got := cells(resolution)
		for _, n := range got {
			if n != 5 && n != 6 {
				t.Errorf("resolution %d: %v", resolution, got)
			}
			sum += n
		}
		if resolution == 4 && fmt.Sprint(got) != "[6]" || resolution == 10 && got != nil {
			t.Errorf("resolution %d: %v", resolution, got)
		}
	}
	if sum%6 != 0 {
		t.Error("the five are shown beside the six: the sixth is given away")
	}
}
