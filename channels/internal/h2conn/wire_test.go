package h2conn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a server of which each connection is played by a function.
type script struct {
	t     *testing.T
	ln    net.Listener
	wg    sync.WaitGroup
	conns atomic.Int64
}

// peer is the server's end of a connection.
type peer struct {
	*http2.Framer
	t   *testing.T
	nc  net.Conn
	n   int64 // of the connection, from 1
	enc *hpack.Encoder
	buf bytes.Buffer
}

func serve(t *testing.T, play func(p *peer)) *script {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, ln: ln}
	s.wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			n := s.conns.Add(1)
			s.wg.Go(func() {
				defer func() { _ = nc.Close() }()
				preface := make([]byte, len(http2.ClientPreface))
				if _, err := io.ReadFull(nc, preface); err != nil || string(preface) != http2.ClientPreface {
					t.Errorf("preface %q %v", preface, err)
					return
				}
				p := &peer{Framer: http2.NewFramer(nc, nc), t: t, nc: nc, n: n}
				p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
				p.enc = hpack.NewEncoder(&p.buf)
				play(p)
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); s.wg.Wait() })
	return s
}

func (s *script) pool(o Options) *Pool {
	s.t.Helper()
	o.URL = &url.URL{Scheme: "http", Host: s.ln.Addr().String()}
	p := New(o)
	s.t.Cleanup(p.Close)
	return p
}

// next reads until a frame that is not of housekeeping; nil at the end.
func (p *peer) next() http2.Frame {
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return nil
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = p.WriteSettingsAck()
			}
		case *http2.WindowUpdateFrame:
		case *http2.PingFrame:
			if !f.IsAck() {
				_ = p.WritePing(true, f.Data)
			}
		default:
			return f
		}
	}
}

// request reads a whole request; id 0 at the end.
func (p *peer) request() (id uint32, h *http2.MetaHeadersFrame, body []byte) {
	for {
		switch f := p.next().(type) {
		case nil:
			return 0, nil, nil
		case *http2.MetaHeadersFrame:
			id, h = f.StreamID, f
			if f.StreamEnded() {
				return id, h, nil
			}
		case *http2.DataFrame:
			body = append(body, f.Data()...)
			if f.StreamEnded() {
				return id, h, body
			}
		}
	}
}

func (p *peer) head(id uint32, status string, end bool, fields ...string) {
	p.buf.Reset()
	_ = p.enc.WriteField(hpack.HeaderField{Name: ":status", Value: status})
	for i := 0; i < len(fields); i += 2 {
		_ = p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.buf.Bytes(), EndHeaders: true, EndStream: end})
}

// gone waits until the client has closed.
func (p *peer) gone() { _, _ = io.Copy(io.Discard, p.nc) }

func req(body string) Request {
	return Request{Path: "/push", Header: []Field{{Name: "authorization", Value: "bearer x"}}, Body: []byte(body)}
}

func TestAnswersOfAllForms(t *testing.T) {
	big := strings.Repeat("y", maxAnswer+1000)
	s := serve(t, func(p *peer) {
		_ = p.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 10})
		for {
			id, h, body := p.request()
			if id == 0 {
				return
			}
			switch string(body) {
			case "plain":
				p.head(id, "200", true, "apns-id", "A")
			case "early hints, body, trailers":
				p.head(id, "103", false, "link", "x")
				p.head(id, "404", false)
				_ = p.WriteData(id, false, []byte("one "))
				_ = p.WriteData(id, false, nil)
				_ = p.WriteData(id, false, []byte("two"))
				p.buf.Reset()
				_ = p.enc.WriteField(hpack.HeaderField{Name: "grade", Value: "9"})
				_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.buf.Bytes(), EndHeaders: true, EndStream: true})
			case "cut":
				p.head(id, "410", false)
				_ = p.WriteData(id, false, []byte("part"))
				_ = p.WriteRSTStream(id, http2.ErrCodeInternal)
			case "too big":
				p.head(id, "502", false)
				for b := big; b != ""; {
					n := min(len(b), 16384)
					_ = p.WriteData(id, n == len(b), []byte(b[:n]))
					b = b[n:]
				}
			case "no status":
				p.buf.Reset()
				_ = p.enc.WriteField(hpack.HeaderField{Name: "a", Value: "b"})
				_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.buf.Bytes(), EndHeaders: true, EndStream: true})
			case "data first":
				_ = p.WriteData(id, true, []byte("x"))
			case "reset":
				_ = p.WriteRSTStream(id, http2.ErrCodeInternal)
			default:
				p.head(id, "200", false)
				_ = p.WriteData(id, true, fmt.Appendf(nil, "%s %s %s %s %d", h.PseudoValue("method"), h.PseudoValue("path"), h.PseudoValue("authority"), h.PseudoValue("scheme"), len(body)))
			}
		}
	})
	p := s.pool(Options{})
	ok := func(name string, r Request, status int, body string) {
		t.Helper()
		res := p.Do(t.Context(), r)
		if res.Status != status || string(res.Body) != body || res.Err != nil || res.Cut {
			t.Errorf("%s: %d %.40q %v %v", name, res.Status, res.Body, res.Err, res.Cut)
		}
	}
	ok("plain", req("plain"), 200, "")
	ok("hints", req("early hints, body, trailers"), 404, "one two")
	ok("too big", req("too big"), 502, big[:maxAnswer])
	r := req("")
	r.Path = "/a b/ø"
	ok("empty", r, 200, "POST /a%20b/%C3%B8 "+s.ln.Addr().String()+" http 0")
	r = req(strings.Repeat("x", 60_000)) // three frames
	r.Header = append(r.Header, Field{Name: "x-long", Value: strings.Repeat("h", 40_000), Once: true})
	ok("continuations", r, 200, "POST /push "+s.ln.Addr().String()+" http 60000")
	if res := p.Do(t.Context(), req("cut")); res.Status != 410 || string(res.Body) != "part" || !res.Cut {
		t.Errorf("%+v", res)
	}
	for _, kind := range []string{"no status", "data first", "reset"} {
		if res := p.Do(t.Context(), req(kind)); res.Status != 0 || !res.Sent || res.Err == nil {
			t.Errorf("%s: %+v", kind, res)
		}
	}
	ok("after all that", req("plain"), 200, "")
	for _, f := range []Field{{Name: "a", Value: "x\r\nb: c"}, {Name: "A", Value: "x"}, {Name: ":path", Value: "x"}, {Name: "", Value: "x"}} {
		if res := p.Do(t.Context(), Request{Path: "/", Header: []Field{f}}); res.Err == nil || res.Sent || strings.Contains(res.Err.Error(), "b: c") {
			t.Errorf("%q: %+v", f.Name, res)
		}
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestBodiesWaitForTheWindow(t *testing.T) {
	const n = 300_000
	s := serve(t, func(p *peer) {
		_ = p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000})
		var id uint32
		total, window := 0, 65535 // of the connection
		for {
			switch f := p.next().(type) {
			case nil:
				return
			case *http2.MetaHeadersFrame:
				id, total = f.StreamID, 0
			case *http2.DataFrame:
				total += len(f.Data())
				if window -= len(f.Data()); window < 0 {
					t.Error("the connection's window was overdrawn")
				}
				if f.StreamEnded() {
					p.head(id, "200", false)
					_ = p.WriteData(id, true, fmt.Append(nil, total))
					continue
				}
				_ = p.WriteWindowUpdate(id, uint32(len(f.Data()))+1)
				_ = p.WriteWindowUpdate(0, uint32(len(f.Data())))
				window += len(f.Data())
			}
		}
	})
	p := s.pool(Options{})
	for range 2 {
		if res := p.Do(t.Context(), req(strings.Repeat("x", n))); res.Status != 200 || string(res.Body) != fmt.Sprint(n) {
			t.Errorf("%+v", res)
		}
	}
}

func TestAnAnswerBeforeTheBodyIsSentStands(t *testing.T) {
	s := serve(t, func(p *peer) {
		for {
			switch f := p.next().(type) {
			case nil:
				return
			case *http2.MetaHeadersFrame:
				p.head(f.StreamID, "413", true)
			}
		}
	})
	p := s.pool(Options{})
	for range 3 { // more than the connection's window in all
		if res := p.Do(t.Context(), req(strings.Repeat("x", 60_000))); res.Status != 413 || res.Err != nil {
			t.Errorf("%+v", res)
		}
	}
}

func TestGoAwayTellsWhatWasProcessed(t *testing.T) {
	for _, code := range []http2.ErrCode{http2.ErrCodeNo, http2.ErrCodeEnhanceYourCalm} {
		s := serve(t, func(p *peer) {
			if p.n > 1 {
				for {
					id, _, body := p.request()
					if id == 0 {
						return
					}
					p.head(id, "200", false, "conn", "later")
					_ = p.WriteData(id, true, body)
				}
			}
			first, _, _ := p.request()
			second, _, _ := p.request()
			_ = p.WriteGoAway(first, code, []byte(`{"reason":"Shutdown"}`))
			p.head(first, "200", true, "conn", "first")
			_ = second
			p.gone()
		})
		p := s.pool(Options{})
		var wg sync.WaitGroup
		var early, late atomic.Int64
		for range 2 {
			wg.Go(func() {
				res := p.Do(t.Context(), req("x"))
				switch {
				case res.Status == 200 && res.Header.Get("Conn") == "first":
					early.Add(1)
				case res.Status == 200:
					late.Add(1)
				default:
					t.Errorf("%+v", res)
				}
			})
		}
		wg.Wait()
		if early.Load() != 1 || late.Load() != 1 {
			t.Errorf("%v: %d on the first connection, %d on a later one", code, early.Load(), late.Load())
		}
	}
}

func TestALostConnectionIsAmbiguousForWhatWasSent(t *testing.T) {
	s := serve(t, func(p *peer) { p.request() })
	p := s.pool(Options{})
	if res := p.Do(t.Context(), req("x")); res.Status != 0 || !res.Sent {
		t.Errorf("%+v", res)
	}
}

func TestTheLimitIsReadAllTheTime(t *testing.T) {
	var open, peak, limit atomic.Int64
	limit.Store(20)
	s := serve(t, func(p *peer) {
		_ = p.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 20})
		acked := int64(20) // what the client has confirmed
		var waiting []uint32
		done := 0
		for {
			f, err := p.ReadFrame()
			if err != nil {
				return
			}
			switch f := f.(type) {
			case *http2.SettingsFrame:
				if !f.IsAck() {
					_ = p.WriteSettingsAck()
				} else {
					acked = limit.Load()
				}
			case *http2.DataFrame:
				if !f.StreamEnded() {
					continue
				}
				waiting = append(waiting, f.StreamID)
				n := open.Add(1)
				peak.Store(max(peak.Load(), n))
				if n > max(acked, limit.Load()) {
					t.Errorf("%d streams at a limit of %d", n, acked)
				}
			}
			// Answer when as many are open as may be, or fewer are to come.
			for len(waiting) > 0 && (int64(len(waiting)) >= max(1, limit.Load()*9/10) || done+len(waiting) == 200) {
				open.Add(-1)
				done++
				p.head(waiting[0], "200", true)
				waiting = waiting[1:]
				if done == 50 || done == 100 {
					limit.Store(map[int]int64{50: 1, 100: 10}[done])
					_ = p.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(limit.Load())})
				}
			}
		}
	})
	p := s.pool(Options{MaxConns: 1})
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if res := p.Do(t.Context(), req("x")); res.Status != 200 {
				t.Errorf("%+v", res)
			}
		})
	}
	wg.Wait()
	if s.conns.Load() != 1 || peak.Load() > 90 {
		t.Errorf("%d connections, %d streams at most", s.conns.Load(), peak.Load())
	}
}

func TestASilentPeerIsGivenUp(t *testing.T) {
	s := serve(t, func(p *peer) {
		if p.n == 1 {
			p.gone() // answers nothing, pings neither
			return
		}
		for {
			id, _, _ := p.request()
			if id == 0 {
				return
			}
			p.head(id, "200", true)
		}
	})
	p := s.pool(Options{PingAfter: 10 * time.Millisecond, PingTimeout: 10 * time.Millisecond})
	if res := p.Do(t.Context(), req("x")); !res.Sent || !errors.Is(res.Err, errNoPong) {
		t.Errorf("%+v", res)
	}
}

func TestAPeerThatAnswersPingsIsKept(t *testing.T) {
	s := serve(t, func(p *peer) {
		var waits uint32
		for pings := 0; ; {
			f, err := p.ReadFrame()
			if err != nil {
				return
			}
			switch f := f.(type) {
			case *http2.PingFrame:
				_ = p.WritePing(true, f.Data)
				pings++
			case *http2.DataFrame:
				waits = f.StreamID
			}
			if pings >= 5 && waits != 0 {
				p.head(waits, "200", true)
				waits = 0
			}
		}
	})
	p := s.pool(Options{PingAfter: time.Millisecond, PingTimeout: time.Minute})
	if res := p.Do(t.Context(), req("x")); res.Status != 200 || p.Conns() != 1 {
		t.Errorf("%+v, %d connections", res, p.Conns())
	}
}

func TestAClosedIdleConnectionIsReplaced(t *testing.T) {
	s := serve(t, func(p *peer) {
		id, _, _ := p.request()
		p.head(id, "200", true)
	})
	p := s.pool(Options{})
	for range 3 {
		if res := p.Do(t.Context(), req("x")); res.Status != 200 {
			t.Fatalf("%+v", res)
		}
		for p.Conns() > 0 { // until the end is noticed
			time.Sleep(time.Millisecond) //nolint:forbidigo // a wait for a condition
		}
	}
}

func TestAnEndedContextFreesItsSlot(t *testing.T) {
	arrived := make(chan struct{}, 1)
	s := serve(t, func(p *peer) {
		_ = p.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
		for {
			switch f := p.next().(type) {
			case nil:
				return
			case *http2.DataFrame:
				if string(f.Data()) == "hold" {
					arrived <- struct{}{}
					continue
				}
				p.head(f.StreamID, "200", true)
			}
		}
	})
	p := s.pool(Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if res := p.Do(ctx, req("hold")); !res.Sent || !errors.Is(res.Err, context.Canceled) {
			t.Errorf("%+v", res)
		}
	})
	<-arrived
	cancel()
	wg.Wait()
	if res := p.Do(t.Context(), req("x")); res.Status != 200 {
		t.Errorf("%+v", res)
	}
}

func TestNetHTTPServersAgree(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || r.ProtoMajor != 2 || r.Header.Get("X-A") != "1" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		_, _ = w.Write(b)
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	conf := srv.Client().Transport.(*http.Transport).TLSClientConfig
	p := New(Options{URL: u, TLS: conf, MaxConns: 2})
	defer p.Close()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			body := strings.Repeat(fmt.Sprint(i), 1+i*500)
			r := req(body)
			r.Header = []Field{{Name: "x-a", Value: "1"}}
			if res := p.Do(t.Context(), r); res.Status != 200 || string(res.Body) != body[:min(len(body), maxAnswer)] {
				t.Errorf("%d: %d %v", i, res.Status, res.Err)
			}
		})
	}
	wg.Wait()
}

func TestAServerWithoutHTTP2IsNoConnection(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := New(Options{URL: u, TLS: srv.Client().Transport.(*http.Transport).TLSClientConfig})
	defer p.Close()
	res := p.Do(t.Context(), req("x"))
	if _, ok := errors.AsType[*DialError](res.Err); !ok || res.Sent {
		t.Errorf("%+v", res)
	}
}

func TestTunnelGoesThroughAProxy(t *testing.T) {
	target := serve(t, func(p *peer) {
		id, _, _ := p.request()
		p.head(id, "200", true)
		p.gone()
	})
	var asked atomic.Value
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Method + " " + r.Host + " " + r.Header.Get("Proxy-Authorization"))
		if r.Header.Get("Proxy-Authorization") == "" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		out, err := new(net.Dialer).DialContext(r.Context(), "tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer func() { _ = out.Close() }()
		in, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = in.Close() }()
		_, _ = io.WriteString(in, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
		_, _ = io.Copy(in, out)
	}))
	defer proxy.Close()
	addr := target.ln.Addr().String()
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tunnel(t.Context(), u, addr); err == nil || !strings.Contains(err.Error(), "407") {
		t.Error(err)
	}
	u.User = url.UserPassword("ada", "secret")
	nc, err := tunnel(t.Context(), u, addr)
	if err != nil {
		t.Fatal(err)
	}
	if got := asked.Load(); got != "CONNECT "+addr+" Basic YWRhOnNlY3JldA==" {
		t.Error(got)
	}
	w := newWire(nc, "http", addr, time.Minute, time.Minute, func() {})
	var wg sync.WaitGroup
	wg.Go(w.read)
	wg.Go(w.write)
	r := req("x")
	if res, _, room := w.do(t.Context(), &r); !room || res.Status != 200 {
		t.Errorf("%+v", res)
	}
	w.close()
	wg.Wait()
}

// FuzzFrames plays arbitrary bytes of a peer: every request ends.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88"))
	f.Add([]byte("\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x07"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, theirs := net.Pipe()
		w := newWire(ours, "http", "x", time.Minute, time.Minute, func() {})
		var wg sync.WaitGroup
		wg.Go(w.read)
		wg.Go(w.write)
		wg.Go(func() { _, _ = io.Copy(io.Discard, theirs) })
		wg.Go(func() {
			_, _ = theirs.Write(b)
			_ = theirs.Close()
		})
		for range 2 {
			r := req("body")
			wg.Go(func() { w.do(context.Background(), &r) })
		}
		wg.Wait()
	})
}
