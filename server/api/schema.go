package api

import (
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
)

// The types named …Doc describe in the document what the vocabulary (engage) reads
// and writes; nothing is decoded into them. A test holds them to the same fields.

// newRegistry names schemas by their types, without the endings that tell the
// kinds of types apart here.
func newRegistry() huma.Registry {
	r := huma.NewMapRegistry("#/components/schemas/", func(t reflect.Type, hint string) string {
		name := huma.DefaultSchemaNamer(t, hint)
		if short, ok := strings.CutSuffix(name, "Body"); ok {
			return short + "Input"
		}
		return strings.TrimSuffix(strings.TrimSuffix(name, "View"), "Doc")
	})
	for from, to := range map[reflect.Type]reflect.Type{
		reflect.TypeFor[engage.Campaign](): reflect.TypeFor[campaignDoc](),
		reflect.TypeFor[engage.Place]():    reflect.TypeFor[placeDoc](),
		reflect.TypeFor[engage.Geofence](): reflect.TypeFor[geofenceDoc](),
	} {
		r.RegisterTypeAlias(from, to)
	}
	return r
}

type pointDoc struct {
	Lat float64 `json:"lat" minimum:"-90" maximum:"90" doc:"Degrees, north is positive"`
	Lng float64 `json:"lng" minimum:"-180" maximum:"180" doc:"Degrees, east is positive"`
}

type geometryDoc struct {
	Type        string   `json:"type" enum:"Point,Polygon,MultiPolygon" doc:"A GeoJSON geometry (RFC 7946). Polygons have up to 10,000 vertices, edges straight in longitude and latitude, and are split at ±180"`
	Coordinates []any    `json:"coordinates" nullable:"false" doc:"Of a Point [longitude, latitude], WGS 84; of a Polygon its rings, the outer one first, each a list of such positions that ends as it begins; of a MultiPolygon a list of those"`
	Cells       []string `json:"h3_cells,omitempty" maxItems:"10000" nullable:"false" doc:"H3 cells instead of a MultiPolygon's coordinates, which are then an empty list"`
}

type geofenceDoc struct {
	ID       string      `json:"id" doc:"Unique within the workspace"`
	Ring     string      `json:"ring" enum:"inside,near" doc:"What being in it means: at the place, or close to it"`
	Geometry geometryDoc `json:"geometry"`
	Radius   float64     `json:"radius" required:"false" exclusiveMinimum:"0" maximum:"100000" doc:"Metres. A Point needs one, of 10 or more: it is a circle. With one, another geometry is all within so many metres of it"`
}

type placeDoc struct {
	ID        string        `json:"id" doc:"As in the path; 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'" required:"false"`
	Workspace string        `json:"workspace" readOnly:"true" required:"false"`
	Version   int64         `json:"version" doc:"Grows by one with each change. In a change: the version that it was made from" required:"false"`
	Name      string        `json:"name" minLength:"1" maxLength:"200"`
	Tags      []string      `json:"tags,omitempty" maxItems:"50" nullable:"false" doc:"For campaigns to choose places by"`
	TimeZone  string        `json:"time_zone,omitempty" doc:"IANA name; absent: that of the phone" example:"Europe/Amsterdam"`
	Location  pointDoc      `json:"location" required:"false" doc:"Where weather is asked for and distance is measured to; absent in a change: the middle of the first inside geofence"`
	Geofences []geofenceDoc `json:"geofences" minItems:"1" maxItems:"20" nullable:"false"`
	UpdatedAt time.Time     `json:"updated_at" readOnly:"true" required:"false"`
}

type ruleDoc struct {
	All   []ruleDoc `json:"all,omitempty" nullable:"false" doc:"Every one holds"`
	Any   []ruleDoc `json:"any,omitempty" nullable:"false" doc:"At least one holds"`
	Not   *ruleDoc  `json:"not,omitempty" doc:"It does not hold"`
	Field string    `json:"field,omitempty" doc:"What is asked about: see GET /api/v1/fields"`
	Op    rules.Op  `json:"op,omitempty" enum:"eq,ne,lt,le,gt,ge,between,in,not_in,prefix,contains,not_contains,within_last,not_within_last,exists,absent"`
	Value any       `json:"value,omitempty" doc:"What it is compared with; a list for in and between, a duration such as 7d for within_last, none for exists and absent"`
}

type campaignTriggerDoc struct {
	Type       string   `json:"type" enum:"place,event"`
	Transition string   `json:"transition,omitempty" enum:"enter,exit" doc:"Of a place trigger"`
	Rings      []string `json:"rings,omitempty" enum:"inside,near" nullable:"false" doc:"Of a place trigger: which rings count; absent: inside"`
	Places     []string `json:"places,omitempty" nullable:"false" doc:"Ids; absent, with no tags: every place"`
	Tags       []string `json:"tags,omitempty" nullable:"false" doc:"Places that carry one of these"`
	Event      string   `json:"event,omitempty" doc:"Of an event trigger: the event's name"`
	MaxAgeS    int      `json:"max_age_s,omitempty" minimum:"0" doc:"Evidence older than this when it reaches the server sends nothing. Seconds; absent: 900"`
}

type contentDoc struct {
	Title    string            `json:"title,omitempty" doc:"Liquid template. Variables: profile, place, weather, trigger, device, campaign, now"`
	Body     string            `json:"body,omitempty" doc:"Liquid template; a title or a body is needed"`
	DeepLink string            `json:"deep_link,omitempty" doc:"Liquid template of the address that opens"`
	ImageURL string            `json:"image_url,omitempty" doc:"Liquid template of an https address"`
	Data     map[string]string `json:"data,omitempty" doc:"For the app; values are Liquid templates"`
	Channels []string          `json:"channels,omitempty" enum:"in_app,push,inbox" nullable:"false" doc:"By which it may go; absent: all"`
}

type armDoc struct {
	ID      string     `json:"id" doc:"Not \"holdout\""`
	Weight  int        `json:"weight,omitempty" minimum:"0" maximum:"1000" doc:"Share among the arms; absent: 1"`
	Message contentDoc `json:"message"`
}

type quietHoursDoc struct {
	Start string `json:"start" example:"22:00" doc:"HH:MM in the person's local time"`
	End   string `json:"end" example:"08:00" doc:"HH:MM; not after start means the next day"`
}

type limitsDoc struct {
	Cap            int            `json:"cap,omitempty" minimum:"0" doc:"Messages of this campaign that a person gets at most within cap_window_s; absent: no cap"`
	CapWindowS     int            `json:"cap_window_s,omitempty" minimum:"0" doc:"Seconds; required with cap"`
	Quiet          *quietHoursDoc `json:"quiet_hours,omitempty" doc:"A message that falls into them waits for their end, or expires"`
	ExpireS        int            `json:"expire_s,omitempty" minimum:"0" maximum:"2419200" doc:"Seconds after the decision when the message is pointless; absent: 3600"`
	RetryAmbiguous *bool          `json:"retry_ambiguous,omitempty" doc:"Whether a push is repeated, under the same id, when the connection was lost after sending; absent: true"`
}

type campaignDoc struct {
	ID             string             `json:"id" required:"false" doc:"As in the path; 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'"`
	Workspace      string             `json:"workspace" readOnly:"true" required:"false"`
	Version        int64              `json:"version" required:"false" doc:"Grows by one with each change. In a change: the version that it was made from"`
	Name           string             `json:"name" minLength:"1" maxLength:"200"`
	Class          string             `json:"class" enum:"marketing,service" doc:"marketing needs the person's consent and passes all gates; service is what the person asked for (an order that is ready): no marketing consent, no caps, no quiet hours"`
	Status         string             `json:"status" enum:"draft,live,paused,ended"`
	Priority       int                `json:"priority,omitempty" doc:"Among campaigns that want the same moment the highest wins; ties go to the smaller id"`
	Trigger        campaignTriggerDoc `json:"trigger"`
	Audience       *ruleDoc           `json:"audience,omitempty" doc:"A rule over the person; absent: everybody"`
	Context        *ruleDoc           `json:"context,omitempty" doc:"A rule over the moment; absent: always"`
	Arms           []armDoc           `json:"arms" minItems:"1" maxItems:"10" nullable:"false" doc:"Variants of the message"`
	HoldoutPercent float64            `json:"holdout_percent" required:"false" minimum:"0" maximum:"50" doc:"Of the eligible persons get nothing, to be compared with"`
	Limits         limitsDoc          `json:"limits" required:"false"`
	Start          *time.Time         `json:"start,omitempty" doc:"Not before"`
	End            *time.Time         `json:"end,omitempty" doc:"Not after"`
	UpdatedAt      time.Time          `json:"updated_at" readOnly:"true" required:"false"`
}

// featureDoc and what follows it are GeoJSON as places go in and out.
type featureDoc struct {
	Type       string               `json:"type" enum:"Feature"`
	ID         string               `json:"id,omitempty" doc:"Of the geofence; absent in an import: <place>-<ring>"`
	Geometry   geometryDoc          `json:"geometry"`
	Properties featurePropertiesDoc `json:"properties"`
}

type featurePropertiesDoc struct {
	Place    string   `json:"place,omitempty" doc:"Id of the place; features with the same place make one. Absent in an import: the feature's id"`
	Name     string   `json:"name,omitempty" doc:"Of the place; absent in an import: its id"`
	Ring     string   `json:"ring,omitempty" enum:"inside,near" doc:"Absent in an import: inside"`
	Radius   float64  `json:"radius" required:"false" exclusiveMinimum:"0" maximum:"100000" doc:"Metres around the geometry, as in a place; a Point needs one"`
	Tags     []string `json:"tags,omitempty" nullable:"false" doc:"Of the place"`
	TimeZone string   `json:"time_zone,omitempty" doc:"Of the place, IANA name"`
}

type featureCollectionDoc struct {
	Type     string       `json:"type" enum:"FeatureCollection"`
	Features []featureDoc `json:"features" maxItems:"5000" nullable:"false"`
}
