package api

import (
	"context"
	"net/http"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// VisitFilter chooses visits; an empty field chooses all.
type VisitFilter struct {
	Place   string
	Profile string
	// From and Before bound when a visit began: at From or later, earlier than Before.
	From, Before time.Time
	Open         *bool // only those that go on, or only those that ended
	// Withdrawn: those too of which late evidence showed that there were none.
	Withdrawn bool
}

// Presence is how many installs are at a place, by its open visits.
type Presence struct {
	Inside   int `json:"inside" doc:"Have been inside since they came; one that has stepped out into an approach ring counts until it leaves that"`
	Arriving int `json:"arriving" doc:"Have come into an approach ring only"`
}

// History reads visits and tracks. Every method sees one workspace only. Errors:
// engage.Invalid of "cursor".
type History interface {
	// Visits lists them by their beginning, the newest first.
	Visits(ctx context.Context, workspace string, f VisitFilter, cursor string, limit int) (Page[engage.Visit], error)
	// Present counts the open visits by place, at most so many, and says whether
	// there are more; empty place: of all places. A place without any is left out.
	Present(ctx context.Context, workspace, place string, most int) (_ map[string]Presence, more bool, _ error)
	// Track lists a person's fixes of these installs by their time, the newest
	// first: recorded ones, and those that the installs' states hold.
	Track(ctx context.Context, workspace string, f TrackFilter, cursor string, limit int) (Page[TrackFix], error)
}

func (s *server) registerHistory() {
	register(s, operation{
		method: http.MethodGet, path: "/places/{id}/visits", id: "list-visits-of-place", tag: tagPlaces, role: catalog.Viewer,
		summary: "List visits of a place", description: "The newest first, by when they began. " + visitHelp,
	}, s.listVisitsOfPlace)
	register(s, operation{
		method: http.MethodGet, path: "/places/{id}/presence", id: "get-presence", tag: tagPlaces, role: catalog.Viewer,
		summary: "Count who is at a place now", description: "By its open visits. A phone that says nothing any more counts until its visit is ended for silence.",
	}, s.getPresence)
	register(s, operation{
		method: http.MethodGet, path: "/people/{id}/visits", id: "list-visits-of-person", tag: tagPeople, role: catalog.Viewer,
		summary: "List visits of a person", description: "To all places, the newest first, by when they began. " + visitHelp + " " + personHelp,
	}, s.listVisitsOfPerson)
	register(s, operation{
		method: http.MethodGet, path: "/people/{id}/track", id: "get-track", tag: tagPeople, role: catalog.Viewer,
		summary: "List the positions of a person",
		description: "The newest first. As GeoJSON (format=geojson, or Accept: application/geo+json) each is a Feature with a Point, and before them stands a Feature with the way of each install on this page, in the order of time. " +
			"Nothing is kept for a time without consent to precise location. Of who has withdrawn that consent since, a position is shown as the middle of an area of about 5 km². " + personHelp,
		content: map[string]any{jsonType: list[trackFixView]{}, geojsonType: trackCollection{}},
	}, s.getTrack)
}

const visitHelp = "Late evidence may correct a visit within the reorder window of 15 minutes; its id stays. " +
	"While it is open, last and confirmed_s are as of when something of it last changed."

// visitView is a visit with the place's name.
type visitView struct {
	ID        string `json:"id"`
	Place     string `json:"place"`
	PlaceName string `json:"place_name,omitempty" doc:"Absent: the place was deleted"`
	Profile   string `json:"profile"`
	Install   string `json:"install"`

	Open       bool            `json:"open" doc:"It goes on"`
	Since      time.Time       `json:"since" doc:"First evidence of being near or inside, by the phone's clock, corrected"`
	Until      time.Time       `json:"until,omitzero" doc:"Absent: it goes on"`
	Last       time.Time       `json:"last" doc:"Newest evidence of being there"`
	InsideAt   time.Time       `json:"inside_at,omitzero" doc:"When it was first inside; absent: only ever in an approach ring"`
	DwelledAt  time.Time       `json:"dwelled_at,omitzero" doc:"When a geofence's dwell time was first reached"`
	DurationS  float64         `json:"duration_s" doc:"From since to until; of an open visit to last"`
	ConfirmedS float64         `json:"confirmed_s" doc:"Of it, seconds that evidence without long gaps vouches for"`
	Fences     []string        `json:"fences" nullable:"false" doc:"Geofences that were entered"`
	Evidence   string          `json:"evidence" enum:"fix,os_region,beacon" doc:"Of its beginning"`
	Ended      engage.VisitEnd `json:"ended,omitempty" enum:"exit,silence,beacon_lost,removed,consent,logout,withdrawn" doc:"By what. Withdrawn: late evidence showed that there was no such visit"`
	Stale      bool            `json:"stale,omitempty" doc:"Its beginning reached the server too late to send anything for it"`
	Flags      []string        `json:"flags,omitempty" nullable:"false" doc:"Why its evidence is doubtful: mocked, speed, teleport"`
}

func (s *server) visitViews(who caller) func(engage.Visit) visitView {
	name := s.placeNames(who)
	return func(v engage.Visit) visitView {
		fences := v.Fences
		if fences == nil {
			fences = []string{}
		}
		return visitView{
			ID: v.ID, Place: v.Place, PlaceName: name(v.Place), Profile: v.Profile, Install: v.Install,
			Open: v.Open() && v.Ended == "", Since: v.Since, Until: v.Until, Last: v.Last, InsideAt: v.InsideAt, DwelledAt: v.DwelledAt,
			DurationS: v.Duration().Seconds(), ConfirmedS: v.ConfirmedS, Fences: fences, Evidence: v.Evidence,
			Ended: v.Ended, Stale: v.Stale, Flags: v.Flags,
		}
	}
}

// Between is the part of an input that bounds times. It is exported because Huma
// sees no others.
type Between struct {
	From time.Time `query:"from" doc:"At this time or later (RFC 3339); absent: as long as it is kept"`
	To   time.Time `query:"to" doc:"Before this time (RFC 3339); absent: until now"`
}

// check refuses a span of time that is none, or that nothing can be in.
func (b Between) check() error {
	for _, x := range []struct {
		field string
		at    time.Time
	}{{"from", b.From}, {"to", b.To}} {
		if !x.at.IsZero() && (x.at.UTC().Year() < 1970 || x.at.UTC().Year() > 9999) {
			return engage.Errorf(engage.Invalid, x.field, "must be in the years 1970 to 9999")
		}
	}
	if !b.From.IsZero() && !b.To.IsZero() && !b.From.Before(b.To) {
		return engage.Errorf(engage.Invalid, "to", "must be after from")
	}
	return nil
}

// ChoosingVisits is the part of an input that chooses visits.
type ChoosingVisits struct {
	Between
	Open      string `query:"open" enum:"true,false" doc:"Only visits that go on, or only those that ended; absent: both"`
	Withdrawn bool   `query:"withdrawn" doc:"Also visits of which late evidence showed that there were none"`
	Paging
}

func (in ChoosingVisits) filter() (VisitFilter, error) {
	f := VisitFilter{From: in.From, Before: in.To, Withdrawn: in.Withdrawn}
	if in.Open != "" {
		open := in.Open == "true"
		f.Open = &open
	}
	return f, in.check()
}

type placeVisitsInput struct {
	ID string `path:"id" maxLength:"100"`
	ChoosingVisits
}

func (s *server) listVisitsOfPlace(ctx context.Context, who caller, in *placeVisitsInput) (*answered[list[visitView]], error) {
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	f.Place = in.ID
	page, err := s.o.Positions.Visits(ctx, who.workspace, f, in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	// A place that was deleted keeps its history.
	if len(page.Items) == 0 && s.o.Catalog.Now().Place(who.workspace, in.ID) == nil {
		return nil, engage.Errorf(engage.NotFound, "id", "there is no place %q", clip(in.ID))
	}
	return listOf(page, s.visitViews(who)), nil
}

type presenceView struct {
	Place string    `json:"place"`
	At    time.Time `json:"at"`
	Presence
	More bool `json:"more,omitempty" doc:"There are more than were counted"`
}

// presentVisits is how many open visits of one place are counted at most.
const presentVisits = 20_000

func (s *server) getPresence(ctx context.Context, who caller, in *byID) (*answered[*presenceView], error) {
	if s.o.Catalog.Now().Place(who.workspace, in.ID) == nil {
		return nil, engage.Errorf(engage.NotFound, "id", "there is no place %q", clip(in.ID))
	}
	present, more, err := s.o.Positions.Present(ctx, who.workspace, in.ID, presentVisits)
	if err != nil {
		return nil, err
	}
	return &answered[*presenceView]{&presenceView{Place: in.ID, At: s.o.Clock.Now(), Presence: present[in.ID], More: more}}, nil
}

type personVisitsInput struct {
	ID    string `path:"id" maxLength:"600" doc:"Profile id, user_id:… or install:…"`
	Place string `query:"place" maxLength:"100" doc:"Only visits of this place"`
	ChoosingVisits
}

func (s *server) listVisitsOfPerson(ctx context.Context, who caller, in *personVisitsInput) (*answered[list[visitView]], error) {
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	p, err := s.person(ctx, who, in.ID)
	if err != nil {
		return nil, err
	}
	f.Profile, f.Place = p.ID, in.Place
	page, err := s.o.Positions.Visits(ctx, who.workspace, f, in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	return listOf(page, s.visitViews(who)), nil
}
