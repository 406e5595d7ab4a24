package people

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

// exportedFix is a position of a track, for people to read.
type exportedFix struct {
	At        time.Time `json:"at"`
	Lat       float64   `json:"lat"`
	Lng       float64   `json:"lng"`
	AccuracyM float64   `json:"accuracy_m,omitempty"`
}

type exportedTrack struct {
	Install string        `json:"install"`
	Hour    time.Time     `json:"hour"`
	Fixes   []exportedFix `json:"fixes"`
}

// Export writes everything that is kept of a person as one JSON object, in portions:
// a long history takes little memory. Push tokens and credentials are withheld, since
// they are keys to a phone and tell nothing of the person. An error in the middle
// leaves the object unfinished, so that nobody takes it for whole.
func (s *Service) Export(ctx context.Context, of *Subject, w io.Writer) error {
	sub := of.clone()
	found, err := s.gather(ctx, sub)
	if err != nil {
		return err
	}
	x := exporter{w: bufio.NewWriterSize(w, 64<<10)}
	x.open(map[string]any{"workspace": sub.Workspace, "exported_at": s.o.Clock.Now(), "profile": sub.Profile, "merged_profiles": sub.Absorbed})
	x.begin("persons")
	for _, p := range sub.Profiles() {
		x.one(ctx, s.o.States, "state_act", store.Key{Workspace: sub.Workspace, ID: "p:" + p})
	}
	x.begin("installs")
	for _, id := range sub.Installs {
		x.one(ctx, s.o.States, "state_in", store.Key{Workspace: sub.Workspace, ID: "i:" + id})
	}
	for _, c := range []struct {
		name       string
		of         store.Store
		collection string
		q          func(profile string) store.Query
		show       func(store.Doc) (any, error)
	}{
		{"timeline", s.o.States, "timeline", func(p string) store.Query { return store.Query{IDPrefix: "p:" + p + "/"} }, nil},
		{"visits", s.o.States, "visits", func(p string) store.Query { return store.Query{Filter: equals("profile", p)} }, nil},
		{"tracks", s.o.States, "tracks", func(p string) store.Query { return store.Query{Filter: equals("profile", p)} }, showTrack},
		{"decisions", s.o.States, "decisions", func(p string) store.Query { return store.Query{Filter: equals("profile", p)} }, nil},
		{"reservations", s.o.States, "reservations", func(p string) store.Query { return store.Query{Filter: equals("profile", p)} }, nil},
		{"redemptions", s.o.Hot, "redemptions", func(p string) store.Query { return store.Query{Filter: equals("profile", p)} }, nil},
		{"inbox", s.o.Hot, "inbox", func(p string) store.Query { return store.Query{IDPrefix: p + "/"} }, nil},
		{"accesses", s.o.Hot, "accesses", func(p string) store.Query { return store.Query{IDPrefix: p + "/"} }, nil},
	} {
		x.begin(c.name)
		for _, p := range sub.Profiles() {
			q := c.q(p)
			q.Workspace = sub.Workspace
			x.all(ctx, c.of, c.collection, q, c.show)
		}
	}
	x.begin("live_activities")
	for _, p := range sub.Profiles() {
		x.all(ctx, s.o.Hot, "live_activities", store.Query{Workspace: store.System, Filter: equals("profile", p)}, nil)
	}
	x.begin("deliveries")
	for _, key := range found.deliveries {
		x.one(ctx, s.o.Hot, "deliveries", key)
	}
	// What had no effect is found by the names in it, as the erasure finds it.
	x.begin("dropped")
	names := namesOf(sub)
	x.those(ctx, s.o.States, "dropped", store.Query{Workspace: sub.Workspace}, func(d store.Doc) bool { return names.in(d.Body) })
	x.begin("snapshots")
	for _, p := range sub.Profiles() {
		x.all(ctx, s.o.States, "snapshots", store.Query{Workspace: sub.Workspace, IDPrefix: "p:" + p + "/"}, showSnapshot)
	}
	return x.close()
}

// exportedSnapshot says that it is kept what the person was before a moment. What that is
// follows from the timeline and from what is known today, both of which are in the export.
type exportedSnapshot struct {
	Profile string    `json:"profile"`
	Before  time.Time `json:"before"`
	Bytes   int       `json:"bytes"` // compressed
}

// showSnapshot reads the id: "p:<profile>/<log time>/<position>".
func showSnapshot(d store.Doc) (any, error) {
	profile, rest, _ := strings.Cut(strings.TrimPrefix(d.ID, "p:"), "/")
	ns, _, _ := strings.Cut(rest, "/")
	at, err := strconv.ParseInt(ns, 10, 64)
	if err != nil {
		return nil, err
	}
	return exportedSnapshot{profile, time.Unix(0, at).UTC(), len(d.Body)}, nil
}

func showTrack(d store.Doc) (any, error) {
	var c engage.TrackChunk
	if err := json.Unmarshal(d.Body, &c); err != nil {
		return nil, err
	}
	out := exportedTrack{Install: c.Install, Hour: c.Hour, Fixes: []exportedFix{}}
	for _, f := range c.Track.Fixes() {
		out.Fixes = append(out.Fixes, exportedFix{At: f.At, Lat: f.Pos.Lat, Lng: f.Pos.Lng, AccuracyM: f.AccuracyM})
	}
	return out, nil
}

// exporter writes {"head":…,"name":[…],"name":[…]}; its first error stands.
type exporter struct {
	w     *bufio.Writer
	err   error
	inner bool // an array is open
	some  bool // with something in it
}

func (x *exporter) text(s string) {
	if x.err == nil {
		_, x.err = x.w.WriteString(s)
	}
}

func (x *exporter) open(head map[string]any) {
	b, err := json.Marshal(head)
	if err != nil {
		x.err = err
		return
	}
	x.text(string(b[:len(b)-1])) // the rest follows
}

func (x *exporter) begin(name string) {
	if x.inner {
		x.text("\n]")
	}
	x.inner, x.some = true, false
	x.text(",\n\"" + name + "\":[")
}

func (x *exporter) close() error {
	x.text("\n]}\n")
	if x.err == nil {
		x.err = x.w.Flush()
	}
	return x.err
}

func (x *exporter) item(v any) {
	if x.err != nil {
		return
	}
	b, err := json.Marshal(v)
	if err != nil {
		x.err = err
		return
	}
	if x.some {
		x.text(",")
	}
	x.some = true
	x.text("\n")
	x.text(string(b))
}

func (x *exporter) doc(d store.Doc, show func(store.Doc) (any, error)) error {
	var v any
	var err error
	if show != nil {
		v, err = show(d)
	} else if err = json.Unmarshal(d.Body, &v); err == nil {
		withhold(v)
	}
	if err != nil {
		return fmt.Errorf("export %s: %w", d.ID, err)
	}
	x.item(v)
	return x.err
}

func (x *exporter) one(ctx context.Context, of store.Store, collection string, key store.Key) {
	if x.err != nil {
		return
	}
	d, err := of.Get(ctx, collection, key)
	if errors.Is(err, store.ErrNotFound) {
		return
	}
	if err == nil {
		err = x.doc(d, nil)
	}
	x.err = err
}

func (x *exporter) all(ctx context.Context, of store.Store, collection string, q store.Query, show func(store.Doc) (any, error)) {
	if x.err != nil {
		return
	}
	if err := of.Iterate(ctx, collection, q, func(d store.Doc) error { return x.doc(d, show) }); err != nil {
		x.err = err
	}
}

// those exports those of the documents that are about the person.
func (x *exporter) those(ctx context.Context, of store.Store, collection string, q store.Query, about func(store.Doc) bool) {
	if x.err != nil {
		return
	}
	if err := of.Iterate(ctx, collection, q, func(d store.Doc) error {
		if !about(d) {
			return nil
		}
		return x.doc(d, nil)
	}); err != nil {
		x.err = err
	}
}

// withhold replaces push tokens, wherever they stand.
func withhold(v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			if text, is := inner.(string); is && name == "token" && text != "" {
				v[name] = "withheld"
				continue
			}
			withhold(inner)
		}
	case []any:
		for _, inner := range v {
			withhold(inner)
		}
	}
}
