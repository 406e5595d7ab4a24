package webhook

import (
	"context"
	"encoding/json"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// Key names a subscription.
type Key struct{ Workspace, ID string }

// Item is one event for one subscription. It waits, or is a dead letter.
type Item struct {
	Key     Key   `json:"-"`
	Version int64 `json:"-"` // in the queue; 0 before it is there
	V       int   `json:"v"` // 1

	Dead  bool      `json:"dead,omitempty"`
	Due   time.Time `json:"due"` // when it is to be sent; of a dead letter when it died
	Event Event     `json:"event"`
	At    time.Time `json:"at"`              // when it came, or was told to be sent again
	Tries int       `json:"tries,omitempty"` // attempts since then
	Alone bool      `json:"alone,omitempty"` // its batch was refused: it is sent by itself
	Last  *Answer   `json:"last,omitempty"`  // of the newest attempt
	Since time.Time `json:"since,omitzero"`  // of the first that failed
	Why   Why       `json:"why,omitempty"`   // of a dead letter
	// Expires is when a dead letter vanishes; zero for one that waits.
	Expires time.Time `json:"-"`
}

// Event is engage.WebhookEvent as it is kept.
type Event struct {
	ID      string             `json:"id"`
	Type    engage.WebhookType `json:"type"`
	Subject string             `json:"subject,omitempty"`
	Time    time.Time          `json:"time"`
	Data    json.RawMessage    `json:"data"`
}

// Answer is what came of an attempt.
type Answer struct {
	At     time.Time `json:"at"`
	TookMS int64     `json:"took_ms"`
	Status int       `json:"status,omitempty"` // HTTP; 0 means that there was no answer
	Reason string    `json:"reason,omitempty"` // channels/webhook's: "http_500", "timeout"; empty: it was taken
	Body   string    `json:"body,omitempty"`   // at most maxBody bytes of the answer, or words of what went wrong
}

// maxBody is how much of an answer is kept with an item, in bytes.
const maxBody = 1024

// Why says why an event was given up; a bounded code.
type Why string

// Why events are given up.
const (
	Refused   Why = "refused"    // the receiver will never take it
	Exhausted Why = "exhausted"  // it failed until its time was over
	Overdue   Why = "overdue"    // its time was over while the subscription was paused, or its receiver down
	QueueFull Why = "queue_full" // too many waited already
	Disabled  Why = "disabled"   // the subscription hears nothing any more
)

// Queue keeps items; app implements it with the document store, and
// webhooktest.Memory is one for tests. It is safe for concurrent use; what it reports
// as written survives kill -9.
type Queue interface {
	// Add writes the items of which there is none yet, neither waiting nor dead, and
	// reports which those were.
	Add(ctx context.Context, items []*Item) (added []bool, err error)
	// Next are the first items that wait of a subscription, the earliest due first.
	Next(ctx context.Context, k Key, limit int) ([]*Item, error)
	// Put replaces items that are as they were read, and moves their versions on. One
	// that has been changed or removed since is let be.
	Put(ctx context.Context, items []*Item) error
	// Remove removes items, whatever their versions.
	Remove(ctx context.Context, items []*Item) error
	// Get is one item, waiting or dead; nil when there is none.
	Get(ctx context.Context, k Key, event string) (*Item, error)
	// Dead is a page of dead letters, the newest first. next is the cursor of the page
	// after it, empty when there is none. engage.Invalid for a bad cursor.
	Dead(ctx context.Context, k Key, cursor string, limit int) (items []*Item, next string, err error)
	// Count what waits and what is dead.
	Count(ctx context.Context, k Key) (waiting, dead int, err error)
	// Forget removes everything of a subscription.
	Forget(ctx context.Context, k Key) error
	// Subscriptions are those of a workspace that have items.
	Subscriptions(ctx context.Context, workspace string) ([]string, error)
}
