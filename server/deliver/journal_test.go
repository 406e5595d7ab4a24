package deliver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/deliver/delivertest"
	"github.com/footfall-engage/footfall/server/engage"
)

// queue has n deliveries wait in their lane, as a process leaves them that has no slots.
func (w *world) queue(n int) {
	w.Helper()
	w.make()
	for i := range n {
		s := send(fmt.Sprintf("d%03d", i), phone("a"))
		s.Channels = []engage.Channel{engage.Push}
		if err := w.d.Accept(w.Context(), []engage.Send{s}); err != nil {
			w.Fatal(err)
		}
	}
	w.settle()
	w.want("queued", w.lanes(), fmt.Sprintf("push/fcm/app:%d", n))
}

func TestQueuedPushesAreWrittenOnceEachAndRecordedBeforeTheyAreMade(t *testing.T) {
	bubble(t, func(w *world) {
		const n = 150
		w.queue(n)
		w.senders.saying(func(m channels.Message, _ int) (channels.Outcome, error) {
			if !slices.Contains(underWay(w.ledger), m.DeliveryID) {
				t.Errorf("%s is made before it is recorded", m.DeliveryID)
			}
			return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
		})
		w.inFlight = 40
		w.start()
		w.want("told", len(w.told.list()), n)
		w.want("made", len(w.senders.attempts()), n)
		w.want("waiting", w.lanes(), "")
		for i := range n { // once when it was accepted, once with attempt, answer and outcome
			if rec, _, _ := w.ledger.Get(t.Context(), "shop", fmt.Sprintf("d%03d", i)); rec.Version != 2 {
				t.Errorf("%s was written %d times", rec.ID, rec.Version)
			}
		}
		w.end()
		names, err := w.ledger.Lanes(t.Context())
		w.want("lanes after the end", fmt.Sprint(names, err), "[] <nil>")
	})
}

func TestWhatTheJournalHadUnderWayIsAmbiguousAfterACrash(t *testing.T) {
	bubble(t, func(w *world) {
		w.queue(3)
		once := send("once", phone("a"))
		once.RetryAmbiguous, once.Channels = false, []engage.Channel{engage.Push}
		if err := w.d.Accept(t.Context(), []engage.Send{once}); err != nil {
			t.Fatal(err)
		}
		w.fault = func(point string) error {
			if point == deliver.FaultMade {
				return errCrash
			}
			return nil
		}
		w.start()
		if err := w.stop(); !errors.Is(err, errCrash) {
			t.Fatalf("Run: %v", err)
		}
		w.want("under way", len(underWay(w.ledger)), 4)
		w.want("where they were", w.lanes(), "push/fcm/app:4")
		w.fault = nil
		w.start()
		w.pass(time.Second)
		w.want("under way after the restart", len(underWay(w.ledger)), 0)
		got := strings.Join(w.told.list(), ", ")
		for _, want := range []string{"d000 accepted fcm a 2", "d001 accepted fcm a 2", "d002 accepted fcm a 2", "once failed fcm a send_ambiguous interrupted 1"} {
			if !strings.Contains(got, want) {
				t.Errorf("told %s, want %s", got, want)
			}
		}
		w.end()
		w.start() // and not once more
		w.pass(time.Second)
		w.want("told", len(w.told.list()), 4)
		w.end()
	})
}

func TestOutcomeThatTheJournalHasIsToldAfterACrash(t *testing.T) {
	bubble(t, func(w *world) {
		w.queue(5)
		w.fault = func(point string) error {
			if point == deliver.FaultTelling {
				return errCrash
			}
			return nil
		}
		w.start()
		_ = w.stop()
		w.want("told before", len(w.told.list()), 0)
		w.fault = nil
		w.start()
		w.pass(time.Second)
		w.want("told", len(w.told.list()), 5)
		w.want("waiting", w.lanes(), "")
		w.end()
		w.start()
		w.want("told again after an orderly end", len(w.told.list()), 5)
		w.end()
	})
}

func TestReceiptWhileAQueuedPushIsUnderWayLeavesItsOutcomeAlone(t *testing.T) {
	bubble(t, func(w *world) {
		w.queue(2)
		shown := make(chan struct{})
		w.senders.saying(func(channels.Message, int) (channels.Outcome, error) {
			<-shown
			return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
		})
		w.start()
		w.want("under way", len(underWay(w.ledger)), 2)
		all, err := w.d.Credentials(t.Context())
		if err != nil || len(all) != 1 || all[0].Live.Waiting != 0 || all[0].InFlight != 2 || !all[0].Live.Oldest.IsZero() {
			t.Errorf("credentials: %+v, %v", all, err)
		}
		if err := w.d.Receipt(t.Context(), "shop", "ada", engage.ReceiptItem{Message: "d000", State: engage.ReceiptDisplayed}); err != nil {
			t.Fatal(err)
		}
		close(shown)
		w.settle()
		w.want("told", len(w.told.list()), 2)
		w.want("waiting", w.lanes(), "")
		rec, _, _ := w.ledger.Get(context.Background(), "shop", "d000")
		for _, part := range []string{`"displayed":true`, `"state":"done"`, `"status":200`} {
			if !strings.Contains(string(rec.Body), part) {
				t.Errorf("no %s in %s", part, rec.Body)
			}
		}
		w.end()
	})
}

func TestReceiptStopsAQueuedPushThatWasReadAlready(t *testing.T) {
	bubble(t, func(w *world) {
		w.queue(20)
		next := make(chan struct{})
		w.senders.saying(func(channels.Message, int) (channels.Outcome, error) {
			<-next
			return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
		})
		w.inFlight = 1
		w.start()
		if err := w.d.Receipt(t.Context(), "shop", "ada", engage.ReceiptItem{Message: "d015", State: engage.ReceiptDisplayed}); err != nil {
			t.Fatal(err)
		}
		close(next)
		w.settle()
		w.want("made", len(w.senders.attempts()), 19)
		w.want("of the one that was shown", w.senders.count("a", "d015"), 0)
		w.want("waiting", w.lanes(), "")
		w.end()
	})
}

func TestLedgerThatFailsWhileAQueueDrainsLosesAndRepeatsNothing(t *testing.T) {
	bubble(t, func(w *world) {
		w.queue(100)
		w.inFlight = 10
		var n atomic.Int32
		w.fault = func(point string) error {
			if k := n.Add(1); point == deliver.FaultMade && k%7 == 0 {
				w.ledger.Fail(errors.New("disk full"))
			}
			return nil
		}
		w.start()
		for range 200 {
			w.ledger.Fail(nil)
			w.pass(time.Second)
		}
		w.want("told", len(w.told.list()), 100)
		w.want("made", len(w.senders.attempts()), 100)
		w.want("waiting", w.lanes(), "")
		w.end()
	})
}

// leaves are the bodies of the journal's.
func (w *world) leaves() string {
	recs, _ := w.ledger.Due(context.Background(), "journal", deliver.Mark{}, 1000)
	var all []string
	for _, r := range recs {
		all = append(all, string(r.Body))
	}
	return strings.Join(all, "\n")
}

// An erasure deletes a person's deliveries, not what the journal once said of them.
func TestTheJournalForgetsWhatDoesNotHoldAnyMore(t *testing.T) {
	bubble(t, func(w *world) {
		w.queue(3)
		last := make(chan struct{})
		w.senders.saying(func(m channels.Message, _ int) (channels.Outcome, error) {
			if m.DeliveryID == "d002" {
				<-last
			}
			return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
		})
		w.inFlight = 1
		w.start()
		w.want("told", len(w.told.list()), 2)
		for range 3 {
			w.ledger.Fail(errors.New("disk full")) // it is emptied when the ledger is back
			w.pass(2 * time.Second)
		}
		w.ledger.Fail(nil)
		for range 2 {
			w.pass(2 * time.Second)
		}
		if said := w.leaves(); strings.Contains(said, "d000") || strings.Contains(said, "d001") || !strings.Contains(said, `"d":"d002"`) {
			t.Errorf("while one is under way the journal says %s", said)
		}
		w.want("under way", strings.Join(underWay(w.ledger), " "), "d002")
		close(last)
		w.settle()
		w.want("told", len(w.told.list()), 3)
		for range 2 {
			w.pass(2 * time.Second)
		}
		if said := w.leaves(); strings.Contains(said, "d00") || said == "" {
			t.Errorf("in the end the journal says %s", said)
		}
		writes := w.ledger.Writes()
		w.pass(time.Minute)
		w.want("written while nothing happens", w.ledger.Writes()-writes, 0)
		w.accept(send("next", phone("a"))) // the leaves are good for more
		w.settle()
		w.want("told", len(w.told.list()), 4)
		w.end()
		names, err := w.ledger.Lanes(t.Context())
		w.want("lanes after the end", fmt.Sprint(names, err), "[] <nil>")
	})
}

// Whatever stands in a leaf, a process that finds it starts, and the push that waits
// comes to its end once.
func FuzzReplay(f *testing.F) {
	for _, leaf := range []string{
		`{"v":1,"lane":"journal","due_us":1790000000000000,"provider":"fcm","credential":"app","flights":[{"w":"shop","d":"d000","v":1,"i":"a","n":1}]}`,
		`{"v":1,"lane":"journal","due_us":9223372036854775807,"flights":[{"w":"shop","d":"d000","v":1,"i":"a","n":9223372036854775807}]}`,
		`{"v":1,"lane":"journal","due_us":-9223372036854775808,"flights":[{"w":"shop","d":"d000","v":-1,"i":"","n":1},{"w":"shop","d":"d000","n":2}]}`,
		`{"v":1,"lane":"journal","tells":[{"w":"shop","d":"d000","v":1},{"w":"","d":""}]}`,
		`{"v":2,"lane":"journal","flights":[{"w":"shop","d":"d000","v":1,"n":1}]}`,
		`{"v":1,"lane":"journal","flights":[{"w":"sh`,
		``, `null`, `[]`, `{}`,
	} {
		f.Add([]byte(leaf))
	}
	f.Fuzz(func(t *testing.T, leaf []byte) {
		bubble(t, func(w *world) {
			w.queue(1)
			_, err := w.ledger.Write(t.Context(), []deliver.Write{{Record: deliver.Record{ID: "journal-old-0", Lane: "journal", Due: noon, Body: leaf}}})
			if err != nil {
				t.Fatal(err)
			}
			w.start()
			w.pass(time.Minute)
			if told := w.told.list(); len(told) != 1 || !strings.HasPrefix(told[0], "d000 accepted fcm a ") {
				t.Errorf("told %q", told)
			}
			w.want("waiting", w.lanes(), "")
			w.end()
		})
	})
}

// lateReader is a ledger that gives a lane's records after a while.
type lateReader struct {
	*delivertest.Ledger
	read func(lane string) // between reading and giving
}

func (l lateReader) Due(ctx context.Context, lane string, after deliver.Mark, limit int) ([]deliver.Record, error) {
	recs, err := l.Ledger.Due(ctx, lane, after, limit)
	l.read(lane)
	return recs, err
}

func TestPushThatLandsWhileItsLaneIsReadIsNotMadeAgain(t *testing.T) {
	bubble(t, func(w *world) {
		w.queue(3)
		first, reads := make(chan struct{}), 0
		w.senders.saying(func(m channels.Message, _ int) (channels.Outcome, error) {
			if m.DeliveryID == "d000" {
				<-first
			}
			return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
		})
		next := make(chan struct{})
		sent := w.senders.answer
		w.senders.saying(func(m channels.Message, n int) (channels.Outcome, error) {
			if m.DeliveryID == "d001" {
				<-next
			}
			return sent(m, n)
		})
		l := lateReader{w.ledger, func(lane string) {
			if !strings.HasPrefix(lane, "push/") {
				return
			}
			if reads++; reads < 2 {
				return
			}
			if reads == 2 { // the copies are old: the lane is read again, with d000 under way
				close(first)
			}
			for { // until it has landed
				rec, _, _ := w.ledger.Get(context.Background(), "shop", "d000")
				if strings.Contains(string(rec.Body), `"state":"done"`) {
					return
				}
				time.Sleep(time.Millisecond) //nolint:forbidigo // in the bubble's time
			}
		}}
		d, err := deliver.New(deliver.Options{
			Ledger: l, Sessions: w.sessions, Senders: w.senders, Outcomes: w.told, Clock: clock.Clock(w.clock),
			MaxInFlight: 2, Limits: &deliver.Limits{},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		w.settle()
		w.pass(time.Second)
		close(next)
		time.Sleep(time.Second) //nolint:forbidigo // in the bubble's time: the reader waits
		w.settle()
		if reads < 2 {
			t.Errorf("the lane was read %d times", reads)
		}
		w.want("made", len(w.senders.attempts()), 3)
		w.want("of the one that landed", w.senders.count("a", "d000"), 1)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}
