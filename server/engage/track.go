package engage

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/geo"
)

// TrackPartBytes is at what size an hour's track is recorded and another part of
// the same hour begun. It bounds what a phone's track adds to its state, which is
// written whole with every change: at a fix each half minute an hour is one part,
// at a fix a second it is some thirty.
const TrackPartBytes = 1 << 10

// openTracks is how many hours are open at once: the one that goes on, and the one
// before, to which fixes of the reorder window come, or that a phone's backlog
// brings beside it.
const openTracks = 2

// OpenTrack is a part of an hour's track that is not recorded yet.
type OpenTrack struct {
	Seq   uint64    `json:"seq"` // of the item that brought its first fix: names the part
	Track geo.Track `json:"track"`
}

// Chunk is its document.
func (o OpenTrack) Chunk(install, profile string) *TrackChunk {
	from, until := o.Track.Span()
	hour := o.Track.Hour()
	return &TrackChunk{
		V: 1, ID: TrackID(install, hour, o.Seq), Install: install, Profile: profile,
		Hour: hour, HourUS: hour.UnixMicro(), From: from, Until: until, N: o.Track.Len(), Track: o.Track,
	}
}

// Tracks are the fixes of an install that are not recorded yet, as its state holds
// them; the zero value has none. It is a value: what its methods give shares with
// it what did not change, and it stays as it was (geo.Track). Readers look there, too,
// for what the store does not have yet.
type Tracks struct {
	Head OpenTrack   `json:"head,omitzero"`  // the one that the last fix went into
	Rest []OpenTrack `json:"rest,omitempty"` // other hours, by hour
}

// IsZero reports whether there is no fix.
func (t Tracks) IsZero() bool { return t.Head.Track.IsZero() }

// Add adds a fix that the item seq brought. Parts that are done are given back, to
// be recorded (OpenTrack.Chunk): they are never read again, and what still comes
// for their hour becomes another part, under another id. So no step needs to know
// what the store has. Errors: as geo.Track.Add; nothing has changed then.
func (t Tracks) Add(f geo.TrackFix, seq uint64) (_ Tracks, done []OpenTrack, _ error) {
	before := t
	hour := geo.HourOf(f.At)
	if !t.IsZero() && !t.Head.Track.Hour().Equal(hour) {
		head := OpenTrack{}
		rest := append(slices.Clone(t.Rest), t.Head)
		if i := slices.IndexFunc(rest, func(o OpenTrack) bool { return o.Track.Hour().Equal(hour) }); i >= 0 {
			head = rest[i]
			rest = slices.Delete(rest, i, i+1)
		}
		slices.SortFunc(rest, func(a, b OpenTrack) int { return a.Track.Hour().Compare(b.Track.Hour()) })
		if n := len(rest) - (openTracks - 1); n > 0 {
			done, rest = slices.Clone(rest[:n]), slices.Clone(rest[n:])
		}
		t = Tracks{Head: head, Rest: rest}
	}
	if t.Head.Track.Size() >= TrackPartBytes {
		done = append(done, t.Head)
		t.Head = OpenTrack{}
	}
	if t.Head.Track.IsZero() {
		t.Head.Seq = seq
	}
	longer, err := t.Head.Track.Add(f)
	if err != nil {
		return before, nil, FromGeo(err)
	}
	t.Head.Track = longer
	return t, done, nil
}

// Open is all parts, by hour; nil when there are none. When nothing more may be
// kept, such as at the end of the consent, they are to be recorded and the Tracks
// to be forgotten.
func (t Tracks) Open() []OpenTrack {
	if t.IsZero() {
		return nil
	}
	out := append(slices.Clone(t.Rest), t.Head)
	slices.SortFunc(out, func(a, b OpenTrack) int { return a.Track.Hour().Compare(b.Track.Hour()) })
	return out
}

// TrackChunk is fixes of an install in one hour, or a part of them: a document of
// the collection "tracks". All parts of an hour together are its track. Who erases
// a person deletes the chunks of all their installs, by profile or by the prefix
// "<install>/" of the id, and the state of each install.
type TrackChunk struct {
	V       int       `json:"v"` // 1
	ID      string    `json:"id"`
	Install string    `json:"install"`
	Profile string    `json:"profile"` // of the install when it was recorded
	Hour    time.Time `json:"hour"`    // its beginning, UTC
	HourUS  int64     `json:"hour_us"` // the same as Unix microseconds, to sort by
	From    time.Time `json:"from"`    // of the oldest fix, corrected device clock
	Until   time.Time `json:"until"`   // of the newest
	N       int       `json:"n"`       // fixes

	// Track is written packed, when the document is: beside the step, not in it.
	Track geo.Track `json:"-"`
}

// TrackID is the id of a chunk: seq is that of the item that brought its first
// fix. Those of an install are in order of hour.
func TrackID(install string, hour time.Time, seq uint64) string {
	return fmt.Sprintf("%s/%s/%020d", install, hour.UTC().Format(time.RFC3339), seq)
}

// LogValue names the chunk and hides the positions.
func (c *TrackChunk) LogValue() slog.Value { return slog.StringValue(c.ID) }

// bareChunk is a TrackChunk without its methods.
type bareChunk TrackChunk

type trackChunkJSON struct {
	bareChunk
	Data []byte `json:"data"` // geo.Track.Pack
}

// MarshalJSON writes the track as "data": packed, in base64.
func (c *TrackChunk) MarshalJSON() ([]byte, error) {
	return json.Marshal(trackChunkJSON{bareChunk(*c), c.Track.Pack()})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *TrackChunk) UnmarshalJSON(text []byte) error {
	var x trackChunkJSON
	if err := json.Unmarshal(text, &x); err != nil {
		return err
	}
	track, err := geo.DecodeTrack(x.Data)
	if err != nil {
		return fmt.Errorf("decode track chunk: %w", err)
	}
	*c = TrackChunk(x.bareChunk)
	c.Track = track
	return nil
}
