package lab

import (
	"iter"
	"math"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// Bounds of what a book remembers of one phone, beyond its counts.
const (
	maxEvidence = 2000
	maxPosts    = 2000
	maxRefusals = 2000
)

// fate of an item, in the high bits of its byte; the kind is in the low ones.
const (
	fateSent    byte = 0x10 // written at least once
	fateAcked   byte = 0x20
	fateRefused byte = 0x30
	fateDropped byte = 0x40
	fateMask    byte = 0xf0
)

// kinds by their number in a fate; 0 is none.
var kinds = [...]sdkproto.Kind{
	"", sdkproto.KindLocation, sdkproto.KindRegionEvent, sdkproto.KindEvent, sdkproto.KindIdentify,
	sdkproto.KindPreferences, sdkproto.KindConsent, sdkproto.KindPushToken, sdkproto.KindPermissions,
	sdkproto.KindLifecycle, sdkproto.KindReceipt,
}

func kindOf(i *sdkpb.Item) byte {
	switch {
	case i.GetLocation() != nil:
		return 1
	case i.GetRegionEvent() != nil:
		return 2
	case i.GetEvent() != nil:
		return 3
	case i.GetIdentify() != nil:
		return 4
	case i.GetPreferences() != nil:
		return 5
	case i.GetConsent() != nil:
		return 6
	case i.GetPushToken() != nil:
		return 7
	case i.GetPermissions() != nil:
		return 8
	case i.GetLifecycle() != nil:
		return 9
	case i.GetReceipt() != nil:
		return 10
	}
	return 0
}

// evidence reports whether an item of the kind can cause a message.
func evidence(kind byte) bool { return kind >= 1 && kind <= 3 }

// Evidence is an item that can cause a message (a fix, a region event, an event
// of the app), and when it was last written to the network.
type Evidence struct {
	Seq     uint64
	Kind    sdkproto.Kind
	Written time.Time // when its frame or POST was encoded, right before it was written
	Post    bool      // by POST; else on the socket
}

// Post is one POST of a batch.
type Post struct {
	Start    time.Time // when its body was encoded, right before it was sent
	End      time.Time // when its answer was read; zero while it is under way
	Items    int
	Evidence int // of Items, those that can cause a message
	Failed   bool
}

// Shown is a message that the phone had to show.
type Shown struct {
	MessageID string
	Via       string    // "fcm", "apns", "in_app" or "inbox", the first time
	At        time.Time // the first time
	Times     int       // more than 1 is a defect of somebody
	// Cause is the newest evidence that was written before an in-app message
	// arrived; the zero value where there is none. See Latency.
	Cause Evidence
}

// Latency from the frame written to the in-app message shown; ok is false for
// other messages, and where no evidence had been written. A message that came
// later than the phone's next fix is reckoned from that fix: whoever knows which
// item was the cause finds its time among the evidence of the PhoneReport.
func (s *Shown) Latency() (d time.Duration, ok bool) {
	if s.Via != viaInApp || s.Cause.Written.IsZero() {
		return 0, false
	}
	return s.At.Sub(s.Cause.Written), true
}

// The ways to a person, as receipts name them.
const (
	viaInApp = "in_app"
	viaInbox = "inbox"
)

// Refusal is an item that the server will never take.
type Refusal struct {
	Seq   uint64
	Kind  sdkproto.Kind
	Code  string // sdkproto.RejectCode
	Field string
}

// book is what one phone can testify. Its methods lock it.
type book struct {
	acks *Histogram // of the crowd; nil measures nothing
	slim bool       // for load: no evidence, no POSTs

	mu       sync.Mutex
	fates    []byte // by seq
	sent     [len(kinds)]int
	acked    [len(kinds)]int
	refused  [len(kinds)]int
	dropped  [len(kinds)]int
	refusals []Refusal
	codes    map[string]int
	written  map[uint64]time.Time // of items that are neither acked nor refused
	evidence []Evidence
	posts    []Post
	failed   int
	posted   int
	arrived  map[string]Evidence // cause, by id of in-app messages that wait for their grant
	shown    map[string]*Shown
	order    []*Shown
	unseen   int
}

func (b *book) fate(i *sdkpb.Item, f byte) (kind byte, was byte) {
	kind = kindOf(i)
	for uint64(len(b.fates)) <= i.GetSeq() {
		b.fates = append(b.fates, 0)
	}
	was = b.fates[i.GetSeq()] & fateMask
	b.fates[i.GetSeq()] = f | kind
	return kind, was
}

// wrote is a batch that goes out now.
func (b *book) wrote(items []*sdkpb.Item, post bool, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, i := range items {
		kind, was := b.fate(i, fateSent)
		if was == 0 {
			b.sent[kind]++
		}
		if b.acks != nil {
			if b.written == nil {
				b.written = make(map[uint64]time.Time)
			}
			b.written[i.GetSeq()] = at
		}
		if evidence(kind) && !b.slim {
			n++
			b.evidence = appendBounded(b.evidence, Evidence{Seq: i.GetSeq(), Kind: kinds[kind], Written: at, Post: post}, maxEvidence)
		}
	}
	if post {
		b.posted++
		if !b.slim {
			b.posts = appendBounded(b.posts, Post{Start: at, Items: len(items), Evidence: n}, maxPosts)
		}
	}
}

// appendBounded forgets the older half when there are most.
func appendBounded[T any](s []T, v T, most int) []T {
	if len(s) >= most {
		s = append(s[:0], s[len(s)-most/2:]...)
	}
	return append(s, v)
}

// answered is the end of the newest POST.
func (b *book) answered(err error, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.failed++
	}
	if n := len(b.posts); n > 0 && b.posts[n-1].End.IsZero() {
		b.posts[n-1].End, b.posts[n-1].Failed = at, err != nil
	}
}

func (b *book) ack(i *sdkpb.Item, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kind, _ := b.fate(i, fateAcked)
	b.acked[kind]++
	if w, ok := b.written[i.GetSeq()]; ok {
		delete(b.written, i.GetSeq())
		b.acks.Add(at.Sub(w))
	}
}

func (b *book) refuse(i *sdkpb.Item, r *sdkpb.Reject) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kind, _ := b.fate(i, fateRefused)
	b.refused[kind]++
	if b.codes == nil {
		b.codes = make(map[string]int)
	}
	b.codes[r.GetCode()]++
	delete(b.written, i.GetSeq())
	b.refusals = appendBounded(b.refusals, Refusal{Seq: i.GetSeq(), Kind: kinds[kind], Code: r.GetCode(), Field: r.GetField()}, maxRefusals)
}

func (b *book) drop(i *sdkpb.Item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kind, _ := b.fate(i, fateDropped)
	b.dropped[kind]++
	delete(b.written, i.GetSeq())
}

// arrive notes what caused a message, when it comes.
func (b *book) arrive(m *sdkpb.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.evidence)
	if m.GetKind() != sdkpb.Message_KIND_IN_APP || n == 0 || b.shown[m.GetMessageId()] != nil {
		return
	}
	if b.arrived == nil {
		b.arrived = make(map[string]Evidence)
	}
	if _, again := b.arrived[m.GetMessageId()]; !again {
		b.arrived[m.GetMessageId()] = b.evidence[n-1]
	}
}

// show is a message that the person could see, or that came to the inbox; first
// says that it never was before.
func (b *book) show(id, via string, at time.Time) (first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.shown[id]; s != nil {
		s.Times++
		return false
	}
	if b.shown == nil {
		b.shown = make(map[string]*Shown)
	}
	s := &Shown{MessageID: id, Via: via, At: at, Times: 1}
	if via == viaInApp {
		s.Cause = b.arrived[id]
	}
	delete(b.arrived, id)
	b.shown[id] = s
	b.order = append(b.order, s)
	return true
}

// unwanted is a push that the OS did not draw.
func (b *book) unwanted() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unseen++
}

// Totals are counts, of a phone or of the town.
type Totals struct {
	Sent         map[sdkproto.Kind]int `json:"sent"`    // items written at least once
	Acked        map[sdkproto.Kind]int `json:"acked"`   // items that the server has durably
	Refused      map[sdkproto.Kind]int `json:"refused"` // items that it will never take
	Dropped      map[sdkproto.Kind]int `json:"dropped"` // items that a full queue lost
	RefusedBy    map[string]int        `json:"refused_by"`
	Posts        int                   `json:"posts"`
	PostsFailed  int                   `json:"posts_failed"`
	Shown        map[string]int        `json:"shown"`         // messages by the way they came, each once
	Duplicates   int                   `json:"duplicates"`    // messages shown again, each time counted
	UnseenPushes int                   `json:"unseen_pushes"` // pushes to a phone whose person does not allow notifications
}

func newTotals() Totals {
	return Totals{
		Sent: map[sdkproto.Kind]int{}, Acked: map[sdkproto.Kind]int{}, Refused: map[sdkproto.Kind]int{},
		Dropped: map[sdkproto.Kind]int{}, RefusedBy: map[string]int{}, Shown: map[string]int{},
	}
}

// addTo adds the book's counts.
func (b *book) addTo(t *Totals) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, kind := range kinds {
		for _, c := range []struct {
			n  int
			in map[sdkproto.Kind]int
		}{{b.sent[k], t.Sent}, {b.acked[k], t.Acked}, {b.refused[k], t.Refused}, {b.dropped[k], t.Dropped}} {
			if c.n > 0 {
				c.in[kind] += c.n
			}
		}
	}
	for code, n := range b.codes {
		t.RefusedBy[code] += n
	}
	t.Posts += b.posted
	t.PostsFailed += b.failed
	t.UnseenPushes += b.unseen
	for _, s := range b.order {
		t.Shown[s.Via]++
		t.Duplicates += s.Times - 1
	}
}

func (b *book) shownCount() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.order)
}

// PhoneReport is what one phone testifies.
type PhoneReport struct {
	Install  string
	Person   *Person
	Pending  int        // items that are neither acknowledged nor refused
	Stopped  error      // why the phone gave up for good; nil mostly
	Totals   Totals     // of this phone
	Refusals []Refusal  // by time, the newest 1,000 at least
	Evidence []Evidence // by time, the newest 1,000 at least; none under Load
	Posts    []Post     // by time, the newest 1,000 at least; none under Load
	Shown    []Shown    // by time

	fates []byte
}

// Acked are the items that the server acknowledged, by seq.
func (r *PhoneReport) Acked() iter.Seq2[uint64, sdkproto.Kind] {
	return func(yield func(uint64, sdkproto.Kind) bool) {
		for seq, f := range r.fates {
			if f&fateMask == fateAcked && !yield(uint64(seq), kinds[f&^fateMask]) {
				return
			}
		}
	}
}

// CauseBefore is the newest evidence that was written before at: what a push
// that a provider got then can be due to. ok is false when there is none.
func (r *PhoneReport) CauseBefore(at time.Time) (e Evidence, ok bool) {
	for _, e := range slices.Backward(r.Evidence) {
		if e.Written.Before(at) {
			return e, true
		}
	}
	return Evidence{}, false
}

func (b *book) report(r *PhoneReport) {
	r.Totals = newTotals()
	b.addTo(&r.Totals)
	b.mu.Lock()
	defer b.mu.Unlock()
	r.fates = slices.Clone(b.fates)
	r.Refusals = slices.Clone(b.refusals)
	r.Evidence = slices.Clone(b.evidence)
	r.Posts = slices.Clone(b.posts)
	for _, s := range b.order {
		r.Shown = append(r.Shown, *s)
	}
}

// witness is a codec that tells the book what passes.
type witness struct {
	sdkproto.Codec
	book *book
}

// AppendFrame implements sdkproto.Codec.
func (w witness) AppendFrame(msg []byte, f *sdkpb.Frame) ([]byte, error) {
	if f.Batch != nil {
		w.book.wrote(f.Batch.Items, false, time.Now())
	}
	return w.Codec.AppendFrame(msg, f)
}

// DecodeFrames implements sdkproto.Codec.
func (w witness) DecodeFrames(msg []byte, limit int) ([]*sdkpb.Frame, error) {
	frames, err := w.Codec.DecodeFrames(msg, limit)
	for _, f := range frames {
		if f.Message != nil {
			w.book.arrive(f.Message)
		}
	}
	return frames, err
}

// Marshal implements sdkproto.Codec.
func (w witness) Marshal(m proto.Message) ([]byte, error) {
	if b, ok := m.(*sdkpb.Batch); ok {
		w.book.wrote(b.Items, true, time.Now())
	}
	return w.Codec.Marshal(m)
}

// Histogram of durations: buckets of 4 %, from 10 µs to beyond an hour. The zero
// value is empty and ready; it is safe for concurrent use.
type Histogram struct {
	mu      sync.Mutex
	buckets [512]int
	n       int
}

const (
	histogramFloor = 10 * time.Microsecond
	histogramStep  = 1.04
)

// Add counts one.
func (h *Histogram) Add(d time.Duration) {
	i := 0
	if d > histogramFloor {
		i = int(math.Ceil(math.Log(float64(d)/float64(histogramFloor)) / math.Log(histogramStep)))
	}
	h.mu.Lock()
	h.buckets[min(i, len(h.buckets)-1)]++
	h.n++
	h.mu.Unlock()
}

// Count is how many there are.
func (h *Histogram) Count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.n
}

// Quantile is the upper end of the bucket that holds the quantile q, 0 to 1; 0
// when there is nothing.
func (h *Histogram) Quantile(q float64) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	rank := max(1, int(math.Ceil(q*float64(h.n))))
	seen := 0
	for i, n := range h.buckets {
		if seen += n; n > 0 && seen >= rank {
			return time.Duration(float64(histogramFloor) * math.Pow(histogramStep, float64(i)))
		}
	}
	return 0
}
