package ingest_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/ingest"
)

// pipes is a network in memory: a crowd needs no descriptors.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// crowd is many phones of one app on one network.
type crowd struct {
	w      *world
	dialer websocket.Dialer
	hellos atomic.Int64 // said
	phones []*crowdPhone
	wg     sync.WaitGroup // who listens
}

type crowdPhone struct {
	id       string
	attempts int
	due      time.Time // when it comes again, by the world's clock
	conn     *websocket.Conn
	goaway   *sdkpb.Goaway
	code     int // close code
}

// crowdToken is every phone's.
const crowdToken = "a-token"

func (w *world) crowd(n int) *crowd {
	mem := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{Handler: w.gateway.Routes(), ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(mem) }()
	c := &crowd{w: w, dialer: websocket.Dialer{
		Subprotocols: []string{sdkproto.SubprotocolPB}, NetDialContext: mem.dial,
		ReadBufferSize: 256, WriteBufferSize: 256, WriteBufferPool: new(sync.Pool),
	}}
	hash := sha256.Sum256([]byte(crowdToken))
	w.creds.mu.Lock()
	for i := range n {
		p := &crowdPhone{id: fmt.Sprintf("phone-%06d", i), due: w.clock.Now()}
		w.creds.byID[ws+"/"+p.id] = ingest.Credential{App: "shop-android", Hash: hash[:], Confirmed: true, Issued: w.clock.Now(), Version: 1}
		c.phones = append(c.phones, p)
	}
	w.creds.mu.Unlock()
	w.t.Cleanup(func() {
		w.stop()
		for _, p := range c.phones {
			if p.conn != nil {
				_ = p.conn.Close()
			}
		}
		c.wg.Wait()
		close(mem.done)
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			w.t.Errorf("serve: %v", err)
		}
	})
	return c
}

// come connects and says hello. Wait is when to come again; 0 when it was served.
func (c *crowd) come(p *crowdPhone) (wait time.Duration, err error) {
	p.attempts++
	conn, _, err := c.dialer.Dial("ws://x"+sdkproto.PathWS, nil) //nolint:bodyclose // gorilla has read it
	if err != nil {
		return 0, err
	}
	codec := sdkproto.Protobuf{}
	h := hello(p.id)
	h.DeviceToken, h.Caps = crowdToken, []string{sdkproto.CapResume, sdkproto.CapGoaway}
	msg, err := sdkproto.EncodeFrame(codec, &sdkpb.Frame{Id: 1, Hello: h})
	if err != nil {
		return 0, err
	}
	if err := conn.WriteMessage(websocket.BinaryMessage, msg); err != nil {
		return 0, err
	}
	c.hellos.Add(1)
	_, msg, err = conn.ReadMessage()
	if err != nil {
		return 0, err
	}
	frames, err := codec.DecodeFrames(msg, 0)
	if err != nil || len(frames) == 0 {
		return 0, fmt.Errorf("answer to hello: %v, %w", frames, err)
	}
	if frames[0].HelloOk != nil {
		p.conn = conn
		c.wg.Go(func() { p.listen() })
		return 0, nil
	}
	_, _, err = conn.ReadMessage() // on a pipe the close frame comes only to who reads within a second
	_ = conn.Close()
	if e := frames[0].Error; e.GetRetryable() && e.RetryAfterMs > 0 {
		return time.Duration(e.RetryAfterMs) * time.Millisecond, nil
	}
	return 0, fmt.Errorf("refused with %v, %w", frames[0], err)
}

// listen reads until the connection ends.
func (p *crowdPhone) listen() {
	for {
		_, msg, err := p.conn.ReadMessage()
		if ce, ok := errors.AsType[*websocket.CloseError](err); ok {
			p.code = ce.Code
		}
		if err != nil {
			return
		}
		frames, _ := sdkproto.Protobuf{}.DecodeFrames(msg, 0)
		for _, f := range frames {
			if f.Goaway != nil {
				p.goaway = f.Goaway
			}
		}
	}
}

// comeAll has the phones come at once.
func (c *crowd) comeAll(phones []*crowdPhone) (refused []time.Duration, failed error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, p := range phones {
		wg.Go(func() {
			wait, err := c.come(p)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = fmt.Errorf("%s: %w", p.id, err)
			}
			if wait > 0 {
				refused = append(refused, wait)
				p.due = c.w.clock.Now().Add(wait)
			}
		})
	}
	wg.Wait()
	return refused, failed
}

// checkSpread wants the times to be given out at about perSecond.
func checkSpread(t *testing.T, what string, waits []time.Duration, perSecond int) {
	t.Helper()
	bySecond := map[int]int{}
	for _, d := range waits {
		bySecond[int(d/time.Second)]++
	}
	most := 0
	for _, n := range bySecond {
		most = max(most, n)
	}
	if least := slices.Min(waits); most > perSecond*3/2+20 || least < time.Second || slices.Max(waits) < time.Duration(len(waits))*time.Second/time.Duration(perSecond) {
		t.Errorf("%s: %d times from %v to %v, up to %d in a second", what, len(waits), least, slices.Max(waits), most)
	}
}

// All phones come at once to a server whose log is slow: few are kept waiting, the
// others are told times of their own, and all are served when they keep to them. When
// the server goes, all are asked to come back at times of their own.
//
// FOOTFALL_TEST_CROWD is how many they are; 10,000.
func TestACrowdThatComesAtOnceIsServed(t *testing.T) {
	n := 10_000
	if s := os.Getenv("FOOTFALL_TEST_CROWD"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	const atATime, queues = 16, 8
	rate := n / 10
	w := newWorld(t, ingest.Limits{
		MaxSessions: n, MaxHellos: atATime, ReturnRate: float64(rate), DrainWithin: time.Minute,
	})
	c := w.crowd(n)
	w.log.set(func() { w.log.hold = true })
	come := make(chan []time.Duration, 1)
	var failed error
	go func() {
		var refused []time.Duration
		refused, failed = c.comeAll(c.phones)
		come <- refused
	}()
	const served = atATime * (1 + queues)
	until2(t, time.Minute, "everybody", func() bool { return c.hellos.Load() == int64(n) })
	w.log.release()
	refused := <-come
	if failed != nil {
		t.Fatal(failed)
	}
	// Where that has taken long, some of those who waited were sent away too.
	if len(refused) < n-2*served || w.gateway.Sessions().Count()+len(refused) != n {
		t.Fatalf("%d refused, %d served", len(refused), w.gateway.Sessions().Count())
	}
	checkSpread(t, "refused", refused, rate)

	rounds := 0
	for left := slices.Clone(c.phones); len(left) > 0; rounds++ {
		if rounds > 24 { // beyond it phones are pinged
			t.Fatalf("%d phones are not served", len(left))
		}
		var due []*crowdPhone
		left = slices.DeleteFunc(left, func(p *crowdPhone) bool { return p.conn != nil })
		for _, p := range left {
			if !p.due.After(w.clock.Now()) {
				due = append(due, p)
			}
		}
		for some := range slices.Chunk(due, served) { // within a second they do not come in one moment
			if _, err := c.comeAll(some); err != nil {
				t.Fatal(err)
			}
		}
		w.tick()
	}
	attempts := 0
	for _, p := range c.phones {
		attempts = max(attempts, p.attempts)
	}
	if attempts > 3 {
		t.Errorf("a phone came %d times", attempts)
	}
	if got := w.gateway.Sessions().Count(); got != n {
		t.Errorf("%d sessions of %d phones", got, n)
	}

	w.stop()
	c.wg.Wait()
	var waits []time.Duration
	for _, p := range c.phones {
		if p.goaway.GetReason() != "shutdown" || p.code != int(sdkproto.CloseShutdown) {
			t.Fatalf("%s was asked to go with %v, and closed with %d", p.id, p.goaway, p.code)
		}
		waits = append(waits, time.Duration(p.goaway.ReconnectAfterMs)*time.Millisecond)
	}
	checkSpread(t, "asked to go", waits, rate)
}

// until2 is until with more patience.
func until2(t testing.TB, patience time.Duration, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}

// When there is no room for another socket, an app in the background makes some: it
// is asked to go, after the answers to what it has sent. The others stay.
func TestAnAppInTheBackgroundMakesRoom(t *testing.T) {
	w := newWorld(t, ingest.Limits{MaxSessions: 3})
	background := &sdkpb.Item{Seq: 1, Lifecycle: &sdkpb.Lifecycle{State: sdkpb.Lifecycle_STATE_BACKGROUND}}
	old, m, front := w.modern("phone-00001", sdkproto.Protobuf{}), w.modern("phone-00002", sdkproto.JSON{}, sdkproto.CapGoaway), w.modern("phone-00003", sdkproto.JSON{}, sdkproto.CapGoaway)
	for _, p := range []*modern{old, m, front} {
		p.open(nil)
		p.told(0)
		if p != front {
			p.send(&sdkpb.Frame{Id: 2, Batch: batch(background)})
			if f := p.next(); f.Ack == nil {
				t.Fatalf("answer %v", f)
			}
			until(t, "background", func() bool { return !w.gateway.Sessions().Online(ws, p.id) })
		}
	}
	w.tick() // nobody wants to come
	m.want(t, "nobody was refused", "")
	d := websocket.Dialer{Subprotocols: []string{sdkproto.SubprotocolPB}}
	if _, resp, err := d.Dial("ws"+w.server.URL[len("http"):]+sdkproto.PathWS, nil); err == nil || resp.StatusCode != http.StatusServiceUnavailable { //nolint:bodyclose // gorilla has read it
		t.Fatalf("a fourth socket: %v", err)
	}
	w.log.set(func() { w.log.hold = true })
	m.send(&sdkpb.Frame{Id: 3, Batch: batch(&sdkpb.Item{Seq: 2, Event: &sdkpb.Event{Name: "x"}})})
	until(t, "append", func() bool { return w.log.waiting() == 1 })
	w.tick()
	if f := m.next(); f.Goaway.GetReason() != "overload" || f.Goaway.ReconnectAfterMs < 1000 {
		t.Fatalf("asked to go by %v", f)
	}
	w.log.release()
	if f := m.next(); f.Ack == nil || f.Re != 3 {
		t.Errorf("before the end: %v", f)
	}
	if _, code := m.closed(); code != sdkproto.CloseShutdown {
		t.Errorf("closed with %d", code)
	}
	until(t, "room", func() bool { return w.gateway.Sessions().Count() == 2 })
	w.modern("phone-00004", sdkproto.Protobuf{}).open(nil)
	for _, p := range []*modern{old, front} {
		p.want(t, "who stays", "")
	}
	if got := w.measured()["footfall_ingest_goaways_total overload"]; got != 1 {
		t.Errorf("%v were asked to go", got)
	}
}
