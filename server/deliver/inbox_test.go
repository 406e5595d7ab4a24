package deliver_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/deliver/delivertest"
	"github.com/footfall-engage/footfall/server/engage"
)

func TestPhonesEndWithTheServersInbox(t *testing.T) {
	delivertest.RunInbox(t, func(_ *testing.T, c clock.Clock) deliver.Ledger { return delivertest.NewLedger(c) })
}

// box is an inbox with what is needed to look at it.
type box struct {
	*testing.T
	clock  *clock.Manual
	ledger *delivertest.Ledger
	d      *deliver.Deliverer
}

func newBox(t *testing.T) *box {
	c := clock.NewManual(noon)
	b := &box{T: t, clock: c, ledger: delivertest.NewLedger(c)}
	b.restart()
	return b
}

func (b *box) restart() { b.d = delivertest.NewDeliverer(b, b.clock, b.ledger) }

func (b *box) add(profile, id string) {
	b.Helper()
	s := delivertest.ForInbox(profile, id, b.clock.Now(), time.Hour, "")
	if err := b.d.Accept(b.Context(), []engage.Send{s}); err != nil {
		b.Fatal(err)
	}
}

func (b *box) say(id, state string) {
	b.Helper()
	if err := b.d.Receipt(b.Context(), "shop", "ada", engage.ReceiptItem{Message: id, State: state}); err != nil {
		b.Fatal(err)
	}
}

func (b *box) since(profile, cursor string, limit int) *sdkpb.Inbox {
	b.Helper()
	x, err := b.d.InboxSince(b.Context(), "shop", profile, cursor, limit)
	if err != nil {
		b.Fatal(err)
	}
	if len(x.GetCursor()) > 200 || x.GetCursor() == "" {
		b.Errorf("cursor %q", x.GetCursor())
	}
	return x
}

// words of an answer: "full +a !b -c more": a is unread, b read, c gone.
func words(x *sdkpb.Inbox) string {
	var out []string
	if x.GetFull() {
		out = append(out, "full")
	}
	for _, m := range x.GetMessages() {
		sign := "+"
		if m.GetRead() {
			sign = "!"
		}
		out = append(out, sign+m.GetMessageId())
	}
	for _, id := range x.GetGone() {
		out = append(out, "-"+id)
	}
	if x.GetMore() {
		out = append(out, "more")
	}
	return strings.Join(out, " ")
}

func (b *box) want(what string, x *sdkpb.Inbox, want string) string {
	b.Helper()
	if got := words(x); got != want {
		b.Errorf("%s: %q, want %q", what, got, want)
	}
	return x.GetCursor()
}

// unread are what a phone gets that keeps no inbox.
func (b *box) unread(profile string) string {
	b.Helper()
	ms, err := b.d.Inbox(b.Context(), "shop", profile)
	if err != nil {
		b.Fatal(err)
	}
	return words(&sdkpb.Inbox{Messages: ms})
}

const lots = 1 << 20

func TestACursorIsToldWhatHasChanged(t *testing.T) {
	b := newBox(t)
	none := b.want("nobody yet", b.since("ada", "", lots), "full")
	b.want("still nobody", b.since("ada", none, lots), "")
	b.add("ada", "a")
	b.add("ada", "b")
	first := b.want("an inbox that had not begun", b.since("ada", none, lots), "full +a +b")
	b.want("nothing since", b.since("ada", first, lots), "")
	b.say("a", engage.ReceiptDisplayed)
	b.add("ada", "c")
	second := b.want("read and new", b.since("ada", first, lots), "!a +c")
	b.want("the same again, whose answer was lost", b.since("ada", first, lots), "!a +c")
	b.say("a", engage.ReceiptOpened) // says nothing new of the inbox
	b.want("read twice", b.since("ada", second, lots), "")
	b.say("a", engage.ReceiptDismissed)
	b.say("b", engage.ReceiptDismissed)
	b.say("b", engage.ReceiptDisplayed) // overtaken
	b.want("gone", b.since("ada", second, lots), "-a -b")
	b.want("all of it for an old one", b.since("ada", first, lots), "+c -a -b")
	b.say("nothing", engage.ReceiptDismissed)
	if err := b.d.Receipt(t.Context(), "shop", "bob", engage.ReceiptItem{Message: "c", State: engage.ReceiptDismissed}); err != nil {
		t.Error(err) // another person's phone says so
	}
	b.say("c", "8")
	b.want("a whole one", b.since("ada", "", lots), "full +c")
	b.restart()
	b.add("ada", "d")
	third := b.want("after a restart", b.since("ada", second, lots), "+d -a -b")
	b.clock.Advance(time.Hour)
	b.want("expired", b.since("ada", third, lots), "-c -d")
	b.clock.Advance(-time.Hour)
	b.want("the clock goes back", b.since("ada", third, lots), "-c -d")
	b.want("and a whole one", b.since("ada", "", lots), "full")
}

func TestPhonesThatKeepNoInboxGetTheUnread(t *testing.T) {
	b := newBox(t)
	for _, id := range []string{"a", "b", "c", "d"} {
		b.add("ada", id)
	}
	b.say("a", engage.ReceiptConverted)
	b.say("b", engage.ReceiptDismissed)
	b.say("d", engage.ReceiptDelivered)
	if got := b.unread("ada"); got != "+c +d" {
		t.Errorf("%q", got)
	}
	b.want("who keeps one", b.since("ada", "", lots), "full !a +c +d")
	x := b.since("ada", "", lots)
	if m := x.Messages[1]; m.SentMs != noon.UnixMilli() || m.Kind != sdkpb.Message_KIND_INBOX || m.Title != "title of c" ||
		m.CampaignId != "c" || m.ExpiresMs != noon.Add(time.Hour).UnixMilli() || m.Display != nil {
		t.Errorf("message %v", m)
	}
	b.clock.Advance(time.Hour)
	if got := b.unread("ada"); got != "" {
		t.Errorf("after an hour: %q", got)
	}
}

func TestACursorOfAnotherPersonOrInboxGetsEverything(t *testing.T) {
	b := newBox(t)
	b.add("ada", "a")
	b.add("bob", "b")
	ada, bob := b.since("ada", "", lots).GetCursor(), b.since("bob", "", lots).GetCursor()
	for name, cursor := range map[string]string{
		"empty": "", "another person's": bob, "nonsense": "nonsense", "not ours": "AAAA", "cut off": ada[:len(ada)-3],
		"longer": ada + "AA", "long": strings.Repeat("A", 300), "a version to come": "B" + ada[1:],
		"of nobody's inbox": b.since("nobody", "", lots).GetCursor(),
	} {
		b.want(name, b.since("ada", cursor, lots), "full +a")
	}
	b.want("its own", b.since("ada", ada, lots), "")
	if x, err := b.d.InboxSince(t.Context(), "other", "ada", ada, lots); err != nil || words(x) != "full" {
		t.Errorf("another workspace: %v, %v", x, err)
	}

	// Beyond 30 days a removal is forgotten.
	b.say("a", engage.ReceiptDismissed)
	b.clock.Advance(29 * 24 * time.Hour)
	b.add("ada", "c")
	b.want("after 29 days", b.since("ada", ada, lots), "+c -a")
	b.clock.Advance(2 * 24 * time.Hour)
	b.add("ada", "d")
	now := b.want("after 31", b.since("ada", ada, lots), "full +d")
	b.add("ada", "e")
	b.want("from there on", b.since("ada", now, lots), "+e")
	// Nobody's inbox stays for ever, and one that begins anew is another.
	b.clock.Advance(100 * 24 * time.Hour)
	gone := b.want("after 100 days", b.since("ada", now, lots), "full")
	b.add("ada", "f")
	b.want("anew", b.since("ada", now, lots), "full +f")
	b.want("for who saw it empty", b.since("ada", gone, lots), "full +f")
}

func TestTooManyRemovalsAreToldAsAWhole(t *testing.T) {
	b := newBox(t)
	b.add("ada", "first")
	early := b.since("ada", "", lots).GetCursor()
	var later string
	for i := range 220 {
		id := fmt.Sprint("m", i)
		b.add("ada", id)
		b.say(id, engage.ReceiptDismissed)
		if i == 100 {
			later = b.since("ada", "", lots).GetCursor()
		}
	}
	b.want("too early", b.since("ada", early, lots), "full +first")
	if x := b.since("ada", later, lots); x.GetFull() || len(x.GetGone()) != 119 {
		t.Errorf("within what is remembered: full %v, %d gone", x.GetFull(), len(x.GetGone()))
	}
}

// Parts of a whole inbox go on although the removals before it are forgotten, and
// whatever changes between two of them is told with those that follow.
func TestALongInboxIsToldInParts(t *testing.T) {
	b := newBox(t)
	for i := range 210 {
		b.add("ada", fmt.Sprintf("gone%d", i))
		b.say(fmt.Sprintf("gone%d", i), engage.ReceiptDismissed)
	}
	for i := range 6 {
		b.add("ada", fmt.Sprint("m", i))
	}
	one := 3 * (len("title of m0") + 40)
	x := b.since("ada", "", one)
	if !x.GetFull() || !x.GetMore() || len(x.GetMessages()) == 0 || len(x.GetMessages()) == 6 {
		t.Fatalf("first part: %q", words(x))
	}
	phone := delivertest.PhoneInbox{}
	phone.Take(x)
	b.say("m0", engage.ReceiptDismissed) // told already
	b.say("m5", engage.ReceiptDisplayed) // not yet
	b.add("ada", "m6")
	if err := phone.Sync(t.Context(), b.d, "ada", one); err != nil {
		t.Fatal(err)
	}
	if got := phone.Words(); got != "m1! m2! m3! m4! m5 m6!" || phone.Full != 1 {
		t.Errorf("the phone has %q after %d answers, %d of them full", got, phone.Asked, phone.Full)
	}
	if x := b.since("ada", "", 0); len(x.GetMessages()) != 1 || !x.GetMore() {
		t.Errorf("with no room at all: %q", words(x))
	}
}

// What a power cut or a restored backup has undone was known to phones: they are
// told everything, also when as much has changed since.
func TestACursorFromALostFutureGetsEverything(t *testing.T) {
	b := newBox(t)
	b.add("ada", "a")
	before := b.since("ada", "", lots).GetCursor()
	saved := b.ledger.Clone()
	b.add("ada", "lost")
	after := b.since("ada", "", lots).GetCursor()
	b.ledger = saved
	b.restart()
	b.want("from the future", b.since("ada", after, lots), "full +a")
	b.add("ada", "b")
	b.want("as far as then", b.since("ada", after, lots), "full +a +b")
	b.add("ada", "c")
	b.want("further", b.since("ada", after, lots), "full +a +b +c")
	b.want("from before", b.since("ada", before, lots), "+b +c")
}

func TestItemsOfEarlierBuildsAreInTheInbox(t *testing.T) {
	b := newBox(t)
	for i, id := range []string{"b", "a", "c"} {
		b.ledger.PutItem(deliver.InboxItem{
			Workspace: "shop", Profile: "ada", Delivery: id, At: noon.Add(time.Duration(i) * time.Second), Expires: noon.Add(time.Hour),
			Body: []byte(`{"v":1,"campaign":"c","title":"Hello"}`),
		})
	}
	if got := b.unread("ada"); got != "+b +a +c" {
		t.Errorf("without the capability: %q", got)
	}
	cursor := b.want("all are unread", b.since("ada", "", lots), "full +b +a +c")
	if x := b.since("ada", "", lots); x.Messages[1].SentMs != noon.Add(time.Second).UnixMilli() {
		t.Errorf("sent %d", x.Messages[1].SentMs)
	}
	b.add("ada", "d")
	b.want("and go on", b.since("ada", cursor, lots), "+d")
	b.clock.Advance(59 * time.Minute)
	b.add("ada", "e")
	b.clock.Advance(time.Minute)
	b.want("until they expire", b.since("ada", cursor, lots), "+e -b -a -c -d")
}

func TestAMessageThatIsLostIsGone(t *testing.T) {
	b := newBox(t)
	b.add("ada", "a")
	b.add("ada", "b")
	cursor := b.since("ada", "", lots).GetCursor()
	b.ledger.RemoveItem("shop", "ada", "a")
	b.say("a", engage.ReceiptDisplayed)
	b.want("what is nowhere", b.since("ada", cursor, lots), "-a")
	if got := b.unread("ada"); got != "+b" {
		t.Errorf("%q", got)
	}
}

// Whose inbox it is hears of every change but expiry, on every phone of the person.
func TestPhonesHearThatTheInboxHasChanged(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		w.sessions.set("b")
		s := send("d1", phone("a"), phone("b"))
		s.Channels = []engage.Channel{engage.Inbox}
		w.accept(s)
		w.want("new", w.sessions.told(), []string{"shop/a", "shop/b"})
		w.want("who has no inbox of its own", w.sessions.took(), []string{"b/inbox/d1"})
		say := func(state string) {
			t.Helper()
			if err := w.d.Receipt(t.Context(), "shop", "ada", engage.ReceiptItem{Message: "d1", State: state, Install: "a"}); err != nil {
				t.Fatal(err)
			}
		}
		say(engage.ReceiptDisplayed)
		w.want("read", w.sessions.told(), []string{"shop/a", "shop/b"})
		say(engage.ReceiptOpened)
		w.want("read again", w.sessions.told(), []string(nil))
		say(engage.ReceiptDismissed)
		w.want("gone", w.sessions.told(), []string{"shop/a", "shop/b"})
		say(engage.ReceiptDismissed)
		w.want("gone again", w.sessions.told(), []string(nil))
		w.accept(send("d2", phone("a")))
		w.want("a push is none", w.sessions.told(), []string(nil))
		w.want("lanes", w.lanes(), "")
		w.end()
	})
}

func TestAGrantThatAPhoneCouldNotUseEndsInTheInboxAtOnce(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		w.sessions.set("a")
		w.accept(send("d1", phone("a")))
		w.want("claim", w.claim("a", "d1"), "granted")
		say := func(install string) {
			t.Helper()
			if err := w.d.Receipt(t.Context(), "shop", "ada", engage.ReceiptItem{Message: "d1", State: engage.ReceiptFailed, Install: install}); err != nil {
				t.Fatal(err)
			}
			w.settle()
		}
		say("b")
		w.want("another phone's word", w.inbox("ada"), []string(nil))
		say("a")
		w.want("inbox", w.inbox("ada"), []string{"d1"})
		say("a")
		w.pass(time.Hour)
		w.want("told", w.told.list(), []string{"d1 granted in_app a 0", "d1 inboxed inbox not_shown 0"})
		w.end()
	})
}

// TestACrashBetweenAWriteAndItsReadersLosesNoChange stops everything at the nth
// point of a story in which two phones read along, for every n.
func TestACrashBetweenAWriteAndItsReadersLosesNoChange(t *testing.T) {
	crashes := 0
	for n := 1; ; n++ {
		crashed := false
		bubble(t, func(w *world) { crashed = inboxCrash(w, n) })
		if !crashed || t.Failed() {
			break
		}
		crashes++
	}
	t.Logf("%d crashes", crashes)
	if crashes < 11 { // three messages recorded, telling and told, two receipts recorded
		t.Errorf("only %d crashes", crashes)
	}
}

func inboxCrash(w *world, n int) (crashed bool) {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	left := n
	w.fault = func(string) error {
		if left--; left == 0 {
			crashed = true
			return errCrash
		}
		return nil
	}
	w.start()
	phones := make([]delivertest.PhoneInbox, 2)
	look := func() {
		for i := range phones {
			x, err := w.d.InboxSince(w.Context(), "shop", "ada", phones[i].Cursor, 1<<20)
			switch {
			case err != nil:
				w.Fatal(err)
			case r.IntN(3) > 0: // else the answer is lost
				phones[i].Take(x)
			}
		}
	}
	// do is repeated as the outbox repeats it after a crash.
	do := func(f func() error) {
		for range 2 {
			err := f()
			look() // also of a process that is dying
			w.settle()
			if err == nil {
				break
			}
			if !errors.Is(err, errCrash) {
				w.Fatal(err)
			}
			_ = w.stop()
			w.start()
		}
		look()
	}
	ids := []string{"a", "b", "c"}
	for _, id := range ids {
		s := send(id)
		s.Channels = []engage.Channel{engage.Inbox}
		do(func() error { return w.d.Accept(w.Context(), []engage.Send{s}) })
	}
	for i, state := range []string{engage.ReceiptDisplayed, engage.ReceiptDismissed} {
		for range 2 {
			do(func() error {
				return w.d.Receipt(w.Context(), "shop", "ada", engage.ReceiptItem{Message: ids[i], State: state})
			})
		}
	}
	if err := w.stop(); err != nil && !errors.Is(err, errCrash) {
		w.Error(err)
	}
	w.fault = nil
	w.start()
	for i := range phones {
		if err := phones[i].Sync(w.Context(), w.d, "ada", 1<<20); err != nil {
			w.Fatal(err)
		}
		if got := phones[i].Words(); got != "a c!" {
			w.Errorf("crash %d: phone %d has %q", n, i, got)
		}
	}
	w.pass(time.Minute)
	w.want("what is left to be told", w.lanes(), "")
	w.end()
	return crashed
}

func FuzzCursors(f *testing.F) {
	c := clock.NewManual(noon)
	d := delivertest.NewDeliverer(f, c, delivertest.NewLedger(c))
	if err := d.Accept(f.Context(), []engage.Send{delivertest.ForInbox("ada", "a", noon, time.Hour, ""), delivertest.ForInbox("ada", "b", noon, time.Hour, "")}); err != nil {
		f.Fatal(err)
	}
	for _, limit := range []int{0, lots} {
		x, err := d.InboxSince(f.Context(), "shop", "ada", "", limit)
		if err != nil {
			f.Fatal(err)
		}
		raw, _ := base64.RawURLEncoding.DecodeString(x.GetCursor())
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		phone := delivertest.PhoneInbox{Cursor: base64.RawURLEncoding.EncodeToString(raw)}
		if err := phone.Sync(t.Context(), d, "ada", 0); err != nil {
			t.Fatal(err)
		}
		// A phone may say that it knows all, but what it is told is true.
		if phone.Full > 0 && phone.Words() != "a! b!" || !slices.Contains([]string{"a! b!", "b!", ""}, phone.Words()) {
			t.Errorf("%q after %d answers, %d full", phone.Words(), phone.Asked, phone.Full)
		}
	})
}
