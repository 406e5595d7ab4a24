package uploads_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
	"github.com/footfall-engage/footfall/server/uploads"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memoryLog keeps what was appended.
type memoryLog struct {
	mu      sync.Mutex
	batches [][]engage.Entry
	most    int // batches that it takes; 0: all
	forget  bool
	rows    int
}

var errFull = errors.New("the log takes no more")

func (l *memoryLog) Append(ctx context.Context, entries []engage.Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.most > 0 && len(l.batches) >= l.most {
		return errFull
	}
	l.rows += len(entries)
	if !l.forget {
		l.batches = append(l.batches, entries)
	}
	return nil
}

// touches by id, in the order in which they first came, and how many came again.
func (l *memoryLog) touches(t *testing.T) (all []engage.Entry, again int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := map[string]bool{}
	for _, b := range l.batches {
		for _, e := range b {
			if id := touchOf(t, e).ID; seen[id] {
				again++
			} else {
				seen[id] = true
				all = append(all, e)
			}
		}
	}
	return all, again
}

func touchOf(t *testing.T, e engage.Entry) engage.Touch {
	t.Helper()
	var x engage.Touch
	if err := json.Unmarshal(e.Body, &x); err != nil {
		t.Fatal(err)
	}
	return x
}

// desk is a service under test.
type desk struct {
	*uploads.Service
	t     *testing.T
	dir   string
	log   *memoryLog
	clock *clock.Manual
}

func newDesk(t *testing.T, with ...func(*uploads.Options)) *desk {
	t.Helper()
	d := &desk{t: t, dir: t.TempDir(), log: &memoryLog{}, clock: clock.NewManual(now)}
	d.open(with...)
	return d
}

func (d *desk) open(with ...func(*uploads.Options)) {
	d.t.Helper()
	o := uploads.Options{Dir: d.dir, Log: d.log, Clock: d.clock, Attributes: func(string) map[string]rules.Type { return declared }}
	for _, f := range with {
		f(&o)
	}
	var err error
	if d.Service, err = uploads.New(o); err != nil {
		d.t.Fatal(err)
	}
}

// run processes until the condition holds.
func (d *desk) run(until func() bool) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(d.t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	d.wait(until)
	cancel()
	if err := <-done; err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) wait(until func() bool) {
	d.t.Helper()
	patience := time.NewTimer(30 * time.Second)
	defer patience.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !until() {
		select {
		case <-tick.C:
		case <-patience.C:
			d.t.Fatalf("not within 30 s; uploads %+v", d.List("shop"))
		}
	}
}

func (d *desk) create(m uploads.Making) uploads.Upload {
	d.t.Helper()
	if m.Workspace == "" {
		m.Workspace = "shop"
	}
	u, err := d.Create(m)
	if err != nil {
		d.t.Fatal(err)
	}
	return u
}

// give makes an upload of a whole file.
func (d *desk) give(m uploads.Making, text string) string {
	d.t.Helper()
	u := d.create(m)
	if _, err := d.Write(u.Workspace, u.ID, 0, true, strings.NewReader(text)); err != nil {
		d.t.Fatal(err)
	}
	return u.ID
}

func (d *desk) ended(ids ...string) func() bool {
	return func() bool {
		return !slices.ContainsFunc(ids, func(id string) bool { return !d.get(id).State.Ended() })
	}
}

func (d *desk) get(id string) uploads.Upload {
	d.t.Helper()
	u, err := d.Get("shop", id)
	if err != nil {
		d.t.Fatal(err)
	}
	return u
}

func (d *desk) report(id string) string {
	d.t.Helper()
	var b strings.Builder
	if err := d.Report("shop", id, func(line []byte) error {
		b.Write(line)
		b.WriteByte('\n')
		return nil
	}); err != nil {
		d.t.Fatal(err)
	}
	return b.String()
}

// customers is a table of n people, of whom each hundredth is refused.
func customers(n int) string {
	var b strings.Builder
	b.WriteString("user_id,email,city,points\n")
	for i := range n {
		points := fmt.Sprint(i)
		if i%100 == 99 {
			points = "many"
		}
		fmt.Fprintf(&b, "c%d,c%d@example.com,\"Delft, %d\",%s\n", i, i, i%7, points)
	}
	return b.String()
}

func TestACutUploadGoesOnAndItsRowsReachTheLogOnce(t *testing.T) {
	d := newDesk(t)
	text := customers(1000)
	sum := sha256.Sum256([]byte(text))
	u := d.create(uploads.Making{Kind: uploads.People, Name: "customers.csv", By: "k1", Size: int64(len(text)), SHA256: hex.EncodeToString(sum[:])})
	broken := errors.New("the line broke")
	got, err := d.Write("shop", u.ID, 0, false, io.MultiReader(strings.NewReader(text[:5000]), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || got.Received != 5000 {
		t.Fatalf("received %d, %v", got.Received, err)
	}
	if _, err := d.Write("shop", u.ID, 4000, false, strings.NewReader("x")); engage.CodeOf(err) != engage.Conflict {
		t.Errorf("another offset: %v", err)
	}
	d.open() // a death loses nothing of it
	if got := d.get(u.ID); got.Received != 5000 || got.State != uploads.Receiving {
		t.Fatalf("after a restart: %+v", got)
	}
	if _, err := d.Write("shop", u.ID, 5000, true, strings.NewReader(text[5000:6000])); engage.CodeOf(err) != engage.Invalid {
		t.Errorf("the last part of a file that is not whole: %v", err)
	}
	if _, err := d.Write("shop", u.ID, 6000, false, strings.NewReader(text[6000:]+"more")); engage.CodeOf(err) != engage.TooLarge {
		t.Errorf("more than was announced: %v", err)
	}
	if got, err := d.Write("shop", u.ID, int64(len(text)), true, strings.NewReader("")); err != nil || got.State != uploads.Waiting {
		t.Fatalf("the end: %+v %v", got, err)
	}
	d.clock.Advance(time.Second)
	d.run(d.ended(u.ID))
	same := d.give(uploads.Making{Kind: uploads.People, By: "k1"}, text)
	again := d.give(uploads.Making{Kind: uploads.People, By: "k1"}, text+"\n") // the same rows
	d.run(d.ended(same, again))
	if x := d.get(same); x.State != uploads.Done || x.Same != u.ID || x.Read != 0 {
		t.Errorf("the same file: %+v", x)
	}

	got = d.get(u.ID)
	if got.State != uploads.Done || got.Read != 1000 || got.Taken != 990 || got.Refused != 10 || got.Listed != 10 || got.Used != got.Received {
		t.Errorf("upload %+v", got)
	}
	first := `{"row":101,"code":"attribute_type","field":"points","reason":"must be a number, with a point before its decimals"}` + "\n"
	if report := d.report(u.ID); !strings.HasPrefix(report, first) || strings.Count(report, "\n") != 10 {
		t.Errorf("report\n%s", report)
	}
	all, repeated := d.log.touches(t)
	if len(all) != 990 || repeated != 990 {
		t.Fatalf("%d touches, %d of them twice: the same file has the same ids", len(all), repeated)
	}
	x := touchOf(t, all[0])
	want := engage.Touch{
		V: 1, ID: x.ID, Trusted: true, Quiet: true, From: engage.TouchSource{Kind: "upload", Key: "k1", Name: u.ID},
		Identifiers: []string{"user_id:c0", "email:c0@example.com"}, Traits: map[string]any{"city": "Delft, 0", "points": 0.0},
	}
	if fmt.Sprint(x) != fmt.Sprint(want) || all[0].Kind != engage.KindTouch || !all[0].Occurred.Equal(now) ||
		all[0].Key != engage.ProfileKey("shop", engage.PersonID("shop", "user_id:c0")) {
		t.Errorf("touch %+v at %v of %s", x, all[0].Occurred, all[0].Key)
	}
	for _, id := range []string{u.ID, same, again} {
		if _, err := os.Stat(filepath.Join(d.dir, id, "body")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the bytes are still there: %v", err)
		}
	}
	d.open()
	if got := d.get(u.ID); got.State != uploads.Done || got.Taken != 990 || len(d.report(u.ID)) == 0 {
		t.Errorf("after a restart: %+v", got)
	}
}

// A death at any batch: every row is there, and the figures are those of one run.
func TestARestartGoesOnWhereItWas(t *testing.T) {
	text := customers(3000)
	text = strings.Replace(text, "\"Delft, 3\"", "\"Delft,\n3\"", 5) // rows of two lines
	for name, file := range map[string]string{"plain": text, "gzip": zipped(text), "lines of JSON": strings.Repeat("{\"user_id\":\"a\",\"n\":1}\n", 0) + jsonLines(3000)} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			id := d.give(uploads.Making{Kind: uploads.People}, file)
			starts := 0
			for ; !d.get(id).State.Ended(); starts++ {
				before := len(d.log.batches)
				d.log.most = before + 4
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- d.Run(ctx) }()
				d.wait(func() bool {
					d.log.mu.Lock()
					n := len(d.log.batches)
					d.log.mu.Unlock()
					d.clock.Advance(300 * time.Millisecond) // positions are saved by the clock
					return n >= before+4 || d.get(id).State.Ended()
				})
				cancel()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				d.open()
			}
			u := d.get(id)
			if u.State != uploads.Done || u.Read != 3000 || u.Taken != 2970 || u.Refused != 30 {
				t.Errorf("after %d starts: %+v", starts, u)
			}
			all, again := d.log.touches(t)
			if len(all) != 2970 || starts < 3 {
				t.Errorf("%d touches after %d starts, %d again", len(all), starts, again)
			}
			if strings.Count(d.report(id), "\n") != 30 {
				t.Errorf("report\n%s", d.report(id))
			}
		})
	}
}

// flaky is a log that takes one portion at a time, and of which every fifth answer is lost:
// what was appended is there, half of it at times.
type flaky struct {
	memoryLog
	calls, under int
	wrong        atomic.Pointer[string]
}

func (l *flaky) Append(ctx context.Context, entries []engage.Entry) error {
	l.mu.Lock()
	l.calls++
	l.under++
	if l.under > 1 {
		l.wrong.Store(new("two portions at a time"))
	}
	lost, n := l.calls%5 == 0, len(entries)
	if lost && l.calls%2 == 0 {
		n /= 2
	}
	l.mu.Unlock()
	runtime.Gosched()
	err := l.memoryLog.Append(ctx, entries[:n])
	l.mu.Lock()
	l.under--
	l.mu.Unlock()
	if lost {
		return errors.Join(err, errFull)
	}
	return err
}

// While one portion is on its way the next is read: when the answer to the first is lost,
// both come again, in the order of the file, and the figures are those of one run.
func TestRowsThatWereReadAheadComeAgainWhenThoseBeforeThemAreLost(t *testing.T) {
	log := &flaky{}
	d := newDesk(t, func(o *uploads.Options) { o.Log = log })
	id := d.give(uploads.Making{Kind: uploads.People}, customers(6000))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	d.wait(func() bool {
		d.clock.Advance(300 * time.Millisecond)
		return d.get(id).State.Ended()
	})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if u := d.get(id); u.State != uploads.Done || u.Read != 6000 || u.Taken != 5940 || u.Refused != 60 || u.Listed != 60 || strings.Count(d.report(id), "\n") != 60 {
		t.Errorf("%+v", u)
	}
	all, again := log.touches(t)
	if len(all) != 5940 || again == 0 {
		t.Errorf("%d touches, %d again", len(all), again)
	}
	last := -1.0
	for _, e := range all {
		at, _ := touchOf(t, e).Traits["points"].(float64)
		if at <= last {
			t.Fatalf("row %v came behind row %v", at, last)
		}
		last = at
	}
	if wrong := log.wrong.Load(); wrong != nil {
		t.Error(*wrong)
	}
}

func jsonLines(n int) string {
	var b strings.Builder
	for i := range n {
		points := fmt.Sprint(i)
		if i%100 == 99 {
			points = `"many"`
		}
		fmt.Fprintf(&b, "{\"user_id\":\"c%d\",\"traits\":{\"points\":%s}}\n", i, points)
	}
	return b.String()
}

func TestAFileThatBreaksOffFailsAndKeepsWhatWasBefore(t *testing.T) {
	d := newDesk(t)
	whole := zipped(customers(20_000))
	cut := d.give(uploads.Making{Kind: uploads.People}, whole[:len(whole)/2])
	torn := customers(10)
	half := d.give(uploads.Making{Kind: uploads.People}, torn[:len(torn)-30])
	other := d.give(uploads.Making{Kind: uploads.People, SHA256: strings.Repeat("0", 64)}, "user_id\nada\n")
	none := d.give(uploads.Making{Kind: uploads.People}, "user_id\n")
	d.run(d.ended(cut, half, other, none))
	if u := d.get(cut); u.State != uploads.Failed || u.Problem.Field != "file" || u.Problem.Code != engage.Invalid || u.Taken < 1000 {
		t.Errorf("cut: %+v %+v", u, u.Problem)
	}
	if u := d.get(half); u.State != uploads.Done || u.Taken != 9 || u.Refused != 1 || !strings.Contains(d.report(half), `"field":"row"`) {
		t.Errorf("cut in the middle of a row: %+v\n%s", u, d.report(half))
	}
	if u := d.get(other); u.State != uploads.Failed || u.Problem.Field != "sha256" || u.Read != 0 {
		t.Errorf("another file: %+v %+v", u, u.Problem)
	}
	if u := d.get(none); u.State != uploads.Failed || u.Problem.Reason != "has no row" {
		t.Errorf("no row: %+v %+v", u, u.Problem)
	}
}

func TestUploadsEndAreKeptAndGo(t *testing.T) {
	d := newDesk(t, func(o *uploads.Options) { o.MaxOpen, o.MaxBytes, o.MaxSpooled = 2, 1000, 1500 })
	waits := d.give(uploads.Making{Kind: uploads.People}, "user_id\nada\n")
	if _, err := d.Get("other", waits); engage.CodeOf(err) != engage.NotFound {
		t.Errorf("another workspace sees it: %v", err)
	}
	if err := d.Cancel("other", waits); engage.CodeOf(err) != engage.NotFound {
		t.Errorf("another workspace cancels it: %v", err)
	}
	if _, err := d.Write("other", waits, 0, true, strings.NewReader("x")); engage.CodeOf(err) != engage.NotFound {
		t.Errorf("another workspace writes to it: %v", err)
	}
	if err := d.Report("other", waits, nil); engage.CodeOf(err) != engage.NotFound {
		t.Errorf("another workspace reads its report: %v", err)
	}
	if _, err := d.Write("shop", waits, 12, true, strings.NewReader("x")); engage.CodeOf(err) != engage.Conflict {
		t.Errorf("it is whole, and takes more: %v", err)
	}
	idle := d.create(uploads.Making{Kind: uploads.Events, Size: 900})
	if _, err := d.Create(uploads.Making{Workspace: "shop", Kind: uploads.People}); engage.CodeOf(err) != engage.RateLimited {
		t.Errorf("a third: %v", err)
	}
	if _, err := d.Create(uploads.Making{Workspace: "other", Kind: uploads.People, Size: 700}); engage.CodeOf(err) != engage.Unavailable {
		t.Errorf("no room: %v", err)
	}
	for field, m := range map[string]uploads.Making{
		"kind": {Kind: "things"}, "size": {Kind: uploads.People, Size: 1001}, "format": {Kind: uploads.People, Format: "xml"},
		"sha256": {Kind: uploads.People, SHA256: "abc"}, "mapping.x": {Kind: uploads.People, Mapping: uploads.Mapping{"x": "y"}},
	} {
		_, err := d.Create(m)
		if e, is := errors.AsType[*engage.Error](err); !is || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if err := d.Cancel("shop", waits); err != nil || d.get(waits).State != uploads.Cancelled {
		t.Errorf("cancelled: %+v, %v", d.get(waits), err)
	}
	if all, err := filepath.Glob(filepath.Join(d.dir, "*", "body")); err != nil || len(all) != 1 {
		t.Errorf("bytes that stay: %v %v", all, err)
	}
	d.clock.Advance(4 * 24 * time.Hour)
	d.run(d.ended(idle.ID))
	if u := d.get(idle.ID); u.State != uploads.Cancelled || u.Problem == nil {
		t.Errorf("nothing came: %+v", u)
	}
	d.clock.Advance(27 * 24 * time.Hour)
	d.run(func() bool { return len(d.List("shop")) == 1 })
	if err := d.Cancel("shop", idle.ID); err != nil || len(d.List("shop")) != 0 {
		t.Errorf("removed: %v", err)
	}
	if left, err := os.ReadDir(d.dir); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestWorkspacesTakeTurnsAndFilesAreForTheirOwnerOnly(t *testing.T) {
	d := newDesk(t)
	large := d.give(uploads.Making{Kind: uploads.People}, customers(30_000))
	small := d.create(uploads.Making{Workspace: "other", Kind: uploads.People})
	if _, err := d.Write("other", small.ID, 0, true, strings.NewReader(customers(10))); err != nil {
		t.Fatal(err)
	}
	err := filepath.Walk(d.dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 && path != d.dir {
			t.Errorf("%s is open to others: %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	d.run(d.ended(large))
	at := slices.IndexFunc(d.log.batches, func(b []engage.Entry) bool { return b[0].Workspace() == "other" })
	if at < 0 || at > 30 {
		t.Errorf("the small one came after %d of %d batches", at, len(d.log.batches))
	}
	if largest := slices.MaxFunc(d.log.batches, func(a, b []engage.Entry) int { return len(a) - len(b) }); len(largest) > 200 {
		t.Errorf("a batch has %d entries", len(largest))
	}
}

func TestCancellingStopsWhatIsProcessed(t *testing.T) {
	d := newDesk(t)
	id := d.give(uploads.Making{Kind: uploads.People}, customers(50_000))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	d.wait(func() bool { return d.get(id).Read > 0 })
	if err := d.Cancel("shop", id); err != nil {
		t.Fatal(err)
	}
	d.wait(d.ended(id))
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if u := d.get(id); u.State != uploads.Cancelled || u.Read == 0 || u.Read == 50_000 {
		t.Errorf("%+v", u)
	}
}

// weighed looks at the live heap while the rows stand still.
type weighed struct {
	of, batches, rows int
	quarter, whole    uint64 // the most about 25 % of the rows, and at the end
}

func (l *weighed) Append(_ context.Context, entries []engage.Entry) error {
	for _, e := range entries { // the rows of an order are one entry
		l.rows += max(bytes.Count(e.Body, []byte(`"price"`)), 1)
	}
	part := 100 * l.rows / l.of
	if l.batches++; l.batches%20 != 0 || part < 20 || part > 30 && part < 90 {
		return nil
	}
	synctest.Wait() // the portion behind this one has been read
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if part <= 30 {
		l.quarter = max(l.quarter, m.HeapAlloc)
	} else {
		l.whole = max(l.whole, m.HeapAlloc)
	}
	return nil
}

// An upload takes the memory of some rows, whatever its size: also one whose rows make
// orders, which must be known to have ended.
func TestMemoryIsThatOfAFewRows(t *testing.T) {
	for kind, line := range map[uploads.Kind]func(b *bytes.Buffer, i int){
		uploads.People: nil,
		uploads.Purchases: func(b *bytes.Buffer, i int) {
			if i == 0 {
				b.WriteString("order_id,user_id,date,sku,unit_price\n")
			} else {
				fmt.Fprintf(b, "o%d,c%d,2026-10-01,s%d,1.5\n", i/2, i/2%1000, i)
			}
		},
	} {
		rows := 100_000
		if kind == uploads.Purchases {
			rows = 40_000
		}
		log := &weighed{of: rows}
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t, func(o *uploads.Options) { o.Log = log })
			u := d.create(uploads.Making{Kind: kind})
			if _, err := d.Write("shop", u.ID, 0, true, &endless{rows: rows, line: line}); err != nil {
				t.Fatal(err)
			}
			d.run(d.ended(u.ID))
			if got := d.get(u.ID); got.Taken != int64(rows) || log.rows != rows {
				t.Fatalf("%d rows in the log, %+v", log.rows, got)
			}
		})
		ratio := float64(log.whole) / float64(log.quarter)
		if t.Logf("%s: live heap %d kB at 25 %%, %d kB at the end: %.3f", kind, log.quarter>>10, log.whole>>10, ratio); log.quarter == 0 || ratio > 1.1 {
			t.Errorf("of %s the memory grows with the rows: %.3f", kind, ratio)
		}
	}
}

// endless is a table that is made while it is read.
type endless struct {
	rows, at int
	left     bytes.Buffer
	line     func(b *bytes.Buffer, i int) // the header is 0; nil: of people
}

func (e *endless) Read(p []byte) (int, error) {
	for e.left.Len() == 0 {
		if e.at > e.rows {
			return 0, io.EOF
		}
		switch {
		case e.line != nil:
			e.line(&e.left, e.at)
		case e.at == 0:
			e.left.WriteString("user_id,city,points,vip,born\n")
		default:
			fmt.Fprintf(&e.left, "customer-%d,Delft,%d,yes,1970-01-02\n", e.at, e.at)
		}
		e.at++
	}
	return e.left.Read(p)
}

func BenchmarkRows(b *testing.B) {
	log := &memoryLog{forget: true}
	s, err := uploads.New(uploads.Options{Dir: b.TempDir(), Log: log, Clock: clock.System{}, Attributes: func(string) map[string]rules.Type { return declared }})
	if err != nil {
		b.Fatal(err)
	}
	u, err := s.Create(uploads.Making{Workspace: "shop", Kind: uploads.People})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := s.Write("shop", u.ID, 0, true, &endless{rows: b.N}); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	b.ReportAllocs()
	b.ResetTimer()
	go func() { done <- s.Run(ctx) }()
	for tick := time.NewTicker(time.Millisecond); ; {
		<-tick.C
		if u, err := s.Get("shop", u.ID); err != nil || u.State.Ended() {
			tick.Stop()
			break
		}
	}
	b.StopTimer()
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}
