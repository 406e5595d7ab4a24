package client_test

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/sdkproto/vectors"
)

type blockedVector struct {
	Name  string `json:"name"`
	Steps []struct {
		Blocked   bool            `json:"blocked"`
		Taken     bool            `json:"taken"`
		AdvanceMS int64           `json:"advance_ms"`
		Item      json.RawMessage `json:"item"`
		AgeMS     int64           `json:"age_ms"`
		Left      []string        `json:"left"`
	} `json:"steps"`
}

// What a phone keeps while the server has its app blocked.
func TestBlockedVectors(t *testing.T) {
	b, err := os.ReadFile("../vectors/blocked.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []blockedVector
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range all {
		t.Run(v.Name, v.run)
	}
}

func (v *blockedVector) run(t *testing.T) {
	var mu sync.Mutex
	begin, passed := time.Now(), time.Duration(0)
	since := func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return passed
	}
	var gone record[uint64]
	s := newScripted(t, &vectors.Transcript{
		Given: vectors.Given{Registered: true},
		Vars:  map[string]any{"app": "ak_test", "install": "install-1", "token": "tok-1", "session": "s-1"},
	}, sdkproto.Protobuf{}, func(o *client.Options) {
		o.Clock = func() time.Time { return begin.Add(since()) }
		o.Mono = func() time.Duration { return 100*time.Hour + since() }
		o.OnDropped = func(i *sdkpb.Item) { gone.add(i.Seq) }
	})
	greet := func() {
		t.Helper()
		if err := s.c.Foreground(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
		s.open("open")
		s.heard("hello", []map[string]any{{"id": "$h", "hello": map[string]any{}}})
	}
	count := 0
	for n, x := range v.Steps {
		mu.Lock()
		passed += time.Duration(x.AdvanceMS) * time.Millisecond
		mu.Unlock()
		if x.Item != nil {
			item := new(sdkpb.Item)
			if err := protojson.Unmarshal(x.Item, item); err != nil {
				t.Fatal(err)
			}
			item.OccurredMs = begin.Add(since()).UnixMilli() - x.AgeMS
			s.c.Enqueue(item)
			count++
		}
		if x.Blocked {
			greet()
			s.say("blocked", map[string]any{"error": map[string]any{"code": 103, "name": "app_disabled"}})
			s.closed("blocked", &vectors.Close{By: "server", Code: int(sdkproto.CloseBlocked)})
			s.expect("stopped", &vectors.Expect{State: new("stopped")})
			s.c.Close() // it has ended: the next step may begin anew
		}
		if x.Taken {
			greet()
			s.say("taken", map[string]any{"re": "$h", "helloOk": map[string]any{"session": "$session"}})
			s.expect("open", &vectors.Expect{State: new("open")})
			s.c.Close()
		}
		if x.Left == nil {
			continue
		}
		saved, err := s.store.Load()
		if err != nil {
			t.Fatal(err)
		}
		left := []string{}
		for _, i := range saved.Items {
			left = append(left, strconv.FormatUint(i.Seq, 10))
		}
		if !slices.Equal(left, x.Left) || s.c.Pending() != len(left) || len(gone.all()) != count-len(left) {
			t.Fatalf("step %d: %v are left and %v dropped, want %v", n, left, gone.all(), x.Left)
		}
	}
}
