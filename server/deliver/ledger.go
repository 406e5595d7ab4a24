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
	// Write writes each of the writes that meets its condition, in their order: each
	// stands or falls alone, and won says which stood. An error means that it is not
	// known which were written, but none is without those before it.
	Write(ctx context.Context, writes []Write) (won []bool, err error)
	// Due returns the first limit records of a lane behind the mark, in the order of Due,
	// then of workspace and id.
	Due(ctx context.Context, lane string, after Mark, limit int) ([]Record, error)
	// Lanes returns the names of the lanes that have records, in any order.
	Lanes(ctx context.Context) ([]string, error)
	// Waiting returns how many records there are in the lanes whose names begin so.
	Waiting(ctx context.Context, prefix string) (int, error)
	// Inbox returns a person's inbox as it was written last.
	Inbox(ctx context.Context, workspace, profile string) (InboxState, error)
	// InboxItems returns those of the person's items that are there and not expired,
	// in any order.
	InboxItems(ctx context.Context, workspace, profile string, deliveries []string) ([]InboxItem, error)
	// ChangeInbox makes a change without a record. An error means that it is not
	// known whether it was made.
	ChangeInbox(ctx context.Context, c *InboxChange) error
}

// Mark is a place in the order of a lane: behind the record of that id, which need not be
// there any more, or without an id before all that is due at that time. The zero Mark is
// the beginning.
type Mark struct {
	Due       time.Time // in whole microseconds
	Workspace string
	ID        string
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
	// Inbox is made together with the record, or neither; nil changes nothing.
	Inbox *InboxChange
}

// InboxChange is a change of one person's inbox.
type InboxChange struct {
	Workspace, Profile string
	// Apply says what is to be written, from what is there. When somebody else
	// changes the inbox meanwhile it is called again; the last call counts. Of several
	// changes of one inbox in one Write, each is given what the one before it made.
	Apply func(InboxState) (InboxEdit, error)
}

// InboxState is a person's inbox as the ledger sees it.
type InboxState struct {
	// Head says what is in the inbox: a JSON object with its format version in "v";
	// nil when there is none, or none any more.
	Head []byte
	// Items of a person without a head, which earlier builds kept, in the order of At,
	// then of delivery; those that are expired may be missing.
	Items []InboxItem
}

// InboxEdit is what becomes of an inbox.
type InboxEdit struct {
	Head    []byte    // replaces the one that was there; nil: nothing is written at all
	Expires time.Time // of the head
	Put     *InboxItem
	Remove  []string // deliveries whose items go; one that is not there is no error
}

// InboxItem is a message in a person's inbox. It is written once.
type InboxItem struct {
	Workspace string
	Profile   string
	Delivery  string
	At        time.Time // when it was put there, in whole microseconds
	Expires   time.Time // when it vanishes; never zero
	Body      []byte    // a JSON object with its format version in "v"
}
