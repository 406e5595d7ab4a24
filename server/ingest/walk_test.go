package ingest_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/ingest"
)

// iOS as it is in a pocket: a border is noticed 100 m beyond it, and the app woken
// up to five minutes later.
const (
	beyondM  = 100
	lateMost = 300 * time.Second
	step     = 10 * time.Second
	paceMPS  = 1.4
	aroundM  = 3000
)

// plain is the Earth around a point, near enough for a walk.
type plain struct{ around geo.Point }

func (p plain) point(x, y float64) geo.Point {
	const degreeM = 111_195
	return geo.Point{Lat: p.around.Lat + y/degreeM, Lng: p.around.Lng + x/degreeM/math.Cos(p.around.Lat*math.Pi/180)}
}

// pocket is an iPhone whose app sleeps: the circles that it registered, and what
// its OS will say of them.
type pocket struct {
	r       *rand.Rand
	watched map[string]*sdkpb.Region
	inside  map[string]bool
	due     map[string]time.Time
	at      geo.Point
}

// register is what the app does with a set.
func (o *pocket) register(set *sdkpb.Regions) []*sdkpb.RegionFailure {
	next := map[string]*sdkpb.Region{}
	for _, r := range append(slices.Clone(set.Regions), set.Bubble) {
		if r == nil {
			continue
		}
		next[r.Id] = r
		if old := o.watched[r.Id]; old == nil || old.Lat != r.Lat || old.Lng != r.Lng || old.RadiusM != r.RadiusM {
			o.inside[r.Id] = o.marginM(r) <= 0
			delete(o.due, r.Id)
		}
	}
	o.watched = next
	return nil
}

func (o *pocket) marginM(r *sdkpb.Region) float64 {
	return geo.DistanceM(o.at, geo.Point{Lat: r.Lat, Lng: r.Lng}) - r.RadiusM
}

type crossing struct {
	region string
	to     sdkpb.RegionEvent_Transition
}

// moved tells what the app is woken for now.
func (o *pocket) moved(now time.Time) (out []crossing) {
	for id, r := range o.watched {
		was := o.inside[id]
		switch m := o.marginM(r); {
		case m > beyondM:
			o.inside[id] = false
		case m <= 0:
			o.inside[id] = true
		}
		if o.inside[id] != was {
			o.due[id] = now.Add(20*time.Second + time.Duration(o.r.Int64N(int64(lateMost-20*time.Second))))
		}
		if t, ok := o.due[id]; ok && !now.Before(t) {
			delete(o.due, id)
			switch in := o.inside[id]; {
			case in && r.OnEnter:
				out = append(out, crossing{id, sdkpb.RegionEvent_TRANSITION_ENTER})
			case !in && r.OnExit:
				out = append(out, crossing{id, sdkpb.RegionEvent_TRANSITION_EXIT})
			}
		}
	}
	slices.SortFunc(out, func(a, b crossing) int { return map[bool]int{true: -1, false: 1}[a.region < b.region] })
	return out
}

// walk has somebody walk 40 km among the fences with the phone in the pocket, and
// counts the fences walked into, and those of them that the phone did not watch.
// Each waking is one POST, with a fix of the given accuracy.
func (w *world) walk(install string, seed uint64, fences *geo.Index, around geo.Point, accuracyM float64, caps ...string) (entered, missed, posts int) {
	w.t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	o := &pocket{r: r, inside: map[string]bool{}, due: map[string]time.Time{}}
	p := w.phone(install, sdkproto.Protobuf{}, func(opts *client.Options) {
		opts.AppKey, opts.Platform, opts.Caps, opts.OnRegions = ios, sdkpb.Platform_PLATFORM_IOS, caps, o.register
	})
	w.installs.known[install] = ingest.Install{Consents: everything(), Background: true}
	land := plain{around}
	var x, y float64
	fix := func() *sdkpb.Location { // two thirds of them within the accuracy
		d := min(accuracyM/1.52*math.Sqrt(-2*math.Log(1-r.Float64())), 2*accuracyM)
		turn := 2 * math.Pi * r.Float64()
		at := land.point(x+d*math.Sin(turn), y+d*math.Cos(turn))
		return &sdkpb.Location{Lat: at.Lat, Lng: at.Lng, AccuracyM: accuracyM}
	}
	post := func() {
		posts++
		if err := p.PostBatch(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
	o.at = land.point(x, y)
	p.Fix(fix(), time.Time{})
	post()
	heading := 2 * math.Pi * r.Float64()
	var in, was []geo.Hit
	in = fences.At(o.at, in)
	for range int(40_000 / (paceMPS * step.Seconds())) {
		heading += 0.2 * r.NormFloat64()
		if math.Hypot(x, y) > aroundM { // back among the fences
			heading = math.Atan2(-x, -y) + 0.8*r.NormFloat64()
		}
		x, y = x+paceMPS*step.Seconds()*math.Sin(heading), y+paceMPS*step.Seconds()*math.Cos(heading)
		o.at = land.point(x, y)
		w.clock.Advance(step)
		in, was = fences.At(o.at, was[:0]), in
		for _, h := range in {
			if slices.ContainsFunc(was, func(x geo.Hit) bool { return x.ID == h.ID }) {
				continue
			}
			entered++
			if o.watched[h.ID] == nil {
				missed++
			}
		}
		crossings := o.moved(w.clock.Now())
		for _, c := range crossings {
			p.RegionEvent(c.region, c.to, fix(), time.Time{})
		}
		if len(crossings) > 0 {
			post()
		}
	}
	if n := p.Pending(); n > 0 || len(p.rejects) > 0 {
		w.t.Errorf("%d items wait, rejected %v", n, p.rejects)
	}
	return entered, missed, posts
}

// Complaint 4 of the field, through the gateway: an app of 167 or 276 fences, whose
// nearest were chosen anew on fixes of 200 m accuracy, missed enters.
func TestASleepingPhoneMissesNoEnterAmongMoreFencesThanItsOSWatches(t *testing.T) {
	for _, n := range []int{167, 276} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			r := rand.New(rand.NewPCG(53, uint64(n)))
			around := geo.Point{Lat: 52.52, Lng: 13.405}
			side := 1000 * math.Sqrt(float64(n)/1.2) // 1.2 to a square kilometre
			fences := make([]geo.Fence, n)
			for i := range fences {
				fences[i] = geo.Fence{ID: fmt.Sprintf("f%03d", i), Shape: geo.Circle{
					Around: plain{around}.point(side*(r.Float64()-0.5), side*(r.Float64()-0.5)), RadiusM: 100 + 150*r.Float64(),
				}}
			}
			x := indexOf(fences)
			w := newWorld(t, ingest.Limits{})
			w.catalog.change(func() { w.catalog.index = x })
			var entered, missed, posts, usual, usualPosts int
			for seed := range uint64(6) {
				n, m, k := w.walk(fmt.Sprintf("iphone-000%d", seed), seed, x, around, 200, sdkproto.CapBubble)
				entered, missed, posts = entered+n, missed+m, posts+k
				_, m, k = w.walk(fmt.Sprintf("iphone-100%d", seed), seed, x, around, 200)
				usual, usualPosts = usual+m, usualPosts+k
			}
			if missed > 0 {
				t.Errorf("%d of %d enters were missed", missed, entered)
			}
			if entered < 20 || usual == 0 {
				t.Errorf("the walks test little: %d enters, of which the nearest at each waking, without a bubble, miss %d", entered, usual)
			}
			t.Logf("%d enters, %d POSTs; without a bubble %d are missed with %d POSTs", entered, posts, usual, usualPosts)
		})
	}
}
