package app

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/store"
)

// A Tape is what one server was told and what it made of that: the streams of its
// partitions and its configuration, whole, and the documents that came of them. It
// is taken when the server stops (Options.Tape), and Replay plays it.
//
// On file it is gzip'd JSON, one object with one member per line, in this order:
//
//	{"tape":{"v":2,"at":"2026-11-22T10:00:00Z","build":"demo"}}
//	{"stream":"CONFIG"}                              or a partition, "in/0", "act/0", …
//	{"record":{"seq":1,"subject":"config.default","data":"…"}}   data in base64, seq from 1 without holes
//	{"doc":{"collection":"decisions","workspace":"default","id":"…","body":{…}}}   as Results are ordered
//	{"end":{"digests":{"decisions":{"documents":90,"sha256":"…"},…}}}
//
// A reader refuses what it does not know, and a tape without its end. A tape holds
// people's positions and the configuration with its sealed credentials: keep it
// like a backup of the server.
type Tape struct {
	V       int                           // version of the format; 0 means the newest
	At      time.Time                     // when the server stopped, by its clock
	Build   string                        // of the server
	Config  []eventlog.Message            // the configuration log
	Streams map[string][]eventlog.Message // by partition: "in/0"
	Live    Results                       // what the server made of it
}

// tapeVersion is of the format. Version 1 came with issue 3; since version 2 visits
// and tracks are among the results.
const tapeVersion = 2

// maxTapeLine bounds a line: the largest document in a store and its names. A
// record with its base64 is smaller.
const maxTapeLine = 16 << 20

type tapeLine struct {
	Head   *tapeHead   `json:"tape,omitempty"`
	Stream string      `json:"stream,omitempty"`
	Record *tapeRecord `json:"record,omitempty"`
	Doc    *tapeDoc    `json:"doc,omitempty"`
	End    *tapeEnd    `json:"end,omitempty"`
}

func (l *tapeLine) members() (n int) {
	for _, there := range []bool{l.Head != nil, l.Stream != "", l.Record != nil, l.Doc != nil, l.End != nil} {
		if there {
			n++
		}
	}
	return n
}

type tapeHead struct {
	V     int       `json:"v"`
	At    time.Time `json:"at"`
	Build string    `json:"build"`
}

type tapeRecord struct {
	Seq     uint64 `json:"seq"`
	Subject string `json:"subject"`
	Data    []byte `json:"data"`
}

type tapeDoc struct {
	Collection string          `json:"collection"`
	Workspace  string          `json:"workspace"`
	ID         string          `json:"id"`
	Body       json.RawMessage `json:"body"`
}

type tapeEnd struct {
	Digests map[string]Digest `json:"digests"`
}

// Result is one document that partitions have written.
type Result struct {
	Collection, Workspace, ID string
	Body                      []byte
}

// line is the document as one line of text.
func (r Result) line() []byte {
	return fmt.Appendf(nil, "%s %s %q %s\n", r.Collection, r.Workspace, r.ID, r.Body)
}

func (r Result) name() string { return fmt.Sprintf("%s %s/%s", r.Collection, r.Workspace, r.ID) }

// Results are all documents that partitions write and that follow from their
// streams alone: decisions and timelines with their traces, visits, tracks, states,
// timers, what was quarantined. They are in the order of collection, workspace and id. Positions,
// outbox and alarms are not among them: they depend on when and where a server ran.
type Results []Result

// resultCollections in the order of Results.
var resultCollections = []string{"decisions", "quarantine", "state_act", "state_in", "timeline", "timers", "tracks", "visits"}

// sinceV2 are those of them that a tape of version 1 does not have.
var sinceV2 = []string{"tracks", "visits"}

// Of are the results that a tape of a version holds.
func (r Results) Of(version int) Results {
	if version != 1 {
		return r
	}
	return slices.DeleteFunc(slices.Clone(r), func(d Result) bool { return slices.Contains(sinceV2, d.Collection) })
}

// ReadResults reads the results from a store in which all states are saved.
func ReadResults(ctx context.Context, s store.Store) (Results, error) {
	var out Results
	for _, c := range resultCollections {
		err := s.Iterate(ctx, c, store.Query{}, func(d store.Doc) error {
			out = append(out, Result{c, d.Workspace, d.ID, bytes.Clone(d.Body)})
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", c, err)
		}
	}
	return out, nil
}

// Digest of the results in one collection.
type Digest struct {
	Documents int `json:"documents"`
	// SHA256 in hex is that of the collection's lines as WriteTo writes them.
	SHA256 string `json:"sha256"`
}

// Digests of the results by collection; one without documents is there, too.
func (r Results) Digests() map[string]Digest {
	out := make(map[string]Digest, len(resultCollections))
	for _, c := range resultCollections {
		h, n := sha256.New(), 0
		for _, d := range r {
			if d.Collection == c {
				h.Write(d.line())
				n++
			}
		}
		out[c] = Digest{n, hex.EncodeToString(h.Sum(nil))}
	}
	return out
}

// WriteTo writes a line per document: collection, workspace, id in quotes, body.
// It implements io.WriterTo.
func (r Results) WriteTo(w io.Writer) (int64, error) {
	b := bufio.NewWriter(w)
	n := int64(0)
	for _, d := range r {
		k, err := b.Write(d.line())
		n += int64(k)
		if err != nil {
			return n, err
		}
	}
	return n, b.Flush()
}

// Difference names the first document that is not the same in both, and shows
// where its bodies part; empty when all are the same.
func (r Results) Difference(want Results) string {
	for i := range max(len(r), len(want)) {
		switch {
		case i == len(r):
			return want[i].name() + " is missing"
		case i == len(want):
			return r[i].name() + " should not be there"
		}
		got, w := r[i], want[i]
		switch c := cmp.Or(cmp.Compare(got.Collection, w.Collection), cmp.Compare(got.Workspace, w.Workspace), cmp.Compare(got.ID, w.ID)); {
		case c < 0:
			return got.name() + " should not be there"
		case c > 0:
			return w.name() + " is missing"
		case !bytes.Equal(got.Body, w.Body):
			at := 0
			for at < min(len(got.Body), len(w.Body)) && got.Body[at] == w.Body[at] {
				at++
			}
			return fmt.Sprintf("%s differs at byte %d", got.name(), at)
		}
	}
	return ""
}

// tapeWriter writes lines.
type tapeWriter struct {
	zip *gzip.Writer
	buf *bufio.Writer
	enc *json.Encoder
}

func newTapeWriter(w io.Writer) *tapeWriter {
	zip := gzip.NewWriter(w)
	buf := bufio.NewWriter(zip)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false) // bodies stay as they are
	return &tapeWriter{zip, buf, enc}
}

func (t *tapeWriter) line(l tapeLine) error { return t.enc.Encode(l) }

// head begins the tape, stream the records that follow.
func (t *tapeWriter) head(at time.Time, build string) error {
	return t.line(tapeLine{Head: &tapeHead{tapeVersion, at, build}})
}

func (t *tapeWriter) record(m eventlog.Message) error {
	return t.line(tapeLine{Record: &tapeRecord{m.Seq, m.Subject, m.Data}})
}

// end writes the results and closes the tape.
func (t *tapeWriter) end(live Results) error {
	for _, d := range live {
		if err := t.line(tapeLine{Doc: &tapeDoc{d.Collection, d.Workspace, d.ID, d.Body}}); err != nil {
			return err
		}
	}
	if err := t.line(tapeLine{End: &tapeEnd{live.Digests()}}); err != nil {
		return err
	}
	return errors.Join(t.buf.Flush(), t.zip.Close())
}

// WriteTo writes the tape as a file. It implements io.WriterTo.
func (t *Tape) WriteTo(w io.Writer) (int64, error) {
	n := &counter{w: w}
	out := newTapeWriter(n)
	err := out.head(t.At, t.Build)
	stream := func(name string, records []eventlog.Message) {
		if err == nil {
			err = out.line(tapeLine{Stream: name})
		}
		for _, m := range records {
			if err == nil {
				err = out.record(m)
			}
		}
	}
	stream(catalog.Stream, t.Config)
	for _, name := range slices.Sorted(maps.Keys(t.Streams)) {
		stream(name, t.Streams[name])
	}
	if err == nil {
		err = out.end(t.Live)
	}
	return n.n, err
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// ReadTape reads a tape from its file. An error names the line that is wrong.
func ReadTape(r io.Reader) (*Tape, error) {
	zip, err := gzip.NewReader(r)
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, errors.New("read tape: the file is empty or cut off")
		}
		return nil, fmt.Errorf("read tape: %w", err)
	}
	t := &tapeReader{tape: &Tape{Streams: map[string][]eventlog.Message{}}}
	lines := bufio.NewScanner(zip)
	lines.Buffer(nil, maxTapeLine)
	for lines.Scan() {
		t.n++
		if err := t.line(lines.Bytes()); err != nil {
			return nil, fmt.Errorf("read tape: line %d: %w", t.n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read tape: after line %d: %w", t.n, err)
	}
	if !t.ended {
		return nil, fmt.Errorf("read tape: it breaks off after line %d", t.n)
	}
	return t.tape, nil
}

type tapeReader struct {
	tape   *Tape
	n      int // lines
	stream string
	ended  bool
}

func (t *tapeReader) line(text []byte) error {
	var l tapeLine
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) || l.members() != 1 {
		return errors.New("must be one object with one member")
	}
	switch {
	case t.ended:
		return errors.New("there is more after the end")
	case (t.n == 1) != (l.Head != nil):
		return errors.New("the first line, and no other, tells the version")
	case l.Head != nil:
		if l.Head.V < 1 || l.Head.V > tapeVersion {
			return fmt.Errorf("version %d is not known, only 1 to %d", l.Head.V, tapeVersion)
		}
		t.tape.V, t.tape.At, t.tape.Build = l.Head.V, l.Head.At, l.Head.Build
		return nil
	case l.Stream != "":
		return t.begin(l.Stream)
	case l.Record != nil:
		return t.record(l.Record)
	case l.Doc != nil:
		return t.doc(l.Doc)
	default:
		t.ended = true
		digests := t.tape.Live.Digests()
		if t.tape.V == 1 {
			maps.DeleteFunc(digests, func(c string, _ Digest) bool { return slices.Contains(sinceV2, c) })
		}
		if !maps.Equal(l.End.Digests, digests) {
			return errors.New("the documents are not those of the digests")
		}
		return nil
	}
}

func (t *tapeReader) begin(stream string) error {
	if stream == catalog.Stream {
		if t.stream != "" {
			return errors.New("the configuration comes first, once")
		}
		t.stream = stream
		return nil
	}
	if _, _, err := splitPartition(stream); err != nil {
		return err
	}
	if _, there := t.tape.Streams[stream]; there || t.stream == "" || len(t.tape.Live) > 0 {
		return fmt.Errorf("stream %q is not at its place", stream)
	}
	t.stream = stream
	t.tape.Streams[stream] = nil
	return nil
}

func (t *tapeReader) record(r *tapeRecord) error {
	have := &t.tape.Config
	if t.stream != catalog.Stream {
		records := t.tape.Streams[t.stream]
		have = &records
	}
	if t.stream == "" || len(t.tape.Live) > 0 {
		return errors.New("a record outside of a stream")
	}
	if want := uint64(len(*have)) + 1; r.Seq != want {
		return fmt.Errorf("record %d of %s, where %d must be", r.Seq, t.stream, want)
	}
	*have = append(*have, eventlog.Message{Seq: r.Seq, Subject: r.Subject, Data: r.Data})
	if t.stream != catalog.Stream {
		t.tape.Streams[t.stream] = *have
	}
	return nil
}

func (t *tapeReader) doc(d *tapeDoc) error {
	r := Result{d.Collection, d.Workspace, d.ID, d.Body}
	if !slices.Contains(resultCollections, r.Collection) || t.tape.V == 1 && slices.Contains(sinceV2, r.Collection) {
		return fmt.Errorf("collection %q holds no results", r.Collection)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, r.Body); err != nil || !bytes.Equal(compact.Bytes(), r.Body) {
		return errors.New("the body is not as a server writes it")
	}
	if n := len(t.tape.Live); n > 0 {
		last := t.tape.Live[n-1]
		if cmp.Or(cmp.Compare(last.Collection, r.Collection), cmp.Compare(last.Workspace, r.Workspace), cmp.Compare(last.ID, r.ID)) >= 0 {
			return errors.New("the documents are not in order")
		}
	}
	t.tape.Live = append(t.tape.Live, r)
	return nil
}

// splitPartition takes "in/0" apart.
func splitPartition(name string) (kind string, index int, err error) {
	kind, text, _ := strings.Cut(name, "/")
	if _, err := fmt.Sscanf(text, "%d", &index); err != nil || index < 0 || kind != "in" && kind != "act" || name != partitionName(kind, index) {
		return "", 0, fmt.Errorf("%q is not the name of a partition", name)
	}
	return kind, index, nil
}

func partitionName(kind string, index int) string { return fmt.Sprintf("%s/%d", kind, index) }

// streamOf is the first incarnation of a partition's stream, and its subjects.
func streamOf(kind string, index int) (name, subjects string) {
	return fmt.Sprintf("%s_%d", strings.ToUpper(kind), index), fmt.Sprintf("%s.%d.>", kind, index)
}

// tapeWithin bounds the writing, in case the log or the store is gone.
const tapeWithin = 10 * time.Minute

// writeTape writes Options.Tape when all partitions have saved their states and
// stopped. It takes the streams from the log, not from what was applied: what was
// handed over in memory must have been the same.
func (a *App) writeTape() error {
	ctx, cancel := context.WithTimeout(context.Background(), tapeWithin)
	defer cancel()
	t := newTapeWriter(a.o.Tape)
	if err := t.head(a.o.Clock.Now(), a.o.Version); err != nil {
		return fmt.Errorf("write tape: %w", err)
	}
	config, err := a.eventlog.Open(ctx, catalog.Stream, catalog.Subjects)
	if err != nil {
		return fmt.Errorf("write tape: %w", err)
	}
	if err := t.copy(ctx, catalog.Stream, config, a.catalog.Latest()); err != nil {
		return err
	}
	for _, p := range a.partitions() {
		incarnation, last, err := partition.SavedPosition(ctx, a.states, p.Name())
		if err != nil {
			return fmt.Errorf("write tape: %w", err)
		}
		if incarnation != 1 {
			return fmt.Errorf("write tape: %s has lost a tail: its stream is not whole", p.Name())
		}
		if applied := p.Stats().Position; applied != last {
			return fmt.Errorf("write tape: %s has applied %d records and saved the states after %d", p.Name(), applied, last)
		}
		kind, index, err := splitPartition(p.Name())
		if err != nil {
			return fmt.Errorf("write tape: %w", err)
		}
		name, subjects := streamOf(kind, index)
		s, err := a.eventlog.Open(ctx, name, subjects)
		if err != nil {
			return fmt.Errorf("write tape: %w", err)
		}
		if err := t.copy(ctx, p.Name(), s, last); err != nil {
			return err
		}
	}
	live, err := ReadResults(ctx, a.states)
	if err == nil {
		err = t.end(live)
	}
	if err != nil {
		return fmt.Errorf("write tape: %w", err)
	}
	return nil
}

// copy writes a stream from its first record to the last that is asked for.
func (t *tapeWriter) copy(ctx context.Context, name string, s eventlog.Stream, last uint64) error {
	first, _, err := s.Bounds(ctx)
	if err == nil && first != 1 {
		err = fmt.Errorf("its records before %d are no longer kept", first)
	}
	if err == nil {
		err = t.line(tapeLine{Stream: name})
	}
	for next := uint64(1); err == nil && next <= last; {
		var records []eventlog.Message
		records, err = s.Read(ctx, next, int(min(last-next+1, 256)))
		for _, m := range records {
			if err == nil {
				err = t.record(m)
			}
		}
		next += uint64(len(records))
	}
	if err != nil {
		return fmt.Errorf("write tape: stream %s: %w", name, err)
	}
	return nil
}
