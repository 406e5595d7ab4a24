package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/server/engage"
)

// laneJournal is where the journal's leaves are in the ledger. It belongs to no gate.
const laneJournal = "journal"

const journalV1 = 1

// errJournal: a leaf of this process was written by another.
var errJournal = errors.New("another process writes this one's journal")

// leafRecord is the body of a leaf: one record that says of many deliveries what their
// own records do not say yet. A leaf is written again when nothing of it holds any more,
// so what it says counts only where the delivery's record has not gone on since.
type leafRecord struct {
	V     int    `json:"v"`
	Lane  string `json:"lane"`
	DueUS int64  `json:"due_us"` // when it was written
	// Flights are attempts that were about to be made, all by one credential.
	Provider   channels.Provider `json:"provider,omitempty"`
	Credential string            `json:"credential,omitempty"`
	Flights    []flightNote      `json:"flights,omitempty"`
	// Tells are outcomes that decide may not know, although their records have Told.
	Tells []tellNote `json:"tells,omitempty"`
}

// flightNote is an attempt at a delivery whose record waits in a push lane.
type flightNote struct {
	Workspace string `json:"w"`
	Delivery  string `json:"d"`
	Version   int64  `json:"v"` // of the record
	Install   string `json:"i"`
	Platform  string `json:"p,omitempty"`
	Number    int    `json:"n"` // as attempt.Number
}

// tellNote is a delivery that has ended.
type tellNote struct {
	Workspace string `json:"w"`
	Delivery  string `json:"d"`
	Version   int64  `json:"v"` // of the record that has the outcome
}

// leaf is one record of the journal, in this process.
type leaf struct {
	id      string
	version int64 // in the ledger; -1: not known
	left    int   // deliveries of which it says something that still holds
	says    bool  // it may say something, whether that holds or not
	look    int   // journal.looks when nothing of it held any more
}

// leafIdle is how often the journal looks for leaves that say nothing any more that holds.
// They name deliveries and installs, perhaps of a person who is erased: one that is not
// soon written anew is emptied.
const leafIdle = 2 * time.Second

// journal is the leaves of this process. Their ids begin with the process's name, so
// that nobody else writes them.
type journal struct {
	idle  chan struct{} // capacity 1: a leaf may have to be emptied
	mu    sync.Mutex
	made  []*leaf
	spare []*leaf
	looks int
}

// take is a leaf for n deliveries.
func (j *journal) take(process string, n int) *leaf {
	j.mu.Lock()
	defer j.mu.Unlock()
	if k := len(j.spare); k > 0 {
		l := j.spare[k-1]
		j.spare = j.spare[:k-1]
		l.left, l.says = n, true
		return l
	}
	l := &leaf{id: laneJournal + "-" + process + "-" + strconv.Itoa(len(j.made)), left: n, says: true}
	j.made = append(j.made, l)
	return l
}

// done says that the leaf says nothing any more of n of its deliveries.
func (j *journal) done(l *leaf, n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if l.left -= n; l.left != 0 {
		return
	}
	l.look = j.looks
	j.spare = append(j.spare, l)
	select {
	case j.idle <- struct{}{}:
	default:
	}
}

// stale takes the leaves that were spare when it was asked last and still say something.
// More says that there are others which do.
func (j *journal) stale() (out []*leaf, more bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	keep := j.spare[:0]
	for _, l := range j.spare {
		if l.says && l.look < j.looks {
			out = append(out, l)
			continue
		}
		more = more || l.says
		keep = append(keep, l)
	}
	clear(j.spare[len(keep):])
	j.spare = keep
	j.looks++
	return out, more
}

// emptied gives back what stale has taken, below those that are in use. If it was not
// written, or nobody knows, the leaf is still to be emptied.
func (j *journal) emptied(l *leaf, won bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if won {
		l.version++
		l.says = false
	} else {
		l.version = -1
	}
	j.spare = slices.Insert(j.spare, 0, l)
}

// keepJournal empties leaves until ctx ends; the channel is closed when it has ended.
func (d *Deliverer) keepJournal(ctx context.Context) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-d.journal.idle:
			case <-ctx.Done():
				return
			}
			for more := true; more; {
				if !d.sleep(ctx, leafIdle) {
					return
				}
				more = d.emptyLeaves(ctx)
			}
		}
	}()
	return ended
}

// emptyLeaves reports whether there is more to do later.
func (d *Deliverer) emptyLeaves(ctx context.Context) (more bool) {
	leaves, more := d.journal.stale()
	for part := range slices.Chunk(leaves, page) {
		err := d.dead()
		writes := make([]Write, len(part))
		for i := 0; i < len(part) && err == nil; i++ {
			writes[i], err = d.leafWrite(ctx, part[i], leafRecord{})
		}
		won := make([]bool, len(part))
		if err == nil {
			if w, _, werr := d.write(ctx, writes, nil); werr == nil {
				won = w
			} else {
				err = werr
			}
		}
		for i, l := range part {
			d.journal.emptied(l, won[i])
			more = more || !won[i]
		}
		if err != nil && d.dead() == nil && ctx.Err() == nil {
			d.log.WarnContext(ctx, "the journal is emptied later", "error", err)
		}
	}
	return more
}

// leafWrite is the leaf as a write. Nobody but who has taken the leaf may ask for it.
func (d *Deliverer) leafWrite(ctx context.Context, l *leaf, r leafRecord) (Write, error) {
	if l.version < 0 {
		rec, _, err := d.o.Ledger.Get(ctx, "", l.id)
		if err != nil {
			return Write{}, fmt.Errorf("read journal: %w", err)
		}
		l.version = rec.Version
	}
	now := d.clock.Now()
	r.V, r.Lane, r.DueUS = journalV1, laneJournal, ceilMicro(now)
	return Write{Record: Record{ID: l.id, Lane: laneJournal, Due: time.UnixMicro(r.DueUS).UTC(), Body: r.encode()}, If: l.version}, nil
}

// leafFor writes to a leaf that attempts are about to be made; nil when there are none.
// All are of one gate.
func (d *Deliverer) leafFor(ctx context.Context, flights []*flight) (*leaf, Write, error) {
	g := flights[0].gate
	r := leafRecord{Provider: g.provider, Credential: g.credential, Flights: make([]flightNote, len(flights))}
	for i, f := range flights {
		s := &f.r.Send
		r.Flights[i] = flightNote{s.Workspace, s.Delivery, f.r.version, f.dev.Install, f.dev.Platform, f.r.Made}
	}
	l := d.journal.take(d.process, len(flights))
	w, err := d.leafWrite(ctx, l, r)
	if err != nil {
		d.journal.done(l, l.left)
		return nil, w, err
	}
	return l, w, nil
}

// written notes what came of the write of a leaf. If it was not written, or nobody knows,
// nothing may follow, and the leaf says nothing that holds.
func (d *Deliverer) written(l *leaf, won bool) {
	if won {
		l.version++
		return
	}
	l.version = -1
	d.journal.done(l, l.left)
}

// replay settles what the journals of earlier processes say, and ends them.
func (d *Deliverer) replay(ctx context.Context) error {
	for bad := 0; ; {
		recs, err := d.o.Ledger.Due(ctx, laneJournal, Mark{}, page+bad)
		if err != nil {
			return fmt.Errorf("read journal: %w", err)
		}
		interrupted, untold := 0, 0
		bad = 0
		var ends []Write
		for _, rec := range recs {
			var l leafRecord
			err := json.Unmarshal(rec.Body, &l)
			if err == nil && l.V != journalV1 {
				err = fmt.Errorf("%w: version %d", errRecord, l.V)
			}
			if err != nil { // of a newer build, which will find it
				d.unreadable(ctx, rec, err)
				bad++
				continue
			}
			n, m, err := d.replayLeaf(ctx, &l)
			if err != nil {
				return err
			}
			interrupted, untold = interrupted+n, untold+m
			ends = append(ends, d.leafEnd(rec.ID, rec.Version))
		}
		if len(ends) == 0 {
			return nil
		}
		if _, err := d.o.Ledger.Write(ctx, ends); err != nil {
			return fmt.Errorf("end journal: %w", err)
		}
		d.log.InfoContext(ctx, "took up what the journal had", "interrupted", interrupted, "untold", untold)
	}
}

func (d *Deliverer) leafEnd(id string, version int64) Write {
	return Write{Record: Record{ID: id, Body: []byte(`{"v":1}`), Expires: d.clock.Now()}, If: version}
}

func (d *Deliverer) replayLeaf(ctx context.Context, l *leafRecord) (interrupted, untold int, err error) {
	now := d.clock.Now()
	at := time.UnixMicro(l.DueUS).UTC()
	if l.DueUS <= 0 || at.After(now) { // what no clock has said, no record could be written with
		at = now
	}
	var changes []*change
	for _, x := range l.Flights {
		r, err := d.replayed(ctx, key{x.Workspace, x.Delivery})
		switch {
		case err != nil:
			return 0, 0, err
		case r == nil, r.State != waiting, r.Made >= x.Number, r.version < x.Version:
			continue // it has gone on, or is another
		}
		r.began(attempt{
			ID: engage.AttemptID(x.Delivery, x.Install), Install: x.Install, Provider: l.Provider,
			Credential: l.Credential, Platform: x.Platform, Number: r.Made + 1, At: at,
		})
		d.interrupted(r, now)
		changes = append(changes, &change{r: r})
		interrupted++
	}
	for _, x := range l.Tells {
		r, err := d.replayed(ctx, key{x.Workspace, x.Delivery})
		switch {
		case err != nil:
			return 0, 0, err
		case r == nil, r.version < x.Version, r.Outcome == nil, r.Lane != "":
			continue
		}
		r.untell(now)
		changes = append(changes, &change{r: r})
		untold++
	}
	for part := range slices.Chunk(changes, page) {
		if _, err := d.commit(ctx, part); err != nil {
			return 0, 0, err
		}
	}
	return interrupted, untold, nil
}

// replayed is reread of what may be unreadable: nil then, too.
func (d *Deliverer) replayed(ctx context.Context, k key) (*delivery, error) {
	r, err := d.reread(ctx, k)
	if errors.Is(err, errRecord) {
		d.unreadable(ctx, Record{Workspace: k.workspace, ID: k.id}, err)
		return nil, nil
	}
	return r, err
}

// closeJournal ends the leaves of which nothing holds any more, so that the next process
// need not look at them.
func (d *Deliverer) closeJournal(ctx context.Context) {
	if d.dead() != nil {
		return
	}
	var ends []Write
	for _, l := range d.journal.made {
		if l.left > 0 {
			continue // cut off: the next process takes it up
		}
		version := l.version
		if version < 0 {
			rec, _, err := d.o.Ledger.Get(ctx, "", l.id)
			if err != nil {
				d.log.WarnContext(ctx, "a journal is left to the next process", "error", err)
				continue
			}
			version = rec.Version
		}
		if version > 0 {
			ends = append(ends, d.leafEnd(l.id, version))
		}
	}
	for part := range slices.Chunk(ends, page) {
		if _, err := d.o.Ledger.Write(ctx, part); err != nil {
			d.log.WarnContext(ctx, "the journal is left to the next process", "error", err)
			return
		}
	}
}
