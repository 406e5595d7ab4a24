package app_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/app"
)

// The shapes in which a position could be kept.
const (
	asDouble = "double"
	asText   = "decimal text"
	asTrack  = "track in base64"
	asCell   = "cell of less than a coarse one's size"
)

// needle is one shape of one position.
type needle struct {
	kind  string
	bytes []byte
}

// needles are the bytes by which a position would be found, wherever it was kept.
func needles(t *testing.T, p geo.Point) []needle {
	t.Helper()
	var out []needle
	add := func(kind string, b []byte) { out = append(out, needle{kind, b}) }
	for _, deg := range []float64{p.Lat, p.Lng} {
		add(asDouble, binary.LittleEndian.AppendUint64(nil, math.Float64bits(deg)))
		add(asDouble, binary.BigEndian.AppendUint64(nil, math.Float64bits(deg)))
		for _, digits := range []int{5, 7} { // also where it was rounded to a metre, or to a track's precision
			text := strconv.FormatFloat(deg, 'f', digits, 64)
			add(asText, []byte(text))
			add(asText, []byte(strconv.FormatFloat(math.Trunc(deg*1e5)/1e5, 'f', 5, 64)))
			add(asText, []byte(strings.ReplaceAll(text, ".", "")))
		}
	}
	// A track begins with its first position, in units of 1e-7 degrees.
	track := binary.AppendVarint(nil, int64(math.Round(p.Lat*1e7)))
	track = binary.AppendVarint(track, int64(math.Round(p.Lng*1e7)))
	add(asTrack, track)
	double := binary.LittleEndian.AppendUint64(nil, math.Float64bits(p.Lat))
	for offset := range 3 {
		add(asTrack, inBase64(track, offset))
		add(asDouble, inBase64(double, offset))
	}
	for resolution := 8; resolution <= 15; resolution++ {
		c, err := geo.CellOf(p, resolution)
		if err != nil {
			t.Fatal(err)
		}
		add(asCell, []byte(c.String()))
		add(asCell, binary.LittleEndian.AppendUint64(nil, uint64(c)))
		add(asCell, binary.BigEndian.AppendUint64(nil, uint64(c)))
	}
	return out
}

// inBase64 is what of b stands in a base64 text in which so many bytes (of a group of
// three) come before it.
func inBase64(b []byte, offset int) []byte {
	text := base64.StdEncoding.EncodeToString(append(make([]byte, offset), b...))
	from := (offset*8 + 5) / 6
	return []byte(text[from : (offset+len(b))*8/6])
}

// haystack is all that a server has kept or said, by where.
type haystack map[string][]byte

// keptIn reads all files below a folder.
func (h haystack) keptIn(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		h[name] = b
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// finds are the places where a position is, and the shapes in which it is there.
func (h haystack) finds(t *testing.T, p geo.Point) (where, kinds []string) {
	t.Helper()
	for _, n := range needles(t, p) {
		for name, b := range h {
			if bytes.Contains(b, n.bytes) {
				where, kinds = append(where, name+" ("+n.kind+")"), append(kinds, n.kind)
			}
		}
	}
	return where, kinds
}

// tattler is a phone whose app sends positions whatever its person answered, in every
// way that there is, and keeps those that nobody may know.
type tattler struct {
	*phone
	n      int
	secret []geo.Point
}

// next is a position that nobody else has.
func (p *tattler) next() geo.Point {
	p.n++
	who := float64(slices.Index([]string{"ada", "nell", "bea", "cora", "wim", "i-nell", "i-cora"}, p.name) + 1)
	at := geo.Point{Lat: 52.3712345678 + who*0.0137171 + float64(p.n)*0.00047193, Lng: 4.8913579246 + who*0.0117193 + float64(p.n)*0.00053171}
	p.secret = append(p.secret, at)
	return at
}

// tattle sends positions: a fix, those that come with what the OS and a beacon say,
// and in fields of a later version.
func (p *tattler) tattle() {
	now := p.s.clock.Now()
	loc := func() *sdkpb.Location {
		at := p.next()
		speed, course := 1.25, 91.5
		return &sdkpb.Location{Lat: at.Lat, Lng: at.Lng, AccuracyM: 4, SpeedMps: &speed, BearingDeg: &course}
	}
	later := func() []byte { // field 39, a Location
		at := p.next()
		b := protowire.AppendTag(nil, 39, protowire.Fixed64Type)
		return protowire.AppendFixed64(b, math.Float64bits(at.Lat))
	}
	p.Fix(loc(), now)
	p.RegionEvent("cafe-near", sdkpb.RegionEvent_TRANSITION_ENTER, loc(), now)
	p.RegionEvent(sdkproto.BubbleID, sdkpb.RegionEvent_TRANSITION_EXIT, loc(), now)
	p.Beacon(&sdkpb.Beacon{
		Ibeacon: &sdkpb.IBeacon{Uuid: "f7826da6-4fa2-4e98-8024-bc5b71e0893e"}, Proximity: sdkpb.Beacon_PROXIMITY_NEAR, Location: loc(),
	}, now)
	event := &sdkpb.Item{Event: &sdkpb.Event{Name: "x"}, OccurredMs: now.UnixMilli()}
	event.ProtoReflect().SetUnknown(later())
	region := &sdkpb.RegionEvent{RegionId: "cafe-inside", Transition: sdkpb.RegionEvent_TRANSITION_EXIT}
	region.ProtoReflect().SetUnknown(later())
	p.Enqueue(event)
	p.Enqueue(&sdkpb.Item{RegionEvent: region, OccurredMs: now.UnixMilli()})
}

// Of a person without the consent there is no position anywhere: in no file of the
// event log or the stores, in no line of the server's log, in no metric. Of one
// without the consent to precise positions there is nothing finer than a coarse cell.
func TestAPositionWithoutConsentIsNowhere(t *testing.T) {
	var said lockedBuffer
	s := newStory(t, func(o *app.Options) {
		o.Logger = slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	s.place("cafe", cafe)
	install := func(name, platform string, but ...sdkpb.Consent_Purpose) *tattler {
		return &tattler{phone: s.phone(name, platform, func(o *client.Options) { o.Caps = []string{sdkproto.CapBubble} }).agree(but...)}
	}
	const (
		fg, bg, precise = sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND, sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND, sdkpb.Consent_PURPOSE_LOCATION_PRECISE
	)
	ada := install("ada", "android")           // agreed to everything: she shows that what is looked for can be found
	nell := install("nell", "android", fg, bg) // was asked for everything else
	nellToo := install("i-nell", "ios", fg, bg)
	bea := install("bea", "android", bg) // only while she uses the app
	cora := install("cora", "android", precise)
	coraToo := install("i-cora", "ios", precise)
	wim := install("wim", "android") // changes his mind
	everybody := []*tattler{ada, nell, nellToo, bea, cora, coraToo, wim}

	for _, p := range everybody { // by POST, in the background
		p.background()
		p.tattle()
		p.post()
	}
	secretOfBea := slices.Clone(bea.secret) // so far
	known := wim.secret
	wim.secret = nil
	wim.SetConsent(precise, false, "v1", "settings")
	wim.tattle() // in one batch with the withdrawal
	wim.post()
	wim.SetConsent(fg, false, "v1", "settings")
	wim.SetConsent(bg, false, "v1", "settings")
	wim.tattle()
	wim.post()
	for _, p := range everybody { // on a socket, in the foreground
		p.foreground()
		p.tattle()
	}
	s.eventually("everything is answered", func() bool {
		return !slices.ContainsFunc(everybody, func(p *tattler) bool { return p.Pending() > 0 })
	})
	s.settle()
	if err := s.app.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		who     *tattler
		refused int // of six positions each time; one comes with an event, which counts
	}{{ada, 0}, {nell, 10}, {nellToo, 10}, {bea, 5}, {cora, 0}, {coraToo, 0}, {wim, 10}} {
		c.who.mu.Lock()
		n := 0
		for _, r := range c.who.rejects {
			if strings.HasPrefix(r, string(sdkproto.RejectConsent)) {
				n++
			}
		}
		if n != c.refused || len(c.who.rejects) != n {
			t.Errorf("%s: %d items refused for want of consent, want %d: %v", c.who.name, n, c.refused, c.who.rejects)
		}
		c.who.mu.Unlock()
	}

	data := s.opts.Config.DataDir
	running := haystack{}
	running.keptIn(t, data)
	running["metrics"] = s.metrics(t)
	s.stop()
	stopped := haystack{"log": said.bytes()}
	stopped.keptIn(t, data)

	for when, h := range map[string]haystack{"while it runs": running, "after it stopped": stopped} {
		for name, points := range map[string][]geo.Point{
			"nell": nell.secret, "nell on iOS": nellToo.secret, "bea in the background": secretOfBea,
			"cora": cora.secret, "cora on iOS": coraToo.secret, "wim after he withdrew": wim.secret,
		} {
			for i, p := range points {
				if where, _ := h.finds(t, p); len(where) > 0 {
					t.Errorf("%s: position %d of %s is in %s", when, i, name, strings.Join(slices.Compact(where), ", "))
				}
			}
		}
	}
	// Whoever agreed is found in each of the shapes that are in use, so the search can
	// find; and of wim what he agreed to is history.
	var kinds []string
	for _, p := range ada.secret {
		_, k := stopped.finds(t, p)
		kinds = append(kinds, k...)
	}
	for _, kind := range []string{asDouble, asText, asTrack} {
		if !slices.Contains(kinds, kind) {
			t.Errorf("ada agreed, and is not found as %s", kind)
		}
	}
	if where, _ := stopped.finds(t, known[0]); len(where) == 0 {
		t.Error("wim agreed at first, and nothing is there")
	}
}

// metrics are the server's, as text.
func (s *story) metrics(t *testing.T) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || len(b) == 0 {
		t.Fatalf("metrics: %d, %d bytes, %v", resp.StatusCode, len(b), err)
	}
	return b
}

// lockedBuffer is a buffer for many writers.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.b.Bytes())
}
