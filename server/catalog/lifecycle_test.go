package catalog_test

import (
	"slices"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// life is a campaign of acme whose status and words change.
type life struct {
	t *testing.T
	c *catalog.Catalog
}

func (l life) put(who string, status engage.Status, name string) error {
	l.t.Helper()
	c := rainy(name)
	c.Status = status
	return l.c.PutCampaign(l.t.Context(), who, c, catalog.AnyVersion)
}

func (l life) now() *engage.Campaign { return l.c.Now().Campaign("acme", "rainy") }

func rainy(name string) *engage.Campaign {
	return &engage.Campaign{
		ID: "rainy", Workspace: "acme", Name: name, Class: engage.Marketing, Status: engage.Draft,
		Trigger: engage.CampaignTrigger{Type: engage.TriggerEvent, Event: "rain"},
		Arms:    []engage.Arm{{ID: "a", Message: engage.Content{Title: "Umbrella?"}}},
	}
}

func requireReview(t *testing.T, c *catalog.Catalog, required bool) {
	t.Helper()
	w := *c.Now().Workspaces["acme"]
	w.ReviewRequired = required
	must(t, c.PutWorkspace(t.Context(), by, &w, w.Version))
}

func TestWhereReviewIsAskedForASecondPersonMakesACampaignLive(t *testing.T) {
	l := life{t, fresh(t)}
	requireReview(t, l.c, true)
	wantError(t, "a new one that is live", l.put("ada", engage.Live, "Rain"), engage.Conflict, "status")
	wantError(t, "a new one that is paused", l.put("ada", engage.Paused, "Rain"), engage.Conflict, "status")
	must(t, l.put("ada", engage.Draft, "Rain"))
	wantError(t, "a draft that is launched", l.put("bob", engage.Live, "Rain"), engage.Conflict, "status")
	must(t, l.put("bob", engage.InReview, "Rain, changed"))
	if r := l.now().Review; r == nil || r.RequestedBy != "bob" || r.Approved {
		t.Errorf("the review is %+v", r)
	}
	for _, who := range []string{"ada", "bob"} {
		wantError(t, who+" approves", l.put(who, engage.Live, "Rain, changed"), engage.Forbidden, "status")
	}
	wantError(t, "an approval that changes", l.put("cleo", engage.Live, "Rain, by me"), engage.Conflict, "status")
	must(t, l.put("cleo", engage.Live, "Rain, changed"))
	if r := l.now().Review; r == nil || !r.Approved || r.AnsweredBy != "cleo" || r.RequestedBy != "bob" {
		t.Errorf("the review is %+v", r)
	}
	must(t, l.put("ada", engage.Paused, "Rain, changed"))
	must(t, l.put("ada", engage.Live, "Rain, changed")) // what was approved
	wantError(t, "a change of what is live", l.put("ada", engage.Live, "Rain!"), engage.Conflict, "status")
	wantError(t, "a change while it is paused", l.put("ada", engage.Paused, "Rain!"), engage.Conflict, "status")
	must(t, l.put("ada", engage.InReview, "Rain!"))
	wantError(t, "ada approves her own", l.put("ada", engage.Live, "Rain!"), engage.Forbidden, "status")
	must(t, l.put("ada", engage.Paused, "Rain!")) // stopping needs nobody
	wantError(t, "the way round by a pause", l.put("ada", engage.Live, "Rain!"), engage.Conflict, "status")
	must(t, l.put("ada", engage.InReview, "Rain!"))
	must(t, l.put("bob", engage.Live, "Rain!")) // bob's hand in it was before the last approval
	must(t, l.put("ada", engage.Ended, "Rain!"))
	wantError(t, "what has ended", l.put("bob", engage.InReview, "Rain!"), engage.Conflict, "status")
}

func TestAReviewerGivesACampaignBack(t *testing.T) {
	l := life{t, fresh(t)}
	must(t, l.put("ada", engage.InReview, "Rain"))
	c := *l.now()
	c.Status, c.Review = engage.Draft, &engage.Review{Comment: "Which shop?"}
	must(t, l.c.PutCampaign(t.Context(), "bob", &c, c.Version))
	if r := l.now().Review; r == nil || r.Approved || r.AnsweredBy != "bob" || r.Comment != "Which shop?" {
		t.Errorf("the review is %+v", r)
	}
	must(t, l.put("ada", engage.Live, "Rain")) // nobody asks for a second person here
	wantError(t, "a live one as a draft", l.put("ada", engage.Draft, "Rain"), engage.Invalid, "status")
}

func TestWhatWasLiveBeforeReviewsWereAskedForMayBePausedAndGoOn(t *testing.T) {
	l := life{t, fresh(t)}
	must(t, l.put("ada", engage.Live, "Rain"))
	must(t, l.put("ada", engage.Paused, "Rain"))
	requireReview(t, l.c, true)
	must(t, l.put("ada", engage.Live, "Rain"))
	requireReview(t, l.c, false)
	must(t, l.put("ada", engage.Paused, "Rain!"))
	requireReview(t, l.c, true)
	wantError(t, "what was changed meanwhile", l.put("ada", engage.Live, "Rain!"), engage.Conflict, "status")
}

func TestACampaignThatWasLiveIsNotDeletedAsADraft(t *testing.T) {
	l := life{t, fresh(t)}
	must(t, l.put("ada", engage.Live, "Rain"))
	must(t, l.put("ada", engage.InReview, "Rain!"))
	must(t, l.put("bob", engage.Draft, "Rain!")) // given back
	wantError(t, "delete", l.c.DeleteCampaign(t.Context(), by, "acme", "rainy", catalog.AnyVersion), engage.Conflict, "status")
}

func TestAProgrammeThatIsAServiceIsNoMarketing(t *testing.T) {
	c := rainy("Rain")
	c.Programme = engage.ServiceTo
	wantError(t, "marketing as a service programme", fresh(t).PutCampaign(t.Context(), by, c, 0), engage.Invalid, "programme")
}

func TestAStopIsWrittenDownAndAskedForNoVersion(t *testing.T) {
	c := fresh(t)
	must(t, c.StopAll(t.Context(), "ada", "acme", &engage.Stop{Reason: "wrong price"}))
	w := c.Now().Workspaces["acme"]
	if !w.Stop.Of(engage.Marketing) || !w.Stop.Of(engage.Service) || w.Stop.By != "ada" || !w.Stop.At.Equal(t0) {
		t.Errorf("the stop is %+v", w.Stop)
	}
	if c.Now().Workspaces["rival"].Stop.Of(engage.Marketing) {
		t.Error("another workspace is stopped, too")
	}
	must(t, c.StopAll(t.Context(), "ada", "acme", &engage.Stop{Scope: engage.Marketing}))
	if w := c.Now().Workspaces["acme"]; !w.Stop.Of(engage.Marketing) || w.Stop.Of(engage.Service) {
		t.Errorf("the stop is %+v", w.Stop)
	}
	must(t, c.StopAll(t.Context(), "ada", "acme", nil))
	if c.Now().Workspaces["acme"].Stop.Of(engage.Marketing) {
		t.Error("it goes on being stopped")
	}
	wantError(t, "a scope that is none", c.StopAll(t.Context(), "ada", "acme", &engage.Stop{Scope: engage.Service}), engage.Invalid, "stop.scope")
	wantError(t, "no workspace", c.StopAll(t.Context(), "ada", "nowhere", nil), engage.NotFound, "workspace")
}

func TestTheAuditNamesEveryChangeWithWhatWasBefore(t *testing.T) {
	c := fresh(t)
	l := life{t, c}
	must(t, l.put("ada", engage.Draft, "Rain"))
	must(t, l.put("bob", engage.Draft, "Rain!"))
	must(t, c.DeleteCampaign(t.Context(), "cleo", "acme", "rainy", catalog.AnyVersion))
	all := c.Audit(catalog.Audited{Workspace: "acme", Limit: 100})
	var told []string
	for _, m := range all {
		what := "change"
		switch {
		case m.Change.Body == nil:
			what = "delete"
		case m.Before == nil:
			what = "create"
		}
		told = append(told, m.Change.By+" "+what+" "+string(m.Change.Kind)+" "+m.Change.ID)
	}
	want := []string{"cleo delete campaign rainy", "bob change campaign rainy", "ada create campaign rainy", by + " create workspace acme"}
	if !slices.Equal(told, want) {
		t.Errorf("told are %q, want %q", told, want)
	}
	for _, q := range []struct {
		catalog.Audited
		want int
	}{
		{catalog.Audited{By: "bob"}, 1},
		{catalog.Audited{Kind: catalog.Campaigns}, 3},
		{catalog.Audited{ID: "acme"}, 1},
		{catalog.Audited{From: t0.Add(time.Second)}, 0},
		{catalog.Audited{To: t0}, 0},
		{catalog.Audited{Before: all[1].Revision}, 2},
		{catalog.Audited{Kind: catalog.Places}, 0},
	} {
		q.Workspace, q.Limit = "acme", 100
		if got := c.Audit(q.Audited); len(got) != q.want {
			t.Errorf("%+v gives %d, want %d", q.Audited, len(got), q.want)
		}
	}
	// What was before is found, also where it is not in the page.
	if got := c.Audit(catalog.Audited{Workspace: "acme", By: "bob", Limit: 1}); len(got) != 1 || got[0].Before == nil {
		t.Errorf("bob's change: %+v", got)
	}
	if got := c.Audit(catalog.Audited{Workspace: "rival", Limit: 100}); len(got) != 1 {
		t.Errorf("rival's audit has %d changes, want its own one", len(got))
	}
}
