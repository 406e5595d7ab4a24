package catalog

import (
	"fmt"

	"github.com/klauspost/compress/s2"
)

// packed are the bodies of a kept batch, compressed: 100,000 places are 40 MB of JSON in
// which most is the same, 5 MB so, and are only read again by who asks for an old
// revision or a document's history.
type packed struct {
	bodies []byte  // one behind the other, as an S2 block
	ends   []int32 // of each within them; -1: it has none
}

// pack takes the bodies out of the batch of a revision that is to be kept.
func (r *Revision) pack() {
	if len(r.Batch) == 0 {
		return
	}
	size := 0
	for i := range r.Batch {
		size += len(r.Batch[i].Body)
	}
	all := make([]byte, 0, size)
	batch := make([]Change, len(r.Batch))
	kept := &packed{ends: make([]int32, len(r.Batch))}
	for i, change := range r.Batch {
		kept.ends[i] = -1
		if change.Body != nil {
			all = append(all, change.Body...)
			kept.ends[i] = int32(len(all)) //nolint:gosec // a revision is a message of the log
		}
		batch[i] = Change{ID: change.ID, Version: change.Version}
	}
	kept.bodies = append([]byte(nil), s2.EncodeBetter(nil, all)...)
	r.Batch, r.kept = batch, kept
}

// changes are the revision as revisions of one document each.
func (r Revision) changes() []Revision {
	if len(r.Batch) == 0 {
		return []Revision{r}
	}
	var all []byte
	if r.kept != nil {
		var err error
		if all, err = s2.Decode(nil, r.kept.bodies); err != nil {
			panic(fmt.Sprintf("catalog: what was packed in this process cannot be unpacked: %v", err))
		}
	}
	out := make([]Revision, len(r.Batch))
	from := int32(0)
	for i, c := range r.Batch {
		out[i] = Revision{V: 1, At: r.At, By: r.By, Workspace: r.Workspace, Kind: r.Kind, ID: c.ID, Version: c.Version, Body: c.Body}
		if r.kept != nil && r.kept.ends[i] >= 0 {
			end := r.kept.ends[i]
			out[i].Body, from = all[from:end:end], end
		}
	}
	return out
}
