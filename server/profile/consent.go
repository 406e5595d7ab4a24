package profile

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// The consents of a person who came together from several profiles are those that the
// person would have if everything had come in the order in which it happened: an answer
// counts until the next one; where two become one, the stricter of their answers stands;
// a later answer, of the one that they are by then, counts again.
//
// So that the order of arrival does not matter, the newest answer of each profile is
// kept, and when which two became one: of these links the earliest that suffice.

// Link says that two profiles are one person since a time, when that was said.
type Link struct {
	A  string    `json:"a"` // ids, the smaller first
	B  string    `json:"b"`
	At time.Time `json:"at"`
}

func (l Link) compare(m Link) int {
	return cmp.Or(l.At.Compare(m.At), strings.Compare(l.A, m.A), strings.Compare(l.B, m.B))
}

// groups are profiles that are one, by a member.
type groups map[string]string

func (g groups) of(id string) string {
	for {
		up, is := g[id]
		if !is {
			return id
		}
		id = up
	}
}

// join makes two one, and reports whether they were two.
func (g groups) join(a, b string) bool {
	if a, b = g.of(a), g.of(b); a == b {
		return false
	}
	g[b] = a
	return true
}

// Link notes that two profiles, both of this person, are one since then.
func (p *Profile) Link(a, b string, at time.Time) {
	if a == b || p.linkedBefore(a, b, at) {
		return
	}
	p.split()
	p.setLinks([]Link{{A: min(a, b), B: max(a, b), At: at.UTC()}})
	p.settle()
}

// linkedBefore reports whether it was known that two are one by what was said before a
// time.
func (p *Profile) linkedBefore(a, b string, at time.Time) bool {
	g := groups{}
	for _, l := range p.Links {
		if !l.At.Before(at) {
			break
		}
		g.join(l.A, l.B)
	}
	return g.of(a) == g.of(b)
}

// setLinks adds links and keeps those that are needed: the earliest.
func (p *Profile) setLinks(more []Link) {
	all := slices.Concat(p.Links, more)
	slices.SortFunc(all, Link.compare)
	g := groups{}
	p.Links = slices.Clip(slices.DeleteFunc(all, func(l Link) bool { return !g.join(l.A, l.B) }))
}

// split notes where the answers so far were given, before there are others.
func (p *Profile) split() {
	if p.Answers == nil {
		p.Answers = map[string]engage.ByPurpose[engage.Consent]{}
		if len(p.Consents) > 0 {
			p.Answers[p.ID] = p.Consents
		}
	}
}

// SetConsents folds answers in that were given at a profile which is this person's;
// empty means at this one. Of two answers there to a purpose the newer counts.
func (p *Profile) SetConsents(at string, answers engage.ByPurpose[engage.Consent]) {
	if (at == "" || at == p.ID) && p.Answers == nil {
		p.Consents = newest(p.Consents, answers)
		return
	}
	if at == "" {
		at = p.ID
	}
	p.split()
	p.Answers = with(p.Answers, at, newest(p.Answers[at], answers))
	p.settle()
}

func newest(had, more engage.ByPurpose[engage.Consent]) engage.ByPurpose[engage.Consent] {
	for purpose, c := range more.All() {
		if old, is := had.Of(purpose); !is || after(&c, &old) {
			had = had.With(purpose, c)
		}
	}
	return had
}

// after reports whether c is the newer answer; of the same moment the stricter.
func after(c, old *engage.Consent) bool {
	if x := c.Given().Compare(old.Given()); x != 0 {
		return x > 0
	}
	if c.Granted != old.Granted {
		return old.Granted
	}
	return bytes.Compare(canonical(c), canonical(old)) >= 0
}

// stricter of two answers: a no before a yes, else the newer.
func stricter(a, b *engage.Consent) *engage.Consent {
	switch {
	case a == nil:
		return b
	case b == nil || a.Granted != b.Granted && !a.Granted:
		return a
	case a.Granted != b.Granted || after(b, a):
		return b
	}
	return a
}

// settle finds the answers in force.
func (p *Profile) settle() {
	purposes := map[engage.Purpose]bool{}
	for _, given := range p.Answers {
		for purpose := range given.All() {
			purposes[purpose] = true
		}
	}
	p.Consents = nil
	for purpose := range purposes {
		p.Consents = p.Consents.With(purpose, *p.inForce(purpose))
	}
}

// inForce goes through what happened: answers and links, by time. Links first go
// after answers of the same moment, so that the stricter stands.
func (p *Profile) inForce(purpose engage.Purpose) *engage.Consent {
	type given struct {
		at string
		engage.Consent
	}
	var answers []given
	for _, at := range slices.Sorted(maps.Keys(p.Answers)) {
		if c, is := p.Answers[at].Of(purpose); is {
			answers = append(answers, given{at, c})
		}
	}
	slices.SortStableFunc(answers, func(a, b given) int {
		switch {
		case after(&a.Consent, &b.Consent) && !after(&b.Consent, &a.Consent):
			return 1
		case after(&b.Consent, &a.Consent) && !after(&a.Consent, &b.Consent):
			return -1
		}
		return 0
	})
	g, force := groups{}, map[string]*engage.Consent{}
	links := p.Links
	linkUntil := func(t time.Time) {
		for len(links) > 0 && links[0].At.Before(t) {
			l := links[0]
			links = links[1:]
			a, b := force[g.of(l.A)], force[g.of(l.B)]
			if g.join(l.A, l.B) {
				force[g.of(l.A)] = stricter(a, b)
			}
		}
	}
	for i := range answers {
		linkUntil(answers[i].Given())
		force[g.of(answers[i].at)] = &answers[i].Consent
	}
	// What is not linked (by a link that was forgotten) is treated as if it were now.
	var out *engage.Consent
	linkUntil(time.Unix(1<<40, 0))
	for id, c := range force {
		if g.of(id) == id {
			out = stricter(out, c)
		}
	}
	return out
}

// Consented reports whether the person agreed to a purpose.
func (p *Profile) Consented(purpose engage.Purpose) bool {
	c, _ := p.Consents.Of(purpose)
	return c.Granted
}
