package decide_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// calls is a call of the API for a person.
func calls(id, campaign, key string, at time.Duration, change ...func(*engage.Trigger)) engage.Entry {
	t := engage.Trigger{
		Type: engage.TriggerAPI, Campaign: campaign, Occasion: engage.CallOccasion(ws, campaign, key), OccurredAt: t0.Add(at),
		Properties: json.RawMessage(`{"order":"7"}`),
	}
	for _, f := range change {
		f(&t)
	}
	return entry(engage.KindCall, person(id), at, t)
}

func onCall(c *engage.Campaign) {
	c.Trigger = engage.CampaignTrigger{Type: engage.TriggerAPI}
	c.Class = engage.Service
	c.Arms[0].Message.Title = "Order {{ trigger.properties.order }} is ready"
}

func TestACallReachesItsCampaignOncePerKey(t *testing.T) {
	w := newWorld(t, offer("ready", onCall), offer("other", onCall), offer("entered"))
	w.meet("ada")
	w.apply(calls("ada", "ready", "k1", sec), calls("ada", "ready", "k1", 2*sec))
	w.wantVerdicts("ready pending")
	sent := w.sends()
	if len(sent) != 1 || sent[0].Title != "Order 7 is ready" || sent[0].Bulk {
		t.Fatalf("sent %+v", sent)
	}
	w.apply(calls("ada", "ready", "k2", 3*sec, func(t *engage.Trigger) { t.Bulk = true }))
	if sent = w.sends(); len(sent) != 1 || !sent[0].Bulk {
		t.Fatalf("under another key: %+v", sent)
	}
	if seen := w.person("ada").LastSeen; !seen.Equal(t0) {
		t.Errorf("a call makes nobody seen: %s", seen)
	}
	// Of nobody, of a campaign that is not there any more, or that is fired by something else.
	w.apply(calls("bob", "ready", "k1", 4*sec), calls("ada", "gone", "k1", 4*sec), calls("ada", "entered", "k1", 4*sec))
	if w.State(person("bob")) != nil {
		t.Error("a call made a person")
	}
	w.wantVerdicts("ready pending, ready pending")
}

func TestWhatACallWasRefusedIsNotTriedAgainUnderItsKey(t *testing.T) {
	gold := offer("ready", onCall, func(c *engage.Campaign) { c.Audience = rule(`{"field":"attributes.tier","op":"eq","value":"gold"}`) })
	w := newWorld(t, gold)
	w.meet("ada")
	w.apply(calls("ada", "ready", "k1", sec))
	w.wantVerdicts("ready suppressed audience")
	w.apply(entry(engage.KindTraits, person("ada"), 2*sec, map[string]any{"tier": "gold"}), calls("ada", "ready", "k1", 3*sec))
	w.wantVerdicts("ready suppressed audience")
	w.apply(calls("ada", "ready", "k2", 4*sec))
	w.wantVerdicts("ready suppressed audience, ready pending")
}

func TestACallReachesWhoThePersonHasBecome(t *testing.T) {
	w := newWorld(t, offer("ready", onCall))
	w.meet("ada")
	senior := engage.PersonID(ws, "user_id:ada")
	w.apply(calls("ada", "ready", "k1", sec))
	w.apply(entry(engage.KindMerge, person("ada"), 2*sec, engage.Merge{Of: senior, And: "ada", With: senior, Identifier: "user_id:ada", Why: "identify"}))
	w.deliverActs()
	w.apply(calls("ada", "ready", "k1", 3*sec)) // forwarded, and known there
	w.deliverActs()
	w.apply(calls("ada", "ready", "k2", 4*sec))
	w.deliverActs()
	n := map[string]int{}
	for _, d := range w.decisions() {
		n[d.Trigger.Occasion]++
	}
	if n[engage.CallOccasion(ws, "ready", "k1")] != 1 || n[engage.CallOccasion(ws, "ready", "k2")] != 1 {
		t.Errorf("decided %v", n)
	}
}

// deliverActs applies what was put out to the act partitions, until nothing is.
func (w *world) deliverActs() {
	w.Helper()
	for range 20 {
		moved := false
		for _, o := range w.Take() {
			if o.To == "act" {
				moved = true
				w.apply(o.Entry)
			}
		}
		if !moved {
			return
		}
	}
	w.Fatal("what is put out never ends")
}

func TestACampaignThatAnswersItselfIsEnded(t *testing.T) {
	w := newWorld(t, offer("loop", onEvent("answered", "")))
	w.meet("ada")
	for i := range 130 {
		e := tracks("ada", "answered", fmt.Sprintf(`{"n":%d}`, i))
		var tr engage.Trigger
		if err := json.Unmarshal(e.Body, &tr); err != nil {
			t.Fatal(err)
		}
		w.apply(e, entry(engage.KindOutcome, person("ada"), sec, engage.DeliveryOutcome{
			Delivery: engage.DeliveryID(ws, "loop", "ada", tr.Occasion), State: engage.DeliveryAccepted, Channel: "fcm",
		}))
	}
	n := map[engage.Reason]int{}
	for _, d := range w.decisions() {
		n[d.Reason]++
	}
	if n[""] != 120 || n[engage.ReasonRunaway] != 10 {
		t.Errorf("decided %v, want 120 and 10 that were ended", n)
	}
}

// comes is the time of a campaign's schedule, as the scheduler saw it for a person.
func comes(id, local string, at time.Duration) engage.Entry {
	return entry(engage.KindCall, person(id), at, engage.Trigger{
		Type: engage.TriggerSchedule, Campaign: "daily", Occasion: engage.ScheduleOccasion(ws, "daily", local), Local: local, OccurredAt: t0.Add(at), Bulk: true,
	})
}

func TestAScheduledTimeIsHeededOnceAndNotBeforeItHasComeToThePerson(t *testing.T) {
	w := newWorld(t, offer("daily", func(c *engage.Campaign) {
		c.Trigger = engage.CampaignTrigger{Type: engage.TriggerSchedule, Schedule: &engage.Schedule{Every: "day", Time: "12:00"}}
		c.Arms[0].Message.Title = "Noon"
	}))
	w.meet("ada") // in Amsterdam, where it is 11 o'clock
	const noon = "2026-11-02T12:00"
	w.apply(comes("ada", noon, 59*time.Minute))
	w.wantVerdicts("")
	w.apply(comes("ada", noon, time.Hour), comes("ada", noon, time.Hour), comes("ada", noon, 2*time.Hour))
	w.wantVerdicts("daily pending")
	if d := w.decisions()[0]; !d.Trigger.OccurredAt.Equal(t0.Add(time.Hour)) {
		t.Errorf("it came at %s", d.Trigger.OccurredAt)
	}
	if sent := w.sends(); len(sent) != 1 || !sent[0].Bulk {
		t.Errorf("sent %+v", sent)
	}
	w.apply(comes("ada", "2026-11-01T12:00", 3*time.Hour)) // too late
	w.wantVerdicts("daily pending, daily suppressed eligibility_stale")
}
