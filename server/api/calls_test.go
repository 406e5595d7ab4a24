package api_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/engage"
)

// Call implements api.Calls: persons are known by their bindings.
func (w *world) Call(_ context.Context, c *api.Call) ([]api.CallResult, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		return nil, w.broken
	}
	out := make([]api.CallResult, len(c.To))
	for i, x := range c.To {
		out[i] = api.CallResult{State: api.CallUnknown}
		if id, known := w.bindings[c.Workspace][x.To]; known {
			out[i] = api.CallResult{State: api.CallAccepted, Person: id}
			place := ""
			if c.Place != nil {
				place = c.Place.ID
			}
			w.called = append(w.called, fmt.Sprint(c.Workspace, " ", c.Campaign, " ", c.Key, " ", place, " ", id, " ", string(x.Properties)))
		}
	}
	return out, nil
}

// Occurrences implements api.Occurrences.
func (w *world) Occurrences(_ context.Context, workspace, campaign, cursor string, limit int) (api.Page[engage.Occurrence], error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		return api.Page[engage.Occurrence]{}, w.broken
	}
	return page(w.occurrences[workspace+"/"+campaign], cursor, limit)
}

func TestACallSaysOfEachRecipientWhatBecameOfThem(t *testing.T) {
	s := newSite(t)
	s.world.bindings[alpha] = map[string]string{"user_id:ada": "p1"}
	s.do(request{method: "PUT", path: "/api/v1/campaigns/ready", body: campaign("trigger", `{"type":"api"}`, "class", `"service"`, "status", `"live"`)}).want(201)
	s.do(request{method: "PUT", path: "/api/v1/campaigns/rest", body: campaign("trigger", `{"type":"api"}`, "status", `"draft"`)}).want(201)
	s.do(request{method: "PUT", path: "/api/v1/campaigns/placed", body: campaign("status", `"live"`)}).want(201)
	post := func(id, body string) answer {
		return s.do(request{method: "POST", path: "/api/v1/campaigns/" + id + "/trigger", body: body})
	}
	var got struct {
		Accepted   int
		Recipients []struct{ To, State, Person, Reason string }
	}
	post("ready", `{"key":"k1","recipients":[{"to":"user_id:ada","properties":{"order":"7"}},{"to":"user_id:eve"},{"to":""},{"to":"user_id:ada","properties":[1]},{"to":"user_id:ada","properties":{"x":"`+strings.Repeat("y", 5000)+`"}}]}`).want(200, &got)
	states := []string{}
	for _, r := range got.Recipients {
		states = append(states, r.State)
	}
	if got.Accepted != 1 || fmt.Sprint(states) != "[accepted unknown refused refused refused]" || got.Recipients[0].Person != "p1" {
		t.Errorf("answered %+v", got)
	}
	if fmt.Sprint(s.world.called) != `[alpha ready k1  p1 {"order":"7"}]` {
		t.Errorf("called %v", s.world.called)
	}
	for _, c := range []struct {
		id, body string
		status   int
		code     engage.Code
		field    string
	}{
		{"rest", `{"key":"k","recipients":[{"to":"user_id:ada"}]}`, 409, engage.Conflict, "id"},
		{"placed", `{"key":"k","recipients":[{"to":"user_id:ada"}]}`, 409, engage.Conflict, "id"},
		{"nothing", `{"key":"k","recipients":[{"to":"user_id:ada"}]}`, 404, engage.NotFound, "id"},
		{"ready", `{"recipients":[{"to":"user_id:ada"}]}`, 422, engage.Invalid, "key"},
		{"ready", `{"key":"k","recipients":[]}`, 422, engage.Invalid, "recipients"},
		{"ready", `{"key":"k","place":"moon","recipients":[{"to":"user_id:ada"}]}`, 404, engage.NotFound, "place"},
		{"ready", `{"key":"k","recipients":[` + strings.Repeat(`{"to":"x"},`, 1000) + `{"to":"x"}]}`, 422, engage.TooLarge, "recipients"},
		{"ready", `{"key":"k","recipients":[{"to":"x","when":1}]}`, 422, engage.Invalid, "recipients[0].when"},
	} {
		post(c.id, c.body).wantProblem(c.status, c.code, c.field)
	}
	if len(s.world.called) != 1 {
		t.Errorf("a refused call was made: %v", s.world.called)
	}
}

func TestHowFarAScheduleHasComeIsTold(t *testing.T) {
	s := newSite(t)
	s.put("/api/v1/campaigns/weekly", campaign("trigger", `{"type":"schedule","schedule":{"every":"week","on":["sat"],"time":"08:30"}}`)).want(201)
	s.world.occurrences = map[string][]engage.Occurrence{
		alpha + "/weekly": {
			{Local: "2026-03-07T08:30", State: engage.OccurrenceRunning, StartedAt: start, Reached: 3, Of: 9, Due: []time.Time{start}},
			{Local: "2026-02-28T08:30", State: engage.OccurrenceStopped, Why: "edited", StartedAt: start, EndedAt: start, Reached: 2, Of: 8},
		},
		beta + "/weekly": {{Local: "of another"}},
	}
	var got struct {
		Items []struct {
			Local, State, Why string
			Reached, Of       int
			EndedAt           string `json:"ended_at"`
			Next              string
		}
	}
	s.get("/api/v1/campaigns/weekly/occurrences").want(200, &got)
	if want := "[{2026-03-07T08:30 running  3 9  2026-03-02T09:30:00Z} {2026-02-28T08:30 stopped edited 2 8 2026-03-02T09:30:00Z }]"; fmt.Sprint(got.Items) != want {
		t.Errorf("got  %v\nwant %s", got.Items, want)
	}
	s.get("/api/v1/campaigns/none/occurrences").wantProblem(404, engage.NotFound, "id")
	for body, field := range map[string]string{
		`{"type":"schedule"}`: "trigger.schedule",
		`{"type":"schedule","schedule":{"at":"2026-12-01T09:00Z"}}`:                           "trigger.schedule.at",
		`{"type":"schedule","schedule":{"at":"2026-12-01T09:00","every":"day"}}`:              "trigger.schedule.at",
		`{"type":"schedule","schedule":{"every":"week","time":"09:00"}}`:                      "trigger.schedule.on",
		`{"type":"schedule","schedule":{"every":"week","on":["mon","31"],"time":"09:00"}}`:    "trigger.schedule.on[1]",
		`{"type":"schedule","schedule":{"every":"month","on":["32"],"time":"09:00"}}`:         "trigger.schedule.on[0]",
		`{"type":"schedule","schedule":{"every":"day","time":"9:00"}}`:                        "trigger.schedule.time",
		`{"type":"schedule","schedule":{"every":"day","time":"09:00","zone":"Mars/Olympus"}}`: "trigger.schedule.zone",
		`{"type":"schedule","schedule":{"time":"09:00"}}`:                                     "trigger.schedule.every",
		`{"type":"event","event":"x","schedule":{"at":"2026-12-01T09:00"}}`:                   "trigger.schedule",
	} {
		s.put("/api/v1/campaigns/wrong", campaign("trigger", body)).wantProblem(422, engage.Invalid, field)
	}
}
