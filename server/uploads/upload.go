package uploads

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/server/durable"
	"github.com/footfall-engage/footfall/server/engage"
)

// State of an upload.
type State string

// The states.
const (
	Receiving  State = "receiving"  // its bytes come in
	Waiting    State = "waiting"    // for its turn
	Processing State = "processing" // its rows go into the log
	Done       State = "done"       // every row is taken or refused
	Failed     State = "failed"     // it cannot be read further; what was before is taken
	Cancelled  State = "cancelled"  // what was taken by then stays
)

// Ended reports whether nothing more happens to it.
func (s State) Ended() bool { return s == Done || s == Failed || s == Cancelled }

// Problem is why a row was refused, or why a file was not read to its end.
type Problem struct {
	Code   engage.Code `json:"code"`
	Field  string      `json:"field,omitempty"`
	Reason string      `json:"reason"`
}

func problemOf(e *engage.Error) *Problem { return &Problem{e.Code, e.Field, e.Msg} }

// Refused is a row that was refused: a line of a report.
type Refused struct {
	Row int `json:"row" doc:"In a table as a spreadsheet counts, the header is 1; of lines of JSON the line"`
	Problem
}

// Upload is a file that is or was taken.
type Upload struct {
	V         int       `json:"v"` // 1
	ID        string    `json:"id"`
	Workspace string    `json:"workspace"`
	Kind      Kind      `json:"kind"`
	Catalogue string    `json:"catalogue,omitempty"` // of items: where they go
	Name      string    `json:"name,omitempty"`      // of the file
	Format    Format    `json:"format,omitempty"`
	By        string    `json:"by"`                // id of the key
	Mapping   Mapping   `json:"mapping,omitempty"` // as it was given
	SHA256    string    `json:"sha256,omitempty"`  // in hexadecimal: that the file must have, or had when it began
	Same      string    `json:"same,omitempty"`    // id of an upload of the same file that is done: this one did nothing
	State     State     `json:"state"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"` // when bytes last came, or it changed its state
	StartedAt time.Time `json:"started_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	// FirstAt is when the same bytes were first sent in, by another upload that is kept;
	// zero: never before.
	FirstAt time.Time `json:"first_at,omitzero"`

	Size     int64 `json:"size,omitempty"` // bytes that it says it has; 0: it does not say
	Received int64 `json:"received"`       // bytes
	Used     int64 `json:"used"`           // bytes of Received that have been processed

	// Decided is the mapping by which it is read: the given one, or what was guessed.
	Decided Mapping `json:"decided,omitempty"`
	// Declared are the types of attributes when it began.
	Declared map[string]string `json:"declared,omitempty"`

	Read    int64 `json:"read"` // rows
	Taken   int64 `json:"taken"`
	Refused int64 `json:"refused"`
	// Listed of Refused are in the report.
	Listed  int64    `json:"listed"`
	Problem *Problem `json:"problem,omitempty"` // why it failed

	// Where a restart goes on: the next row in the unpacked file, the number of the row
	// before it, the bytes of the report.
	Offset int64 `json:"offset,omitempty"`
	Row    int   `json:"row,omitempty"`
	Report int64 `json:"report,omitempty"`

	// RowsPerS and Left are of this process.
	RowsPerS float64       `json:"-"`
	Left     time.Duration `json:"-"` // until it is done, at this rate; 0: not known
}

// The files of an upload's folder.
const (
	docFile    = "upload.json"
	bodyFile   = "body"
	reportFile = "refused.ndjson"
	ordersFile = "orders" // of a file in which an order has several rows: where each begins
)

// kept is an upload with what this process needs of it.
type kept struct {
	writing sync.Mutex // one part at a time
	u       Upload     // under Service.mu
	cancel  bool       // asked for while it is processed
	job     *job       // of the goroutine that processes
	began   time.Time  // when this process began it, and
	had     int64      // the rows that had been read by then
}

// folders keeps the uploads' folders.
type folders struct {
	dir  string
	sync bool // a power cut must not take what was answered
}

func (f folders) of(id string) string { return filepath.Join(f.dir, id) }

func (f folders) path(id, file string) string { return filepath.Join(f.dir, id, file) }

// make makes the folder of a new upload.
func (f folders) make(u *Upload) error {
	if err := os.MkdirAll(f.of(u.ID), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(f.path(u.ID, bodyFile), nil, 0o600); err != nil {
		return err
	}
	if err := f.save(u); err != nil {
		return err
	}
	if f.sync {
		return durable.Files(f.of(u.ID))
	}
	return nil
}

// save writes the document whole: a death leaves the old one or the new one.
func (f folders) save(u *Upload) error {
	b, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("encode upload: %w", err)
	}
	path := f.path(u.ID, docFile)
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return fmt.Errorf("save upload: %w", err)
	}
	if f.sync {
		if err := durable.Path(path + ".new"); err != nil {
			return fmt.Errorf("save upload: %w", err)
		}
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("save upload: %w", err)
	}
	if f.sync {
		return durable.Path(f.of(u.ID))
	}
	return nil
}

// drop removes the bytes of a file that are not needed any more.
func (f folders) drop(id string) error {
	for _, file := range []string{ordersFile + ".new", ordersFile, bodyFile} {
		if err := os.Remove(f.path(id, file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the bytes of an upload: %w", err)
		}
	}
	return nil
}

// load reads all uploads; a folder that cannot be read is told and left alone.
func (f folders) load(tell func(id string, err error)) ([]*kept, error) {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return nil, fmt.Errorf("uploads: %w", err)
	}
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, fmt.Errorf("uploads: %w", err)
	}
	var out []*kept
	for _, e := range entries {
		k, err := f.read(e.Name())
		if err != nil {
			tell(e.Name(), err)
			continue
		}
		out = append(out, k)
	}
	return out, nil
}

func (f folders) read(id string) (*kept, error) {
	b, err := os.ReadFile(f.path(id, docFile))
	if err != nil {
		return nil, err
	}
	k := &kept{}
	if err := json.Unmarshal(b, &k.u); err != nil {
		return nil, err
	}
	if k.u.ID != id {
		return nil, fmt.Errorf("it is of the upload %s", clip(k.u.ID))
	}
	if k.u.State.Ended() {
		return k, f.drop(id) // the process died between the two
	}
	info, err := os.Stat(f.path(id, bodyFile))
	switch {
	case err != nil:
		return nil, err
	case f.sync: // what came behind it was not answered, and may not be on the disk
		k.u.Received = min(k.u.Received, info.Size())
	case k.u.State == Receiving:
		k.u.Received = info.Size()
	}
	if k.u.State == Receiving {
		return k, os.Truncate(f.path(id, bodyFile), k.u.Received)
	}
	return k, nil
}

// sentIn is when what is in the file was sent in: who was erased since does not come back
// by it.
func (u *Upload) sentIn() time.Time {
	if !u.FirstAt.IsZero() {
		return u.FirstAt
	}
	return u.CreatedAt
}
