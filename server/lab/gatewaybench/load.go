package gatewaybench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

const (
	// Window is how many messages of a phone are under way in saturation.
	Window = 8
	// window bounds what a phone leaves unacknowledged: the protocol's credit.
	window = sdkproto.DefaultCredit
	// dialers connect at a time: a phone is greeted before the next one dials.
	dialers = 64
	// senders share the phones of a telemetry.
	senders = 2
	// ackWithin is how long the last acks of a run are waited for.
	ackWithin = 20 * time.Second

	bootID = "0123456789abcdef"
)

// Options of a Load.
type Options struct {
	URL    string // "http://127.0.0.1:1234"
	AppKey string // empty: the server is Bare
	Phones int
	Prefix string // of install ids
}

// Load is phones that are connected.
type Load struct {
	o       Options
	phones  []*phone
	readers sync.WaitGroup
	began   time.Time // the phones' monotonic clock
	failure atomic.Pointer[error]
}

// Result of a run.
type Result struct {
	Messages  int           `json:"messages"`   // that were acknowledged
	Held      int           `json:"held"`       // not sent, because the phone's credit was used up
	Refused   int           `json:"refused"`    // answered with an error
	Elapsed   time.Duration `json:"elapsed"`    // from the first message to the last ack
	AckP50    time.Duration `json:"ack_p50"`    //
	AckP99    time.Duration `json:"ack_p99"`    //
	LateP99   time.Duration `json:"late_p99"`   // by how much the generator was behind its own schedule
	BytesEach float64       `json:"bytes_each"` // of a websocket message, without its frame
}

// phone is one connection. The sender writes, the reader reads.
type phone struct {
	l    *Load
	conn *websocket.Conn
	gone atomic.Bool // closed by us
	walk walker
	seq  uint64 // of the last item
	id   uint64 // of the last frame

	mu      sync.Mutex
	sent    [window]time.Time // by the number of the message
	next    uint64            // message to be sent, of this run
	acked   uint64            // and of those: answered
	refused int
	took    []time.Duration
	turn    chan struct{} // of saturation: an ack has come
	first   uint64        // frame id of the run's first message
}

// Connect connects phones one after the other, on a few sockets at a time. Each says
// hello, registers, and agrees to precise positions in the foreground and the
// background.
func Connect(ctx context.Context, o Options) (*Load, error) {
	l := &Load{o: o, began: time.Now(), phones: make([]*phone, o.Phones)}
	walks := walkers(o.Phones)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(dialers)
	for i := range l.phones {
		g.Go(func() error {
			p, err := l.connect(gctx, i, walks[i])
			if err != nil {
				return fmt.Errorf("phone %d: %w", i, err)
			}
			l.phones[i] = p
			return nil
		})
	}
	err := g.Wait()
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

var writeBuffers sync.Pool

func (l *Load) connect(ctx context.Context, i int, walk walker) (*phone, error) {
	d := websocket.Dialer{
		ReadBufferSize: 512, WriteBufferSize: 1024, WriteBufferPool: &writeBuffers, HandshakeTimeout: 20 * time.Second,
		Subprotocols: []string{sdkproto.SubprotocolPB},
	}
	conn, resp, err := d.DialContext(ctx, "ws"+strings.TrimPrefix(l.o.URL, "http")+sdkproto.PathWS, http.Header{})
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close() // it is empty
	p := &phone{l: l, conn: conn, walk: walk, turn: make(chan struct{}, 1)}
	if l.o.AppKey != "" {
		if err := p.greet(fmt.Sprintf("%s-%06d", l.o.Prefix, i)); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	l.readers.Go(p.read)
	return p, nil
}

// greet says hello and what the person agrees to, and waits for the answers.
func (p *phone) greet(install string) error {
	deadline := time.Now().Add(ackWithin)
	if err := errors.Join(p.conn.SetReadDeadline(deadline), p.conn.SetWriteDeadline(deadline)); err != nil {
		return err
	}
	p.id++
	hello := &sdkpb.Frame{Id: p.id, Hello: &sdkpb.Hello{
		AppKey: p.l.o.AppKey, InstallId: install, Sdk: "gatewaybench/1", Platform: sdkpb.Platform_PLATFORM_ANDROID,
		BootId: bootID, WallMs: time.Now().UnixMilli(), MonoMs: p.l.mono(), Caps: []string{sdkproto.CapBubble},
		Permissions: &sdkpb.Permissions{Location: sdkpb.Permissions_LOCATION_ALWAYS, Precision: sdkpb.Permissions_PRECISION_PRECISE},
	}}
	if _, err := p.ask(hello); err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	b := p.batch()
	for _, purpose := range []sdkpb.Consent_Purpose{
		sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND, sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND, sdkpb.Consent_PURPOSE_LOCATION_PRECISE,
	} {
		p.seq++
		b.Items = append(b.Items, &sdkpb.Item{Seq: p.seq, OccurredMs: b.SentMs, Consent: &sdkpb.Consent{Purpose: purpose, Granted: true}})
	}
	p.id++
	f, err := p.ask(&sdkpb.Frame{Id: p.id, Batch: b})
	if err == nil && len(f.GetAck().GetRejects()) > 0 {
		err = fmt.Errorf("rejected: %v", f.GetAck().GetRejects()[0].GetReason())
	}
	if err != nil {
		return fmt.Errorf("consents: %w", err)
	}
	never := time.Time{}
	return errors.Join(p.conn.SetReadDeadline(never), p.conn.SetWriteDeadline(never))
}

// ask sends a frame and reads until its answer.
func (p *phone) ask(f *sdkpb.Frame) (*sdkpb.Frame, error) {
	msg, err := sdkproto.EncodeFrame(sdkproto.Protobuf{}, f)
	if err != nil {
		return nil, err
	}
	if err := p.conn.WriteMessage(websocket.BinaryMessage, msg); err != nil {
		return nil, err
	}
	for {
		_, msg, err := p.conn.ReadMessage()
		if err != nil {
			return nil, err
		}
		frames, err := sdkproto.Protobuf{}.DecodeFrames(msg, 0)
		if err != nil {
			return nil, err
		}
		for _, a := range frames {
			switch {
			case a.GetRe() != f.GetId():
			case a.Error != nil:
				return nil, fmt.Errorf("refused: %d %s", a.Error.GetCode(), a.Error.GetReason())
			default:
				return a, nil
			}
		}
	}
}

func (l *Load) mono() int64 { return 1 + time.Since(l.began).Milliseconds() }

func (p *phone) batch() *sdkpb.Batch {
	return &sdkpb.Batch{SentMs: time.Now().UnixMilli(), SentMonoMs: p.l.mono(), BootId: bootID}
}

// Message is a batch frame with one fix, about 150 bytes.
func (p *phone) message() ([]byte, error) {
	b := p.batch()
	p.seq++
	p.id++
	degrees := math.Mod(math.Mod(p.walk.heading*180/math.Pi, 360)+360, 360)
	b.Items = []*sdkpb.Item{{
		ItemId: fmt.Sprintf("item-%015d", p.seq), Seq: p.seq, OccurredMs: b.SentMs, MonoMs: b.SentMonoMs, BootId: bootID,
		Location: &sdkpb.Location{
			Lat: p.walk.at.Lat, Lng: p.walk.at.Lng, AccuracyM: 8,
			SpeedMps: new(float64(walkMPS)), BearingDeg: new(degrees), AltitudeM: new(31.5),
		},
	}}
	return sdkproto.EncodeFrame(sdkproto.Protobuf{}, &sdkpb.Frame{Id: p.id, Batch: b})
}

// fail notes the first thing that went wrong.
func (l *Load) fail(err error) { l.failure.CompareAndSwap(nil, &err) }

func (l *Load) err() error {
	if e := l.failure.Load(); e != nil {
		return *e
	}
	return nil
}

// read takes answers until the connection ends.
func (p *phone) read() {
	var buf []byte
	for {
		_, r, err := p.conn.NextReader()
		if err != nil {
			if !p.gone.Load() {
				p.l.fail(fmt.Errorf("a connection ended: %w", err))
			}
			return
		}
		buf = buf[:0]
		for err == nil {
			if len(buf) == cap(buf) {
				buf = slices.Grow(buf, 256)
			}
			var n int
			n, err = r.Read(buf[len(buf):cap(buf)])
			buf = buf[:len(buf)+n]
		}
		now := time.Now()
		if p.l.o.AppKey == "" {
			p.answered(now, 0, false)
			continue
		}
		for msg := buf; len(msg) > 0; {
			n, k := binary.Uvarint(msg)
			if k <= 0 || n > uint64(len(msg)-k) {
				p.l.fail(errors.New("an answer that is cut short"))
				return
			}
			re, refused, ack := skim(msg[k : k+int(n)])
			if ack || refused {
				p.answered(now, re, refused)
			}
			msg = msg[k+int(n):]
		}
		if cap(buf) > 1024 {
			buf = nil // regions come once
		}
	}
}

// skim reads of a frame what the run needs, without decoding it: what it answers,
// and whether it is an ack or an error.
func skim(b []byte) (re uint64, refused, ack bool) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		b = b[n:]
		switch num {
		case 2:
			re, _ = protowire.ConsumeVarint(b)
		case 13:
			ack = true
		case 19:
			refused = true
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return
		}
		b = b[n:]
	}
	return
}

// answered takes an answer; that of Bare is to the oldest message.
func (p *phone) answered(now time.Time, re uint64, refused bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.acked == p.next {
		return // of nothing that this run sent
	}
	n := p.acked
	if re != 0 {
		if re < p.first || re >= p.first+p.next {
			return
		}
		n = re - p.first
	}
	p.acked++
	if refused {
		p.refused++
	} else {
		p.took = append(p.took, now.Sub(p.sent[n%window]))
	}
	select {
	case p.turn <- struct{}{}:
	default:
	}
}

// begin prepares a run.
func (p *phone) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.first, p.next, p.acked, p.refused, p.took = p.id+1, 0, 0, 0, nil
	select {
	case <-p.turn:
	default:
	}
}

// depart notes that a message goes out now; false when the credit is used up.
func (p *phone) depart(most uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next-p.acked >= most {
		return false
	}
	p.sent[p.next%window] = time.Now()
	p.next++
	return true
}

func (p *phone) outstanding() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next - p.acked
}

// send sends one message of the run, if there is credit.
func (p *phone) send(seconds float64, most uint64) (bytes int, err error) {
	p.walk.step(seconds)
	if p.outstanding() >= most {
		return 0, nil
	}
	msg, err := p.message()
	if err != nil {
		return 0, err
	}
	p.depart(most)
	return len(msg), p.conn.WriteMessage(websocket.BinaryMessage, msg)
}

// Telemetry has every phone send at a rate per second. Phones take turns evenly.
func (l *Load) Telemetry(ctx context.Context, rate float64, d time.Duration) (Result, error) {
	period := time.Duration(float64(time.Second) / rate)
	var r Result
	var late []time.Duration
	var mu sync.Mutex
	var bytes, sent atomic.Int64
	run := func(worker int) error {
		var behind []time.Duration
		held := 0
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			late, r.Held = append(late, behind...), r.Held+held
		}()
		begin := time.Now()
		n := len(l.phones)
		pause := time.NewTimer(0)
		defer pause.Stop()
		for k := 0; ; k++ {
			for i := worker; i < n; i += senders {
				due := begin.Add(time.Duration(k)*period + period*time.Duration(i)/time.Duration(n))
				if due.Sub(begin) >= d || ctx.Err() != nil || l.err() != nil {
					return ctx.Err()
				}
				if ahead := time.Until(due); ahead > 0 {
					pause.Reset(max(ahead, time.Millisecond)) // a few at a time: a timer costs as much as a message
					<-pause.C
				} else {
					behind = append(behind, -ahead)
				}
				size, err := l.phones[i].send(period.Seconds(), window)
				if err != nil {
					return fmt.Errorf("send: %w", err)
				}
				if size == 0 {
					held++
					continue
				}
				bytes.Add(int64(size))
				sent.Add(1)
			}
		}
	}
	err := l.run(ctx, &r, senders, run)
	r.LateP99 = quantile(late, 0.99)
	r.BytesEach = float64(bytes.Load()) / float64(max(1, sent.Load()))
	return r, err
}

// Saturate has every phone keep Window messages under way.
func (l *Load) Saturate(ctx context.Context, d time.Duration) (Result, error) {
	var r Result
	err := l.run(ctx, &r, len(l.phones), func(i int) error {
		p := l.phones[i]
		end := time.NewTimer(d)
		defer end.Stop()
		for {
			size, err := p.send(0.1, Window)
			if err != nil {
				return fmt.Errorf("send: %w", err)
			}
			if size == 0 {
				select {
				case <-p.turn:
				case <-end.C:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
				continue
			}
			select {
			case <-end.C:
				return nil
			default:
			}
		}
	})
	return r, err
}

// run runs workers, waits for the last acks and adds up.
func (l *Load) run(ctx context.Context, r *Result, workers int, work func(i int) error) error {
	for _, p := range l.phones {
		p.begin()
	}
	began := time.Now()
	var g errgroup.Group
	for i := range workers {
		g.Go(func() error { return work(i) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	patience := time.NewTimer(ackWithin)
	defer patience.Stop()
	for _, p := range l.phones {
		for p.outstanding() > 0 {
			select {
			case <-p.turn:
			case <-patience.C:
				return errors.New("acks are missing")
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(50 * time.Millisecond):
				if err := l.err(); err != nil {
					return err
				}
			}
		}
	}
	r.Elapsed = time.Since(began)
	var took []time.Duration
	for _, p := range l.phones {
		p.mu.Lock()
		took = append(took, p.took...)
		r.Refused += p.refused
		p.mu.Unlock()
	}
	r.Messages = len(took)
	r.AckP50, r.AckP99 = quantile(took, 0.5), quantile(took, 0.99)
	return l.err()
}

// quantile of what is measured; 0 of nothing.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[int(q*float64(len(all)-1))]
}

// Keep closes all but the first n phones.
func (l *Load) Keep(n int) {
	n = min(n, len(l.phones))
	for _, p := range l.phones[n:] {
		p.close()
	}
	l.phones = l.phones[:n]
}

// close ends the connection as a phone does that loses its network.
func (p *phone) close() {
	if p != nil {
		p.gone.Store(true)
		_ = p.conn.Close() // nobody is told
	}
}

// Close ends all connections.
func (l *Load) Close() {
	l.Keep(0)
	l.readers.Wait()
}
