package delivertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/engage"
)

// RunInbox is what phones may rely on when they keep a person's inbox, whatever the
// ledger: each that asks by the cursor of the last answer it has had ends with
// exactly the server's inbox. open makes an empty ledger whose records expire by
// the clock.
func RunInbox(t *testing.T, open func(t *testing.T, c clock.Clock) deliver.Ledger) {
	t.Run("random stories", func(t *testing.T) {
		for seed := range uint64(6) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				c := clock.NewManual(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
				tellInbox(t, c, open(t, c), seed)
			})
		}
	})
	t.Run("changes that race", func(t *testing.T) {
		c := clock.NewManual(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
		raceInbox(t, c, open(t, c))
	})
}

// NewDeliverer makes a deliverer that is not run: it takes sends for the inbox and
// receipts, and nothing else happens.
func NewDeliverer(t testing.TB, c clock.Clock, l deliver.Ledger) *deliver.Deliverer {
	t.Helper()
	d, err := deliver.New(deliver.Options{Ledger: l, Sessions: nobody{}, Senders: nobody{}, Outcomes: nobody{}, Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// nobody is there: no session, no provider, nobody to tell.
type nobody struct{}

func (nobody) Offer(string, string, *sdkpb.Message) bool { return false }
func (nobody) InboxChanged(string, string)               {}
func (nobody) Sender(context.Context, string, string, string) (channels.Sender, string, error) {
	return nil, "", engage.Errorf(engage.NotFound, "app", "has no credential")
}

func (nobody) Outcome(context.Context, string, string, engage.DeliveryOutcome) error {
	return errors.New("nobody listens")
}
func (nobody) TokenDead(context.Context, string, engage.TokenDead) error { return nil }
func (nobody) TokenEnvironment(context.Context, string, engage.TokenEnvironment) error {
	return nil
}

// ForInbox is a send that can only go into the inbox of a person of the workspace
// "shop".
func ForInbox(profile, id string, now time.Time, expires time.Duration, data string) engage.Send {
	return engage.Send{
		Delivery: id, Workspace: "shop", Campaign: "c", Profile: profile, Class: engage.Service, Title: "title of " + id,
		Data: map[string]string{"d": data}, Channels: []engage.Channel{engage.Inbox}, DecidedAt: now, ExpiresAt: now.Add(expires),
	}
}

// PhoneInbox is the inbox as a phone keeps it, by the rules of the specification.
type PhoneInbox struct {
	Cursor   string
	Messages map[string]*sdkpb.Message
	Asked    int // answers that it has had
	Full     int // of which were full
}

// Take applies an answer.
func (p *PhoneInbox) Take(x *sdkpb.Inbox) {
	p.Asked++
	if p.Messages == nil || x.GetFull() {
		p.Messages = map[string]*sdkpb.Message{}
	}
	if x.GetFull() {
		p.Full++
	}
	for _, m := range x.GetMessages() {
		p.Messages[m.GetMessageId()] = m
	}
	for _, id := range x.GetGone() {
		delete(p.Messages, id)
	}
	p.Cursor = x.GetCursor()
}

// Sync asks until there is no more.
func (p *PhoneInbox) Sync(ctx context.Context, d *deliver.Deliverer, profile string, limit int) error {
	for range 1000 {
		x, err := d.InboxSince(ctx, "shop", profile, p.Cursor, limit)
		if err != nil {
			return err
		}
		p.Take(x)
		if !x.GetMore() {
			return nil
		}
	}
	return errors.New("there is always more")
}

// Words are what the phone shows: ids in order, with ! where it is unread.
func (p *PhoneInbox) Words() string {
	var out []string
	for _, id := range slices.Sorted(maps.Keys(p.Messages)) {
		if !p.Messages[id].GetRead() {
			id += "!"
		}
		out = append(out, id)
	}
	return strings.Join(out, " ")
}

var errLedger = errors.New("the ledger does not answer")

// Flaky is a ledger whose writes fail now and then, before or after they are made.
type Flaky struct {
	deliver.Ledger
	Fails func() (before, after bool)
}

// Write implements deliver.Ledger.
func (l Flaky) Write(ctx context.Context, ws []deliver.Write) ([]bool, error) {
	before, after := l.Fails()
	if before {
		return nil, errLedger
	}
	won, err := l.Ledger.Write(ctx, ws)
	if after {
		return nil, errLedger
	}
	return won, err
}

// ChangeInbox implements deliver.Ledger.
func (l Flaky) ChangeInbox(ctx context.Context, c *deliver.InboxChange) error {
	before, after := l.Fails()
	if before {
		return errLedger
	}
	err := l.Ledger.ChangeInbox(ctx, c)
	if after {
		return errLedger
	}
	return err
}

// kept is a message of the model.
type kept struct {
	id      string
	expires time.Time
	read    bool
}

// tellInbox tells a random story of one person, beside a model of what the inbox
// must hold. The clock stands still, jumps forward, and goes back; the process is
// killed; the ledger fails; phones lose answers, show old cursors again, and ask for
// little at a time.
func tellInbox(t *testing.T, c *clock.Manual, l deliver.Ledger, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 5))
	flaky := Flaky{Ledger: l, Fails: func() (bool, bool) { n := r.IntN(20); return n == 0, n == 1 }}
	d := NewDeliverer(t, c, flaky)
	var model []kept
	var ids []string
	trimmed, parts := 0, 0
	long := seed%2 == 0 // messages live for long, so that there are too many
	sweep := func(now time.Time) {
		model = slices.DeleteFunc(model, func(m kept) bool { return !now.Before(m.expires) })
		trimmed += max(len(model)-100, 0)
		model = model[max(len(model)-100, 0):]
	}
	find := func(id string) int { return slices.IndexFunc(model, func(m kept) bool { return m.id == id }) }
	// until repeats what the ledger failed at, as the outbox would.
	until := func(f func() error) {
		t.Helper()
		for {
			err := f()
			if err == nil {
				return
			}
			if !errors.Is(err, errLedger) {
				t.Fatal(err)
			}
		}
	}
	phones := make([]PhoneInbox, 4)
	cursors := []string{"", "nonsense"} // that somebody has had
	sync := func(p *PhoneInbox, most, limit int) {
		for range most {
			var x *sdkpb.Inbox
			until(func() (err error) {
				x, err = d.InboxSince(t.Context(), "shop", "ada", p.Cursor, limit)
				return err
			})
			sweep(c.Now())
			if r.IntN(4) == 0 {
				return // the answer is lost
			}
			p.Take(x)
			if !x.GetFull() {
				parts++
			}
			cursors = append(cursors, x.GetCursor())
			if !x.GetMore() {
				return
			}
		}
	}
	want := func() string {
		w := PhoneInbox{Messages: map[string]*sdkpb.Message{}}
		for _, m := range model {
			w.Messages[m.id] = &sdkpb.Message{Read: m.read}
		}
		return w.Words()
	}
	check := func(when string) {
		t.Helper()
		for i := range phones {
			until(func() error { return phones[i].Sync(t.Context(), d, "ada", 2000) })
			sweep(c.Now())
			if got := phones[i].Words(); got != want() {
				t.Fatalf("%s: phone %d has\n%s\nwant\n%s", when, i, got, want())
			}
		}
		fresh := PhoneInbox{}
		until(func() error { return fresh.Sync(t.Context(), d, "ada", 500) })
		if got := fresh.Words(); got != want() {
			t.Fatalf("%s: a new phone has\n%s\nwant\n%s", when, got, want())
		}
	}
	lives := func() time.Duration {
		if long {
			return time.Duration(100+r.IntN(900)) * time.Hour
		}
		return time.Duration(1+r.IntN(50)) * time.Hour
	}
	counts := map[string]int{}
	for i := range 600 {
		now := c.Now()
		switch n := r.IntN(100); {
		case n < 34:
			counts["add"]++
			id := fmt.Sprintf("m%03d", i)
			s := ForInbox("ada", id, now, lives(), strings.Repeat("x", r.IntN(300)))
			until(func() error { return d.Accept(t.Context(), []engage.Send{s}) })
			ids = append(ids, id)
			model = append(model, kept{id: id, expires: s.ExpiresAt})
			sweep(now)
		case n < 50 && len(ids) > 0:
			counts["receipt"]++
			id := ids[max(len(ids)-1-r.IntN(40), 0)]
			state := []string{engage.ReceiptDisplayed, engage.ReceiptOpened, engage.ReceiptAction, engage.ReceiptDismissed, engage.ReceiptDelivered}[r.IntN(5)]
			before := find(id)
			until(func() error {
				return d.Receipt(t.Context(), "shop", "ada", engage.ReceiptItem{Message: id, State: state})
			})
			switch {
			case before < 0 || state == engage.ReceiptDelivered:
			case state == engage.ReceiptDismissed:
				model = slices.Delete(model, before, before+1)
				sweep(now)
			case !model[before].read:
				model[before].read = true
				sweep(now)
			}
		case n < 76:
			counts["sync"]++
			sync(&phones[r.IntN(len(phones))], 1+r.IntN(3), 200+r.IntN(3000))
		case n < 78: // a phone is restored from a backup, or shows nonsense
			counts["old cursor"]++
			p := &phones[r.IntN(len(phones))]
			if cursor := cursors[r.IntN(len(cursors))]; cursor == "" || cursor == "nonsense" {
				*p = PhoneInbox{Cursor: cursor}
			} else {
				*p = PhoneInbox{} // whoever has lost the messages has lost the cursor, too
			}
		case n < 80:
			counts["kill"]++
			d = NewDeliverer(t, c, flaky)
		case n < 90:
			counts["forward"]++
			c.Advance(time.Duration(r.IntN(120)) * time.Minute)
		case n < 92:
			counts["back"]++
			c.Advance(-time.Duration(r.IntN(5)) * time.Hour)
		case n < 92+int(seed%2):
			counts["far"]++
			c.Advance(time.Duration(r.IntN(20*24)) * time.Hour)
		}
		if i%100 == 99 {
			check(fmt.Sprintf("after %d", i))
		}
	}
	if parts < 40 || long && trimmed < 20 {
		t.Errorf("the story proves little: %d answers were not whole, %d messages were too many", parts, trimmed)
	}
	t.Logf("%v, %d messages, %d too many, %d in the inbox at the end, %d partial answers", counts, len(ids), trimmed, len(model), parts)
}

// raceInbox has messages come, be read and be put away at once, while phones ask.
func raceInbox(t *testing.T, c clock.Clock, l deliver.Ledger) {
	d := NewDeliverer(t, c, l)
	const writers, each = 4, 20
	var work, asking sync.WaitGroup
	stop := make(chan struct{})
	phones := make([]PhoneInbox, 3)
	for i := range phones {
		asking.Go(func() {
			for {
				if err := phones[i].Sync(t.Context(), d, "ada", 400+1000*i); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	var want []string
	for w := range writers {
		for n := range each {
			id := fmt.Sprintf("w%d-%02d", w, n)
			switch n % 3 {
			case 0:
				want = append(want, id+"!")
			case 1:
				want = append(want, id)
			}
		}
		work.Go(func() {
			for n := range each {
				id := fmt.Sprintf("w%d-%02d", w, n)
				if err := d.Accept(t.Context(), []engage.Send{ForInbox("ada", id, c.Now(), time.Hour, "")}); err != nil {
					t.Error(err)
				}
				state := []string{"", engage.ReceiptDisplayed, engage.ReceiptDismissed}[n%3]
				for range 2 {
					if err := d.Receipt(t.Context(), "shop", "ada", engage.ReceiptItem{Message: id, State: state}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	work.Wait()
	close(stop)
	asking.Wait()
	for i := range phones {
		if err := phones[i].Sync(t.Context(), d, "ada", 400); err != nil {
			t.Fatal(err)
		}
		if got := phones[i].Words(); got != strings.Join(want, " ") {
			t.Errorf("phone %d has\n%s\nwant\n%s", i, got, strings.Join(want, " "))
		}
		if phones[i].Full > 2 { // once for the empty inbox, once when it had begun
			t.Errorf("phone %d was told everything %d times", i, phones[i].Full)
		}
	}
}
