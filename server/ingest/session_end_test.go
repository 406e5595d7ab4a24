package ingest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/ingest"
)

// told is what the log was told of an install: "+<session>", "-<session>", "+" of a
// hello by POST, and the seqs of items.
func (l *eventLog) told(t testing.TB, install string) (out []string) {
	t.Helper()
	items := seqs(l.items(t, install))
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		if e.Key != engage.InstallKey(ws, install) {
			continue
		}
		var body struct {
			V       int
			Session string
		}
		switch e.Kind {
		case engage.KindItem:
			out, items = append(out, fmt.Sprint(items[0])), items[1:]
			continue
		case engage.KindSession, engage.KindSessionEnd:
			if err := json.Unmarshal(e.Body, &body); err != nil {
				t.Fatal(err)
			}
		}
		sign := "+"
		if e.Kind == engage.KindSessionEnd {
			sign = "-"
			if body.V != 1 || body.Session == "" {
				t.Errorf("end %s", e.Body)
			}
		}
		out = append(out, sign+body.Session)
	}
	return out
}

func (w *world) ends(install string, n int) func() bool {
	return func() bool {
		ends := 0
		for _, s := range w.log.told(w.t, install) {
			if strings.HasPrefix(s, "-") {
				ends++
			}
		}
		return ends == n
	}
}

// session opens one and gives its id.
func (w *world) session(install, token string) (*raw, string) {
	w.t.Helper()
	r := w.dial(sdkproto.Protobuf{})
	h := hello(install)
	h.DeviceToken = token
	r.send(&sdkpb.Frame{Id: 1, Hello: h})
	return r, r.next().GetHelloOk().GetSession()
}

func TestTheLogHearsOfTheEndOfASessionAfterItsItems(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	token := w.token("phone-00001")
	r, id := w.session("phone-00001", token)
	r.send(&sdkpb.Frame{Id: 2, Batch: batch(opened(1), opened(2))})
	for f := r.next(); f.Ack == nil; f = r.next() {
	}
	_ = r.conn.Close() // without a word
	until(t, "end", w.ends("phone-00001", 1))
	if got, want := w.log.told(t, "phone-00001"), []string{"+", "+" + id, "1", "2", "-" + id}; id == "" || !slices.Equal(got, want) {
		t.Errorf("the log heard %v, want %v", got, want)
	}
}

func TestAnOlderSessionEndsUnderItsOwnId(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	token := w.token("phone-00001")
	older, first := w.session("phone-00001", token)
	newer, second := w.session("phone-00001", token)
	older.closed()
	until(t, "end of the older", w.ends("phone-00001", 1))
	newer.send(&sdkpb.Frame{Id: 2, Batch: batch(opened(1))})
	for f := newer.next(); f.Ack == nil; f = newer.next() {
	}
	if got, want := w.log.told(t, "phone-00001"), []string{"+", "+" + first, "+" + second, "-" + first, "1"}; !slices.Equal(got, want) {
		t.Errorf("the log heard %v, want %v", got, want)
	}
}

func TestADeadSocketAndAShutdownEndSessions(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	_, dead := w.session("phone-00001", w.token("phone-00001")) // it does not read, so it answers no ping
	w.tickUntil("end of a dead session", w.ends("phone-00001", 1))
	if got := w.log.told(t, "phone-00001"); got[len(got)-1] != "-"+dead {
		t.Errorf("the log heard %v", got)
	}
	_, alive := w.session("phone-00002", w.token("phone-00002"))
	w.stop()
	if got := w.log.told(t, "phone-00002"); got[len(got)-1] != "-"+alive {
		t.Errorf("the log heard %v", got)
	}
}

// A hello that is refused because the log was silent may land yet.
func TestARefusedHelloLeavesNoSessionBehind(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	token := w.token("phone-00001")
	w.log.set(func() { w.log.hold = true })
	r := w.dial(sdkproto.Protobuf{})
	h := hello("phone-00001")
	h.DeviceToken = token
	r.send(&sdkpb.Frame{Id: 1, Hello: h})
	until(t, "append", func() bool { return w.log.waiting() == 1 })
	w.tickUntil("refusal", func() bool { return w.log.waiting() == 2 })
	if _, code := r.closed(); code != sdkproto.CloseInternal {
		t.Errorf("closed with %d", code)
	}
	w.release()
	got := w.log.told(t, "phone-00001")
	if len(got) != 3 || !strings.HasPrefix(got[1], "+") || got[2] != "-"+got[1][1:] {
		t.Errorf("the log heard %v", got)
	}
}

func TestAnEndThatTheLogDoesNotTakeIsCounted(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	r, _ := w.session("phone-00001", w.token("phone-00001"))
	w.log.set(func() { w.log.busy = 1 })
	_ = r.conn.Close()
	until(t, "end", func() bool { return w.gateway.Sessions().Count() == 0 })
	until(t, "count", func() bool { return w.metric("footfall_ingest_session_ends_lost_total", "") == 1 })
}
