package client

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// waiting are the in-app messages that the phone keeps and shows at a moment of their
// own: the rules of the protocol's section "Messages that wait". It is pure; times are
// arguments. Guarded by Client.mu.
type waiting struct {
	all    []*waits // in the order in which they came
	open   bool     // the app is in the foreground
	screen string   // that it shows; empty: not said
}

// waits is one of them.
type waits struct {
	message *sdkpb.Message
	shown   int   // how often
	lastMS  int64 // when it was shown last, Unix ms by the server's clock
	granted bool  // to this phone
	done    bool  // it is not to be shown any more, though the inbox may still have it

	session bool          // it was shown in this session
	moment  bool          // its moment has come: it is ready from readyAt on
	readyAt time.Duration // by the monotonic clock
}

func (w *waits) id() string { return w.message.GetMessageId() }

func (w *waits) times() int { return max(int(w.message.GetFrequency().GetTimes()), 1) }

// always: it has no trigger, and so is ready whenever the app is open.
func (w *waits) always() bool { return w.message.GetTrigger() == nil }

func (w *waits) expired(now time.Time) bool {
	at := w.message.GetExpiresMs()
	return at != 0 && now.UnixMilli() >= at
}

// come says that the moment of the message has come.
func (w *waits) come(mono time.Duration) {
	if w.done || w.moment {
		return
	}
	w.moment = true
	w.readyAt = mono + time.Duration(w.message.GetTrigger().GetDelayMs())*time.Millisecond
}

func (x *waiting) find(id string) *waits {
	for _, w := range x.all {
		if w.id() == id {
			return w
		}
	}
	return nil
}

// begin begins what a new message has missed: the session, or the screen that is shown.
func (x *waiting) begin(w *waits, mono time.Duration) {
	t := w.message.GetTrigger()
	if x.open && t.GetEvent() == "" && (t.GetScreen() == "" || t.GetScreen() == x.screen) {
		w.come(mono)
	}
}

// sync takes what the inbox holds, and reports whether anything has changed.
func (x *waiting) sync(inbox []*sdkpb.Message, mono time.Duration) (changed bool) {
	have := make(map[string]bool, len(inbox))
	for _, m := range inbox {
		if m.GetTrigger() == nil {
			continue
		}
		have[m.GetMessageId()] = true
		w := x.find(m.GetMessageId())
		switch {
		case w == nil:
			w = &waits{message: m, done: m.GetRead()}
			x.all = append(x.all, w)
			x.begin(w, mono)
			changed = true
		case !proto.Equal(w.message, m):
			w.message = m
			changed = true
		}
		if m.GetRead() && !w.granted && !w.done {
			w.done, changed = true, true
		}
	}
	n := len(x.all)
	x.all = slices.DeleteFunc(x.all, func(w *waits) bool {
		return !have[w.id()] && (!w.granted || w.done)
	})
	return changed || len(x.all) != n
}

// keep takes a message that was offered, and has been shown for the first time, if it
// may be shown again. It reports whether it may.
func (x *waiting) keep(m *sdkpb.Message, now time.Time, mono time.Duration) bool {
	if x.find(m.GetMessageId()) != nil || m.GetTrigger() != nil || m.GetFrequency().GetTimes() < 2 {
		return false
	}
	w := &waits{message: m, granted: true}
	x.all = append(x.all, w)
	x.was(m.GetMessageId(), now, mono)
	return true
}

// foreground begins a session of the app.
func (x *waiting) foreground(mono time.Duration) {
	x.open, x.screen = true, ""
	for _, w := range x.all {
		w.session = false
		x.begin(w, mono)
	}
}

// background: the app has left the foreground.
func (x *waiting) background() {
	x.open, x.screen = false, ""
	for _, w := range x.all {
		w.moment = false
	}
}

// event: the app has tracked one.
func (x *waiting) event(name string, mono time.Duration) {
	for _, w := range x.all {
		if x.open && name != "" && w.message.GetTrigger().GetEvent() == name {
			w.come(mono)
		}
	}
}

// shows: the app shows another screen, or the same anew.
func (x *waiting) shows(screen string, mono time.Duration) {
	if !x.open {
		return
	}
	x.screen = screen
	for _, w := range x.all {
		switch w.message.GetTrigger().GetScreen() {
		case "":
		case screen:
			w.come(mono)
		default:
			w.moment = false
		}
	}
}

// due is the message that is to be shown first; nil: none. Otherwise next is when there
// may be one, by the monotonic clock; 0: not before something happens.
func (x *waiting) due(now time.Time, mono time.Duration) (first *waits, next time.Duration) {
	next = math.MaxInt64
	for _, w := range x.all {
		if !w.moment || w.done || w.expired(now) || w.shown >= w.times() {
			continue
		}
		f := w.message.GetFrequency()
		if w.session && f.GetPerSession() {
			continue
		}
		at := w.readyAt
		if w.shown > 0 && f.GetMinGapMs() > 0 {
			// A gap longer than the phone's clock was put back by would never end.
			left := min(w.lastMS+int64(f.GetMinGapMs())-now.UnixMilli(), int64(f.GetMinGapMs()))
			at = max(at, mono+time.Duration(left)*time.Millisecond)
		}
		switch {
		case at > mono:
			next = min(next, at)
		case first == nil || cmp.Or(cmp.Compare(w.readyAt, first.readyAt), cmp.Compare(w.id(), first.id())) < 0:
			first = w
		}
	}
	if first != nil || next == math.MaxInt64 {
		next = 0
	}
	return first, next
}

// grant says that this phone may show the message; false: there is no such.
func (x *waiting) grant(id string) bool {
	w := x.find(id)
	if w != nil {
		w.granted = true
	}
	return w != nil
}

// was: the message is on the screen.
func (x *waiting) was(id string, now time.Time, mono time.Duration) {
	w := x.find(id)
	if w == nil {
		return
	}
	w.shown++
	w.lastMS, w.granted, w.session, w.moment = now.UnixMilli(), true, true, false
	if w.shown >= w.times() {
		w.done = true
	} else if w.always() {
		w.moment, w.readyAt = true, mono
	}
}

// drop: the message is not to be shown any more.
func (x *waiting) drop(id string) (changed bool) {
	w := x.find(id)
	if w == nil || w.done {
		return false
	}
	w.done = true
	return true
}

// keptWait is one of them as the store has it.
type keptWait struct {
	Message string `json:"message"` // protobuf, base64
	Shown   int    `json:"shown,omitempty"`
	LastMS  int64  `json:"last_ms,omitempty"`
	Granted bool   `json:"granted,omitempty"`
	Done    bool   `json:"done,omitempty"`
}

// save is what must outlive the app's process. What has expired is left out, and so is
// what is done with and stands in no inbox.
func (x *waiting) save(now time.Time) ([]byte, error) {
	out := []keptWait{}
	for _, w := range x.all {
		if w.expired(now) || w.done && w.always() {
			continue
		}
		b, err := proto.Marshal(w.message)
		if err != nil {
			return nil, fmt.Errorf("client: keep message %s: %w", w.id(), err)
		}
		out = append(out, keptWait{base64.StdEncoding.EncodeToString(b), w.shown, w.lastMS, w.granted, w.done})
	}
	return json.Marshal(out)
}

// load takes what save has made; nil is nothing.
func (x *waiting) load(b []byte) error {
	x.all = nil
	if len(b) == 0 {
		return nil
	}
	var kept []keptWait
	if err := json.Unmarshal(b, &kept); err != nil {
		return fmt.Errorf("client: read messages that wait: %w", err)
	}
	for _, k := range kept {
		raw, err := base64.StdEncoding.DecodeString(k.Message)
		m := &sdkpb.Message{}
		if err == nil {
			err = proto.Unmarshal(raw, m)
		}
		if err != nil {
			return fmt.Errorf("client: read messages that wait: %w", err)
		}
		x.all = append(x.all, &waits{message: m, shown: k.Shown, lastMS: k.LastMS, granted: k.Granted, done: k.Done})
	}
	return nil
}
