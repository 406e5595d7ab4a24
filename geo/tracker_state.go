package geo

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
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
func (t Tracker) MarshalJSON() ([]byte, error) { return t.AppendJSON(nil) }

// AppendJSON appends what MarshalJSON writes: what encoding/json makes of a trackerJSON,
// without what it takes to find that out. A state is written again and again.
func (t *Tracker) AppendJSON(b []byte) ([]byte, error) {
	b = append(b, `{"v":`...)
	b = strconv.AppendInt(b, trackerVersion, 10)
	b = appendNumber(b, "newest", t.newest)
	b = appendNumber(b, "through", t.through)
	var err error
	if b, err = t.settled.appendJSON(append(b, `,"settled":`...)); err != nil {
		return nil, err
	}
	if b, err = t.live.appendJSON(append(b, `,"live":`...)); err != nil {
		return nil, err
	}
	if len(t.window) > 0 {
		var room [512]byte
		b = append(b, `,"window":"`...)
		b = base64.StdEncoding.AppendEncode(b, packClues(room[:0], t.window))
		b = append(b, '"')
	}
	if len(t.known) > 0 {
		if b, err = appendAny(b, `,"known":`, t.known); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// appendNumber appends a member that is left out when it is zero.
func appendNumber(b []byte, name string, v int64) []byte {
	if v == 0 {
		return b
	}
	b = append(append(append(b, `,"`...), name...), `":`...)
	return strconv.AppendInt(b, v, 10)
}

func appendAny(b []byte, name string, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	return append(append(b, name...), text...), err
}

func (m *moment) appendJSON(b []byte) ([]byte, error) {
	first := len(b)
	var err error
	if len(m.In) > 0 {
		if b, err = appendAny(b, `,"in":`, m.In); err != nil {
			return nil, err
		}
	}
	if len(m.Stays) > 0 {
		if b, err = appendAny(b, `,"stays":`, m.Stays); err != nil {
			return nil, err
		}
	}
	if m.Fix != (sample{}) {
		b = m.Fix.appendJSON(append(b, `,"fix":`...))
	}
	if m.Suspect != (sample{}) {
		b = m.Suspect.appendJSON(append(b, `,"suspect":`...))
	}
	if len(b) == first {
		return append(b, "{}"...), nil
	}
	b[first] = '{' // the comma of the first
	return append(b, '}'), nil
}

func (s *sample) appendJSON(b []byte) []byte {
	b = strconv.AppendInt(append(b, `{"at":`...), s.At, 10)
	b = appendFloat(append(b, `,"pos":{"lat":`...), s.Pos.Lat)
	b = appendFloat(append(b, `,"lng":`...), s.Pos.Lng)
	b = appendFloat(append(b, `},"acc":`...), s.Acc)
	return append(appendNumber(b, "first", s.First), '}')
}

// appendFloat appends a number, which is one, as encoding/json writes it: like ES6, with
// an exponent only where it is far from 1, of as few digits as tell it.
func appendFloat(b []byte, v float64) []byte {
	format := byte('f')
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	b = strconv.AppendFloat(b, v, format, -1, 64)
	if n := len(b); format == 'e' && n >= 4 && b[n-4] == 'e' && b[n-3] == '-' && b[n-2] == '0' {
		b[n-2] = b[n-1] // e-09 is e-9
		b = b[:n-1]
	}
	return b
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

// The first byte of a kept clue: its bits, its source, and what is left out.
const (
	clueSource  = 4      // the source's place in the byte, two bits
	clueMillis  = 1 << 6 // the step in time is in milliseconds, not microseconds
	clueNextSeq = 1 << 7 // seq is one more than before
)

// packClues appends evidence one after another: what it is, the step in time, seq,
// then position and accuracy as steps, and the fence. A fix takes about 10 bytes.
func packClues(b []byte, window []clue) []byte {
	var last clue
	for i := range window {
		c := &window[i]
		step, first := uint64(c.at-last.at), c.source<<clueSource|c.bits
		if step%1000 == 0 {
			step, first = step/1000, first|clueMillis
		}
		next := c.seq == last.seq+1
		if next {
			first |= clueNextSeq
		}
		b = binary.AppendUvarint(append(b, first), step)
		if !next {
			b = binary.AppendUvarint(b, c.seq)
		}
		if c.is(clueLocated) {
			b = binary.AppendVarint(b, int64(c.lat)-int64(last.lat))
			b = binary.AppendVarint(b, int64(c.lng)-int64(last.lng))
			b = binary.AppendUvarint(b, uint64(c.acc))
			last.lat, last.lng = c.lat, c.lng
		}
		if c.source == clueRegion || c.source == clueBeacon {
			b = binary.AppendUvarint(b, uint64(len(c.fence)))
			b = append(b, c.fence...)
		}
		last.at, last.seq = c.at, c.seq
	}
	return b
}

var errWindow = errors.New("tracker: the window is damaged")

// clueReader reads what packClues writes; bad once that failed.
type clueReader struct {
	b   []byte
	bad bool
}

func (r *clueReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *clueReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func unpackClues(b []byte) ([]clue, error) {
	var out []clue
	r := clueReader{b: b}
	var last clue
	for len(r.b) > 0 {
		first := r.b[0]
		r.b = r.b[1:]
		c := clue{source: first >> clueSource & 3, bits: first & (1<<clueSource - 1), seq: last.seq + 1}
		step := r.uvarint()
		if first&clueMillis != 0 {
			if step > math.MaxInt64/1000 {
				return nil, errWindow
			}
			step *= 1000
		}
		c.at = last.at + int64(step)
		if first&clueNextSeq == 0 {
			c.seq = r.uvarint()
		}
		if c.is(clueLocated) {
			lat, lng, acc := int64(last.lat)+r.varint(), int64(last.lng)+r.varint(), r.uvarint()
			if lat < -90*degrees || lat > 90*degrees || lng < -180*degrees || lng > 180*degrees || acc > maxTrackedM*10 {
				return nil, errWindow
			}
			c.lat, c.lng, c.acc = int32(lat), int32(lng), uint32(acc)
			last.lat, last.lng = c.lat, c.lng
		}
		if c.source == clueRegion || c.source == clueBeacon {
			n := r.uvarint()
			if n > uint64(len(r.b)) {
				return nil, errWindow
			}
			c.fence, r.b = string(r.b[:n]), r.b[n:]
		}
		switch {
		case r.bad, c.source == clueFix && !c.is(clueLocated), c.at < last.at, len(out) > 0 && out[len(out)-1].compare(&c) >= 0:
			return nil, errWindow
		}
		last.at, last.seq = c.at, c.seq
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
				Fence: f, Place: v.Place, Inside: true, Since: since, Seen: last, Heard: last, Counted: since, Other: last,
			})
		}
		t.live.Stays = append(t.live.Stays, s)
		t.known = append(t.known, known{ID: v.ID, Place: v.Place, Since: since, Stale: v.Stale}) // it is said again with its next change
	}
	slices.SortFunc(t.live.In, func(a, b presence) int { return cmp.Compare(a.Fence, b.Fence) })
	slices.SortFunc(t.live.Stays, func(a, b stay) int { return cmp.Compare(a.Place, b.Place) })
	t.settleOn(t.live)
	t.through = t.newest
	return t
}
