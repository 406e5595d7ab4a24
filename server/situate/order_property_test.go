package situate_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// effect is an event that took effect, and on whose profile.
type effect struct{ event, profile string }

// effects takes the events that took effect since the last time.
func (p *phone) effects() []effect {
	p.Helper()
	var out []effect
	for _, o := range p.Take() {
		if o.Entry.Kind != engage.KindTrigger {
			continue
		}
		var tr engage.Trigger
		if err := o.Into(&tr); err != nil {
			p.Fatal(err)
		}
		out = append(out, effect{tr.Event, o.Entry.Key})
	}
	return out
}

// purposesAsked are those that the random person answers.
var purposesAsked = []sdkpb.Consent_Purpose{
	sdkpb.Consent_PURPOSE_MARKETING, sdkpb.Consent_PURPOSE_PROFILING, sdkpb.Consent_PURPOSE_LOCATION_PRECISE,
}

// life is what somebody does with a phone: item i has seq i+1.
func life(r *rand.Rand, n int) (items []*sdkpb.Item, logouts []uint64) {
	for i := range n {
		switch r.IntN(8) {
		case 0, 1:
			items = append(items, consent(purposesAsked[r.IntN(len(purposesAsked))], r.IntN(2) == 0))
		case 2:
			items = append(items, &sdkpb.Item{Logout: &sdkpb.Logout{}})
			logouts = append(logouts, uint64(i+1))
		default:
			items = append(items, &sdkpb.Item{Event: &sdkpb.Event{Name: fmt.Sprint(i + 1)}})
		}
	}
	return items, logouts
}

// profileAt is whose an item is: the profile of the last logout below it.
func profileAt(seq uint64, logouts []uint64) string {
	profile := engage.ProfileID(ws, install)
	for _, l := range logouts {
		if l < seq {
			profile = engage.LogoutProfileID(ws, install, l)
		}
	}
	return engage.ProfileKey(ws, profile)
}

// wantConsents are the answers in force in the end: of each purpose the last by seq
// since the last logout.
func wantConsents(items []*sdkpb.Item, logouts []uint64) map[string]bool {
	want := map[string]bool{}
	for i, item := range items {
		if item.Consent != nil && (len(logouts) == 0 || uint64(i+1) > logouts[len(logouts)-1]) {
			want[item.Consent.Purpose.String()] = item.Consent.Granted
		}
	}
	return want
}

func (p *phone) consents() map[string]bool {
	p.Helper()
	got := map[string]bool{}
	for _, purpose := range purposesAsked {
		for name, c := range p.install().Consents.All() {
			if "PURPOSE_"+upper(string(name)) == purpose.String() {
				got[purpose.String()] = c.Granted
			}
		}
	}
	return got
}

func upper(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'a' && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

// Whatever order items arrive in, and however often, each takes effect once, on the
// profile of who had the install at its place in the sequence, and the answers in
// force are the last by seq. The one thing that a phone must heed is to send nothing
// above a logout before its ack.
func TestAnyOrderOfArrivalHasTheSameEffects(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 11))
		items, logouts := life(r, 10+r.IntN(40))
		p := newPhone(t)
		p.Quick = seed%10 != 0
		// Copies at random places; what follows a logout waits until it has arrived.
		var arrivals []uint64
		for i := range items {
			for range 1 + r.IntN(3) {
				arrivals = append(arrivals, uint64(i+1))
			}
		}
		r.Shuffle(len(arrivals), func(i, j int) { arrivals[i], arrivals[j] = arrivals[j], arrivals[i] })
		came := map[uint64]bool{}
		for len(arrivals) > 0 {
			var later []uint64
			for _, seq := range arrivals {
				if slices.ContainsFunc(logouts, func(l uint64) bool { return l < seq && !came[l] }) {
					later = append(later, seq)
					continue
				}
				came[seq] = true
				p.apply(entry(seq, 0, items[seq-1]))
			}
			arrivals = later
		}
		times := map[effect]int{}
		for _, e := range p.effects() {
			times[e]++
		}
		want := map[effect]int{}
		for i, item := range items {
			if item.Event != nil {
				want[effect{item.Event.Name, profileAt(uint64(i+1), logouts)}] = 1
			}
		}
		if !maps.Equal(times, want) {
			t.Fatalf("seed %d: effects %v\nwant %v", seed, times, want)
		}
		if got, want := p.consents(), wantConsents(items, logouts); !maps.Equal(got, want) {
			t.Fatalf("seed %d: consents %v, want %v; logouts %v", seed, got, want, logouts)
		}
		if a := p.install().Accepted; len(a) != 1 || a[0] != [2]uint64{1, uint64(len(items))} {
			t.Fatalf("seed %d: accepted %v of %d", seed, a, len(items))
		}
	}
}

// network is a phone that keeps the rule of order ("Items, Order" of the protocol),
// and what can become of its socket and its POSTs.
type network struct {
	*rand.Rand
	made   uint64     // items 1..made have been made
	unack  []uint64   // of them, in order
	socket [][]uint64 // batches on their way, and
	flying []uint64   // all of them; an ack that was lost with the socket takes them back
	posts  [][]uint64 // on their way: one that the phone waits for, and late ones that it has given up
	waits  bool       // for the last of posts
}

// batch is what the socket may send: all that waits, but what is on its way by the
// socket itself.
func (n *network) batch() []uint64 {
	var out []uint64
	for _, seq := range n.unack {
		if !slices.Contains(n.flying, seq) {
			out = append(out, seq)
		}
	}
	return out[:n.IntN(len(out)+1)]
}

func (n *network) acked(seqs []uint64) {
	n.unack = slices.DeleteFunc(n.unack, func(seq uint64) bool { return slices.Contains(seqs, seq) })
	n.flying = slices.DeleteFunc(n.flying, func(seq uint64) bool { return slices.Contains(seqs, seq) })
}

// step is one thing that happens; what arrives at the server is returned.
func (n *network) step(most uint64) (arrives []uint64) {
	switch n.IntN(9) {
	case 0, 1:
		if n.made < most {
			n.made++
			n.unack = append(n.unack, n.made)
		}
	case 2, 3:
		if b := n.batch(); len(b) > 0 {
			n.socket, n.flying = append(n.socket, b), append(n.flying, b...)
		}
	case 4, 5: // the socket's next batch arrives; its ack may be lost with the socket
		if len(n.socket) > 0 {
			arrives, n.socket = n.socket[0], n.socket[1:]
			if n.IntN(4) > 0 {
				n.acked(arrives)
			} else {
				n.socket, n.flying = nil, nil
			}
		}
	case 6: // cut
		if n.IntN(3) == 0 {
			n.socket, n.flying = nil, nil
		}
	case 7: // a POST of the oldest that wait, in flight on the socket or not
		if !n.waits && len(n.unack) > 0 {
			n.posts = append(n.posts, slices.Clone(n.unack[:1+n.IntN(len(n.unack))]))
			n.waits = true
		}
	case 8:
		switch {
		case len(n.posts) == 0:
		case n.waits && n.IntN(3) == 0: // the phone gives up; the POST may arrive yet
			n.waits = false
		default:
			i := n.IntN(len(n.posts))
			last := i == len(n.posts)-1
			arrives = n.posts[i]
			n.posts = slices.Delete(n.posts, i, i+1)
			if last && n.waits {
				n.waits = false
				if n.IntN(3) > 0 {
					n.acked(arrives)
				}
			}
		}
	}
	return arrives
}

// A phone that never lets an item overtake an earlier one has the effects in the
// order of seq, by socket and POST racing, with connections cut, acks and answers
// lost, and POSTs that arrive after the phone has given them up.
func TestEffectsAreInTheOrderOfSeq(t *testing.T) {
	twice := 0
	for seed := range uint64(150) {
		n := &network{Rand: rand.New(rand.NewPCG(seed, 12))}
		p := newPhone(t)
		p.Quick = true
		const most = 40
		arrived := 0
		for step := 0; n.made < most || len(n.unack) > 0 || len(n.posts) > 0; step++ {
			if step == 100_000 {
				t.Fatalf("seed %d: %d items wait", seed, len(n.unack))
			}
			for _, seq := range n.step(most) {
				arrived++
				p.apply(entry(seq, 0, &sdkpb.Item{Event: &sdkpb.Event{Name: fmt.Sprint(seq)}}))
			}
		}
		effects := p.effects()
		if len(effects) != most {
			t.Fatalf("seed %d: %d effects of %d items", seed, len(effects), most)
		}
		for i, e := range effects {
			if e.event != fmt.Sprint(i+1) {
				t.Fatalf("seed %d: effect %d is of item %s", seed, i+1, e.event)
			}
		}
		twice += arrived - most
	}
	if twice == 0 {
		t.Error("nothing arrived twice")
	}
}
