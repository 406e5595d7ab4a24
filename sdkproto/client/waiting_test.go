package client

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// displayVector is one of vectors/display.json: see vectors/README.md.
type displayVector struct {
	Name  string        `json:"name"`
	NowMS int64         `json:"now_ms"`
	Steps []displayStep `json:"steps"`
}

type displayStep struct {
	AtMS       int64              `json:"at_ms"`
	Inbox      *[]json.RawMessage `json:"inbox"`
	Keep       json.RawMessage    `json:"keep"`
	Foreground bool               `json:"foreground"`
	Background bool               `json:"background"`
	Event      string             `json:"event"`
	Screen     string             `json:"screen"`
	Granted    string             `json:"granted"`
	Refused    string             `json:"refused"`
	Shown      string             `json:"shown"`
	Ended      string             `json:"ended"`
	Restart    bool               `json:"restart"`
	Logout     bool               `json:"logout"`

	Due    *string   `json:"due"`
	NextMS *int64    `json:"next_ms"`
	Left   *[]string `json:"left"`
}

func messageOf(t *testing.T, raw json.RawMessage) *sdkpb.Message {
	t.Helper()
	m := &sdkpb.Message{}
	if err := protojson.Unmarshal(raw, m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDisplayVectors(t *testing.T) {
	b, err := os.ReadFile("../vectors/display.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []displayVector
	if err := json.Unmarshal(b, &vectors); err != nil || len(vectors) == 0 {
		t.Fatal(len(vectors), err)
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			x := new(waiting)
			var inbox []*sdkpb.Message
			const boot = time.Hour // a monotonic clock does not begin at 0
			for n, s := range v.Steps {
				now, mono := time.UnixMilli(v.NowMS+s.AtMS), boot+time.Duration(s.AtMS)*time.Millisecond
				switch {
				case s.Inbox != nil:
					inbox = nil
					for _, raw := range *s.Inbox {
						inbox = append(inbox, messageOf(t, raw))
					}
					x.sync(inbox, mono)
				case s.Keep != nil:
					x.keep(messageOf(t, s.Keep), now, mono)
				case s.Foreground:
					x.foreground(mono)
				case s.Background:
					x.background()
				case s.Event != "":
					x.event(s.Event, mono)
				case s.Screen != "":
					x.shows(s.Screen, mono)
				case s.Granted != "":
					x.grant(s.Granted)
				case s.Refused != "":
					x.drop(s.Refused)
				case s.Shown != "":
					x.was(s.Shown, now, mono)
				case s.Ended != "":
					x.drop(s.Ended)
				case s.Logout:
					x.all, inbox = nil, nil
				case s.Restart:
					kept, err := x.save(now)
					if err != nil {
						t.Fatal(err)
					}
					x = new(waiting)
					if err := x.load(kept); err != nil {
						t.Fatal(err)
					}
					x.sync(inbox, mono)
				}
				w, next := x.due(now, mono)
				if got, want := w.idOrNone(), deref(s.Due, ""); got != want {
					t.Errorf("step %d: due is %q, want %q", n, got, want)
				}
				if next > 0 {
					next -= boot
				}
				if got, want := next.Milliseconds(), deref(s.NextMS, 0); got != want {
					t.Errorf("step %d: next is at %d, want %d", n, got, want)
				}
				if s.Left != nil {
					left := []string{}
					for _, w := range x.all {
						if !w.done {
							left = append(left, w.id())
						}
					}
					slices.Sort(left)
					if !slices.Equal(left, *s.Left) {
						t.Errorf("step %d: left are %q, want %q", n, left, *s.Left)
					}
				}
			}
		})
	}
}

func (w *waits) idOrNone() string {
	if w == nil {
		return ""
	}
	return w.id()
}

func deref[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

func TestWhatWaitsCanBeReadOnlyWhole(t *testing.T) {
	for _, bad := range []string{"{", `[{"message":"?"}]`, `[{"message":"/w=="}]`} {
		x := &waiting{all: []*waits{{message: &sdkpb.Message{MessageId: "a"}}}}
		if err := x.load([]byte(bad)); err == nil || !strings.Contains(err.Error(), "messages that wait") {
			t.Errorf("%s: %v", bad, err)
		}
		if len(x.all) > 0 {
			t.Errorf("%s: %d are left", bad, len(x.all))
		}
	}
}
