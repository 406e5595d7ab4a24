package catalog

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
)

// LearnedAttributes are the types that the first values of a workspace's attributes have
// taught: one document per workspace, with the workspace's id. They are revisions as
// declared ones are, so that each partition logs from where on it holds values to them:
// the same log drops the same values.
type LearnedAttributes struct {
	Workspace string                 `json:"workspace"`
	Version   int64                  `json:"version"`
	Types     map[string]LearnedType `json:"types"`
	UpdatedAt time.Time              `json:"updated_at"`
}

// LearnedType is what is known of an attribute that nobody has declared.
type LearnedType struct {
	Type rules.Type `json:"type"`
	// Public says that only what nobody can trust has taught it: the SDK of an app, a
	// public key. It binds no others, and their first value teaches anew: nobody who
	// reads a key in a page can have a till's numbers dropped.
	Public bool      `json:"public,omitempty"`
	At     time.Time `json:"at"` // when it was learned
}

// Limits of what is learned in a workspace. What comes beyond is kept as it comes, and
// rules cannot ask about it unless it is declared.
const (
	MaxLearned       = 500
	MaxLearnedPublic = 200 // of these, those that only what nobody can trust has taught
)

// LearnableName reports whether an attribute of that name can be declared, and so learned.
func LearnableName(name string) bool { return engage.ValidID(name) && !strings.Contains(name, ".") }

// Validate checks the document.
func (l *LearnedAttributes) Validate() error {
	if len(l.Types) > MaxLearned {
		return engage.Errorf(engage.TooLarge, "types", "at most %d are learned, got %d", MaxLearned, len(l.Types))
	}
	for name, t := range l.Types {
		if !LearnableName(name) || !t.Type.Valid() {
			return engage.Errorf(engage.Invalid, "types."+name, "is no attribute of a type that can be learned")
		}
	}
	return nil
}

func (l *LearnedAttributes) head() (string, string, *int64, *time.Time) {
	return l.Workspace, l.Workspace, &l.Version, &l.UpdatedAt
}

// Learned are the types that were learned in a workspace, by name; not to be changed.
func (s *Snapshot) Learned(workspace string) map[string]LearnedType {
	if l := s.learned[workspace]; l != nil {
		return l.Types
	}
	return nil
}

// Attributes are the types of a workspace's attributes, by name: those that were
// declared, and of others those that were learned. The map is the caller's own.
func (s *Snapshot) Attributes(workspace string) map[string]rules.Type {
	w := s.Workspaces[workspace]
	if w == nil {
		return map[string]rules.Type{}
	}
	return s.AttributesWith(w)
}

// AttributesWith are the Attributes if the workspace were declared so.
func (s *Snapshot) AttributesWith(w *Workspace) map[string]rules.Type {
	return typesOf(w, s.Learned(w.ID))
}

func typesOf(w *Workspace, learned map[string]LearnedType) map[string]rules.Type {
	out := make(map[string]rules.Type, len(learned)+len(w.Attributes))
	for name, l := range learned {
		out[name] = l.Type
	}
	maps.Copy(out, w.Attributes)
	return out
}

// Learn changes what is learned of a workspace's attributes: change gets a copy of the
// types by name, and says whether it changed anything. A type that a campaign which has
// not ended asks about cannot be taken from it: Conflict.
func (c *Catalog) Learn(ctx context.Context, by, workspace string, change func(types map[string]LearnedType) bool) error {
	for {
		now := c.Now()
		l := &LearnedAttributes{Workspace: workspace, Types: maps.Clone(now.Learned(workspace))}
		if l.Types == nil {
			l.Types = map[string]LearnedType{}
		}
		if !change(l.Types) {
			return nil
		}
		err := c.put(ctx, by, Attributes, l, now.version(workspace, Attributes, workspace), func(s *Snapshot) error {
			w := s.Workspaces[workspace]
			old, types := s.Attributes(workspace), typesOf(w, l.Types)
			if len(types) >= len(old) && hasAll(types, old) {
				return nil // more is known: nothing that worked fails
			}
			return c.stillWork(s, workspace, old, types)
		})
		if engage.CodeOf(err) == engage.Conflict && c.Now().version(workspace, Attributes, workspace) != now.version(workspace, Attributes, workspace) {
			continue // somebody else was faster
		}
		return err
	}
}

// hasAll reports whether a has all that b has.
func hasAll(a, b map[string]rules.Type) bool {
	for name, t := range b {
		if a[name] != t {
			return false
		}
	}
	return true
}

// stillWork refuses types with which a campaign that has not ended would fail, of which
// it works with the old ones.
func (c *Catalog) stillWork(s *Snapshot, workspace string, old, types map[string]rules.Type) error {
	for _, cam := range s.Campaigns(workspace) {
		if cam.Status == engage.Ended || c.o.Compile(cam, old) != nil {
			continue
		}
		if err := c.o.Compile(cam, types); err != nil {
			return &engage.Error{Code: engage.Conflict, Field: "attributes", Msg: "campaign " + cam.ID + " needs them as they were", Err: err}
		}
	}
	return nil
}
