package geo

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// trackerVersion is that of the kept form of a Tracker.
const trackerVersion = 1

type trackerJSON struct {
	V       int     `json:"v"`
	Newest  int64   `json:"newest,omitempty"`
	Through int64   `json:"through,omitempty"`
	Settled moment  `json:"settled"`
	Live    moment  `json:"live"`
	Window  []byte  `json:"window,omitempty"`
	Known   []known `json:"known,omitempty"`
}

// MarshalJSON writes the state: a JSON object with its version in "v".
func (t Tracker) MarshalJSON() ([]byte, error) {
	return json.Marshal(trackerJSON{
		V: trackerVersion, Newest: t.newest, Through: t.through, Settled: t.settled, Live: t.live,
		Window: packClues(t.window), Known: t.known,
	})
}

// UnmarshalJSON reads what MarshalJSON of any version so far wrote. Errors: of JSON,
// and of a version or window that cannot be.
func (t *Tracker) UnmarshalJSON(b []byte) error {
	var in trackerJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	if in.V != trackerVersion {
		return fmt.Errorf("tracker: version %d is not known", in.V)
	}
	window, err := unpackClues(in.Window)
	if err != nil {
		return err
	}
	*t = Tracker{newest: in.Newest, through: in.Through, settled: in.Settled, live: in.Live, window: window, known: in.Known}
	return nil
}

var sourceCodes = []Source{ByFix, ByRegion, ByBeacon, BySilence}

// packClues writes evidence one after another: the step in time, what it is, seq,
// then position and accuracy, or the fence.
func packClues(window []clue) []byte {
	var b []byte
	last := int64(0)
	for i := range window {
		c := &window[i]
		b = binary.AppendUvarint(b, uint64(c.at-last))
		last = c.at
		b = append(b, byte(slices.Index(sourceCodes, c.source))<<4|c.bits)
		b = binary.AppendUvarint(b, c.seq)
		if c.is(clueLocated) {
			for _, v := range []float64{c.pos.Lat, c.pos.Lng, c.acc} {
				b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
			}
		}
		if c.source == ByRegion || c.source == ByBeacon {
			b = binary.AppendUvarint(b, uint64(len(c.fence)))
			b = append(b, c.fence...)
		}
	}
	return b
}

var errWindow = errors.New("tracker: the window is damaged")

func unpackClues(b []byte) ([]clue, error) {
	var out []clue
	last := int64(0)
	number := func() (uint64, bool) {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return 0, false
		}
		b = b[n:]
		return v, true
	}
	for len(b) > 0 {
		step, ok := number()
		if !ok || len(b) == 0 || int(b[0]>>4) >= len(sourceCodes) {
			return nil, errWindow
		}
		c := clue{at: last + int64(step), source: sourceCodes[b[0]>>4], bits: b[0] & 15}
		last, b = c.at, b[1:]
		if c.source == ByFix && !c.is(clueLocated) {
			return nil, errWindow
		}
		if c.seq, ok = number(); !ok {
			return nil, errWindow
		}
		if c.is(clueLocated) {
			if len(b) < 24 {
				return nil, errWindow
			}
			for i, into := range []*float64{&c.pos.Lat, &c.pos.Lng, &c.acc} {
				*into = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
			}
			if c.pos.Validate() != nil || !(c.acc >= 0) {
				return nil, errWindow
			}
			b = b[24:]
		}
		if c.source == ByRegion || c.source == ByBeacon {
			n, ok := number()
			if !ok || n > uint64(len(b)) {
				return nil, errWindow
			}
			c.fence, b = string(b[:n]), b[n:]
		}
		if len(out) > 0 && out[len(out)-1].compare(&c) >= 0 {
			return nil, errWindow
		}
		out = append(out, c)
	}
	return out, nil
}

// Resume is a Tracker of a device of which nothing but its open visits is known:
// what another program kept, or an older version of it. Of a visit, ID, Place,
// Since, Last, Stale, By and Fences count; the device is inside all of these. newest
// is the time of the newest evidence; older evidence is Late.
func Resume(visits []Visit, newest time.Time) Tracker {
	t := Tracker{newest: newest.UnixMicro()}
	for i := range visits {
		v := &visits[i]
		since, last := v.Since.UnixMicro(), max(v.Since.UnixMicro(), v.Last.UnixMicro())
		t.newest = max(t.newest, last)
		s := stay{ID: v.ID, Place: v.Place, Since: since, Seen: last, Counted: since, Fences: slices.Clone(v.Fences), By: v.By}
		slices.Sort(s.Fences)
		for _, f := range s.Fences {
			t.live.In = append(t.live.In, presence{
				Fence: f, Place: v.Place, Inside: true, Since: since, Seen: last, Heard: last, Counted: since, Other: true,
			})
		}
		t.live.Stays = append(t.live.Stays, s)
		t.known = append(t.known, known{ID: v.ID, Place: v.Place, Since: since, Stale: v.Stale, Print: s.print()})
	}
	slices.SortFunc(t.live.In, func(a, b presence) int { return cmp.Compare(a.Fence, b.Fence) })
	slices.SortFunc(t.live.Stays, func(a, b stay) int { return cmp.Compare(a.Place, b.Place) })
	t.settled = t.live
	t.settled.own()
	t.through = t.newest
	return t
}
