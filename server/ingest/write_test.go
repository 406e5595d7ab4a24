package ingest_test

import (
	"context"
	"fmt"
	"net"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/ingest"
)

// narrow gives connections little room for what was written and not read.
type narrow struct{ net.Listener }

func (l narrow) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(8 << 10)
	}
	return c, err
}

// narrowWorld has such connections on both sides.
func narrowWorld(t *testing.T) (w *world, dial func(codec sdkproto.Codec) *raw) {
	t.Helper()
	w = newWorld(t, ingest.Limits{})
	server := httptest.NewUnstartedServer(w.gateway.Routes())
	server.Listener = narrow{server.Listener}
	server.Start()
	t.Cleanup(func() {
		w.stop()
		server.Close()
	})
	return w, func(codec sdkproto.Codec) *raw {
		d := websocket.Dialer{
			Subprotocols: []string{codec.Subprotocol()},
			NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := new(net.Dialer).DialContext(ctx, network, addr)
				if tcp, ok := c.(*net.TCPConn); ok {
					_ = tcp.SetReadBuffer(8 << 10)
				}
				return c, err
			},
		}
		conn, resp, err := d.Dial("ws"+strings.TrimPrefix(server.URL, "http")+sdkproto.PathWS, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		t.Cleanup(func() { _ = conn.Close() })
		return &raw{t: t, conn: conn, codec: codec}
	}
}

// Phones that do not read keep nobody waiting, and lose nothing when they read on.
func TestWhoDoesNotReadKeepsNobodyWaiting(t *testing.T) {
	w, dial := narrowWorld(t)
	greet := func(install string, codec sdkproto.Codec) *raw {
		r := dial(codec)
		h := hello(install)
		h.DeviceToken = w.token(install)
		r.send(&sdkpb.Frame{Id: 1, Hello: h})
		if f := r.next(); f.HelloOk == nil {
			t.Fatalf("answer to hello: %v", f)
		}
		return r
	}
	const claims = 300
	pad := strings.Repeat("x", 380) // a grant is as long as its claim
	id := func(i int) string { return fmt.Sprintf("%04d-%s", i, pad) }
	var stuck []*raw
	pongs := make([]int, 3*runtime.GOMAXPROCS(0))
	for i := range pongs {
		codec := sdkproto.Codec(sdkproto.Protobuf{})
		if i%2 == 1 {
			codec = sdkproto.JSON{}
		}
		r := greet(fmt.Sprintf("phone-stuck-%03d", i), codec)
		r.conn.SetPongHandler(func(string) error {
			pongs[i]++
			return nil
		})
		for j := range claims {
			r.send(&sdkpb.Frame{Id: uint64(100 + j), Claim: &sdkpb.Claim{MessageId: id(j)}})
		}
		if err := r.conn.WriteControl(websocket.PingMessage, []byte("there?"), time.Now().Add(10*time.Second)); err != nil {
			t.Fatal(err)
		}
		stuck = append(stuck, r)
	}
	quick := greet("phone-quick", sdkproto.Protobuf{})
	for i := range uint64(50) {
		quick.send(&sdkpb.Frame{Id: 10 + i, Ping: &sdkpb.Ping{}})
		if f := quick.next(); f.Pong == nil || f.Re != 10+i {
			t.Fatalf("%v, want a pong", f)
		}
	}
	for i := range stuck {
		if !w.gateway.Sessions().Online(ws, fmt.Sprintf("phone-stuck-%03d", i)) {
			t.Error("a phone that does not read was given up while another was answered")
		}
	}
	var wg sync.WaitGroup
	for i, r := range stuck {
		wg.Go(func() {
			for j := range claims {
				f, err := r.read()
				if err != nil || f.Grant.GetMessageId() != id(j) || f.Re != uint64(100+j) {
					t.Errorf("phone %d: %v, %v, want grant %d", i, f, err, j)
					return
				}
			}
			r.send(&sdkpb.Frame{Id: 9, Ping: &sdkpb.Ping{}})
			if f, err := r.read(); err != nil || f.Pong == nil {
				t.Errorf("phone %d: %v, %v, want a pong", i, f, err)
			}
			if pongs[i] != 1 {
				t.Errorf("phone %d: its ping was answered %d times", i, pongs[i])
			}
		})
	}
	wg.Wait()
}

func TestMessagesOfAllLengthsArrive(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	for _, codec := range []sdkproto.Codec{sdkproto.Protobuf{}, sdkproto.JSON{}} {
		r := w.open("phone-"+codec.Subprotocol(), codec)
		x := w.gateway.Sessions()
		for _, n := range []int{1, 60, 100, 120, 121, 122, 123, 124, 125, 126, 127, 128, 200, 1000, 20_000, 65_400} {
			m := &sdkpb.Message{MessageId: "m", Body: strings.Repeat("x", n)}
			if !x.Offer(ws, "phone-"+codec.Subprotocol(), m) {
				t.Fatalf("a message of %d was not taken", n)
			}
			if f := r.next(); f.Message.GetBody() != m.Body {
				t.Errorf("of a message of %d characters came %d", n, len(f.Message.GetBody()))
			}
		}
	}
}

// Who closes hears its code back, once; whom the server closes hears nothing more.
func TestAPhoneThatClosesHearsItsCodeBack(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	r := w.open("phone-00001", sdkproto.Protobuf{})
	if err := r.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, "bye"), time.Now().Add(10*time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, code := r.closed(); code != websocket.CloseGoingAway {
		t.Errorf("closed with %d", code)
	}
	until(t, "end", func() bool { return w.gateway.Sessions().Count() == 0 })
}
