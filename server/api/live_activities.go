package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// LiveActivities starts, changes and ends Live Activities on iPhones.
type LiveActivities interface {
	// Check judges an order before anything is sent. Errors: engage.TooLarge or
	// engage.Invalid of a field as liveBody has it.
	Check(o *LiveOrder) error
	// Order does it on the installs, at most maxLiveTo, and returns what came of it in
	// their order; of an update or an end without installs, on all that the activity was
	// started on.
	Order(ctx context.Context, o *LiveOrder, installs []string) ([]LiveResult, error)
	// Of is an activity on every install, as it was recorded.
	Of(ctx context.Context, workspace, activity string) ([]LiveOnPhone, error)
	// OfInstall are those of an install, by id; also those that its app began.
	OfInstall(ctx context.Context, workspace, install string) ([]LiveOnPhone, error)
}

// LiveOrder is one step of an activity, for any phones.
type LiveOrder struct {
	Workspace, App, Activity, Type string
	Class                          engage.Class
	Event                          string // start, update, end
	Attributes, State              json.RawMessage
	Title, Body, Sound             string
	Relevance                      float64
	High                           bool // priority 10
	StaleAt, DismissAt, ExpiresAt  time.Time
}

// LiveAttempt is one request to Apple. It has the fields of deliver.LiveAttempt.
type LiveAttempt struct {
	Event      string    `json:"event" enum:"start,update,end"`
	At         time.Time `json:"at"`
	Outcome    string    `json:"outcome,omitempty" enum:"accepted,retry_after,token_gone,rejected,misconfigured" doc:"accepted: Apple took it, which is not to say that the phone shows it. Absent: no answer was recorded"`
	Reason     string    `json:"reason,omitempty" doc:"Apple's own code; not_sent: no request was made"`
	Status     int       `json:"status,omitempty" doc:"HTTP status of Apple's answer; absent: none came"`
	ProviderID string    `json:"provider_id,omitempty" doc:"apns-id"`
	Ambiguous  bool      `json:"ambiguous,omitempty" doc:"The connection was lost after sending: it may have been taken"`
	Lowered    bool      `json:"lowered,omitempty" doc:"Sent with priority 5 in place of 10: ten in a row, and one every 6 minutes, are what a phone allows"`
}

// LiveResult is what came of an order on one phone.
type LiveResult struct {
	To      string       `json:"to,omitempty" doc:"As the request has it; absent: it named nobody"`
	Install string       `json:"install,omitempty"`
	Person  string       `json:"person,omitempty"`
	State   string       `json:"state,omitempty" enum:"waiting,started,unknown,failed,ended" doc:"Of the activity on the phone. waiting: the start is tried again; unknown: the start was sent and no answer came, so it is not repeated; failed: it was not started"`
	Done    bool         `json:"done" doc:"Apple has taken this very step"`
	Why     string       `json:"why,omitempty" doc:"Why it has not, in a word or Apple's own: consent, no_token (the phone has not said one: of a running activity it is waited for), token_dead, no_credential, already (it was started before), ended, elsewhere (the phone is somebody else's), waits (it is tried again), unknown (nobody there, or no answer came), expired"`
	Attempt *LiveAttempt `json:"attempt,omitempty" doc:"The request that was made; absent: none"`
}

// LiveOnPhone is an activity on a phone.
type LiveOnPhone struct {
	Activity string        `json:"activity"`
	Install  string        `json:"install"`
	App      string        `json:"app"`
	Person   string        `json:"person" doc:"Whose it was when it began"`
	Type     string        `json:"attributes_type"`
	State    string        `json:"state" enum:"waiting,started,unknown,failed,ended"`
	Why      string        `json:"why,omitempty" doc:"Why it failed"`
	Waits    bool          `json:"waits" doc:"A step waits to be sent"`
	Token    bool          `json:"token,omitempty" doc:"The phone has said a token, by which it can be updated. Only in the list of a person"`
	Since    time.Time     `json:"since"`
	Attempts []LiveAttempt `json:"attempts" nullable:"false" doc:"The last 20, the newest last"`
}

// maxLiveTo is how many persons and installs a request names.
const maxLiveTo = 1000

// liveTries is for how long a step is tried when its request does not say: iOS lets an
// activity be active for 8 hours.
const liveTries = 8 * time.Hour

type liveAlert struct {
	Title string `json:"title" maxLength:"200"`
	Body  string `json:"body" maxLength:"1000"`
	Sound string `json:"sound,omitempty" maxLength:"100" doc:"default, or a file of the app's; absent: none"`
}

// liveBody is the body of a start, an update and an end; which fields it may have is told
// by the types that are documented.
type liveBody struct {
	App        string          `json:"app"`
	Activity   string          `json:"activity"`
	Type       string          `json:"attributes_type"`
	Attributes json.RawMessage `json:"attributes"`
	State      json.RawMessage `json:"content_state"`
	Class      engage.Class    `json:"class"`
	Alert      *liveAlert      `json:"alert"`
	Relevance  float64         `json:"relevance"`
	Priority   int             `json:"priority"`
	StaleAt    *time.Time      `json:"stale_at"`
	DismissAt  *time.Time      `json:"dismiss_at"`
	ExpiresAt  *time.Time      `json:"expires_at"`
	To         []string        `json:"to"`
}

// LiveStepDoc is what a phone is to show. It is exported since the document leaves out the
// fields of embedded types that are not.
type LiveStepDoc struct {
	State     map[string]any `json:"content_state" doc:"Of the app's type, as ActivityKit decodes it; of an end: the last one, absent: as it is"`
	Alert     *liveAlert     `json:"alert,omitempty" doc:"Lights the screen"`
	Relevance float64        `json:"relevance,omitempty" minimum:"0" maximum:"1"`
	Priority  int            `json:"priority,omitempty" enum:"5,10" doc:"10: at once, of which a phone allows some each hour; absent: 5, but 10 for a start, an end and with an alert"`
	StaleAt   *time.Time     `json:"stale_at,omitempty" doc:"From then on it is shown as out of date"`
	ExpiresAt *time.Time     `json:"expires_at,omitempty" doc:"Until when it is tried; absent: 8 hours"`
}

type liveStartDoc struct {
	LiveStepDoc
	App        string         `json:"app"`
	Activity   string         `json:"activity" minLength:"1" maxLength:"100" doc:"An id of yours, such as the order's: updates name it. A phone on which it was started before is left alone, so a request may be repeated. Stands in the attributes as footfall_activity_id"`
	Type       string         `json:"attributes_type" minLength:"1" maxLength:"100" doc:"The name of the app's type of attributes"`
	Attributes map[string]any `json:"attributes"`
	Class      string         `json:"class,omitempty" enum:"service,marketing" doc:"marketing needs the person's consent; absent: service, what the person has asked for"`
	To         []string       `json:"to" minItems:"1" maxItems:"1000" nullable:"false" doc:"Persons, by identifier (user_id:ada) or profile, on all their phones; or installs (install:…)"`
}

// LiveUpdateDoc is another state of an activity.
type LiveUpdateDoc struct {
	LiveStepDoc
	To []string `json:"to,omitempty" maxItems:"1000" doc:"Absent: all that it was started on. Activities that an app began by itself need it"`
}

type liveEndDoc struct {
	LiveUpdateDoc
	DismissAt *time.Time `json:"dismiss_at,omitempty" doc:"When it vanishes; absent: as iOS has it, after 4 hours"`
}

func (s *server) registerLiveActivities() {
	what := "Apple's answer to each phone stands in the results; what it has certainly not acted upon is tried again later. "
	register(s, operation{
		method: http.MethodPost, path: "/live-activities", id: "start-live-activity", tag: tagLiveActivities, role: catalog.Marketer,
		summary: "Start a Live Activity on iPhones",
		description: "On phones whose app has said the token that starts activities of the type (iOS 17.2). " + what +
			"One whose answer was lost is not repeated, since a second activity would begin: its state is unknown. " +
			"A payload above Apple's 4096 bytes is refused with the field that takes most room, before anything is sent.",
		body: liveStartDoc{}, examples: map[string]*huma.Example{"order": {Summary: "Where is my order?", Value: json.RawMessage(liveExample)}},
	}, s.startLive)
	register(s, operation{
		method: http.MethodPost, path: "/live-activities/{id}/update", id: "update-live-activity", tag: tagLiveActivities, role: catalog.Marketer,
		summary:     "Show another state",
		description: what + "Of those that wait only the newest is sent, and a phone takes the newest whatever order they come in.",
		body:        LiveUpdateDoc{},
	}, s.changeLive("update"))
	register(s, operation{
		method: http.MethodPost, path: "/live-activities/{id}/end", id: "end-live-activity", tag: tagLiveActivities, role: catalog.Marketer,
		summary:     "End a Live Activity",
		description: what + "No consent is asked: what is shown may always be taken away.",
		body:        liveEndDoc{},
	}, s.changeLive("end"))
	register(s, operation{
		method: http.MethodGet, path: "/live-activities/{id}", id: "get-live-activity", tag: tagLiveActivities, role: catalog.Viewer,
		summary: "What became of a Live Activity", description: "On each phone that it was ordered for, with the last requests to Apple; kept for 7 days after the last change.",
	}, s.getActivity)
	register(s, operation{
		method: http.MethodGet, path: "/people/{id}/live-activities", id: "list-live-activities", tag: tagLiveActivities, role: catalog.Viewer,
		summary: "Live Activities of a person", description: "On all phones; also those that an app began by itself.",
	}, s.listLive)
}

const liveExample = `{"app":"app","activity":"order-1001","attributes_type":"OrderAttributes","attributes":{"order":"1001"},` +
	`"content_state":{"step":"packed","minutes":25},"alert":{"title":"Your order","body":"is being packed"},"to":["user_id:ada"]}`

type liveAnswer struct {
	Activity string       `json:"activity"`
	Done     int          `json:"done" doc:"Phones for which Apple has taken it"`
	Results  []LiveResult `json:"results" nullable:"false"`
}

type activityInput struct {
	ID string `path:"id" maxLength:"100" doc:"Of the activity"`
	Raw
}

// order is what a body asks for.
func (s *server) liveOrder(who caller, event string, b *liveBody) (*LiveOrder, error) {
	now := s.o.Clock.Now()
	o := &LiveOrder{
		Workspace: who.workspace, App: b.App, Activity: b.Activity, Type: b.Type, Class: cmp.Or(b.Class, engage.Service), Event: event,
		Attributes: b.Attributes, State: b.State, Relevance: b.Relevance, ExpiresAt: now.Add(liveTries),
	}
	o.High = b.Priority == 10 || b.Priority == 0 && (event != "update" || b.Alert != nil)
	if a := b.Alert; a != nil {
		if o.Title, o.Body, o.Sound = a.Title, a.Body, a.Sound; o.Title == "" && o.Body == "" {
			return nil, engage.Errorf(engage.Invalid, "alert", "says nothing: give title or body")
		}
	}
	for _, t := range []struct {
		field string
		given *time.Time
		to    *time.Time
	}{{"stale_at", b.StaleAt, &o.StaleAt}, {"dismiss_at", b.DismissAt, &o.DismissAt}, {"expires_at", b.ExpiresAt, &o.ExpiresAt}} {
		if t.given != nil {
			*t.to = t.given.UTC()
		}
	}
	switch n := utf8.RuneCountInString(b.Activity); {
	case n == 0 || n > 100 || strings.ContainsFunc(b.Activity, unicode.IsControl):
		return nil, engage.Errorf(engage.Invalid, "activity", "1 to 100 characters, without control characters")
	case b.Priority != 0 && b.Priority != 5 && b.Priority != 10:
		return nil, engage.Errorf(engage.Invalid, "priority", "must be 5 or 10, is %d", b.Priority)
	case o.Class != engage.Service && o.Class != engage.Marketing:
		return nil, engage.Errorf(engage.Invalid, "class", `must be "service" or "marketing", is %q`, clip(string(b.Class)))
	case !o.ExpiresAt.After(now):
		return nil, engage.Errorf(engage.Invalid, "expires_at", "is past")
	case len(b.To) > maxLiveTo:
		return nil, engage.Errorf(engage.TooLarge, "to", "at most %d, has %d", maxLiveTo, len(b.To))
	case event == "start" && len(b.To) == 0:
		return nil, engage.Errorf(engage.Invalid, "to", "is required: say whose phones")
	case event == "start" && s.o.Catalog.Now().App(who.workspace, b.App) == nil:
		return nil, engage.Errorf(engage.NotFound, "app", "there is no app %q", clip(b.App))
	case event == "start" && (b.Type == "" || utf8.RuneCountInString(b.Type) > 100):
		return nil, engage.Errorf(engage.Invalid, "attributes_type", "1 to 100 characters")
	case event != "end" && b.DismissAt != nil:
		return nil, engage.Errorf(engage.Invalid, "dismiss_at", "is of an end")
	}
	return o, s.o.LiveActivities.Check(o)
}

func (s *server) startLive(ctx context.Context, who caller, in *bodyInput) (*answered[*liveAnswer], error) {
	var b liveBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	o, err := s.liveOrder(who, "start", &b)
	if err != nil {
		return nil, err
	}
	return s.live(ctx, who, o, b.To)
}

func (s *server) changeLive(event string) func(context.Context, caller, *activityInput) (*answered[*liveAnswer], error) {
	return func(ctx context.Context, who caller, in *activityInput) (*answered[*liveAnswer], error) {
		var b liveBody
		if err := decode(in.RawBody, &b); err != nil {
			return nil, err
		}
		for _, x := range []struct {
			field string
			given bool
		}{
			{"app", b.App != ""},
			{"activity", b.Activity != "" && b.Activity != in.ID},
			{"attributes_type", b.Type != ""},
			{"attributes", b.Attributes != nil},
			{"class", b.Class != ""},
		} {
			if x.given {
				return nil, engage.Errorf(engage.Invalid, x.field, "is of a start, and does not change")
			}
		}
		b.Activity = in.ID
		o, err := s.liveOrder(who, event, &b)
		if err != nil {
			return nil, err
		}
		return s.live(ctx, who, o, b.To)
	}
}

// live does what an order asks for, for whom it names.
func (s *server) live(ctx context.Context, who caller, o *LiveOrder, to []string) (*answered[*liveAnswer], error) {
	var installs []string
	named, missing := map[string]string{}, []LiveResult{}
	for i, id := range to {
		got, err := s.livePhones(ctx, who, o.App, id)
		if err != nil {
			return nil, engage.At(engage.Index("to", i, ""), err)
		}
		if len(got) == 0 {
			missing = append(missing, LiveResult{To: id, Why: "unknown"})
		}
		for _, install := range got {
			if _, twice := named[install]; !twice {
				named[install] = id
				installs = append(installs, install)
			}
		}
	}
	out := &liveAnswer{Activity: o.Activity, Results: missing}
	if len(installs) > maxLiveTo {
		return nil, engage.Errorf(engage.TooLarge, "to", "these are %d phones, at most %d at a time", len(installs), maxLiveTo)
	}
	if len(installs) > 0 || len(to) == 0 {
		results, err := s.o.LiveActivities.Order(ctx, o, installs)
		if err != nil {
			return nil, err
		}
		if len(to) == 0 && len(results) == 0 {
			return nil, engage.Errorf(engage.NotFound, "id", "there is no Live Activity %q that was started here; name in to whose it is, if an app began it", clip(o.Activity))
		}
		for _, r := range results {
			if r.To = named[r.Install]; r.Done {
				out.Done++
			}
			out.Results = append(out.Results, r)
		}
	}
	// Who did what, for operators; no token and nothing of what is shown.
	s.o.Logger.LogAttrs(ctx, slog.LevelInfo, "live activity", slog.String("workspace", who.workspace), slog.String("key", who.key.ID),
		slog.String("event", o.Event), slog.Int("phones", len(installs)), slog.Int("done", out.Done))
	return &answered[*liveAnswer]{out}, nil
}

// livePhones are the iPhones that an entry of to means: those of a person that have the
// app (any app, when it is empty), or an install. None when nobody is there.
func (s *server) livePhones(ctx context.Context, who caller, app, id string) ([]string, error) {
	p, err := s.person(ctx, who, id)
	if engage.CodeOf(err) == engage.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	one, single := strings.CutPrefix(id, "install:")
	var out []string
	for _, d := range p.Devices {
		if d.Platform == "ios" && (app == "" || d.App == app) && (!single || d.Install == one) {
			out = append(out, d.Install)
		}
	}
	return out, nil
}

type liveList struct {
	Items []LiveOnPhone `json:"items" nullable:"false"`
}

func (s *server) getActivity(ctx context.Context, who caller, in *struct {
	ID string `path:"id" maxLength:"100"`
},
) (*answered[*liveList], error) {
	all, err := s.o.LiveActivities.Of(ctx, who.workspace, in.ID)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, engage.Errorf(engage.NotFound, "id", "there is no Live Activity %q that was started here", clip(in.ID))
	}
	return &answered[*liveList]{&liveList{all}}, nil
}

func (s *server) listLive(ctx context.Context, who caller, in *personInput) (*answered[*liveList], error) {
	p, err := s.person(ctx, who, in.ID)
	if err != nil {
		return nil, err
	}
	out := &liveList{Items: []LiveOnPhone{}}
	for _, d := range p.Devices {
		all, err := s.o.LiveActivities.OfInstall(ctx, who.workspace, d.Install)
		if err != nil {
			return nil, fmt.Errorf("live activities of %s: %w", d.Install, err)
		}
		for _, v := range all {
			if v.Person == p.ID || slices.Contains(p.Absorbed, v.Person) { // a phone may have been another's
				out.Items = append(out.Items, v)
			}
		}
	}
	return &answered[*liveList]{out}, nil
}
