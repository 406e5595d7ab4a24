package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
)

// This file and live_send.go are Live Activities (iOS) that a caller of the API starts,
// changes and ends on phones. They are no deliveries of campaigns: no gate chose them,
// no holdout stands beside them, and no phone shows them twice by an id.
//
// Each activity of an install has one record. A start is attempted once: the attempt is
// recorded before it is made, and one whose answer was lost (the connection broke, the
// server died) is not repeated, since Apple would begin a second activity; it is
// "unknown", and what the phone says later settles it. Only what Apple has certainly not
// acted upon (429, 503, no connection) is tried again. Updates and ends may be repeated:
// iOS goes by their timestamp, which grows with each, so the newest state wins wherever
// they cross; of those that wait only the newest is kept.

// LiveState is what is known of an activity on a phone.
type LiveState string

// The states.
const (
	LiveWaiting LiveState = "waiting" // the start has not been taken yet, and is tried again
	LiveStarted LiveState = "started" // Apple took the start, or the app began it
	LiveUnknown LiveState = "unknown" // the start may have been taken: no answer came
	LiveFailed  LiveState = "failed"  // it was not started; Reason says why
	LiveEnded   LiveState = "ended"
)

// LiveStep is what is to be shown from a moment on.
type LiveStep struct {
	Event      string          `json:"event"` // start, update, end
	Attributes json.RawMessage `json:"attributes,omitempty"`
	State      json.RawMessage `json:"content_state,omitempty"`
	Title      string          `json:"title,omitempty"` // of an alert, which lights the screen
	Body       string          `json:"body,omitempty"`
	Sound      string          `json:"sound,omitempty"`
	Relevance  float64         `json:"relevance,omitempty"`
	High       bool            `json:"high,omitempty"` // priority 10, which spends the phone's budget
	StaleAt    time.Time       `json:"stale_at,omitzero"`
	DismissAt  time.Time       `json:"dismiss_at,omitzero"`
	ExpiresAt  time.Time       `json:"expires_at"` // it is not tried any more
	At         time.Time       `json:"at"`         // of the state, whole seconds
}

// LiveAttempt is one request to the provider.
type LiveAttempt struct {
	Event      string    `json:"event"`
	At         time.Time `json:"at"`
	Outcome    string    `json:"outcome,omitempty"` // empty: no answer was recorded
	Reason     string    `json:"reason,omitempty"`
	Status     int       `json:"status,omitempty"`
	ProviderID string    `json:"provider_id,omitempty"`
	Ambiguous  bool      `json:"ambiguous,omitempty"`
	Lowered    bool      `json:"lowered,omitempty"` // to priority 5, since the hour's budget of 10 was spent
}

// LiveRecord is an activity of an install, as it is kept.
type LiveRecord struct {
	V         int          `json:"v"` // 1
	Workspace string       `json:"-"`
	Install   string       `json:"install"`
	Activity  string       `json:"activity"`
	App       string       `json:"app"`
	Profile   string       `json:"profile"` // whose it was when it began
	Type      string       `json:"type"`
	Class     engage.Class `json:"class"`
	State     LiveState    `json:"state"`
	Reason    string       `json:"reason,omitempty"`
	// Next waits to be sent; nil: nothing does.
	Next *LiveStep `json:"next,omitempty"`
	// DueUS is when Next is tried, or looked whether an attempt was answered, Unix
	// microseconds; 0: nothing is due.
	DueUS     int64         `json:"due_us,omitempty"`
	Tries     int           `json:"tries,omitempty"` // of Next
	Newest    time.Time     `json:"newest"`          // At of the newest step that was asked for
	HighSpent time.Time     `json:"high_spent,omitzero"`
	CreatedAt time.Time     `json:"created_at"`
	Attempts  []LiveAttempt `json:"attempts"` // the newest, last

	Version int64 `json:"-"` // in the ledger; 0: it is not there
}

// LiveLedger keeps the records.
type LiveLedger interface {
	// Get is a record; nil when there is none.
	Get(ctx context.Context, workspace, install, activity string) (*LiveRecord, error)
	// Put writes it over its version, 0 for none, and adds one to that; false when
	// another is there, of which nothing was written.
	Put(ctx context.Context, r *LiveRecord) (bool, error)
	// Of are the records of an activity, of every install; at most limit.
	Of(ctx context.Context, workspace, activity string, limit int) ([]*LiveRecord, error)
	// Due are records whose time has come, of all workspaces, at most limit, and the
	// time of the first one that is left; zero: there is none.
	Due(ctx context.Context, now time.Time, limit int) ([]*LiveRecord, time.Time, error)
}

// LivePhone is an install as far as its activities go.
type LivePhone struct {
	App, Profile string
	Tokens       []engage.LiveToken
}

// LivePhones knows the phones, and who may be sent something.
type LivePhones interface {
	// Phone is nil for an install that is not known.
	Phone(ctx context.Context, workspace, install string) (*LivePhone, error)
	// Permit says why the person may not be sent something of the class; empty: they may.
	Permit(ctx context.Context, workspace, profile string, class engage.Class) (engage.Reason, error)
	// Same reports whether two profiles are one person.
	Same(ctx context.Context, workspace, a, b string) (bool, error)
}

// LiveOptions of Live Activities; all are required but Logger.
type LiveOptions struct {
	Ledger   LiveLedger
	Phones   LivePhones
	Senders  Senders
	Outcomes interface {
		TokenDead(ctx context.Context, workspace string, t engage.TokenDead) error
		TokenEnvironment(ctx context.Context, workspace string, t engage.TokenEnvironment) error
	}
	// Size is how large the payload of a message is (apns.PayloadSize).
	Size   func(channels.Message) (channels.Size, error)
	Clock  clock.Clock
	Logger *slog.Logger // nil logs nothing
}

// Lives starts, changes and ends Live Activities.
type Lives struct {
	o    LiveOptions
	wake chan struct{}
}

// NewLives makes it; it does nothing until Run.
func NewLives(o LiveOptions) *Lives {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Lives{o: o, wake: make(chan struct{}, 1)}
}

const (
	liveV1           = 1
	keepLiveAttempts = 20
	// liveAnswer bounds an attempt; after it, one without an answer is looked at.
	liveAnswer = 30 * time.Second
	// liveToken is after how long it is looked whether the phone has said its token.
	liveToken = 5 * time.Second
	// livePortion of records is worked on at a time, each with one request under way.
	livePortion = 32
	// highBurst steps of priority 10 may go at once, and one more every highEvery: Apple
	// gives a phone a budget of them each hour, and drops what is above.
	highBurst = 10
	highEvery = 6 * time.Minute
	// liveRaces is how often a record is read anew that another has written meanwhile.
	liveRaces = 10
)

// LiveOrder is what a caller asks for, of one activity on any phones.
type LiveOrder struct {
	Workspace, App, Activity, Type string
	Class                          engage.Class
	Step                           LiveStep // At is set here
}

// LiveResult is what came of it on one phone.
type LiveResult struct {
	Install string
	Profile string
	State   LiveState
	// Done: Apple has taken this very step.
	Done bool
	// Why is why it is not, in a word: "consent", "no_token", "token_dead",
	// "no_credential", "already" (it has been started), "ended", "elsewhere" (the phone
	// is another's by now), "unknown" (the install), "waits", "raced", or the provider's
	// reason.
	Why string
	// Attempt is the one that this order has made; nil: none.
	Attempt *LiveAttempt
}

// Check judges an order before anything is sent. Errors: engage.TooLarge with the field
// ("content_state") that takes most room, engage.Invalid of a field.
func (l *Lives) Check(o *LiveOrder) error {
	r := &LiveRecord{Install: "check", Activity: o.Activity, Type: o.Type}
	step := o.Step
	if step.At.IsZero() {
		step.At = l.o.Clock.Now().Truncate(time.Second)
	}
	size, err := l.o.Size(liveMessage(r, &step, &engage.PushTarget{Provider: string(channels.APNs)}, false))
	if m, ok := errors.AsType[*channels.MessageError](err); ok {
		return engage.Errorf(engage.Invalid, liveField(m.Field), "is %s: %s", m.Code, m.Msg)
	}
	if err != nil {
		return err
	}
	if size.Bytes > size.Limit {
		return engage.Errorf(engage.TooLarge, liveField(size.Field), "%d bytes of a push of %d, which may have %d", size.FieldBytes, size.Bytes, size.Limit)
	}
	return nil
}

// liveField is a message's field as the API has it.
func liveField(name string) string {
	switch name {
	case "live.state":
		return "content_state"
	case "live.attributes":
		return "attributes"
	case "live.attributes_type":
		return "attributes_type"
	case "apple.relevance":
		return "relevance"
	case "title", "body", "sound":
		return "alert." + name
	}
	return name
}

// Start begins the activity on phones, and returns what came of it in their order. An
// activity that was begun on a phone already is left alone there. The error is that of
// the ledger: what was begun goes on all the same.
func (l *Lives) Start(ctx context.Context, o *LiveOrder, installs []string) ([]LiveResult, error) {
	return l.each(ctx, installs, func(ctx context.Context, install string) (LiveResult, error) { return l.start(ctx, o, install) })
}

// Change updates or ends the activity on phones: those named, or without any all that
// it was started on. A step that cannot go now waits, until a newer one takes its place.
func (l *Lives) Change(ctx context.Context, o *LiveOrder, installs []string) ([]LiveResult, error) {
	if len(installs) == 0 {
		all, err := l.o.Ledger.Of(ctx, o.Workspace, o.Activity, MaxLivePhones)
		if err != nil {
			return nil, err
		}
		for _, r := range all {
			installs = append(installs, r.Install)
		}
	}
	return l.each(ctx, installs, func(ctx context.Context, install string) (LiveResult, error) { return l.change(ctx, o, install) })
}

// MaxLivePhones is on how many phones one order can act.
const MaxLivePhones = 1000

// Of are the records of an activity.
func (l *Lives) Of(ctx context.Context, workspace, activity string) ([]*LiveRecord, error) {
	return l.o.Ledger.Of(ctx, workspace, activity, MaxLivePhones)
}

func (l *Lives) each(ctx context.Context, installs []string, f func(context.Context, string) (LiveResult, error)) ([]LiveResult, error) {
	out, errs := make([]LiveResult, len(installs)), make([]error, len(installs))
	var wg sync.WaitGroup
	slots := make(chan struct{}, livePortion)
	for i, install := range installs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			out[i], errs[i] = f(ctx, install)
			out[i].Install = install
		})
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

// start is Start on one phone.
func (l *Lives) start(ctx context.Context, o *LiveOrder, install string) (LiveResult, error) {
	phone, err := l.o.Phones.Phone(ctx, o.Workspace, install)
	if err != nil || phone == nil || phone.App != o.App {
		return LiveResult{State: LiveFailed, Why: "unknown"}, err
	}
	r, err := l.o.Ledger.Get(ctx, o.Workspace, install, o.Activity)
	if err != nil {
		return LiveResult{}, err
	}
	if r != nil && r.State != LiveFailed {
		return LiveResult{Profile: r.Profile, State: r.State, Why: "already"}, nil
	}
	var version int64
	if r != nil {
		version = r.Version
	}
	now := l.o.Clock.Now()
	step := o.Step
	step.Event, step.At = "start", now.Truncate(time.Second)
	r = &LiveRecord{
		V: liveV1, Workspace: o.Workspace, Install: install, Activity: o.Activity, App: o.App, Profile: phone.Profile, Type: o.Type, Class: o.Class,
		State: LiveWaiting, Next: &step, Newest: step.At, CreatedAt: now, Attempts: []LiveAttempt{}, Version: version,
	}
	out, err := l.try(ctx, r, phone)
	if out.Why == "raced" {
		out.Why = "already"
	}
	return out, err
}

// change is Change on one phone. A record of which another has written meanwhile is read
// anew, so that of two orders the later one's state is the one that stays.
func (l *Lives) change(ctx context.Context, o *LiveOrder, install string) (LiveResult, error) {
	phone, err := l.o.Phones.Phone(ctx, o.Workspace, install)
	if err != nil || phone == nil || o.App != "" && phone.App != o.App {
		return LiveResult{State: LiveFailed, Why: "unknown"}, err
	}
	for range liveRaces {
		r, err := l.o.Ledger.Get(ctx, o.Workspace, install, o.Activity)
		if err != nil {
			return LiveResult{}, err
		}
		now := l.o.Clock.Now()
		if r == nil {
			t := engage.LiveRunningToken(phone.Tokens, o.Activity, now)
			if t == nil {
				return LiveResult{Profile: phone.Profile, State: LiveFailed, Why: "unknown"}, nil
			}
			r = &LiveRecord{
				V: liveV1, Workspace: o.Workspace, Install: install, Activity: o.Activity, App: phone.App, Profile: phone.Profile, Type: t.Type,
				Class: o.Class, State: LiveStarted, CreatedAt: now, Attempts: []LiveAttempt{},
			}
		}
		switch r.State {
		case LiveEnded:
			return LiveResult{Profile: r.Profile, State: r.State, Why: "ended"}, nil
		case LiveFailed:
			return LiveResult{Profile: r.Profile, State: r.State, Why: r.Reason}, nil
		case LiveWaiting:
			out, done, err := l.changeStart(ctx, r, o)
			if done || err != nil {
				return out, err
			}
			continue
		}
		if r.Next != nil && r.Next.Event == "end" && o.Step.Event == "update" {
			return LiveResult{Profile: r.Profile, State: r.State, Why: "ended"}, nil // it is on its way
		}
		step := o.Step
		step.At = now.Truncate(time.Second)
		if !step.At.After(r.Newest) { // iOS takes the later of two, and cannot tell apart those of one second
			step.At = r.Newest.Add(time.Second)
		}
		r.Next, r.Newest, r.Tries = &step, step.At, 0
		out, err := l.try(ctx, r, phone)
		if err != nil || out.Why != "raced" {
			return out, err
		}
	}
	return LiveResult{}, fmt.Errorf("the activity on %s changes all the time", install)
}

// changeStart changes a start that has not been taken yet: it shows the newer state, or
// is given up. Nothing can be done while a request is under way. It reports false when
// another has written the record meanwhile.
func (l *Lives) changeStart(ctx context.Context, r *LiveRecord, o *LiveOrder) (LiveResult, bool, error) {
	out := LiveResult{Profile: r.Profile, State: r.State, Why: "waits"}
	if n := len(r.Attempts); r.Next == nil || n > 0 && r.Attempts[n-1].Outcome == "" {
		return out, true, nil
	}
	if o.Step.Event == "end" {
		r.State, r.Next, r.DueUS = LiveEnded, nil, 0
		out.State, out.Why = LiveEnded, "ended"
	} else {
		next := *r.Next
		next.State, next.StaleAt = o.Step.State, o.Step.StaleAt
		r.Next = &next
	}
	done, err := l.o.Ledger.Put(ctx, r)
	return out, done, err
}

// Run tries again what waits, until ctx ends.
func (l *Lives) Run(ctx context.Context) error {
	for {
		next, err := l.work(ctx)
		if err != nil && ctx.Err() == nil {
			l.o.Logger.Error("live activities that wait", "error", err)
			next = l.o.Clock.Now().Add(afterError)
		}
		var again <-chan struct{}
		stop := func() {}
		if !next.IsZero() {
			again, stop = l.o.Clock.At(next)
		}
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-again:
		}
		stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// work does what is due, and says when there is more; zero: when something is asked for.
func (l *Lives) work(ctx context.Context) (time.Time, error) {
	for {
		due, next, err := l.o.Ledger.Due(ctx, l.o.Clock.Now(), livePortion)
		if err != nil || len(due) == 0 {
			return next, err
		}
		var wg sync.WaitGroup
		errs := make([]error, len(due))
		for i, r := range due {
			wg.Go(func() { errs[i] = l.again(ctx, r) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return next, err
		}
	}
}

// again is what is to be done for a record that is due.
func (l *Lives) again(ctx context.Context, r *LiveRecord) error {
	if n := len(r.Attempts); r.State == LiveWaiting && n > 0 && r.Attempts[n-1].Outcome == "" {
		// It may have gone out, and nobody heard the answer: a repeat could be a second one.
		r.Attempts = slices.Clone(r.Attempts)
		r.Attempts[n-1].Ambiguous = true
		r.State, r.Next, r.DueUS = LiveUnknown, nil, 0
		_, err := l.o.Ledger.Put(ctx, r)
		return err
	}
	if r.Next == nil {
		r.DueUS = 0
		_, err := l.o.Ledger.Put(ctx, r)
		return err
	}
	phone, err := l.o.Phones.Phone(ctx, r.Workspace, r.Install)
	if err != nil {
		return err
	}
	if phone == nil {
		r.State, r.Reason, r.Next, r.DueUS = LiveFailed, "unknown", nil, 0
		_, err := l.o.Ledger.Put(ctx, r)
		return err
	}
	_, err = l.try(ctx, r, phone)
	return err
}

func (l *Lives) stir() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}
