package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/sdkproto/vectors"
)

// The golden transcripts: what phones and servers say to each other, with the test
// as the server.
func TestTranscripts(t *testing.T) {
	all, err := vectors.Transcripts()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("%d transcripts", len(all))
	}
	for i := range all {
		tr := &all[i]
		if tr.Only == "server" {
			continue
		}
		t.Run(tr.File, func(t *testing.T) {
			for _, codec := range []sdkproto.Codec{sdkproto.Protobuf{}, sdkproto.JSON{}} {
				t.Run(codec.Subprotocol(), func(t *testing.T) { play(t, tr, codec) })
			}
		})
	}
}

// scripted is the server of a transcript, and the app around the client.
type scripted struct {
	*testing.T
	*vectors.Script
	tr    *vectors.Transcript
	codec sdkproto.Codec
	srv   *httptest.Server
	store *client.MemStore
	edit  func(*client.Options)
	c     *client.Client
	calls sync.WaitGroup // of the app that wait for the server

	sockets  chan *websocket.Conn
	requests chan *asked
	conn     *websocket.Conn
	frames   chan incoming // of conn
	ahead    []incoming    // that came while something else was waited for
	asked    *asked

	refuse   atomic.Int32 // the HTTP status of the next handshake; 0 takes it
	mu       sync.Mutex
	shown    []string
	rejected []string
	state    client.State
}

// incoming is a frame of the phone, or why there are no more.
type incoming struct {
	frame map[string]any
	err   error
}

// asked is a request that waits for its answer.
type asked struct {
	r      *http.Request
	body   []byte
	answer chan func(http.ResponseWriter)
}

func play(t *testing.T, tr *vectors.Transcript, codec sdkproto.Codec) {
	s := newScripted(t, tr, codec)
	for i := range tr.Steps {
		if s.step(fmt.Sprintf("step %d", i), &tr.Steps[i]); t.Failed() {
			return
		}
	}
}

// newScripted is a phone whose app has been started.
func newScripted(t *testing.T, tr *vectors.Transcript, codec sdkproto.Codec, edit ...func(*client.Options)) *scripted {
	t.Helper()
	s := &scripted{
		T: t, Script: vectors.NewScript(tr), tr: tr, codec: codec, store: new(client.MemStore),
		sockets: make(chan *websocket.Conn), requests: make(chan *asked),
	}
	s.edit = func(o *client.Options) {
		for _, f := range edit {
			f(o)
		}
	}
	over := make(chan struct{})
	s.srv = httptest.NewServer(s.handler(over))
	t.Cleanup(func() {
		close(over)
		s.c.Close()
		s.calls.Wait()
		s.srv.Close()
	})
	for _, name := range []string{"app", "install"} {
		s.Value(name)
	}
	if tr.Given.Registered != false {
		if err := s.store.Apply(client.Change{Tokens: &client.Tokens{Token: s.Text("$token")}}); err != nil {
			t.Fatal(err)
		}
	}
	s.launch()
	return s
}

// handler gives sockets and requests to the script.
func (s *scripted) handler(over <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+sdkproto.PathWS, func(w http.ResponseWriter, r *http.Request) {
		if status := s.refuse.Swap(0); status != 0 {
			if status == http.StatusTooManyRequests {
				w.Header().Set("Retry-After", "1")
			}
			w.WriteHeader(int(status))
			return
		}
		up := websocket.Upgrader{Subprotocols: []string{s.codec.Subprotocol()}}
		conn, err := up.Upgrade(w, r, nil)
		if err != nil {
			s.Errorf("upgrade: %v", err)
			return
		}
		select {
		case s.sockets <- conn:
		case <-over:
			_ = conn.Close()
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, err := sdkproto.ReadBody(r.Body, r.Header.Get("Content-Encoding"), 0)
		if err != nil {
			s.Errorf("body: %v", err)
		}
		a := &asked{r, body, make(chan func(http.ResponseWriter), 1)}
		select {
		case s.requests <- a:
		case <-over:
			return
		}
		select {
		case answer := <-a.answer:
			answer(w)
		case <-over:
		}
	})
	return mux
}

// launch starts the app's process on what it has stored.
func (s *scripted) launch() {
	s.Helper()
	o := client.Options{
		Endpoint: s.srv.URL, AppKey: s.Text("$app"), InstallID: s.Text("$install"),
		Platform: sdkpb.Platform_PLATFORM_ANDROID, Codec: s.codec, Caps: s.tr.Given.Caps, Store: s.store,
		HTTPClient: s.srv.Client(), Rand: func() float64 { return 0 }, BackoffMin: time.Millisecond,
		OnMessage: func(m *sdkpb.Message) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if m.Kind == sdkpb.Message_KIND_IN_APP {
				s.shown = append(s.shown, m.MessageId)
			}
		},
		OnReject: func(_ *sdkpb.Item, r *sdkpb.Reject) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.rejected = append(s.rejected, r.Code)
		},
		OnState: func(x client.State, _ error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.state = x
		},
	}
	s.edit(&o)
	c, err := client.New(o)
	if err != nil {
		s.Fatal(err)
	}
	s.c = c
}

func (s *scripted) step(name string, x *vectors.Step) {
	s.Helper()
	if x.Only == "server" {
		return
	}
	switch {
	case x.App != nil:
		s.app(name, x.App)
	case x.Open:
		s.open(name)
	case x.Cut:
		_ = s.conn.NetConn().Close()
	case x.Up != nil:
		s.heard(name, []map[string]any{x.Up})
	case x.Down != nil && !x.Lost:
		s.say(name, x.Down)
	case x.Unordered != nil:
		var ups []map[string]any
		for _, y := range x.Unordered {
			if y.Down != nil {
				s.say(name, y.Down)
			} else {
				ups = append(ups, y.Up)
			}
		}
		s.heard(name, ups)
	case x.Close != nil:
		s.closed(name, x.Close)
	case x.Request != nil:
		s.request(name, x.Request)
	case x.Answer != nil:
		s.answer(name, x.Answer)
	case x.QuietMS > 0:
		s.quiet(name, time.Duration(x.QuietMS)*time.Millisecond)
	case x.Expect != nil:
		s.expect(name, x.Expect)
	}
}

// app does what the host app or the OS does.
func (s *scripted) app(name string, raw json.RawMessage) {
	s.Helper()
	var word string
	var call struct {
		Item          json.RawMessage `json:"item"`
		StartTracking string          `json:"start_tracking"`
	}
	if json.Unmarshal(raw, &word) != nil {
		if err := json.Unmarshal(raw, &call); err != nil {
			s.Fatalf("%s: %v", name, err)
		}
	}
	// What waits for the server ends with the test; its errors show in what follows.
	wait := func(f func(context.Context) error) {
		s.calls.Go(func() { _ = f(context.WithoutCancel(s.Context())) })
	}
	switch {
	case call.Item != nil:
		var pattern map[string]any
		if err := json.Unmarshal(call.Item, &pattern); err != nil {
			s.Fatalf("%s: %v", name, err)
		}
		item := new(sdkpb.Item)
		s.message(name, pattern, item)
		s.c.Enqueue(item)
	case call.StartTracking != "":
		s.c.StartTracking(sdkpb.Tracking_Preset(sdkpb.Tracking_Preset_value[call.StartTracking]))
	case word == "foreground":
		if err := s.c.Foreground(context.WithoutCancel(s.Context())); err != nil {
			s.Fatalf("%s: %v", name, err)
		}
	case word == "background":
		wait(s.c.Background)
	case word == "wake":
		wait(s.c.PostBatch)
	case word == "restart":
		s.c.Close()
		s.launch()
	case word == "refresh_token":
		wait(s.c.RefreshToken)
	case word == "stop_tracking":
		s.c.StopTracking()
	default:
		s.Fatalf("%s: the app cannot %s", name, raw)
	}
}

// message is what a pattern says.
func (s *scripted) message(name string, pattern map[string]any, m proto.Message) {
	s.Helper()
	b, err := json.Marshal(s.Fill(pattern))
	if err == nil {
		err = protojson.Unmarshal(b, m)
	}
	if err != nil {
		s.Fatalf("%s: %v", name, err)
	}
}

func (s *scripted) open(name string) {
	s.Helper()
	select {
	case s.conn = <-s.sockets:
	case a := <-s.requests:
		s.Fatalf("%s: a request for %s", name, a.r.URL)
	case <-time.After(bound):
		s.Fatalf("%s: no socket", name)
	}
	conn, frames := s.conn, make(chan incoming, 1024)
	s.frames, s.ahead = frames, nil
	go func() {
		defer close(frames)
		defer func() { _ = conn.Close() }()
		for {
			_, msg, err := conn.ReadMessage()
			if err != nil {
				frames <- incoming{err: err}
				return
			}
			came, err := s.codec.DecodeFrames(msg, 0)
			if err != nil {
				frames <- incoming{err: err}
				return
			}
			for _, f := range came {
				b, err := protojson.Marshal(f)
				x := incoming{err: err}
				if err == nil {
					x.err = json.Unmarshal(b, &x.frame)
				}
				frames <- x
			}
		}
	}()
}

func (s *scripted) write(f *sdkpb.Frame) error {
	msg, err := sdkproto.EncodeFrame(s.codec, f)
	if err != nil {
		return err
	}
	kind := websocket.TextMessage
	if s.codec.Binary() {
		kind = websocket.BinaryMessage
	}
	return s.conn.WriteMessage(kind, msg)
}

func (s *scripted) say(name string, pattern map[string]any) {
	s.Helper()
	f := new(sdkpb.Frame)
	s.message(name, pattern, f)
	if f.HelloOk != nil && f.HelloOk.ServerMs == 0 {
		f.HelloOk.ServerMs = time.Now().UnixMilli()
	}
	if err := s.write(f); err != nil {
		s.Fatalf("%s: %v", name, err)
	}
}

// byTheWay takes what need not be described: true means that it was such a frame.
func (s *scripted) byTheWay(f map[string]any) bool {
	var re uint64
	_, _ = fmt.Sscan(fmt.Sprint(f["id"]), &re)
	switch {
	case f["ping"] != nil:
		_ = s.write(&sdkpb.Frame{Re: re, Pong: &sdkpb.Pong{}})
	case vectors.Ignored(f):
	case vectors.OnlyExtra(f):
		_ = s.write(&sdkpb.Frame{Re: re, Ack: &sdkpb.Ack{}})
	default:
		return false
	}
	return true
}

// next is where the next frame comes from.
func (s *scripted) next() <-chan incoming {
	if len(s.ahead) == 0 {
		return s.frames
	}
	first := make(chan incoming, 1)
	first <- s.ahead[0]
	s.ahead = s.ahead[1:]
	return first
}

// heard waits for as many frames as there are patterns, in any order.
func (s *scripted) heard(name string, patterns []map[string]any) {
	s.Helper()
	late := time.After(bound)
	for len(patterns) > 0 {
		next := s.next()
		select {
		case x, ok := <-next:
			if !ok || x.err != nil {
				s.Fatalf("%s: %v, want %v", name, x.err, patterns)
			}
			var why []error
			fits := slices.IndexFunc(patterns, func(p map[string]any) bool {
				err := s.Match(p, x.frame)
				why = append(why, err)
				return err == nil
			})
			switch {
			case fits >= 0:
				patterns = slices.Delete(patterns, fits, fits+1)
			case !s.byTheWay(x.frame):
				s.Fatalf("%s: %v\n%v", name, errors.Join(why...), x.frame)
			}
		case <-late:
			s.Fatalf("%s: nothing came, want %v", name, patterns)
		}
	}
}

func (s *scripted) closed(name string, c *vectors.Close) {
	s.Helper()
	if c.By != "phone" {
		_ = s.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(c.Code, ""), time.Now().Add(time.Second))
	}
	late := time.After(bound)
	for {
		next := s.next()
		select {
		case x := <-next:
			switch {
			case x.frame != nil && s.byTheWay(x.frame):
			case x.frame != nil:
				s.Fatalf("%s: %v, want the close frame", name, x.frame)
			case c.By == "phone" && !websocket.IsCloseError(x.err, c.Code):
				s.Fatalf("%s: %v, want close code %d", name, x.err, c.Code)
			default:
				return
			}
		case <-late:
			s.Fatalf("%s: the socket does not close", name)
		}
	}
}

func (s *scripted) request(name string, want *vectors.Request) {
	s.Helper()
	select {
	case s.asked = <-s.requests:
	case <-time.After(bound):
		s.Fatalf("%s: no request for %s", name, want.Path)
	}
	r := s.asked.r
	if r.Method != want.Method || r.URL.RequestURI() != s.Text(want.Path) {
		s.Fatalf("%s: %s %s, want %s %s", name, r.Method, r.URL.RequestURI(), want.Method, want.Path)
	}
	for k, v := range want.Headers {
		if got := r.Header.Get(k); got != s.Text(v) {
			s.Errorf("%s: %s is %q, want %q", name, k, got, s.Text(v))
		}
	}
	var m proto.Message = new(sdkpb.Batch)
	if r.URL.Path == sdkproto.PathInstall {
		m = new(sdkpb.Hello)
	}
	err := s.codec.Unmarshal(s.asked.body, m)
	var got map[string]any
	if err == nil {
		var b []byte
		if b, err = protojson.Marshal(m); err == nil {
			err = json.Unmarshal(b, &got)
		}
	}
	if err == nil {
		err = s.Match(want.Body, got)
	}
	if err != nil {
		s.Errorf("%s: %v\n%v", name, err, got)
	}
}

func (s *scripted) answer(name string, raw json.RawMessage) {
	s.Helper()
	if string(raw) == `"lost"` {
		s.asked.answer <- func(w http.ResponseWriter) {
			conn, _, err := w.(http.Hijacker).Hijack() //nolint:forcetypeassert // the server's writer is one
			if err == nil {
				_ = conn.Close()
			}
		}
		return
	}
	var a vectors.Answer
	if err := json.Unmarshal(raw, &a); err != nil {
		s.Fatalf("%s: %v", name, err)
	}
	var body []byte
	if a.Body != nil {
		reply := new(sdkpb.BatchReply)
		s.message(name, a.Body, reply)
		var err error
		if body, err = s.codec.Marshal(reply); err != nil {
			s.Fatalf("%s: %v", name, err)
		}
	}
	s.asked.answer <- func(w http.ResponseWriter) {
		for k, v := range a.Headers {
			w.Header().Set(k, v)
		}
		if body != nil {
			w.Header().Set("Content-Type", s.codec.ContentType())
		}
		w.WriteHeader(a.Status)
		_, _ = w.Write(body)
	}
}

func (s *scripted) quiet(name string, d time.Duration) {
	s.Helper()
	if len(s.ahead) > 0 {
		s.Fatalf("%s: %v, want silence", name, s.ahead)
	}
	over := time.After(d)
	for {
		select {
		case x := <-s.frames:
			if x.err != nil || !s.byTheWay(x.frame) {
				s.Fatalf("%s: %v %v, want silence", name, x.frame, x.err)
			}
		case a := <-s.requests:
			s.Fatalf("%s: a request for %s", name, a.r.URL)
		case <-over:
			return
		}
	}
}

// expect waits until the phone is in the state, and answers what need not be
// described meanwhile.
func (s *scripted) expect(name string, want *vectors.Expect) {
	s.Helper()
	late := time.After(bound)
	for {
		why := s.differs(want)
		if why == "" {
			return
		}
		select {
		case x, ok := <-s.frames:
			switch {
			case !ok:
				s.frames = nil // a socket that has ended says nothing more
			case x.err != nil || !s.byTheWay(x.frame):
				s.ahead = append(s.ahead, x)
			}
		case <-time.After(time.Millisecond):
		case <-late:
			s.Fatalf("%s: %s", name, why)
		}
	}
}

// differs says what is not as expected; empty means nothing.
func (s *scripted) differs(want *vectors.Expect) string {
	saved, err := s.store.Load()
	if err != nil {
		return err.Error()
	}
	var inbox []string
	for _, m := range s.c.Inbox() {
		inbox = append(inbox, m.MessageId)
	}
	slices.Sort(inbox)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case want.Pending != nil && s.c.Pending() != *want.Pending:
		return fmt.Sprintf("%d items wait, want %d", s.c.Pending(), *want.Pending)
	case want.Token != nil && saved.Token != s.Text(*want.Token):
		return fmt.Sprintf("the token is %q, want %q", saved.Token, s.Text(*want.Token))
	case want.Shown != nil && !slices.Equal(s.shown, *want.Shown):
		return fmt.Sprintf("shown %v, want %v", s.shown, *want.Shown)
	case want.Inbox != nil && !slices.Equal(inbox, slices.Sorted(slices.Values(*want.Inbox))):
		return fmt.Sprintf("the inbox holds %v, want %v", inbox, *want.Inbox)
	case want.Cursor != nil && saved.Inbox.GetCursor() != *want.Cursor:
		return fmt.Sprintf("the cursor is %q, want %q", saved.Inbox.GetCursor(), *want.Cursor)
	case want.State != nil && string(s.state) != *want.State:
		return fmt.Sprintf("the state is %s, want %s", s.state, *want.State)
	case want.Rejected != nil && !slices.Equal(s.rejected, *want.Rejected):
		return fmt.Sprintf("rejected %v, want %v", s.rejected, *want.Rejected)
	case want.Tracking != nil && s.c.Tracking().GetPreset().String() != *want.Tracking:
		return fmt.Sprintf("tracking is %s, want %s", s.c.Tracking().GetPreset(), *want.Tracking)
	}
	return ""
}
