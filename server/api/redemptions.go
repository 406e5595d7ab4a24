package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/redeem"
)

// Redemptions takes codes at tills (*redeem.Service).
type Redemptions interface {
	Redeem(ctx context.Context, a *redeem.Ask) (r *engage.Redemption, again bool, err error)
	Check(ctx context.Context, a *redeem.Ask) (*engage.Redemption, error)
	Void(ctx context.Context, workspace, id, by, reason string) (*engage.Redemption, error)
	Redemption(ctx context.Context, workspace, id string) (*engage.Redemption, error)
	List(ctx context.Context, workspace string, f redeem.Filter, cursor string, limit int) (all []*engage.Redemption, next string, err error)
}

const tillCodes = "Why a code is refused is in the problem's code, with words for the cashier in reason: unknown_code (404); already_redeemed, with when and where, " +
	"expired, paused, not_yet_valid, wrong_place, limit_reached and given_back (409)."

func (s *server) registerRedemptions() {
	refused := []int{http.StatusNotFound, http.StatusConflict}
	register(s, operation{
		method: http.MethodPost, path: "/redemptions", id: "redeem", tag: tagOffers, role: catalog.Till, not: catalog.Viewer, status: http.StatusCreated,
		summary: "Redeem a code at a till",
		description: "Once per unique code; a shared code once per message, and as often as the offer's per_person and total allow. " +
			"The till gives each redemption an id of its own, in the document or as Idempotency-Key: asked the same again under this id it is answered the same, with 200, and asked for another code, place, order, value, worth, message or person it is refused, with 409. " + tillCodes,
		body: tillRedeemDoc{}, errors: refused,
	}, s.redeem)
	register(s, operation{
		method: http.MethodPost, path: "/redemptions/check", id: "check-code", tag: tagOffers, role: catalog.Till, status: http.StatusOK,
		summary:     "Look whether a code would be redeemed now",
		description: "It changes nothing: by the time that it is redeemed somebody else may have been faster.",
		body:        tillCheckDoc{},
	}, s.checkCode)
	register(s, operation{
		method: http.MethodPost, path: "/redemptions/{id}/void", id: "void-redemption", tag: tagOffers, role: catalog.Till, not: catalog.Viewer, status: http.StatusOK,
		summary:     "Take a redemption back",
		description: "The code is good again, and the redemption counts no more. One that was voided before is answered as it is.",
		body:        tillVoidDoc{}, errors: []int{http.StatusConflict},
	}, s.voidRedemption)
	register(s, operation{
		method: http.MethodGet, path: "/redemptions/{id}", id: "get-redemption", tag: tagOffers, role: catalog.Viewer,
		summary: "Get a redemption",
	}, s.getRedemption)
	register(s, operation{
		method: http.MethodGet, path: "/redemptions", id: "list-redemptions", tag: tagOffers, role: catalog.Viewer,
		summary: "List redemptions", description: "The newest first, as long as they are kept (history.offers_days).",
	}, s.listRedemptions)
}

type tillRedeemDoc struct {
	ID       string  `json:"id,omitempty" maxLength:"200" doc:"Yours, of this redemption: required, unless it is in the header Idempotency-Key. Ids are unique in a workspace, so the shop and the till belong into them: shop-4/till-2/receipt-1042/line-1"`
	Code     string  `json:"code" minLength:"3" maxLength:"64" doc:"As the customer shows it; case does not matter"`
	Delivery string  `json:"delivery,omitempty" doc:"Of a shared code: the message that brought it. Unique codes say so themselves"`
	Person   string  `json:"person,omitempty" doc:"Of a shared code: who redeems it, by identifier (loyalty:…, user_id:…, email:…), known or not, or by the id of a known profile; required, or delivery, where the offer has a limit per person"`
	Place    string  `json:"place,omitempty" doc:"Id of the place of the till; required where the offer is redeemed at some places only"`
	Order    string  `json:"order,omitempty" maxLength:"200" doc:"Your id of the purchase"`
	Value    float64 `json:"value,omitempty" minimum:"0" doc:"What the customer pays for it, in the currency"`
	Worth    float64 `json:"worth,omitempty" minimum:"0" doc:"What the offer takes off or gives; absent: what the offer says. More than that is refused"`
	Currency string  `json:"currency,omitempty" doc:"ISO 4217; absent: the offer's" example:"EUR"`
}

type tillCheckDoc struct {
	Code     string  `json:"code" minLength:"3" maxLength:"64" doc:"As the customer shows it; case does not matter"`
	Delivery string  `json:"delivery,omitempty" doc:"Of a shared code: the message that brought it. Unique codes say so themselves"`
	Person   string  `json:"person,omitempty" doc:"Of a shared code: who redeems it, by identifier (loyalty:…, user_id:…, email:…), known or not, or by the id of a known profile; required, or delivery, where the offer has a limit per person"`
	Place    string  `json:"place,omitempty" doc:"Id of the place of the till; required where the offer is redeemed at some places only"`
	Order    string  `json:"order,omitempty" maxLength:"200" doc:"Your id of the purchase"`
	Value    float64 `json:"value,omitempty" minimum:"0" doc:"What the customer pays for it, in the currency"`
	Worth    float64 `json:"worth,omitempty" minimum:"0" doc:"What the offer takes off or gives; absent: what the offer says. More than that is refused"`
	Currency string  `json:"currency,omitempty" doc:"ISO 4217; absent: the offer's" example:"EUR"`
}

type redeemBody struct {
	ID       string  `json:"id"`
	Code     string  `json:"code"`
	Delivery string  `json:"delivery"`
	Person   string  `json:"person"`
	Place    string  `json:"place"`
	Order    string  `json:"order"`
	Value    float64 `json:"value"`
	Worth    float64 `json:"worth"`
	Currency string  `json:"currency"`
}

// maxRef bounds a till's id of a redemption, and of an order, in bytes.
const maxRef = 200

// ask is what a till wants.
func (s *server) ask(ctx context.Context, who caller, b *redeemBody) (*redeem.Ask, error) {
	a := &redeem.Ask{
		Workspace: who.workspace, Ref: b.ID, By: who.key.ID, Code: b.Code, Delivery: b.Delivery, Order: b.Order,
		Value: b.Value, Worth: b.Worth, Currency: b.Currency,
	}
	switch {
	case len(b.Order) > maxRef:
		return nil, engage.Errorf(engage.TooLarge, "order", "at most %d bytes, has %d", maxRef, len(b.Order))
	case b.Delivery != "" && !engage.ValidID(b.Delivery):
		return nil, engage.Errorf(engage.Invalid, "delivery", "is no id of a message")
	}
	if b.Place != "" {
		if a.Place = s.o.Catalog.Now().Place(who.workspace, b.Place); a.Place == nil {
			return nil, engage.Errorf(engage.Invalid, "place", "there is no place %q", clip(b.Place))
		}
	}
	if b.Person != "" {
		var err error
		if a.Profile, err = s.customer(ctx, who, b.Person); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// customer is the profile of whom a till names: by an identifier, whether or not somebody
// is known by it, or by the id of a profile that is known. Anything else would be somebody
// new each time, for whom no limit holds; an install is nothing that a till knows.
func (s *server) customer(ctx context.Context, who caller, person string) (string, error) {
	nobody := engage.Errorf(engage.Invalid, "person", "must be user_id:…, email:…, loyalty:… or anonymous_id:… with its value, or the id of a profile that is known, is %q", clip(person))
	kind, value, named := strings.Cut(person, ":")
	if !named {
		if !engage.ValidID(person) {
			return "", nobody
		}
		if _, err := s.o.People.Profile(ctx, who.workspace, person); engage.CodeOf(err) == engage.NotFound {
			return "", nobody
		} else if err != nil {
			return "", err
		}
		return person, nil
	}
	name, err := engage.Identifier(kind, value)
	if err != nil {
		return "", nobody
	}
	id, err := s.o.People.ProfileOf(ctx, who.workspace, name)
	if engage.CodeOf(err) == engage.NotFound {
		return engage.PersonID(who.workspace, name), nil
	}
	return id, err
}

// tillView is what a till sees of a redemption: nothing of the person.
type tillView struct {
	ID       string                 `json:"id" doc:"Ours; to void it"`
	Ref      string                 `json:"ref" doc:"Yours"`
	State    engage.RedemptionState `json:"state" enum:"redeemed,voided"`
	Code     string                 `json:"code"`
	At       time.Time              `json:"at"`
	Place    string                 `json:"place,omitempty"`
	Order    string                 `json:"order,omitempty"`
	Value    float64                `json:"value,omitempty"`
	Worth    float64                `json:"worth,omitempty" doc:"What it takes off or gives"`
	Currency string                 `json:"currency,omitempty"`
	VoidedAt time.Time              `json:"voided_at,omitzero"`
	Offer    *tillOffer             `json:"offer,omitempty" doc:"What the customer gets. Absent: the offer is no more"`
	Again    bool                   `json:"again,omitempty" doc:"It had been redeemed under this id before: this is the same answer"`
}

type tillOffer struct {
	ID       string           `json:"id"`
	Name     string           `json:"name"`
	Kind     engage.OfferKind `json:"kind" enum:"percent,amount,gift,free_shipping"`
	Value    float64          `json:"value,omitempty"`
	Currency string           `json:"currency,omitempty"`
	Terms    string           `json:"terms,omitempty"`
}

func viewOffer(o *engage.Offer) *tillOffer {
	if o == nil {
		return nil
	}
	return &tillOffer{o.ID, o.Name, o.Kind, o.Value, o.Currency, o.Terms}
}

func (s *server) viewTill(who caller, r *engage.Redemption, again bool) tillView {
	return tillView{
		ID: r.ID, Ref: r.Ref, State: r.State, Code: r.Code, At: r.At, Place: r.Place, Order: r.Order, Value: r.Value, Worth: r.Worth,
		Currency: r.Currency, VoidedAt: r.VoidedAt, Offer: viewOffer(s.o.Catalog.Now().Offer(who.workspace, r.Offer)), Again: again,
	}
}

type redeemInput struct {
	Key string `header:"Idempotency-Key" maxLength:"200" doc:"The till's id of this redemption, unique in the workspace, unless the document has it"`
	Raw
}

type redeemAnswer struct {
	Status int
	Body   tillView
}

func (s *server) redeem(ctx context.Context, who caller, in *redeemInput) (*redeemAnswer, error) {
	var b redeemBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	switch {
	case b.ID != "" && in.Key != "" && b.ID != in.Key:
		return nil, engage.Errorf(engage.Invalid, "id", "differs from the header Idempotency-Key")
	case b.ID == "" && in.Key == "":
		return nil, engage.Errorf(engage.Invalid, "id", "is required, or the header Idempotency-Key: your id of this redemption, so that it is made once")
	case len(b.ID) > maxRef:
		return nil, engage.Errorf(engage.TooLarge, "id", "at most %d bytes, has %d", maxRef, len(b.ID))
	}
	b.ID = cmp.Or(b.ID, in.Key)
	a, err := s.ask(ctx, who, &b)
	if err != nil {
		return nil, err
	}
	r, again, err := s.o.Redemptions.Redeem(ctx, a)
	if err != nil {
		return nil, err
	}
	status := http.StatusCreated
	if again {
		status = http.StatusOK
	}
	return &redeemAnswer{status, s.viewTill(who, r, again)}, nil
}

type codeStateView struct {
	State    string          `json:"state" enum:"redeemable,unknown_code,already_redeemed,expired,paused,not_yet_valid,wrong_place,limit_reached,given_back"`
	Words    string          `json:"words" doc:"For the cashier"`
	Worth    float64         `json:"worth,omitempty" doc:"What it would take off or give"`
	Currency string          `json:"currency,omitempty"`
	Offer    *tillOffer      `json:"offer,omitempty"`
	Redeemed *redeemedBefore `json:"redeemed,omitempty" doc:"Of already_redeemed"`
}

func (s *server) checkCode(ctx context.Context, who caller, in *Raw) (*answered[codeStateView], error) {
	var b redeemBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	a, err := s.ask(ctx, who, &b)
	if err != nil {
		return nil, err
	}
	r, err := s.o.Redemptions.Check(ctx, a)
	if no, refused := errors.AsType[*redeem.Refused](err); refused {
		v := codeStateView{State: string(no.Err.Code), Words: no.Err.Msg, Offer: viewOffer(no.Offer)}
		if !no.At.IsZero() {
			v.Redeemed = &redeemedBefore{no.At, no.Place}
		}
		return &answered[codeStateView]{v}, nil
	}
	if err != nil {
		return nil, err
	}
	return &answered[codeStateView]{codeStateView{
		State: "redeemable", Words: "the code can be redeemed", Worth: r.Worth, Currency: r.Currency,
		Offer: viewOffer(s.o.Catalog.Now().Offer(who.workspace, r.Offer)),
	}}, nil
}

type tillVoidDoc struct {
	Reason string `json:"reason,omitempty" maxLength:"200" doc:"For people; no name in it"`
}

type voidInput struct {
	ID string `path:"id" maxLength:"100" doc:"Of the redemption"`
	Raw
}

func (s *server) voidRedemption(ctx context.Context, who caller, in *voidInput) (*answered[tillView], error) {
	var b tillVoidDoc
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	if len(b.Reason) > maxRef {
		return nil, engage.Errorf(engage.TooLarge, "reason", "at most %d bytes, has %d", maxRef, len(b.Reason))
	}
	r, err := s.o.Redemptions.Void(ctx, who.workspace, in.ID, who.key.ID, b.Reason)
	if err != nil {
		return nil, err
	}
	return &answered[tillView]{s.viewTill(who, r, false)}, nil
}

func (s *server) getRedemption(ctx context.Context, who caller, in *byID) (*answered[*engage.Redemption], error) {
	r, err := s.o.Redemptions.Redemption(ctx, who.workspace, in.ID)
	if err != nil {
		return nil, err
	}
	return &answered[*engage.Redemption]{r}, s.seenIn(ctx, who, []*engage.Redemption{r})
}

// seenIn notes that the caller sees the persons of redemptions.
func (s *server) seenIn(ctx context.Context, who caller, all []*engage.Redemption) error {
	var ids []string
	had := map[string]bool{}
	for _, r := range all {
		if r.Profile != "" && !had[r.Profile] {
			had[r.Profile] = true
			ids = append(ids, r.Profile)
		}
	}
	return s.seen(ctx, who, ids...)
}

type listRedemptionsInput struct {
	Paging
	Offer    string `query:"offer" maxLength:"100" doc:"Only of this offer"`
	Campaign string `query:"campaign" maxLength:"100" doc:"Only of messages of this campaign"`
	Person   string `query:"person" maxLength:"600" doc:"Only of this person: profile id, user_id:… or install:…"`
	Place    string `query:"place" maxLength:"100" doc:"Only at this place"`
	Code     string `query:"code" maxLength:"64" doc:"Only of this code"`
	State    string `query:"state" enum:"redeemed,voided"`
	Between
}

func (s *server) listRedemptions(ctx context.Context, who caller, in *listRedemptionsInput) (*answered[list[*engage.Redemption]], error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	f := redeem.Filter{
		Offer: in.Offer, Campaign: in.Campaign, Place: in.Place, Code: in.Code, State: engage.RedemptionState(in.State), From: in.From, Before: in.To,
	}
	if in.Person != "" {
		p, err := s.person(ctx, who, in.Person)
		if err != nil {
			return nil, err
		}
		f.Profiles = append([]string{p.ID}, p.Absorbed...)
	}
	all, next, err := s.o.Redemptions.List(ctx, who.workspace, f, in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	if err := s.seenIn(ctx, who, all); err != nil {
		return nil, err
	}
	page := Page[*engage.Redemption]{Items: all, Next: next}
	return listOf(page, func(r *engage.Redemption) *engage.Redemption { return r }), nil
}
