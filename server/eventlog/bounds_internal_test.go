package eventlog

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestOnlyALeaderThatHearsAMajorityIsBelieved(t *testing.T) {
	peer := func(name string, active time.Duration) *jetstream.PeerInfo {
		return &jetstream.PeerInfo{Name: name, Current: true, Active: active}
	}
	offline := peer("b", time.Second)
	offline.Offline = true
	for name, c := range map[string]struct {
		cluster *jetstream.ClusterInfo
		settled bool
	}{
		"a single server":              {nil, true},
		"one replica in a cluster":     {&jetstream.ClusterInfo{Leader: "a"}, true},
		"a leader and two others":      {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{peer("b", 1), peer("c", leaseFor-1)}}, true},
		"a leader and one other":       {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{peer("b", 1), peer("c", time.Hour)}}, true},
		"a leader alone":               {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{peer("b", leaseFor), peer("c", time.Hour)}}, false},
		"a leader, others never heard": {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{peer("b", 0), peer("c", 0)}}, false},
		"a leader, one offline":        {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{offline, peer("c", time.Hour)}}, false},
		"no leader":                    {&jetstream.ClusterInfo{Replicas: []*jetstream.PeerInfo{peer("a", 1), peer("b", 1), peer("c", 1)}}, false},
		"a copy that knows the leader": {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{peer("a", 1), peer("c", 1)}}, false},
	} {
		if why := unsettled(&jetstream.StreamInfo{Cluster: c.cluster}); (why == "") != c.settled {
			t.Errorf("%s: %q", name, why)
		}
	}
}

func TestAShorterStreamIsBelievedOnlyAfterAWhileOfTheSameAnswer(t *testing.T) {
	var x tail
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	say := func(last uint64, after time.Duration, believed bool) {
		t.Helper()
		at = at.Add(after)
		err := x.believe(last, x.known(), at)
		if believed != (err == nil) || !believed && !errors.Is(err, errBehind) {
			t.Fatalf("last %d: %v", last, err)
		}
	}
	say(10, 0, true)
	x.reached(20)
	x.reached(15)
	say(19, 0, false)
	say(19, confirmFor-time.Second, false)
	say(20, 0, true) // somebody was behind
	say(19, 0, false)
	say(19, confirmFor, false) // two answers are not three
	say(19, 0, true)
	say(19, 0, true) // from now on it is so
	x.reached(30)
	for range confirmAnswers + 1 {
		say(19, 0, false) // many at once are not for a while
	}
	say(18, confirmFor, true)

	// Answers that an append has overtaken say nothing, nor do those of long ago.
	x = tail{}
	x.reached(10)
	before := x.known()
	x.reached(30)
	if err := x.believe(12, before, at); err != nil {
		t.Fatalf("an answer from between two appends: %v", err)
	}
	if x.known() != 30 {
		t.Fatalf("it is taken to end at %d", x.known())
	}
	say(29, 0, false)
	say(29, 0, false)
	say(29, time.Hour, false)
	say(29, 0, false)
	x.reached(31)
	say(29, confirmFor, false) // it went on meanwhile
	say(29, 0, false)
	say(29, confirmFor, true)
}
