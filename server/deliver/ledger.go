package deliver

import (
	"context"
	"time"
)

// Ledger keeps deliveries and inboxes. app implements it with the document
// store; delivertest has one in memory and the contract. It is safe for
// concurrent use; what it reports as written survives kill -9.
type Ledger interface {
	// Get returns a delivery; false when there is none, or none any more.
	Get(ctx context.Context, workspace, id string) (Record, bool, error)
	// Write writes each of the writes that meets its condition: each stands or
	// falls alone, and won says which stood. An error means that it is not known
	// which were written.
	Write(ctx context.Context, writes []Write) (won []bool, err error)
	// Due returns the first limit records of a lane, in the order of Due, then of
	// workspace and id.
	Due(ctx context.Context, lane string, limit int) ([]Record, error)
	// Lanes returns the names of the lanes that have records, in any order.
	Lanes(ctx context.Context) ([]string, error)
	// Inbox returns the items of a profile that are not expired, in the order of
	// At, then of delivery.
	Inbox(ctx context.Context, workspace, profile string) ([]InboxItem, error)
	// Trim removes the oldest items of a profile's inbox but for the newest keep.
	Trim(ctx context.Context, workspace, profile string, keep int) error
}

// Record is a delivery as the ledger sees it.
type Record struct {
	Workspace string
	ID        string // the delivery's id
	Version   int64  // 1 after the first write, then one more with each; set by the ledger
	// Lane is where the record waits for its due time; empty means that nothing
	// is left to be done. Body has it as "lane".
	Lane string
	// Due is when it is to be looked at, in whole microseconds; Body has it as
	// "due_us", Unix microseconds, so that a store can index (lane, due_us).
	Due time.Time
	// Expires is when the record vanishes; zero means never.
	Expires time.Time
	Body    []byte // a JSON object with its format version in "v"
}

// Write puts one record.
type Write struct {
	Record // Version is not looked at
	// If is the version that must be there; 0 means none, which is also met by an
	// expired record.
	If int64
	// Inbox is put together with the record, replacing the delivery's earlier
	// item; nil means nothing.
	Inbox *InboxItem
	// Unbox names the profile from whose inbox the delivery's item is removed
	// together with the write; empty means nothing.
	Unbox string
}

// InboxItem is a message that waits in a person's inbox.
type InboxItem struct {
	Workspace string
	Profile   string
	Delivery  string
	At        time.Time // when it was put there, in whole microseconds
	Expires   time.Time // when it vanishes; never zero
	Body      []byte    // a JSON object with its format version in "v"
}
