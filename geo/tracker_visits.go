package geo

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"time"
)

// mintID makes a visit known that begins now.
func (t *Tracker) mintID(w World, place string, seq uint64, since int64, stale bool) string {
	id := t.freeID(w, place, seq)
	t.known = append(slices.Clip(t.known), known{ID: id, Place: place, Since: since, Stale: stale})
	return id
}

func (t *Tracker) freeID(w World, place string, seq uint64) string {
	for n := 0; ; n++ {
		id := w.VisitID(place, seq, n)
		if !slices.ContainsFunc(t.known, func(k known) bool { return k.ID == id }) {
			return id
		}
	}
}

// idOf is the id of the visit of a place that began then, empty if none is known.
func (t *Tracker) idOf(place string, since int64) string {
	for i := range t.known {
		if k := &t.known[i]; k.Place == place && k.Since == since {
			return k.ID
		}
	}
	return ""
}

// recognise gives the visits of a window that was applied anew the ids that they
// had: those of visits that began at the same time, then of visits of the same
// place that they overlap, then new ones. It returns those that ended, and those
// that turned out not to have been.
func (t *Tracker) recognise(r *run, ended []stay, seq uint64) (all []stay, withdrawn []Visit) {
	stays := make([]*stay, 0, len(ended)+len(t.live.Stays))
	for i := range ended {
		stays = append(stays, &ended[i])
	}
	for i := range t.live.Stays {
		stays = append(stays, &t.live.Stays[i])
	}
	slices.SortFunc(stays, func(a, b *stay) int { return cmp.Or(cmp.Compare(a.Since, b.Since), cmp.Compare(a.Place, b.Place)) })
	old := t.known
	taken := make([]bool, len(old))
	index := func(s *stay, fits func(*known) bool) int {
		for i := range old {
			if !taken[i] && old[i].Place == s.Place && fits(&old[i]) {
				return i
			}
		}
		return -1
	}
	matched := make([]int, len(stays))
	for n, s := range stays {
		matched[n] = index(s, func(k *known) bool { return k.Since == s.Since || s.ID != "" && k.ID == s.ID })
		if matched[n] >= 0 {
			taken[matched[n]] = true
		}
	}
	for n, s := range stays {
		if matched[n] >= 0 {
			continue
		}
		matched[n] = index(s, func(k *known) bool {
			return (k.Until == 0 || k.Until > s.Since) && (s.until == 0 || s.until > k.Since)
		})
		if matched[n] >= 0 {
			taken[matched[n]] = true
		}
	}
	t.known = make([]known, 0, len(old)+1)
	for i, k := range old {
		if !taken[i] && t.past(k) {
			t.known = append(t.known, k) // not of this window
			taken[i] = true
		}
	}
	for n, s := range stays {
		var k known
		if i := matched[n]; i >= 0 {
			k = old[i]
		} else {
			k = known{ID: t.freeIDBeside(r.w, s.Place, seq, old), Place: s.Place, Stale: r.stale(micro(s.Since))}
		}
		k.Since, s.ID = s.Since, k.ID
		t.known = append(t.known, k)
	}
	for i := range r.out {
		if tr := &r.out[i]; tr.Visit == "" {
			tr.Visit = t.idOf(tr.Place, tr.since)
		}
	}
	for i, k := range old {
		if !taken[i] {
			withdrawn = append(withdrawn, Visit{ID: k.ID, Place: k.Place, Since: micro(k.Since), Until: micro(k.Since), Last: micro(k.Since), Withdrawn: true, Stale: k.Stale})
		}
	}
	return ended, withdrawn
}

func (t *Tracker) freeIDBeside(w World, place string, seq uint64, old []known) string {
	for n := 0; ; n++ {
		id := w.VisitID(place, seq, n)
		taken := func(k known) bool { return k.ID == id }
		if !slices.ContainsFunc(t.known, taken) && !slices.ContainsFunc(old, taken) {
			return id
		}
	}
}

// differences are what must be told so that of each fence what was told and what is
// known now agree: the last transition of each fence whose presence changed, dwells
// that were not told, and the end of a visit that was open.
func (t *Tracker) differences(r *run, before *moment, shown *clue) []Transition {
	was := func(fence string) bool {
		p := before.find(fence)
		return p != nil && p.Inside
	}
	is := func(fence string) bool {
		p := t.live.find(fence)
		return p != nil && p.Inside
	}
	var out []Transition
	seen := map[string]bool{}
	for _, tr := range slices.Backward(r.out) {
		tr.Stale = r.stale(tr.At)
		switch tr.Kind {
		case Enter, Near, Exit:
			if seen[tr.Fence] {
				continue
			}
			seen[tr.Fence] = true
			if is(tr.Fence) != was(tr.Fence) && is(tr.Fence) == (tr.Kind != Exit) {
				out = append(out, tr)
			}
		case Stay:
			if s := before.stay(tr.Place); s != nil && s.ID == tr.Visit && t.live.stay(tr.Place) == nil {
				out = append(out, tr)
			}
		case Dwell:
			if is(tr.Fence) && t.toldDwell(tr.Visit, tr.Fence, tr.Since) {
				out = append(out, tr)
			}
		}
	}
	slices.Reverse(out)
	// What changed without a transition of its own: a fence that was never entered
	// after all, or one that was not left.
	of := func(m *moment, kind Kind, p *presence) {
		told := func(tr Transition) bool { return tr.Fence == p.Fence && tr.Kind != Dwell }
		if _, there := r.terms(p); !there || slices.ContainsFunc(out, told) {
			return
		}
		tr := Transition{Kind: kind, At: micro(shown.at), Place: p.Place, Fence: p.Fence, Near: p.Near, By: shown.by()}
		if kind == Exit {
			tr.Since = micro(p.Since)
		}
		if s := m.stay(p.Place); s != nil {
			tr.Visit = s.ID
		}
		tr.Stale = r.stale(tr.At)
		out = append(out, tr)
	}
	for i := range before.In {
		if p := &before.In[i]; p.Inside && !is(p.Fence) {
			of(before, Exit, p)
		}
	}
	for i := range t.live.In {
		switch p := &t.live.In[i]; {
		case !p.Inside || was(p.Fence):
		case p.Near:
			of(&t.live, Near, p)
		default:
			of(&t.live, Enter, p)
		}
	}
	return out
}

// toldDwell notes that a dwell was told, and reports whether that is new.
func (t *Tracker) toldDwell(visit, fence string, since time.Time) bool {
	stay := fmt.Sprintf("%s@%d", fence, since.UnixMicro())
	i := slices.IndexFunc(t.known, func(k known) bool { return k.ID == visit })
	if i < 0 || slices.Contains(t.known[i].Dwelled, stay) {
		return false
	}
	t.known = slices.Clone(t.known)
	t.known[i].Dwelled = append(slices.Clip(t.known[i].Dwelled), stay)
	return true
}

// say gives the visits of which something changed that matters: of those that
// ended and those that are open.
func (t *Tracker) say(r *run, ended []stay) []Visit {
	var out []Visit
	note := func(s *stay) {
		i := slices.IndexFunc(t.known, func(k known) bool { return k.ID == s.ID })
		if i < 0 {
			return
		}
		said := s.print()
		if k := &t.known[i]; k.Print == said && k.Until == s.until {
			return
		}
		t.known = slices.Clone(t.known)
		t.known[i].Print, t.known[i].Until = said, s.until
		out = append(out, t.visit(s))
	}
	for i := range ended {
		note(&ended[i])
	}
	for i := range t.live.Stays {
		note(&t.live.Stays[i])
	}
	slices.SortFunc(out, func(a, b Visit) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Place, b.Place)) })
	return out
}

// print is a hash of what is worth saying again when it changes.
func (s *stay) print() uint64 {
	h := fnv.New64a()
	var buf []byte
	for _, v := range []int64{s.Since, s.until, s.InsideAt, s.DwelledAt, int64(s.Flags), int64(len(s.Fences))} {
		buf = binary.LittleEndian.AppendUint64(buf, uint64(v))
	}
	for _, f := range s.Fences {
		buf = append(append(buf, f...), 0)
	}
	buf = append(append(append(buf, s.By...), 0), s.ended...)
	if s.until != 0 {
		buf = binary.LittleEndian.AppendUint64(buf, uint64(s.Confirmed))
		buf = binary.LittleEndian.AppendUint64(buf, uint64(s.Seen))
	}
	_, _ = h.Write(buf) // cannot fail
	return h.Sum64()
}

func (t *Tracker) visit(s *stay) Visit {
	v := Visit{
		ID: s.ID, Place: s.Place, Since: micro(s.Since), Until: micro(s.until), Last: micro(s.Seen),
		InsideAt: micro(s.InsideAt), DwelledAt: micro(s.DwelledAt), Fences: slices.Clone(s.Fences),
		By: s.By, Ended: s.ended, Removed: s.removed, Flags: s.Flags,
		Confirmed: time.Duration(s.Confirmed+s.Seen-s.Counted) * time.Microsecond,
	}
	if i := slices.IndexFunc(t.known, func(k known) bool { return k.ID == s.ID }); i >= 0 {
		v.Stale = t.known[i].Stale
	}
	return v
}
