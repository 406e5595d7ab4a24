package ingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/identity"
	"github.com/footfall-engage/footfall/server/ingest"
)

const (
	ws      = "acme"
	android = "ffa_android_key"
	ios     = "ffa_ios_key"
	off     = "ffa_disabled_key"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// hush is the identity secret of the app for Android, hushToken that for its tokens.
const (
	hush      = "hush, little baby"
	hushToken = "do not say a word, mockingbird; do not"
)

// verifier is that of an app with both.
func verifier(app string, mode identity.Mode) *identity.Verifier {
	v, err := identity.New(app, mode, []identity.Key{
		{ID: "h", Alg: identity.HMAC, Secret: hush}, {ID: "t", Alg: identity.HS256, Secret: hushToken},
	})
	if err != nil {
		panic(err)
	}
	return v
}

// catalog is a fake: a hundred places on a line to the north of the equator's
// beginning.
type catalog struct {
	mu      sync.Mutex
	apps    map[string]ingest.App
	index   *geo.Index
	wishes  map[string]ingest.Wish // of those that wish for more than a weight of 1
	changed chan struct{}
	asked   atomic.Int64 // times that fences were looked for
}

// north is where the line of places is after so many degrees and metres.
func north(lat, m float64) float64 { return lat + m/110_574 }

func newCatalog() *catalog {
	return &catalog{
		apps: map[string]ingest.App{
			android: {Workspace: ws, ID: "shop-android", Platform: "android", Identity: verifier("shop-android", identity.Required)},
			ios:     {Workspace: ws, ID: "shop-ios", Platform: "ios"},
			off:     {Workspace: ws, ID: "old", Platform: "android", Disabled: true},
		},
		index:   line(150),
		changed: make(chan struct{}),
	}
}

func line(radiusM float64) *geo.Index {
	var fences []geo.Fence
	for i := range 100 {
		fences = append(fences, geo.Fence{
			ID: fmt.Sprintf("fence-%d", i), Shape: geo.Circle{Around: geo.Point{Lat: float64(i) / 100}, RadiusM: radiusM},
		})
	}
	return indexOf(fences)
}

func indexOf(fences []geo.Fence) *geo.Index {
	x, err := geo.NewIndex(fences)
	if err != nil {
		panic(err)
	}
	return x
}

func (c *catalog) App(key string) (ingest.App, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.apps[key]
	return a, ok
}

func (c *catalog) Fences(string) ingest.Fences {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fences{c.index, c.wishes, &c.asked}
}

type fences struct {
	*geo.Index
	wishes map[string]ingest.Wish
	asked  *atomic.Int64
}

func (f fences) Nearest(p geo.Point, n int, dst []geo.Hit) []geo.Hit {
	f.asked.Add(1)
	return f.Index.Nearest(p, n, dst)
}

func (f fences) Since(earlier ingest.Fences) (changed []geo.Circle, ok bool) {
	old, ok := earlier.(fences)
	if !ok {
		return nil, false
	}
	for _, pair := range [][2]fences{{f, old}, {old, f}} {
		for _, x := range pair[0].All() {
			y, there := pair[1].Fence(x.ID)
			if !there || x.Shape != y.Shape || pair[0].Wish(x.ID) != pair[1].Wish(x.ID) {
				changed = append(changed, geo.Circle{Around: x.Shape.Center(), RadiusM: x.Shape.BoundingRadiusM()})
			}
		}
	}
	return changed, true
}

func (f fences) Wish(id string) ingest.Wish {
	if w, ok := f.wishes[id]; ok {
		return w
	}
	return ingest.Wish{Weight: 1}
}

func (c *catalog) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

func (c *catalog) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

// credentials is a fake store.
type credentials struct {
	mu   sync.Mutex
	byID map[string]ingest.Credential
	put  func() error // before every put; nil means nothing
}

func (c *credentials) Credential(_ context.Context, workspace, install string) (ingest.Credential, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byID[workspace+"/"+install], nil
}

func (c *credentials) PutCredential(_ context.Context, workspace, install string, v ingest.Credential, ifVersion int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.put != nil {
		if err := c.put(); err != nil {
			return err
		}
	}
	id := workspace + "/" + install
	if c.byID[id].Version != ifVersion {
		return engage.Errorf(engage.Conflict, "", "version %d", c.byID[id].Version)
	}
	v.Version = ifVersion + 1
	c.byID[id] = v
	return nil
}

// installs is a fake of situate's states.
type installs struct {
	mu    sync.Mutex
	known map[string]ingest.Install
	reads int
}

func (x *installs) Install(_ context.Context, _, install string) (ingest.Install, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.reads++
	return x.known[install], nil
}

// eventLog is a fake that can be busy, hold or fail.
type eventLog struct {
	mu      sync.Mutex
	entries []engage.Entry
	held    []func() // what has not landed; nil unless hold
	hold    bool
	holds   func(install string) bool // whom hold concerns; nil means all
	busy    int                       // so many appends are refused
	err     error
}

func (l *eventLog) AppendAsync(workspace, install string, entries []engage.Entry, done func(error)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy > 0 {
		l.busy--
		return engage.Errorf(engage.RateLimited, "", "too many entries wait")
	}
	for _, e := range entries {
		if e.Key != engage.InstallKey(workspace, install) {
			return fmt.Errorf("entry of %s in an append of %s", e.Key, install)
		}
	}
	land := func() {
		if l.err == nil {
			l.entries = append(l.entries, entries...)
		}
		go done(l.err)
	}
	if l.hold && (l.holds == nil || l.holds(install)) {
		l.held = append(l.held, land)
	} else {
		land()
	}
	return nil
}

func (l *eventLog) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

func (l *eventLog) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold = false
	for _, land := range l.held {
		land()
	}
	l.held = nil
}

func (l *eventLog) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held)
}

// items are the logged items of an install, in order.
func (l *eventLog) items(t testing.TB, install string) []*sdkpb.Item {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []*sdkpb.Item
	for _, e := range l.entries {
		if e.Kind != engage.KindItem || e.Key != engage.InstallKey(ws, install) {
			continue
		}
		i := new(sdkpb.Item)
		if err := proto.Unmarshal(e.Body, i); err != nil {
			t.Fatalf("logged item: %v", err)
		}
		out = append(out, i)
	}
	return out
}

// hellos are the logged sessions of an install.
func (l *eventLog) hellos(t testing.TB, install string) []*sdkpb.Hello {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []*sdkpb.Hello
	for _, e := range l.entries {
		if e.Kind != engage.KindSession || e.Key != engage.InstallKey(ws, install) {
			continue
		}
		var body struct {
			App   string
			Hello []byte
		}
		if err := json.Unmarshal(e.Body, &body); err != nil {
			t.Fatalf("logged session: %v", err)
		}
		h := new(sdkpb.Hello)
		if err := proto.Unmarshal(body.Hello, h); err != nil {
			t.Fatalf("logged hello: %v", err)
		}
		if body.App == "" || h.AppKey != "" || h.DeviceToken != "" {
			t.Errorf("session of app %q with key %q and token of %d characters", body.App, h.AppKey, len(h.DeviceToken))
		}
		out = append(out, h)
	}
	return out
}

// deliveries is a fake ledger: what is in grants may be shown.
type deliveries struct {
	mu      sync.Mutex
	grants  map[string]bool
	inbox   []*sdkpb.Message
	changes []change // of the inbox that is asked for by cursor, in their order
	asked   int      // for it
	failing int      // so many questions for it fail
	// meanwhile, once, happens after a question has been answered and before who asked
	// hears of it.
	meanwhile func()
}

// wait has happen what happens meanwhile.
func (d *deliveries) wait() {
	d.mu.Lock()
	f := d.meanwhile
	d.meanwhile = nil
	d.mu.Unlock()
	if f != nil {
		f()
	}
}

// change of an inbox: a message, or the id of one that is gone. The cursor is "c" and
// how many of them the phone knows.
type change struct {
	message *sdkpb.Message
	gone    string
}

func (d *deliveries) post(changes ...change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changes = append(d.changes, changes...)
}

func (d *deliveries) Claim(_ context.Context, _, _, id string) (bool, string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	granted, known := d.grants[id]
	if !known {
		return false, "", engage.Errorf(engage.NotFound, "", "no such delivery")
	}
	return granted, "late", nil
}

func (d *deliveries) InboxSince(_ context.Context, _, _, cursor string, limit int) (*sdkpb.Inbox, error) {
	defer d.wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if d.failing > 0 {
		d.failing--
		return nil, errors.New("the store is away")
	}
	from, err := strconv.Atoi(strings.TrimPrefix(cursor, "c"))
	x := &sdkpb.Inbox{Full: err != nil || from > len(d.changes)}
	if x.Full {
		from = 0
	}
	for size := 0; from < len(d.changes); from++ {
		c := d.changes[from]
		if size += proto.Size(c.message) + len(c.gone); size > limit {
			x.More = true
			break
		}
		if c.message == nil {
			x.Gone = append(x.Gone, c.gone)
		} else {
			x.Messages = append(x.Messages, c.message)
		}
	}
	x.Cursor = fmt.Sprint("c", from)
	return x, nil
}

func (d *deliveries) Inbox(context.Context, string, string) ([]*sdkpb.Message, error) {
	defer d.wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inbox, nil
}

// world is a gateway among fakes.
type world struct {
	t          testing.TB
	catalog    *catalog
	creds      *credentials
	installs   *installs
	log        *eventLog // unless the test brings another
	deliveries *deliveries
	clock      *clock.Manual
	ticks      *ticks // clock as the gateway has it
	registry   *prometheus.Registry
	gateway    *ingest.Gateway
	server     *httptest.Server
	http       *http.Client
	logs       *logBuffer
	stop       func()
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newWorld(t testing.TB, limits ingest.Limits) *world {
	t.Helper()
	return newWorldOn(t, limits, nil)
}

// newWorldOn has a log of the test's; nil means the fake.
func newWorldOn(t testing.TB, limits ingest.Limits, log ingest.Log) *world {
	t.Helper()
	w := &world{
		t: t, catalog: newCatalog(), creds: &credentials{byID: map[string]ingest.Credential{}},
		installs: &installs{known: map[string]ingest.Install{}}, log: &eventLog{},
		deliveries: &deliveries{grants: map[string]bool{}}, clock: clock.NewManual(noon),
		registry: prometheus.NewRegistry(), logs: &logBuffer{},
	}
	w.ticks = &ticks{Manual: w.clock}
	if log == nil {
		log = w.log
	}
	var err error
	w.gateway, err = ingest.New(ingest.Options{
		Catalog: w.catalog, Credentials: w.creds, Installs: w.installs, Log: log, Deliveries: w.deliveries,
		Clock: w.ticks, Registerer: w.registry, Limits: limits, People: breaking{},
		Logger: slog.New(slog.NewTextHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.gateway.Run(ctx) }()
	<-w.gateway.Ready()
	w.server = httptest.NewServer(w.gateway.Routes())
	transport := &http.Transport{}
	w.http = &http.Client{Transport: transport}
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() {
		w.stop()
		transport.CloseIdleConnections()
		w.server.Close()
	})
	return w
}

// ticks counts how often the gateway asked to be woken: once after each turn of
// its wheel, and at the beginning.
type ticks struct {
	*clock.Manual
	asked atomic.Int64
}

func (c *ticks) At(t time.Time) (<-chan struct{}, func()) {
	defer c.asked.Add(1)
	return c.Manual.At(t)
}

// tick moves the clock by a second and waits until the wheel has turned.
func (w *world) tick() {
	w.t.Helper()
	until(w.t, "begin of the wheel", func() bool { return w.ticks.asked.Load() > 0 })
	before := w.ticks.asked.Load()
	w.clock.Advance(time.Second)
	until(w.t, "turn of the wheel", func() bool { return w.ticks.asked.Load() > before })
}

// release has the log answer all that waits for it.
func (w *world) release() {
	w.t.Helper()
	w.log.release()
	until(w.t, "answers of the log", func() bool { return w.gateway.LogHealth().Waiting == 0 })
}

// until waits for a condition.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within 10 s", what)
		}
		<-time.After(time.Millisecond)
	}
}

// phone is a real client, and what happened to it.
type phone struct {
	*client.Client
	mu       sync.Mutex
	acked    []uint64
	rejects  []*sdkpb.Reject
	shown    []string
	regions  []*sdkpb.Regions
	store    *client.MemStore
	closeErr error
}

func (w *world) phone(install string, codec sdkproto.Codec, change func(*client.Options)) *phone {
	w.t.Helper()
	p := &phone{store: new(client.MemStore)}
	o := client.Options{
		Endpoint: w.server.URL, AppKey: android, InstallID: install, Platform: sdkpb.Platform_PLATFORM_ANDROID,
		Codec: codec, Clock: w.clock.Now, HTTPClient: w.http, Store: p.store,
		BackoffMin: time.Millisecond, BackoffMax: 5 * time.Millisecond,
		OnAcked:   func(i *sdkpb.Item) { p.do(func() { p.acked = append(p.acked, i.Seq) }) },
		OnReject:  func(_ *sdkpb.Item, r *sdkpb.Reject) { p.do(func() { p.rejects = append(p.rejects, r) }) },
		OnMessage: func(m *sdkpb.Message) { p.do(func() { p.shown = append(p.shown, m.MessageId) }) },
		OnRegions: func(r *sdkpb.Regions) []*sdkpb.RegionFailure {
			p.do(func() { p.regions = append(p.regions, r) })
			return nil
		},
		OnState: func(s client.State, err error) {
			if s == client.Stopped {
				p.do(func() { p.closeErr = err })
			}
		},
	}
	if change != nil {
		change(&o)
	}
	c, err := client.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	p.Client = c
	w.t.Cleanup(c.Close)
	return p
}

func (p *phone) do(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *phone) get(f func() bool) func() bool {
	return func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return f()
	}
}

// raw is a websocket in the hands of the test.
type raw struct {
	t     testing.TB
	conn  *websocket.Conn
	codec sdkproto.Codec
	queue []*sdkpb.Frame
}

func (w *world) dial(codec sdkproto.Codec) *raw {
	w.t.Helper()
	d := websocket.Dialer{Subprotocols: []string{codec.Subprotocol()}, NetDialContext: (&net.Dialer{}).DialContext}
	conn, resp, err := d.Dial("ws"+strings.TrimPrefix(w.server.URL, "http")+sdkproto.PathWS, nil) //nolint:bodyclose // gorilla has read it
	if err != nil {
		w.t.Fatalf("dial: %v (%v)", err, resp)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return &raw{t: w.t, conn: conn, codec: codec}
}

// open dials and says a good hello.
func (w *world) open(install string, codec sdkproto.Codec) *raw {
	w.t.Helper()
	r := w.dial(codec)
	h := hello(install)
	h.DeviceToken = w.token(install)
	r.send(&sdkpb.Frame{Id: 1, Hello: h})
	if f := r.next(); f.HelloOk == nil || f.Re != 1 {
		w.t.Fatalf("answer to hello: %v", f)
	}
	return r
}

// token registers the install.
func (w *world) token(install string) string {
	w.t.Helper()
	reply, status := w.post(sdkproto.PathInstall, hello(install), nil)
	if status != http.StatusOK {
		w.t.Fatalf("register: %d %v", status, reply)
	}
	return reply.HelloOk.NewDeviceToken
}

func hello(install string) *sdkpb.Hello {
	return &sdkpb.Hello{
		AppKey: android, InstallId: install, Platform: sdkpb.Platform_PLATFORM_ANDROID,
		WallMs: noon.UnixMilli(), TimeZone: "Europe/Lisbon", Locale: "pt-PT",
	}
}

func (w *world) post(path string, m proto.Message, header map[string]string) (*sdkpb.BatchReply, int) {
	w.t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.postRaw(path, body, header)
}

func (w *world) postRaw(path string, body []byte, header map[string]string) (*sdkpb.BatchReply, int) {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodPost, w.server.URL+path, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", sdkproto.ContentTypePB)
	for k, v := range header {
		req.Header.Set(k, v)
	}
	return w.answered(req)
}

// answered makes a request and reads its answer.
func (w *world) answered(req *http.Request) (*sdkpb.BatchReply, int) {
	w.t.Helper()
	resp, err := w.http.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		w.t.Fatal(err)
	}
	reply := new(sdkpb.BatchReply)
	codec := sdkproto.CodecFor(resp.Header.Get("Content-Type"))
	if codec == nil {
		w.t.Fatalf("status %d with content type %q", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	if err := codec.Unmarshal(b.Bytes(), reply); err != nil {
		w.t.Fatal(err)
	}
	if (resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable) && reply.Error.GetRetryAfterMs() > 0 && resp.Header.Get("Retry-After") == "" {
		w.t.Error("no Retry-After")
	}
	return reply, resp.StatusCode
}

func (r *raw) sendBytes(kind int, b []byte) {
	r.t.Helper()
	if err := r.conn.WriteMessage(kind, b); err != nil {
		r.t.Fatalf("write: %v", err)
	}
}

func (r *raw) send(frames ...*sdkpb.Frame) {
	r.t.Helper()
	var msg []byte
	for _, f := range frames {
		var err error
		if msg, err = r.codec.AppendFrame(msg, f); err != nil {
			r.t.Fatal(err)
		}
	}
	kind := websocket.TextMessage
	if r.codec.Binary() {
		kind = websocket.BinaryMessage
	}
	r.sendBytes(kind, msg)
}

// read is the next frame or how the connection ended.
func (r *raw) read() (*sdkpb.Frame, error) {
	r.t.Helper()
	for len(r.queue) == 0 {
		_ = r.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, msg, err := r.conn.ReadMessage()
		if err != nil {
			return nil, err
		}
		if r.queue, err = r.codec.DecodeFrames(msg, 0); err != nil {
			r.t.Fatalf("the server sent: %v", err)
		}
	}
	f := r.queue[0]
	r.queue = r.queue[1:]
	return f, nil
}

func (r *raw) next() *sdkpb.Frame {
	r.t.Helper()
	f, err := r.read()
	if err != nil {
		r.t.Fatalf("read: %v", err)
	}
	return f
}

// closed reads to the end: the error frames, and the close code.
func (r *raw) closed() (errs []*sdkpb.Error, code sdkproto.CloseCode) {
	r.t.Helper()
	for {
		f, err := r.read()
		if err != nil {
			ce, ok := err.(*websocket.CloseError) //nolint:errorlint // gorilla returns it bare
			if !ok {
				r.t.Fatalf("ended without a close code: %v", err)
			}
			return errs, sdkproto.CloseCode(ce.Code)
		}
		if f.Error != nil {
			errs = append(errs, f.Error)
		}
	}
}

func fix(seq uint64, lat, lng float64) *sdkpb.Item {
	return &sdkpb.Item{ItemId: fmt.Sprint(seq), Seq: seq, OccurredMs: noon.UnixMilli(), Location: &sdkpb.Location{Lat: lat, Lng: lng, AccuracyM: 8}}
}

func consent(seq uint64, p sdkpb.Consent_Purpose, granted bool) *sdkpb.Item {
	return &sdkpb.Item{ItemId: fmt.Sprint(seq), Seq: seq, OccurredMs: noon.UnixMilli(), Consent: &sdkpb.Consent{Purpose: p, Granted: granted}}
}

func batch(items ...*sdkpb.Item) *sdkpb.Batch {
	return &sdkpb.Batch{BatchId: "b", SentMs: noon.UnixMilli(), Items: items}
}

func everything() map[engage.Purpose]bool {
	return map[engage.Purpose]bool{
		engage.ConsentMarketing: true, engage.ConsentLocationForeground: true,
		engage.ConsentLocationBackground: true, engage.ConsentLocationPrecise: true, engage.ConsentProfiling: true,
	}
}

func bodyOf(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }

func newRecorder() *httptest.ResponseRecorder { return httptest.NewRecorder() }
