package deliver_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// held is a send that waits on the phones for an event.
func held(id string, alsoCard bool, devices ...engage.Device) engage.Send {
	s := send(id, devices...)
	s.Channels = []engage.Channel{engage.InApp}
	if alsoCard {
		s.Channels = append(s.Channels, engage.Inbox)
	}
	s.InApp = &engage.InAppContent{Trigger: &engage.InAppTrigger{Event: "cart"}}
	return s
}

// kinds of what a phone that keeps an inbox is told: "+d1/IN_APP".
func (w *world) kinds() string {
	w.Helper()
	x, err := w.d.InboxSince(w.Context(), "shop", "ada", "", 1<<20)
	if err != nil {
		w.Fatal(err)
	}
	var out []string
	for _, m := range x.GetMessages() {
		sign := "+"
		if m.GetRead() {
			sign = "!"
		}
		out = append(out, fmt.Sprintf("%s%s/%s/%s", sign, m.GetMessageId(), strings.TrimPrefix(m.GetKind().String(), "KIND_"), m.GetTrigger().GetEvent()))
	}
	return strings.Join(out, " ")
}

func (w *world) hear(id, install, state string) {
	w.Helper()
	if err := w.d.Receipt(w.Context(), "shop", "ada", engage.ReceiptItem{Message: id, Install: install, State: state}); err != nil {
		w.Fatal(err)
	}
	w.settle()
}

// It is neither offered nor pushed, however long nobody claims it; all phones of the
// person fetch it, and one of them gets it, hours later and as often as it asks.
func TestAMessageThatWaitsForItsMomentIsFetchedAndGrantedToOnePhone(t *testing.T) {
	bubble(t, func(w *world) {
		w.sessions.set("p1", "p2")
		w.start()
		w.accept(held("d1", false, phone("p1"), iphone("p2")), held("d2", true, phone("p1"), iphone("p2")))
		w.want("offered", w.sessions.took(), "[p1/inbox/d2]") // the card, to who keeps no inbox
		w.want("told", w.sessions.told(), "[shop/p1 shop/p2 shop/p1 shop/p2]")
		w.want("for phones with an inbox", w.kinds(), "+d1/IN_APP/cart +d2/INBOX/cart")
		w.want("for phones without", w.inbox("ada"), "[d2]")
		w.pass(30 * time.Minute)
		w.want("pushes", w.senders.attempts(), "[]")
		w.want("a phone of nobody's", w.claim("p1", "d9"), "unknown")
		w.want("claimed", w.claim("p2", "d1"), "granted")
		w.want("claimed by another", w.claim("p1", "d1"), "late")
		w.pass(20 * time.Minute) // far beyond what a receipt of an offered one may take
		w.want("after a lost grant", w.claim("p2", "d1"), "granted")
		w.hear("d1", "p2", engage.ReceiptDisplayed)
		w.want("when it was displayed", w.kinds(), "!d1/IN_APP/cart +d2/INBOX/cart")
		w.want("a repeat by the phone that has it", w.claim("p2", "d1"), "granted")
		w.hear("d1", "p2", engage.ReceiptDismissed)
		w.want("dismissed", w.kinds()+" "+w.claim("p2", "d1"), "+d2/INBOX/cart late")
		w.hear("d2", "p1", engage.ReceiptDisplayed) // its card was read
		w.want("a card that was read", w.claim("p1", "d2"), "late")
		w.pass(20 * time.Minute)
		w.want("expired", w.claim("p2", "d1"), "expired")
		w.end()
	})
}

// Its claims and its failures survive the process, and a phone that failed gives it back.
func TestAClaimOfAMessageThatWaitsIsDurable(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		w.accept(held("d1", false, phone("p1"), phone("p2")))
		w.want("claimed", w.claim("p1", "d1"), "granted")
		w.end()
		w.start()
		w.want("claimed by another", w.claim("p2", "d1"), "late")
		w.hear("d1", "p2", engage.ReceiptFailed)
		w.want("another says that it failed", w.claim("p2", "d1"), "late")
		w.hear("d1", "p1", engage.ReceiptFailed)
		w.want("the phone that has it says so", w.claim("p2", "d1"), "granted")
		w.end()
	})
}

// A phone whose person has logged out is granted nothing of theirs.
func TestAMessageThatWaitsIsNotGrantedAfterALogout(t *testing.T) {
	bubble(t, func(w *world) {
		w.owners = &owners{of: map[string]string{"p2": "somebody else"}}
		w.start()
		w.accept(held("d1", false, phone("p1"), phone("p2")))
		w.want("claimed by who is another now", w.claim("p2", "d1"), "elsewhere")
		w.want("claimed", w.claim("p1", "d1"), "granted")
		w.end()
	})
}

// A card may outlive its message: it can be read, and its reading told, as long as it
// is there.
func TestACardHasAnExpiryOfItsOwn(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		s := send("d1", phone("p1"))
		s.Channels, s.Inbox = []engage.Channel{engage.Inbox}, &engage.InboxContent{ExpiresS: 72 * 3600}
		w.accept(s)
		w.pass(48 * time.Hour)
		w.want("after two days", w.kinds(), "+d1/INBOX/")
		w.hear("d1", "p1", engage.ReceiptOpened)
		w.want("read then", w.kinds(), "!d1/INBOX/")
		w.pass(24 * time.Hour)
		w.want("after three", w.kinds(), "")
		w.end()
	})
}
