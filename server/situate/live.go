package situate

import (
	"slices"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// This file keeps what the app says of Live Activities. Their tokens stay with the
// install: no decision looks at them, so they are not among what its person's devices
// tell.

// liveActivity takes a token, or that an activity is over. Of the same type or activity
// the last one in the log counts. What was made before a logout is of a person who has
// gone, but for the tokens that start activities, which are the phone's.
func (s *step) liveActivity(l *sdkpb.LiveActivity) {
	in := s.in
	of := engage.LiveToken{Type: l.GetAttributesType(), Activity: l.GetActivityId(), Push: engage.PushTarget{
		Provider: "apns", Token: engage.Secret(l.GetToken()), Environment: l.GetEnvironment(), Topic: l.GetTopic(), At: s.e.At,
	}}
	if of.Activity != "" && s.seq < in.From {
		return
	}
	// A state shares the list with its clones, so it is replaced and never changed.
	var left []engage.LiveToken
	for _, x := range in.Live {
		if x.Activity != "" && s.e.At.Sub(x.Push.At) >= engage.LiveFor {
			continue
		}
		if x.Activity != of.Activity || of.Activity == "" && x.Type != of.Type {
			left = append(left, x)
			continue
		}
		if x.Push.Token == of.Push.Token && x.Push.Found { // an app is often built for the one and signed for the other
			of.Push.Environment, of.Push.Found = x.Push.Environment, true
		}
	}
	if !l.GetEnded() {
		left = append(left, of)
	}
	in.Live = newest(newest(left, true, engage.MaxLiveTypes), false, engage.MaxLiveRunning)
}

// newest leaves the last n of the tokens that start, or of those that do not.
func newest(all []engage.LiveToken, starts bool, n int) []engage.LiveToken {
	have := 0
	for _, x := range all {
		if (x.Activity == "") == starts {
			have++
		}
	}
	return slices.DeleteFunc(all, func(x engage.LiveToken) bool {
		if (x.Activity == "") != starts || have <= n {
			return false
		}
		have--
		return true
	})
}

// leaveLive forgets the running activities of a person who leaves the phone.
func (in *Install) leaveLive() {
	in.Live = slices.DeleteFunc(slices.Clone(in.Live), func(x engage.LiveToken) bool { return x.Activity != "" })
}

// liveDead marks a token that the provider calls dead, and reports whether there is one.
func (s *step) liveDead(dead *engage.TokenDead) bool {
	return s.changeLive(dead.Token, func(p *engage.PushTarget) {
		if p.Dead == "" && (dead.Since.IsZero() || !p.At.After(dead.Since)) {
			p.Dead = dead.Reason
		}
	})
}

// liveFound notes in which environment a token lives, and reports whether there is one.
func (s *step) liveFound(found *engage.TokenEnvironment) bool {
	return s.changeLive(found.Token, func(p *engage.PushTarget) { p.Environment, p.Found = found.Environment, true })
}

// changeLive changes the tokens that are this one.
func (s *step) changeLive(token engage.Secret, change func(*engage.PushTarget)) bool {
	is := func(x engage.LiveToken) bool { return x.Push.Token == token }
	if !slices.ContainsFunc(s.in.Live, is) {
		return false
	}
	s.in.Live = slices.Clone(s.in.Live)
	for i := range s.in.Live {
		if is(s.in.Live[i]) {
			change(&s.in.Live[i].Push)
		}
	}
	return true
}
