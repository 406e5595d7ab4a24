package lab

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

const bound = 30 * time.Second // of every wait

// scene is a town, a gateway and a crowd that runs.
type scene struct {
	t      *testing.T
	town   *Town
	gate   *gateway
	crowd  *Crowd
	cancel context.CancelFunc
	result chan error
}

// play starts a crowd that lives fast: everything takes milliseconds.
func play(t *testing.T, o TownOptions, edit ...func(*CrowdOptions)) *scene {
	t.Helper()
	s := &scene{t: t, town: town(t, o), result: make(chan error, 1)}
	s.gate = newGateway(t, s.town)
	co := CrowdOptions{
		Endpoint: "http://" + s.gate.addr,
		AppKeys:  map[sdkpb.Platform]string{sdkpb.Platform_PLATFORM_ANDROID: "ak_android", sdkpb.Platform_PLATFORM_IOS: "ak_ios"},
		PushToken: func(p *Person) *sdkpb.PushTarget {
			target := &sdkpb.PushTarget{Provider: sdkpb.PushTarget_PROVIDER_FCM, Token: "live-" + p.ID}
			if p.Platform == sdkpb.Platform_PLATFORM_IOS {
				target.Provider = sdkpb.PushTarget_PROVIDER_APNS
			}
			if p.DeadToken {
				target.Token = "dead-" + p.ID
			}
			return target
		},
		IdentityProof: func(_ sdkpb.Platform, userID string) string { return strings.Repeat("0", 10) + "proof" },
		Speed:         200, FixEvery: 40 * time.Millisecond, EventEvery: 100 * time.Millisecond,
		SwitchEvery: 200 * time.Millisecond, OfflineEvery: 300 * time.Millisecond, OfflineFor: 100 * time.Millisecond,
		RegionDelay: 20 * time.Millisecond, OpenAfter: 60 * time.Millisecond, StartWithin: 50 * time.Millisecond,
		BackoffMin: 5 * time.Millisecond, BackoffMax: 50 * time.Millisecond,
	}
	for _, e := range edit {
		e(&co)
	}
	var err error
	if s.crowd, err = NewCrowd(s.town, co); err != nil {
		t.Fatal(err)
	}
	s.gate.push = func(install, message, via string) { s.crowd.Phone(install).Push(message, via) }
	ctx, cancel := context.WithCancel(t.Context())
	s.cancel = cancel
	go func() { s.result <- s.crowd.Run(ctx) }()
	t.Cleanup(cancel)
	return s
}

func (s *scene) until(what string, ok func(Snapshot) bool) {
	s.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(bound)
	for {
		snap := s.crowd.Snapshot()
		if ok(snap) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("not so: %s\n%+v", what, snap.Totals)
		}
	}
}

func (s *scene) drain() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), bound)
	defer cancel()
	if err := s.crowd.Drain(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// end drains, stops and joins, and takes the statements.
func (s *scene) end() Report {
	s.t.Helper()
	s.drain()
	s.cancel()
	if err := <-s.result; err != nil {
		s.t.Fatal(err)
	}
	s.gate.crash()
	return s.crowd.Report()
}

// compare holds the phones' statements against what the gateway took.
func (s *scene) compare(r Report) {
	s.t.Helper()
	for _, p := range r.Phones {
		in := s.gate.installs[p.Install]
		if in == nil {
			s.t.Errorf("%s never came", p.Install)
			continue
		}
		if p.Pending != 0 || p.Stopped != nil {
			s.t.Errorf("%s: %d pending, stopped: %v", p.Install, p.Pending, p.Stopped)
		}
		acked := 0
		for seq, kind := range p.Acked() {
			acked++
			if in.taken[seq] == 0 || kind == "" {
				s.t.Errorf("%s: item %d (%s) is acknowledged and the gateway has not got it", p.Install, seq, kind)
			}
		}
		if acked != len(in.bodies) {
			s.t.Errorf("%s: %d items acknowledged, the gateway took %d", p.Install, acked, len(in.bodies))
		}
	}
}

func TestACrowdWalksTalksAndSettles(t *testing.T) {
	s := play(t, TownOptions{Seed: 21, People: 80, TimeZone: "Europe/Amsterdam"})
	s.until("every way to a person was used, and every kind of item sent", func(n Snapshot) bool {
		for _, k := range kinds[1:] {
			if k != sdkproto.KindPushToken && k != sdkproto.KindPermissions && n.Totals.Acked[k] == 0 { // hello says those
				return false
			}
		}
		return s.gate.opened() && s.switched() > 0 && n.Totals.PostsFailed > 0 && n.Totals.Shown["fcm"] > 0 && n.Totals.Shown["apns"] > 0 && n.Totals.Shown["in_app"] > 3 &&
			n.Totals.Shown["inbox"] > 10 && n.Totals.RefusedBy["consent_missing"] > 0 && n.Totals.UnseenPushes > 0 && n.Connected > 10
	})
	r := s.end()
	s.compare(r)
	if r.Totals.Duplicates != 0 || r.Doubled != 0 {
		t.Errorf("%d duplicates, %d doubled", r.Totals.Duplicates, r.Doubled)
	}
	if got := r.InApp(); len(got) == 0 || got[0] <= 0 || got[0] > bound {
		t.Errorf("in-app latencies %v", got)
	}
	if r.Acks.Count() == 0 || r.Acks.Quantile(0.5) == 0 {
		t.Error("no ack was timed")
	}
	careless := 0
	for _, p := range r.Phones {
		in := s.gate.installs[p.Install]
		want := sdkproto.SubprotocolPB
		if p.Person.JSON {
			want = sdkproto.SubprotocolJSON
		}
		if len(in.codecs) != 1 || !in.codecs[want] {
			t.Errorf("%s speaks %v, want %s", p.Install, in.codecs, want)
		}
		kinds := map[sdkproto.Kind]int{}
		for _, k := range p.Acked() {
			kinds[k]++
		}
		located := kinds[sdkproto.KindLocation] + kinds[sdkproto.KindRegionEvent]
		if p.Person.Foreground != Yes && located > 0 {
			t.Errorf("%s has not agreed to be located, and %d positions were taken", p.Install, located)
		}
		if p.Person.Mode == InHand && kinds[sdkproto.KindRegionEvent] > 0 {
			t.Errorf("%s is in the hand and reports regions of the OS", p.Install)
		}
		if len(p.Refusals) > 0 && !p.Person.Careless {
			t.Errorf("%s is not careless and was refused %+v", p.Install, p.Refusals[0])
		}
		if p.Person.Careless {
			careless += len(p.Refusals)
		}
		if p.Person.Mode == InPocket && p.Totals.Shown["in_app"] > 0 {
			t.Errorf("%s is in the pocket and showed an in-app message", p.Install)
		}
	}
	if careless == 0 {
		t.Error("no careless app was refused anything")
	}
}

// switched counts the phones that came back to the socket after they had posted.
func (s *scene) switched() int {
	n := 0
	for _, p := range s.crowd.Phones() {
		if p.Person().Mode != Switch {
			continue
		}
		r := p.report()
		posted := false
		for _, e := range r.Evidence {
			posted = posted || e.Post
			if posted && !e.Post {
				n++
				break
			}
		}
	}
	return n
}

func TestACrowdSurvivesAServerThatDies(t *testing.T) {
	s := play(t, TownOptions{Seed: 4, People: 30})
	for round := range 3 {
		before := s.crowd.Snapshot().Totals
		s.until("they talk", func(n Snapshot) bool {
			return n.Connected > 5 && n.Totals.Acked[sdkproto.KindLocation] > before.Acked[sdkproto.KindLocation]+30 &&
				n.Totals.Posts-n.Totals.PostsFailed > before.Posts-before.PostsFailed+3
		})
		s.gate.crash()
		s.until("they notice", func(n Snapshot) bool { return n.Connected == 0 && n.Pending > 10*(round+1) })
		s.gate.restart()
	}
	r := s.end()
	s.compare(r)
	if r.Totals.Duplicates != 0 {
		t.Errorf("%d duplicates", r.Totals.Duplicates)
	}
}

func TestSabotageShowsExactlySoManyMessagesAgain(t *testing.T) {
	s := play(t, TownOptions{Seed: 21, People: 40}, func(o *CrowdOptions) { o.Double = 3 })
	s.until("messages are shown", func(n Snapshot) bool {
		return n.Totals.Shown["in_app"]+n.Totals.Shown["fcm"]+n.Totals.Shown["apns"] > 10
	})
	r := s.end()
	s.compare(r)
	if r.Doubled != 3 || r.Totals.Duplicates != 3 {
		t.Errorf("%d doubled, %d duplicates, want 3 and 3", r.Doubled, r.Totals.Duplicates)
	}
	twice := 0
	for _, p := range r.Phones {
		for _, m := range p.Shown {
			if m.Times == 2 {
				twice++
			} else if m.Times != 1 {
				t.Errorf("%s was shown %d times", m.MessageID, m.Times)
			}
		}
	}
	if twice != 3 {
		t.Errorf("%d messages were shown twice", twice)
	}
}

func TestLoadKeepsItsRate(t *testing.T) {
	const rate = 1000
	s := play(t, TownOptions{Seed: 2, People: 60}, func(o *CrowdOptions) {
		o.Load = &Load{Rate: rate, Phones: 50}
	})
	s.until("a second of load", func(n Snapshot) bool { return n.Totals.Acked[sdkproto.KindLocation] > rate })
	r := s.end()
	s.compare(r)
	sent := r.Totals.Sent[sdkproto.KindLocation] + r.Totals.Sent[sdkproto.KindEvent]
	if len(r.Phones) != 50 || r.Totals.Posts != 0 || r.Totals.RefusedBy["consent_missing"] != 0 {
		t.Errorf("%d phones, %d POSTs, refused %v", len(r.Phones), r.Totals.Posts, r.Totals.RefusedBy)
	}
	if share := float64(r.Totals.Sent[sdkproto.KindEvent]) / float64(sent); share < 0.05 || share > 0.15 {
		t.Errorf("%.2f of the items are events, want a tenth", share)
	}
	// The pump counts by the clock: what was due was sent or held back.
	if got := sent + r.Held - len(r.Phones); got < s.crowd.load.done || got > s.crowd.load.done+len(r.Phones) {
		t.Errorf("%d sent and %d held of %d due", sent, r.Held, s.crowd.load.done)
	}
}

func TestDrainSaysWhatItCouldNotFlush(t *testing.T) {
	s := play(t, TownOptions{Seed: 4, People: 10})
	s.until("they talk", func(n Snapshot) bool { return n.Totals.Acked[sdkproto.KindLocation] > 10 })
	s.gate.crash()
	s.until("something waits", func(n Snapshot) bool { return n.Pending > 3 })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := s.crowd.Drain(ctx)
	left, ok := errors.AsType[*UndrainedError](err)
	if !ok || left.Items < 3 || left.Phones == 0 || left.Stopped != 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("drain: %v", err)
	}
	s.gate.restart()
	s.compare(s.end())
}

func TestAPhoneThatIsRefusedForGoodIsReported(t *testing.T) {
	s := &scene{t: t, town: town(t, TownOptions{Seed: 4, People: 6})}
	c, err := NewCrowd(s.town, CrowdOptions{
		Endpoint: refusing(t), AppKeys: map[sdkpb.Platform]string{sdkpb.Platform_PLATFORM_ANDROID: "a", sdkpb.Platform_PLATFORM_IOS: "b"},
		StartWithin: time.Millisecond, BackoffMin: time.Millisecond, BackoffMax: time.Millisecond, FixEvery: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	s.crowd = c
	s.until("all have given up", func(n Snapshot) bool { return n.Stopped == 6 })
	dctx, dcancel := context.WithTimeout(ctx, bound)
	defer dcancel()
	err = c.Drain(dctx)
	left, ok := errors.AsType[*UndrainedError](err)
	if _, terminal := errors.AsType[*client.TerminalError](err); !ok || !terminal || left.Stopped != 6 {
		t.Errorf("drain: %v", err)
	}
	if err := c.Run(ctx); !errors.Is(err, ErrRunning) {
		t.Errorf("a second Run: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, p := range c.Report().Phones {
		if p.Stopped == nil || p.Pending == 0 {
			t.Errorf("%s: stopped %v, %d pending", p.Install, p.Stopped, p.Pending)
		}
	}
}

func TestACrowdThatCannotBeIsRefused(t *testing.T) {
	tn := town(t, TownOptions{People: 3})
	for field, edit := range map[string]func(*CrowdOptions){
		"app_keys":    func(o *CrowdOptions) { o.AppKeys = nil },
		"speed":       func(o *CrowdOptions) { o.Speed = -1 },
		"fix_every":   func(o *CrowdOptions) { o.FixEvery = 1 },
		"double":      func(o *CrowdOptions) { o.Double = -1 },
		"load.rate":   func(o *CrowdOptions) { o.Load = &Load{Rate: -1} },
		"load.phones": func(o *CrowdOptions) { o.Load = &Load{Phones: 4} },
	} {
		o := CrowdOptions{Endpoint: "http://127.0.0.1:1", AppKeys: map[sdkpb.Platform]string{
			sdkpb.Platform_PLATFORM_ANDROID: "a", sdkpb.Platform_PLATFORM_IOS: "b",
		}}
		edit(&o)
		_, err := NewCrowd(tn, o)
		if e, ok := errors.AsType[*Error](err); !ok || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := NewCrowd(tn, CrowdOptions{Endpoint: "ftp://x", AppKeys: map[sdkpb.Platform]string{
		sdkpb.Platform_PLATFORM_ANDROID: "a", sdkpb.Platform_PLATFORM_IOS: "b",
	}}); err == nil {
		t.Error("an endpoint of ftp is taken")
	}
}
