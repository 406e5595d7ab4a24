package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/footfall-engage/footfall/channels/fcm/fcmsim"
	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/lab/pipelinebench"
)

// The two processes of `bench pipeline` are hidden commands below bench, told what to do
// as those of `bench gateway` are: the server, and the phones with the push provider.

// campaignsPerPlace is how many campaigns one entry of a place concerns.
const campaignsPerPlace = 5

// pipelineAt is what pipeline-server says when it serves.
type pipelineAt struct {
	URL       string `json:"url"`
	Key       string `json:"key"` // the first admin key; empty when there was one
	Workspace string `json:"workspace"`
}

// fcmAt is what pipeline-load says: where the push provider's simulator is.
type fcmAt struct {
	URL         string `json:"url"`
	Project     string `json:"project"`
	Credentials []byte `json:"credentials"`
}

// The orders, beside serverOrder's.
const (
	pipelineDecided  = "decided"
	pipelineConnect  = "connect"
	pipelineRun      = "run"
	pipelineArrivals = "arrivals"
	pipelineClose    = "close"
)

// span is a time from its beginning until before its end.
type span struct{ From, To time.Time }

func (s span) holds(t time.Time) bool { return !t.Before(s.From) && t.Before(s.To) }

// decidedOrder asks what was decided in each of some spans.
type decidedOrder struct {
	Do    string `json:"do"`
	Spans []span `json:"spans"`
}

// decided is what was decided in one span, by the log's time of the triggers.
type decided struct {
	All int            `json:"all"` // decisions, yes and no
	Yes []benchYes     `json:"yes"` // those with a delivery
	No  map[string]int `json:"no"`  // the others, by reason
}

// benchYes is a decision that let a message through.
type benchYes struct {
	Install  string               `json:"install"`
	Delivery string               `json:"delivery"`
	State    engage.DecisionState `json:"state"`
	Reason   engage.Reason        `json:"reason,omitempty"`
	Channel  string               `json:"channel"`
}

// pipelineOrder is what pipeline-load is told.
type pipelineOrder struct {
	Do      string                `json:"do"`
	Connect pipelinebench.Options `json:"connect,omitzero"`
	Rate    float64               `json:"rate,omitempty"`
	For     time.Duration         `json:"for,omitempty"`
	Seed    uint64                `json:"seed,omitempty"`
}

func (o pipelineOrder) lasts() time.Duration { return o.For }

// pipelineArrived is what it answers at the end.
type pipelineArrived struct {
	Entered  map[string]int                   `json:"entered"`  // by install
	Arrivals map[string]pipelinebench.Arrival `json:"arrivals"` // by delivery
}

// benchPipelineServer is the hidden command that is the server under test.
func benchPipelineServer() *cobra.Command {
	var s benchServer
	var durability, fcm string
	var places, campaigns int
	cmd := &cobra.Command{Use: "pipeline-server", Short: "The server of bench pipeline", Args: noArgs, Hidden: true}
	flags := cmd.Flags()
	flags.StringVar(&s.dir, "dir", "", "its data folder")
	flags.StringVar(&durability, "durability", "", "process or power")
	flags.StringVar(&fcm, "fcm", "", "URL of the push provider")
	flags.IntVar(&places, "import", 0, "make so many places before it serves")
	flags.IntVar(&campaigns, "campaigns", 0, "and so many campaigns")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s.settings = func(c *config.Config) {
			c.Durability = config.Durability(durability)
			c.Providers.FCM.Endpoint = fcm
			c.Limits.RegistrationsPerS = 1_000_000 // all phones have one address
			c.Push.FCMRampS = 0                    // it begins with thousands a second, as no shop does
		}
		if places > 0 {
			s.before = func(ctx context.Context, a *app.App, c *config.Config) error {
				return importPipeline(ctx, a, c.Workspace, places, campaigns)
			}
		}
		s.up = func(a *app.App, c *config.Config) any { return pipelineAt{a.URL(), a.FirstKey().Reveal(), c.Workspace} }
		s.do = func(ctx context.Context, a *app.App, c *config.Config, order []byte) (any, error) {
			var o decidedOrder
			if err := json.Unmarshal(order, &o); err != nil {
				return nil, err
			}
			switch o.Do {
			case peopleSettle:
				return settledNow(ctx, a)
			case pipelineDecided:
				return decidedIn(ctx, a, c.Workspace, o.Spans)
			}
			return serverDoes(order)
		}
		return s.serve(cmd)
	}
	return cmd
}

// importPipeline makes the places and campaigns. Of every place as many campaigns want
// to hear as campaignsPerPlace says; the first by priority gets the moment.
func importPipeline(ctx context.Context, a *app.App, workspace string, places, campaigns int) error {
	groups := max(1, campaigns/campaignsPerPlace)
	tag := func(i int) string { return fmt.Sprintf("group-%d", i%groups) }
	all := make([]*engage.Place, places)
	for i, p := range pipelinebench.Places(places) {
		all[i] = placeOf(workspace, p.ID, p.Circle, tag(i))
	}
	if err := importPlaces(ctx, a, workspace, all); err != nil {
		return err
	}
	for i := range campaigns {
		if err := a.Catalog().PutCampaign(ctx, benchActor, pipelineCampaign(workspace, i, tag(i)), 0); err != nil {
			return fmt.Errorf("campaign %d: %w", i, err)
		}
	}
	s, err := a.Catalog().At(a.Catalog().Latest())
	if err != nil {
		return err
	}
	// Phones go from place to place within seconds: nobody is to doubt it.
	w := *s.Workspaces[workspace]
	w.LocationPolicy = &engage.LocationPolicy{Speed: geo.AcceptDoubtful}
	if err := a.Catalog().PutWorkspace(ctx, benchActor, &w, w.Version); err != nil {
		return err
	}
	a.Catalog().Announce()
	return nil
}

// pipelineCampaign is a campaign with a rule about the person and one about the moment.
func pipelineCampaign(workspace string, i int, tag string) *engage.Campaign {
	return &engage.Campaign{
		ID: fmt.Sprintf("bench-%05d", i), Workspace: workspace, Name: fmt.Sprintf("Bench %d", i), Class: engage.Marketing, Status: engage.Live,
		Priority: 1 + i%97, Trigger: engage.CampaignTrigger{Type: engage.TriggerPlace, Transition: engage.Enter, Tags: []string{tag}},
		Audience: json.RawMessage(`{"not": {"field": "likes", "op": "contains", "value": "fishing"}}`),
		Context:  json.RawMessage(`{"field": "trigger.distance_m", "op": "lt", "value": 200}`),
		Arms: []engage.Arm{{ID: "a", Message: engage.Content{
			Title: "Welcome to {{ place.name }}", Body: "Show this at {{ place.name }}: ten percent off today.",
			DeepLink: pipelinebench.Link, Channels: []engage.Channel{engage.InApp, engage.Push},
		}}},
	}
}

// decidedIn looks through all decisions.
func decidedIn(ctx context.Context, a *app.App, workspace string, spans []span) ([]decided, error) {
	out := make([]decided, len(spans))
	for i := range out {
		out[i].No = map[string]int{}
	}
	err := a.Decisions(ctx, workspace, func(d engage.Decision) error {
		for i, s := range spans {
			switch {
			case !s.holds(d.At):
			case d.Delivery == "":
				out[i].All++
				out[i].No[string(d.Reason)]++
			default:
				out[i].All++
				out[i].Yes = append(out[i].Yes, benchYes{d.Trigger.Install, d.Delivery, d.State, d.Reason, d.Channel})
			}
		}
		return nil
	})
	return out, err
}

// pipelineApp makes the phones' app and returns its key.
func pipelineApp(ctx context.Context, m *marketer, fcm *fcmAt) (string, error) {
	a, err := m.app(ctx, "bench", map[string]any{
		"name": "Bench", "platform": "android",
		"fcm": map[string]any{"project_id": fcm.Project, "service_account": json.RawMessage(fcm.Credentials)},
	})
	return a.Key, err
}

// pipelineToken is the push token of an install.
func pipelineToken(install string) string { return fcmsim.Token("ok", install) }

// benchPipelineLoad is the hidden command that is the phones and the push provider.
func benchPipelineLoad() *cobra.Command {
	cmd := &cobra.Command{Use: "pipeline-load", Short: "The phones and the provider of bench pipeline", Args: noArgs, Hidden: true}
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		// As in gateway-load.
		debug.SetGCPercent(-1)
		debug.SetMemoryLimit(loadMemory)
		ctx := cmd.Context()
		var l pipelineLoad
		sim, err := fcmsim.Start(fcmsim.Options{KeepRequests: 1, KeepArrivals: 1, OnAccept: l.pushed})
		if err != nil {
			return err
		}
		defer func() {
			l.close()
			err = errors.Join(err, sim.Close())
		}()
		return obey(cmd, fcmAt{sim.URL(), sim.ProjectID(), sim.Credentials()}, func(order []byte) (any, error) {
			var o pipelineOrder
			if err := json.Unmarshal(order, &o); err != nil {
				return nil, err
			}
			return l.do(ctx, &o)
		})
	}
	return cmd
}
