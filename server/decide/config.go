package decide

import (
	"cmp"
	"slices"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
	"github.com/footfall-engage/footfall/server/template"
)

// Config is what decide needs of a configuration revision: the live campaigns of
// every workspace, compiled and indexed by what fires them. It is immutable.
type Config struct {
	workspaces map[string]*workspace
}

// Workspace is what NewConfig compiles of one workspace.
type Workspace struct {
	ID         string
	Attributes map[string]rules.Type // of persons: declared, or learned
	// Doubtful are the attributes of which only words that nobody can trust have taught
	// the type: it binds no others.
	Doubtful  map[string]bool
	Places    []*engage.Place
	Campaigns []*engage.Campaign
	Webhooks  []*engage.WebhookRule // of the subscriptions that hear anything
}

type workspace struct {
	places    map[string]*engage.Place
	campaigns map[string]*campaign // live ones
	byPlace   map[string][]*campaign
	byTag     map[string][]*campaign
	anyPlace  []*campaign
	byEvent   map[string][]*campaign
	hooks     hooks // nil: nobody listens

	attributes map[string]rules.Type
	doubtful   map[string]bool
}

var noWorkspace = &workspace{}

type campaign struct {
	engage.Campaign
	audience     *rules.Rule
	context      *rules.Rule
	arms         []arm
	weight       int
	needsWeather bool
	pushOnly     bool
	channels     []string // that any arm allows
}

type arm struct {
	engage.Arm
	content *template.Content
	allowed []engage.Channel
}

func (a *arm) weight() int { return max(a.Weight, 1) }

func (c *campaign) arm(id string) *arm {
	for i := range c.arms {
		if c.arms[i].ID == id {
			return &c.arms[i]
		}
	}
	return nil
}

// Compile checks a campaign as a whole: its shape, its rules against the known
// attributes, its templates. catalog keeps no campaign that it refuses.
func Compile(c *engage.Campaign, attributes map[string]rules.Type) error {
	_, err := compile(c, attributes)
	return err
}

func compile(c *engage.Campaign, attributes map[string]rules.Type) (*campaign, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	out := &campaign{Campaign: *c, pushOnly: true}
	var err error
	if out.audience, err = rules.Parse(c.Audience, rules.PersonSchema(attributes)); err != nil {
		return nil, engage.At("audience", err)
	}
	if out.context, err = rules.Parse(c.Context, rules.MomentSchema()); err != nil {
		return nil, engage.At("context", err)
	}
	out.needsWeather = out.context.Uses("weather.")
	for i, a := range c.Arms {
		content, err := template.ParseContent(a.Message)
		if err != nil {
			return nil, engage.At(engage.Index("arms", i, "message"), err)
		}
		x := arm{Arm: a, content: content}
		for _, ch := range []engage.Channel{engage.InApp, engage.Push, engage.Inbox} {
			if a.Message.Allows(ch) {
				x.allowed = append(x.allowed, ch)
				out.pushOnly = out.pushOnly && ch == engage.Push
				if !slices.Contains(out.channels, string(ch)) {
					out.channels = append(out.channels, string(ch))
				}
			}
		}
		out.needsWeather = out.needsWeather || slices.Contains(content.Variables(), "weather")
		out.arms = append(out.arms, x)
		out.weight += x.weight()
	}
	return out, nil
}

// NewConfig compiles the live campaigns. One that does not compile (it was kept
// by an older version) is an error of its own and left out.
func NewConfig(in []Workspace) (*Config, []error) {
	c := &Config{workspaces: map[string]*workspace{}}
	var errs []error
	for _, w := range in {
		x := &workspace{
			places: map[string]*engage.Place{}, campaigns: map[string]*campaign{},
			byPlace: map[string][]*campaign{}, byTag: map[string][]*campaign{}, byEvent: map[string][]*campaign{},
			hooks: newHooks(w.Webhooks), attributes: w.Attributes, doubtful: w.Doubtful,
		}
		for _, p := range w.Places {
			x.places[p.ID] = p
		}
		for _, cam := range w.Campaigns {
			if cam.Status != engage.Live {
				continue
			}
			k, err := compile(cam, w.Attributes)
			if err != nil {
				errs = append(errs, engage.At("campaigns."+cam.ID, err))
				continue
			}
			x.add(k)
		}
		c.workspaces[w.ID] = x
	}
	return c, errs
}

func (w *workspace) add(c *campaign) {
	w.campaigns[c.ID] = c
	t := c.Trigger
	switch {
	case t.Type == engage.TriggerEvent:
		w.byEvent[t.Event] = append(w.byEvent[t.Event], c)
	case len(t.Places) == 0 && len(t.Tags) == 0:
		w.anyPlace = append(w.anyPlace, c)
	default:
		for _, p := range t.Places {
			w.byPlace[p] = append(w.byPlace[p], c)
		}
		for _, tag := range t.Tags {
			w.byTag[tag] = append(w.byTag[tag], c)
		}
	}
}

// listening are the campaigns that a trigger fires, in the order of their ids.
func (w *workspace) listening(t *engage.Trigger) []*campaign {
	if t.Type == engage.TriggerEvent {
		return sorted(w.byEvent[t.Event])
	}
	found := slices.Concat(w.anyPlace, w.byPlace[t.Place])
	if p := w.places[t.Place]; p != nil {
		for _, tag := range p.Tags {
			found = append(found, w.byTag[tag]...)
		}
	}
	found = slices.DeleteFunc(found, func(c *campaign) bool {
		if c.Trigger.Transition != t.Transition {
			return true
		}
		if len(c.Trigger.Rings) == 0 {
			return t.Ring != engage.Inside
		}
		return !slices.Contains(c.Trigger.Rings, t.Ring)
	})
	return sorted(found)
}

func sorted(cs []*campaign) []*campaign {
	cs = slices.Clone(cs)
	slices.SortFunc(cs, func(a, b *campaign) int { return cmp.Compare(a.ID, b.ID) })
	return slices.Compact(cs)
}
