package ingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/sdkproto/vectors"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/ingest"
)

// The golden transcripts: what phones and servers say to each other, with the test
// as the phone.
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
		if tr.Only == "client" {
			continue
		}
		t.Run(tr.File, func(t *testing.T) {
			bothCodecs(t, func(t *testing.T, codec sdkproto.Codec) {
				play(t, tr, codec)
			})
		})
	}
}

// scriptLedger is the ledger as a transcript has it.
type scriptLedger struct {
	mu     sync.Mutex
	claims map[string]string // by message: "granted", or why not
	inbox  map[string]*sdkpb.Inbox
}

func (l *scriptLedger) Claim(_ context.Context, _, _, id string) (granted bool, reason string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch said := l.claims[id]; said {
	case "granted":
		return true, "", nil
	case "", "unknown":
		return false, "", engage.Errorf(engage.NotFound, "", "no such delivery")
	default:
		return false, said, nil
	}
}

func (l *scriptLedger) InboxSince(_ context.Context, _, _, cursor string, _ int) (*sdkpb.Inbox, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := l.inbox[cursor]; x != nil {
		return proto.CloneOf(x), nil
	}
	return &sdkpb.Inbox{Cursor: cursor}, nil
}

func (l *scriptLedger) Inbox(context.Context, string, string) ([]*sdkpb.Message, error) {
	return nil, nil
}

// player is the phone of a transcript, and the server's world around the gateway.
type player struct {
	*testing.T
	*vectors.Script
	tr    *vectors.Transcript
	codec sdkproto.Codec

	catalog  *catalog
	creds    *credentials
	installs *installs
	log      *eventLog
	ledger   *scriptLedger
	clock    *clock.Manual

	gateway *ingest.Gateway
	server  *httptest.Server
	stop    func() // begins the end of the gateway
	ended   chan struct{}

	conns   map[int]*websocket.Conn
	queues  map[int][]map[string]any // frames that came with earlier ones
	request *vectors.Request
}

func play(t *testing.T, tr *vectors.Transcript, codec sdkproto.Codec) {
	p := &player{
		T: t, Script: vectors.NewScript(tr), tr: tr, codec: codec,
		catalog: newCatalog(), creds: &credentials{byID: map[string]ingest.Credential{}},
		installs: &installs{known: map[string]ingest.Install{}}, log: &eventLog{},
		ledger: &scriptLedger{claims: map[string]string{}, inbox: map[string]*sdkpb.Inbox{}},
		clock:  clock.NewManual(noon), conns: map[int]*websocket.Conn{}, queues: map[int][]map[string]any{},
	}
	install := fmt.Sprint(p.Value("install"))
	p.Bind("app", android)
	p.Bind("proof", proof(hush, "shop-android", "ada"))
	if tr.Given.Consents == nil || *tr.Given.Consents {
		p.installs.known[install] = ingest.Install{Consents: everything()}
	}
	p.start()
	t.Cleanup(func() {
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.end()
	})
	switch tr.Given.Registered {
	case true:
		p.Bind("token", p.register(install))
	case "elsewhere":
		used := hello(install)
		used.DeviceToken = p.register(install)
		if reply, status := p.post(sdkproto.PathInstall, used); status != http.StatusOK {
			t.Fatalf("register: %d %v", status, reply)
		}
	}
	for i := range tr.Steps {
		p.step(fmt.Sprintf("step %d", i), &tr.Steps[i])
		if t.Failed() {
			return
		}
	}
}

func (p *player) start() {
	p.Helper()
	var err error
	p.gateway, err = ingest.New(ingest.Options{
		Catalog: p.catalog, Credentials: p.creds, Installs: p.installs, Log: p.log, Deliveries: p.ledger,
		Clock: p.clock, Limits: ingest.Limits{Credit: p.tr.Given.Credit, RetryAfter: time.Millisecond},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		p.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	gateway := p.gateway
	go func() {
		defer close(ended)
		if err := gateway.Run(ctx); err != nil {
			p.Errorf("Run: %v", err)
		}
	}()
	<-p.gateway.Ready()
	p.server = httptest.NewServer(p.gateway.Routes())
	p.stop, p.ended = cancel, ended
}

func (p *player) end() {
	p.log.release()
	p.stop()
	<-p.ended
	p.server.Close()
}

func (p *player) register(install string) string {
	p.Helper()
	reply, status := p.post(sdkproto.PathInstall, hello(install))
	if status != http.StatusOK {
		p.Fatalf("register: %d %v", status, reply)
	}
	return reply.HelloOk.NewDeviceToken
}

func (p *player) post(path string, m proto.Message) (*sdkpb.BatchReply, int) {
	p.Helper()
	body, err := p.codec.Marshal(m)
	if err != nil {
		p.Fatal(err)
	}
	return p.ask(http.MethodPost, path, body, nil)
}

func (p *player) ask(method, path string, body []byte, headers map[string]string) (*sdkpb.BatchReply, int) {
	p.Helper()
	r, err := http.NewRequest(method, p.server.URL+path, bytes.NewReader(body))
	if err != nil {
		p.Fatal(err)
	}
	r.Header.Set("Content-Type", p.codec.ContentType())
	r.Header.Set("Accept", p.codec.ContentType())
	if len(p.tr.Given.Caps) > 0 {
		r.Header.Set(sdkproto.HeaderCaps, strings.Join(p.tr.Given.Caps, ","))
	}
	for k, v := range headers {
		r.Header.Set(k, v)
	}
	resp, err := p.server.Client().Do(r)
	if err != nil {
		p.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		p.Fatal(err)
	}
	reply := new(sdkpb.BatchReply)
	if err := p.codec.Unmarshal(answer, reply); err != nil {
		p.Fatalf("answer of %s: %v", path, err)
	}
	return reply, resp.StatusCode
}

func (p *player) step(name string, s *vectors.Step) {
	p.Helper()
	if s.Only == "client" {
		return
	}
	n := max(s.Conn, 1)
	switch {
	case s.Server != nil:
		p.happens(name, s.Server)
	case s.Open:
		if c := p.conns[n]; c != nil {
			_ = c.Close()
		}
		d := websocket.Dialer{Subprotocols: []string{p.codec.Subprotocol()}}
		c, _, err := d.Dial("ws"+strings.TrimPrefix(p.server.URL, "http")+sdkproto.PathWS, nil) //nolint:bodyclose // gorilla has read it
		if err != nil {
			p.Fatalf("%s: %v", name, err)
		}
		p.conns[n], p.queues[n] = c, nil
	case s.Cut:
		_ = p.conns[n].NetConn().Close()
	case s.Up != nil:
		p.send(name, n, s.Up)
	case s.Down != nil:
		p.expect(name, n, []map[string]any{s.Down})
	case s.Unordered != nil:
		var downs []map[string]any
		for _, x := range s.Unordered {
			if x.Up != nil {
				p.send(name, n, x.Up)
			} else {
				downs = append(downs, x.Down)
			}
		}
		p.expect(name, n, downs)
	case s.Close != nil && s.Close.By == "phone":
		_ = p.conns[n].WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(s.Close.Code, ""), time.Now().Add(time.Second))
	case s.Close != nil:
		if f, err := p.next(n); !websocket.IsCloseError(err, s.Close.Code) {
			p.Errorf("%s: %v %v, want close code %d", name, f, err, s.Close.Code)
		}
	case s.Request != nil:
		p.request = s.Request
	case s.Answer != nil:
		p.answer(name, s.Answer)
	case s.ExpectServer != nil:
		p.reached(name, s.ExpectServer.Items)
	}
}

// reached waits until the log holds the items, and no others.
func (p *player) reached(name string, seqs []string) {
	p.Helper()
	var want []string
	for _, s := range seqs {
		want = append(want, p.Text(s))
	}
	var got []string
	until(p, name+": items in the log", func() bool {
		got = got[:0]
		for _, i := range p.log.items(p, fmt.Sprint(p.Value("install"))) {
			got = append(got, strconv.FormatUint(i.Seq, 10))
		}
		return len(got) >= len(want)
	})
	if !slices.Equal(got, want) {
		p.Errorf("%s: the log has %v, want %v", name, got, want)
	}
}

// happens does what happens on the server.
func (p *player) happens(name string, raw json.RawMessage) {
	p.Helper()
	var s struct {
		Offer     json.RawMessage `json:"offer"`
		Claim     string          `json:"claim"`
		Inbox     json.RawMessage `json:"inbox"`
		Since     string          `json:"since"`
		Tell      bool            `json:"tell"`
		Config    json.RawMessage `json:"config"`
		Log       string          `json:"log"`
		AdvanceMS int64           `json:"advance_ms"`
		Shutdown  bool            `json:"shutdown"`
		Restart   bool            `json:"restart"`
		Disable   bool            `json:"disable"`
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		p.Fatalf("%s: %v", name, err)
	}
	install := fmt.Sprint(p.Value("install"))
	if s.Offer != nil {
		m := new(sdkpb.Message)
		p.parse(name, s.Offer, m)
		p.ledger.mu.Lock()
		p.ledger.claims[m.MessageId] = s.Claim
		p.ledger.mu.Unlock()
		until(p, name+": offer taken", func() bool { return p.gateway.Sessions().Offer(ws, install, m) })
	}
	if s.Inbox != nil {
		x := new(sdkpb.Inbox)
		p.parse(name, s.Inbox, x)
		p.ledger.mu.Lock()
		p.ledger.inbox[s.Since] = x
		p.ledger.mu.Unlock()
	}
	if s.Tell {
		p.gateway.Sessions().InboxChanged(ws, install)
	}
	if s.Config != nil || s.Disable {
		p.catalog.change(func() {
			a := p.catalog.apps[android]
			a.Disabled = s.Disable
			if s.Config != nil {
				a.Config = new(sdkpb.Config)
				p.parse(name, s.Config, a.Config)
			}
			p.catalog.apps[android] = a
		})
	}
	switch s.Log {
	case "busy":
		p.log.set(func() { p.log.busy = 1 })
	case "hold":
		p.log.set(func() { p.log.hold = true })
	case "release":
		until(p, name+": append", func() bool { return p.log.waiting() > 0 })
		p.log.release()
	}
	if s.AdvanceMS > 0 {
		p.clock.Advance(time.Duration(s.AdvanceMS) * time.Millisecond)
	}
	if s.Shutdown {
		until(p, name+": append", func() bool { return p.log.waiting() > 0 || !p.log.hold })
		p.stop()
	}
	if s.Restart {
		p.end()
		p.start()
	}
}

func (p *player) parse(name string, raw json.RawMessage, m proto.Message) {
	p.Helper()
	if err := protojson.Unmarshal(raw, m); err != nil {
		p.Fatalf("%s: %v", name, err)
	}
}

// message is what a pattern says.
func (p *player) message(name string, pattern map[string]any, m proto.Message) {
	p.Helper()
	b, err := json.Marshal(p.Fill(pattern))
	if err != nil {
		p.Fatalf("%s: %v", name, err)
	}
	p.parse(name, b, m)
}

func (p *player) send(name string, n int, pattern map[string]any) {
	p.Helper()
	f := new(sdkpb.Frame)
	p.message(name, pattern, f)
	if h := f.Hello; h != nil && h.WallMs == 0 {
		h.WallMs = p.clock.Now().UnixMilli()
	}
	if b := f.Batch; b != nil && b.SentMs == 0 {
		b.SentMs = p.clock.Now().UnixMilli()
	}
	msg, err := sdkproto.EncodeFrame(p.codec, f)
	if err != nil {
		p.Fatalf("%s: %v", name, err)
	}
	kind := websocket.TextMessage
	if p.codec.Binary() {
		kind = websocket.BinaryMessage
	}
	if err := p.conns[n].WriteMessage(kind, msg); err != nil {
		p.Fatalf("%s: %v", name, err)
	}
}

// next is the next frame that the transcript must describe.
func (p *player) next(n int) (map[string]any, error) {
	for {
		for len(p.queues[n]) > 0 {
			f := p.queues[n][0]
			p.queues[n] = p.queues[n][1:]
			if !vectors.Ignored(f) {
				return f, nil
			}
		}
		c := p.conns[n]
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, msg, err := c.ReadMessage()
		if err != nil {
			return nil, err
		}
		frames, err := p.codec.DecodeFrames(msg, 0)
		if err != nil {
			return nil, err
		}
		for _, f := range frames {
			p.queues[n] = append(p.queues[n], asJSON(p, f))
		}
	}
}

// expect reads as many frames as there are patterns, which may come in any order.
func (p *player) expect(name string, n int, patterns []map[string]any) {
	p.Helper()
	for len(patterns) > 0 {
		f, err := p.next(n)
		if err != nil {
			p.Fatalf("%s: %v, want %v", name, err, patterns)
		}
		var why []error
		fits := slices.IndexFunc(patterns, func(x map[string]any) bool {
			err := p.Match(x, f)
			why = append(why, err)
			return err == nil
		})
		if fits < 0 {
			p.Fatalf("%s: %v\n%v", name, errors.Join(why...), f)
		}
		patterns = slices.Delete(patterns, fits, fits+1)
	}
}

func (p *player) answer(name string, raw json.RawMessage) {
	p.Helper()
	r := p.request
	headers := map[string]string{}
	for k, v := range r.Headers {
		headers[k] = p.Text(v)
	}
	var m proto.Message = new(sdkpb.Batch)
	switch r.Path {
	case sdkproto.PathInstall:
		m = new(sdkpb.Hello)
	case sdkproto.PathToken:
		m = new(sdkpb.TokenRefresh)
	}
	p.message(name, r.Body, m)
	switch m := m.(type) {
	case *sdkpb.Hello:
		m.WallMs = p.clock.Now().UnixMilli()
	case *sdkpb.Batch:
		m.SentMs = p.clock.Now().UnixMilli()
	}
	body, err := p.codec.Marshal(m)
	if err != nil {
		p.Fatalf("%s: %v", name, err)
	}
	reply, status := p.ask(r.Method, p.Text(r.Path), body, headers)
	if string(raw) == `"lost"` {
		return
	}
	var want vectors.Answer
	if err := json.Unmarshal(raw, &want); err != nil {
		p.Fatalf("%s: %v", name, err)
	}
	if status != want.Status {
		p.Errorf("%s: status %d, want %d", name, status, want.Status)
	}
	if err := p.Match(want.Body, asJSON(p, reply)); err != nil {
		p.Errorf("%s: %v", name, err)
	}
}

func asJSON(t testing.TB, m proto.Message) map[string]any {
	t.Helper()
	b, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
