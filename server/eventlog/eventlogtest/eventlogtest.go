// Package eventlogtest is the contract of eventlog.Log as a test suite, a log in
// memory that keeps it (Memory), and a stream that goes wrong on purpose
// (Faulty).
package eventlogtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/eventlog"
)

// patience is how long a test waits for what must happen; reaching it fails.
const patience = 30 * time.Second

// moment is how long a test watches that something does not happen.
const moment = 50 * time.Millisecond

// Run runs the contract. Setup is called once per test and prepares an empty
// log; each call of the open that it returns opens the log again over what the
// one before, closed by then, has left.
func Run(t *testing.T, setup func(t *testing.T) (open func() eventlog.Log)) {
	for _, c := range []struct {
		name string
		test func(*fixture)
	}{
		{"AnEmptyStreamHasItsBounds", emptyBounds},
		{"SequencesCountFromOneWithoutHoles", sequences},
		{"ReadsStartAnywhereAndEndAtTheLimit", readAnywhere},
		{"SequentialReadsSeeEverythingOnce", readOn},
		{"AReadBlocksUntilAnAppend", readBlocks},
		{"AReadBeyondTheEndWaitsForItsSequence", readBeyond},
		{"AReadEndsWithItsContext", readCancelled},
		{"AnAppendEndsWithItsContext", appendCancelled},
		{"CloseEndsAReadThatWaits", closeEndsRead},
		{"ConcurrentReadersSeeTheSame", readers},
		{"AnAppendExpectsTheLastSequence", expectedLast},
		{"OfAppendersWithTheSameExpectationOneWins", expectedLastRace},
		{"SixtyFourAppendersWithoutExpectation", appenders},
		{"BigMessagesUpToTheLimit", bigMessages},
		{"SubjectsCarryTheWorkspace", subjects},
		{"StreamsDoNotMix", streams},
		{"TrimForgetsWhatIsBelow", trim},
		{"TrimOfAllKeepsTheSequence", trimAll},
		{"TrimReachesAReaderThatWasBehind", trimBehind},
		{"ASealedStreamTakesNothingEvenReopened", seal},
		{"ASealedStreamCanBeReadAndTrimmed", sealReadTrim},
		{"ASealedStreamFreesItsSubjects", sealFrees},
		{"OpenAgainGivesTheSameStream", openTwice},
		{"ReopeningKeepsAll", reopen},
		{"BadNamesAndSubjectsAreRefused", badNames},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			f := &fixture{T: t, ctx: ctx, open: setup(t)}
			f.log = f.open()
			defer func() { f.must(f.log.Close()) }()
			c.test(f)
		})
	}
}

type fixture struct {
	*testing.T
	ctx  context.Context
	open func() eventlog.Log
	log  eventlog.Log
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) wantErr(err, target error) {
	f.Helper()
	if !errors.Is(err, target) {
		f.Fatalf("error is %v, want %v", err, target)
	}
}

func (f *fixture) reopen() {
	f.Helper()
	f.must(f.log.Close())
	f.log = f.open()
}

func (f *fixture) stream() eventlog.Stream { return f.named("IN_0", "in.0.>") }

func (f *fixture) named(name string, subjects ...string) eventlog.Stream {
	f.Helper()
	s, err := f.log.Open(f.ctx, name, subjects...)
	f.must(err)
	if s.Name() != name {
		f.Fatalf("name is %q, want %q", s.Name(), name)
	}
	return s
}

// fill appends n messages "m1", "m2", ... to an empty stream.
func (f *fixture) fill(s eventlog.Stream, n int) {
	f.Helper()
	for i := 1; i <= n; i++ {
		seq, err := s.Append(f.ctx, "in.0.shop", body(i), int64(i-1))
		f.must(err)
		if seq != uint64(i) {
			f.Fatalf("sequence is %d, want %d", seq, i)
		}
	}
}

func body(i int) []byte { return fmt.Appendf(nil, "m%d", i) }

// collect reads until it has n messages, at most limit at a time.
func (f *fixture) collect(s eventlog.Stream, from uint64, n, limit int) []eventlog.Message {
	f.Helper()
	var all []eventlog.Message
	for len(all) < n {
		msgs, err := s.Read(f.ctx, from+uint64(len(all)), limit)
		f.must(err)
		if len(msgs) == 0 || len(msgs) > limit {
			f.Fatalf("got %d messages, want 1 to %d", len(msgs), limit)
		}
		for i, m := range msgs {
			if want := from + uint64(len(all)+i); m.Seq != want {
				f.Fatalf("sequence is %d, want %d", m.Seq, want)
			}
		}
		all = append(all, msgs...)
	}
	return all
}

func (f *fixture) wantBounds(s eventlog.Stream, first, last uint64) {
	f.Helper()
	gotFirst, gotLast, err := s.Bounds(f.ctx)
	f.must(err)
	if gotFirst != first || gotLast != last {
		f.Fatalf("bounds are %d..%d, want %d..%d", gotFirst, gotLast, first, last)
	}
}

func emptyBounds(f *fixture) {
	f.wantBounds(f.stream(), 1, 0)
	f.reopen()
	f.wantBounds(f.stream(), 1, 0)
}

func sequences(f *fixture) {
	s := f.stream()
	f.fill(s, 20)
	f.wantBounds(s, 1, 20)
	for i, m := range f.collect(s, 1, 20, 100) {
		if !bytes.Equal(m.Data, body(i+1)) || m.Subject != "in.0.shop" {
			f.Fatalf("message %d is %q on %q", m.Seq, m.Data, m.Subject)
		}
	}
}

func readAnywhere(f *fixture) {
	s := f.stream()
	f.fill(s, 50)
	for _, from := range []uint64{50, 1, 25, 24, 49, 1} {
		msgs, err := s.Read(f.ctx, from, 3)
		f.must(err)
		if len(msgs) == 0 || len(msgs) > 3 || msgs[0].Seq != from || !bytes.Equal(msgs[0].Data, body(int(from))) {
			f.Fatalf("read from %d gave %v", from, msgs)
		}
	}
	_, err := s.Read(f.ctx, 0, 1)
	f.wantErr(err, eventlog.ErrTrimmed)
}

func readOn(f *fixture) {
	s := f.stream()
	const n = 2000
	appended := make(chan error, 1)
	go func() {
		for i := 1; i <= n; i++ {
			if _, err := s.Append(f.ctx, "in.0.shop", body(i), -1); err != nil {
				appended <- err
				return
			}
		}
		appended <- nil
	}()
	for i, m := range f.collect(s, 1, n, 7) {
		if !bytes.Equal(m.Data, body(i+1)) {
			f.Fatalf("message %d is %q", m.Seq, m.Data)
		}
	}
	f.must(<-appended)
}

func readBlocks(f *fixture) {
	s := f.stream()
	f.fill(s, 1)
	type result struct {
		msgs []eventlog.Message
		err  error
	}
	got := make(chan result, 1)
	go func() {
		msgs, err := s.Read(f.ctx, 2, 10)
		got <- result{msgs, err}
	}()
	select {
	case r := <-got:
		f.Fatalf("read returned %v, %v before there was anything", r.msgs, r.err)
	case <-time.After(moment):
	}
	_, err := s.Append(f.ctx, "in.0.shop", body(2), 1)
	f.must(err)
	r := <-got
	f.must(r.err)
	if len(r.msgs) != 1 || r.msgs[0].Seq != 2 {
		f.Fatalf("read gave %v", r.msgs)
	}
}

func readBeyond(f *fixture) {
	s := f.stream()
	f.fill(s, 1)
	got := make(chan []eventlog.Message, 1)
	go func() {
		msgs, err := s.Read(f.ctx, 5, 1)
		if err != nil {
			f.Error(err)
		}
		got <- msgs
	}()
	for i := 2; i <= 5; i++ {
		_, err := s.Append(f.ctx, "in.0.shop", body(i), -1)
		f.must(err)
	}
	if msgs := <-got; len(msgs) != 1 || msgs[0].Seq != 5 || !bytes.Equal(msgs[0].Data, body(5)) {
		f.Fatalf("read from 5 gave %v", msgs)
	}
}

func readCancelled(f *fixture) {
	s := f.stream()
	f.fill(s, 3)
	f.collect(s, 1, 3, 10)
	ctx, cancel := context.WithTimeout(f.ctx, moment)
	defer cancel()
	_, err := s.Read(ctx, 4, 1)
	f.wantErr(err, context.DeadlineExceeded)
	_, err = s.Append(f.ctx, "in.0.shop", body(4), 3)
	f.must(err)
	f.collect(s, 4, 1, 1) // nothing was lost by giving up
}

func appendCancelled(f *fixture) {
	s := f.stream()
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	_, err := s.Append(ctx, "in.0.shop", body(1), -1)
	f.wantErr(err, context.Canceled)
}

func closeEndsRead(f *fixture) {
	s := f.stream()
	got := make(chan error, 1)
	go func() {
		_, err := s.Read(f.ctx, 1, 1)
		got <- err
	}()
	select {
	case err := <-got:
		f.Fatalf("read returned %v before there was anything", err)
	case <-time.After(moment):
	}
	f.must(f.log.Close())
	if err := <-got; err == nil || f.ctx.Err() != nil {
		f.Fatalf("read ended with %v", err)
	}
	f.log = f.open()
}

func readers(f *fixture) {
	s := f.stream()
	const n = 300
	var wg sync.WaitGroup
	for r := range 4 {
		wg.Go(func() {
			for from := uint64(1); from <= n; {
				msgs, err := s.Read(f.ctx, from, 10+r)
				if err != nil {
					f.Error(err)
					return
				}
				for _, m := range msgs {
					if m.Seq != from || !bytes.Equal(m.Data, body(int(from))) {
						f.Errorf("reader %d: message %d is %q, want %d", r, m.Seq, m.Data, from)
						return
					}
					from++
				}
			}
		})
	}
	f.fill(s, n)
	wg.Wait()
}

func expectedLast(f *fixture) {
	s := f.stream()
	_, err := s.Append(f.ctx, "in.0.shop", body(1), 1)
	f.wantErr(err, eventlog.ErrSequence)
	f.fill(s, 2)
	for _, expected := range []int64{0, 1, 3} {
		_, err := s.Append(f.ctx, "in.0.shop", body(3), expected)
		f.wantErr(err, eventlog.ErrSequence)
	}
	f.wantBounds(s, 1, 2)
	seq, err := s.Append(f.ctx, "in.0.other", body(3), 2) // whatever the subject
	f.must(err)
	if seq != 3 {
		f.Fatalf("sequence is %d", seq)
	}
	f.reopen()
	s = f.stream()
	_, err = s.Append(f.ctx, "in.0.shop", body(4), 2)
	f.wantErr(err, eventlog.ErrSequence)
	_, err = s.Append(f.ctx, "in.0.shop", body(4), 3)
	f.must(err)
}

func expectedLastRace(f *fixture) {
	s := f.stream()
	for last := range int64(20) {
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() { _, errs[i] = s.Append(f.ctx, "in.0.shop", body(i), last) })
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else {
				f.wantErr(err, eventlog.ErrSequence)
			}
		}
		if won != 1 {
			f.Fatalf("%d appends landed after %d, want 1", won, last)
		}
	}
}

func appenders(f *fixture) {
	s := f.stream()
	const producers, each = 64, 20
	var mu sync.Mutex
	at := map[string]uint64{}
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for i := range each {
				data := fmt.Sprintf("%d/%d", p, i)
				seq, err := s.Append(f.ctx, "in.0.shop", []byte(data), -1)
				if err != nil {
					f.Error(err)
					return
				}
				mu.Lock()
				at[data] = seq
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	f.wantBounds(s, 1, producers*each)
	next := map[string]int{}
	for _, m := range f.collect(s, 1, producers*each, 100) {
		if at[string(m.Data)] != m.Seq {
			f.Fatalf("%q was answered %d and is at %d", m.Data, at[string(m.Data)], m.Seq)
		}
		var p string
		var i int
		if _, err := fmt.Sscanf(string(bytes.Replace(m.Data, []byte("/"), []byte(" "), 1)), "%s %d", &p, &i); err != nil {
			f.Fatal(err)
		}
		if next[p] != i {
			f.Fatalf("producer %s: %d came when %d was next", p, i, next[p])
		}
		next[p]++
	}
}

func bigMessages(f *fixture) {
	s := f.stream()
	random := rand.NewChaCha8([32]byte{1})
	var want [][]byte
	for _, n := range []int{0, 1, 1 << 10, 1 << 20, eventlog.MaxMessageBytes - 1, eventlog.MaxMessageBytes, 1} {
		data := make([]byte, n)
		_, _ = random.Read(data)
		_, err := s.Append(f.ctx, "in.0.shop", data, int64(len(want)))
		f.must(err)
		want = append(want, data)
	}
	_, err := s.Append(f.ctx, "in.0.shop", make([]byte, eventlog.MaxMessageBytes+1), -1)
	f.wantErr(err, eventlog.ErrTooLarge)
	f.wantBounds(s, 1, uint64(len(want)))
	f.reopen()
	for i, m := range f.collect(f.stream(), 1, len(want), 100) {
		if !bytes.Equal(m.Data, want[i]) {
			f.Fatalf("message %d differs: %d bytes, want %d", m.Seq, len(m.Data), len(want[i]))
		}
	}
}

func subjects(f *fixture) {
	s := f.stream()
	all := []string{"in.0._", "in.0.shop", "in.0.shop-2", "in.0.a.b_c", "in.0.ÄÖ"}
	for _, subject := range all {
		_, err := s.Append(f.ctx, subject, []byte(subject), -1)
		f.must(err)
	}
	for i, m := range f.collect(s, 1, len(all), 100) {
		if m.Subject != all[i] {
			f.Fatalf("subject is %q, want %q", m.Subject, all[i])
		}
	}
}

func streams(f *fixture) {
	in, act := f.named("IN_0", "in.0.>"), f.named("ACT_0", "act.0.>")
	f.fill(in, 3)
	_, err := act.Append(f.ctx, "act.0.shop", []byte("act"), 0)
	f.must(err)
	_, err = act.Append(f.ctx, "in.0.shop", []byte("stray"), -1)
	f.wantErr(err, eventlog.ErrSubject)
	f.wantBounds(in, 1, 3)
	f.wantBounds(act, 1, 1)
}

func trim(f *fixture) {
	s := f.stream()
	f.fill(s, 10)
	f.collect(s, 1, 3, 3)
	f.must(s.Trim(f.ctx, 0))
	f.must(s.Trim(f.ctx, 1))
	f.wantBounds(s, 1, 10)
	f.must(s.Trim(f.ctx, 6))
	f.must(s.Trim(f.ctx, 3)) // what is gone stays gone
	for range 2 {
		f.wantBounds(s, 6, 10)
		for _, from := range []uint64{1, 4, 5} {
			_, err := s.Read(f.ctx, from, 1)
			f.wantErr(err, eventlog.ErrTrimmed)
		}
		f.collect(s, 6, 5, 10)
		f.reopen()
		s = f.stream()
	}
}

func trimAll(f *fixture) {
	s := f.stream()
	f.fill(s, 10)
	f.must(s.Trim(f.ctx, 1000))
	for last := int64(10); last < 12; last++ {
		f.wantBounds(s, uint64(last)+1, uint64(last))
		_, err := s.Read(f.ctx, uint64(last), 1)
		f.wantErr(err, eventlog.ErrTrimmed)
		f.reopen()
		s = f.stream()
		f.wantBounds(s, uint64(last)+1, uint64(last))
		_, err = s.Append(f.ctx, "in.0.shop", []byte("next"), last)
		f.must(err)
		f.collect(s, uint64(last)+1, 1, 1)
		f.must(s.Trim(f.ctx, uint64(last)+2))
	}
}

func trimBehind(f *fixture) {
	s := f.stream()
	f.fill(s, 2000) // more than is fetched ahead
	f.collect(s, 1, 1, 1)
	f.must(s.Trim(f.ctx, 1900))
	_, err := s.Read(f.ctx, 2, 1)
	f.wantErr(err, eventlog.ErrTrimmed)
	f.collect(s, 1900, 101, 10)
}

func seal(f *fixture) {
	s := f.stream()
	f.fill(s, 3)
	f.must(s.Seal(f.ctx))
	f.must(s.Seal(f.ctx))
	for range 2 {
		for _, expected := range []int64{-1, 3, 7} {
			for _, data := range [][]byte{nil, []byte("x"), body(4)} {
				_, err := s.Append(f.ctx, "in.0.shop", data, expected)
				f.wantErr(err, eventlog.ErrSealed)
			}
		}
		f.wantBounds(s, 1, 3)
		f.reopen()
		s = f.stream()
	}
}

func sealReadTrim(f *fixture) {
	s := f.stream()
	f.fill(s, 5)
	f.must(s.Seal(f.ctx))
	f.collect(s, 1, 5, 2)
	f.must(s.Trim(f.ctx, 4))
	f.wantBounds(s, 4, 5)
	f.reopen()
	s = f.stream()
	f.collect(s, 4, 2, 2)
	f.must(s.Trim(f.ctx, 6))
	f.wantBounds(s, 6, 5)
	_, err := s.Append(f.ctx, "in.0.shop", body(6), -1)
	f.wantErr(err, eventlog.ErrSealed)
}

func sealFrees(f *fixture) {
	old := f.stream()
	f.fill(old, 2)
	f.must(old.Seal(f.ctx))
	for range 2 {
		next := f.named("IN_0_2", "in.0.>")
		_, last, err := next.Bounds(f.ctx)
		f.must(err)
		_, err = next.Append(f.ctx, "in.0.shop", []byte("second incarnation"), int64(last))
		f.must(err)
		_, err = old.Append(f.ctx, "in.0.shop", []byte("stray"), -1)
		f.wantErr(err, eventlog.ErrSealed)
		f.wantBounds(old, 1, 2)
		f.wantBounds(next, 1, last+1)
		f.reopen()
		old = f.stream()
	}
}

func openTwice(f *fixture) {
	a, b := f.stream(), f.stream()
	f.fill(a, 1)
	_, err := b.Append(f.ctx, "in.0.shop", body(2), 1)
	f.must(err)
	f.wantBounds(a, 1, 2)
	f.collect(b, 1, 2, 2)
}

func reopen(f *fixture) {
	for i := range 4 {
		s := f.stream()
		f.wantBounds(s, 1, uint64(i*25))
		for j := range 25 {
			n := i*25 + j
			_, err := s.Append(f.ctx, "in.0.shop", body(n+1), int64(n))
			f.must(err)
		}
		for n, m := range f.collect(s, 1, (i+1)*25, 10) {
			if !bytes.Equal(m.Data, body(n+1)) {
				f.Fatalf("message %d is %q", m.Seq, m.Data)
			}
		}
		f.reopen()
	}
}

func badNames(f *fixture) {
	for _, name := range []string{"", "in", "IN.0", "IN 0", "../IN", "IN*"} {
		if _, err := f.log.Open(f.ctx, name, "in.0.>"); err == nil {
			f.Errorf("stream name %q was taken", name)
		}
	}
	if _, err := f.log.Open(f.ctx, "IN_0"); err == nil {
		f.Error("a stream without subjects was taken")
	}
	s := f.stream()
	for _, subject := range []string{"", "in.1.shop", "in.0", "in.0.", "in.0.*", "in.0.>", "in.0.a b", "in.0..a"} {
		if _, err := s.Append(f.ctx, subject, []byte("x"), -1); !errors.Is(err, eventlog.ErrSubject) {
			f.Errorf("subject %q: %v", subject, err)
		}
	}
	f.wantBounds(s, 1, 0)
}
