// Package measure counts what became of a campaign, per arm, as a pure step in
// the transactions of decide: each "act" partition keeps its own counts under the
// key "<workspace>/m:<campaign>@<partition>", and readers add them up.
//
// # Over time
//
// When an hour (a day) is over, what was counted in it is recorded as a Bucket in the
// collection Hours (Days), in the transaction of the first count after it. The state
// remembers only what stood there when the present hour and day began: what an hour costs
// is paid once in that hour, and not by each count. A bucket belongs to the log time at
// which the fact was heard of, not at which it happened: a count never changes afterwards,
// and those of all hours together are the campaign's.
//
// Hours and days are those of UTC. One zone for a campaign whose places lie in several
// would be wrong for most of them, and a zone that is changed would leave days that overlap.
// Days of a zone are added up from hours, while these are kept, by readers.
package measure

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// Collections of buckets; their retention is the partition's (Options.Keep).
const (
	Hours = "tally_hours"
	Days  = "tally_days"
)

// Tally is one partition's counts of one campaign, by arm. The arm "" holds what
// never reached an arm: the suppressed.
type Tally struct {
	V        int    `json:"v"` // 1
	Campaign string `json:"campaign"`
	Arms     ByArm  `json:"arms"`
	// Hour and Day are what Arms was when the hour and the day of the newest count began;
	// nil of an earlier build's, whose counts are of no hour.
	Hour *Mark `json:"hour,omitempty"`
	Day  *Mark `json:"day,omitempty"`
}

// Mark is what stood in a tally at a time. It is never changed.
type Mark struct {
	From int64 `json:"from"` // Unix seconds
	Arms ByArm `json:"arms,omitempty"`
}

// Bucket is what one partition counted of a campaign in an hour or a day: a document
// with the id BucketID.
type Bucket struct {
	V        int                      `json:"v"` // 1
	Campaign string                   `json:"campaign"`
	From     int64                    `json:"from"` // when it began, Unix seconds
	Arms     map[string]engage.Counts `json:"arms"`
}

// Clone implements engage.State.
func (t *Tally) Clone() engage.State {
	c := *t
	return &c
}

// Encode implements engage.State.
func (t *Tally) Encode() ([]byte, error) { return json.Marshal(t) }

// Now are the counts of the hour and of the day that go on, empty of an earlier build's.
func (t *Tally) Now() (hour, day Bucket) { return t.since(t.Hour), t.since(t.Day) }

// since is what was counted since a mark.
func (t *Tally) since(m *Mark) Bucket {
	b := Bucket{V: 1, Campaign: t.Campaign, Arms: map[string]engage.Counts{}}
	if m == nil {
		return b
	}
	b.From = m.From
	for arm, c := range t.Arms.All() {
		if d := c.Less(m.Arms.Of(arm)); !zero(d) {
			b.Arms[arm] = d
		}
	}
	return b
}

// Prefix of the ids of a campaign's tallies in the collection "state_act".
func Prefix(campaign string) string { return "m:" + campaign + "@" }

// BucketPrefix is that of the ids of a campaign's buckets.
func BucketPrefix(campaign string) string { return campaign + "/" }

// BucketID of the bucket of a partition that began at a time (Unix seconds): those of a
// campaign are in the order of time. With no partition it comes before all of that time.
func BucketID(campaign string, from int64, partition string) string {
	return fmt.Sprintf("%s%012d@%s", BucketPrefix(campaign), from, partition)
}

// PartitionOf is the partition that a tally's or a bucket's id names.
func PartitionOf(id string) string {
	_, partition, _ := strings.Cut(id, "@")
	return partition
}

// Meter adds to tallies.
type Meter struct{}

// Decode reads a Tally.
func (Meter) Decode(_ string, body []byte) (engage.State, error) {
	t := &Tally{}
	if err := json.Unmarshal(body, t); err != nil {
		return nil, fmt.Errorf("tally: %w", err)
	}
	if t.V != 1 {
		return nil, fmt.Errorf("tally: version %d is not known", t.V)
	}
	return t, nil
}

// Add adds counts of an arm, at the log time of the entry that is applied.
func (Meter) Add(tx engage.Tx, workspace, campaign, arm string, add engage.Counts) error {
	key := workspace + "/" + Prefix(campaign) + tx.Position().Partition
	st, err := tx.Edit(key)
	if err != nil {
		return err
	}
	t, _ := st.(*Tally) // nil when there is none
	if t == nil {
		t = &Tally{V: 1, Campaign: campaign}
		tx.Put(key, t)
	}
	t.turn(tx, workspace)
	t.Arms = t.Arms.With(arm, Sum(t.Arms.Of(arm), add))
	return nil
}

// turn records the hour and the day if they are over. Log time can step back a little
// between the sources of a partition: what comes late counts in the hour that goes on.
func (t *Tally) turn(tx engage.Tx, workspace string) {
	at := tx.At().Unix()
	for _, span := range [...]struct {
		mark       **Mark
		s          int64
		collection string
	}{{&t.Hour, 3600, Hours}, {&t.Day, 86_400, Days}} {
		from := at - at%span.s
		m := *span.mark
		if m != nil && from <= m.From {
			continue
		}
		if b := t.since(m); len(b.Arms) > 0 {
			tx.Record(span.collection, workspace, BucketID(t.Campaign, b.From, tx.Position().Partition), b)
		}
		*span.mark = &Mark{From: from, Arms: t.Arms}
	}
}

// Sum adds counts without changing either.
func Sum(a, b engage.Counts) engage.Counts { return a.Plus(b) }

// zero reports whether nothing was counted.
func zero(c engage.Counts) bool { return reflect.ValueOf(c).IsZero() }

// Merge adds the tallies of a campaign's partitions up.
func Merge(ts ...*Tally) map[string]engage.Counts {
	out := map[string]engage.Counts{}
	for _, t := range ts {
		for arm, c := range t.Arms.All() {
			out[arm] = Sum(out[arm], c)
		}
	}
	return out
}

// MergeInto adds counts by arm to others.
func MergeInto(out, arms map[string]engage.Counts) {
	for arm, c := range arms {
		out[arm] = Sum(out[arm], c)
	}
}
