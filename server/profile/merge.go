package profile

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// Absorb makes q, whom it leaves as it is, one with p. What the two become does not
// depend on which of them is p, nor on the order in which several come together, but
// for the id and but for what finds no room. The link says which two of their profiles
// were found to be one, and since when.
//
// Of attributes and preferences the newer word counts, of consents see consent.go;
// visits and purchases add up.
func (p *Profile) Absorb(q *Profile, link Link) {
	p.split()
	theirs := q.Answers
	if theirs == nil && len(q.Consents) > 0 {
		theirs = map[string]engage.ByPurpose[engage.Consent]{q.ID: q.Consents}
	}
	p.Answers = cloneOf(p.Answers)
	for at, answers := range theirs {
		p.Answers[at] = newest(p.Answers[at], answers)
	}
	links := q.Links
	if link.A != link.B {
		links = append(slices.Clone(links), Link{A: min(link.A, link.B), B: max(link.A, link.B), At: link.At.UTC()})
	}
	p.setLinks(links)

	p.Absorbed = union(p.Absorbed, append(slices.Clone(q.Absorbed), q.ID))
	p.Identifiers = union(p.Identifiers, q.Identifiers)
	switch {
	case p.Named():
		p.Claimed = ""
	case q.Claimed > p.Claimed:
		p.Claimed = q.Claimed
	}
	p.Attributes, p.AttributeAt = united(p.Attributes, p.AttributeAt, q.Attributes, q.AttributeAt, MaxAttributes)
	p.Preferences, p.PreferenceAt = united(p.Preferences, p.PreferenceAt, q.Preferences, q.PreferenceAt, MaxPreferences)

	if !q.FirstSeen.IsZero() {
		p.Seen(q.FirstSeen)
		p.Seen(q.LastSeen)
	}
	p.Visits += q.Visits
	if q.LastVisitAt.After(p.LastVisitAt) {
		p.LastVisitAt = q.LastVisitAt
	}
	p.absorbDevices(q)
	if q.Web != nil {
		p.SetWeb(*q.Web, q.WebAt)
	}
	p.Purchases = p.Purchases.with(q.Purchases)
	p.Redeemed = p.Redeemed.with(q.Redeemed)
	p.Affinities = p.Affinities.with(q.Affinities)
	p.Places, p.PlaceAt = p.Places.with(q.Places), newestVisits(p.PlaceAt, q.PlaceAt)
	p.limitPlaces()
	p.limitSegments()
	p.settle()
	p.Unprofiled()
}

func union(a, b []string) []string {
	if len(b) == 0 {
		return a
	}
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Clip(slices.Compact(out))
}

func (p *Profile) absorbDevices(q *Profile) {
	if len(q.Devices)+len(q.Gone) == 0 {
		return
	}
	devices, gone := cloneOf(p.Devices), cloneOf(p.Gone)
	for install, d := range q.Devices {
		old, is := devices[install]
		if !is || cmp.Or(d.SeenAt.Compare(old.SeenAt), cmp.Compare(string(canonical(d)), string(canonical(old)))) > 0 {
			devices[install] = d
		}
	}
	for install, at := range q.Gone {
		if at.After(gone[install]) {
			gone[install] = at
		}
	}
	maps.DeleteFunc(devices, func(install string, d engage.Device) bool { return d.SeenAt.Before(gone[install]) })
	maps.DeleteFunc(gone, func(install string, _ time.Time) bool {
		_, back := devices[install]
		return back
	})
	p.Devices, p.Gone = devices, gone
	p.limitDevices()
	p.limitGone()
}

// limitSegments forgets the first of the installs' profiles beyond MaxSegments: who
// logs in and out every day has a new one each time. Where they are they still lead
// here; what is forgotten is that they were ever others. An answer of theirs becomes
// one of whom they were linked with, at that time.
func (p *Profile) limitSegments() {
	var segments []string
	for _, id := range p.Absorbed {
		if engage.MintedByInstall(id) {
			segments = append(segments, id)
		}
	}
	if len(segments) <= MaxSegments {
		return
	}
	since := map[string]Link{}
	for _, l := range p.Links { // the earliest first
		for _, id := range []string{l.A, l.B} {
			if _, is := since[id]; !is {
				since[id] = l
			}
		}
	}
	slices.SortFunc(segments, func(a, b string) int {
		return cmp.Or(since[a].At.Compare(since[b].At), cmp.Compare(a, b))
	})
	drop := segments[:len(segments)-MaxSegments]
	for _, id := range drop {
		l, linked := since[id]
		other := l.A
		if other == id {
			other = l.B
		}
		if other == "" || slices.Contains(drop, other) {
			other = p.ID
		}
		for purpose, c := range p.Answers[id].All() {
			if linked && c.Given().Before(l.At) {
				c.OccurredAt = l.At
			}
			had := p.Answers[other]
			if old, is := had.Of(purpose); is && old.Granted != c.Granted && c.Granted && !c.Given().After(l.At) {
				continue // the stricter stands
			}
			p.Answers[other] = newest(had, engage.ByPurpose[engage.Consent]{{Purpose: purpose, Value: c}})
		}
		delete(p.Answers, id)
	}
	dropped := func(id string) bool { return slices.Contains(drop, id) }
	p.Absorbed = slices.DeleteFunc(slices.Clone(p.Absorbed), dropped)
	// Who was linked through one of them stays linked: to whom this one was.
	var links []Link
	for _, l := range p.Links {
		if dropped(l.A) || dropped(l.B) {
			if dropped(l.A) && dropped(l.B) {
				continue
			}
			other := l.A
			if dropped(other) {
				other = l.B
			}
			if other == p.ID {
				continue
			}
			l = Link{A: min(other, p.ID), B: max(other, p.ID), At: l.At}
		}
		links = append(links, l)
	}
	p.Links = nil
	p.setLinks(links)
}
