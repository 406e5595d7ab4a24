package api_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// A campaign whose time is past is said to be so when it is checked, when it is saved and
// when somebody asks why it reached nobody; one whose time comes somewhere yet is not.
func TestCampaignsThatAreOverAreSaidToBe(t *testing.T) {
	s := newSite(t)
	wall := func(d time.Duration) string { return start.UTC().Add(d).Format(engage.WallTime) }
	schedule := func(at, zone string) string {
		return fmt.Sprintf(`{"type":"schedule","schedule":{"at":%q,"zone":%q}}`, at, zone)
	}
	for id, x := range map[string]struct {
		with  []string
		field string // of the warning; empty: none
		words string // of why
	}{
		"ended":         {[]string{"trigger", `{"type":"api"}`, "end", `"` + start.Add(-time.Hour).Format(time.RFC3339) + `"`}, "end", "It is over since "},
		"to-end":        {[]string{"trigger", `{"type":"api"}`, "end", `"` + start.Add(time.Hour).Format(time.RFC3339) + `"`}, "", "It waits for calls"},
		"past":          {[]string{"trigger", schedule(wall(-time.Hour), "UTC")}, "trigger.schedule.at", "It is over: its only time, " + strings.Replace(wall(-time.Hour), "T", " ", 1)},
		"to-come":       {[]string{"trigger", schedule(wall(time.Hour), "UTC")}, "", "It waits for its time"},
		"past-for-all":  {[]string{"trigger", schedule(wall(-12*time.Hour), "")}, "trigger.schedule.at", "It is over: its only time"},
		"past-for-some": {[]string{"trigger", schedule(wall(-11*time.Hour), "")}, "", "It waits for its time"},
		"recurs":        {[]string{"trigger", `{"type":"schedule","schedule":{"every":"day","time":"09:00"}}`}, "", "It waits for its time"},
	} {
		body := campaign(append(x.with, "status", `"live"`)...)
		var checked, saved struct {
			Valid    bool
			Warnings []struct{ Field, Reason string }
		}
		s.do(request{method: "POST", path: "/api/v1/campaigns/validate", body: body}).want(200, &checked)
		s.put("/api/v1/campaigns/"+id, body).want(201, &saved)
		if !checked.Valid || fmt.Sprint(checked.Warnings) != fmt.Sprint(saved.Warnings) || (x.field == "") != (len(saved.Warnings) == 0) || x.field != "" && saved.Warnings[0].Field != x.field {
			t.Errorf("%s: checked %+v, saved %+v", id, checked, saved)
		}
		var r resultsOf
		s.get("/api/v1/campaigns/"+id+"/results").want(200, &r)
		if !strings.Contains(r.Why.Words, x.words) {
			t.Errorf("%s: %q", id, r.Why.Words)
		}
	}
}
