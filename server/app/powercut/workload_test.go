package powercut_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

// The environment in which the test binary is the process that is traced.
const (
	childDir   = "FOOTFALL_TEST_POWERCUT_DIR"
	childLog   = "FOOTFALL_TEST_POWERCUT_LOG"   // the log's durability
	childStore = "FOOTFALL_TEST_POWERCUT_STORE" // the stores'
	childLives = "FOOTFALL_TEST_POWERCUT_LIVES" // its lives, such as "0 2" for the first two
	childKill  = "FOOTFALL_TEST_POWERCUT_KILL"  // after so many marks and µs it kills itself, such as "100 700"
)

// The shape of the workload: small, and yet with every kind of file operation.
const (
	producers  = 4  // of each stream in
	calls      = 30 // of each producer in a life
	writers    = 3  // of the hot store
	batches    = 30 // of each in a life
	stateDocs  = 20 // in one batch of states
	stateTurns = 30 // batches of states in a life
	bulkBytes  = 600_000
	bulkCount  = 15 // beyond the 8 MiB of a block of the log
)

// parts are what is opened in a folder.
type parts struct {
	log         *eventlog.JetStream
	hot, states *sqlite.Store
}

var collections = []store.Collection{{Name: "docs", Indexes: []store.Index{{Name: "n", Paths: []string{"n"}}}}}

func openParts(ctx context.Context, dir, logDurability, storeDurability string) (p parts, err error) {
	if p.log, err = eventlog.OpenEmbedded(ctx, eventlog.EmbeddedOptions{Dir: filepath.Join(dir, "log"), Durability: logDurability}); err != nil {
		return p, err
	}
	open := func(name string) (s *sqlite.Store) {
		if err == nil {
			s, err = sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(dir, name), Collections: collections, Durability: storeDurability, Now: time.Now})
		}
		return s
	}
	p.hot = open("hot.db")
	p.states = open("states.db")
	if err != nil {
		err = errors.Join(err, p.close())
	}
	return p, err
}

func (p parts) close() error {
	var errs []error
	for _, s := range []*sqlite.Store{p.states, p.hot} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(append(errs, p.log.Close())...)
}

// death is when a child kills itself: so long after so many marks; 0 is never.
var death struct {
	marks atomic.Int64
	after int64
	delay time.Duration
}

// mark says that something has been answered, in one write.
func mark(format string, args ...any) {
	_, _ = fmt.Fprintf(os.Stdout, format+"\n", args...) // it goes to a trace
	if death.marks.Add(1) == death.after {
		time.AfterFunc(death.delay, func() {
			if self, err := os.FindProcess(os.Getpid()); err == nil {
				_ = self.Kill() // nobody is left to hear of an error, and the test wants a death
			}
		})
	}
}

// child is what the traced process does.
func child() error {
	var from, to int
	if _, err := fmt.Sscan(os.Getenv(childLives), &from, &to); err != nil {
		return err
	}
	if kill := os.Getenv(childKill); kill != "" {
		var us int64
		if _, err := fmt.Sscan(kill, &death.after, &us); err != nil {
			return err
		}
		death.delay = time.Duration(us) * time.Microsecond
	}
	for life := from; life < to; life++ {
		if err := work(os.Getenv(childDir), os.Getenv(childLog), os.Getenv(childStore), life); err != nil {
			return err
		}
	}
	return nil
}

// work is one life: it opens what is there, says what it has read, and does all that
// the server does with its log and stores, each answer marked.
func work(dir, logDurability, storeDurability string, life int) error {
	ctx := context.Background()
	p, err := openParts(ctx, dir, logDurability, storeDurability)
	if err != nil {
		return err
	}
	var at versions
	if life > 0 {
		if at, err = p.read(ctx); err != nil {
			return errors.Join(err, p.close())
		}
	}
	mark("opened %d", life)
	g, gctx := errgroup.WithContext(ctx)
	for i := range 2 {
		g.Go(func() error { return appendThroughWriter(gctx, p.log, i, life) })
	}
	g.Go(func() error { return appendBulk(gctx, p.log, life) })
	g.Go(func() error { return sealAndSucceed(gctx, p.log) })
	for w := range writers {
		g.Go(func() error { return putPairs(gctx, p.hot, w, at.hot[w]) })
	}
	g.Go(func() error { return putStates(gctx, p.states, at.states) })
	if err := errors.Join(g.Wait(), p.close()); err != nil {
		return err
	}
	mark("closed %d", life)
	return nil
}

// versions are where the stores stand.
type versions struct {
	hot    [writers]int
	states int
}

// read marks what a life finds as if it had been answered: from now on it counts.
func (p parts) read(ctx context.Context) (at versions, err error) {
	found := &findings{}
	for w := range writers {
		at.hot[w] = read(ctx, p.hot, fmt.Sprintf("pair-%d", w), found)
		mark("hot %d %d", w, at.hot[w])
	}
	at.states = read(ctx, p.states, "state-0", found)
	mark("states %d", at.states)
	for i := range 2 {
		name, subjects := inStream(i)
		msgs, _ := readAll(ctx, p.log, name, subjects, "", said{}, found)
		whole := map[int]int{} // by producer: its last call
		for _, m := range msgs {
			entries, err := engage.DecodeRecord(m.Data)
			if err != nil {
				return at, err
			}
			for _, e := range entries {
				var producer, call, entry, of int
				if _, err := fmt.Sscan(string(e.Body), &producer, &call, &entry, &of); err != nil {
					return at, err
				}
				if entry == of-1 {
					whole[producer] = call
				}
			}
		}
		for producer, call := range whole {
			mark("in %d %d %d", i, producer, call)
		}
	}
	bulk, err := p.log.Open(ctx, "BULK", "bulk.>")
	if err != nil {
		return at, err
	}
	_, last, err := bulk.Bounds(ctx)
	if err != nil {
		return at, err
	}
	mark("bulk %d", last)
	return at, errors.Join(found.errs...)
}

func inStream(i int) (name, subjects string) {
	return fmt.Sprintf("IN_%d", i), fmt.Sprintf("in.%d.>", i)
}

// appendThroughWriter is the ingest of a partition with its retention.
func appendThroughWriter(ctx context.Context, log eventlog.Log, i, life int) error {
	name, subjects := inStream(i)
	s, err := log.Open(ctx, name, subjects)
	if err != nil {
		return err
	}
	w := eventlog.NewWriter(s, eventlog.WriterOptions{
		Partition: name, Now: time.Now,
		Subject: func(ws string) string { return fmt.Sprintf("in.%d.%s", i, ws) },
	})
	wctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(wctx) }()
	g, gctx := errgroup.WithContext(ctx)
	for n := range producers {
		producer := life*producers + n
		g.Go(func() error {
			for c := range calls {
				of := 1 + (c+producer)%3
				var entries []engage.Entry
				for k := range of {
					body := fmt.Sprintf("%d %d %d %d %s", producer, c, k, of, strings.Repeat("x", (c*37+k*211)%900))
					entries = append(entries, engage.Entry{Kind: engage.KindItem, Key: engage.InstallKey(fmt.Sprintf("shop%d", producer%2), "i"), Body: []byte(body)})
				}
				if err := w.Append(gctx, entries); err != nil {
					return err
				}
				mark("in %d %d %d", i, producer, c)
				if n == 0 && c%10 == 9 {
					_, last, err := s.Bounds(gctx)
					if err != nil {
						return err
					}
					mark("trimming %s %d", name, last-last/4)
					if err := s.Trim(gctx, last-last/4); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	err = g.Wait()
	stop()
	return errors.Join(err, <-ended)
}

// bulk is the n-th large message.
func bulk(n uint64) []byte {
	size := bulkBytes
	if n > bulkCount {
		size = 100
	}
	return bytes.Repeat([]byte{byte(n), byte(n * 7)}, size/2)
}

// appendBulk fills a block of the log, so that the next begins, and trims: a whole
// block, and everything.
func appendBulk(ctx context.Context, log eventlog.Log, life int) error {
	s, err := log.Open(ctx, "BULK", "bulk.>")
	if err != nil {
		return err
	}
	_, last, err := s.Bounds(ctx)
	if err != nil {
		return err
	}
	add := func(n int) error {
		for range n {
			if last, err = s.Append(ctx, "bulk.shop", bulk(last+1), int64(last)); err != nil {
				return err
			}
			mark("bulk %d", last)
		}
		return nil
	}
	trim := func(before uint64) error {
		mark("trimming BULK %d", before)
		return s.Trim(ctx, before)
	}
	if life > 0 {
		return add(5)
	}
	if err := add(bulkCount); err != nil {
		return err
	}
	if err := trim(last); err != nil {
		return err
	}
	if err := add(3); err != nil {
		return err
	}
	for range 3 {
		if err := trim(last + 1); err != nil {
			return err
		}
		if err := add(3); err != nil {
			return err
		}
	}
	return trim(last + 1) // and nothing after it
}

// sealAndSucceed seals a stream, unless an earlier life has, and gives its subject
// to another.
func sealAndSucceed(ctx context.Context, log eventlog.Log) error {
	add := func(s eventlog.Stream, word string) error {
		for range 3 {
			seq, err := s.Append(ctx, "act.shop", []byte(word), -1)
			if err != nil {
				return err
			}
			mark("%s %d", word, seq)
		}
		return nil
	}
	old, err := log.Open(ctx, "OLD", "act.>")
	if err != nil {
		return err
	}
	if err := add(old, "old"); err == nil {
		if err := old.Seal(ctx); err != nil {
			return err
		}
	} else if !errors.Is(err, eventlog.ErrSealed) {
		return err
	}
	mark("sealed")
	next, err := log.Open(ctx, "NEXT", "act.>")
	if err != nil {
		return err
	}
	return add(next, "next")
}

// counter is the body of the documents.
type counter struct {
	N   int    `json:"n"`
	Pad string `json:"pad,omitempty"`
}

func counterPut(id string, n int, version int64, pad int) store.Put {
	body, err := json.Marshal(counter{n, strings.Repeat("y", pad)})
	if err != nil {
		panic(err) // it is two plain fields
	}
	return store.Put{Collection: "docs", Key: store.Key{Workspace: "shop", ID: id}, Body: body, If: version}
}

// putPairs writes batches of two documents that must stay together, and of one
// that the next batch deletes.
func putPairs(ctx context.Context, s store.Store, w, from int) error {
	for n := from; n < from+batches; n++ { // the version that is there
		b := store.Batch{
			Puts: []store.Put{
				counterPut(fmt.Sprintf("pair-%d", w), n+1, int64(n), n*13%700),
				counterPut(fmt.Sprintf("twin-%d", w), n+1, int64(n), 0),
				counterPut(fmt.Sprintf("once-%d-%d", w, n+1), n+1, 0, 0),
			},
			Deletes: []store.Delete{{Collection: "docs", Key: store.Key{Workspace: "shop", ID: fmt.Sprintf("once-%d-%d", w, n)}}},
		}
		if err := s.Apply(ctx, b); err != nil {
			return err
		}
		mark("hot %d %d", w, n+1)
	}
	return nil
}

// putStates writes batches of many documents, enough for checkpoints.
func putStates(ctx context.Context, s store.Store, from int) error {
	for n := from; n < from+stateTurns; n++ {
		var b store.Batch
		for d := range stateDocs {
			b.Puts = append(b.Puts, counterPut(fmt.Sprintf("state-%d", d), n+1, int64(n), 300))
		}
		if err := s.Apply(ctx, b); err != nil {
			return err
		}
		mark("states %d", n+1)
	}
	return nil
}

// said is what the marks before a cut claim.
type said struct {
	in       [2]map[int]int    // by producer: its last answered call
	last     map[string]uint64 // by stream: the last answered sequence
	trimming map[string]uint64 // by stream: what a trim may have taken
	sealed   bool
	hot      map[int]int // by writer
	states   int
}

func listen(marks []string) said {
	s := said{in: [2]map[int]int{{}, {}}, last: map[string]uint64{}, trimming: map[string]uint64{}, hot: map[int]int{}}
	for _, line := range marks {
		word, rest, _ := strings.Cut(line, " ")
		var a, b, c int
		switch word {
		case "in":
			_, _ = fmt.Sscan(rest, &a, &b, &c)
			s.in[a][b] = max(s.in[a][b], c) // a later life tells again what it has read
		case "bulk", "old", "next":
			_, _ = fmt.Sscan(rest, &a)
			s.last[strings.ToUpper(word)] = max(s.last[strings.ToUpper(word)], uint64(a))
		case "trimming":
			name, n, _ := strings.Cut(rest, " ")
			_, _ = fmt.Sscan(n, &a)
			s.trimming[name] = max(s.trimming[name], uint64(a))
		case "sealed":
			s.sealed = true
		case "hot":
			_, _ = fmt.Sscan(rest, &a, &b)
			s.hot[a] = b
		case "states":
			_, _ = fmt.Sscan(rest, &s.states)
		}
	}
	return s
}

// findings are what an image lacks or has too much, of the log and of the stores,
// and what gave no answer in time: a slow machine does that too.
type findings struct {
	log, stores, slow []string
	errs              []error
}

func (f *findings) inLog(format string, args ...any) { f.add(&f.log, format, args) }

func (f *findings) inStores(format string, args ...any) { f.add(&f.stores, format, args) }

func (f *findings) add(to *[]string, format string, args []any) {
	for _, a := range args {
		if err, ok := a.(error); ok {
			if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) {
				to = &f.slow
			}
		}
	}
	text := fmt.Sprintf(format, args...)
	*to = append(*to, text)
	f.errs = append(f.errs, errors.New(text))
}

// recoverParts opens what a cut has left and compares it with what was answered. A
// reader of the log that waits for what is lost is given up after patience.
func recoverParts(ctx context.Context, dir string, s said, patience time.Duration) (f *findings) {
	f = &findings{}
	log, err := eventlog.OpenEmbedded(ctx, eventlog.EmbeddedOptions{Dir: filepath.Join(dir, "log"), Durability: power})
	if err != nil {
		f.inLog("does not open: %v", err)
	} else {
		patient, cancel := context.WithTimeout(ctx, patience)
		checkLog(patient, log, s, f)
		cancel()
		if err := log.Close(); err != nil {
			f.inLog("close: %v", err)
		}
	}
	for _, name := range []string{"hot.db", "states.db"} {
		st, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(dir, name), Collections: collections, Durability: power, Now: time.Now})
		if err != nil {
			f.inStores("%s does not open: %v", name, err)
			continue
		}
		if name == "hot.db" {
			checkHot(ctx, st, s, f)
		} else {
			checkStates(ctx, st, s, f)
		}
		if err := st.Apply(ctx, store.Batch{Puts: []store.Put{counterPut("after", 1, 0, 0)}}); err != nil {
			f.inStores("%s takes no more: %v", name, err)
		}
		if err := st.Close(); err != nil {
			f.inStores("%s: close: %v", name, err)
		}
	}
	return f
}

// readAll reads a stream to its end, and appends to it when it is given a subject;
// not ok when that fails.
func readAll(ctx context.Context, log eventlog.Log, name, subjects, subject string, s said, f *findings) (out []eventlog.Message, ok bool) {
	st, err := log.Open(ctx, name, subjects)
	if err != nil {
		f.inLog("%s does not open: %v", name, err)
		return nil, false
	}
	first, last, err := st.Bounds(ctx)
	if err != nil {
		f.inLog("%s has no bounds: %v", name, err)
		return nil, false
	}
	if s.trimming != nil && first > max(s.trimming[name], 1) {
		f.inLog("%s begins at %d, trimmed was below %d", name, first, s.trimming[name])
	}
	if last < s.last[name] {
		f.inLog("%s ends at %d, %d was answered", name, last, s.last[name])
	}
	if subject != "" {
		if seq, err := st.Append(ctx, subject, []byte("after"), int64(last)); err != nil || seq != last+1 {
			f.inLog("%s takes no more: sequence %d after %d, %v", name, seq, last, err)
			return nil, false
		}
		last++
	}
	for next := first; next <= last; {
		msgs, err := st.Read(ctx, next, 1000)
		if err != nil {
			f.inLog("%s cannot be read at %d of %d to %d: %v", name, next, first, last, err)
			return nil, false
		}
		for _, m := range msgs {
			if m.Seq != next {
				f.inLog("%s has %d where %d belongs", name, m.Seq, next)
			}
			next = m.Seq + 1
		}
		out = append(out, msgs...)
	}
	if subject != "" && len(out) > 0 {
		out = out[:len(out)-1]
	}
	return out, true
}

func checkLog(ctx context.Context, log eventlog.Log, s said, f *findings) {
	for i := range 2 {
		name, subjects := inStream(i)
		if msgs, ok := readAll(ctx, log, name, subjects, fmt.Sprintf("in.%d.shop0", i), s, f); ok {
			checkProducers(name, msgs, i, s, f)
		}
	}
	msgs, _ := readAll(ctx, log, "BULK", "bulk.>", "bulk.shop", s, f)
	for _, m := range msgs {
		if !bytes.Equal(m.Data, bulk(m.Seq)) {
			f.inLog("BULK has other bytes at %d", m.Seq)
		}
	}
	// Not opened while nothing was said of it: opening creates.
	if s.last["OLD"] == 0 {
		return
	}
	if old, ok := readAll(ctx, log, "OLD", "act.>", "", s, f); ok && uint64(len(old)) < s.last["OLD"] {
		f.inLog("OLD has %d messages of %d", len(old), s.last["OLD"])
	}
	if !s.sealed {
		return
	}
	st, err := log.Open(ctx, "OLD", "act.>")
	if err == nil {
		_, err = st.Append(ctx, "act.shop", []byte("after"), -1)
	}
	if !errors.Is(err, eventlog.ErrSealed) {
		f.inLog("OLD was sealed, an append gives %v", err)
	}
	subject := ""
	if s.last["NEXT"] > 0 {
		subject = "act.shop"
	}
	if next, ok := readAll(ctx, log, "NEXT", "act.>", subject, s, f); ok && uint64(len(next)) < s.last["NEXT"] {
		f.inLog("NEXT has %d messages of %d", len(next), s.last["NEXT"])
	}
}

// checkProducers wants each producer's calls whole, once and in order, without a
// hole, up to the last that was answered; at most one more was under way.
func checkProducers(name string, msgs []eventlog.Message, i int, s said, f *findings) {
	type at struct{ call, entry, of int }
	seen := map[int]at{}
	for _, m := range msgs {
		entries, err := engage.DecodeRecord(m.Data)
		if err != nil {
			f.inLog("%s: record %d: %v", name, m.Seq, err)
			return
		}
		for _, e := range entries {
			var producer int
			var a at
			if _, err := fmt.Sscan(string(e.Body), &producer, &a.call, &a.entry, &a.of); err != nil {
				f.inLog("%s: record %d: %v", name, m.Seq, err)
				return
			}
			before, ok := seen[producer]
			follows := a.call == before.call && a.entry == before.entry+1 ||
				a.call == before.call+1 && a.entry == 0 && before.entry == before.of-1
			if !ok {
				follows = a.entry == 0 && (a.call == 0 || s.trimming[name] > 0)
			}
			if !follows {
				f.inLog("%s: producer %d has %v after %v at %d", name, producer, a, before, m.Seq)
			}
			seen[producer] = a
		}
	}
	for producer, a := range seen {
		if a.entry != a.of-1 {
			f.inLog("%s: producer %d ends within its call %v", name, producer, a)
		}
		if call, ok := s.in[i][producer]; (ok && a.call > call+1) || (!ok && a.call > 0) {
			f.inLog("%s: producer %d is at call %d, %d was answered", name, producer, a.call, call)
		}
	}
	for producer, call := range s.in[i] {
		if a, ok := seen[producer]; ok && a.call < call {
			f.inLog("%s: producer %d is at call %d, %d was answered", name, producer, a.call, call)
		} else if !ok && s.trimming[name] == 0 {
			f.inLog("%s: producer %d is gone, its call %d was answered", name, producer, call)
		}
	}
}

func read(ctx context.Context, st store.Store, id string, f *findings) (n int) {
	d, err := st.Get(ctx, "docs", store.Key{Workspace: "shop", ID: id})
	if errors.Is(err, store.ErrNotFound) {
		return 0
	}
	var c counter
	if err == nil {
		err = json.Unmarshal(d.Body, &c)
	}
	if err != nil {
		f.inStores("%s: %v", id, err)
	}
	if int64(c.N) != d.Version && !strings.HasPrefix(id, "once-") {
		f.inStores("%s is %d in version %d", id, c.N, d.Version)
	}
	return c.N
}

func checkHot(ctx context.Context, st store.Store, s said, f *findings) {
	for w := range writers {
		n := read(ctx, st, fmt.Sprintf("pair-%d", w), f)
		if n < s.hot[w] || n > s.hot[w]+1 {
			f.inStores("pair-%d is at %d, %d was answered", w, n, s.hot[w])
		}
		if twin := read(ctx, st, fmt.Sprintf("twin-%d", w), f); twin != n {
			f.inStores("twin-%d is at %d, its pair at %d", w, twin, n)
		}
		page, err := st.Find(ctx, "docs", store.Query{Workspace: "shop", IDPrefix: fmt.Sprintf("once-%d-", w)})
		if err != nil || len(page.Docs) != min(n, 1) || n > 0 && page.Docs[0].ID != fmt.Sprintf("once-%d-%d", w, n) {
			f.inStores("once-%d: %d documents at %d, %v", w, len(page.Docs), n, err)
		}
	}
}

func checkStates(ctx context.Context, st store.Store, s said, f *findings) {
	n := read(ctx, st, "state-0", f)
	if n < s.states || n > s.states+1 {
		f.inStores("states are at %d, %d was answered", n, s.states)
	}
	for d := range stateDocs {
		if m := read(ctx, st, fmt.Sprintf("state-%d", d), f); m != n {
			f.inStores("state-%d is at %d, the others at %d", d, m, n)
		}
	}
	// The index tells the same as the documents.
	if count, err := st.Count(ctx, "docs", store.Query{Workspace: "shop", Filter: store.Filter{Path: "n", Op: store.Eq, Value: n}}); err != nil || n > 0 && count != stateDocs {
		f.inStores("the index knows %d states at %d: %v", count, n, err)
	}
}
