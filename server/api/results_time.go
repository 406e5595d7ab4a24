package api

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// Most spans of one answer.
const (
	mostHours = 31 * 24
	mostDays  = 400
)

func (s *server) registerCounts() {
	const time = "With from, to or by, what was counted in that time, by the hour or the day in which it became known: a count never changes afterwards. " +
		"Days are of UTC and are kept long (history.result_days); with zone they are that zone's, added up from hours, which are kept shorter (history.result_hours_days) and begin with UTC's: where a zone is off by half an hour, so is the day. "
	register(s, operation{
		method: http.MethodGet, path: "/campaigns/{id}/results", id: "get-results", tag: tagResults, role: catalog.Viewer,
		summary: "Get a campaign's counts per arm, over time, and why people did not get it",
		description: "Counts of facts, each named for what is known. " + time +
			"What followed (visits, purchases, the goal) is told of all who were assigned, in the arms and in the control group alike. The figures do not say what the campaign caused: that needs the arms compared, with more than these intervals.",
	}, s.getResults)
	register(s, operation{
		method: http.MethodGet, path: "/results", id: "list-results", tag: tagResults, role: catalog.Viewer,
		summary:     "Get the counts of all campaigns, over time, and what keeps messages back",
		description: "Of all campaigns but those that were never live. " + time + "The reasons are those of all of them together, and of each campaign the most frequent ones.",
	}, s.listResults)
}

// InSpan chooses the counts of a time.
type InSpan struct {
	Between
	By   string `query:"by" enum:"hour,day" doc:"Absent with from or to: day. At most 744 hours or 400 days; without from the last 24 or 30 before to"`
	Zone string `query:"zone" maxLength:"64" example:"Europe/Amsterdam" doc:"Whose days; absent: UTC"`
}

// resultsSpan is the time of which counts are.
type resultsSpan struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	By   string    `json:"by" enum:"hour,day"`
	Zone string    `json:"zone,omitempty" doc:"Whose days; absent: UTC"`

	zone *time.Location // nil: spans are as they are kept
}

// span is the one that is asked for: from begins an hour or a day; nil is all time.
func (in *InSpan) span(now time.Time, hoursKept time.Duration) (*resultsSpan, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	if in.By == "" && in.From.IsZero() && in.To.IsZero() && in.Zone == "" {
		return nil, nil //nolint:nilnil // all time is no span
	}
	x := &resultsSpan{From: in.From.UTC(), To: in.To.UTC(), By: cmp.Or(in.By, "day"), Zone: in.Zone}
	if in.To.IsZero() {
		x.To = now.UTC().Add(time.Millisecond) // what is of now is in it
	}
	most, back, unit := mostDays, 30, 24*time.Hour
	if x.By == "hour" {
		most, back, unit = mostHours, 24, time.Hour
	}
	if in.From.IsZero() {
		x.From = x.To.Add(-time.Duration(back) * unit)
	}
	x.From = x.From.Truncate(unit)
	if in.Zone != "" {
		zone, known := engage.Zone(in.Zone)
		switch {
		case !known:
			return nil, engage.Errorf(engage.Invalid, "zone", "must be a zone's name such as \"Europe/Amsterdam\", is %q", clip(in.Zone))
		case x.By == "hour":
			return nil, engage.Errorf(engage.Invalid, "zone", "is of days: an hour is the same everywhere")
		case hoursKept <= 0:
			return nil, engage.Errorf(engage.Invalid, "zone", "needs counts by the hour, and none are kept (history.result_hours_days)")
		}
		x.zone = zone
		x.From = midnight(in.From.In(zone))
		if in.From.IsZero() {
			x.From = midnight(x.To.In(zone)).AddDate(0, 0, -back)
		}
	}
	if x.To.Sub(x.From) > time.Duration(most)*unit+unit {
		return nil, engage.Errorf(engage.Invalid, "from", "at most %d of such spans in one answer: there are more until to", most)
	}
	if !x.From.Before(x.To) {
		return nil, engage.Errorf(engage.Invalid, "to", "must be after from")
	}
	return x, nil
}

func midnight(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, t.Location())
}

// countedIn are a campaign's counts in a span.
func (s *server) countedIn(ctx context.Context, who caller, campaign string, x *resultsSpan) ([]Counted, error) {
	by := 24 * time.Hour
	if x.By == "hour" || x.zone != nil {
		by = time.Hour
	}
	found, err := s.o.Decisions.Counted(ctx, who.workspace, campaign, by, x.From, x.To)
	if err != nil || x.zone == nil {
		return found, err
	}
	days := map[time.Time]map[string]engage.Counts{}
	for _, c := range found {
		day := midnight(c.From.In(x.zone)).UTC()
		days[day] = sumArms(days[day], c.Arms)
	}
	out := make([]Counted, 0, len(days))
	for _, day := range slices.SortedFunc(maps.Keys(days), time.Time.Compare) {
		out = append(out, Counted{day, days[day]})
	}
	return out, nil
}

// sumArms adds counts by arm to sum, which may be nil.
func sumArms(sum, arms map[string]engage.Counts) map[string]engage.Counts {
	if sum == nil {
		sum = make(map[string]engage.Counts, len(arms))
	}
	for arm, c := range arms {
		sum[arm] = sum[arm].Plus(c)
	}
	return sum
}

// counts of a campaign by arm, of all time or of a span, and then also over time.
func (s *server) counts(ctx context.Context, who caller, campaign string, x *resultsSpan) (map[string]engage.Counts, []Counted, error) {
	if x == nil {
		tallies, err := s.o.Decisions.Tallies(ctx, who.workspace, campaign)
		return tallies, nil, err
	}
	series, err := s.countedIn(ctx, who, campaign, x)
	if err != nil {
		return nil, nil, err
	}
	sum := map[string]engage.Counts{}
	for _, c := range series {
		sum = sumArms(sum, c.Arms)
	}
	return sum, series, nil
}

// countedView is what was counted in an hour or a day.
type countedView struct {
	From time.Time `json:"from" doc:"When it begins"`
	TotalsView
	Reasons map[engage.Reason]int64 `json:"reasons,omitempty" doc:"Why gates said no"`
	Arms    []armResultsView        `json:"arms,omitempty" doc:"In order of their ids; the control group is holdout. Absent of all campaigns"`
}

func countedViewOf(c Counted, arms bool) countedView {
	v := countedView{From: c.From, Reasons: reasonsOf(c.Arms)}
	for _, arm := range slices.Sorted(maps.Keys(c.Arms)) {
		n := c.Arms[arm]
		v.add(n)
		if arm != "" && arms {
			v.Arms = append(v.Arms, armViewOf(arm, n))
		}
	}
	return v
}

type resultsInput struct {
	ID string `path:"id" maxLength:"100"`
	InSpan
}

func (s *server) getResults(ctx context.Context, who caller, in *resultsInput) (*answered[*resultsView], error) {
	c, err := s.campaign(who, in.ID)
	if err != nil {
		return nil, err
	}
	span, err := in.span(s.o.Clock.Now(), s.o.HourCountsKept)
	if err != nil {
		return nil, err
	}
	tallies, series, err := s.counts(ctx, who, c.ID, span)
	if err != nil {
		return nil, err
	}
	out := &resultsView{Campaign: c.ID, Name: c.Name, Status: c.Status, Span: span, Arms: []armResultsView{}, Meanings: meanings}
	var order []string
	for _, a := range c.Arms {
		order = append(order, a.ID)
	}
	if _, counted := tallies[engage.HoldoutArm]; counted || c.HoldoutPercent > 0 {
		order = append(order, engage.HoldoutArm)
	}
	for _, arm := range slices.Sorted(maps.Keys(tallies)) {
		if arm != "" && !slices.Contains(order, arm) {
			order = append(order, arm)
		}
	}
	for _, arm := range order {
		v := armViewOf(arm, tallies[arm])
		v.Rates = ratesOf(tallies[arm])
		out.Arms = append(out.Arms, v)
	}
	for _, n := range tallies {
		out.Totals.add(n)
	}
	for _, x := range series {
		out.Series = append(out.Series, countedViewOf(x, true))
	}
	out.Suppressed = suppressedOf(tallies)
	out.Why = whyOf(c, s.o.Clock.Now(), out.Totals, out.Suppressed)
	return &answered[*resultsView]{out}, nil
}

func armViewOf(arm string, n engage.Counts) armResultsView {
	v := armResultsView{
		Arm: arm, Control: arm == engage.HoldoutArm, Decided: n.Decided, HeldOut: n.HeldOut,
		Pending: pending(n), Sent: n.Sent, Accepted: n.Accepted, InApp: n.InApp, Inboxed: n.Inboxed, Delivered: n.Delivered, Displayed: n.Displayed, Opened: n.Opened, Expired: n.Expired, Failed: n.Failed,
		Acted: n.Acted, Dismissed: n.Dismissed, Converted: n.Converted, NotShown: n.NotShown, RedeemedView: redeemedOf(n),
	}
	v.FollowedView.add(n)
	return v
}

// allResultsView is of all campaigns.
type allResultsView struct {
	Span       *resultsSpan         `json:"span,omitempty" doc:"The time of which the counts are; absent: all that there ever was"`
	Campaigns  []campaignCountsView `json:"campaigns" nullable:"false" doc:"In order of id"`
	Totals     TotalsView           `json:"totals"`
	Suppressed []suppressedView     `json:"suppressed" nullable:"false" doc:"Why gates said no, of all campaigns; the most frequent first"`
	Series     []countedView        `json:"series,omitempty" doc:"By the hour or the day, those in which something was counted"`
	Meanings   map[string]string    `json:"meanings" doc:"What each count says, and what it does not"`
}

type campaignCountsView struct {
	Campaign string        `json:"campaign"`
	Name     string        `json:"name"`
	Status   engage.Status `json:"status"`
	Totals   TotalsView    `json:"totals"`
	Why      whyView       `json:"why"`
}

func (s *server) listResults(ctx context.Context, who caller, in *struct{ InSpan }) (*answered[*allResultsView], error) {
	span, err := in.span(s.o.Clock.Now(), s.o.HourCountsKept)
	if err != nil {
		return nil, err
	}
	out := &allResultsView{Span: span, Campaigns: []campaignCountsView{}, Meanings: meanings}
	var all []map[string]engage.Counts
	over := map[time.Time]map[string]engage.Counts{}
	for _, c := range s.o.Catalog.Now().Campaigns(who.workspace) {
		tallies, series, err := s.counts(ctx, who, c.ID, span)
		if err != nil {
			return nil, err
		}
		if len(tallies) == 0 && (c.Status == engage.Draft || c.Status == engage.InReview) {
			continue
		}
		all = append(all, tallies)
		x := campaignCountsView{Campaign: c.ID, Name: c.Name, Status: c.Status}
		for _, n := range tallies {
			x.Totals.add(n)
			out.Totals.add(n)
		}
		x.Why = whyOf(c, s.o.Clock.Now(), x.Totals, suppressedOf(tallies))
		out.Campaigns = append(out.Campaigns, x)
		for _, p := range series {
			over[p.From] = sumArms(over[p.From], p.Arms)
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(over), time.Time.Compare) {
		out.Series = append(out.Series, countedViewOf(Counted{at, over[at]}, false))
	}
	out.Suppressed = suppressedOf(all...)
	return &answered[*allResultsView]{out}, nil
}

// reasonsOf sums what was suppressed, by reason.
func reasonsOf(tallies ...map[string]engage.Counts) map[engage.Reason]int64 {
	var sum engage.Counts
	for _, t := range tallies {
		for _, c := range t {
			sum = sum.Plus(engage.Counts{Suppressed: c.Suppressed})
		}
	}
	return sum.Suppressed
}

// suppressedOf is reasonsOf, the most frequent first.
func suppressedOf(tallies ...map[string]engage.Counts) []suppressedView {
	sums, all := reasonsOf(tallies...), int64(0)
	for _, n := range sums {
		all += n
	}
	out := make([]suppressedView, 0, len(sums))
	for r, n := range sums {
		words := cmp.Or(reasonWords[r], string(r))
		out = append(out, suppressedView{r, n, words, float64(n) / float64(all), adviceOf(r)})
	}
	slices.SortFunc(out, func(a, b suppressedView) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	return out
}
