package decide

import (
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
	Offers    []*engage.Offer

	Catalogues []*engage.Catalogue

	Webhooks []*engage.WebhookRule // of the subscriptions that hear anything
	Limits   *engage.LimitPolicy   // nil: none
	Stop     *engage.Stop          // nil: messages go out
}

type workspace struct {
	places    map[string]*engage.Place
	campaigns map[string]*campaign // live ones
	offers    map[string]*engage.Offer

	catalogues map[string]*engage.Catalogue

	goals  map[string]*goal // of all that are or were live: what follows is looked at after their end
	fires  index            // them
	hooks  hooks            // nil: nobody listens
	limits *policy          // nil: none

	stop       *engage.Stop
	attributes map[string]rules.Type
	doubtful   map[string]bool
}

var noWorkspace = &workspace{}

type campaign struct {
	engage.Campaign
	where        *rules.Rule // over what fires it
	audience     *rules.Rule
	visited      []rules.PlaceRef // about visits to which the audience asks
	context      *rules.Rule
	arms         []arm
	weight       int
	needsWeather bool
	outlooks     []int                // spans of the next hours of which it needs the forecast
	needsItems   bool                 // its texts look at items of catalogues
	about        *engage.CampaignItem // its Item, if a text names it
	pushOnly     bool
	channels     []string // that any arm allows
	allowed      channels // the same
	caps         []engage.Cap
	shared       []engage.Shared // limits that span people
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
	out := &campaign{Campaign: *c, pushOnly: true, caps: capsOf(c.Limits)}
	if c.Class == engage.Marketing {
		out.shared = c.Shared()
	}
	var err error
	if out.where, err = whereOf(&c.Trigger); err != nil {
		return nil, err
	}
	if out.audience, err = rules.Parse(c.Audience, rules.PersonSchema(attributes)); err != nil {
		return nil, engage.At("audience", err)
	}
	if out.context, err = rules.Parse(c.Context, rules.MomentSchema()); err != nil {
		return nil, engage.At("context", err)
	}
	if _, err := goalOf(c); err != nil {
		return nil, err
	}
	out.visited = visitedPlaces(out.audience)
	out.needsWeather = out.context.Uses("weather.")
	for i, a := range c.Arms {
		content, err := template.ParseContent(a.Message)
		if err != nil {
			return nil, engage.At(engage.Index("arms", i, "message"), err)
		}
		if c.Offer == "" && slices.Contains(content.Variables(), "offer") {
			return nil, engage.Errorf(engage.Invalid, engage.Index("arms", i, "message"), "names the variable offer, but the campaign brings no offer")
		}
		if c.Item == nil && slices.Contains(content.Variables(), "item") {
			return nil, engage.Errorf(engage.Invalid, engage.Index("arms", i, "message"), "names the variable item, but the campaign does not say which item of which catalogue that is")
		}
		if slices.Contains(content.Variables(), "item") {
			out.about = c.Item
		}
		out.needsItems = out.needsItems || slices.ContainsFunc(content.Variables(), func(name string) bool { return name == "item" || name == "catalog" })
		x := arm{Arm: a, content: content}
		for _, ch := range []engage.Channel{engage.InApp, engage.Push, engage.Inbox} {
			if a.Message.Allows(ch) {
				x.allowed = append(x.allowed, ch)
				out.allowed |= channelBit(ch)
				out.pushOnly = out.pushOnly && ch == engage.Push
				if !slices.Contains(out.channels, string(ch)) {
					out.channels = append(out.channels, string(ch))
				}
			}
		}
		out.needsWeather = out.needsWeather || slices.Contains(content.Variables(), "weather")
		out.outlooks = append(out.outlooks, outlooksIn(a.Message, content)...)
		out.arms = append(out.arms, x)
		out.weight += x.weight()
	}
	out.outlooks = outlooksOf(out.context, out.outlooks)
	return out, nil
}

// NewConfig compiles the live campaigns. One that does not compile (it was kept
// by an older version) is an error of its own and left out.
func NewConfig(in []Workspace) (*Config, []error) {
	c := &Config{workspaces: map[string]*workspace{}}
	var errs []error
	for _, w := range in {
		x := &workspace{
			places: map[string]*engage.Place{}, campaigns: map[string]*campaign{}, goals: map[string]*goal{}, offers: map[string]*engage.Offer{},
			fires: newIndex(), hooks: newHooks(w.Webhooks), attributes: w.Attributes, doubtful: w.Doubtful, stop: w.Stop,
			limits: newPolicy(w.Limits),
		}
		for _, p := range w.Places {
			x.places[p.ID] = p
		}
		for _, o := range w.Offers {
			x.offers[o.ID] = o
		}
		x.catalogues = make(map[string]*engage.Catalogue, len(w.Catalogues))
		for _, k := range w.Catalogues {
			x.catalogues[k.ID] = k
		}
		for _, cam := range w.Campaigns {
			if cam.Status == engage.Live || cam.Status == engage.Paused || cam.Status == engage.Ended {
				if g, err := goalOf(cam); err == nil { // of one that does not compile, below
					x.goals[cam.ID] = g
				}
			}
			if cam.Status != engage.Live {
				continue
			}
			k, err := compile(cam, w.Attributes)
			if err != nil {
				errs = append(errs, engage.At("campaigns."+cam.ID, err))
				continue
			}
			x.campaigns[k.ID] = k
			x.fires.add(k)
		}
		x.fires.sort()
		c.workspaces[w.ID] = x
	}
	return c, errs
}
