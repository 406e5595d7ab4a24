package deliver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/server/engage"
)

// ActivityKey is the attribute by which an app knows which activity a push has started:
// it says the token of that under this id.
const ActivityKey = "footfall_activity_id"

// liveMessage is a step as a push to a token.
func liveMessage(r *LiveRecord, s *LiveStep, to *engage.PushTarget, high bool) channels.Message {
	live := &channels.Live{Event: s.Event, State: s.State, At: s.At, StaleAt: s.StaleAt, DismissAt: s.DismissAt}
	if s.Event == "start" {
		live.AttributesType, live.Attributes = r.Type, named(s.Attributes, r.Activity)
	}
	return channels.Message{
		AttemptID: engage.AttemptID("live/"+r.Activity+"/"+strconv.FormatInt(s.At.Unix(), 10), r.Install),
		Target: channels.Target{
			Provider: channels.APNs, Token: channels.Token(to.Token.Reveal()), Environment: to.Environment, Topic: to.Topic, Platform: "ios",
		},
		Kind: channels.LiveActivity, Title: s.Title, Body: s.Body, Sound: s.Sound, HighPrio: high, ExpiresAt: s.ExpiresAt,
		Apple: channels.Apple{Relevance: s.Relevance}, Live: live,
	}
}

// named are the attributes with the activity's id among them; an app's own stays.
func named(attributes json.RawMessage, activity string) json.RawMessage {
	var have map[string]json.RawMessage
	if json.Unmarshal(attributes, &have) != nil || have == nil || have[ActivityKey] != nil {
		return attributes // what is no object is refused when it is sent
	}
	id, err := json.Marshal(activity)
	if err != nil {
		return attributes // a string can always be encoded
	}
	out := append([]byte(`{"`+ActivityKey+`":`), id...)
	rest := bytes.TrimSpace(attributes)[1:]
	if len(have) > 0 {
		out = append(out, ',')
	}
	return append(out, rest...)
}

// try makes an attempt at what the record is to send next, if it may and can go, and
// keeps what came of it. A result of "raced" has written nothing: another has.
func (l *Lives) try(ctx context.Context, r *LiveRecord, phone *LivePhone) (LiveResult, error) {
	now := l.o.Clock.Now()
	step := r.Next
	give := func(state LiveState, why string) (LiveResult, error) { // nothing more is tried
		r.State, r.Next, r.DueUS = state, nil, 0
		if state == LiveFailed {
			r.Reason = why
		}
		return l.keep(ctx, r, LiveResult{Profile: r.Profile, State: state, Why: why})
	}
	state := r.State // that it has if the step cannot go
	if step.Event == "start" {
		state = LiveFailed
	}
	if !step.ExpiresAt.After(now) {
		return give(state, "expired")
	}
	same, err := l.o.Phones.Same(ctx, r.Workspace, phone.Profile, r.Profile)
	if err != nil {
		return LiveResult{}, err
	}
	if !same {
		return give(LiveEnded, "elsewhere") // the phone has forgotten it with the person
	}
	if step.Event != "end" { // what is shown may always be taken away
		why, err := l.o.Phones.Permit(ctx, r.Workspace, phone.Profile, r.Class)
		if err != nil {
			return LiveResult{}, err
		}
		if why != "" {
			return give(state, string(why))
		}
	}
	t := engage.LiveStartToken(phone.Tokens, r.Type)
	if step.Event != "start" {
		if t = engage.LiveRunningToken(phone.Tokens, r.Activity, now); t == nil || t.Push.Dead != "" {
			return l.later(ctx, r, liveToken<<min(r.Tries, 5), "no_token")
		}
	}
	switch {
	case t == nil:
		return give(state, "no_token")
	case t.Push.Dead != "":
		return give(state, "token_dead")
	}
	sender, _, err := l.o.Senders.Sender(ctx, r.Workspace, phone.App, string(channels.APNs))
	switch code := engage.CodeOf(err); {
	case code == engage.NotFound || code == engage.Unsupported:
		return give(state, detailNoCredential)
	case err != nil:
		l.o.Logger.WarnContext(ctx, "no sender for now", slog.String("workspace", r.Workspace), slog.String("app", phone.App), slog.Any("error", err))
		return l.later(ctx, r, afterError, "waits")
	}
	high := step.High && r.mayBeHigh(now)
	a := LiveAttempt{Event: step.Event, At: now, Lowered: step.High && !high}
	if len(r.Attempts) >= keepLiveAttempts {
		r.Attempts = r.Attempts[len(r.Attempts)-keepLiveAttempts+1:]
	}
	r.Attempts = append(slices.Clip(r.Attempts), a)
	r.Tries++
	r.DueUS = now.Add(2 * liveAnswer).UnixMicro()
	kept, err := l.o.Ledger.Put(ctx, r) // before it is made
	if err != nil || !kept {
		return LiveResult{Profile: r.Profile, State: r.State, Why: "raced"}, err
	}
	bounded, cancel := context.WithTimeout(ctx, liveAnswer)
	defer cancel()
	out, err := sender.Send(bounded, liveMessage(r, step, &t.Push, high))
	// What was sent is kept, whoever has stopped waiting for it.
	ctx = context.WithoutCancel(ctx)
	if err != nil { // no request was made
		a.Outcome, a.Reason = string(channels.Rejected), "not_sent"
		if bounded.Err() != nil {
			a.Outcome = string(channels.RetryAfter)
		}
		l.o.Logger.WarnContext(ctx, "live activity not sent", slog.String("workspace", r.Workspace), slog.String("install", r.Install), slog.Any("error", err))
	} else {
		a.Outcome, a.Reason, a.Status, a.ProviderID, a.Ambiguous = string(out.Kind), out.Reason, out.Status, out.ProviderID, out.Ambiguous
		l.learn(ctx, r, &t.Push, out)
	}
	return l.answered(ctx, r, step, a, out.RetryAfter)
}

// mayBeHigh takes one of the phone's budget of steps of priority 10; false: it is spent.
func (r *LiveRecord) mayBeHigh(now time.Time) bool {
	even := r.HighSpent
	if even.Before(now) {
		even = now
	}
	if even.Sub(now) > (highBurst-1)*highEvery {
		return false
	}
	r.HighSpent = even.Add(highEvery)
	return true
}

// learn keeps what the provider has said of a token, as for any push.
func (l *Lives) learn(ctx context.Context, r *LiveRecord, p *engage.PushTarget, out channels.Outcome) {
	var err error
	switch {
	case out.Kind == channels.TokenGone:
		err = l.o.Outcomes.TokenDead(ctx, r.Workspace, engage.TokenDead{Install: r.Install, Token: p.Token, Reason: out.Reason, Since: out.GoneSince})
	case out.Environment != "":
		err = l.o.Outcomes.TokenEnvironment(ctx, r.Workspace, engage.TokenEnvironment{Install: r.Install, Token: p.Token, Environment: out.Environment})
	}
	if err != nil { // the next push finds it again
		l.o.Logger.WarnContext(ctx, "tell what was found of a live activity's token", slog.String("workspace", r.Workspace), slog.String("install", r.Install), slog.Any("error", err))
	}
}

// answered keeps the answer to an attempt. Another order may have written the record
// meanwhile: what that wants stays, and the answer is noted beside it.
func (l *Lives) answered(ctx context.Context, r *LiveRecord, step *LiveStep, a LiveAttempt, retryAfter time.Duration) (LiveResult, error) {
	for range liveRaces {
		done := r.settle(step, a, retryAfter, l.o.Clock.Now())
		kept, err := l.o.Ledger.Put(ctx, r)
		if err != nil {
			return LiveResult{}, err
		}
		if kept {
			l.stir()
			why := a.Reason
			switch {
			case done:
				why = ""
			case r.State == LiveUnknown || a.Ambiguous:
				why = "unknown"
			case r.Next != nil:
				why = "waits"
			}
			return LiveResult{Profile: r.Profile, State: r.State, Done: done, Why: why, Attempt: &a}, nil
		}
		now, err := l.o.Ledger.Get(ctx, r.Workspace, r.Install, r.Activity)
		if err != nil {
			return LiveResult{}, err
		}
		if now == nil { // the person was erased
			return LiveResult{Profile: r.Profile, State: LiveEnded, Why: "unknown", Attempt: &a}, nil
		}
		r = now
	}
	return LiveResult{}, fmt.Errorf("the activity on %s changes all the time", r.Install)
}

// settle makes of the answer to an attempt at a step what holds from now on, and reports
// whether the provider has taken it.
func (r *LiveRecord) settle(step *LiveStep, a LiveAttempt, retryAfter time.Duration, now time.Time) (taken bool) {
	for i := range r.Attempts {
		if x := &r.Attempts[i]; x.Event == a.Event && x.At.Equal(a.At) {
			*x = a
		}
	}
	current := r.Next != nil && r.Next.At.Equal(step.At)
	over := func(state LiveState) {
		r.State = state
		if current || state == LiveEnded || state == LiveFailed {
			r.Next, r.DueUS, r.Tries = nil, 0, 0
		}
	}
	switch kind := channels.Kind(a.Outcome); {
	case kind == channels.Accepted && step.Event == "end":
		over(LiveEnded)
		return true
	case kind == channels.Accepted:
		over(LiveStarted)
		return true
	case step.Event == "start" && a.Ambiguous:
		over(LiveUnknown)
	case kind == channels.RetryAfter || a.Ambiguous:
		if current {
			if retryAfter <= 0 {
				retryAfter = backoff(r.Tries, 0.5)
			}
			r.DueUS = now.Add(retryAfter).UnixMicro()
		}
	case step.Event == "start":
		r.Reason = a.Reason
		over(LiveFailed)
	case kind == channels.TokenGone && a.Status == 410:
		over(LiveEnded) // iOS gives a token up with its activity
	default:
		over(r.State)
	}
	return false
}

// later keeps the step for another time.
func (l *Lives) later(ctx context.Context, r *LiveRecord, wait time.Duration, why string) (LiveResult, error) {
	r.Tries++
	r.DueUS = l.o.Clock.Now().Add(wait).UnixMicro()
	return l.keep(ctx, r, LiveResult{Profile: r.Profile, State: r.State, Why: why})
}

// keep writes the record, and gives the result unless another has written it.
func (l *Lives) keep(ctx context.Context, r *LiveRecord, out LiveResult) (LiveResult, error) {
	kept, err := l.o.Ledger.Put(ctx, r)
	if err != nil {
		return LiveResult{}, err
	}
	if !kept {
		out.Why = "raced"
	}
	l.stir()
	return out, nil
}
