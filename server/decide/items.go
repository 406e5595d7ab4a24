package decide

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// # Items of catalogues
//
// A text may look at items (template.Items): of any catalogue by "catalog", and at the one
// that the campaign is about (engage.CampaignItem) by "item". A catalogue has up to a
// million of them, so they stand neither in the configuration nor in any partition's
// memory, but in the store, where they change at any moment. A decision must not read
// there: the same records would not give the same decision again. So the gate "items",
// the last before arbitration, goes through the texts, asks for the items that it does not
// have (engage.ItemsAsk, put out to "items"), and parks the moment alone, as one waits for
// weather. What app reads of them comes as a record of this person's partition
// (engage.Items): a replay has the items as they were then. The moment wakes with it, or
// after 2 s with items_unavailable; texts that look for an item by what another says ask
// again, within the same 2 s.
//
// Considered and left: small catalogues in the configuration (each change of a price would
// be a revision that every partition adopts, and texts would be of two kinds), and items
// kept in the partition for the next moment (a price would be old for as long).
//
// An item that is not there is no reason: what a text asks of it is missing, and the
// gate "render" says so, unless the text has a default. The trace names each item with the
// version that was read.

// itemsWait is how long a moment waits for items, in log time.
const itemsWait = 2 * time.Second

// itemsSoFar is what an attempt has of items.
type itemsSoFar struct {
	known      []engage.KnownItem // that came, those that are not there too
	itemsUntil time.Time          // set of who has waited for such already
	itemsOver  bool               // and that was in vain
}

// looked gives a moment's items to its texts (template.Items), and notes which ones they
// look at.
type looked struct {
	config *workspace
	known  []engage.KnownItem
	at     []engage.ItemRef // in the order in which they were first looked at
	lacks  []engage.ItemRef // those of them that are not known
	views  map[engage.ItemRef]map[string]any
}

// Item implements template.Items.
func (l *looked) Item(catalogue, id string) (map[string]any, error) {
	ref := engage.ItemRef{Catalogue: catalogue, ID: id}
	if l.config.catalogues[catalogue] == nil || !engage.ValidID(id) {
		return nil, nil // there is none, whoever is asked
	}
	if !slices.Contains(l.at, ref) {
		if len(l.at) == engage.MaxMomentItems {
			return nil, fmt.Errorf("the texts look at more than %d items", engage.MaxMomentItems)
		}
		l.at = append(l.at, ref)
	}
	if view, there := l.views[ref]; there {
		return view, nil
	}
	k := knownOf(l.known, ref)
	if k == nil {
		if !slices.Contains(l.lacks, ref) {
			l.lacks = append(l.lacks, ref)
		}
		return nil, nil
	}
	view := viewItem(k, l.config.catalogues[catalogue])
	if l.views == nil {
		l.views = map[engage.ItemRef]map[string]any{}
	}
	l.views[ref] = view
	return view, nil
}

func knownOf(known []engage.KnownItem, ref engage.ItemRef) *engage.KnownItem {
	i := slices.IndexFunc(known, func(k engage.KnownItem) bool { return k.ItemRef == ref })
	if i < 0 {
		return nil
	}
	return &known[i]
}

// viewItem is what texts see of an item; nil when there is none.
func viewItem(k *engage.KnownItem, of *engage.Catalogue) map[string]any {
	if k.Version == 0 || of == nil {
		return nil
	}
	view := map[string]any{}
	if json.Unmarshal(k.Fields, &view) != nil || view == nil {
		return nil // what is no object has no fields
	}
	view["id"] = k.ID
	if _, says := view["currency"]; !says && of.Currency != "" {
		view["currency"] = of.Currency
	}
	return view
}

// vars adds what texts see of items.
func (l *looked) vars(m *moment, about *engage.CampaignItem, into map[string]any) {
	into["catalog"] = l
	if about == nil {
		return
	}
	id, said := m.itemID(about)
	if !said {
		return
	}
	if item, err := l.Item(about.Catalogue, id); err == nil && item != nil {
		into["item"] = item
	}
}

// saw is what the trace has of the items.
func (l *looked) saw() map[string]any {
	items := make([]map[string]any, 0, len(l.at))
	for _, ref := range l.at {
		one := map[string]any{"catalogue": ref.Catalogue, "id": ref.ID}
		switch k := knownOf(l.known, ref); {
		case k == nil:
			one["known"] = false
		case k.Version == 0:
			one["there"] = false
		default:
			one["version"] = k.Version
		}
		items = append(items, one)
	}
	return map[string]any{"items": items}
}

// items is the gate. It is not asked of campaigns whose texts look at no item.
func (a *attempt) items() (engage.Reason, map[string]any, error) {
	look := &looked{config: a.s.config, known: a.known}
	a.m.items = look
	vars := a.m.vars(a.c, a.before)
	now, locale := a.m.local(), a.m.locale()
	for i := range a.c.arms {
		a.c.arms[i].content.Look(vars, now, locale)
	}
	switch {
	case len(look.lacks) == 0:
		return "", look.saw(), nil
	case a.itemsOver || !a.itemsUntil.IsZero() && !a.s.e.At.Before(a.itemsUntil):
		return engage.ReasonItemsUnavailable, look.saw(), nil
	default:
		return engage.ReasonItemsWaits, look.saw(), errWaits
	}
}

// awaitItems parks a moment for the items that its texts lack, and says until when.
func (a *attempt) awaitItems(w *Waiting) (due time.Time, err error) {
	a.keepItems(w)
	if w.ItemsUntil.IsZero() {
		w.ItemsUntil = a.s.e.At.Add(itemsWait).UTC()
	}
	w.Asked = a.m.items.lacks
	return w.ItemsUntil, a.s.askItems(w.Asked)
}

// keepItems has a moment that waits for a little while keep the items that it has. One
// that waits for hours asks again.
func (a *attempt) keepItems(w *Waiting) { w.Items, w.ItemsUntil = a.known, a.itemsUntil }

// askItems asks for items.
func (s *step) askItems(refs []engage.ItemRef) error {
	body, err := json.Marshal(engage.ItemsAsk{V: 1, Refs: refs})
	if err != nil {
		return err
	}
	s.tx.Emit("items", engage.Entry{Kind: engage.KindItemsAsk, Key: s.key, Occurred: s.e.Occurred, Body: body})
	return nil
}

// onItems takes items that were asked for, and wakes the moments that lack none any more.
// Campaigns that want the same moment wake together.
func (s *step) onItems() error {
	var came engage.Items
	if err := read(s.e, &came); err != nil {
		return err
	}
	waits := func(w *Waiting) bool { return w.For == "items" }
	for _, id := range s.waiting(waits) {
		w := s.p.Waiting[id]
		var still []engage.ItemRef
		for _, ref := range w.Asked {
			if k := knownOf(came.Items, ref); k != nil {
				w.Items = append(slices.Clip(w.Items), *k)
			} else {
				still = append(still, ref)
			}
		}
		if len(still) == len(w.Asked) {
			continue
		}
		w.Asked = still
		s.p.setWaiting(id, &w)
	}
	lacks := func(id string) bool { return len(s.p.Waiting[id].Asked) > 0 }
	for ids := s.waiting(waits); len(ids) > 0; {
		together := s.together(ids[0])
		ids = slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(together, id) })
		if slices.ContainsFunc(together, lacks) {
			continue
		}
		if err := s.wake(together, false); err != nil {
			return err
		}
	}
	return nil
}

// itemIDOf is the id of an item as somebody says it: a text or a number.
func itemIDOf(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, v != ""
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case json.Number:
		return v.String(), true
	case int:
		return strconv.Itoa(v), true
	default:
		return "", false
	}
}

// itemID is the id of the item that a moment is about; false: nobody says it.
func (m *moment) itemID(about *engage.CampaignItem) (string, bool) {
	if about.Attribute != "" {
		return itemIDOf(m.s.p.Attributes[about.Attribute])
	}
	v, said := property(m.properties(), about.Property)
	if !said {
		return "", false
	}
	return itemIDOf(v)
}

// nameless is the error of a text that lacks the item that a campaign is about, where that
// is since nobody says which it is: then it says that. Others stay.
func (m *moment) nameless(about *engage.CampaignItem, err error) error {
	if about == nil {
		return err
	}
	e, is := errors.AsType[*engage.Error](err)
	other := func(name string) bool { return name != "item" && !strings.HasPrefix(name, "item.") }
	if _, said := m.itemID(about); said || !is || len(e.Missing) == 0 || slices.ContainsFunc(e.Missing, other) {
		return err
	}
	why := "the person has no attribute " + about.Attribute
	if about.Attribute == "" {
		why = "the event has no " + about.Property
	}
	named := *e
	named.Msg = strings.Join(e.Missing, ", ") + " cannot be told: " + why
	return &named
}
