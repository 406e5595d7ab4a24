package engage_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

var nine = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// recorder is the "tracks" of a store, and an install's state before it.
type recorder struct {
	t      testing.TB
	state  engage.Tracks
	chunks map[string]*engage.TrackChunk
	seq    uint64
}

func (r *recorder) add(fixes ...geo.TrackFix) {
	r.t.Helper()
	for _, f := range fixes {
		r.seq++
		next, done, err := r.state.Add(f, r.seq)
		if err != nil {
			r.t.Fatal(err)
		}
		r.state = next
		for _, o := range done {
			r.record(o)
		}
	}
}

func (r *recorder) record(o engage.OpenTrack) {
	r.t.Helper()
	c := o.Chunk("phone-1", "ada")
	if r.chunks == nil {
		r.chunks = map[string]*engage.TrackChunk{}
	}
	if r.chunks[c.ID] != nil {
		r.t.Fatalf("%s is recorded a second time", c.ID)
	}
	body, err := json.Marshal(c)
	if err != nil {
		r.t.Fatal(err)
	}
	var read engage.TrackChunk
	if err := json.Unmarshal(body, &read); err != nil {
		r.t.Fatal(err)
	}
	r.chunks[c.ID] = &read
}

// all is every fix, recorded or open, by time.
func (r *recorder) all() []geo.TrackFix {
	var out []geo.TrackFix
	for _, c := range r.chunks {
		out = append(out, c.Track.Fixes()...)
	}
	for _, o := range r.state.Open() {
		out = append(out, o.Track.Fixes()...)
	}
	slices.SortFunc(out, byTime)
	return out
}

func byTime(a, b geo.TrackFix) int { return a.At.Compare(b.At) }

// walkFor is a fix each step, each at another place.
func walkFor(from time.Time, d, step time.Duration) []geo.TrackFix {
	var out []geo.TrackFix
	for at := time.Duration(0); at < d; at += step {
		out = append(out, geo.TrackFix{
			At: from.Add(at), Pos: geo.Point{Lat: math.Round(523700000+float64(at/time.Second)*90) / 1e7, Lng: 4.8952}, AccuracyM: 12,
		})
	}
	return out
}

func TestTracksMakeOneChunkAnHour(t *testing.T) {
	r := recorder{t: t}
	day := walkFor(nine.Add(10*time.Minute), 5*time.Hour, 36*time.Second)
	r.add(day...)
	if got := slices.Sorted(maps.Keys(r.chunks)); len(got) != 4 || !strings.HasPrefix(got[0], "phone-1/2026-03-02T09:00:00Z/") {
		t.Errorf("chunks %q, want those of four hours", got)
	}
	if open := r.state.Open(); len(open) != 2 || !open[0].Track.Hour().Equal(nine.Add(4*time.Hour)) {
		t.Errorf("open: %d", len(open))
	}
	if !slices.Equal(r.all(), day) {
		t.Error("fixes are missing or changed")
	}
	for id, c := range r.chunks {
		if id != c.ID || c.V != 1 || c.Profile != "ada" || c.Install != "phone-1" || c.N != len(c.Track.Fixes()) ||
			!c.Hour.Equal(geo.HourOf(c.From)) || c.HourUS != c.Hour.UnixMicro() || c.Until.Before(c.From) {
			t.Errorf("chunk %+v", c)
		}
	}
}

func TestTracksOfAPhoneInTheForegroundAreParts(t *testing.T) {
	r := recorder{t: t}
	hour := walkFor(nine, time.Hour, time.Second)
	r.add(hour...)
	if len(r.chunks) < 5 || len(r.chunks) > 60 {
		t.Errorf("%d parts of an hour of 3,600 fixes", len(r.chunks))
	}
	if size := r.state.Head.Track.Size(); size > engage.TrackPartBytes+21 {
		t.Errorf("%d bytes stand in the state", size)
	}
	if !slices.Equal(r.all(), hour) {
		t.Error("fixes are missing or changed")
	}
}

// A phone comes back with hours of fixes while it goes on sending live ones.
func TestTracksOfABacklogBesideLiveFixes(t *testing.T) {
	r := recorder{t: t}
	backlog := walkFor(nine, 4*time.Hour, time.Minute)
	live := walkFor(nine.Add(6*time.Hour), 4*time.Minute, time.Second)
	for i, f := range live {
		r.add(f, backlog[i])
	}
	if !slices.Equal(r.all(), slices.Concat(backlog, live)) {
		t.Error("fixes are missing or changed")
	}
	if len(r.chunks) > 8 {
		t.Errorf("%d chunks of four hours and a live minute or two: they were torn to pieces", len(r.chunks))
	}
}

// What comes for an hour that is recorded becomes another part of it.
func TestTracksOfAnHourThatIsRecordedAlready(t *testing.T) {
	r := recorder{t: t}
	r.add(walkFor(nine, 3*time.Hour, 5*time.Minute)...)
	late := walkFor(nine.Add(30*time.Second), 10*time.Minute, time.Minute)
	for i := range late {
		late[i].Flags = geo.TrackLate
	}
	r.add(late...)
	for _, o := range r.state.Open() {
		r.record(o)
	}
	parts := 0
	for id := range r.chunks {
		if strings.HasPrefix(id, "phone-1/2026-03-02T09:00:00Z/") {
			parts++
		}
	}
	if parts != 2 {
		t.Errorf("%d parts of the hour, want 2: in %q", parts, slices.Sorted(maps.Keys(r.chunks)))
	}
	r.state = engage.Tracks{}
	if got := len(r.all()); got != 46 {
		t.Errorf("%d fixes, want 46", got)
	}
}

// Fixes in any order, with restarts anywhere: every fix is kept once, and the
// chunks are those that were made without restarts.
func TestTracksInAnyOrderWithRestartsKeepEveryFix(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	fixes := walkFor(nine, 6*time.Hour, 90*time.Second)
	for range 20 {
		shuffled := slices.Clone(fixes)
		for i := range shuffled { // mostly in order, some far away
			j := min(len(shuffled)-1, i+rnd.IntN(20))
			if rnd.IntN(20) == 0 {
				j = rnd.IntN(len(shuffled))
			}
			shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
		}
		steady, restarted := recorder{t: t}, recorder{t: t}
		for _, f := range shuffled {
			steady.add(f)
			restarted.add(f)
			if rnd.IntN(5) == 0 {
				body, err := json.Marshal(restarted.state)
				if err != nil {
					t.Fatal(err)
				}
				restarted.state = engage.Tracks{}
				if err := json.Unmarshal(body, &restarted.state); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !slices.Equal(steady.all(), fixes) {
			t.Fatal("fixes are missing or doubled")
		}
		if !slices.Equal(slices.Sorted(maps.Keys(steady.chunks)), slices.Sorted(maps.Keys(restarted.chunks))) {
			t.Fatal("restarts make other chunks")
		}
		for id, c := range steady.chunks {
			if !slices.Equal(c.Track.Fixes(), restarted.chunks[id].Track.Fixes()) {
				t.Fatalf("restarts give chunk %s other fixes", id)
			}
		}
	}
}

func TestTracksAreLeftAsTheyWereByAnError(t *testing.T) {
	r := recorder{t: t}
	r.add(walkFor(nine, 2*time.Hour, 10*time.Minute)...)
	before := r.state
	for _, f := range []geo.TrackFix{
		{At: nine.Add(5 * time.Hour), Pos: geo.Point{Lat: 91}},
		{At: time.Time{}},
		{At: nine, AccuracyM: math.NaN()},
	} {
		got, done, err := r.state.Add(f, 99)
		if e, ok := errors.AsType[*engage.Error](err); !ok || e.Code != engage.Invalid || e.Field == "" {
			t.Errorf("error %v", err)
		}
		if len(done) > 0 || !reflect.DeepEqual(got, before) {
			t.Error("it changed something")
		}
	}
}

// Two clones of a state grow apart without a trace in each other.
func TestTracksOfClonesAreTheirOwn(t *testing.T) {
	base := recorder{t: t}
	base.add(walkFor(nine, 90*time.Minute, 10*time.Minute)...)
	a, b := recorder{t: t, state: base.state}, recorder{t: t, state: base.state}
	a.add(walkFor(nine.Add(91*time.Minute), 3*time.Hour, 7*time.Minute)...)
	b.add(walkFor(nine.Add(time.Minute), 20*time.Minute, 7*time.Minute)...)
	if got := len(base.all()); got != 9 {
		t.Errorf("the base has %d fixes, want 9", got)
	}
	if got := len(a.all()); got != 9+26 {
		t.Errorf("one clone has %d fixes, want 35", got)
	}
	if got := len(b.all()); got != 9+3 {
		t.Errorf("the other clone has %d fixes, want 12", got)
	}
}

func TestTrackChunkOfTheFirstVersion(t *testing.T) {
	const text = `{"v":1,"id":"phone-1/2026-03-02T09:00:00Z/00000000000000000007","install":"phone-1","profile":"ada","hour":"2026-03-02T09:00:00Z","hour_us":1772442000000000,"from":"2026-03-02T09:00:01.5Z","until":"2026-03-02T09:00:01.5Z","n":1,"data":"ArmGHgEAALgX4Lu48wOAy9cu+gE="}`
	var o engage.OpenTrack
	var err error
	o.Seq = 7
	o.Track, err = o.Track.Add(geo.TrackFix{At: nine.Add(1500 * time.Millisecond), Pos: geo.Point{Lat: 52.3702, Lng: 4.8952}, AccuracyM: 12.5})
	if err != nil {
		t.Fatal(err)
	}
	c := o.Chunk("phone-1", "ada")
	body, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if string(body) != text {
		t.Errorf("written as %s", body)
	}
	var read engage.TrackChunk
	if err := json.Unmarshal([]byte(text), &read); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(read.Track.Fixes(), o.Track.Fixes()) || read.ID != c.ID || !read.Hour.Equal(c.Hour) {
		t.Errorf("read as %+v", read)
	}
	if err := json.Unmarshal([]byte(`{"v":1,"data":"CQ=="}`), &read); err == nil {
		t.Error("a track of another version was read")
	}
}

// What the recorded phone-days take in the store: whole documents.
func TestTrackChunksOfPhoneDays(t *testing.T) {
	files, err := filepath.Glob("../../../shared/data/traces/emission/*.locations.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("../shared/data/traces/emission is not there")
	}
	var fixes, chunks, bytes, hours int
	for _, path := range files {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		r := recorder{t: t}
		seen := map[time.Time]bool{}
		s := bufio.NewScanner(file)
		for s.Scan() {
			var row struct{ TS, Lat, Lon, Acc float64 }
			if err := json.Unmarshal(s.Bytes(), &row); err != nil {
				t.Fatal(err)
			}
			f := geo.TrackFix{At: time.UnixMicro(int64(row.TS * 1e6)), Pos: geo.Point{Lat: row.Lat, Lng: row.Lon}, AccuracyM: row.Acc}
			seen[geo.HourOf(f.At)] = true
			r.add(f)
		}
		if err := errors.Join(s.Err(), file.Close()); err != nil {
			t.Fatal(err)
		}
		for _, o := range r.state.Open() {
			r.record(o)
		}
		for _, c := range r.chunks {
			body, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			fixes, chunks, bytes = fixes+c.N, chunks+1, bytes+len(body)
		}
		hours += len(seen)
	}
	t.Logf("%d fixes, %d hours, %d chunks, %.1f bytes a fix with the whole document", fixes, hours, chunks, float64(bytes)/float64(fixes))
	if chunks > hours*3/2 {
		t.Errorf("%d chunks for %d hours", chunks, hours)
	}
}
