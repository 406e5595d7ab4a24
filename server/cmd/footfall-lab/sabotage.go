package main

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// sabotage is what the demo does wrong on purpose, to show that the audit finds it.
type sabotage struct {
	Lose   int // items that the log loses after they were acknowledged
	Double int // messages that phones show a second time
}

// maxSabotage keeps each below what a short run of a small town has to offer.
const maxSabotage = 100

// String implements pflag.Value.
func (s *sabotage) String() string {
	if *s == (sabotage{}) {
		return ""
	}
	return fmt.Sprintf("lose=%d,double=%d", s.Lose, s.Double)
}

// Type implements pflag.Value.
func (s *sabotage) Type() string { return "lose=N,double=N" }

// Set implements pflag.Value.
func (s *sabotage) Set(text string) error {
	*s = sabotage{}
	for part := range strings.SplitSeq(text, ",") {
		name, number, ok := strings.Cut(strings.TrimSpace(part), "=")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || n < 0 || n > maxSabotage {
			return fmt.Errorf("%q must be lose=N or double=N with N from 0 to %d", part, maxSabotage)
		}
		switch name {
		case "lose":
			s.Lose = n
		case "double":
			s.Double = n
		default:
			return fmt.Errorf("%q is unknown: there are lose and double", name)
		}
	}
	return nil
}

// thief takes items out of what phones have the log keep. It is asked by many
// goroutines.
type thief struct {
	mu     sync.Mutex
	left   int
	robbed map[string]uint64              // by workspace and install: the item that is gone for good
	kept   map[string]map[uint64]struct{} // fixes let through, by the same
}

func newThief(n int) *thief {
	return &thief{left: n, robbed: map[string]uint64{}, kept: map[string]map[uint64]struct{}{}}
}

// spare is how many fixes of a phone go through before one is taken, so that what
// is missing is amid what the server has.
const spare = 1

// take is app's FaultyLog: it takes one fix each from as many installs as there is
// to be lost, and takes it again should the phone repeat it. It never takes what it
// has let through before: a phone repeats that when the acknowledgement was slow,
// while the log has it already, and nothing would be missing.
func (t *thief) take(workspace, install string, entries []engage.Entry) []engage.Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	who := workspace + "/" + install
	var kept []engage.Entry
	for i, e := range entries {
		if e.Kind == engage.KindItem && t.takes(who, e.Body) {
			if kept == nil {
				kept = append(make([]engage.Entry, 0, len(entries)), entries[:i]...)
			}
			continue
		}
		if kept != nil {
			kept = append(kept, e)
		}
	}
	if kept == nil {
		return entries
	}
	return kept
}

func (t *thief) takes(who string, body []byte) bool {
	seq, robbed := t.robbed[who]
	if !robbed && t.left == 0 {
		return false
	}
	var it sdkpb.Item
	if proto.Unmarshal(body, &it) != nil {
		return false
	}
	if robbed {
		return it.GetSeq() == seq
	}
	if it.Location == nil {
		return false
	}
	kept := t.kept[who]
	if _, ok := kept[it.GetSeq()]; ok {
		return false
	}
	if len(kept) < spare {
		if kept == nil {
			kept = map[uint64]struct{}{}
			t.kept[who] = kept
		}
		kept[it.GetSeq()] = struct{}{}
		return false
	}
	t.robbed[who] = it.GetSeq()
	t.left--
	return true
}

// taken is how many were taken so far.
func (t *thief) taken() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.robbed)
}
