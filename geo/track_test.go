package geo_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
)

var hourStart = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// trackOf adds fixes, all of which it must take.
func trackOf(t testing.TB, of geo.Track, fixes ...geo.TrackFix) geo.Track {
	t.Helper()
	for _, f := range fixes {
		var err error
		if of, err = of.Add(f); err != nil {
			t.Fatal(err)
		}
	}
	return of
}

// wanderTrack is n fixes in the hour, a few of each kind.
func wanderTrack(r *rand.Rand, n int) []geo.TrackFix {
	out := make([]geo.TrackFix, n)
	p := geo.Point{Lat: 52.3, Lng: 4.9}
	for i := range out {
		p.Lat, p.Lng = p.Lat+r.NormFloat64()*2e-4, p.Lng+r.NormFloat64()*2e-4
		out[i] = geo.TrackFix{
			At: hourStart.Add(time.Duration(i) * time.Hour / time.Duration(n)), Pos: p, AccuracyM: float64(r.IntN(4)) * 12.5,
		}
		if r.IntN(4) == 0 {
			out[i].Flags, out[i].Evidence = geo.TrackFlags(r.IntN(32)), geo.TrackEvidence(r.IntN(3))
		}
	}
	return out
}

// keptFix is what a Track keeps of a fix.
func keptFix(f geo.TrackFix) geo.TrackFix {
	f.At = f.At.Truncate(time.Millisecond).UTC()
	f.Pos.Lat, f.Pos.Lng = math.Round(f.Pos.Lat*1e7)/1e7, math.Round(f.Pos.Lng*1e7)/1e7
	return f
}

func TestTrackKeepsWhatItSays(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	fixes := wanderTrack(r, 400)
	// The corners of what can be.
	fixes = append(fixes,
		geo.TrackFix{At: hourStart, Pos: geo.Point{Lat: 90, Lng: 180}, AccuracyM: 1e6, Flags: 255, Evidence: 255},
		geo.TrackFix{At: hourStart.Add(time.Hour - time.Millisecond), Pos: geo.Point{Lat: -90, Lng: -180}},
		geo.TrackFix{At: hourStart.Add(time.Minute), Pos: geo.Point{Lat: 0, Lng: math.Copysign(0, -1)}, AccuracyM: 0.1},
	)
	want := make([]geo.TrackFix, len(fixes))
	for i, f := range fixes {
		want[i] = keptFix(f)
	}
	slices.SortFunc(want, func(a, b geo.TrackFix) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return int(math.Copysign(1, a.Pos.Lat-b.Pos.Lat))
	})
	tr := trackOf(t, geo.Track{}, fixes...)
	if tr.Len() != len(fixes) || !tr.Hour().Equal(hourStart) {
		t.Errorf("%d fixes of the hour %v", tr.Len(), tr.Hour())
	}
	if from, until := tr.Span(); !from.Equal(hourStart) || !until.Equal(hourStart.Add(time.Hour-time.Millisecond)) {
		t.Errorf("span %v to %v", from, until)
	}
	text, err := json.Marshal(tr)
	if err != nil {
		t.Fatal(err)
	}
	var fromJSON geo.Track
	if err := json.Unmarshal(text, &fromJSON); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]geo.Track{
		"as it is": tr, "decoded": decodeTrack(t, tr.Bytes()), "packed": decodeTrack(t, tr.Pack()), "json": fromJSON,
	} {
		if !slices.Equal(got.Fixes(), want) {
			t.Errorf("%s: other fixes", name)
		}
		if !bytes.Equal(got.Pack(), tr.Pack()) {
			t.Errorf("%s: packs otherwise", name)
		}
		if f, u := got.Span(); got.Len() != tr.Len() || !f.Equal(hourStart) || !u.Equal(hourStart.Add(time.Hour-time.Millisecond)) {
			t.Errorf("%s: %d fixes from %v to %v", name, got.Len(), f, u)
		}
		more := geo.TrackFix{At: hourStart.Add(5 * time.Second), Pos: geo.Point{Lat: 1, Lng: 2}, AccuracyM: 3}
		if longer := trackOf(t, got, more); longer.Len() != tr.Len()+1 || !slices.Contains(longer.Fixes(), more) {
			t.Errorf("%s: cannot be added to", name)
		}
	}
}

func decodeTrack(t testing.TB, b []byte) geo.Track {
	t.Helper()
	tr, err := geo.DecodeTrack(b)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestTrackShuffledPacksAsSorted(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	fixes := wanderTrack(r, 200)
	want := trackOf(t, geo.Track{}, fixes...).Pack()
	for range 20 {
		r.Shuffle(len(fixes), func(i, j int) { fixes[i], fixes[j] = fixes[j], fixes[i] })
		if !bytes.Equal(trackOf(t, geo.Track{}, fixes...).Pack(), want) {
			t.Fatal("the order in which fixes come makes a difference")
		}
	}
}

// A clone of a state shares the bytes of its Track; either may be made longer,
// dropped, or encoded by another goroutine.
func TestTrackClonesDoNotDisturbEachOther(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	type branch struct {
		track geo.Track
		fixes []geo.TrackFix
	}
	branches := []branch{{}}
	var wait sync.WaitGroup
	for i := range 3000 {
		b := branches[r.IntN(len(branches))]
		f := geo.TrackFix{At: hourStart.Add(time.Duration(i) * time.Second), Pos: geo.Point{Lat: float64(i), Lng: r.Float64()}}
		f.Pos.Lat = keptFix(geo.TrackFix{Pos: geo.Point{Lat: math.Mod(f.Pos.Lat, 90)}}).Pos.Lat
		longer := branch{trackOf(t, b.track, f), append(slices.Clone(b.fixes), keptFix(f))}
		if len(branches) < 10 {
			branches = append(branches, longer)
		} else {
			branches[r.IntN(len(branches))] = longer
		}
		if i%50 == 0 { // as a checkpoint beside the loop does
			wait.Go(func() {
				if got := b.track.Fixes(); !slices.Equal(got, b.fixes) {
					t.Errorf("a Track that others were made from has %d fixes, want %d", len(got), len(b.fixes))
				}
			})
		}
	}
	wait.Wait()
	for _, b := range branches {
		if !slices.Equal(b.track.Fixes(), b.fixes) {
			t.Error("a branch has the fixes of another")
		}
	}
}

func TestTrackRefuses(t *testing.T) {
	good := geo.TrackFix{At: hourStart, Pos: geo.Point{Lat: 1, Lng: 2}}
	for name, c := range map[string]struct {
		change func(*geo.TrackFix)
		field  string
	}{
		"another hour":      {func(f *geo.TrackFix) { f.At = f.At.Add(time.Hour) }, "at"},
		"before 1970":       {func(f *geo.TrackFix) { f.At = time.Unix(-1, 0) }, "at"},
		"the zero time":     {func(f *geo.TrackFix) { f.At = time.Time{} }, "at"},
		"year 10000":        {func(f *geo.TrackFix) { f.At = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, "at"},
		"beyond all years":  {func(f *geo.TrackFix) { f.At = time.Unix(math.MaxInt64, 0) }, "at"},
		"latitude 91":       {func(f *geo.TrackFix) { f.Pos.Lat = 91 }, "lat"},
		"longitude NaN":     {func(f *geo.TrackFix) { f.Pos.Lng = math.NaN() }, "lng"},
		"accuracy -1":       {func(f *geo.TrackFix) { f.AccuracyM = -1 }, "accuracy_m"},
		"accuracy NaN":      {func(f *geo.TrackFix) { f.AccuracyM = math.NaN() }, "accuracy_m"},
		"accuracy infinite": {func(f *geo.TrackFix) { f.AccuracyM = math.Inf(1) }, "accuracy_m"},
	} {
		f := good
		c.change(&f)
		tr := trackOf(t, geo.Track{}, good)
		got, err := tr.Add(f)
		e, ok := errors.AsType[*geo.Error](err)
		if !ok || e.Field != c.field {
			t.Errorf("%s: error %v, want one of the field %s", name, err, c.field)
		}
		if got.Len() != 1 {
			t.Errorf("%s: %d fixes, want the one that was there", name, got.Len())
		}
	}
}

func TestTrackRoundsAccuracyToSomething(t *testing.T) {
	for given, want := range map[float64]float64{0: 0, 0.01: 0.1, 12.34: 12.3, 1e9: geo.MaxTrackAccuracyM} {
		tr := trackOf(t, geo.Track{}, geo.TrackFix{At: hourStart, AccuracyM: given})
		if got := tr.Fixes()[0].AccuracyM; got != want {
			t.Errorf("accuracy %v became %v, want %v", given, got, want)
		}
	}
}

func TestTrackLeavesARepetitionOut(t *testing.T) {
	f := geo.TrackFix{At: hourStart.Add(time.Minute), Pos: geo.Point{Lat: 52.3702, Lng: 4.8952}, AccuracyM: 12}
	late := f
	late.Flags = geo.TrackLate
	if got := trackOf(t, geo.Track{}, f, f, f, late, late).Len(); got != 2 {
		t.Errorf("%d fixes, want 2: a fix, and the same with a flag", got)
	}
	if got := trackOf(t, geo.Track{}, geo.TrackFix{At: hourStart}).Len(); got != 1 {
		t.Errorf("the fix at the origin of everything was taken for a repetition: %d", got)
	}
}

// However fixes come, what was taken can be packed and read again.
func TestTrackAtItsLimitCanBeRead(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	var tr geo.Track
	for i := range geo.MaxTrackFixes {
		f := geo.TrackFix{
			At:        hourStart.Add(time.Duration(r.IntN(3600000)) * time.Millisecond),
			Pos:       geo.Point{Lat: float64(i%2)*180 - 90, Lng: float64(i%2)*360 - 180},
			AccuracyM: float64(i%2) * 1e6, Flags: geo.TrackFlags(i % 2),
		}
		tr = trackOf(t, tr, f)
	}
	if tr.Size() > geo.MaxTrackBytes || len(tr.Pack()) > geo.MaxTrackBytes {
		t.Errorf("%d bytes, %d packed", tr.Size(), len(tr.Pack()))
	}
	if got := decodeTrack(t, tr.Pack()); !slices.Equal(got.Fixes(), tr.Fixes()) {
		t.Error("packed and read: other fixes")
	}
	_, err := tr.Add(geo.TrackFix{At: hourStart, Pos: geo.Point{Lat: 1}})
	if err == nil {
		t.Error("a full track took a fix")
	}
}

// Bytes of the first version stay readable.
func TestTrackOfTheFirstVersion(t *testing.T) {
	want := []geo.TrackFix{
		{At: hourStart.Add(1500 * time.Millisecond), Pos: geo.Point{Lat: 52.3702, Lng: 4.8952}, AccuracyM: 12.5},
		{At: hourStart.Add(31500 * time.Millisecond), Pos: geo.Point{Lat: 52.3703, Lng: 4.8951}, AccuracyM: 12.5, Flags: geo.TrackMocked | geo.TrackIgnored},
		{At: hourStart.Add(61500 * time.Millisecond), Pos: geo.Point{Lat: 52.3703, Lng: 4.8951}, AccuracyM: 8, Flags: geo.TrackMocked | geo.TrackIgnored, Evidence: geo.TrackByOSRegion},
	}
	for name, file := range map[string]string{"rows": "track_v1_rows.bin", "packed": "track_v1_packed.bin"} {
		path := filepath.Join("testdata", file)
		if flag.Lookup("update").Value.String() == "true" {
			tr := trackOf(t, geo.Track{}, want...)
			b := tr.Bytes()
			if name == "packed" {
				b = tr.Pack()
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := decodeTrack(t, b).Fixes(); !slices.Equal(got, want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestTrackBytesThatCannotBe(t *testing.T) {
	whole := trackOf(t, geo.Track{}, wanderTrack(rand.New(rand.NewPCG(9, 10)), 50)...)
	for _, b := range [][]byte{whole.Bytes(), whole.Pack()} {
		for n := 1; n < len(b); n++ {
			// A row's end is a whole shorter track.
			if tr, err := geo.DecodeTrack(b[:n]); err == nil && tr.Len() >= whole.Len() {
				t.Fatalf("cut at %d of %d: read all the same", n, len(b))
			}
		}
	}
	zeros := make([]byte, geo.MaxTrackBytes+1)
	zeros[0] = 1
	for name, b := range map[string][]byte{
		"no version":       {0},
		"another version":  {3, 1, 2},
		"only a version":   {1},
		"only an hour":     {1, 5},
		"no such hour":     append([]byte{1}, bytes.Repeat([]byte{255}, 9)...),
		"too long":         zeros,
		"too many":         zeros[:geo.MaxTrackBytes],
		"a mark":           {1, 5, 0x10, 0},
		"beyond the hour":  {1, 5, 1 | 2 | 4, 0xff, 0x7f},
		"packed nothing":   {2, 5, 0, 0},
		"packed otherwise": {2, 5, 1, 9, 7, 0},
		"packed millions":  {2, 5, 0xff, 0xff, 0xff, 0x7f, 0, 7, 0},
	} {
		if tr, err := geo.DecodeTrack(b); err == nil {
			t.Errorf("%s: read as %d fixes", name, tr.Len())
		} else if _, ok := errors.AsType[*geo.Error](err); !ok {
			t.Errorf("%s: error of type %T", name, err)
		}
	}
	var tr geo.Track
	for _, text := range []string{`7`, `"%"`, `{}`} {
		if json.Unmarshal([]byte(text), &tr) == nil {
			t.Errorf("%s was read", text)
		}
	}
	for _, text := range []string{`null`, `""`} {
		if err := json.Unmarshal([]byte(text), &tr); err != nil || !tr.IsZero() {
			t.Errorf("%s: %v, %d fixes", text, err, tr.Len())
		}
	}
	if empty := (geo.Track{}); empty.Fixes() != nil || empty.Pack() != nil || empty.Bytes() != nil || !empty.Hour().IsZero() {
		t.Error("the zero Track has something")
	}
}

func FuzzDecodeTrack(f *testing.F) {
	r := rand.New(rand.NewPCG(11, 12))
	for _, n := range []int{1, 3, 40} {
		tr := trackOf(f, geo.Track{}, wanderTrack(r, n)...)
		f.Add(tr.Bytes())
		f.Add(tr.Pack())
	}
	f.Add([]byte{2, 5, 1, 0, 7, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		tr, err := geo.DecodeTrack(b)
		if err != nil {
			return
		}
		fixes := tr.Fixes()
		if len(fixes) != tr.Len() {
			t.Fatalf("%d fixes, Len %d", len(fixes), tr.Len())
		}
		if len(fixes) == 0 {
			return
		}
		again := decodeTrack(t, tr.Pack())
		if !slices.Equal(again.Fixes(), fixes) {
			t.Fatal("packed and read: other fixes")
		}
		if !bytes.Equal(again.Pack(), tr.Pack()) {
			t.Fatal("packed again: other bytes")
		}
		if !slices.Equal(decodeTrack(t, tr.Bytes()).Fixes(), fixes) {
			t.Fatal("read again: other fixes")
		}
		var built geo.Track
		for _, x := range fixes { // whatever was read can be written
			var err error
			if built, err = built.Add(x); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// trackDays are the recorded phone-days of ../shared/data, each as TrackFixes in
// the order written on the phone.
func trackDays(t testing.TB) map[string][]geo.TrackFix {
	t.Helper()
	files, err := filepath.Glob("../../shared/data/traces/emission/*.locations.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("../shared/data/traces/emission is not there")
	}
	out := map[string][]geo.TrackFix{}
	for _, path := range files {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		s := bufio.NewScanner(file)
		for s.Scan() {
			var row struct{ TS, Lat, Lon, Acc float64 }
			if err := json.Unmarshal(s.Bytes(), &row); err != nil {
				t.Fatal(err)
			}
			out[filepath.Base(path)] = append(out[filepath.Base(path)], geo.TrackFix{
				At: time.UnixMicro(int64(math.Round(row.TS * 1e6))), Pos: geo.Point{Lat: row.Lat, Lng: row.Lon}, AccuracyM: row.Acc,
			})
		}
		if err := errors.Join(s.Err(), file.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// hoursOf puts fixes into a Track per hour.
func hoursOf(t testing.TB, fixes []geo.TrackFix) map[time.Time]geo.Track {
	t.Helper()
	out := map[time.Time]geo.Track{}
	for _, f := range fixes {
		h := geo.HourOf(f.At)
		out[h] = trackOf(t, out[h], f)
	}
	return out
}

func TestTrackOfPhoneDays(t *testing.T) {
	var fixes, tracks, open, packed int
	for name, day := range trackDays(t) {
		for _, tr := range hoursOf(t, day) {
			fixes, tracks, open, packed = fixes+tr.Len(), tracks+1, open+tr.Size(), packed+len(tr.Pack())
			for _, f := range decodeTrack(t, tr.Pack()).Fixes() {
				near := slices.ContainsFunc(day, func(x geo.TrackFix) bool {
					d := x.At.Sub(f.At)
					return d >= 0 && d < time.Millisecond && geo.DistanceM(x.Pos, f.Pos) < 0.02 && math.Abs(x.AccuracyM-f.AccuracyM) <= 0.051
				})
				if !near {
					t.Fatalf("%s: a fix at %v that the phone did not give", name, f.At)
				}
			}
		}
	}
	t.Logf("%d fixes in %d tracks: %.2f bytes a fix, %.2f packed", fixes, tracks, float64(open)/float64(fixes), float64(packed)/float64(fixes))
	if open > 10*fixes || packed > open {
		t.Errorf("%d bytes, %d packed, for %d fixes", open, packed, fixes)
	}
}

func BenchmarkTrackAdd(b *testing.B) {
	fixes := wanderTrack(rand.New(rand.NewPCG(13, 14)), 3600)
	b.ReportAllocs()
	var tr geo.Track
	for i := 0; b.Loop(); i++ {
		if i%100 == 0 {
			tr = geo.Track{}
		}
		var err error
		if tr, err = tr.Add(fixes[i%3600]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTrackPack(b *testing.B) {
	tr := trackOf(b, geo.Track{}, wanderTrack(rand.New(rand.NewPCG(13, 14)), 120)...)
	b.ReportAllocs()
	for b.Loop() {
		tr.Pack()
	}
}

func BenchmarkDecodeTrack(b *testing.B) {
	packed := trackOf(b, geo.Track{}, wanderTrack(rand.New(rand.NewPCG(13, 14)), 120)...).Pack()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := geo.DecodeTrack(packed); err != nil {
			b.Fatal(err)
		}
	}
}
