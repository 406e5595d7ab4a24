package api

import (
	"context"
	"net/http"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// maxCodes of one request.
const maxCodes = 5000

// OfferCounts are how many messages carry an offer.
type OfferCounts struct {
	Reserved int64 `json:"reserved"` // of an offer without stock and pool nobody counts: 0
	Leased   int64 `json:"leased"`   // of what is left, what partitions have
	// Issued are messages that were to bring it, GivenBack those of them that ended
	// undelivered; both since this is counted.
	Issued    int64 `json:"issued"`
	GivenBack int64 `json:"given_back"`
	Redeemed  int64 `json:"redeemed"` // that stand
	Voided    int64 `json:"voided"`
	// RedeemedValue is what was paid with those that stand, RedeemedWorth what they took
	// off, by currency.
	RedeemedValue map[string]float64 `json:"redeemed_value,omitempty"`
	RedeemedWorth map[string]float64 `json:"redeemed_worth,omitempty"`
}

// Offers keeps the unique codes of offers, and knows how many are given out.
type Offers interface {
	// AddCodes appends up to 500 codes to the pool of an offer, durably, and says of each
	// why it was refused; nil: it was taken.
	AddCodes(ctx context.Context, workspace, offer string, codes []string) ([]error, error)
	// Size is how many codes there are in the pool.
	Size(ctx context.Context, workspace, offer string) (int64, error)
	Counts(ctx context.Context, workspace, offer string) (OfferCounts, error)
}

func (s *server) registerOffers() {
	register(s, operation{
		method: http.MethodGet, path: "/offers", id: "list-offers", tag: tagOffers, role: catalog.Viewer,
		summary: "List offers", description: "In order of id.",
	}, s.listOffers)
	register(s, operation{
		method: http.MethodGet, path: "/offers/{id}", id: "get-offer", tag: tagOffers, role: catalog.Viewer,
		summary: "Get an offer, and how much of it is given out",
	}, s.getOffer)
	changes := []int{http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired}
	register(s, operation{
		method: http.MethodPut, path: "/offers/{id}", id: "put-offer", tag: tagOffers, role: catalog.Marketer,
		summary: "Create or change an offer",
		description: "A campaign brings it by the field offer; its texts have offer.code, offer.name, offer.value and the others. " +
			"Its stock, or its pool of codes, is leased in portions to the parts of the server: never more is given out than there is. " +
			"Stock that is lowered below what is given out takes nothing back.",
		body: offerDoc{}, errors: changes,
	}, s.putOffer)
	register(s, operation{
		method: http.MethodDelete, path: "/offers/{id}", id: "delete-offer", tag: tagOffers, role: catalog.Marketer,
		summary: "Delete an offer", description: "One that no campaign names and that has no unique codes. Others are ended, by their status.",
		errors: []int{http.StatusConflict, http.StatusPreconditionFailed},
	}, s.deleteOffer)
	register(s, operation{
		method: http.MethodPost, path: "/offers/{id}/codes", id: "add-offer-codes", tag: tagOffers, role: catalog.Marketer,
		summary: "Add unique codes to an offer",
		description: "At most 5000 a request, and 1,000,000 in all. A code stands once in a workspace, whatever its case: " +
			"one that is there already, or has other signs than letters, digits, '-', '_' and '.', is refused and told, and stops no other. So a request can be repeated.",
		body: codesBody{}, maxBody: 1 << 20, errors: []int{http.StatusConflict},
	}, s.addOfferCodes)
}

// offerDoc documents engage.Offer.
type offerDoc struct {
	ID        string     `json:"id" required:"false" doc:"As in the path; 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'"`
	Workspace string     `json:"workspace" readOnly:"true" required:"false"`
	Version   int64      `json:"version" required:"false" doc:"Grows by one with each change. In a change: the version that it was made from"`
	Name      string     `json:"name" minLength:"1" maxLength:"200"`
	Status    string     `json:"status" enum:"active,paused,ended"`
	Kind      string     `json:"kind" enum:"percent,amount,gift,free_shipping"`
	Value     float64    `json:"value,omitempty" doc:"Off: per cent, or an amount in the currency"`
	Currency  string     `json:"currency,omitempty" doc:"ISO 4217, of an amount and of worth" example:"EUR"`
	Terms     string     `json:"terms,omitempty" maxLength:"4000" doc:"For people to read"`
	Codes     string     `json:"codes" enum:"shared,unique" doc:"shared: everybody has the same code; unique: each message carries one of its own, of those that were uploaded. It does not change"`
	Code      string     `json:"code,omitempty" maxLength:"64" doc:"Of shared codes; no other offer has it, in whatever case"`
	Pool      int64      `json:"pool,omitempty" readOnly:"true" doc:"How many unique codes were uploaded"`
	From      *time.Time `json:"from,omitempty" doc:"It is given from then on"`
	Until     *time.Time `json:"until,omitempty" doc:"And until then; templates have it as offer.expires_at"`
	Places    []string   `json:"places,omitempty" maxItems:"1000" doc:"With tags: it is good at these places, and a moment at another gives none"`
	Tags      []string   `json:"tags,omitempty" maxItems:"100" doc:"At places with one of these"`
	Stock     int64      `json:"stock,omitempty" minimum:"0" doc:"How many messages carry it at most, over all persons and campaigns; absent: as many as there are"`
	PerPerson int        `json:"per_person,omitempty" minimum:"0" doc:"How many messages bring it to one person at most, and how often one person redeems a shared code; absent: no limit"`
	Total     int64      `json:"total,omitempty" minimum:"0" doc:"How often it is redeemed at most, over all persons, voided ones not counted; once it was, no message brings it. Absent: no limit"`
	Worth     float64    `json:"worth,omitempty" minimum:"0" doc:"What one redemption takes off or gives at most, in the currency: what counts where a till says nothing. Of an amount off it is the value; absent: not known"`
	UpdatedAt time.Time  `json:"updated_at" readOnly:"true" required:"false"`
	Reserved  int64      `json:"reserved,omitempty" readOnly:"true" doc:"Of one offer: messages that carry it, those not counted that ended undelivered. Of an offer without stock and pool nobody counts"`
	Leased    int64      `json:"leased,omitempty" readOnly:"true" doc:"Of one offer: of what is left, what parts of the server have on lease; it goes back by itself where it is not used"`
	Issued    int64      `json:"issued,omitempty" readOnly:"true" doc:"Of one offer: messages that were to bring it"`
	GivenBack int64      `json:"given_back,omitempty" readOnly:"true" doc:"Of one offer: of these, those that ended undelivered"`
	Redeemed  int64      `json:"redeemed,omitempty" readOnly:"true" doc:"Of one offer: redemptions that stand"`
	Voided    int64      `json:"voided,omitempty" readOnly:"true" doc:"Of one offer: redemptions that were taken back"`

	RedeemedValue map[string]float64 `json:"redeemed_value,omitempty" readOnly:"true" doc:"Of one offer: what was paid with those that stand, by currency"`
	RedeemedWorth map[string]float64 `json:"redeemed_worth,omitempty" readOnly:"true" doc:"Of one offer: what these took off or gave, by currency"`
}

// offerBody is an offer as it comes in: what the server sets is not looked at.
type offerBody struct {
	ID        string             `json:"id"`
	Workspace string             `json:"workspace"`
	Version   int64              `json:"version"`
	Name      string             `json:"name"`
	Status    engage.OfferStatus `json:"status"`
	Kind      engage.OfferKind   `json:"kind"`
	Value     float64            `json:"value"`
	Currency  string             `json:"currency"`
	Terms     string             `json:"terms"`
	Codes     engage.OfferCodes  `json:"codes"`
	Code      string             `json:"code"`
	Pool      int64              `json:"pool"`
	From      *time.Time         `json:"from"`
	Until     *time.Time         `json:"until"`
	Places    []string           `json:"places"`
	Tags      []string           `json:"tags"`
	Stock     int64              `json:"stock"`
	PerPerson int                `json:"per_person"`
	Total     int64              `json:"total"`
	Worth     float64            `json:"worth"`
	UpdatedAt time.Time          `json:"updated_at"`
	Reserved  int64              `json:"reserved"`
	Leased    int64              `json:"leased"`
	Issued    int64              `json:"issued"`
	GivenBack int64              `json:"given_back"`
	Redeemed  int64              `json:"redeemed"`
	Voided    int64              `json:"voided"`

	RedeemedValue map[string]float64 `json:"redeemed_value"`
	RedeemedWorth map[string]float64 `json:"redeemed_worth"`
}

type offerView struct {
	*engage.Offer
	OfferCounts
}

func (s *server) offer(who caller, id string) (*engage.Offer, error) {
	if o := s.o.Catalog.Now().Offer(who.workspace, id); o != nil {
		return o, nil
	}
	return nil, engage.Errorf(engage.NotFound, "id", "there is no offer %q", clip(id))
}

func (s *server) listOffers(_ context.Context, who caller, in *struct{ Paging }) (*answered[list[*engage.Offer]], error) {
	page := pageByID(s.o.Catalog.Now().Offers(who.workspace), func(o *engage.Offer) string { return o.ID }, in.Paging)
	return listOf(page, func(o *engage.Offer) *engage.Offer { return o }), nil
}

func (s *server) getOffer(ctx context.Context, who caller, in *byID) (*versioned[offerView], error) {
	o, err := s.offer(who, in.ID)
	if err != nil {
		return nil, err
	}
	counts, err := s.o.Offers.Counts(ctx, who.workspace, o.ID)
	if err != nil {
		return nil, err
	}
	return versionedOf(offerView{o, counts}, o.Version, o.Version), nil
}

func (s *server) putOffer(ctx context.Context, who caller, in *putInput) (*versioned[*engage.Offer], error) {
	var b offerBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	if err := sameID(who, in.ID, b.ID, b.Workspace); err != nil {
		return nil, err
	}
	o := &engage.Offer{
		ID: in.ID, Workspace: who.workspace, Name: b.Name, Status: b.Status, Kind: b.Kind, Value: b.Value, Currency: b.Currency, Terms: b.Terms,
		Codes: b.Codes, Code: b.Code, From: b.From, Until: b.Until, Places: b.Places, Tags: b.Tags, Stock: b.Stock, PerPerson: b.PerPerson,
		Total: b.Total, Worth: b.Worth,
	}
	var have int64
	if old := s.o.Catalog.Now().Offer(who.workspace, in.ID); old != nil {
		have = old.Version
	}
	expected, err := in.expected(have, b.Version)
	if err != nil {
		return nil, err
	}
	if o.Codes == engage.UniqueCodes {
		if o.Pool, err = s.o.Offers.Size(ctx, who.workspace, o.ID); err != nil {
			return nil, err
		}
	}
	if err := s.o.Catalog.PutOffer(ctx, who.key.ID, o, expected); err != nil {
		return nil, err
	}
	return versionedOf(o, o.Version, expected), nil
}

func (s *server) deleteOffer(ctx context.Context, who caller, in *deleteInput) (*struct{}, error) {
	expected, err := in.expected()
	if err != nil {
		return nil, err
	}
	if _, err := s.offer(who, in.ID); err != nil {
		return nil, err
	}
	// Codes that were uploaded and are not in the offer yet would be nobody's.
	n, err := s.o.Offers.Size(ctx, who.workspace, in.ID)
	if err != nil {
		return nil, err
	}
	if n > 0 {
		return nil, engage.Errorf(engage.Conflict, "id", "it has codes: end the offer instead")
	}
	return nil, s.o.Catalog.DeleteOffer(ctx, who.key.ID, who.workspace, in.ID, expected)
}

type codesBody struct {
	Codes []string `json:"codes" minItems:"1" maxItems:"5000" nullable:"false" doc:"3 to 64 of letters, digits, '-', '_', '.'"`
	More  bool     `json:"more,omitempty" doc:"More follow at once: these are given out from the first request without it on"`
}

type refusedCode struct {
	Index  int         `json:"index" doc:"In codes, from 0"`
	Code   engage.Code `json:"code" enum:"invalid,conflict,too_large" doc:"conflict: it is there already"`
	Reason string      `json:"reason"`
}

type codesReport struct {
	Taken   int           `json:"taken"`
	Refused []refusedCode `json:"refused" nullable:"false"`
	Pool    int64         `json:"pool" doc:"How many the offer has by now"`
}

func (s *server) addOfferCodes(ctx context.Context, who caller, in *struct {
	ID string `path:"id" maxLength:"100"`
	Raw
},
) (*answered[codesReport], error) {
	var b codesBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	if len(b.Codes) == 0 || len(b.Codes) > maxCodes {
		return nil, engage.Errorf(engage.Invalid, "codes", "must be 1 to %d, are %d", maxCodes, len(b.Codes))
	}
	o, err := s.offer(who, in.ID)
	if err != nil {
		return nil, err
	}
	if o.Codes != engage.UniqueCodes {
		return nil, engage.Errorf(engage.Conflict, "codes", "the offer has one code for all")
	}
	report := codesReport{Refused: []refusedCode{}}
	const portion = 500
	for from := 0; from < len(b.Codes); from += portion {
		refused, err := s.o.Offers.AddCodes(ctx, who.workspace, o.ID, b.Codes[from:min(from+portion, len(b.Codes))])
		if err != nil {
			return nil, err
		}
		for i, err := range refused {
			if err == nil {
				report.Taken++
				continue
			}
			p := problemOf(err)
			report.Refused = append(report.Refused, refusedCode{Index: from + i, Code: p.Code, Reason: p.Reason})
		}
	}
	if report.Pool, err = s.o.Offers.Size(ctx, who.workspace, o.ID); err != nil || b.More {
		return &answered[codesReport]{report}, err
	}
	return &answered[codesReport]{report}, s.pooled(ctx, who, o.ID)
}

// pooled has an offer give out all the codes that were uploaded.
func (s *server) pooled(ctx context.Context, who caller, id string) error {
	for try := 1; ; try++ {
		old, err := s.offer(who, id)
		if err != nil {
			return err
		}
		n, err := s.o.Offers.Size(ctx, who.workspace, id)
		if err != nil || n == old.Pool {
			return err
		}
		o := *old
		o.Pool = n
		err = s.o.Catalog.PutOffer(ctx, who.key.ID, &o, old.Version)
		if engage.CodeOf(err) != engage.Conflict || try == keyTries {
			return err
		}
	}
}
