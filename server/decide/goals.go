package decide

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/profile"
	"github.com/footfall-engage/footfall/server/rules"
)

// What follows a decision: visits, purchases, the campaign's goal. A decision is an aim
// for as long as its campaign's window lasts, of who is treated and of who is held out
// alike, and whatever becomes of the message: the arms stay comparable by assignment.
//
// A fact belongs to the window in which it happened, however late it is heard of: tills
// tell at night, and uploads the next morning. Two days after its end a window is
// forgotten; one in which there was an order, after 60 days, so that refunds find it.
// Of each campaign a fact counts once, for the newest decision before it. An order of a
// person who becomes one with another counts when they do, if its window is known still; a
// visit or an event from before that does not.

// Aim is a decision of which it is looked at what follows.
type Aim struct {
	Campaign string `json:"campaign"`
	Arm      string `json:"arm"`
	Delivery string `json:"delivery"`
	AtUS     int64  `json:"at"`    // log time of the decision, Unix microseconds
	UntilUS  int64  `json:"until"` // when the window ends
	// Inside is the visit during which it was decided, which so did not follow from it.
	Inside string `json:"inside,omitempty"`
	// FirstUS and TouchUS are when the phone first and last reported the message
	// (delivered, displayed, opened …); 0: never.
	FirstUS int64    `json:"first,omitempty"`
	TouchUS int64    `json:"touch,omitempty"`
	Goals   int      `json:"goals,omitempty"`  // that counted
	Orders  []uint64 `json:"orders,omitempty"` // that counted: hashes of their ids; never changed in place
}

const (
	maxAims      = 100 // of a person; the newest
	maxAimOrders = 50  // of one decision: who orders more often in the window is a till
	aimLate      = 48 * time.Hour
	aimRefunds   = 60 * 24 * time.Hour
)

// measured is what counts of a person in a campaign, each once.
type measured uint8

const (
	measuredPerson measured = 1 << iota
	measuredVisit
	measuredPurchase
	measuredGoal
	// measuredOut: the person had two arms, as two profiles, and is left out.
	measuredOut
)

// counts are those facts as counts of persons.
func (m measured) counts(sign int64) engage.Counts {
	of := func(bit measured) int64 {
		if m&bit != 0 {
			return sign
		}
		return 0
	}
	return engage.Counts{People: of(measuredPerson), Visited: of(measuredVisit), Bought: of(measuredPurchase), Reached: of(measuredGoal)}
}

// goal is a campaign's, compiled; of one without a goal it only has the window.
type goal struct {
	engage.Goal
	where  *rules.Rule
	window time.Duration
}

func goalOf(c *engage.Campaign) (*goal, error) {
	g := &goal{window: c.Goal.Window()}
	if c.Goal == nil {
		return g, nil
	}
	g.Goal = *c.Goal
	var err error
	if g.where, err = rules.Parse(c.Goal.Where, rules.EventSchema()); err != nil {
		return nil, engage.At("goal.where", err)
	}
	return g, nil
}

// aim begins to look at what follows a decision.
func (a *attempt) aim(arm string) error {
	s := a.s
	x := Aim{
		Campaign: a.c.ID, Arm: arm, Delivery: a.d.Delivery,
		AtUS: s.e.At.UnixMicro(), UntilUS: s.e.At.Add(a.c.Goal.Window()).UnixMicro(),
	}
	if a.t.Place != "" && a.t.Ring != engage.Near {
		x.Inside = a.t.Occasion
	}
	s.p.Aims = append(slices.Clip(s.p.Aims), x)
	return s.measure(a.c.ID, arm, measuredPerson, engage.Counts{})
}

// measure counts more of a person's campaign, and facts of which each counts once.
func (s *step) measure(campaign, arm string, facts measured, add engage.Counts) error {
	had := s.p.Measured[campaign]
	if had&measuredOut != 0 {
		return nil
	}
	if fresh := facts &^ had; fresh != 0 {
		s.p.Measured = replaced(s.p.Measured, campaign, had|fresh)
		add = add.Plus(fresh.counts(1))
	} else if add.Goals == 0 && add.Orders == 0 && len(add.Value) == 0 {
		return nil
	}
	return s.m.Meter.Add(s.tx, s.ws, campaign, arm, add)
}

// touchedBy notes that the phone has reported a message.
func (s *step) touchedBy(r *engage.ReceiptItem) {
	if r.State == engage.ReceiptFailed {
		return
	}
	i := slices.IndexFunc(s.p.Aims, func(x Aim) bool { return x.Delivery == r.Message })
	if i < 0 || s.p.Aims[i].Arm == engage.HoldoutArm {
		return
	}
	at := s.occurred().UnixMicro()
	x := s.p.Aims[i]
	if x.FirstUS == 0 || at < x.FirstUS {
		x.FirstUS = at
	}
	x.TouchUS = max(x.TouchUS, at)
	s.setAim(i, x)
}

func (s *step) setAim(i int, x Aim) {
	s.p.Aims = slices.Clone(s.p.Aims)
	s.p.Aims[i] = x
}

// newest is the newest aim of each campaign in whose window a time lies, by campaign.
func (s *step) newest(at int64, not func(*Aim) bool) map[string]int {
	var out map[string]int
	for i := range s.p.Aims { // the oldest first
		if x := &s.p.Aims[i]; at > x.AtUS && at <= x.UntilUS && !not(x) {
			if out == nil {
				out = map[string]int{}
			}
			out[x.Campaign] = i
		}
	}
	return out
}

// followed takes a fact of a time: facts counts for each campaign in whose window it is,
// and reaches says whose goal it is. More is further counts.
func (s *step) followed(at int64, facts measured, aims map[string]int, reaches func(*goal) bool, more map[string]engage.Counts) error {
	add := map[string]engage.Counts{}
	var touched string // the campaign whose message was reported last before
	var last int64
	for _, campaign := range slices.Sorted(maps.Keys(aims)) {
		i := aims[campaign]
		add[campaign] = more[campaign]
		g := s.config.goals[campaign]
		if g == nil || !reaches(g) || s.p.Aims[i].Goals > 0 && !g.Every || s.p.Measured[campaign]&measuredOut != 0 {
			continue
		}
		x := s.p.Aims[i]
		x.Goals++
		s.setAim(i, x)
		n := engage.Counts{Goals: 1}
		if t := s.touchOf(campaign, at); t > 0 {
			n.Assisted = 1
			if t > last {
				touched, last = campaign, t
			}
		}
		add[campaign] = add[campaign].Plus(n)
	}
	for _, campaign := range slices.Sorted(maps.Keys(add)) {
		n, is := add[campaign], facts
		if n.Goals > 0 {
			is |= measuredGoal
		}
		if campaign == touched {
			n = n.Plus(engage.Counts{LastTouch: 1, Assisted: -1})
		}
		if err := s.measure(campaign, s.p.Aims[aims[campaign]].Arm, is, n); err != nil {
			return err
		}
	}
	return nil
}

// touchOf is when the phone last reported a message of a campaign before a time in whose
// window that time lies; 0: never.
func (s *step) touchOf(campaign string, at int64) (newest int64) {
	for i := range s.p.Aims {
		x := &s.p.Aims[i]
		if x.Campaign != campaign || at <= x.AtUS || at > x.UntilUS {
			continue
		}
		for _, t := range [...]int64{x.FirstUS, x.TouchUS} {
			if t <= at {
				newest = max(newest, t)
			}
		}
	}
	return newest
}

// cameTo takes a visit, once.
func (s *step) cameTo(t *engage.Trigger) error {
	at := t.OccurredAt.UnixMicro()
	aims := s.newest(at, func(x *Aim) bool { return x.Inside == t.Occasion })
	if len(aims) == 0 {
		return nil
	}
	return s.followed(at, measuredVisit, aims, func(g *goal) bool {
		if g.Type != engage.GoalVisit {
			return false
		}
		if len(g.Places)+len(g.Tags) == 0 || slices.Contains(g.Places, t.Place) {
			return true
		}
		p := s.config.places[t.Place]
		return p != nil && slices.ContainsFunc(p.Tags, func(tag string) bool { return slices.Contains(g.Tags, tag) })
	}, nil)
}

// did takes an event.
func (s *step) did(event string, properties json.RawMessage, when time.Time) error {
	at := when.UnixMicro()
	aims := s.newest(at, func(x *Aim) bool {
		g := s.config.goals[x.Campaign]
		return g == nil || g.Type != engage.GoalEvent || g.Event != event
	})
	if len(aims) == 0 {
		return nil
	}
	env := propertiesEnv(propertiesOf(properties))
	return s.followed(at, 0, aims, func(g *goal) bool { return g.where.Match(env, s.e.At) }, nil)
}

// ordered takes what became of an order: what was known of it before (the zero Order:
// nothing), and is now.
func (s *step) ordered(before, now *profile.Order) error {
	if len(s.p.Aims) == 0 {
		return nil
	}
	h := profile.OrderHash(now.ID)
	has := func(x *Aim) bool { return slices.Contains(x.Orders, h) }
	for i := range s.p.Aims { // for which it counts already
		if x := &s.p.Aims[i]; has(x) {
			if err := s.measure(x.Campaign, x.Arm, 0, orderCounts(now).Less(orderCounts(before))); err != nil {
				return err
			}
		}
	}
	if !now.Counts() {
		return nil
	}
	at := now.At.UnixMicro()
	aims := s.newest(at, func(x *Aim) bool { return len(x.Orders) >= maxAimOrders })
	more := map[string]engage.Counts{}
	for campaign, i := range aims {
		if slices.ContainsFunc(s.p.Aims, func(x Aim) bool { return x.Campaign == campaign && has(&x) }) {
			delete(aims, campaign)
			continue
		}
		x := s.p.Aims[i]
		x.Orders = append(slices.Clip(x.Orders), h)
		s.setAim(i, x)
		more[campaign] = orderCounts(now)
	}
	return s.followed(at, measuredPurchase, aims, func(g *goal) bool { return g.Type == engage.GoalPurchase }, more)
}

func orderCounts(o *profile.Order) engage.Counts {
	if !o.Counts() {
		return engage.Counts{}
	}
	n := engage.Counts{Orders: 1}
	if worth := o.Worth(); worth != 0 {
		n.Value = map[string]int64{o.Currency: int64(worth)}
	}
	return n
}

// forgetAims drops those whose windows are over, and the oldest of too many.
func (p *Person) forgetAims(now time.Time) {
	at := now.UnixMicro()
	over := func(x Aim) bool {
		kept := x.UntilUS + aimLate.Microseconds()
		if len(x.Orders) > 0 {
			kept = max(kept, x.AtUS+aimRefunds.Microseconds())
		}
		return at > kept
	}
	if len(p.Aims) > maxAims || slices.ContainsFunc(p.Aims, over) {
		p.Aims = slices.DeleteFunc(slices.Clone(p.Aims), over)
		p.Aims = slices.Clip(p.Aims[max(len(p.Aims)-maxAims, 0):])
	}
}

// absorbAims takes over what is looked at of another profile of the person. What had
// counted of both counts once; who has two arms is left out. It comes before the arms are
// made one.
func (s *step) absorbAims(q *Person) error {
	for _, campaign := range slices.Sorted(maps.Keys(q.Measured)) {
		theirs, mine := q.Measured[campaign], s.p.Measured[campaign]
		if mine == 0 {
			s.p.Measured = replaced(s.p.Measured, campaign, theirs)
			continue
		}
		arm, other := s.p.Arms[campaign], q.Arms[campaign]
		out := (mine|theirs)&measuredOut != 0 || arm != other
		again := mine & theirs
		if out {
			again = mine
		}
		if mine&measuredOut == 0 && mine&measuredPerson != 0 {
			if err := s.m.Meter.Add(s.tx, s.ws, campaign, arm, again.counts(-1)); err != nil {
				return err
			}
		}
		if out && theirs&measuredOut == 0 && theirs&measuredPerson != 0 {
			if err := s.m.Meter.Add(s.tx, s.ws, campaign, other, theirs.counts(-1)); err != nil {
				return err
			}
		}
		all := mine | theirs
		if out {
			all |= measuredOut
		}
		s.p.Measured = replaced(s.p.Measured, campaign, all)
	}
	if len(q.Aims) > 0 {
		all := slices.Concat(s.p.Aims, q.Aims)
		slices.SortFunc(all, func(a, b Aim) int {
			return cmp.Or(cmp.Compare(a.AtUS, b.AtUS), strings.Compare(a.Campaign, b.Campaign), strings.Compare(a.Delivery, b.Delivery))
		})
		s.p.Aims = slices.CompactFunc(all, func(a, b Aim) bool { return a.Delivery == b.Delivery })
	}
	if s.p.Purchases == nil || len(s.p.Aims) == 0 {
		return nil
	}
	for i := range s.p.Purchases.Orders {
		o := &s.p.Purchases.Orders[i]
		if err := s.ordered(o, o); err != nil {
			return err
		}
	}
	return nil
}
