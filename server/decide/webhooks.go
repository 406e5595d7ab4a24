package decide

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// hooks are a workspace's webhook subscriptions, by the type of what they hear.
type hooks map[engage.WebhookType][]*engage.WebhookRule

// newHooks is nil when nobody listens, which is what costs nothing.
func newHooks(rules []*engage.WebhookRule) hooks {
	if len(rules) == 0 {
		return nil
	}
	h := hooks{}
	for _, r := range rules {
		types := r.Types
		if len(types) == 0 {
			types = engage.WebhookTypes
		}
		for _, t := range types {
			h[t] = append(h[t], r)
		}
	}
	return h
}

// placeTypes are the types of transitions, inside and in an approach ring.
var placeTypes = map[engage.Transition][2]engage.WebhookType{
	engage.Enter:      {engage.WebhookEntered, engage.WebhookApproached},
	engage.Exit:       {engage.WebhookExited, engage.WebhookDeparted},
	engage.Dwell:      {engage.WebhookDwelled, engage.WebhookDwelled},
	engage.Pass:       {engage.WebhookPassed, engage.WebhookPassed},
	engage.VisitEnded: {engage.WebhookVisitEnded, engage.WebhookVisitEnded},
}

// tellPlace tells subscriptions of a transition, if there are any. It is asked before
// the trigger joins another install's visit: an event has the id that the visit has in
// the history.
func (s *step) tellPlace(t *engage.Trigger) error {
	if s.config.hooks == nil || t.Type != engage.TriggerPlace {
		return nil
	}
	types := placeTypes[t.Transition]
	typ := types[0]
	if t.Ring == engage.Near {
		typ = types[1]
	}
	to := s.listeners(typ, t.Place, "")
	if len(to) == 0 {
		return nil
	}
	id := engage.WebhookEventID(s.ws, typ, t.Occasion, t.Fence, strconv.FormatInt(t.OccurredAt.UnixNano(), 10))
	fact := engage.PlaceFact{
		WebhookPerson: s.about(t.Install), Place: *s.webhookPlace(t.Place), GeofenceID: t.Fence, Ring: t.Ring, VisitID: t.Occasion,
		OccurredAt: t.OccurredAt, LoggedAt: s.e.At, InsideS: t.InsideS, Evidence: t.Evidence, Opening: t.Opening, Late: t.Stale, Doubts: t.Flags,
	}
	return s.emitWebhook(engage.WebhookEvent{ID: id, Type: typ, Time: t.OccurredAt, To: to}, fact)
}

// outcomeTypes and receiptTypes are the types of what is said of a message.
var (
	outcomeTypes = map[engage.DeliveryState]engage.WebhookType{
		engage.DeliveryAccepted: engage.WebhookAccepted, engage.DeliveryInboxed: engage.WebhookInboxed,
		engage.DeliveryFailed: engage.WebhookFailed, engage.DeliveryExpired: engage.WebhookExpired,
	}
	receiptTypes = map[string]engage.WebhookType{
		engage.ReceiptDelivered: engage.WebhookDelivered, engage.ReceiptDisplayed: engage.WebhookDisplayed,
		engage.ReceiptOpened: engage.WebhookOpened, engage.ReceiptAction: engage.WebhookActed,
		engage.ReceiptDismissed: engage.WebhookDismissed, engage.ReceiptFailed: engage.WebhookNotShown,
		engage.ReceiptConverted: engage.WebhookConversion,
	}
)

// tellMessage tells subscriptions what became of a message, if there are any. An empty
// type is of nothing that is told.
func (s *step) tellMessage(typ engage.WebhookType, d *engage.Decision, install, action string) error {
	if s.config.hooks == nil || typ == "" {
		return nil
	}
	t := &d.Trigger
	to := s.listeners(typ, t.Place, d.Campaign)
	if len(to) == 0 {
		return nil
	}
	occurred := s.e.Occurred
	if occurred.IsZero() {
		occurred = s.e.At
	}
	fact := engage.MessageFact{
		WebhookPerson: s.about(install), DeliveryID: d.Delivery, CampaignID: d.Campaign, Arm: d.Arm, Channel: d.Channel,
		Reason: d.Reason, Detail: d.Detail, ActionID: action, DecidedAt: d.At, OccurredAt: occurred, LoggedAt: s.e.At,
	}
	if t.Type == engage.TriggerPlace {
		fact.Place, fact.VisitID = s.webhookPlace(t.Place), t.Occasion
	}
	return s.emitWebhook(engage.WebhookEvent{ID: engage.WebhookEventID(s.ws, typ, d.Delivery), Type: typ, Time: occurred, To: to}, fact)
}

// listeners are the subscriptions that hear an event, by id.
func (s *step) listeners(typ engage.WebhookType, placeID, campaign string) []string {
	var to []string
	for _, r := range s.config.hooks[typ] {
		if r.Hears(placeID, s.config.places[placeID], campaign) && !slices.Contains(to, r.ID) {
			to = append(to, r.ID)
		}
	}
	return to
}

func (s *step) about(install string) engage.WebhookPerson {
	out := engage.WebhookPerson{Workspace: s.ws, ProfileID: s.p.ID, InstallID: install}
	for _, id := range s.p.Identifiers {
		if user, ok := strings.CutPrefix(id, "user_id:"); ok {
			out.UserID = user
			break
		}
	}
	return out
}

func (s *step) webhookPlace(id string) *engage.WebhookPlace {
	out := &engage.WebhookPlace{ID: id}
	if p := s.config.places[id]; p != nil {
		out.Name, out.Tags = p.Name, p.Tags
	}
	return out
}

func (s *step) emitWebhook(e engage.WebhookEvent, fact any) error {
	var err error
	if e.Data, err = json.Marshal(fact); err != nil {
		return fmt.Errorf("webhook event: %w", err)
	}
	e.V, e.Subject = 1, "people/"+s.p.ID
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("webhook event: %w", err)
	}
	s.tx.Emit("webhook", engage.Entry{Kind: engage.KindWebhook, Key: s.key, Occurred: s.e.Occurred, Body: body})
	return nil
}
