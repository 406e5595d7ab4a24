package api

import (
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/places"
	"github.com/footfall-engage/footfall/server/rules"
	"github.com/footfall-engage/footfall/server/tokens"
)

// The types named …Doc describe in the document what the vocabulary (engage) reads
// and writes; nothing is decoded into them. A test holds them to the same fields.
// What is embedded in documented types is exported: Huma leaves the fields of others out.

// newRegistry names schemas by their types, without the endings that tell the
// kinds of types apart here.
func newRegistry() huma.Registry {
	r := huma.NewMapRegistry("#/components/schemas/", func(t reflect.Type, hint string) string {
		name := huma.DefaultSchemaNamer(t, hint)
		of := t
		for of.Kind() == reflect.Slice || of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		if of.PkgPath() == reflect.TypeFor[tokens.Report]().PkgPath() {
			name = "Token" + name // places have reports, too
		}
		if short, ok := strings.CutSuffix(name, "Body"); ok {
			return short + "Input"
		}
		return strings.TrimSuffix(strings.TrimSuffix(name, "View"), "Doc")
	})
	for from, to := range map[reflect.Type]reflect.Type{
		reflect.TypeFor[engage.Campaign]():  reflect.TypeFor[CampaignDoc](),
		reflect.TypeFor[savedCampaign]():    reflect.TypeFor[savedCampaignDoc](),
		reflect.TypeFor[engage.Offer]():     reflect.TypeFor[offerDoc](),
		reflect.TypeFor[offerView]():        reflect.TypeFor[offerDoc](),
		reflect.TypeFor[engage.Catalogue](): reflect.TypeFor[catalogueDoc](),
		reflect.TypeFor[catalogueView]():    reflect.TypeFor[catalogueDoc](),
		reflect.TypeFor[engage.Item]():      reflect.TypeFor[itemDoc](),
		reflect.TypeFor[limitPolicyBody]():  reflect.TypeFor[limitPolicyDoc](),
		reflect.TypeFor[engage.Content]():   reflect.TypeFor[contentDoc](),
		reflect.TypeFor[engage.Place]():     reflect.TypeFor[placeDoc](),
		reflect.TypeFor[engage.Geofence]():  reflect.TypeFor[geofenceDoc](),
		reflect.TypeFor[placeView]():        reflect.TypeFor[placeDoc](),
		reflect.TypeFor[places.Feature]():   reflect.TypeFor[featureDoc](),
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
	ID       string        `json:"id" doc:"Unique within the workspace"`
	Ring     string        `json:"ring" enum:"inside,near" doc:"What being in it means: at the place, or close to it"`
	Geometry geometryDoc   `json:"geometry"`
	Radius   float64       `json:"radius" required:"false" exclusiveMinimum:"0" maximum:"100000" doc:"Metres. A Point needs one, of 10 or more: it is a circle. With one, another geometry is all within so many metres of it"`
	DwellS   int           `json:"dwell_s,omitempty" minimum:"0" maximum:"2592000" doc:"Seconds inside that make a dwell; absent: none is told"`
	Rule     *fenceRuleDoc `json:"rule,omitempty" doc:"What it takes as evidence, where that is not as the place's rule says"`
}

type fenceRuleDoc struct {
	MaxAccuracyM     *float64 `json:"max_accuracy_m,omitempty" minimum:"1" doc:"Worse fixes change nothing. Absent: 1000"`
	EnterAccuracyM   *float64 `json:"enter_accuracy_m,omitempty" minimum:"1" doc:"Worse fixes enter only geofences that are larger than them. Absent: 100"`
	AssumedAccuracyM *float64 `json:"assumed_accuracy_m,omitempty" minimum:"1" doc:"Of a fix that gives none. Absent: 50"`
	FloorAccuracyM   *float64 `json:"floor_accuracy_m,omitempty" minimum:"0" doc:"Better accuracies are taken as this. Absent: 10"`
	SureFactor       *float64 `json:"sure_factor,omitempty" minimum:"0" doc:"Accuracies between the fix and the border, inside, for an enter at once. Absent: 1"`
	ClearFactor      *float64 `json:"clear_factor,omitempty" minimum:"0" doc:"Accuracies between the fix and the border, outside, for an exit at once. Absent: 1.5"`
	EnterConfirmS    *float64 `json:"enter_confirm_s,omitempty" minimum:"0" maximum:"2592000" doc:"Seconds between the fixes that confirm an enter. Absent: 10"`
	ExitConfirmS     *float64 `json:"exit_confirm_s,omitempty" minimum:"0" maximum:"2592000" doc:"Seconds between the fixes that confirm an exit. Absent: 60"`
	ConfirmWithinS   *float64 `json:"confirm_within_s,omitempty" minimum:"1" maximum:"2592000" doc:"Seconds at most between two fixes that confirm one another. Absent: 600"`
	MaxGapS          *float64 `json:"max_gap_s,omitempty" minimum:"1" maximum:"2592000" doc:"The longest silence that counts as having stayed. Absent: 900"`
	SilenceS         *float64 `json:"silence_s,omitempty" minimum:"60" maximum:"2592000" doc:"Seconds of silence that end a visit. Absent: 43200"`
	WatchedSilenceS  *float64 `json:"watched_silence_s,omitempty" minimum:"60" maximum:"2592000" doc:"The same while the phone's own geofence says inside. Absent: 86400"`
	BeaconLostS      *float64 `json:"beacon_lost_s,omitempty" minimum:"1" maximum:"2592000" doc:"Seconds after its last sighting until a beacon is lost. Absent: 60"`
}

type exceptionDoc struct {
	Date  string `json:"date" format:"date" example:"2026-12-24"`
	Hours string `json:"hours" doc:"Times of that day, or off" example:"10:00-14:00"`
}

type beaconDoc struct {
	ID        string `json:"id" doc:"Unique within the workspace"`
	Type      string `json:"type" enum:"ibeacon,eddystone_uid"`
	UUID      string `json:"uuid,omitempty" doc:"Of an iBeacon: 32 hex digits as 8-4-4-4-12" example:"f7826da6-4fa2-4e98-8024-bc5b71e0893e"`
	Major     *int   `json:"major,omitempty" minimum:"0" maximum:"65535" doc:"Of an iBeacon; absent: any"`
	Minor     *int   `json:"minor,omitempty" minimum:"0" maximum:"65535" doc:"Of an iBeacon with a major; absent: any"`
	Namespace string `json:"namespace,omitempty" doc:"Of Eddystone: 20 hex digits"`
	Instance  string `json:"instance,omitempty" doc:"Of Eddystone: 12 hex digits; absent: any"`
	Fence     string `json:"fence,omitempty" doc:"Id of the geofence that seeing it is evidence for; absent: the first inside one"`
}

type openingDoc struct {
	State    string     `json:"state" enum:"open,closed,unknown"`
	Comment  string     `json:"comment,omitempty" doc:"That the hours give"`
	Until    *time.Time `json:"until,omitempty" doc:"When the state changes, in the place's time zone; absent: not within two years"`
	NextOpen *time.Time `json:"next_open,omitempty" doc:"When it opens, where it is not open; absent: not within two years"`
}

type placeDoc struct {
	ID         string           `json:"id" doc:"As in the path; 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'" required:"false"`
	Workspace  string           `json:"workspace" readOnly:"true" required:"false"`
	Version    int64            `json:"version" doc:"Grows by one with each change. In a change: the version that it was made from" required:"false"`
	Name       string           `json:"name" minLength:"1" maxLength:"200"`
	Tags       []string         `json:"tags,omitempty" maxItems:"50" nullable:"false" doc:"For campaigns to choose places by"`
	TimeZone   string           `json:"time_zone,omitempty" doc:"IANA name; absent in a change: found from the location" example:"Europe/Amsterdam"`
	Location   pointDoc         `json:"location" required:"false" doc:"Where weather is asked for and distance is measured to; absent in a change: the middle of the first inside geofence"`
	Geofences  []geofenceDoc    `json:"geofences" minItems:"1" maxItems:"20" nullable:"false"`
	Hours      string           `json:"hours,omitempty" maxLength:"2000" doc:"Opening hours as OpenStreetMap writes them; absent: not known" example:"Mo-Fr 09:00-18:00; Sa 10:00-02:00; PH off"`
	Holidays   []string         `json:"holidays,omitempty" maxItems:"400" nullable:"false" doc:"Dates, as 2026-12-25, that PH means in the hours"`
	Exceptions []exceptionDoc   `json:"exceptions,omitempty" maxItems:"400" nullable:"false" doc:"What is open on one day, whatever the hours say; each day once"`
	Beacons    []beaconDoc      `json:"beacons,omitempty" maxItems:"50" nullable:"false" doc:"Radio beacons that stand there: seeing one is evidence as a fix is"`
	Rule       *fenceRuleDoc    `json:"rule,omitempty" doc:"What all its geofences take as evidence, where they say nothing else"`
	Opening    *openingDoc      `json:"opening,omitempty" readOnly:"true" doc:"Whether it is open now; absent: its hours are not known"`
	Warnings   []places.Warning `json:"warnings,omitempty" readOnly:"true" nullable:"false" doc:"In the answer to a change: what was put right or found"`
	UpdatedAt  time.Time        `json:"updated_at" readOnly:"true" required:"false"`
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
	Type        string       `json:"type" enum:"place,event,api,schedule,region,beacon,weather" doc:"weather: the weather turns at a place, for who is inside then; place: a transition at a place; beacon: a Bluetooth beacon of a place is heard, is near or is heard no more; event: something that the app or a server tracked; api: POST /api/v1/campaigns/{id}/trigger; schedule: a time of the wall clock; region: what the phone's system says of a region that it watches, before any fix confirms it"`
	Transition  string       `json:"transition,omitempty" enum:"enter,exit,near,dwell,pass,visit" doc:"Of a place trigger; of a region or a beacon trigger enter, exit and near. Of a beacon, enter is that it is heard first, near that the phone judges it within a few metres, exit that it is lost: of a place, the first of its beacons and the last; heard again within 5 min it is the same occasion. Else near is to enter a near ring, however far it reaches; dwell is after the geofence's dwell_s; pass is a way through between two fixes; visit is its end"`
	Rings       []string     `json:"rings,omitempty" enum:"inside,near" nullable:"false" doc:"Of a place trigger: which rings count; absent: inside"`
	Places      []string     `json:"places,omitempty" nullable:"false" doc:"Ids; absent, with no tags: every place"`
	Tags        []string     `json:"tags,omitempty" nullable:"false" doc:"Places that carry one of these"`
	Beacons     []string     `json:"beacons,omitempty" maxItems:"200" nullable:"false" doc:"Of a beacon trigger: ids of beacons, besides all those of places and tags"`
	Event       string       `json:"event,omitempty" doc:"Of an event trigger: the event's name"`
	Where       *ruleDoc     `json:"where,omitempty" doc:"Of an event trigger: a rule over its properties, such as properties.cart.total ge 50; one that does not hold fires nothing. Absent: always. Of a weather trigger, required: the rule over weather.* that fires when it comes to hold, as weather.condition in rain or weather.next_1h.temperature_max_c lt 0. A first look at a place is no turning, and while the weather is not known nothing turns"`
	AgainAfterS int          `json:"again_after_s,omitempty" minimum:"900" maximum:"604800" doc:"Of a weather trigger: having turned at a place, it does not turn there again before, however it flutters. Seconds; absent: 10800"`
	Schedule    *scheduleDoc `json:"schedule,omitempty" doc:"Of a schedule trigger: when"`
	MaxAgeS     int          `json:"max_age_s,omitempty" minimum:"0" doc:"Evidence older than this when it reaches the server sends nothing. Seconds; absent: 900, of a schedule 21600"`
}

type scheduleDoc struct {
	At           string   `json:"at,omitempty" doc:"Once, at this time of the wall clock, without a zone" example:"2026-12-01T09:00"`
	Every        string   `json:"every,omitempty" enum:"day,week,month" doc:"Again and again; without at"`
	On           []string `json:"on,omitempty" nullable:"false" doc:"Days: of a week mon to sun, of a month 1 to 31 or last. A month without such a day has its last day instead"`
	Time         string   `json:"time,omitempty" doc:"Of what recurs. A time that the clocks skip in spring is the moment at which they do; one that they show twice in autumn is the first" example:"09:00"`
	Zone         string   `json:"zone,omitempty" doc:"For everybody; absent: each person's own, that of the phone used last" example:"Europe/Amsterdam"`
	FallbackZone string   `json:"fallback_zone,omitempty" doc:"Of persons whose zone is not known; absent: UTC"`
}

type actionDoc struct {
	ID       string `json:"id" minLength:"1" maxLength:"40" doc:"Of the receipt, when the person presses it; unique within the message; a-z, A-Z, 0-9, '.', '_', '-'"`
	Label    string `json:"label" doc:"Liquid template, at most 100 bytes once rendered"`
	DeepLink string `json:"deep_link,omitempty" doc:"Liquid template of the address that opens; absent: the button only closes the message"`
}

type androidPushDoc struct {
	ChannelID string `json:"channel_id,omitempty" maxLength:"100" doc:"The notification channel; absent: the app's default" example:"offers"`
}

type liveActivityDoc struct {
	Event          string         `json:"event" enum:"start,update,end"`
	AttributesType string         `json:"attributes_type,omitempty" doc:"With start, required: the name of the app's type" example:"OrderAttributes"`
	Attributes     map[string]any `json:"attributes,omitempty" nullable:"false" doc:"With start, required: an object of that type. Its strings are Liquid templates"`
	State          map[string]any `json:"content_state,omitempty" nullable:"false" doc:"The state to show; required but with end. Its strings are Liquid templates. At most 3500 bytes together with attributes"`
	StaleAfterS    int            `json:"stale_after_s,omitempty" minimum:"0" maximum:"43200" doc:"Seconds after the decision when it is shown as out of date; absent: never. Not with end"`
	DismissAfterS  *int           `json:"dismiss_after_s,omitempty" minimum:"0" maximum:"14400" doc:"With end: seconds until it vanishes; absent: iOS decides (4 hours)"`
}

type iosPushDoc struct {
	Category       string           `json:"category,omitempty" maxLength:"100" doc:"Whose buttons the app has registered"`
	ThreadID       string           `json:"thread_id,omitempty" maxLength:"100" doc:"Notifications of one thread are grouped"`
	Interruption   string           `json:"interruption_level,omitempty" enum:"passive,active,time-sensitive,critical" doc:"Absent: iOS decides (active). Apple must have granted critical to the app"`
	Relevance      float64          `json:"relevance_score,omitempty" minimum:"0" maximum:"1" doc:"Which of the app's notifications a summary shows first"`
	MutableContent bool             `json:"mutable_content,omitempty" doc:"The app's service extension may change it; implied by an image"`
	CriticalVolume float64          `json:"critical_volume,omitempty" minimum:"0" maximum:"1" doc:"Of the sound, with interruption_level critical; absent: 1"`
	Live           *liveActivityDoc `json:"live_activity,omitempty" doc:"Starts, changes or ends a Live Activity instead of a notification: of a test send to a token of one. A campaign cannot have it: see POST /api/v1/live-activities. A start needs a title or a body, as does any that may also go to the inbox"`
}

type pushContentDoc struct {
	Subtitle    string          `json:"subtitle,omitempty" doc:"iOS. Liquid template"`
	Silent      bool            `json:"silent,omitempty" doc:"Wakes the app and gives it data; nothing is shown, so title, body, actions and the like are refused, and channels must be [\"push\"]"`
	Priority    string          `json:"priority,omitempty" enum:"high,normal" doc:"normal lets the OS choose the moment; absent: high"`
	TTLS        *int            `json:"ttl_s,omitempty" minimum:"0" maximum:"2419200" doc:"Seconds for which the provider keeps it for a phone that cannot be reached, at most until the message expires; 0: now or never; absent: until it expires"`
	CollapseKey string          `json:"collapse_key,omitempty" maxLength:"64" doc:"A newer message of the same key replaces an older one; printable ASCII; absent: none replaces it"`
	Label       string          `json:"analytics_label,omitempty" pattern:"^[a-zA-Z0-9-_.~%]{1,50}$" doc:"By which FCM's reports count it"`
	Sound       string          `json:"sound,omitempty" maxLength:"100" doc:"default, none, or the name of a file in the app; absent: default" example:"ding.caf"`
	Badge       *int            `json:"badge,omitempty" minimum:"0" maximum:"99999" doc:"iOS: on the app's icon; 0 removes it; absent: as it is"`
	Devices     string          `json:"devices,omitempty" enum:"most_recent,all,one_per_platform" doc:"To which of a person's phones; absent: most_recent, which is the phone that triggered it if it can be pushed to, else the one used last"`
	Android     *androidPushDoc `json:"android,omitempty"`
	IOS         *iosPushDoc     `json:"ios,omitempty"`
}

type inAppTriggerDoc struct {
	Event  string `json:"event,omitempty" maxLength:"100" doc:"The app tracks an event of this name"`
	Screen string `json:"screen,omitempty" maxLength:"100" doc:"The app shows a screen of this name, and still shows it when the delay is over; not together with event"`
	DelayS int    `json:"delay_s,omitempty" minimum:"0" maximum:"3600" doc:"Seconds after that; without event and screen, after the app was opened"`
}

type inAppFrequencyDoc struct {
	Times      int  `json:"times,omitempty" minimum:"0" maximum:"100" doc:"In all; absent: 1"`
	MinGapS    int  `json:"min_gap_s,omitempty" minimum:"0" maximum:"2592000" doc:"Seconds between two times"`
	PerSession bool `json:"per_session,omitempty" doc:"At most once each time that the app is opened"`
}

type inAppContentDoc struct {
	Style         string             `json:"style,omitempty" enum:"banner,modal,full_screen" doc:"Absent: banner"`
	DismissAfterS int                `json:"dismiss_after_s,omitempty" minimum:"0" maximum:"600" doc:"Seconds after which it goes away by itself; absent: never"`
	Trigger       *inAppTriggerDoc   `json:"trigger,omitempty" doc:"The phone fetches the message, keeps it and shows it at this moment, until it expires. Such a message is never pushed: channels must name in_app and not push. With inbox it is a card as well, from the beginning"`
	Frequency     *inAppFrequencyDoc `json:"frequency,omitempty" doc:"How often the phone shows it, until the person acts upon it, dismisses it, or it expires; absent: once"`
}

type inboxContentDoc struct {
	Pinned   bool `json:"pinned,omitempty" doc:"Stands above the others"`
	ExpiresS int  `json:"expires_in_s,omitempty" minimum:"0" maximum:"2592000" doc:"Seconds from when it was put there; absent: it expires with the message (limits.expire_s)"`
}

type contentDoc struct {
	Title    string            `json:"title,omitempty" doc:"Liquid template. Variables: profile, place, weather, trigger, device, campaign, now"`
	Body     string            `json:"body,omitempty" doc:"Liquid template; a title or a body is needed"`
	DeepLink string            `json:"deep_link,omitempty" doc:"Liquid template of the address that opens"`
	ImageURL string            `json:"image_url,omitempty" doc:"Liquid template of an https address"`
	Data     map[string]string `json:"data,omitempty" doc:"For the app; values are Liquid templates"`
	Channels []string          `json:"channels,omitempty" enum:"in_app,push,inbox" nullable:"false" doc:"By which it may go; absent: all"`
	Push     *pushContentDoc   `json:"push,omitempty" doc:"What it has as a push"`
	InApp    *inAppContentDoc  `json:"in_app,omitempty" doc:"How it is shown while the app is open"`
	Inbox    *inboxContentDoc  `json:"inbox,omitempty" doc:"What it has as a card of the inbox"`
	Actions  []actionDoc       `json:"actions,omitempty" maxItems:"3" nullable:"false" doc:"Buttons, of an in-app message and of a push where the phone shows them; ids and labels are unique"`

	Locale  string                     `json:"locale,omitempty" example:"en" doc:"The language of these texts; absent: not said, and dates and numbers in them are written as the phone does"`
	Locales map[string]localContentDoc `json:"locales,omitempty" doc:"The texts in other languages, at most 40, by language, with its script or country where that matters (nl, pt-BR, zh-Hant). A phone gets that of its own locale, else of its language, else the message's own; of a person's phones, the one that triggered it says the language"`
}

type armDoc struct {
	ID      string     `json:"id" doc:"Not \"holdout\""`
	Weight  int        `json:"weight,omitempty" minimum:"0" maximum:"1000" doc:"Share among the arms; absent: 1"`
	Message contentDoc `json:"message"`
}

type quietHoursDoc struct {
	Start string `json:"start" example:"22:00" doc:"HH:MM in the person's local time"`
	End   string `json:"end" example:"08:00" doc:"HH:MM; not after start means the next day"`
	Then  string `json:"then,omitempty" enum:"defer,drop" doc:"Whether a message that falls into them waits for their end, or expires, or is not sent at all; absent: defer"`
}

type budgetDoc struct {
	Messages int64   `json:"messages,omitempty" minimum:"0" maximum:"1000000000" doc:"In all; absent: any number"`
	PerDay   int64   `json:"per_day,omitempty" minimum:"0" maximum:"1000000000" doc:"Messages in a day of UTC; absent: any number"`
	Amount   float64 `json:"amount,omitempty" minimum:"0" maximum:"1000000000" doc:"Money in all, in any currency; with cost"`
	Cost     float64 `json:"cost,omitempty" minimum:"0" doc:"Of the amount that a message takes, in steps of 0.0001; with amount"`
}

type rateDoc struct {
	PerMinute int64 `json:"per_minute" minimum:"1" maximum:"1000000000" doc:"Messages in a minute of the clock; what comes beyond is not sent"`
}

type capDoc struct {
	Max      int    `json:"max" minimum:"1" maximum:"1000" doc:"Messages within the window, at most"`
	WindowS  int    `json:"window_s,omitempty" minimum:"1" maximum:"31622400" doc:"A window that rolls: the seconds before; or else calendar"`
	Calendar string `json:"calendar,omitempty" enum:"day,week,month" doc:"A period in the person's local time; weeks begin on Monday"`
}

type limitsDoc struct {
	Cap            int            `json:"cap,omitempty" minimum:"0" doc:"Messages of this campaign that a person gets at most within cap_window_s; absent: no cap"`
	CapWindowS     int            `json:"cap_window_s,omitempty" minimum:"0" doc:"Seconds; required with cap"`
	Caps           []capDoc       `json:"caps,omitempty" maxItems:"5" nullable:"false" doc:"Further caps of this campaign, such as one per day and three per month"`
	Quiet          *quietHoursDoc `json:"quiet_hours,omitempty" doc:"In the person's local time: of the phone's zone, else the place's; absent: the workspace's (/limits)"`
	Attention      *int           `json:"attention,omitempty" minimum:"0" maximum:"1000" doc:"Points of the workspace's attention budget that a message costs; absent: 1"`
	Budget         *budgetDoc     `json:"budget,omitempty" doc:"What the campaign may send, or spend, to all persons together; not of service messages"`
	Rate           *rateDoc       `json:"rate,omitempty" doc:"How fast the campaign may send, to all persons together; not of service messages"`
	IgnoreGlobal   bool           `json:"ignore_global,omitempty" doc:"Leaves the workspace's limits (/limits) aside where these allow it. Its messages count for the other campaigns all the same"`
	ExpireS        int            `json:"expire_s,omitempty" minimum:"0" maximum:"2419200" doc:"Seconds after the decision when the message is pointless; absent: 3600"`
	RetryAmbiguous *bool          `json:"retry_ambiguous,omitempty" doc:"Whether a push is repeated, under the same id, when the connection was lost after sending; absent: true"`
}

type savedCampaignDoc struct {
	CampaignDoc
	Warnings []FieldError  `json:"warnings,omitempty" nullable:"false" doc:"What is perhaps not meant, such as a push that is nearly too long, or a variable that a person may lack; not kept"`
	Findings []TextFinding `json:"findings,omitempty" nullable:"false" doc:"The same of how the texts read: too long for a platform's screen, hard to read, not translated; not kept"`
}

// CampaignDoc describes engage.Campaign.
type CampaignDoc struct {
	ID             string             `json:"id" required:"false" doc:"As in the path; 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'"`
	Workspace      string             `json:"workspace" readOnly:"true" required:"false"`
	Version        int64              `json:"version" required:"false" doc:"Grows by one with each change. In a change: the version that it was made from"`
	Name           string             `json:"name" minLength:"1" maxLength:"200"`
	Class          string             `json:"class" enum:"marketing,service" doc:"marketing needs the person's consent and passes all gates; service is what the person asked for (an order that is ready): no marketing consent, no caps, no quiet hours"`
	Programme      string             `json:"programme,omitempty" enum:"acquisition,conversion,loyalty,service,retention,winback" doc:"What it is for; see GET /campaign-templates"`
	Status         string             `json:"status" enum:"draft,review,live,paused,ended" doc:"Only a live one sends anything"`
	Review         *reviewDoc         `json:"review,omitempty"`
	Tags           []string           `json:"tags,omitempty" maxItems:"10" nullable:"false" doc:"By which the workspace's limits (/limits) can cap it"`
	Priority       int                `json:"priority,omitempty" doc:"Among campaigns that want the same moment the highest wins; ties go to the higher value, then to the smaller id"`
	Value          float64            `json:"value,omitempty" minimum:"0" maximum:"1000000000" doc:"What a message is expected to be worth, as you say it: any unit, the same in all campaigns. Among campaigns of the same priority that want the same moment the highest wins"`
	Lane           string             `json:"lane,omitempty" enum:"live,bulk" doc:"Absent means live. bulk is for so many messages at once that they must delay no others of the same credential: they take what the live ones leave"`
	Trigger        campaignTriggerDoc `json:"trigger"`
	Audience       *ruleDoc           `json:"audience,omitempty" doc:"A rule over the person; absent: everybody"`
	Context        *ruleDoc           `json:"context,omitempty" doc:"A rule over the moment; absent: always"`
	Offer          string             `json:"offer,omitempty" doc:"Id of the offer that the message brings: its texts have it as offer.code, offer.name, offer.value, offer.currency, offer.terms and offer.expires_at"`
	Item           *campaignItemDoc   `json:"item,omitempty" doc:"The item of a catalogue that the message is about: its texts have it as item.<field>. One that is not there, or lacks a field, is a missing variable"`
	Arms           []armDoc           `json:"arms" minItems:"1" maxItems:"10" nullable:"false" doc:"Variants of the message"`
	HoldoutPercent float64            `json:"holdout_percent" required:"false" minimum:"0" maximum:"50" doc:"Of the eligible persons get nothing, to be compared with"`
	Goal           *goalDoc           `json:"goal,omitempty" doc:"What it is for, and by what it is measured; absent: visits and purchases within 7 days are counted, and no goal"`
	Limits         limitsDoc          `json:"limits" required:"false"`
	Start          string             `json:"start,omitempty" doc:"Not before. RFC 3339; in a change also without an offset, on the clocks of time_zone: 2026-12-01T09:00"`
	End            string             `json:"end,omitempty" doc:"Not after; likewise"`
	TimeZone       string             `json:"time_zone,omitempty" doc:"IANA name of the zone in which start and end are thought of"`
	UpdatedAt      time.Time          `json:"updated_at" readOnly:"true" required:"false"`
}

type goalDoc struct {
	Type    string   `json:"type" enum:"event,visit,purchase" doc:"What somebody is to do within the window after a decision: the same is counted of who was held out"`
	Event   string   `json:"event,omitempty" doc:"Of an event: its name"`
	Where   *ruleDoc `json:"where,omitempty" doc:"Of an event: a rule over its properties; absent: always"`
	Places  []string `json:"places,omitempty" maxItems:"1000" nullable:"false" doc:"Of a visit: ids of places; absent, with no tags: every place. The visit during which it was decided is none"`
	Tags    []string `json:"tags,omitempty" maxItems:"50" nullable:"false" doc:"Of a visit: places that carry one of these"`
	WindowS int      `json:"window_s,omitempty" minimum:"0" maximum:"7776000" doc:"Seconds after the decision in which it counts, by when it happened; absent: 604800 (7 days)"`
	Every   bool     `json:"every,omitempty" doc:"Each time counts as a goal, and not only the first after a decision"`
}

type reviewDoc struct {
	Note        string     `json:"note,omitempty" maxLength:"2000" doc:"To who will look at it; the only field that a change may have"`
	RequestedBy string     `json:"requested_by,omitempty" readOnly:"true" doc:"Id of the key"`
	RequestedAt *time.Time `json:"requested_at,omitempty" readOnly:"true"`
	Approved    bool       `json:"approved,omitempty" readOnly:"true" doc:"What stands there now"`
	AnsweredBy  string     `json:"answered_by,omitempty" readOnly:"true"`
	AnsweredAt  *time.Time `json:"answered_at,omitempty" readOnly:"true"`
	Comment     string     `json:"comment,omitempty" readOnly:"true" doc:"Of who answered; see POST /campaigns/{id}/status"`
}

// featureDoc and what follows it are GeoJSON as places go in and out.
type featureDoc struct {
	Type       string               `json:"type" enum:"Feature"`
	ID         string               `json:"id,omitempty" doc:"Of the geofence; absent in an import: <place>-<ring>"`
	Geometry   geometryDoc          `json:"geometry"`
	Properties featurePropertiesDoc `json:"properties"`
}

type featurePropertiesDoc struct {
	Place      string         `json:"place,omitempty" doc:"Id of the place; features with the same place that follow one another make one. Absent in an import: the feature's id"`
	Name       string         `json:"name,omitempty" doc:"Of the place; absent in an import: as it was, or its id"`
	Ring       string         `json:"ring,omitempty" enum:"inside,near" doc:"Absent in an import: inside"`
	Radius     float64        `json:"radius" required:"false" exclusiveMinimum:"0" maximum:"100000" doc:"Metres around the geometry, as in a place; absent for a Point: the import's radius"`
	DwellS     int            `json:"dwell_s,omitempty" doc:"As in a geofence"`
	Rule       *fenceRuleDoc  `json:"rule,omitempty" doc:"As in a geofence"`
	Tags       []string       `json:"tags,omitempty" nullable:"false" doc:"Of the place, as all that follows"`
	TimeZone   string         `json:"time_zone,omitempty" doc:"IANA name; else it is found from the position"`
	Hours      string         `json:"hours,omitempty"`
	Holidays   []string       `json:"holidays,omitempty" nullable:"false"`
	Exceptions []exceptionDoc `json:"exceptions,omitempty" nullable:"false"`
	Beacons    []beaconDoc    `json:"beacons,omitempty" nullable:"false"`
	PlaceRule  *fenceRuleDoc  `json:"place_rule,omitempty"`
	Location   *pointDoc      `json:"location,omitempty" doc:"Absent: the middle of the first inside geofence"`
}

type featureCollectionDoc struct {
	Type     string       `json:"type" enum:"FeatureCollection"`
	Features []featureDoc `json:"features" nullable:"false"`
}

type campaignItemDoc struct {
	Catalogue string `json:"catalogue" maxLength:"50" doc:"Its id"`
	Property  string `json:"property,omitempty" maxLength:"100" doc:"Of the trigger's properties: what has the item's id, such as product_id or product.id. This or attribute"`
	Attribute string `json:"attribute,omitempty" maxLength:"100" doc:"Of the person: what has the item's id, such as last_viewed_product"`
}
