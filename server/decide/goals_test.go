package decide_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/measure"
)

const day = 24 * time.Hour

// aiming is an offer at the café with a goal.
func aiming(id string, g *engage.Goal, change ...func(*engage.Campaign)) *engage.Campaign {
	return offer(id, append([]func(*engage.Campaign){func(c *engage.Campaign) {
		c.Goal, c.Trigger.Places = g, []string{"cafe"}
	}}, change...)...)
}

func purchase() *engage.Goal { return &engage.Goal{Type: engage.GoalPurchase} }

// known is the id of the profile of a user, whom the partition knows.
func (w *world) known(user string) string {
	w.Helper()
	id := node("user_id:" + user)
	w.meet(id)
	return id
}

var touches int

// orders is what a till tells of an order.
func orders(user, order string, status engage.OrderStatus, value float64, at time.Duration, change ...func(*engage.Touch)) engage.Entry {
	touches++
	t := engage.Touch{
		ID: fmt.Sprint("t", touches), Trusted: true, Identifiers: []string{"user_id:" + user}, From: engage.TouchSource{Kind: "till"},
		Event: &engage.TouchEvent{Type: "track", Name: "Order"}, Order: &engage.Order{ID: order, Status: status, Value: value, Currency: "EUR"},
	}
	for _, f := range change {
		f(&t)
	}
	return touched(t, at)
}

// arm of a campaign's counts.
func (w *world) arm(campaign, arm string) engage.Counts {
	w.Helper()
	t, _ := w.State(ws + "/m:" + campaign + "@act/0").(*measure.Tally)
	if t == nil {
		return engage.Counts{}
	}
	return t.Arms.Of(arm)
}

// follows is what of counts tells what followed.
func follows(c engage.Counts) string {
	return fmt.Sprintf("people %d visited %d bought %d reached %d goals %d last %d assisted %d orders %d EUR %d",
		c.People, c.Visited, c.Bought, c.Reached, c.Goals, c.LastTouch, c.Assisted, c.Orders, c.Value["EUR"]/10_000)
}

func (w *world) wantFollows(campaign, arm, want string) {
	w.Helper()
	if got := follows(w.arm(campaign, arm)); got != want {
		w.Errorf("%s/%s:\n%s, want\n%s", campaign, arm, got, want)
	}
}

func TestWhatFollowsIsCountedOfTreatedAndHeldOutAlike(t *testing.T) {
	w := newWorld(t, aiming("x", purchase(), func(c *engage.Campaign) { c.HoldoutPercent = 50 }))
	const persons = 40
	for i := range persons {
		user := fmt.Sprint("u", i)
		id := w.known(user)
		w.apply(enters(id, "cafe", "v"+user, sec), enters(id, "bar", "w"+user, time.Hour), orders(user, "o"+user, engage.OrderCompleted, 10, 2*time.Hour))
	}
	a, h := w.arm("x", "a"), w.arm("x", engage.HoldoutArm)
	if a.People+h.People != persons || a.People < 10 || h.People < 10 {
		t.Fatalf("people %d and %d", a.People, h.People)
	}
	for arm, c := range map[string]engage.Counts{"a": a, engage.HoldoutArm: h} {
		n := c.People
		w.wantFollows("x", arm, fmt.Sprintf("people %d visited %d bought %d reached %d goals %d last 0 assisted 0 orders %d EUR %d", n, n, n, n, n, n, 10*n))
	}
}

func TestOrdersCountByWhenTheyHappenAndRefundsTakeFromTheirValue(t *testing.T) {
	w := newWorld(t, aiming("x", purchase()))
	ada := w.known("ada")
	uploaded := func(t *engage.Touch) { t.Quiet = true }
	public := func(t *engage.Touch) { t.Trusted = false }
	w.apply(orders("ada", "before", engage.OrderCompleted, 99, 0), enters(ada, "cafe", "v1", sec))
	w.wantFollows("x", "a", "people 1 visited 0 bought 0 reached 0 goals 0 last 0 assisted 0 orders 0 EUR 0")
	w.apply(
		orders("ada", "o1", engage.OrderCompleted, 20, day),
		orders("ada", "o1", engage.OrderCompleted, 20, day+time.Hour), // told again
		orders("ada", "o2", engage.OrderCompleted, 5, 2*day, uploaded),
		orders("ada", "bad", engage.OrderCompleted, 500, 2*day, public),
	)
	w.wantFollows("x", "a", "people 1 visited 0 bought 1 reached 1 goals 1 last 0 assisted 0 orders 2 EUR 25")
	w.apply(orders("ada", "o1", engage.OrderUpdated, 30, 3*day), orders("ada", "o1", engage.OrderRefunded, 8, 20*day))
	w.wantFollows("x", "a", "people 1 visited 0 bought 1 reached 1 goals 1 last 0 assisted 0 orders 2 EUR 27")
	w.apply(orders("ada", "o2", engage.OrderCancelled, 0, 21*day), orders("ada", "late", engage.OrderCompleted, 70, 22*day))
	w.wantFollows("x", "a", "people 1 visited 0 bought 1 reached 1 goals 1 last 0 assisted 0 orders 1 EUR 22")

	// It is told the morning after the window's end, and happened within it.
	bob := w.known("bob")
	w.apply(enters(bob, "cafe", "v2", 30*day))
	night := orders("bob", "o3", engage.OrderCompleted, 3, 37*day-time.Hour)
	night.At = t0.Add(38 * day)
	w.apply(night)
	w.wantFollows("x", "a", "people 2 visited 0 bought 2 reached 2 goals 2 last 0 assisted 0 orders 2 EUR 25")
}

func TestAVisitAfterTheDecisionCounts(t *testing.T) {
	every := &engage.Goal{Type: engage.GoalVisit, Tags: []string{"coffee"}, WindowS: 2 * 86400, Every: true}
	w := newWorld(t, aiming("x", every), aiming("y", nil, func(c *engage.Campaign) {
		c.Trigger.Rings, c.Trigger.Transition = []engage.Ring{engage.Near}, engage.Enter
	}))
	w.meet("ada")
	w.apply(
		enters("ada", "cafe", "v1", sec, near), enters("ada", "cafe", "v1", time.Minute), // y was near, and she came in; x while she did
		enters("ada", "cafe", "v1", 2*time.Minute), // by another geofence
	)
	w.wantFollows("y", "a", "people 1 visited 1 bought 0 reached 0 goals 0 last 0 assisted 0 orders 0 EUR 0")
	w.wantFollows("x", "a", "people 1 visited 0 bought 0 reached 0 goals 0 last 0 assisted 0 orders 0 EUR 0")
	w.apply(enters("ada", "bar", "v2", time.Hour), enters("ada", "cafe", "v3", 5*time.Hour), enters("ada", "cafe", "v4", day))
	w.wantFollows("x", "a", "people 1 visited 1 bought 0 reached 1 goals 2 last 0 assisted 0 orders 0 EUR 0")
	w.wantFollows("y", "a", "people 1 visited 1 bought 0 reached 0 goals 0 last 0 assisted 0 orders 0 EUR 0")
	w.apply(enters("ada", "cafe", "v5", 9*day)) // after every window
	w.wantFollows("x", "a", "people 1 visited 1 bought 0 reached 1 goals 2 last 0 assisted 0 orders 0 EUR 0")
	if n := len(w.person("ada").Aims); n > 3 {
		t.Errorf("%d windows are looked at after their end", n)
	}
}

func TestTheMessageThatWasReportedLastIsTheLastTouch(t *testing.T) {
	g := &engage.Goal{Type: engage.GoalEvent, Event: "Booked", Where: []byte(`{"field":"properties.seats","op":"ge","value":2}`)}
	tea := func(c *engage.Campaign) {
		c.Trigger = engage.CampaignTrigger{Type: engage.TriggerEvent, Event: c.ID}
		c.Arms[0].Message = engage.Content{Title: "Tea", Body: "for you"}
	}
	w := newWorld(t, offer("a", tea, func(c *engage.Campaign) { c.Goal = g }), offer("b", tea, func(c *engage.Campaign) { c.Goal = g }),
		offer("c", tea, func(c *engage.Campaign) { c.Goal = purchase() }), offer("d", tea, func(c *engage.Campaign) { c.Goal = g }))
	w.meet("ada")
	tracks := func(name, props string, at time.Duration) engage.Entry {
		return entry(engage.KindTrigger, person("ada"), at, engage.Trigger{Type: engage.TriggerEvent, Event: name, Occasion: fmt.Sprint(name, at), Install: "i-ada", OccurredAt: t0.Add(at), Properties: []byte(props)})
	}
	delivery := func(campaign string) string {
		for _, d := range w.person("ada").Open {
			if d.Campaign == campaign {
				return d.Delivery
			}
		}
		t.Fatalf("no message of %s", campaign)
		return ""
	}
	for i, c := range []string{"a", "b", "c", "d"} {
		w.apply(tracks(c, `{}`, time.Duration(i+1)*time.Minute))
	}
	w.apply(
		receipt("ada", delivery("b"), 10*time.Minute, engage.ReceiptDisplayed, ""), receipt("ada", delivery("a"), 20*time.Minute, engage.ReceiptDelivered, ""),
		receipt("ada", delivery("c"), 30*time.Minute, engage.ReceiptOpened, ""),
		tracks("Booked", `{"seats":1}`, time.Hour), tracks("Booked", `{"seats":2}`, 2*time.Hour), tracks("Booked", `{"seats":3}`, 3*time.Hour),
		receipt("ada", delivery("b"), 4*time.Hour, engage.ReceiptOpened, ""),
	)
	w.wantFollows("a", "a", "people 1 visited 0 bought 0 reached 1 goals 1 last 1 assisted 0 orders 0 EUR 0")
	w.wantFollows("b", "a", "people 1 visited 0 bought 0 reached 1 goals 1 last 0 assisted 1 orders 0 EUR 0")
	w.wantFollows("c", "a", "people 1 visited 0 bought 0 reached 0 goals 0 last 0 assisted 0 orders 0 EUR 0")
	w.wantFollows("d", "a", "people 1 visited 0 bought 0 reached 1 goals 1 last 0 assisted 0 orders 0 EUR 0") // nobody saw it
}

// Two profiles that are one person are one of those who are compared, and what the one
// bought follows from what was decided for the other.
func TestWhoBecomesOnePersonIsCountedOnce(t *testing.T) {
	w := newWorld(t, aiming("x", purchase()), aiming("y", purchase()))
	ada := w.known("ada")
	w.meet("phone")
	w.apply(
		enters(ada, "cafe", "v1", sec), enters("phone", "cafe", "v2", 2*sec), enters("phone", "bar", "v3", time.Hour), enters(ada, "bar", "v4", time.Hour),
		orders("ada", "o1", engage.OrderCompleted, 20, 2*time.Hour),
	)
	w.wantFollows("x", "a", "people 2 visited 2 bought 1 reached 1 goals 1 last 0 assisted 0 orders 1 EUR 20")
	w.apply(identify("phone", "ada", 3*time.Hour, true))
	w.settle()
	w.wantFollows("x", "a", "people 1 visited 1 bought 1 reached 1 goals 1 last 0 assisted 0 orders 1 EUR 20")
	if n := len(w.who("phone").Aims); n != 2 {
		t.Errorf("%d windows", n)
	}

	// Only the phone was decided for, only the till heard of the order.
	w.meet("tablet")
	w.apply(enters("tablet", "cafe", "v5", 4*time.Hour), orders("eve", "o2", engage.OrderCompleted, 7, 5*time.Hour), identify("tablet", "eve", 6*time.Hour, true))
	w.settle()
	w.wantFollows("x", "a", "people 2 visited 1 bought 2 reached 2 goals 2 last 0 assisted 0 orders 2 EUR 27")
}

func TestWhoHadTwoArmsIsLeftOut(t *testing.T) {
	w := newWorld(t, aiming("x", purchase(), func(c *engage.Campaign) { c.HoldoutPercent = 50 }))
	phones := map[string]string{} // by arm
	for i := 0; len(phones) < 2; i++ {
		id := fmt.Sprint("phone", i)
		w.meet(id)
		w.apply(enters(id, "cafe", "v"+id, sec))
		phones[w.person(id).Arms["x"]] = id
	}
	all := w.arm("x", "a").People + w.arm("x", engage.HoldoutArm).People
	w.apply(identify(phones["a"], "kim", time.Hour, true), identify(phones[engage.HoldoutArm], "kim", time.Hour, true))
	w.settle()
	w.apply(orders("kim", "o1", engage.OrderCompleted, 7, 5*time.Hour))
	a, h := w.arm("x", "a"), w.arm("x", engage.HoldoutArm)
	if a.People+h.People != all-2 || a.Bought+h.Bought+a.Orders+h.Orders != 0 || w.arm("x", "").Conflicted != 1 {
		t.Errorf("%d of %d are compared: %s, %s", a.People+h.People, all, follows(a), follows(h))
	}
}

// What follows is looked at after the campaign's end; nobody is looked at who was erased.
func TestAimsOutliveTheCampaignAndNotTheErasure(t *testing.T) {
	c := aiming("x", purchase())
	w := newWorld(t, c)
	ada, bob := w.known("ada"), w.known("bob")
	w.apply(enters(ada, "cafe", "v1", sec), enters(bob, "cafe", "v2", sec))
	ended := *c
	ended.Status = engage.Ended
	w.adopt(&ended)
	w.apply(entry(engage.KindErase, person(bob), time.Minute, engage.Erase{}), orders("ada", "o1", engage.OrderCompleted, 20, time.Hour), orders("bob", "o2", engage.OrderCompleted, 20, time.Hour))
	w.wantFollows("x", "a", "people 2 visited 0 bought 1 reached 1 goals 1 last 0 assisted 0 orders 1 EUR 20")
	if x := w.person(bob); len(x.Aims)+len(x.Measured) != 0 {
		t.Errorf("of somebody erased: %+v", x.Aims)
	}
}

// The same entries give the same bytes, also when every state is read anew before each.
func TestWhatFollowsIsTheSameAfterARestart(t *testing.T) {
	run := func(reload bool) string {
		w := newWorld(t, aiming("x", purchase(), func(c *engage.Campaign) { c.HoldoutPercent = 50 }), aiming("y", &engage.Goal{Type: engage.GoalVisit}))
		w.Reload = reload
		touches = 0
		for i := range 12 {
			user := fmt.Sprint("u", i)
			id := w.known(user)
			w.apply(enters(id, "cafe", "v"+user, time.Duration(i)*time.Minute), enters(id, "bar", "w"+user, day), orders(user, "o"+user, engage.OrderCompleted, 10.5, day+time.Hour),
				orders(user, "o"+user, engage.OrderRefunded, 1, 3*day))
		}
		return w.Dump()
	}
	if a, b := run(false), run(true); a != b {
		t.Error("another result after restarts")
	}
}

// However much a person is decided for, what is looked at stays small.
func TestAimsAreFew(t *testing.T) {
	w := newWorld(t, aiming("x", &engage.Goal{Type: engage.GoalVisit, WindowS: 90 * 86400}))
	w.Quick = true
	w.meet("ada")
	for i := range 300 {
		w.apply(enters("ada", "cafe", fmt.Sprint("v", i), time.Duration(i)*time.Hour))
	}
	if p := w.person("ada"); len(p.Aims) > 100 || len(p.Aims) < 50 {
		t.Errorf("%d windows", len(p.Aims))
	}
}
