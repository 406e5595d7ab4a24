package deliver_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/deliver/delivertest"
	"github.com/footfall-engage/footfall/server/engage"
)

var errCrash = errors.New("killed")

// TestCrashAnywhereLosesNothingAndRepeatsOnlyWhatWasUnderWay runs one story with
// a crash at the nth point, for every n that the story has.
func TestCrashAnywhereLosesNothingAndRepeatsOnlyWhatWasUnderWay(t *testing.T) {
	points := map[string]int{}
	for n := 1; ; n++ {
		crashed := ""
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			bubble(t, func(w *world) { crashed = crashStory(w, n) })
		})
		if crashed == "" || t.Failed() {
			break
		}
		points[crashed]++
	}
	t.Logf("crashes: %v", points)
	for _, p := range []string{
		deliver.FaultRecorded, deliver.FaultAttempt, deliver.FaultMade, deliver.FaultTelling, deliver.FaultTold,
	} {
		if points[p] < 5 {
			t.Errorf("%d crashes at %s", points[p], p)
		}
	}
}

// underWay are the deliveries of which the ledger says that an attempt is under way: by
// their own record, or by a line of the journal that their record has not gone beyond.
func underWay(l *delivertest.Ledger) (ids []string) {
	recs, _ := l.Due(context.Background(), "inflight", deliver.Mark{}, 1000)
	for _, r := range recs {
		ids = append(ids, r.ID)
	}
	leaves, _ := l.Due(context.Background(), "journal", deliver.Mark{}, 1000)
	for _, leaf := range leaves {
		var said struct {
			Flights []struct {
				W, D string
				N    int
			}
		}
		_ = json.Unmarshal(leaf.Body, &said)
		for _, f := range said.Flights {
			rec, ok, _ := l.Get(context.Background(), f.W, f.D)
			var r struct{ Made int }
			if ok && json.Unmarshal(rec.Body, &r) == nil && r.Made < f.N {
				ids = append(ids, f.D)
			}
		}
	}
	return ids
}

// crashStory crashes at the nth fault point, restarts, and checks what decide,
// the providers and the phones saw. It returns the point, "" when there were
// fewer than n.
func crashStory(w *world, n int) (crashed string) {
	var mu sync.Mutex
	left, at := n, ""
	inFlight := map[string]bool{} // attempts that may have been under way at the crash
	w.fault = func(point string) error {
		mu.Lock()
		defer mu.Unlock()
		if left--; left == 0 {
			at = point
			for _, id := range underWay(w.ledger) {
				inFlight[id] = true
			}
			return errCrash
		}
		return nil
	}
	accepted := map[string]int{} // by attempt id, what providers took
	w.senders.saying(func(m channels.Message, n int) (channels.Outcome, error) {
		token := string(m.Target.Token)
		switch {
		case strings.HasSuffix(token, "gone"):
			return channels.Outcome{Kind: channels.TokenGone, Reason: "UNREGISTERED", Status: 404}, nil
		case strings.HasSuffix(token, "busy") && n == 1:
			return channels.Outcome{Kind: channels.RetryAfter, RetryAfter: time.Second, Status: 503}, nil
		case strings.HasSuffix(token, "bad"):
			return channels.Outcome{Kind: channels.Rejected, Reason: "PayloadTooLarge", Status: 413}, nil
		}
		mu.Lock()
		defer mu.Unlock()
		accepted[m.AttemptID]++
		return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
	})
	once := send("once", phone("once"))
	once.RetryAmbiguous = false
	sends := []engage.Send{
		send("plain", phone("a")), send("second", phone("gone"), iphone("b")), send("retried", phone("busy")),
		send("rejected", phone("bad")), send("box"), once,
		to(engage.AllDevices, "all", phone("f1"), phone("f2-busy"), iphone("f3")),
		send("claimed", phone("on1")), send("unclaimed", phone("on2")), send("lost-grant", phone("on3")),
	}
	w.sessions.set("on1", "on2", "on3")

	taken := map[string]bool{}  // what Accept has returned for
	granted := map[string]int{} // what phones may show
	tries := []string{"claimed/on1", "lost-grant/on3"}
	// story is what the world does, again and again, until all has ended; a crash
	// restarts the deliverer at any moment of it.
	story := func() {
		for _, s := range sends {
			if !taken[s.Delivery] && w.d.Accept(w.Context(), []engage.Send{s}) == nil {
				taken[s.Delivery] = true
			}
			w.settle()
		}
		tries = slices.DeleteFunc(tries, func(try string) bool {
			id, install, _ := strings.Cut(try, "/")
			ok, _, err := w.d.Claim(w.Context(), "shop", install, id)
			if ok {
				granted[id]++
			}
			w.settle()
			return err == nil
		})
		if granted["claimed"] > 0 {
			_ = w.d.Receipt(w.Context(), "shop", "ada", engage.ReceiptItem{Message: "claimed", State: engage.ReceiptDisplayed})
		}
	}
	pass := func(d time.Duration) {
		w.pass(d)
		mu.Lock()
		down := at != "" && crashed == ""
		mu.Unlock()
		if down {
			crashed = at
			if err := w.stop(); !errors.Is(err, errCrash) {
				w.Errorf("Run after a crash: %v", err)
			}
			w.start()
		}
	}
	w.start()
	for range 5 {
		story()
		pass(time.Second)
	}
	w.sessions.set()
	for range 4 {
		pass(time.Minute)
	}
	clear(taken) // the outbox may hand everything over again
	for range 4 {
		story()
		pass(time.Minute)
	}
	w.end()

	if at := w.lanes(); at != "" {
		w.Errorf("never ended: %s", at)
	}
	ends := map[string][]string{}
	for _, o := range w.told.all {
		e := fmt.Sprintf("%s %s %s", o.State, o.Channel, cmp.Or(string(o.Reason), o.Detail))
		if !slices.Contains(ends[o.Delivery], e) { // told again, decide takes it
			ends[o.Delivery] = append(ends[o.Delivery], e)
		}
	}
	want := map[string][]string{
		"plain": {"accepted fcm "}, "second": {"accepted apns "}, "retried": {"accepted fcm "},
		"rejected": {"failed fcm send_rejected"}, "box": {"inboxed inbox no_device"}, "once": {"accepted fcm "},
		"unclaimed": {"accepted fcm "}, "all": nil,
		"claimed": {"granted in_app "}, "lost-grant": {"granted in_app ", "inboxed inbox not_displayed"},
	}
	if inFlight["once"] { // nobody knows, and it may not be repeated
		want["once"] = []string{"failed fcm send_ambiguous"}
	}
	for id, e := range want {
		got := ends[id]
		switch {
		case id == "all": // by whichever phone came first
			if len(got) != 1 || got[0] != "accepted fcm " && got[0] != "accepted apns " {
				w.Errorf("%s: told %q", id, got)
			}
		case id == "claimed" && granted[id] == 1 && len(got) == 0: // displayed before it was told
		case granted[id] == 0 && (id == "claimed" || id == "lost-grant"):
			// A claim that got no answer shows nothing: the inbox has the grant, and
			// a delivery that was not recorded at the claim went as a push.
			if s := fmt.Sprint(got); s != "[granted in_app  inboxed inbox not_displayed]" && s != "[accepted fcm ]" && s != "[inboxed inbox not_displayed]" {
				w.Errorf("%s, not granted: told %q", id, got)
			}
		case fmt.Sprint(got) != fmt.Sprint(e):
			w.Errorf("%s: told %q, want %q", id, got, e)
		}
	}
	for _, s := range sends {
		pushes := 0
		for _, dev := range s.Devices {
			n := accepted[engage.AttemptID(s.Delivery, dev.Install)]
			if s.Delivery == "all" && n == 0 {
				w.Errorf("all: nothing for %s", dev.Install)
			}
			pushes += n
		}
		most := 1
		if s.Delivery == "all" {
			pushes -= 2
		}
		if inFlight[s.Delivery] {
			most = 2
		}
		if s.Delivery == "once" {
			most = 1
		}
		if pushes > most || granted[s.Delivery] > 1 || granted[s.Delivery] == 1 && pushes > 0 {
			w.Errorf("%s: %d pushes and %d grants, in flight at the crash: %v", s.Delivery, pushes, granted[s.Delivery], inFlight[s.Delivery])
		}
	}
	return crashed
}
