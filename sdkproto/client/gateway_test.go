package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(storeChild); dir != "" {
		fmt.Fprintln(os.Stderr, runStoreChild(dir))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

const bound = 20 * time.Second // of every wait in these tests

// gateway is a server of the protocol that does what its scripts say.
type gateway struct {
	t     *testing.T
	codec sdkproto.Codec
	srv   *httptest.Server
	// session is run for the n-th websocket, from 0; the socket closes when it
	// returns. Nil accepts everything.
	session func(n int, p *peer)
	// handshake, where set, may refuse the n-th websocket: true means it did.
	handshake func(n int, w http.ResponseWriter) bool
	// post answers the n-th POST /batch; nil means the status is written already.
	post    func(n int, w http.ResponseWriter, r *http.Request, b *sdkpb.Batch) *sdkpb.BatchReply
	install func(n int, w http.ResponseWriter, h *sdkpb.Hello) *sdkpb.BatchReply
	get     func(r *http.Request) *sdkpb.BatchReply // answers the GETs; nil means 404

	mu                       sync.Mutex
	sockets, posts, installs int
	hellos                   []*sdkpb.Hello
	taken                    map[uint64]int // times that an item was accepted, by seq
}

func newGateway(t *testing.T, codec sdkproto.Codec) *gateway {
	g := &gateway{t: t, codec: codec, taken: map[uint64]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+sdkproto.PathWS, g.serveWS)
	mux.HandleFunc("POST "+sdkproto.PathBatch, g.serveBatch)
	mux.HandleFunc("POST "+sdkproto.PathInstall, g.serveInstall)
	for _, path := range []string{sdkproto.PathConfig, sdkproto.PathInbox} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			if g.get == nil {
				http.NotFound(w, r)
				return
			}
			g.reply(w, g.get(r))
		})
	}
	g.srv = httptest.NewServer(mux)
	t.Cleanup(g.srv.Close)
	return g
}

// client makes one whose retries take milliseconds.
func (g *gateway) client(edit ...func(*client.Options)) *client.Client {
	g.t.Helper()
	tr := &http.Transport{}
	g.t.Cleanup(tr.CloseIdleConnections)
	o := client.Options{
		Endpoint: g.srv.URL, AppKey: "ak_test", InstallID: "install-1", Platform: sdkpb.Platform_PLATFORM_ANDROID,
		TimeZone: "Europe/Berlin", Locale: "de-DE", Codec: g.codec, HTTPClient: &http.Client{Transport: tr},
		BackoffMin: time.Millisecond, BackoffMax: 20 * time.Millisecond,
	}
	for _, e := range edit {
		e(&o)
	}
	c, err := client.New(o)
	if err != nil {
		g.t.Fatal(err)
	}
	return c
}

func (g *gateway) count(n *int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	*n++
	return *n - 1
}

func (g *gateway) serveWS(w http.ResponseWriter, r *http.Request) {
	n := g.count(&g.sockets)
	if g.handshake != nil && g.handshake(n, w) {
		return
	}
	up := websocket.Upgrader{Subprotocols: []string{g.codec.Subprotocol()}}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		g.t.Errorf("upgrade: %v", err)
		return
	}
	defer func() { _ = conn.Close() }()
	p := &peer{g: g, conn: conn}
	if g.session == nil {
		p.hello(nil)
		p.acceptAll()
		return
	}
	g.session(n, p)
}

func (g *gateway) take(items []*sdkpb.Item) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, i := range items {
		g.taken[i.Seq]++
	}
}

func (g *gateway) times(seq uint64) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.taken[seq]
}

func (g *gateway) serveBatch(w http.ResponseWriter, r *http.Request) {
	n := g.count(&g.posts)
	body, err := sdkproto.ReadBody(r.Body, r.Header.Get("Content-Encoding"), 0)
	b := new(sdkpb.Batch)
	if err == nil {
		err = g.codec.Unmarshal(body, b)
	}
	if err != nil {
		g.t.Errorf("post: %v", err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if r.Header.Get(sdkproto.HeaderAppKey) != "ak_test" || r.Header.Get(sdkproto.HeaderInstall) != "install-1" {
		g.t.Errorf("post without its headers: %v", r.Header)
	}
	var reply *sdkpb.BatchReply
	if g.post != nil {
		reply = g.post(n, w, r, b)
	} else {
		g.take(b.Items)
		reply = ackReply(b)
	}
	g.reply(w, reply)
}

func (g *gateway) serveInstall(w http.ResponseWriter, r *http.Request) {
	n := g.count(&g.installs)
	body, err := sdkproto.ReadBody(r.Body, r.Header.Get("Content-Encoding"), 0)
	h := new(sdkpb.Hello)
	if err == nil {
		err = g.codec.Unmarshal(body, h)
	}
	if err == nil {
		err = sdkproto.ValidateHello(h)
	}
	if err != nil {
		g.t.Errorf("install: %v", err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if g.install != nil {
		g.reply(w, g.install(n, w, h))
		return
	}
	g.reply(w, &sdkpb.BatchReply{HelloOk: &sdkpb.HelloOk{Session: "s", NewDeviceToken: "dt_post"}})
}

// reply writes the answer, with the status of its error.
func (g *gateway) reply(w http.ResponseWriter, r *sdkpb.BatchReply) {
	if r == nil {
		return
	}
	out, err := g.codec.Marshal(r)
	if err != nil {
		g.t.Errorf("reply: %v", err)
		return
	}
	w.Header().Set("Content-Type", g.codec.ContentType())
	if r.Error != nil {
		w.WriteHeader(sdkproto.ErrorCode(r.Error.Code).Info().HTTP)
	}
	_, _ = w.Write(out)
}

func ackOf(b *sdkpb.Batch) *sdkpb.Ack {
	a := &sdkpb.Ack{BatchId: b.BatchId, ServerMs: time.Now().UnixMilli()}
	for _, i := range b.Items {
		a.ThroughSeq = max(a.ThroughSeq, i.Seq)
	}
	return a
}

func ackReply(b *sdkpb.Batch) *sdkpb.BatchReply { return &sdkpb.BatchReply{Ack: ackOf(b)} }

// peer is the server's end of one websocket.
type peer struct {
	g      *gateway
	conn   *websocket.Conn
	queued []*sdkpb.Frame
}

// recv is the client's next frame; nil means that it has gone.
func (p *peer) recv() *sdkpb.Frame {
	for len(p.queued) == 0 {
		_ = p.conn.SetReadDeadline(time.Now().Add(bound))
		_, msg, err := p.conn.ReadMessage()
		if err != nil {
			return nil
		}
		if p.queued, err = p.g.codec.DecodeFrames(msg, 0); err != nil {
			p.g.t.Errorf("frame of the client: %v", err)
			return nil
		}
	}
	f := p.queued[0]
	p.queued = p.queued[1:]
	if err := sdkproto.CheckFrame(f); err != nil {
		p.g.t.Errorf("frame of the client: %v", err)
	}
	return f
}

func (p *peer) send(frames ...*sdkpb.Frame) {
	var msg []byte
	for _, f := range frames {
		var err error
		if msg, err = p.g.codec.AppendFrame(msg, f); err != nil {
			p.g.t.Errorf("send: %v", err)
			return
		}
	}
	kind := websocket.TextMessage
	if p.g.codec.Binary() {
		kind = websocket.BinaryMessage
	}
	_ = p.conn.WriteMessage(kind, msg) // the client may have gone
}

// hello answers the first frame; edit may change the answer.
func (p *peer) hello(edit func(*sdkpb.HelloOk), more ...*sdkpb.Frame) *sdkpb.Hello {
	f := p.recv()
	if f == nil {
		return nil // the test is over
	}
	if err := sdkproto.ValidateHello(f.GetHello()); err != nil {
		p.g.t.Errorf("hello: %v", err)
		return nil
	}
	p.g.mu.Lock()
	p.g.hellos = append(p.g.hellos, f.Hello)
	p.g.mu.Unlock()
	ok := &sdkpb.HelloOk{Session: "s", ServerMs: time.Now().UnixMilli(), Proto: 1}
	if f.Hello.DeviceToken == "" {
		ok.NewDeviceToken = "dt_ws"
	}
	if edit != nil {
		edit(ok)
	}
	p.send(append([]*sdkpb.Frame{{Re: f.Id, HelloOk: ok}}, more...)...)
	return f.Hello
}

// batch is the next frame with a batch; others are skipped, nil means gone.
func (p *peer) batch() *sdkpb.Frame {
	for {
		f := p.recv()
		if f == nil || f.Batch != nil {
			return f
		}
	}
}

func (p *peer) ack(f *sdkpb.Frame, rejects ...*sdkpb.Reject) {
	a := ackOf(f.Batch)
	a.Rejects = rejects
	bad := map[uint64]bool{}
	for _, r := range rejects {
		bad[r.Seq] = true
	}
	for _, i := range f.Batch.Items {
		if !bad[i.Seq] {
			p.g.take([]*sdkpb.Item{i})
		}
	}
	p.send(&sdkpb.Frame{Re: f.Id, Ack: a})
}

func (p *peer) acceptAll() {
	for f := p.batch(); f != nil; f = p.batch() {
		p.ack(f)
	}
}

func (p *peer) close(code sdkproto.CloseCode) {
	_ = p.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(int(code), code.Info().Name), time.Now().Add(time.Second))
	for p.recv() != nil { // so that the close frame is read before a reset
	}
}

// run runs the client until the test ends; the channel gives Run's error.
func run(t *testing.T, c *client.Client) <-chan error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	joined := make(chan struct{})
	go func() {
		defer close(joined)
		result <- c.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-joined })
	return result
}

func ended(t *testing.T, result <-chan error) error {
	t.Helper()
	select {
	case err := <-result:
		return err
	case <-time.After(bound):
		t.Fatal("Run has not returned")
		return nil
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(bound)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			stacks := make([]byte, 1<<20)
			t.Fatalf("not so: %s\n%s", what, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

func drained(t *testing.T, c *client.Client) {
	t.Helper()
	eventually(t, "everything is acknowledged or refused", func() bool { return c.Pending() == 0 })
}

// record is a list that callbacks fill.
type record[T any] struct {
	mu   sync.Mutex
	list []T
}

func (r *record[T]) add(v T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, v)
}

func (r *record[T]) all() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]T(nil), r.list...)
}

func terminal(t *testing.T, err error) *client.TerminalError {
	t.Helper()
	e, ok := errors.AsType[*client.TerminalError](err)
	if !ok {
		t.Fatalf("%v is not terminal", err)
	}
	return e
}

func both(t *testing.T, f func(t *testing.T, codec sdkproto.Codec)) {
	for _, c := range []sdkproto.Codec{sdkproto.Protobuf{}, sdkproto.JSON{}} {
		t.Run(c.Subprotocol(), func(t *testing.T) { f(t, c) })
	}
}

func track(t *testing.T, c *client.Client, name string) uint64 {
	t.Helper()
	seq, err := c.Track(name, map[string]any{"n": 1})
	if err != nil {
		t.Fatal(err)
	}
	return seq
}
