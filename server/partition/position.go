package partition

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/store"
)

// position is how far something is true: all records up to and including Seq.
type position struct {
	Incarnation uint32 `json:"incarnation"`
	Seq         uint64 `json:"seq"`
}

// outputPosition is the document "positions/<partition>/out" of the hot store.
type outputPosition struct {
	V int `json:"v"` // 1
	position
}

// statePosition is the document "positions/<partition>/states", committed with
// the states that it speaks of.
type statePosition struct {
	V int `json:"v"` // 1
	position
	Marks   map[string]engage.Source `json:"marks,omitempty"`
	Adopted uint64                   `json:"adopted"`
	Build   string                   `json:"build"`
	Hours   []hourMark               `json:"hours,omitempty"`
	Sealed  []sealed                 `json:"sealed,omitempty"`
}

// sealed is an incarnation that is over; its records are kept as long as others.
type sealed struct {
	Incarnation uint32    `json:"incarnation"`
	At          time.Time `json:"at"` // by the clock
}

// hourMark is the first sequence of an hour of log time: what retention trims by.
type hourMark struct {
	Hour time.Time `json:"hour"`
	Seq  uint64    `json:"seq"`
}

// Alarm is a document of the collection "alarms": something that an operator
// must know of.
type Alarm struct {
	V         int       `json:"v"` // 1
	Partition string    `json:"partition"`
	Kind      string    `json:"kind"` // lost_tail, trimmed_ahead, upgrade_replay
	Text      string    `json:"text"`
	At        time.Time `json:"at"`
}

func (p *Partition) positionKey(which string) store.Key {
	return store.Key{Workspace: store.System, ID: p.name + "/" + which}
}

// recover reads what is known and settles which incarnation goes on.
func (p *Partition) recover(ctx context.Context) error {
	st := statePosition{V: 1}
	var err error
	if p.statesVersion, err = p.claim(ctx, p.o.States, "states", &st); err != nil {
		return err
	}
	out := outputPosition{V: 1}
	if p.o.Mode == Fast {
		if p.outVersion, err = p.claim(ctx, p.o.Hot, "out", &out); err != nil {
			return err
		}
	}
	p.inc, p.next = max(st.Incarnation, 1), st.Seq+1
	p.position.Store(st.Seq)
	p.marks, p.adopted, p.hours, p.savedOn = st.Marks, st.Adopted, st.Hours, st.Build
	p.heard.Store(p.adopted)
	p.savedPos, p.sealed = position{p.inc, st.Seq}, st.Sealed
	if p.marks == nil {
		p.marks = map[string]engage.Source{}
	}
	// The switch of incarnations commits the state position first, so an output
	// position of an older one is simply done with.
	p.outPos = position{Incarnation: p.inc}
	if out.Incarnation == p.inc {
		p.outPos = out.position
	}
	if p.config, err = p.o.Configs.At(ctx, p.adopted); err != nil {
		return fmt.Errorf("configuration revision %d: %w", p.adopted, err)
	}
	if err := p.loadTimers(ctx); err != nil {
		return err
	}
	var rows []row
	err = p.insist(ctx, "load the outbox", func(ctx context.Context) (err error) {
		rows, err = loadRows(ctx, p.o.Hot, p.name)
		return err
	})
	if err != nil {
		return err
	}
	for _, r := range rows {
		p.outbox.add(r)
	}
	return p.settle(ctx)
}

// SavedPosition is how far the committed states of a partition ("in/0") are true:
// everything up to and including the record seq of an incarnation of its stream.
// store.ErrNotFound when the partition has never been opened on this store.
func SavedPosition(ctx context.Context, s Store, name string) (incarnation uint32, seq uint64, err error) {
	doc, err := s.Get(ctx, "positions", store.Key{Workspace: store.System, ID: name + "/states"})
	if err != nil {
		return 0, 0, fmt.Errorf("read states position of %s: %w", name, err)
	}
	var st statePosition
	if err := json.Unmarshal(doc.Body, &st); err != nil {
		return 0, 0, fmt.Errorf("decode states position of %s: %w", name, err)
	}
	return max(st.Incarnation, 1), st.Seq, nil
}

// claim reads a position, if there is one, and writes it back as it is: from then
// on nobody who knows an older version of it can commit. Its version is returned.
func (p *Partition) claim(ctx context.Context, s Store, which string, into any) (version int64, err error) {
	doing := "claim the " + which + " position"
	err = p.insist(ctx, doing, func(ctx context.Context) error {
		for {
			doc, err := s.Get(ctx, "positions", p.positionKey(which))
			switch {
			case errors.Is(err, store.ErrNotFound):
				if doc.Body, err = json.Marshal(into); err != nil {
					return fmt.Errorf("%w: encode: %w", errCorrupt, err)
				}
			case err != nil:
				return err
			default:
				if err := json.Unmarshal(doc.Body, into); err != nil {
					return fmt.Errorf("%w: %w", errCorrupt, err)
				}
			}
			version = doc.Version + 1
			err = s.Apply(ctx, store.Batch{Puts: []store.Put{p.positionPut(which, doc.Body, doc.Version)}})
			if !errors.Is(err, store.ErrVersion) { // otherwise the old owner has just committed once more
				return err
			}
		}
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", doing, err)
	}
	return version, nil
}

// positionPut writes a position over the version that is known.
func (p *Partition) positionPut(which string, body []byte, version int64) store.Put {
	return store.Put{Collection: "positions", Key: p.positionKey(which), Body: body, If: version}
}

func (p *Partition) loadTimers(ctx context.Context) error {
	q := store.Query{IDPrefix: p.name + "/"}
	return p.insist(ctx, "load timers", func(ctx context.Context) error {
		return p.o.States.Iterate(ctx, "timers", q, func(d store.Doc) error {
			var t timer
			if err := json.Unmarshal(d.Body, &t); err != nil {
				return fmt.Errorf("%w: timer %s: %w", errCorrupt, d.ID, err)
			}
			p.timers.put(t) // in its own place, if it was loaded before
			return nil
		})
	})
}

// settle opens the stream, and the next incarnation if its tail is lost.
func (p *Partition) settle(ctx context.Context) error {
	s, first, last, err := p.insistOnStream(ctx, p.inc)
	if err != nil {
		return err
	}
	known := max(p.next-1, p.outPos.Seq)
	p.stream, p.writerInc, p.endAtRun = s, p.inc, last
	if last >= known {
		if first > p.next {
			p.alarm(ctx, "trimmed_ahead", fmt.Sprintf("the log begins at %d, the states end at %d: %d records were never applied", first, p.next-1, first-p.next))
			p.next = first
			p.position.Store(first - 1)
		}
		if p.next <= p.outPos.Seq && p.savedOn != p.o.Build {
			p.alarm(ctx, "upgrade_replay", fmt.Sprintf("records %d to %d are applied again by build %q after a crash of %q; their outputs stay as they were", p.next, p.outPos.Seq, p.o.Build, p.savedOn))
		}
		p.inbox.landed(record{Message: eventlog.Message{Seq: last}}, false)
		return nil
	}
	p.alarm(ctx, "lost_tail", fmt.Sprintf("the log ends at %d but was applied to %d: the tail is lost, incarnation %d begins", last, known, p.inc+1))
	if err := p.insist(ctx, "seal the stream", s.Seal); err != nil {
		return fmt.Errorf("seal incarnation %d: %w", p.inc, err)
	}
	if err := p.o.Fault(FaultSealed); err != nil {
		return err
	}
	p.old, p.oldLast = s, last
	p.writerInc = p.inc + 1
	p.stream, _, p.endAtRun, err = p.insistOnStream(ctx, p.writerInc)
	if err != nil {
		return err
	}
	p.inbox.landed(record{Message: eventlog.Message{Seq: p.endAtRun}}, false)
	return nil
}

// finishOld applies what is left of the previous incarnation and begins the next.
func (p *Partition) finishOld(ctx context.Context) error {
	if p.old == nil {
		return nil
	}
	for p.next <= p.oldLast {
		msgs, err := p.readFrom(ctx, p.old)
		if err != nil {
			return err
		}
		for len(msgs) > 0 {
			if msgs, err = p.process(context.WithoutCancel(ctx), msgs); err != nil {
				return err
			}
		}
	}
	p.old = nil
	p.sealed = append(p.sealed, sealed{p.inc, p.o.Clock.Now()})
	p.inc, p.next, p.hours = p.writerInc, 1, nil
	p.outPos = position{Incarnation: p.inc}
	p.position.Store(0)
	p.dirtyPos = true
	return p.checkpointNow(context.WithoutCancel(ctx))
}

// alarm logs and keeps what an operator must know. It does not fail: the log
// line is there when the document is not.
func (p *Partition) alarm(ctx context.Context, kind, text string) {
	p.log.Error("partition alarm", "kind", kind, "text", text)
	body, err := json.Marshal(Alarm{V: 1, Partition: p.name, Kind: kind, Text: text, At: p.o.Clock.Now()})
	if err == nil {
		err = p.o.States.Apply(ctx, store.Batch{Puts: []store.Put{{
			Collection: "alarms",
			Key:        store.Key{Workspace: store.System, ID: fmt.Sprintf("%s/%d/%s/%d", p.name, p.inc, kind, p.next)},
			Body:       body, If: store.AnyVersion,
		}}})
	}
	if err != nil {
		p.log.Error("keep alarm", "kind", kind, "error", err)
	}
}
