package decide

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
	"github.com/footfall-engage/footfall/server/template"
)

// PreviewOf is a campaign and a moment at which somebody wants to see what it says.
type PreviewOf struct {
	Campaign   *engage.Campaign
	Attributes map[string]rules.Type // of the workspace
	// Person is the committed state of somebody, as Machine.Decode reads it; nil: of an
	// example person.
	Person json.RawMessage
	// Platform and Locale are the phone's, where they are given; else those of the phone
	// that the trigger names, else of the one that the person used last, else of an
	// example.
	Platform, Locale string
	Places           []*engage.Place // that the person may have been at, and the trigger's
	Trigger          engage.Trigger  // what of it is known; its type is the campaign's
	At               time.Time

	Catalogues []*engage.Catalogue
	Items      []engage.KnownItem // what is known of items so far
	// Example is the item that the campaign is about where nobody says which it is. What it
	// lacks of the catalogue's declared fields, all of them where it is nil, is made up.
	Example *engage.KnownItem
}

// Preview is what one arm says then.
type Preview struct {
	Arm      string
	Platform string
	Phone    string // its locale; empty: not known
	Rendered template.Rendered
	// Lacking are *engage.Errors with the field: variables that are missing (they count as
	// empty in Rendered), and texts of which nothing is left. With any the message would
	// not be sent.
	Lacking []error
	// Err is why the arm cannot be rendered even so; Rendered is empty then.
	Err error
	// Samples are the variables of its texts that nobody gave, so that they are of an
	// example: "weather", "place".
	Samples []string
	// Asks are items that the texts of any arm look at and that are not in PreviewOf.Items:
	// with them it is another preview.
	Asks []engage.ItemRef
}

// PreviewArms renders every arm with the variables that a decision would give it. No
// gate is asked. The error is of a campaign that does not compile, with its field.
func PreviewArms(in PreviewOf) ([]Preview, error) {
	c, err := compile(in.Campaign, in.Attributes)
	if err != nil {
		return nil, err
	}
	items := &looked{config: in.workspace(), known: in.Items}
	vars, phone, sampled, err := in.vars(c, items)
	if err != nil {
		return nil, err
	}
	s := &step{e: engage.Entry{At: in.At}, p: &Person{}, config: items.config}
	m := s.moment(&in.Trigger)
	m.device = &phone
	out := make([]Preview, 0, len(c.arms))
	for _, arm := range c.arms {
		p := Preview{Arm: arm.ID, Platform: phone.Platform, Phone: phone.Locale}
		p.Rendered, p.Lacking, p.Err = arm.content.Draft(vars, m.local(), phone.Locale)
		for _, name := range arm.content.Variables() {
			if slices.Contains(sampled, name) {
				p.Samples = append(p.Samples, name)
			}
		}
		out = append(out, p)
	}
	for i := range out {
		out[i].Asks = items.lacks
	}
	return out, nil
}

// workspace is what of the configuration the texts see.
func (in *PreviewOf) workspace() *workspace {
	out := &workspace{places: make(map[string]*engage.Place, len(in.Places)), catalogues: make(map[string]*engage.Catalogue, len(in.Catalogues))}
	for _, p := range in.Places {
		out.places[p.ID] = p
	}
	for _, c := range in.Catalogues {
		out.catalogues[c.ID] = c
	}
	return out
}

// vars are what the texts see, of which phone, and which of them are of an example.
func (in *PreviewOf) vars(c *campaign, items *looked) (vars map[string]any, phone engage.Device, sampled []string, err error) {
	p := &Person{}
	if in.Person != nil {
		st, err := Machine{}.Decode(engage.ProfileKey(c.Workspace, "preview"), in.Person)
		if err != nil {
			return nil, phone, nil, err
		}
		person, ok := st.(*Person)
		if !ok {
			return nil, phone, nil, fmt.Errorf("the state is of %T, not of a person", st)
		}
		p = person
	}
	s := &step{ws: c.Workspace, e: engage.Entry{At: in.At}, p: p, config: items.config}
	t := &in.Trigger
	t.Type, t.Event, t.Transition, t.OccurredAt = c.Trigger.Type, c.Trigger.Event, c.Trigger.Transition, in.At
	if used := p.DevicesByUse(); t.Install == "" && len(used) > 0 {
		t.Install = used[0].Install
	}
	m := s.moment(t)
	examples := template.Samples()
	if m.device.Install == "" {
		sampled = append(sampled, "device")
		m.device = &engage.Device{Platform: "ios", Locale: "en", Notifications: "granted", Location: "always"}
	}
	if in.Platform != "" {
		m.device.Platform = in.Platform
	}
	if in.Locale != "" {
		m.device.Locale = in.Locale
	}
	m.stays()
	if c.needsItems {
		m.items = items
	}
	vars = m.vars(c, s.before(t))
	if item := in.sampleItem(c, m, items.config); item != nil {
		vars["item"] = item
		sampled = append(sampled, "item")
	}
	if in.Person == nil {
		vars["profile"] = examples["profile"]
		sampled = append(sampled, "profile")
	}
	for name, example := range examples {
		if _, given := vars[name]; !given && (name != "place" || t.Type.AtPlace()) {
			vars[name] = example
			sampled = append(sampled, name)
		}
	}
	if t.Type == engage.TriggerPlace && t.DistanceM == 0 { // every such trigger that a fix made has one
		trigger := maps.Clone(vars["trigger"].(map[string]any)) //nolint:forcetypeassert // made by vars
		trigger["distance_m"] = 1.0
		vars["trigger"] = trigger
	}
	slices.Sort(sampled)
	return vars, *m.device, sampled, nil
}

// sampleItem is what texts see as "item" where nobody says which it is; nil: somebody does,
// or the campaign is about none.
func (in *PreviewOf) sampleItem(c *campaign, m *moment, of *workspace) map[string]any {
	if c.about == nil || of.catalogues[c.about.Catalogue] == nil {
		return nil
	}
	if _, said := m.itemID(c.about); said {
		return nil
	}
	k := of.catalogues[c.about.Catalogue]
	item := k.Sample("example", func(field string) string { return field })
	if in.Example != nil {
		maps.Copy(item, viewItem(in.Example, k))
	}
	return item
}
