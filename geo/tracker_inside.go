package geo

import "slices"

// InsideOf are the places that the device is inside of, sorted: to be in an approach ring
// alone is not.
func (t *Tracker) InsideOf() []string {
	var out []string
	for i := range t.live.In {
		if p := &t.live.In[i]; p.Inside && !p.Near && !slices.Contains(out, p.Place) {
			out = append(out, p.Place)
		}
	}
	slices.Sort(out)
	return out
}
