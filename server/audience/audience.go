// Package audience says for how many persons of a workspace a rule holds, while somebody
// is still writing it: in less than a second however many persons there are, exactly or
// with the error stated.
//
// # How
//
// The id of a profile is a hash of what minted it, so any range of ids is a fair sample:
// it has nothing to do with who the person is. Two readers go around the circle of
// hashes from opposite points, in steps of about 200 persons, until all have been seen
// (then the count is exact) or the time is up. Every person is read from what is saved
// and asked by the rule itself, as the audience gate asks (profile.Env): there is no
// second meaning of a rule. Profiles that became another one are left out.
//
// Where the circle begins depends on the workspace and the hour: whoever changes a rule
// compares it over the same persons, and these are in the machine's memory after the
// first question.
//
// # The interval
//
// If a share f of the circle was read, each person for whom the rule holds was met with
// the chance f, alone. Of M such persons M·f are expected, with the variance M·f·(1−f);
// the interval is that of the M for which what was met is within 1.96 deviations (the
// score interval, as Wilson's is for shares): right in 95 of 100 cases, also where
// nobody was met. It holds for the persons in total, too, who are not counted otherwise:
// a count of a million documents takes seconds.
//
// # Measured
//
// Of 1,000,000 persons (each a state of 20 attributes, and one more profile that became
// theirs; SQLite, a machine of 2 cores): asked by HTTP it took 457 to 473 ms. The first
// question after the server's start looked at 5,700 persons, the twelfth at 27,000: from
// ±2.6 % to ±1.2 % of a rule that holds for all, and at most 137 of one that holds for
// nobody.
package audience

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/profile"
	"github.com/footfall-engage/footfall/server/rules"
)

// Source reads what is saved of persons.
type Source interface {
	// Range calls f with the state of each person of a workspace whose profile's id is
	// at least from and below below, and gives how many documents it looked at: profiles
	// that became another one are among these, and not given to f. The error of f ends it.
	Range(ctx context.Context, workspace, from, below string, f func(body []byte) error) (looked int, err error)
}

// Options of a Counter.
type Options struct {
	Source Source
	// Read decodes what Source gives; nil means profile.Read.
	Read func(body []byte) (*profile.Profile, error)
	// Budget is how long one question may read; what has begun then is finished, which
	// takes some milliseconds. 0 means DefaultBudget.
	Budget time.Duration
	// Most is how many persons are read for one question; 0 means as many as there are.
	Most int
}

// DefaultBudget leaves most of a second for waiting, and for an answer's way.
const DefaultBudget = 450 * time.Millisecond

// Counter counts. It is safe for concurrent use: in one workspace one question is read
// for at a time, on the whole server as many as there are processors; others wait.
type Counter struct {
	o    Options
	slot chan struct{}

	mu   sync.Mutex
	busy map[string]*turn // by workspace
}

// turn of a workspace: whoever has the token reads.
type turn struct {
	token chan struct{}
	users int
}

// New makes a Counter.
func New(o Options) *Counter {
	if o.Read == nil {
		o.Read = profile.Read
	}
	if o.Budget == 0 {
		o.Budget = DefaultBudget
	}
	return &Counter{o: o, slot: make(chan struct{}, runtime.GOMAXPROCS(0)), busy: map[string]*turn{}}
}

// Question about an audience.
type Question struct {
	Workspace string
	Rule      *rules.Rule // over rules.PersonSchema
	Now       time.Time   // relative times count from here
	// Env is a person as the rule sees them; nil means profile.Env.
	Env func(*profile.Profile) rules.Env
	// Examples is how many persons to name for whom the rule holds.
	Examples int
}

// Figure is a number of persons.
type Figure struct {
	Estimate int64 `json:"estimate" doc:"The most likely number"`
	Low      int64 `json:"low" doc:"The number lies between low and high in 95 of 100 cases"`
	High     int64 `json:"high"`
}

// Answer to a question.
type Answer struct {
	Matching Figure
	People   Figure // all there are
	// Exact: everybody was looked at, and low, estimate and high are one. What the
	// partitions have not saved yet (half a second) is not in it.
	Exact  bool
	Looked int // persons looked at
	// Unreadable persons among these are counted as not matching.
	Unreadable int

	// Of those for whom the rule holds:
	Consenting Figure // who agreed to marketing messages
	Phones     Figure // who have an app of ours
	Push       Figure // who have a phone that takes pushes
	Marketing  Figure // whom a marketing message could reach: consent and an app

	Examples []string // ids of some for whom the rule holds
}

// The circle of hashes: the first 32 bits of a profile's id.
const circle = uint64(1) << 32

// readers go around it at a time.
const readers = 2

// stepRows is how many documents a step is to read.
const stepRows = 200

// Count answers a question. Its error is that of the source, or the context's.
func (c *Counter) Count(ctx context.Context, q Question) (*Answer, error) {
	done, err := c.wait(ctx, q.Workspace)
	if err != nil {
		return nil, err
	}
	defer done()
	// The budget is a context of its own, which only says when to stop: a step that has
	// begun is finished, so that what it read counts.
	budget, cancel := context.WithTimeout(ctx, c.o.Budget)
	defer cancel()
	ctx, stop := context.WithCancel(ctx)
	defer stop()

	h := sha256.Sum256(fmt.Appendf(nil, "%s %d", q.Workspace, q.Now.Unix()/3600))
	start := uint64(binary.BigEndian.Uint32(h[:]))
	var parts [readers]tally
	var all sync.WaitGroup
	var once sync.Once
	var failed error // of who failed first: the other one fails of that
	for i := range readers {
		all.Go(func() {
			if err := c.walk(ctx, budget, &q, &parts[i], start+uint64(i)*(circle/readers)); err != nil {
				once.Do(func() { failed = err })
				stop()
			}
		})
	}
	all.Wait()
	if failed != nil {
		return nil, fmt.Errorf("count an audience: %w", failed)
	}
	sum := &parts[0]
	for i := range parts[1:] {
		sum.add(&parts[1+i])
	}
	return sum.answer(q.Examples), nil
}

// wait for the workspace's turn, and the server's.
func (c *Counter) wait(ctx context.Context, workspace string) (done func(), err error) {
	c.mu.Lock()
	t := c.busy[workspace]
	if t == nil {
		t = &turn{token: make(chan struct{}, 1)}
		c.busy[workspace] = t
	}
	t.users++
	c.mu.Unlock()
	leave := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(c.busy, workspace)
		}
	}
	select {
	case t.token <- struct{}{}:
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
	select {
	case c.slot <- struct{}{}:
	case <-ctx.Done():
		<-t.token
		leave()
		return nil, ctx.Err()
	}
	return func() {
		<-c.slot
		<-t.token
		leave()
	}, nil
}

// walk reads one part of the circle from a point on, until it is read or the budget is
// used up; something is read in any case, if there is anything.
func (c *Counter) walk(ctx, budget context.Context, q *Question, t *tally, from uint64) error {
	const size = circle / readers
	at, width := uint64(0), circle>>20
	for at < size {
		if t.looked > 0 && (budget.Err() != nil || c.o.Most > 0 && t.looked >= c.o.Most/readers) {
			return ctx.Err()
		}
		begin := (from + at) % circle
		width = min(width, size-at, circle-begin)
		rows := 0
		for _, class := range classes {
			n, err := c.o.Source.Range(ctx, q.Workspace, class+hash(begin), class+hash(begin+width), func(body []byte) error {
				return t.take(q, body, c.o.Read)
			})
			if err != nil {
				return err
			}
			rows += n
		}
		at += width
		t.covered += width
		width = next(width, rows)
	}
	return nil
}

// classes are what ids begin with before the hash, by what minted the profile
// (engage.PersonID, engage.ProfileID).
var classes = [...]string{"", "u", "v", "w"}

// hash is where ids begin at a point of the circle, and one behind all at its end.
func hash(at uint64) string {
	if at >= circle {
		return "g"
	}
	return fmt.Sprintf("%08x", at)
}

// next is how wide the next step is to be, when one had so many rows.
func next(width uint64, rows int) uint64 {
	grown := float64(width) * 8
	if rows > 0 {
		grown = min(grown, float64(width)*stepRows/float64(rows))
	}
	return max(uint64(grown), 1)
}

// tally is what a part of the circle had.
type tally struct {
	covered    uint64
	looked     int
	unreadable int
	matching   int64
	consenting int64
	phones     int64
	push       int64
	marketing  int64
	examples   []string
}

func (t *tally) take(q *Question, body []byte, read func([]byte) (*profile.Profile, error)) error {
	t.looked++
	p, err := read(body)
	if err != nil {
		t.unreadable++
		return nil //nolint:nilerr // one state that cannot be read is no reason to count nobody
	}
	var env rules.Env = profile.Env{Profile: p, Now: q.Now}
	if q.Env != nil {
		env = q.Env(p)
	}
	if !q.Rule.Match(env, q.Now) {
		return nil
	}
	t.matching++
	if len(t.examples) < q.Examples {
		t.examples = append(t.examples, p.ID)
	}
	r := p.Reach()
	t.consenting += one(r.Marketing)
	t.phones += one(r.Phone)
	t.push += one(r.Push)
	t.marketing += one(r.Marketing && r.Phone)
	return nil
}

func one(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

func (t *tally) add(u *tally) {
	t.covered += u.covered
	t.looked += u.looked
	t.unreadable += u.unreadable
	t.matching += u.matching
	t.consenting += u.consenting
	t.phones += u.phones
	t.push += u.push
	t.marketing += u.marketing
	t.examples = append(t.examples, u.examples...)
}

func (t *tally) answer(examples int) *Answer {
	f := float64(t.covered) / float64(circle)
	return &Answer{
		Matching: figure(t.matching, f), People: figure(int64(t.looked), f), Exact: t.covered == circle,
		Looked: t.looked, Unreadable: t.unreadable,
		Consenting: figure(t.consenting, f), Phones: figure(t.phones, f), Push: figure(t.push, f), Marketing: figure(t.marketing, f),
		Examples: t.examples[:min(len(t.examples), examples)],
	}
}

// figure is how many there are, when so many were met in a share of the circle.
func figure(met int64, share float64) Figure {
	if share >= 1 {
		return Figure{met, met, met}
	}
	const z = 1.959963984540054 // of 95 %
	m, rest := float64(met), 1-share
	middle, half := 2*m+z*z*rest, z*math.Sqrt(z*z*rest*rest+4*m*rest)
	return Figure{
		Estimate: int64(math.Round(m / share)),
		Low:      max(int64(math.Floor((middle-half)/(2*share))), met),
		High:     int64(math.Ceil((middle + half) / (2 * share))),
	}
}

// Marketed is the part of the matching whom a message of a class could reach.
func (a *Answer) Marketed(class engage.Class) Figure {
	if class == engage.Service { // needs no consent
		return a.Phones
	}
	return a.Marketing
}
