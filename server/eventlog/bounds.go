package eventlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Whether a cluster's answer about a stream's end may be believed. A partition
// whose stream ends below what it has applied seals the stream, and a Writer
// ends, so an answer that is merely old must never look like a lost tail.
//
// nats-server 2.15.2 answers $JS.API.STREAM.INFO from what the answering server
// has applied itself (jetstream_api.go, jsStreamInfoRequest). A stream's leader
// counts as one only after it has applied everything that it inherited, its own
// first entry included (raft.go, switchToLeader and Processed), and whoever is
// elected has all that was acknowledged; so the answer of the leader is right,
// also of a new one. But two others answer as well: any copy, while the stream
// has no leader (isGroupLeaderless), and a leader that has lost the others and
// has not noticed (for up to lostQuorumInterval, 10 s). The answer itself shows
// both: see unsettled.
const (
	// leaseFor is less than the shortest time after which the others elect
	// another leader (raft.go, minElectionTimeout: 4 s): while a majority was
	// heard from within it, there is no other.
	leaseFor = 3 * time.Second
	// maxUnsettled bounds the wait for an answer that can be believed, when the
	// caller's context does not: about two elections.
	maxUnsettled = 20 * time.Second
	askAgain     = 200 * time.Millisecond
	// askFor is how long an answer is waited for before the question is put again:
	// while a stream has no leader nobody answers.
	askFor = time.Second
	// confirmFor and confirmAnswers are how long and how often servers must say
	// that a stream ends below what was seen before it is believed: longer than a
	// leader without its cluster stays one.
	confirmFor     = 15 * time.Second
	confirmAnswers = 3
	// forgetAfter is how long one answer counts towards the next.
	forgetAfter = time.Minute
)

// errBehind: the stream is said to end below what was seen of it, and that is
// not certain yet.
var errBehind = errors.New("the stream is said to end too early, asking again")

// Bounds returns the first kept and the last appended sequence.
func (s *jsStream) Bounds(ctx context.Context) (first, last uint64, err error) {
	before := s.tail.known()
	info, err := s.log.settled(ctx, s.served)
	if err != nil {
		return 0, 0, fmt.Errorf("bounds of %s: %w", s.name, s.log.mapErr(err))
	}
	state := info.State
	if s.log.remote {
		now := time.Now() //nolint:forbidigo // how long servers have said the same; log time is the caller's
		if err := s.tail.believe(state.LastSeq, before, now); err != nil {
			return 0, 0, fmt.Errorf("bounds of %s: %w", s.name, err)
		}
	}
	if state.Msgs == 0 {
		return state.LastSeq + 1, state.LastSeq, nil
	}
	return state.FirstSeq, state.LastSeq, nil
}

// settled is what the leader of the stream, and nobody else, says of it.
func (l *JetStream) settled(ctx context.Context, served string) (*jetstream.StreamInfo, error) {
	if !l.remote {
		st, err := l.js.Stream(ctx, served)
		if err != nil {
			return nil, err
		}
		return st.CachedInfo(), nil
	}
	ctx, cancel := context.WithTimeout(ctx, maxUnsettled)
	defer cancel()
	for {
		info, err := l.ask(ctx, served)
		if err == nil {
			why := unsettled(info)
			if why == "" {
				return info, nil
			}
			err = fmt.Errorf("no answer to rely on: %s", why)
		} else if !errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
		if !l.pause(ctx, askAgain) {
			return nil, err
		}
	}
}

func (l *JetStream) ask(ctx context.Context, served string) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	st, err := l.js.Stream(ctx, served)
	if err != nil {
		return nil, err
	}
	return st.CachedInfo(), nil
}

// unsettled says why the answer may be an old one; "" when it is not.
func unsettled(info *jetstream.StreamInfo) string {
	c := info.Cluster
	if c == nil || len(c.Replicas) == 0 { // the only copy
		return ""
	}
	if c.Leader == "" {
		return "the stream has no leader"
	}
	heard := 1 // the leader itself
	for _, r := range c.Replicas {
		if r.Name == c.Leader {
			return "a server that does not lead the stream answered" // a leader leaves itself out
		}
		// A copy that was never heard from has no age.
		if !r.Offline && r.Active > 0 && r.Active < leaseFor {
			heard++
		}
	}
	if n := len(c.Replicas) + 1; 2*heard <= n {
		return fmt.Sprintf("the leader hears from %d of %d", heard, n)
	}
	return ""
}

// tail is how far a stream was seen to reach.
type tail struct {
	mu      sync.Mutex
	seen    uint64    // the highest sequence that was answered or read
	since   time.Time // when it was first said to end below
	latest  time.Time // when it was last said so
	answers int       // that said so since
}

// known is how far the stream was seen to reach until now: what is asked from now
// on must reach as far. What is appended meanwhile, the answer may know or not.
func (t *tail) known() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen
}

func (t *tail) reached(seq uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if seq > t.seen {
		t.seen, t.answers = seq, 0 // it goes on: who said that it had ended was behind
	}
}

// believe takes a last sequence, or returns errBehind while it is below what was
// known before it was asked for and not yet confirmed.
func (t *tail) believe(last, before uint64, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last >= before {
		t.seen, t.answers = max(t.seen, last), 0
		return nil
	}
	if t.answers == 0 || now.Sub(t.latest) > forgetAfter {
		t.since, t.answers = now, 0
	}
	t.latest = now
	t.answers++
	if t.answers < confirmAnswers || now.Sub(t.since) < confirmFor {
		return fmt.Errorf("%w: it is at %d, %d was seen", errBehind, last, t.seen)
	}
	t.seen, t.answers = last, 0 // it is so
	return nil
}
