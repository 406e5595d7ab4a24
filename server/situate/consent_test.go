package situate_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// endedByConsent counts the visits that the history says a withdrawal ended.
func (p *phone) endedByConsent() (n int) {
	for _, body := range p.Docs("visits") {
		if bytes.Contains(body, []byte(`"ended":"consent"`)) {
			n++
		}
	}
	return n
}

// Who withdraws the consent to location in the background while the app is there is
// not watched any more from that moment on, although the other consents stand: the
// visits end, nothing is said of them, and what the OS still reports is nothing.
// When the app comes to the foreground, that is another visit.
func TestWithdrawingTheBackgroundInTheBackgroundEndsVisits(t *testing.T) {
	p := newPhone(t, allConsents...)
	p.item(0, lifecycle(sdkpb.Lifecycle_STATE_BACKGROUND))
	p.item(sec, region("cafe-in", enter))
	first := p.wantTriggers("enter cafe-in")[0]
	p.item(2*sec, fix(shop, 10))
	p.wantTriggers("enter cafe-near")

	p.item(60*sec, consent(sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND, false))
	p.wantTriggers("")
	if in := p.install(); len(in.Places()) != 0 || !in.Tracks.IsZero() {
		t.Errorf("still visits %v, or holds a track", in.Places())
	}
	if n := p.endedByConsent(); n != 1 {
		t.Errorf("%d visits ended by the withdrawal", n)
	}
	p.item(61*sec, region("cafe-in", exit))
	p.item(62*sec, region("cafe-in", enter))
	p.item(63*sec, fix(east(40), 10))
	p.item(64*sec, beacon("f7826da6-4fa2-4e98-8024-bc5b71e0893e", 1, 1, false))
	p.wantTriggers("")
	in := p.install()
	if in.Refused != 4 || len(in.Places()) != 0 || !in.Tracks.IsZero() || in.Fix != nil && in.Fix.Pos == east(40) {
		t.Errorf("refused %d, visits %v, fix %v", in.Refused, in.Places(), in.Fix)
	}
	if err := p.FireUntil(t0.Add(3 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	p.wantTriggers("")

	p.item(4*time.Hour, lifecycle(sdkpb.Lifecycle_STATE_FOREGROUND))
	p.item(4*time.Hour+sec, fix(shop, 10))
	if again := p.wantTriggers("enter cafe-near, enter cafe-in")[0]; again.Occasion == first.Occasion {
		t.Error("the visit that the withdrawal ended goes on")
	}
}

// In the foreground the consent to the background is not what the visit stands on.
func TestWithdrawingTheBackgroundInTheForegroundEndsNothing(t *testing.T) {
	p := newPhone(t, allConsents...)
	p.item(0, lifecycle(sdkpb.Lifecycle_STATE_FOREGROUND))
	p.item(sec, fix(shop, 10))
	first := p.wantTriggers("enter cafe-near, enter cafe-in")[0]
	p.item(2*sec, consent(sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND, false))
	if in := p.install(); !slices.Equal(in.Places(), []string{"cafe"}) || in.Fix == nil || p.endedByConsent() != 0 {
		t.Errorf("visits %v, fix %v", in.Places(), in.Fix)
	}
	p.item(30*sec, fix(east(1000), 10))
	for _, tr := range p.wantTriggers("exit cafe-in, exit cafe-near, visit cafe-near") {
		if tr.Occasion != first.Occasion {
			t.Errorf("%s is of another visit", tr.Transition)
		}
	}
}

// What a person did not agree to when it was observed does not count, in whatever
// order it comes: not what was observed after a withdrawal, before the first answer,
// or between a withdrawal and the next yes. What was observed while the consent stood
// counts also when it comes after a yes that only repeats it.
func TestAFixCountsByTheConsentUnderWhichItWasTaken(t *testing.T) {
	const fg, pr = sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND, sdkpb.Consent_PURPOSE_LOCATION_PRECISE
	item := func(seq uint64, it *sdkpb.Item) engage.Entry { return entry(seq, time.Duration(seq)*sec, it) }
	yes := func(seq uint64) engage.Entry { return item(seq, consent(fg, true)) }
	no := func(seq uint64) engage.Entry { return item(seq, consent(fg, false)) }
	at := func(seq uint64) engage.Entry { return item(seq, fix(shop, 10)) }
	for name, c := range map[string]struct {
		entries []engage.Entry
		counts  bool
	}{
		"under the consent":                         {[]engage.Entry{yes(5), at(6)}, true},
		"after the withdrawal":                      {[]engage.Entry{yes(5), no(10), at(11)}, false},
		"before the withdrawal, but later":          {[]engage.Entry{yes(5), no(10), at(9)}, false},
		"before the first answer":                   {[]engage.Entry{yes(5), at(4)}, false},
		"between the withdrawal and the next yes":   {[]engage.Entry{yes(5), no(10), yes(20), at(15)}, false},
		"after the next yes":                        {[]engage.Entry{yes(5), no(10), yes(20), at(21)}, true},
		"before a yes that repeats":                 {[]engage.Entry{yes(5), yes(20), at(15)}, true},
		"before a yes that comes first":             {[]engage.Entry{yes(20), yes(5), at(15)}, false},
		"before the first of two, answers late":     {[]engage.Entry{yes(20), yes(5), at(4)}, false},
		"between, and the withdrawal comes late":    {[]engage.Entry{yes(5), yes(20), no(10), at(15)}, false},
		"between, and the first yes comes last":     {[]engage.Entry{yes(20), no(10), yes(5), at(15)}, false},
		"after the yes, whose withdrawal came late": {[]engage.Entry{yes(5), yes(20), no(10), at(21)}, true},
		"precise only from another yes on": {[]engage.Entry{
			yes(5), item(6, consent(pr, false)), item(20, consent(pr, true)), at(15),
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPhone(t)
			p.apply(item(1, consent(pr, true)))
			p.apply(c.entries...)
			in := p.install()
			if got := in.Fix != nil; got != c.counts || !in.Tracks.IsZero() != c.counts || len(p.triggers()) > 0 != c.counts {
				t.Errorf("counts: fix %t, track %t, want %t", got, !in.Tracks.IsZero(), c.counts)
			}
		})
	}
}
