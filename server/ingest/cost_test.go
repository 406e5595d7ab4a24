package ingest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/ingest"
)

func TestAnIdleSessionIsOneGoroutine(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	w.http.CloseIdleConnections()
	const n = 20
	w.open("phone-warm", sdkproto.Protobuf{})
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = w.token(fmt.Sprintf("phone-%05d", i))
	}
	w.http.CloseIdleConnections()
	before := 0
	until(t, "calm", func() bool {
		last := before
		before = runtime.NumGoroutine()
		return last == before
	})
	for i := range tokens {
		r := w.dial(sdkproto.Protobuf{})
		h := hello(fmt.Sprintf("phone-%05d", i))
		h.DeviceToken = tokens[i]
		r.send(&sdkpb.Frame{Id: 1, Hello: h})
		r.next()
	}
	until(t, "one goroutine per session", func() bool { return runtime.NumGoroutine() <= before+n })
}

// thin is a websocket client of a socket and a handshake, so that the memory
// measured is the server's.
func (w *world) thin(b *testing.B, install string) net.Conn {
	b.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.server.URL, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	frame, err := sdkproto.EncodeFrame(sdkproto.Protobuf{}, &sdkpb.Frame{Id: 1, Hello: hello(install)})
	if err != nil {
		b.Fatal(err)
	}
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: %s\r\n\r\n", sdkproto.PathWS, sdkproto.SubprotocolPB)
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		b.Fatalf("%v %v", resp, err)
	}
	_ = resp.Body.Close()
	// A masked frame with a zero mask.
	msg := append([]byte{0x82, 0x80 | byte(len(frame)), 0, 0, 0, 0}, frame...)
	if len(frame) > 125 {
		b.Fatal("hello is too long for the short form")
	}
	if _, err := conn.Write(msg); err != nil {
		b.Fatal(err)
	}
	return conn
}

// BenchmarkIdleSession reports heap and stacks of an idle session, both ends of
// its socket and what is remembered of its install included.
func BenchmarkIdleSession(b *testing.B) {
	w := newWorld(b, unlimited)
	const n = 1000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		have := w.gateway.Sessions().Count()
		conns := make([]net.Conn, n)
		for i := range conns {
			conns[i] = w.thin(b, fmt.Sprintf("phone-%05d", i))
		}
		until(b, "sessions", func() bool { return w.gateway.Sessions().Count() == have+n })
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse)/n, "B/session")
		for _, c := range conns {
			_ = c.Close()
		}
		until(b, "end", func() bool { return w.gateway.Sessions().Count() == have })
	}
}

// promptLog answers from one goroutine of its own, as the log's writer does, so many
// appends together, and keeps nothing.
type promptLog struct {
	taken    chan func(error)
	mu       sync.Mutex
	together int
}

func (l *promptLog) set(together int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.together = together
}

func (l *promptLog) AppendAsync(_, _ string, _ []engage.Entry, done func(error)) error {
	l.taken <- done
	return nil
}

func (l *promptLog) run() {
	var waiting []func(error)
	for done := range l.taken {
		waiting = append(waiting, done)
		l.mu.Lock()
		land := len(waiting) >= l.together
		l.mu.Unlock()
		if land {
			for _, done := range waiting {
				done(nil)
			}
			waiting = waiting[:0]
		}
	}
}

// thinPhone is a client that takes no memory: what is allocated is the gateway's.
type thinPhone struct {
	b    *testing.B
	conn net.Conn
	msg  []byte // a masked frame with a batch of one position
	buf  []byte
}

// thinPhone connects and has its first regions.
func (w *world) thinPhone(b *testing.B, install string) *thinPhone {
	b.Helper()
	frame, err := sdkproto.EncodeFrame(sdkproto.Protobuf{}, &sdkpb.Frame{Id: 1000, Batch: &sdkpb.Batch{
		BatchId: "0190a5c8-7f00-7abc-8def-000000000001", Attempt: 1, SentMs: noon.UnixMilli(), SentMonoMs: 7_000, BootId: "boot-1",
		Items: []*sdkpb.Item{{
			ItemId: "0190a5c8-7f00-7abc-8def-000000000002", Seq: 1000, OccurredMs: noon.UnixMilli(), MonoMs: 6_990, BootId: "boot-1",
			Location: &sdkpb.Location{Lat: 0.001, Lng: 0.001, AccuracyM: 12, SpeedMps: new(1.3)},
		}},
	}})
	if err != nil || len(frame) < 126 {
		b.Fatal(len(frame), err)
	}
	w.installs.known[install] = ingest.Install{Consents: everything()}
	p := &thinPhone{
		b: b, conn: w.thin(b, install), buf: make([]byte, 4096),
		msg: append([]byte{0x82, 0x80 | 126, byte(len(frame) >> 8), byte(len(frame)), 0, 0, 0, 0}, frame...),
	}
	b.Cleanup(func() { _ = p.conn.Close() })
	p.send()
	for acked, planned := false, false; !acked || !planned; {
		frames, err := sdkproto.Protobuf{}.DecodeFrames(p.answer(), 0)
		if err != nil {
			b.Fatal(err)
		}
		for _, f := range frames {
			acked, planned = acked || f.Ack != nil, planned || f.Regions != nil
		}
	}
	return p
}

func (p *thinPhone) send() {
	if _, err := p.conn.Write(p.msg); err != nil {
		p.b.Fatal(err)
	}
}

// answer is the next message.
func (p *thinPhone) answer() []byte {
	p.read(2)
	n := int(p.buf[1])
	if n == 126 {
		p.read(2)
		n = int(p.buf[0])<<8 | int(p.buf[1])
	}
	return p.read(n)
}

func (p *thinPhone) read(n int) []byte {
	if _, err := io.ReadFull(p.conn, p.buf[:n]); err != nil {
		p.b.Fatal(err)
	}
	return p.buf[:n]
}

// BenchmarkMessage is one position from the socket to its ack on it, for one phone, and
// for many whose positions land together as in a record of the log.
func BenchmarkMessage(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("phones=%d", n), func(b *testing.B) {
			log := &promptLog{taken: make(chan func(error), n), together: 1}
			go log.run()
			b.Cleanup(func() { close(log.taken) }) // after the gateway's own
			w := newWorldOn(b, unlimited, log)
			phones := make([]*thinPhone, n)
			for i := range phones {
				phones[i] = w.thinPhone(b, fmt.Sprintf("phone-%05d", i))
			}
			log.set(n)
			b.ReportAllocs()
			for b.Loop() {
				for _, p := range phones {
					p.send()
				}
				for _, p := range phones {
					p.answer()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/message")
			log.set(1)
		})
	}
}

// BenchmarkSocket sends batches over one socket and waits for their acks, client
// included.
func BenchmarkSocket(b *testing.B) {
	for _, items := range []int{1, 20} {
		b.Run(fmt.Sprintf("items=%d", items), func(b *testing.B) {
			w := newWorld(b, unlimited)
			w.installs.known["phone-00001"] = ingest.Install{Consents: everything()}
			r := w.open("phone-00001", sdkproto.Protobuf{})
			seq := uint64(0)
			b.ReportAllocs()
			for b.Loop() {
				list := make([]*sdkpb.Item, items)
				for i := range list {
					seq++
					list[i] = fix(seq, 1, 1)
				}
				r.send(&sdkpb.Frame{Id: seq, Batch: batch(list...)})
				for {
					if f := r.next(); f.Ack != nil {
						break
					}
				}
				w.log.set(func() { w.log.entries = w.log.entries[:0] })
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(seq), "ns/item")
		})
	}
}
