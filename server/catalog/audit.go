package catalog

import (
	"encoding/json"
	"slices"
	"time"
)

// Audited says which changes are asked for; zero values mean all.
type Audited struct {
	Workspace string
	Kind      Kind
	ID        string
	By        string // id of the key
	From, To  time.Time
	Before    uint64 // only changes of older revisions than this one; 0: the newest first
	Limit     int
}

// Made is one change as the log has it.
type Made struct {
	Revision uint64
	Change   Revision
	// Documents that were changed together, as by an import: when it is more than one,
	// Change names none of them.
	Documents int
	// Before is the body of the version before; nil when the document is new, or of
	// several.
	Before json.RawMessage
}

// Audit are the changes of a workspace, the newest first, at most Limit.
func (c *Catalog) Audit(q Audited) []Made {
	c.mu.RLock()
	revisions := c.revisions // it is only ever appended to
	c.mu.RUnlock()
	last := uint64(len(revisions))
	if q.Before > 0 {
		last = min(last, q.Before-1)
	}
	out := []Made{}
	unknown := map[string][]int{} // of what the version before is looked for, by document
	for n := last; n > 0 && (len(out) < q.Limit || len(unknown) > 0); n-- {
		r := &revisions[n-1]
		if r.Workspace != q.Workspace {
			continue
		}
		for key := range unknown {
			body, found := r.bodyOf(key)
			if !found {
				continue
			}
			for _, i := range unknown[key] {
				out[i].Before = body
			}
			delete(unknown, key)
		}
		if len(out) == q.Limit || !q.wants(r) {
			continue
		}
		made := Made{Revision: n, Change: *r, Documents: 1}
		made.Change.kept = nil
		if len(r.Batch) > 0 {
			made.Documents = len(r.Batch)
			if q.ID != "" {
				changes := r.changes()
				made.Change = changes[slices.IndexFunc(changes, func(one Revision) bool { return one.ID == q.ID })]
				made.Documents = 1
			} else {
				made.Change.Batch = nil
			}
		}
		if made.Documents == 1 {
			key := string(r.Kind) + "/" + made.Change.ID
			unknown[key] = append(unknown[key], len(out))
		}
		out = append(out, made)
	}
	return out
}

func (q *Audited) wants(r *Revision) bool {
	return (q.Kind == "" || r.Kind == q.Kind) && (q.By == "" || r.By == q.By) &&
		(q.From.IsZero() || !r.At.Before(q.From)) && (q.To.IsZero() || r.At.Before(q.To)) &&
		(q.ID == "" || r.names(q.ID))
}

// names reports whether the revision changes a document of this id.
func (r *Revision) names(id string) bool {
	if len(r.Batch) == 0 {
		return r.ID == id
	}
	return slices.ContainsFunc(r.Batch, func(c Change) bool { return c.ID == id })
}

// bodyOf is what the revision makes of a document, "<kind>/<id>"; found is false when it
// does not change it.
func (r *Revision) bodyOf(key string) (body json.RawMessage, found bool) {
	kind := string(r.Kind)
	if len(key) <= len(kind)+1 || key[:len(kind)] != kind || key[len(kind)] != '/' || !r.names(key[len(kind)+1:]) {
		return nil, false
	}
	for _, one := range r.changes() {
		if one.ID == key[len(kind)+1:] {
			return one.Body, true
		}
	}
	return nil, false
}
