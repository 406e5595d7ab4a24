package api

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/profile"
	"github.com/footfall-engage/footfall/server/rules"
)

// Limits of who is near.
const (
	maxNearM       = 100_000 // radius
	maxNear        = 1000    // devices of an answer
	maxMatched     = 2000    // devices whose persons are read for one answer with a match
	maxUnreadable  = 20      // persons named in an answer that could not be judged
	maxHeatCells   = 10_000
	metresDecimals = 10 // a tenth of a metre is enough of a distance
)

func (s *server) registerNearby() {
	const help = "Devices whose newest fix is young (live_within_s) and whose person agrees to precise location, the nearest first; who has two phones stands there twice. " +
		"The distance is to the fix, whose true position is within accuracy_m of it two times in three. " +
		"There are no pages, since everybody moves: truncated says that there may be more within the radius, so ask for a smaller one. " +
		"With match, at most 2000 devices are looked at, from the nearest on."
	register(s, operation{
		method: http.MethodGet, path: "/nearby", id: "list-nearby", tag: tagPeople, role: catalog.Viewer,
		summary: "List who is near a point now", description: help,
	}, s.listNearby)
	register(s, operation{
		method: http.MethodGet, path: "/places/{id}/nearby", id: "list-nearby-place", tag: tagPlaces, role: catalog.Viewer,
		summary: "List who is near a place now", description: "Measured to the place's location. " + help,
	}, s.listNearbyPlace)
	register(s, operation{
		method: http.MethodGet, path: "/heat", id: "get-heat", tag: tagResults, role: catalog.Viewer,
		summary: "Count who is where now, in H3 cells",
		description: "Live devices by cell, for a heat map. Nothing is shown, at any resolution, that counts fewer than least devices, neither as a cell nor as the difference of cells: " +
			"the children of a cell that are not shown hold together none or at least least, and a cell is shown only if its parent is. A coarser cell counts also who is withheld in finer ones. " +
			"All answers within 15 s are of one moment (at). As GeoJSON (format=geojson, or Accept: application/geo+json) each cell is a Feature.",
		content: map[string]any{jsonType: heatView{}, geojsonType: heatFeatures{}},
	}, s.getHeat)
}

// Near is the part of a question that says how far and whom; exported because
// Huma sees no other.
type Near struct {
	RadiusM float64 `query:"radius_m" minimum:"1" maximum:"100000" default:"500" doc:"Metres"`
	Limit   int     `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Devices at most"`
	Match   string  `query:"match" maxLength:"4000" doc:"An audience: a rule over the person, as a campaign has it, in JSON; see GET /api/v1/fields. Empty: everybody" example:"{\"field\":\"likes\",\"op\":\"contains\",\"value\":\"fashion\"}"`
}

type nearPointInput struct {
	Lat float64 `query:"lat" required:"true" minimum:"-90" maximum:"90" doc:"Degrees"`
	Lng float64 `query:"lng" required:"true" minimum:"-180" maximum:"180" doc:"Degrees"`
	Near
}

type nearPlaceInput struct {
	ID string `path:"id" maxLength:"100"`
	Near
}

type nearbyView struct {
	At          time.Time   `json:"at"`
	Lat         float64     `json:"lat" doc:"Of the point that distances are measured to"`
	Lng         float64     `json:"lng"`
	RadiusM     float64     `json:"radius_m"`
	LiveWithinS int         `json:"live_within_s" doc:"How old a fix may be, in seconds"`
	Items       []nearView  `json:"items" nullable:"false" doc:"The nearest first"`
	Truncated   bool        `json:"truncated" doc:"There may be more within the radius than these"`
	Match       *matchedDoc `json:"match,omitempty" doc:"Absent: no rule was given"`
}

type nearView struct {
	Profile   string    `json:"profile"`
	Install   string    `json:"install"`
	Platform  string    `json:"platform,omitempty" doc:"android, ios or web; absent: not known"`
	Lifecycle string    `json:"lifecycle,omitempty" doc:"foreground or background; absent: not known"`
	DistanceM float64   `json:"distance_m"`
	AccuracyM float64   `json:"accuracy_m,omitempty" doc:"68 % radius; absent: the phone did not say"`
	At        time.Time `json:"at" doc:"Of the fix"`
	AgeS      float64   `json:"age_s" doc:"Of the fix, in seconds"`
	Places    []string  `json:"places,omitempty" doc:"That the person is at"`
}

// matchedDoc tells what became of a rule.
type matchedDoc struct {
	Looked     int               `json:"looked_at" doc:"Devices whose person was asked about, from the nearest on"`
	Matched    int               `json:"matched" doc:"Devices among them for whom the rule holds"`
	Unreadable int               `json:"unreadable" doc:"Devices among them of whose person nothing is known, or cannot be read: they are left out"`
	Why        []unreadableWhyID `json:"unreadable_profiles,omitempty" nullable:"false" doc:"The first 20 of them"`
}

type unreadableWhyID struct {
	Profile string `json:"profile"`
	Reason  string `json:"reason" doc:"For people"`
}

func (s *server) listNearby(ctx context.Context, who caller, in *nearPointInput) (*answered[*nearbyView], error) {
	return s.near(ctx, who, geo.Point{Lat: in.Lat, Lng: in.Lng}, &in.Near)
}

func (s *server) listNearbyPlace(ctx context.Context, who caller, in *nearPlaceInput) (*answered[*nearbyView], error) {
	p := s.o.Catalog.Now().Place(who.workspace, in.ID)
	if p == nil {
		return nil, engage.Errorf(engage.NotFound, "id", "there is no place %q", clip(in.ID))
	}
	return s.near(ctx, who, p.Location, &in.Near)
}

func (s *server) near(ctx context.Context, who caller, p geo.Point, in *Near) (*answered[*nearbyView], error) {
	if err := p.Validate(); err != nil { // Huma takes NaN for a number
		return nil, engage.FromGeo(err)
	}
	if !(in.RadiusM >= 1 && in.RadiusM <= maxNearM) {
		return nil, engage.Errorf(engage.Invalid, "radius_m", "must be 1 to %d, is %v", maxNearM, in.RadiusM)
	}
	now := s.o.Clock.Now()
	out := &nearbyView{
		At: now, Lat: p.Lat, Lng: p.Lng, RadiusM: in.RadiusM,
		LiveWithinS: int(s.o.Nearby.MaxAge().Seconds()), Items: []nearView{},
	}
	show := func(d NearDevice) {
		out.Items = append(out.Items, nearView{
			Profile: d.Profile, Install: d.Install, Platform: d.Platform, Lifecycle: d.Lifecycle,
			DistanceM: tenth(d.DistanceM), AccuracyM: tenth(d.AccuracyM), At: d.At, AgeS: tenth(max(now.Sub(d.At).Seconds(), 0)), Places: d.Places,
		})
	}
	if in.Match == "" {
		var found []NearDevice
		found, out.Truncated = s.o.Nearby.Nearest(who.workspace, p, in.RadiusM, in.Limit)
		for _, d := range found {
			show(d)
		}
		return &answered[*nearbyView]{out}, nil
	}
	rule, err := s.matchRule(who, in.Match)
	if err != nil {
		return nil, err
	}
	found, more := s.o.Nearby.Nearest(who.workspace, p, in.RadiusM, maxMatched)
	out.Match = &matchedDoc{}
	// In parts, since the nearest few may be enough.
	from := 0
	for from < len(found) && len(out.Items) < in.Limit {
		part := found[from:min(from+max(in.Limit, 100), len(found))]
		holds, err := s.judge(ctx, who, rule, now, part, out.Match)
		if err != nil {
			return nil, err
		}
		for i, d := range part {
			if from++; !holds[i] {
				continue
			}
			if len(out.Items) == in.Limit {
				out.Truncated = true
				break
			}
			show(d)
		}
	}
	out.Truncated = out.Truncated || more || from < len(found)
	return &answered[*nearbyView]{out}, nil
}

func tenth(x float64) float64 { return math.Round(x*metresDecimals) / metresDecimals }

// matchRule reads a rule over the person. It travels in the address, so that it is
// shorter than a campaign's may be.
func (s *server) matchRule(who caller, text string) (*rules.Rule, error) {
	now, w, err := s.workspaceOf(who)
	if err != nil {
		return nil, err
	}
	rule, err := rules.Parse(json.RawMessage(text), rules.PersonSchema(now.AttributesWith(w)))
	if err != nil {
		return nil, engage.At("match", err)
	}
	return rule, nil
}

// judge says for which devices the rule holds, and counts in m.
func (s *server) judge(ctx context.Context, who caller, rule *rules.Rule, at time.Time, devices []NearDevice, m *matchedDoc) ([]bool, error) {
	ids := make([]string, 0, len(devices))
	for _, d := range devices {
		ids = append(ids, d.Profile)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	raw, err := s.o.Nearby.ProfilesByID(ctx, who.workspace, ids)
	if err != nil {
		return nil, err
	}
	verdicts := make(map[string]verdict, len(ids))
	for _, id := range ids {
		verdicts[id] = s.judgeOne(who, rule, at, raw[id])
	}
	holds := make([]bool, len(devices))
	for i, d := range devices {
		m.Looked++
		v := verdicts[d.Profile]
		if v.why != "" {
			m.Unreadable++
			named := slices.ContainsFunc(m.Why, func(w unreadableWhyID) bool { return w.Profile == d.Profile })
			if len(m.Why) < maxUnreadable && !named {
				m.Why = append(m.Why, unreadableWhyID{d.Profile, v.why})
			}
			continue
		}
		if holds[i] = v.holds; v.holds {
			m.Matched++
		}
	}
	return holds, nil
}

// verdict on a person.
type verdict struct {
	holds bool
	why   string // it could not be judged; empty otherwise
}

func (s *server) judgeOne(who caller, rule *rules.Rule, at time.Time, raw json.RawMessage) verdict {
	if raw == nil {
		return verdict{why: "nothing of this person has been saved yet; that takes half a second"}
	}
	p, err := profile.Read(raw)
	if err != nil {
		return verdict{why: "what is saved of this person cannot be read"}
	}
	return verdict{holds: rule.Match(s.personEnv(who, p, at), at)}
}

type heatInput struct {
	BBox       string `query:"bbox" required:"true" maxLength:"200" doc:"west,south,east,north in degrees; west above east crosses the antimeridian. A cell belongs to it if its centre does" example:"4.7,52.3,5.1,52.5"`
	Resolution int    `query:"resolution" minimum:"4" maximum:"10" default:"8" doc:"Of the H3 cells: 4 is about 1770 km², 8 is 0.74 km², 10 is 0.015 km²"`
	Format     string `query:"format" enum:"json,geojson" doc:"Absent: by the Accept header"`
	Accept     string `header:"Accept" hidden:"true"`
}

type heatView struct {
	At          time.Time  `json:"at" doc:"The moment that is counted"`
	Resolution  int        `json:"resolution"`
	Least       int        `json:"least" doc:"Nothing is shown that counts fewer devices"`
	LiveWithinS int        `json:"live_within_s" doc:"How old a fix may be, in seconds"`
	Cells       []heatCell `json:"cells" nullable:"false"`
}

type heatCell struct {
	Cell  string  `json:"cell" doc:"H3 index"`
	Count int     `json:"count" doc:"Live devices"`
	Lat   float64 `json:"lat" doc:"Of the cell's centre"`
	Lng   float64 `json:"lng"`
}

// heatFeatures is a heat map as GeoJSON; what is not a member of RFC 7946 is
// foreign (§6.1).
type heatFeatures struct {
	Type        string        `json:"type" enum:"FeatureCollection"`
	At          time.Time     `json:"at" doc:"The moment that is counted"`
	Resolution  int           `json:"resolution"`
	Least       int           `json:"least"`
	LiveWithinS int           `json:"live_within_s"`
	Features    []heatFeature `json:"features" nullable:"false"`
}

type heatFeature struct {
	Type       string         `json:"type" enum:"Feature"`
	ID         string         `json:"id" doc:"H3 index"`
	Geometry   heatGeometry   `json:"geometry"`
	Properties heatProperties `json:"properties"`
}

type heatGeometry struct {
	Type        string           `json:"type" enum:"MultiPolygon"`
	Coordinates [][][][2]float64 `json:"coordinates" nullable:"false"`
}

type heatProperties struct {
	Count int `json:"count"`
}

func (s *server) getHeat(_ context.Context, who caller, in *heatInput) (*negotiated, error) {
	box, err := parseBox(in.BBox)
	if err != nil {
		return nil, err
	}
	heat, at, err := s.o.Nearby.Heat(who.workspace)
	if err != nil {
		return nil, err
	}
	cells, err := heat.Cells(in.Resolution, box, nil)
	if err != nil {
		return nil, engage.FromGeo(err)
	}
	if len(cells) > maxHeatCells {
		return nil, engage.Errorf(engage.TooLarge, "resolution", "would show %d cells, at most %d: ask for a coarser one or a smaller bbox", len(cells), maxHeatCells)
	}
	live := int(s.o.Nearby.MaxAge().Seconds())
	if in.Format == "geojson" || in.Format == "" && strings.Contains(in.Accept, geojsonType) {
		out := &heatFeatures{Type: "FeatureCollection", At: at, Resolution: in.Resolution, Least: heat.Least(), LiveWithinS: live, Features: []heatFeature{}}
		for _, c := range cells {
			out.Features = append(out.Features, heatFeature{
				Type: "Feature", ID: c.Cell.String(), Geometry: outlineOf(c.Cell), Properties: heatProperties{c.Count},
			})
		}
		return &negotiated{geojsonType, out}, nil
	}
	out := &heatView{At: at, Resolution: in.Resolution, Least: heat.Least(), LiveWithinS: live, Cells: []heatCell{}}
	for _, c := range cells {
		centre := c.Cell.Center()
		out.Cells = append(out.Cells, heatCell{c.Cell.String(), c.Count, centre.Lat, centre.Lng})
	}
	return &negotiated{jsonType, out}, nil
}

// parseBox reads "west,south,east,north".
func parseBox(text string) (geo.Box, error) {
	parts := strings.Split(text, ",")
	if len(parts) != 4 {
		return geo.Box{}, engage.Errorf(engage.Invalid, "bbox", "must be west,south,east,north, is %q", clip(text))
	}
	var v [4]float64
	for i, part := range parts {
		x, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil {
			return geo.Box{}, engage.Errorf(engage.Invalid, "bbox", "%s must be a number of degrees, is %q", [4]string{"west", "south", "east", "north"}[i], clip(part))
		}
		v[i] = x
	}
	box := geo.Box{West: v[0], South: v[1], East: v[2], North: v[3]}
	return box, engage.At("bbox", box.Validate())
}

func outlineOf(c geo.Cell) heatGeometry {
	g := heatGeometry{Type: "MultiPolygon", Coordinates: [][][][2]float64{}}
	for _, ring := range c.Outline() {
		line := make([][2]float64, len(ring))
		for i, p := range ring {
			line[i] = [2]float64{p.Lng, p.Lat}
		}
		g.Coordinates = append(g.Coordinates, [][][2]float64{line})
	}
	return g
}
