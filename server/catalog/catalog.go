// Package catalog keeps what marketers and operators define: workspaces, places,
// campaigns, apps, keys and webhook subscriptions. Every change appends one revision
// to the CONFIG log; the revision's number is its sequence there, and the whole
// configuration at any revision is the log up to it. A partition records the revision
// that it adopts, so a replay knows what was in force.
//
// Places that are put together (PutPlaces, an import) are one revision, each still
// with its own version; partitions are told of such a burst once.
//
// Documents carry a version of their own: an edit of a stale version is refused,
// never lost. The catalogue is held in memory; the log is its only storage. It
// has one writer, which the log's expected sequence enforces.
package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/hours"
	"github.com/footfall-engage/footfall/server/rules"
)

// Stream is the name of the configuration log, Subjects what its revisions are
// appended under.
const (
	Stream   = "CONFIG"
	Subjects = "config.>"
)

// Kind of a document.
type Kind string

// The kinds.
const (
	Workspaces Kind = "workspace"
	Places     Kind = "place"
	Campaigns  Kind = "campaign"
	Apps       Kind = "app"
	Keys       Kind = "key"
	Webhooks   Kind = "webhook"
	WriteKeys  Kind = "write_key"
	Attributes Kind = "attributes" // those that were learned
	Limits     Kind = "limits"     // of a workspace (engage.LimitPolicy)
)

// Revision is one change, as it stands in the log, or several that were made
// together (PutPlaces).
type Revision struct {
	V         int             `json:"v"` // 1; 2 with Batch
	At        time.Time       `json:"at"`
	By        string          `json:"by"` // principal: the id of the key, or "system"
	Workspace string          `json:"workspace"`
	Kind      Kind            `json:"kind"`
	ID        string          `json:"id,omitempty"`
	Version   int64           `json:"version,omitempty"`
	Body      json.RawMessage `json:"body,omitempty"` // absent: deleted

	// Batch are changes in their order, each with ID, Version and Body alone; ID,
	// Version and Body of the revision are then absent. They are made all or none.
	Batch []Change `json:"batch,omitempty"`

	kept *packed // the bodies of Batch, once it is kept: it has none itself
}

// Change is one document of a Revision's Batch.
type Change struct {
	ID      string          `json:"id"`
	Version int64           `json:"version"`
	Body    json.RawMessage `json:"body"`
}

// Options of a catalogue.
type Options struct {
	Log   eventlog.Log
	Clock clock.Clock
	// Compile checks a campaign's rules and templates (decide.Compile).
	Compile func(c *engage.Campaign, attributes map[string]rules.Type) error
	Sealer  *Sealer // for secrets of apps
	Logger  *slog.Logger
}

// Catalog is the configuration. It is safe for concurrent use.
type Catalog struct {
	o      Options
	stream eventlog.Stream

	write     sync.Mutex // one change at a time
	uncertain bool       // an append was not answered: the log may be ahead

	mu        sync.RWMutex
	revisions []Revision // revision n is revisions[n-1]
	now       *Snapshot
	announced *Snapshot // what Latest tells; now, but while a burst of PutPlaces goes on
	before    *Snapshot // what Latest told before: partitions may yet ask for it
	held      time.Time // when a burst began whose revisions are not announced; zero: none
	changed   chan struct{}
	old       map[uint64]*Snapshot // a few that were asked for
}

// Open reads the configuration log to its end.
func Open(ctx context.Context, o Options) (*Catalog, error) {
	s, err := o.Log.Open(ctx, Stream, Subjects)
	if err != nil {
		return nil, fmt.Errorf("open configuration log: %w", err)
	}
	c := &Catalog{o: o, stream: s, now: emptySnapshot(), changed: make(chan struct{}), old: map[uint64]*Snapshot{}}
	if c.revisions, err = c.read(ctx, 1); err != nil {
		return nil, err
	}
	if c.now, err = build(c.revisions); err != nil {
		return nil, err
	}
	c.announced, c.before = c.now, c.now
	return c, nil
}

// read gives the revisions of the log from next on.
func (c *Catalog) read(ctx context.Context, next uint64) ([]Revision, error) {
	_, last, err := c.stream.Bounds(ctx)
	if err != nil {
		return nil, fmt.Errorf("read configuration log: %w", err)
	}
	var out []Revision
	for next <= last {
		msgs, err := c.stream.Read(ctx, next, 1000)
		if err != nil {
			return nil, fmt.Errorf("read configuration log: %w", err)
		}
		for _, m := range msgs {
			var r Revision
			if err := json.Unmarshal(m.Data, &r); err != nil {
				return nil, fmt.Errorf("configuration revision %d: %w", m.Seq, err)
			}
			if r.V != 1 && r.V != 2 || (r.V == 2) != (len(r.Batch) > 0) {
				return nil, fmt.Errorf("configuration revision %d: version %d is not known", m.Seq, r.V)
			}
			r.pack()
			out = append(out, r)
			next = m.Seq + 1
		}
	}
	return out, nil
}

// Latest is the newest revision that is announced; 0 when there is none. That is the
// newest of all, but while a burst of PutPlaces goes on.
func (c *Catalog) Latest() uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.announced.Revision
}

// Changed is closed when Latest changes next.
func (c *Catalog) Changed() <-chan struct{} {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.changed
}

// Now is the newest configuration.
func (c *Catalog) Now() *Snapshot {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.now
}

// maxOld bounds the kept snapshots of old revisions.
const maxOld = 8

// At is the configuration of a revision.
func (c *Catalog) At(revision uint64) (*Snapshot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch revision {
	case c.now.Revision:
		return c.now, nil
	case c.announced.Revision:
		return c.announced, nil
	case c.before.Revision:
		return c.before, nil
	}
	if s := c.old[revision]; s != nil {
		return s, nil
	}
	if revision > c.now.Revision {
		return nil, fmt.Errorf("configuration revision %d is not known, the newest is %d", revision, c.now.Revision)
	}
	s, err := build(c.revisions[:revision])
	if err != nil {
		return nil, err
	}
	if len(c.old) >= maxOld {
		clear(c.old)
	}
	c.old[revision] = s
	return s, nil
}

// History are the revisions of a document, oldest first.
func (c *Catalog) History(workspace string, kind Kind, id string) []Revision {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var out []Revision
	for _, all := range c.revisions {
		if all.Workspace != workspace || all.Kind != kind {
			continue
		}
		if len(all.Batch) > 0 && !slices.ContainsFunc(all.Batch, func(c Change) bool { return c.ID == id }) {
			continue
		}
		for _, r := range all.changes() {
			if r.ID == id {
				out = append(out, r)
			}
		}
	}
	return out
}

// AnyVersion as the expected version of a Put: whatever is there.
const AnyVersion int64 = -1

// doc is what catalogue documents have in common.
type doc interface {
	Validate() error
	head() (workspace, id string, version *int64, updated *time.Time)
}

// put checks and appends one document. expected is the version that must be
// there: 0 for a new one.
func (c *Catalog) put(ctx context.Context, by string, kind Kind, d doc, expected int64, check func(*Snapshot) error) error {
	c.write.Lock()
	defer c.write.Unlock()
	if err := c.catchUp(ctx); err != nil {
		return err
	}
	workspace, id, version, updated := d.head()
	now := c.Now()
	if err := d.Validate(); err != nil {
		return engage.FromGeo(err)
	}
	if kind != Workspaces && now.Workspaces[workspace] == nil {
		return engage.Errorf(engage.NotFound, "workspace", "there is no workspace %q", workspace)
	}
	have := now.version(workspace, kind, id)
	if expected != AnyVersion && have != expected {
		return conflict(kind, id, have, expected)
	}
	if check != nil {
		if err := check(now); err != nil {
			return err
		}
	}
	at, wasVersion, wasUpdated := c.o.Clock.Now(), *version, *updated
	*version, *updated = now.lastVersion(workspace, kind, id)+1, at
	body, err := json.Marshal(d)
	if err != nil {
		err = fmt.Errorf("encode %s %s: %w", kind, id, err)
	} else {
		err = c.append(ctx, Revision{V: 1, At: at, By: by, Workspace: workspace, Kind: kind, ID: id, Version: *version, Body: body})
	}
	if err != nil {
		*version, *updated = wasVersion, wasUpdated
	}
	return err
}

func conflict(kind Kind, id string, have, expected int64) error {
	switch {
	case have == 0:
		return engage.Errorf(engage.NotFound, "id", "there is no %s %q", kind, id)
	case expected == 0:
		return engage.Errorf(engage.Conflict, "id", "%s %q exists already", kind, id)
	default:
		return engage.Errorf(engage.Conflict, "version", "%s %q has version %d by now, not %d: somebody else changed it", kind, id, have, expected)
	}
}

func (c *Catalog) remove(ctx context.Context, by string, kind Kind, workspace, id string, expected int64, check func(*Snapshot) error) error {
	c.write.Lock()
	defer c.write.Unlock()
	if err := c.catchUp(ctx); err != nil {
		return err
	}
	now := c.Now()
	have := now.version(workspace, kind, id)
	if have == 0 || expected != AnyVersion && have != expected {
		return conflict(kind, id, have, expected)
	}
	if check != nil {
		if err := check(now); err != nil {
			return err
		}
	}
	return c.append(ctx, Revision{V: 1, At: c.o.Clock.Now(), By: by, Workspace: workspace, Kind: kind, ID: id, Version: have + 1})
}

// append makes a revision durable and then true. c.write is held.
func (c *Catalog) append(ctx context.Context, r Revision) error {
	if _, err := c.Now().with(r); err != nil {
		return err
	}
	if err := c.appendRecord(ctx, r); err != nil {
		return err
	}
	return c.take(r)
}

// appendTimeout bounds the wait for the log.
const appendTimeout = 30 * time.Second

// catchUp reads what the log has beyond what is known, after an append whose
// answer was lost or a writer that should not have been there. c.write is held.
func (c *Catalog) catchUp(ctx context.Context) error {
	if !c.uncertain {
		return nil
	}
	rs, err := c.read(ctx, c.Now().Revision+1)
	if err != nil {
		return &engage.Error{Code: engage.Unavailable, Msg: "the configuration log does not answer: try again", Err: err}
	}
	if err := c.take(rs...); err != nil {
		return err
	}
	c.uncertain = false
	return nil
}

// Refresh reads what another process has added to the log, such as an admin key
// made by the command line. Unavailable when the log does not answer.
func (c *Catalog) Refresh(ctx context.Context) error {
	c.write.Lock()
	defer c.write.Unlock()
	c.uncertain = true
	return c.catchUp(ctx)
}

// take makes durable revisions true and announces them. c.write is held.
func (c *Catalog) take(rs ...Revision) error {
	next := c.Now()
	for _, r := range rs {
		var err error
		if next, err = next.with(r); err != nil {
			return err
		}
		next.Revision++
	}
	if len(rs) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revisions = append(c.revisions, rs...)
	c.now = next
	c.announce()
	return nil
}

// announce tells everybody of the newest revision. c.mu is held.
func (c *Catalog) announce() {
	c.held = time.Time{}
	if c.announced == c.now {
		return
	}
	c.before, c.announced = c.announced, c.now
	close(c.changed)
	c.changed = make(chan struct{})
}

// PutWorkspace creates or replaces a workspace. An attribute that a campaign asks
// about cannot be taken away, nor be given another type that it cannot deal with.
func (c *Catalog) PutWorkspace(ctx context.Context, by string, w *Workspace, expected int64) error {
	return c.put(ctx, by, Workspaces, w, expected, func(s *Snapshot) error {
		types := s.AttributesWith(w)
		for _, cam := range s.Campaigns(w.ID) {
			if cam.Status == engage.Ended {
				continue
			}
			if err := c.o.Compile(cam, types); err != nil {
				return &engage.Error{Code: engage.Conflict, Field: "attributes", Msg: fmt.Sprintf("campaign %q needs them as they were", cam.ID), Err: err}
			}
		}
		return nil
	})
}

// PutPlace creates or replaces a place. Ids of geofences are unique in a workspace,
// and so are ids of beacons and what they stand for.
func (c *Catalog) PutPlace(ctx context.Context, by string, p *engage.Place, expected int64) error {
	return c.put(ctx, by, Places, place{p}, expected, func(s *Snapshot) error { return s.takenBy(p) })
}

// DeletePlace removes a place, unless a campaign names it.
func (c *Catalog) DeletePlace(ctx context.Context, by, workspace, id string, expected int64) error {
	return c.remove(ctx, by, Places, workspace, id, expected, func(s *Snapshot) error {
		for _, cam := range s.Campaigns(workspace) {
			if cam.Status != engage.Ended && slices.Contains(cam.Trigger.Places, id) {
				return engage.Errorf(engage.Conflict, "id", "campaign %q is triggered by this place", cam.ID)
			}
			if cam.Status != engage.Ended && cam.Goal != nil && slices.Contains(cam.Goal.Places, id) {
				return engage.Errorf(engage.Conflict, "id", "campaign %q has this place for a goal", cam.ID)
			}
			if at := s.ruleNames(cam, id); at != "" && cam.Status != engage.Ended {
				return engage.Errorf(engage.Conflict, "id", "campaign %q asks about this place (%s)", cam.ID, at)
			}
		}
		return nil
	})
}

// PutCampaign creates or replaces a campaign. Its rules and templates must compile
// and its places exist, also while it is a draft: what is saved can be launched.
func (c *Catalog) PutCampaign(ctx context.Context, by string, cam *engage.Campaign, expected int64) error {
	return c.put(ctx, by, Campaigns, campaign{cam}, expected, func(s *Snapshot) error {
		if err := c.o.Compile(cam, s.Attributes(cam.Workspace)); err != nil {
			return err
		}
		if err := s.hasOffer(cam); err != nil {
			return err
		}
		if err := s.hasCatalogue(cam); err != nil {
			return err
		}
		for i, id := range cam.Trigger.Places {
			if s.Place(cam.Workspace, id) == nil {
				return engage.Errorf(engage.Invalid, fmt.Sprintf("trigger.places[%d]", i), "there is no place %q", id)
			}
		}
		if cam.Goal != nil {
			for i, id := range cam.Goal.Places {
				if s.Place(cam.Workspace, id) == nil {
					return engage.Errorf(engage.Invalid, fmt.Sprintf("goal.places[%d]", i), "there is no place %q", id)
				}
			}
		}
		if err := rulesPlaces(s, s.Campaign(cam.Workspace, cam.ID), cam); err != nil {
			return err
		}
		if err := triggerBeacons(s, s.Campaign(cam.Workspace, cam.ID), cam); err != nil {
			return err
		}
		return c.lives(s, by, s.Campaign(cam.Workspace, cam.ID), cam)
	})
}

// DeleteCampaign removes a draft; others are ended, since their results stay.
func (c *Catalog) DeleteCampaign(ctx context.Context, by, workspace, id string, expected int64) error {
	return c.remove(ctx, by, Campaigns, workspace, id, expected, func(s *Snapshot) error {
		cam := s.Campaign(workspace, id)
		if cam.Status != engage.Draft && cam.Status != engage.InReview || c.everLive(workspace, id) {
			return engage.Errorf(engage.Conflict, "status", "only a draft can be deleted: end the campaign instead")
		}
		return nil
	})
}

// PutApp creates or replaces an app. App keys are unique on the server.
func (c *Catalog) PutApp(ctx context.Context, by string, a *App, expected int64) error {
	return c.put(ctx, by, Apps, a, expected, func(s *Snapshot) error {
		if other := s.AppByKey(a.Key); other != nil && (other.Workspace != a.Workspace || other.ID != a.ID) {
			return engage.Errorf(engage.Conflict, "key", "belongs to another app")
		}
		return nil
	})
}

// PutKey creates or replaces a server key. Ids of keys are unique on the server,
// since a token names its key before anybody knows the workspace.
func (c *Catalog) PutKey(ctx context.Context, by string, k *Key, expected int64) error {
	return c.put(ctx, by, Keys, k, expected, func(s *Snapshot) error {
		if other := s.keys[k.ID]; other != nil && other.Workspace != k.Workspace {
			return engage.Errorf(engage.Conflict, "id", "is taken")
		}
		return nil
	})
}

// DeleteKey revokes a server key.
func (c *Catalog) DeleteKey(ctx context.Context, by, workspace, id string, expected int64) error {
	return c.remove(ctx, by, Keys, workspace, id, expected, nil)
}

type place struct{ *engage.Place }

// Validate checks all of a place that can be checked without other documents.
func (p place) Validate() error { return ValidatePlace(p.Place) }

// ValidatePlace checks all of a place that can be checked without other documents,
// its hours too.
func ValidatePlace(p *engage.Place) error {
	if err := p.Validate(); err != nil {
		return err
	}
	_, err := hours.Of(p)
	return err
}

func (p place) head() (string, string, *int64, *time.Time) {
	return p.Workspace, p.ID, &p.Version, &p.UpdatedAt
}

type campaign struct{ *engage.Campaign }

func (c campaign) head() (string, string, *int64, *time.Time) {
	return c.Workspace, c.ID, &c.Version, &c.UpdatedAt
}
