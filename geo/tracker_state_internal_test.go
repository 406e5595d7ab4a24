package geo

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// A state is written by hand, to save time, as encoding/json would write it.
func TestATrackerIsWrittenAsEncodingJSONWould(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 52))
	number := func() int64 { return int64(r.Uint64()>>r.IntN(64)) * int64(r.IntN(3)-1) }
	float := func() float64 {
		for {
			v := []float64{0, math.Copysign(0, -1), 52.1, 1e-7, -1e-6, 9.99e-7, 1e21, 9e20, 1e-12, 3e-100, math.Float64frombits(r.Uint64())}[r.IntN(11)]
			if !math.IsNaN(v) && !math.IsInf(v, 0) {
				return v
			}
		}
	}
	fix := func() (s sample) {
		if r.IntN(2) == 0 {
			s = sample{At: number(), Pos: Point{Lat: float(), Lng: float()}, Acc: float(), First: number()}
		}
		return s
	}
	lists := func() (m moment) {
		for range r.IntN(3) {
			m.In = append(m.In, presence{Fence: "<f\u2028é\">", Place: "p", Inside: true, Since: number()})
		}
		for range r.IntN(3) {
			m.Stays = append(m.Stays, stay{ID: "&", Since: number(), Fences: []string{"a"}})
		}
		m.Fix, m.Suspect = fix(), fix()
		return m
	}
	for range 5000 {
		tr := Tracker{newest: number(), through: number(), settled: lists(), live: lists()}
		for range r.IntN(4) {
			tr.window = append(tr.window, clue{at: number(), seq: r.Uint64(), lat: r.Int32(), lng: r.Int32(), acc: r.Uint32(), bits: clueLocated})
		}
		if r.IntN(2) == 0 {
			tr.known = []known{{ID: "x", Place: "<y>", Since: number()}}
		}
		want, err := json.Marshal(trackerJSON{
			V: trackerVersion, Newest: tr.newest, Through: tr.through, Settled: tr.settled, Live: tr.live,
			Window: packClues(nil, tr.window), Known: tr.known,
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(tr)
		if err != nil || string(got) != string(want) {
			t.Fatalf("%v\n%s\nwant\n%s", err, got, want)
		}
	}
	var track Track
	for i := range 20 {
		got, err := json.Marshal(track)
		want, wantErr := json.Marshal(track.Bytes())
		if err != nil || wantErr != nil || string(got) != string(want) {
			t.Fatalf("%v, %v: %s, want %s", err, wantErr, got, want)
		}
		if track, err = track.Add(TrackFix{At: time.Unix(int64(1000+i), 0), Pos: Point{Lat: float64(i), Lng: 5}}); err != nil {
			t.Fatal(err)
		}
	}
}
