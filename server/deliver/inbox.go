package deliver

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// boxing is a change of a person's inbox.
type boxing struct {
	by   string    // this process
	now  time.Time // when the change is made
	item *InboxItem
	to   []string // with item: the person's installs
	read string   // id of a message that was read
	drop string   // id of one that is taken out
	// lost are messages that the inbox has and that are nowhere.
	lost []string

	// Of the last time that it was applied, which is the one that counts:
	changed bool
	notify  []string // installs
}

// apply makes the edit. It may be called several times, each time anew.
func (x *boxing) apply(was InboxState) (InboxEdit, error) {
	x.changed, x.notify = false, nil
	b, err := readBox(was.Head)
	if err != nil {
		return InboxEdit{}, err
	}
	adopted := was.Head == nil && len(was.Items) > 0
	if adopted { // of a build that knew no numbers: all are unread
		for _, it := range was.Items {
			b.put(it.Delivery, it.Expires, x.by)
		}
	}
	seq := b.Seq
	var out InboxEdit
	if x.item != nil {
		b.put(x.item.Delivery, x.item.Expires, x.by)
		b.Installs = x.to
		out.Put = x.item
	}
	if x.read != "" {
		b.read(x.read, x.by)
	}
	for _, id := range append(slices.Clone(x.lost), x.drop) {
		if b.remove(id, x.now, x.by) {
			out.Remove = append(out.Remove, id)
		}
	}
	if adopted || b.Seq != seq || b.stale(x.now) {
		out.Remove = append(out.Remove, b.sweep(x.now, x.by)...)
	}
	x.changed = b.Seq != seq
	if !x.changed && !adopted {
		return InboxEdit{}, nil
	}
	x.notify = b.Installs
	if out.Head, err = json.Marshal(b); err != nil {
		return InboxEdit{}, fmt.Errorf("encode inbox: %w", err)
	}
	out.Expires = b.expires(x.now)
	return out, nil
}

func (d *Deliverer) inboxChange(workspace, profile string, x *boxing) *InboxChange {
	x.by = d.process
	return &InboxChange{Workspace: workspace, Profile: profile, Apply: x.apply}
}

// announce tells open sessions of a change that was made: those of phones that keep
// an inbox, and of the others one that takes a new message.
func (d *Deliverer) announce(ctx context.Context, workspace string, x *boxing) {
	if !x.changed {
		return
	}
	for _, install := range x.notify {
		d.o.Sessions.InboxChanged(workspace, install)
	}
	if x.item == nil {
		return
	}
	m, err := readInboxItem(*x.item)
	if err != nil || m.GetKind() == sdkpb.Message_KIND_IN_APP {
		return // what only waits for its moment is for those who keep an inbox
	}
	for _, install := range x.to {
		owns, err := d.owns(ctx, &engage.Send{Workspace: workspace, Profile: x.item.Profile}, install)
		if err == nil && owns && d.o.Sessions.Offer(workspace, install, m) {
			return
		}
	}
}

// Receipt takes what a phone says of a message into effect, once however often it
// says so. A message that was displayed, opened, acted upon, converted or dismissed
// is not sent again; in the inbox it is read then, or gone if it was dismissed. One
// that a phone was granted and failed to show goes into the inbox at once. Another
// state, or a delivery that is not known (any more), is no error. A message of
// another person than the one whose phone says so is left alone.
func (d *Deliverer) Receipt(ctx context.Context, workspace, profile string, said engage.ReceiptItem) error {
	switch said.State {
	case engage.ReceiptDisplayed, engage.ReceiptOpened, engage.ReceiptAction, engage.ReceiptConverted, engage.ReceiptDismissed, engage.ReceiptFailed:
	default:
		return nil
	}
	k, lane := key{workspace, said.Message}, ""
	alone := d.hold(k)
	if alone {
		defer func() { d.release(k, lane) }()
	}
	for {
		r, err := d.reread(ctx, k)
		if err != nil || r == nil {
			return err
		}
		if same, err := d.same(ctx, workspace, r.Send.Profile, profile); err != nil || !same {
			return err
		}
		lane = r.Lane
		c := &change{r: r}
		if !d.receive(ctx, c, said, alone) {
			return nil
		}
		won, err := d.commit(ctx, []*change{c})
		if err != nil {
			return err
		}
		if won[0] {
			return nil
		}
	}
}

// receive changes the delivery as the receipt says and reports whether it did. One that
// waits and is worked on by somebody else (not alone) may be under way: then that ends it.
func (d *Deliverer) receive(ctx context.Context, c *change, said engage.ReceiptItem, alone bool) bool {
	r := c.r
	if said.State == engage.ReceiptFailed {
		if r.Claimed != "" && r.Claimed == said.Install && !r.Displayed {
			r.Claimed = "" // it waits for its moment on another phone, or there again
			return true
		}
		if r.State != granted || r.Offer == nil || r.Offer.Install != said.Install {
			return false
		}
		if now := d.clock.Now(); !d.refuse(ctx, r, now) {
			d.inbox(ctx, c, detailNotShown, engage.ReasonNotDisplayed, now)
		}
		return true
	}
	dismissed := said.State == engage.ReceiptDismissed
	boxed := r.Boxed || r.State == inboxed
	switch {
	case r.Displayed && (!dismissed || r.Dismissed || !boxed):
		return false
	case boxed && dismissed:
		c.box = &boxing{drop: said.Message}
	case boxed:
		c.box = &boxing{read: said.Message}
	case r.State == done: // nothing can follow any more
		return false
	}
	r.Displayed = true
	r.Dismissed = r.Dismissed || dismissed
	if r.State != sending && (alone || r.State != waiting) { // the attempt's answer ends that
		r.shown()
	}
	return true
}

// Inbox returns the cards that wait for the person, oldest first, at most 100: those
// that are neither expired nor read. It is for phones that keep no inbox of their own.
func (d *Deliverer) Inbox(ctx context.Context, workspace, profile string) ([]*sdkpb.Message, error) {
	all, err := d.unread(ctx, workspace, profile)
	return slices.DeleteFunc(all, func(m *sdkpb.Message) bool { return m.GetKind() == sdkpb.Message_KIND_IN_APP }), err
}

func (d *Deliverer) unread(ctx context.Context, workspace, profile string) ([]*sdkpb.Message, error) {
	for range inboxTries {
		state, err := d.o.Ledger.Inbox(ctx, workspace, profile)
		if err != nil {
			return nil, fmt.Errorf("read inbox: %w", err)
		}
		now := d.clock.Now()
		var ids []string
		if state.Head == nil {
			for _, it := range state.Items {
				if now.Before(it.Expires) {
					ids = append(ids, it.Delivery)
				}
			}
			return d.messages(ctx, state.Items, ids[max(len(ids)-maxInbox, 0):]), nil
		}
		b, err := readBox(state.Head)
		if err != nil {
			return nil, fmt.Errorf("read inbox: %w", err)
		}
		for _, m := range b.Items {
			if !m.Read && !m.expired(now) {
				ids = append(ids, m.ID)
			}
		}
		items, missing, err := d.items(ctx, workspace, profile, ids)
		if err != nil {
			return nil, err
		}
		if len(missing) == 0 {
			return d.messages(ctx, items, ids), nil
		}
		if err := d.mend(ctx, workspace, profile, state, missing); err != nil {
			return nil, err
		}
	}
	return nil, engage.Errorf(engage.Unavailable, "", "the inbox changes faster than it can be read")
}

// inboxTries is how often an inbox that changes while it is read is read again.
const inboxTries = 20

// InboxSince returns what has changed in the person's inbox since the cursor, which
// is of an earlier answer: messages that are new or changed, and ids that are in
// the inbox no more. With Full, the cursor was empty, of another person or inbox,
// or from before what is remembered (30 days, 200 removals), and the messages are
// all. It takes changes up to about limit bytes as protobuf, and at least one; with
// More there are others behind the new cursor. Answers that are lost do no harm:
// the same cursor can be shown again, and by several phones.
//
// Every change has a number, so what a cursor misses does not depend on a clock.
// Only expiry does: what has expired by the clock of now is taken out first, as a
// change like any other, and does not come back if the clock does.
func (d *Deliverer) InboxSince(ctx context.Context, workspace, profile, since string, limit int) (*sdkpb.Inbox, error) {
	person := personOf(workspace, profile)
	var from *cursor
	if c, ok := readCursor(since); ok && c.person == person {
		from = &c
	}
	for range inboxTries {
		state, err := d.o.Ledger.Inbox(ctx, workspace, profile)
		if err != nil {
			return nil, fmt.Errorf("read inbox: %w", err)
		}
		if state.Head == nil && len(state.Items) == 0 {
			return &sdkpb.Inbox{Full: from == nil || from.epoch != "", Cursor: cursor{person: person}.String()}, nil
		}
		b, err := readBox(state.Head)
		if err != nil {
			return nil, fmt.Errorf("read inbox: %w", err)
		}
		if state.Head == nil || b.stale(d.clock.Now()) {
			if err := d.mend(ctx, workspace, profile, state, nil); err != nil {
				return nil, err
			}
			continue
		}
		known := from
		if known != nil && !b.knows(*known) {
			known = nil
		}
		out, missing, err := d.tellInbox(ctx, workspace, profile, b, known, limit)
		if err != nil {
			return nil, err
		}
		if len(missing) == 0 {
			return out, nil
		}
		if err := d.mend(ctx, workspace, profile, state, missing); err != nil {
			return nil, err
		}
	}
	return nil, engage.Errorf(engage.Unavailable, "", "the inbox changes faster than it can be read")
}

// tellInbox is the answer for a cursor; nil asks for everything. Missing are
// messages that are not there: the inbox has changed, or has lost them.
func (d *Deliverer) tellInbox(ctx context.Context, workspace, profile string, b *box, from *cursor, limit int) (out *sdkpb.Inbox, missing []string, err error) {
	changes := b.since(from)
	var ids []string
	for _, c := range changes {
		if c.at >= 0 {
			ids = append(ids, b.Items[c.at].ID)
		}
	}
	items, missing, err := d.items(ctx, workspace, profile, ids)
	if err != nil || len(missing) > 0 {
		return nil, missing, err
	}
	texts := make(map[string]*sdkpb.Message, len(items))
	for _, m := range d.messages(ctx, items, ids) {
		texts[m.GetMessageId()] = m
	}
	to := cursor{person: personOf(workspace, profile), epoch: b.Epoch, seq: b.Seq}
	if from == nil {
		out = &sdkpb.Inbox{Full: true}
		to.base = b.Seq
	} else {
		out = &sdkpb.Inbox{}
		to.base = from.base
	}
	size, told := 0, 0
	var at []int
	for i, c := range changes {
		var m *sdkpb.Message
		if c.at >= 0 {
			// One that cannot be read is left out: it is of a newer build.
			if m = texts[b.Items[c.at].ID]; m == nil {
				continue
			}
			size += proto.Size(m) + 4
		} else {
			size += len(c.gone) + 2
		}
		if told > 0 && size > limit {
			out.More, to.seq = true, changes[i-1].seq
			break
		}
		told++
		if m == nil {
			out.Gone = append(out.Gone, c.gone)
			continue
		}
		m.Read = b.Items[c.at].Read
		at = append(at, c.at)
	}
	slices.Sort(at)
	for _, i := range at {
		out.Messages = append(out.Messages, texts[b.Items[i].ID])
	}
	if to.base <= to.seq {
		to.base = 0
	}
	to.by = b.runOf(max(to.seq, to.base))
	out.Cursor = to.String()
	return out, nil, nil
}

// items reads what messages of the inbox say, and which of them are not there.
func (d *Deliverer) items(ctx context.Context, workspace, profile string, ids []string) (items []InboxItem, missing []string, err error) {
	if len(ids) == 0 {
		return nil, nil, nil
	}
	items, err = d.o.Ledger.InboxItems(ctx, workspace, profile, ids)
	if err != nil {
		return nil, nil, fmt.Errorf("read inbox: %w", err)
	}
	have := make(map[string]bool, len(items))
	for _, it := range items {
		have[it.Delivery] = true
	}
	for _, id := range ids {
		if !have[id] {
			missing = append(missing, id)
		}
	}
	return items, missing, nil
}

// messages are those of the ids, in their order, as they can be read.
func (d *Deliverer) messages(ctx context.Context, items []InboxItem, ids []string) []*sdkpb.Message {
	byID := make(map[string]InboxItem, len(items))
	for _, it := range items {
		byID[it.Delivery] = it
	}
	var out []*sdkpb.Message
	for _, id := range ids {
		it := byID[id]
		m, err := readInboxItem(it)
		if err != nil {
			d.log.ErrorContext(ctx, "inbox item left out", "workspace", it.Workspace, "delivery", id, "error", err)
			continue
		}
		out = append(out, m)
	}
	return out
}

// mend brings the inbox up to date: items of an earlier build get their numbers,
// what has expired is taken out, and so is what is missing although nothing has
// changed since the inbox was read.
func (d *Deliverer) mend(ctx context.Context, workspace, profile string, was InboxState, missing []string) error {
	x := &boxing{now: d.clock.Now()}
	if len(missing) > 0 {
		again, err := d.o.Ledger.Inbox(ctx, workspace, profile)
		if err != nil {
			return fmt.Errorf("read inbox: %w", err)
		}
		if string(again.Head) != string(was.Head) {
			return nil // it has changed, and is read again
		}
		x.lost = missing
	}
	if err := d.o.Ledger.ChangeInbox(ctx, d.inboxChange(workspace, profile, x)); err != nil {
		return fmt.Errorf("write inbox: %w", err)
	}
	return nil
}
