package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/eventlog/eventlogtest"
	"github.com/footfall-engage/footfall/server/ingest"
)

func opened(seq uint64) *sdkpb.Item {
	return &sdkpb.Item{Seq: seq, ItemId: fmt.Sprint(seq), Event: &sdkpb.Event{Name: "opened"}}
}

func seqs(items []*sdkpb.Item) []uint64 {
	var out []uint64
	for _, i := range items {
		out = append(out, i.Seq)
	}
	return out
}

// inbound reads the frames of a socket beside the test.
func (r *raw) inbound() <-chan *sdkpb.Frame {
	frames := make(chan *sdkpb.Frame, 1000)
	go func() {
		defer close(frames)
		for {
			f, err := r.read()
			if err != nil {
				return
			}
			frames <- f
		}
	}()
	return frames
}

// told is what the phone hears when the wheel has turned for long enough.
func (w *world) told(frames <-chan *sdkpb.Frame) *sdkpb.Frame {
	w.t.Helper()
	var heard *sdkpb.Frame
	w.tickUntil("word to wait", func() bool {
		select {
		case heard = <-frames:
			return true
		default:
			return false
		}
	})
	return heard
}

// answer is the next frame that answers one: a phone that waits may be told so again
// meanwhile.
func answer(frames <-chan *sdkpb.Frame) *sdkpb.Frame {
	for f := range frames {
		if f.Re != 0 {
			return f
		}
	}
	return &sdkpb.Frame{}
}

func TestASocketPhoneIsToldToWaitWhileTheLogIsSilent(t *testing.T) {
	bothCodecs(t, func(t *testing.T, codec sdkproto.Codec) {
		w := newWorld(t, ingest.Limits{})
		r := w.open("phone-00001", codec)
		idle := w.open("phone-00002", codec)
		frames := r.inbound()
		w.log.set(func() { w.log.hold = true })
		r.send(&sdkpb.Frame{Id: 2, Batch: batch(opened(1))})
		until(t, "append", func() bool { return w.log.waiting() == 1 })
		told := w.told(frames)
		if told.Re != 0 || told.Error.GetCode() != uint32(sdkproto.ErrRate) || told.Error.RetryAfterMs < 1000 || !told.Error.Retryable {
			t.Fatalf("told %v", told)
		}
		if h := w.gateway.LogHealth(); h.Stalled != 1 || h.Waiting != 1 || h.Silent < 3*time.Second || h.Bytes == 0 {
			t.Errorf("health %+v", h)
		}
		r.send(&sdkpb.Frame{Id: 3, Ping: &sdkpb.Ping{}})
		if f := answer(frames); f.Pong == nil || f.Re != 3 {
			t.Fatalf("a ping was answered by %v", f)
		}
		r.send(&sdkpb.Frame{Id: 4, Batch: batch(opened(2))})
		if f := answer(frames); f.Re != 4 || !f.Error.GetRetryable() || f.Error.RetryAfterMs == 0 {
			t.Fatalf("a second batch was answered by %v", f)
		}
		if n := w.log.waiting(); n != 1 {
			t.Errorf("%d appends wait: what is refused must not be taken", n)
		}
		// However long it takes, it is told now and then, not all the time.
		words := 0
		for range 20 {
			w.tick()
			r.send(&sdkpb.Frame{Id: 5, Ping: &sdkpb.Ping{}})
			for f := range frames {
				if f.Pong != nil {
					break
				}
				words++
			}
		}
		if words < 1 || words > 12 {
			t.Errorf("told %d times in 20 s", words)
		}
		w.log.release()
		f := <-frames
		for f.Re == 0 && f.Error != nil { // said before it was back
			f = <-frames
		}
		if f.Re != 2 || f.Ack == nil {
			t.Fatalf("when the log is back: %v", f)
		}
		w.clock.Advance(time.Minute)
		r.send(&sdkpb.Frame{Id: 6, Batch: batch(opened(2))})
		if f := <-frames; f.Re != 6 || f.Ack == nil {
			t.Fatalf("what was refused is sent again: %v", f)
		}
		if got := seqs(w.log.items(t, "phone-00001")); !slices.Equal(got, []uint64{1, 2}) {
			t.Errorf("logged %v", got)
		}
		idle.send(&sdkpb.Frame{Id: 2, Ping: &sdkpb.Ping{}})
		if f := idle.next(); f.Pong == nil {
			t.Errorf("who sent nothing was told %v", f)
		}
		until(t, "health", func() bool {
			w.clock.Advance(time.Second)
			return w.gateway.LogHealth() == ingest.LogHealth{} && strings.Contains(w.logs.String(), "answers again")
		})
		if n := strings.Count(w.logs.String(), "does not answer"); n != 1 {
			t.Errorf("logged %d times, not once per change:\n%s", n, w.logs)
		}
	})
}

func TestNothingOvertakesABatchThatWasRefused(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	r := w.open("phone-00001", sdkproto.Protobuf{})
	w.log.set(func() { w.log.busy = 1 })
	r.send(
		&sdkpb.Frame{Id: 2, Batch: batch(opened(1))},
		&sdkpb.Frame{Id: 3, Batch: batch(opened(2))}, // on its way before the phone heard of the refusal
	)
	for _, re := range []uint64{2, 3} {
		if f := r.next(); f.Re != re || f.Error.GetCode() != uint32(sdkproto.ErrRate) || f.Error.RetryAfterMs == 0 {
			t.Fatalf("answer to frame %d: %v", re, f)
		}
	}
	w.clock.Advance(2 * time.Second)
	for seq := range uint64(2) {
		r.send(&sdkpb.Frame{Id: 4 + seq, Batch: batch(opened(1 + seq))})
		if f := r.next(); f.Re != 4+seq || f.Ack == nil {
			t.Fatalf("answer to item %d: %v", 1+seq, f)
		}
	}
	if got := seqs(w.log.items(t, "phone-00001")); !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("logged %v", got)
	}
}

// answered is a POST's answer, once the wheel has turned for long enough.
type answered struct {
	reply  *sdkpb.BatchReply
	status int
}

func (w *world) postBeside(path string, m proto.Message, header map[string]string) <-chan answered {
	got := make(chan answered, 1)
	go func() {
		reply, status := w.post(path, m, header)
		got <- answered{reply, status}
	}()
	return got
}

func (w *world) eventually(got <-chan answered) (a answered) {
	w.t.Helper()
	w.tickUntil("answer", func() bool {
		select {
		case a = <-got:
			return true
		default:
			return false
		}
	})
	return a
}

func (w *world) mustWait(what string, a answered) {
	w.t.Helper()
	e := a.reply.GetError()
	if a.status != http.StatusServiceUnavailable || a.reply.GetAck() != nil || a.reply.GetHelloOk() != nil ||
		e.GetCode() != uint32(sdkproto.ErrInternal) || !e.Retryable || e.RetryAfterMs < 1000 {
		w.t.Errorf("%s: %d %v", what, a.status, a.reply)
	}
}

func TestAPostIsToldToWaitWhileTheLogIsSilent(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	token := w.token("phone-00001")
	w.log.set(func() { w.log.hold = true })
	send := batch(opened(1))
	first := w.postBeside(sdkproto.PathBatch, send, auth("phone-00001", token))
	until(t, "append", func() bool { return w.log.waiting() == 1 })
	w.mustWait("the first", w.eventually(first))
	reply, status := w.post(sdkproto.PathBatch, send, auth("phone-00001", token))
	w.mustWait("the second", answered{reply, status})
	if n := w.log.waiting(); n != 1 {
		t.Errorf("%d appends wait: what is refused must not be taken", n)
	}
	if reply, status := w.post(sdkproto.PathBatch, batch(), auth("phone-00001", token)); status != http.StatusOK {
		t.Errorf("a question, which needs no log: %d %v", status, reply)
	}
	w.release() // it lands, though nobody was told
	if reply, status := w.post(sdkproto.PathBatch, send, auth("phone-00001", token)); status != http.StatusOK || reply.Ack == nil {
		t.Errorf("sent again: %d %v", status, reply)
	}
	// The log has it twice under one (install, seq), which takes effect once.
	if got := seqs(w.log.items(t, "phone-00001")); !slices.Equal(got, []uint64{1, 1}) {
		t.Errorf("logged %v", got)
	}
}

func TestARegistrationIsToldToWaitWhileTheLogIsSilent(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	w.log.set(func() { w.log.hold = true })
	first := w.postBeside(sdkproto.PathInstall, hello("phone-00001"), nil)
	until(t, "append", func() bool { return w.log.waiting() == 1 })
	w.mustWait("the first", w.eventually(first))
	before, err := w.creds.Credential(t.Context(), ws, "phone-00001")
	if err != nil {
		t.Fatal(err)
	}
	reply, status := w.post(sdkproto.PathInstall, hello("phone-00001"), nil)
	w.mustWait("the second", answered{reply, status})
	if after, _ := w.creds.Credential(t.Context(), ws, "phone-00001"); after.Version != before.Version {
		t.Error("a token was made that nobody can be told")
	}
	w.release()
	token := w.token("phone-00001")
	if _, status := w.post(sdkproto.PathBatch, batch(opened(1)), auth("phone-00001", token)); status != http.StatusOK {
		t.Errorf("the token that was told: %d", status)
	}
}

// others is an install of another slot than that of the given.
func others(install string) string {
	for i := 0; ; i++ {
		id := fmt.Sprintf("other-%05d", i)
		if engage.SlotOf(engage.InstallKey(ws, id)) != engage.SlotOf(engage.InstallKey(ws, install)) {
			return id
		}
	}
}

func TestAHelloIsToldToWaitWhileTheLogIsSilentAndOthersAreServed(t *testing.T) {
	w := newWorld(t, ingest.Limits{StallAfter: 8 * time.Second}) // longer than the time for hello
	const phone = "phone-00001"
	other := others(phone)
	token, otherToken := w.token(phone), w.token(other)
	w.log.set(func() { w.log.hold, w.log.holds = true, func(install string) bool { return install == phone } })
	greet := func(install, token string) *raw {
		r := w.dial(sdkproto.Protobuf{})
		h := hello(install)
		h.DeviceToken = token
		r.send(&sdkpb.Frame{Id: 1, Hello: h})
		return r
	}
	type end struct {
		errs []*sdkpb.Error
		code sdkproto.CloseCode
	}
	waiting := greet(phone, token)
	ended := make(chan end, 1)
	go func() {
		errs, code := waiting.closed()
		ended <- end{errs, code}
	}()
	until(t, "append", func() bool { return w.log.waiting() == 1 })
	var first end
	w.tickUntil("answer", func() bool {
		select {
		case first = <-ended:
			return true
		default:
			return false
		}
	})
	errs, code := greet(phone, token).closed() // at once
	for i, e := range []end{first, {errs, code}} {
		if e.code != sdkproto.CloseInternal || len(e.errs) != 1 || !e.errs[0].Retryable || e.errs[0].RetryAfterMs < 1000 {
			t.Errorf("hello %d: closed with %d after %v", i, e.code, e.errs)
		}
	}
	if n := w.log.waiting(); n != 2 {
		t.Errorf("%d entries wait, should be the first hello and that nobody is there any more", n)
	}
	served := greet(other, otherToken)
	if f := served.next(); f.HelloOk == nil {
		t.Errorf("another partition's phone: %v", f)
	}
	served.send(&sdkpb.Frame{Id: 2, Batch: batch(opened(1))})
	if f := served.next(); f.Ack == nil {
		t.Errorf("another partition's phone: %v", f)
	}
	w.release()
	if f := greet(phone, token).next(); f.HelloOk == nil {
		t.Errorf("when the log is back: %v", f)
	}
}

func TestWhatWaitsForTheLogIsBounded(t *testing.T) {
	const most = 64 << 10
	w := newWorld(t, ingest.Limits{MaxWaiting: most, ItemBurst: 100_000})
	var phones []*raw
	for i := range 20 {
		phones = append(phones, w.open(fmt.Sprintf("phone-%05d", i), sdkproto.Protobuf{}))
	}
	w.log.set(func() { w.log.hold = true })
	refused := 0
	for _, r := range phones {
		item := opened(1)
		item.Event.PropertiesJson = `{"x":"` + strings.Repeat("x", 8<<10) + `"}`
		r.send(&sdkpb.Frame{Id: 2, Batch: batch(item)}, &sdkpb.Frame{Id: 3, Ping: &sdkpb.Ping{}})
		if f := r.next(); f.Error != nil {
			refused++
			if f.Re != 2 || f.Error.Code != uint32(sdkproto.ErrRate) || f.Error.RetryAfterMs < 1000 {
				t.Fatalf("refused with %v", f)
			}
		}
	}
	if h := w.gateway.LogHealth(); refused < 10 || h.Bytes > most+16<<10 || h.Waiting+refused != 20 {
		t.Errorf("%d refused, %+v", refused, h)
	}
	w.log.release()
	until(t, "empty log", func() bool { return w.gateway.LogHealth() == ingest.LogHealth{} })
}

// broker is a stream that can be away: what is asked of it meanwhile is not
// answered in time, and some of what is appended lands all the same.
type broker struct {
	eventlog.Stream
	away  atomic.Bool
	asked atomic.Int64
}

var errAway = errors.New("no answer")

func (b *broker) Append(ctx context.Context, subject string, data []byte, expectedLast int64) (uint64, error) {
	if !b.away.Load() {
		return b.Stream.Append(ctx, subject, data, expectedLast)
	}
	if b.asked.Add(1)%2 == 1 {
		_, _ = b.Stream.Append(ctx, subject, data, expectedLast)
	}
	<-ctx.Done()
	return 0, errAway
}

func (b *broker) Bounds(ctx context.Context) (first, last uint64, err error) {
	if b.away.Load() {
		return 0, 0, errAway
	}
	return b.Stream.Bounds(ctx)
}

// written is a log over one writer.
type written struct{ *eventlog.Writer }

func (l written) AppendAsync(_, _ string, entries []engage.Entry, done func(error)) error {
	err := l.Writer.AppendAsync(entries, func(_ uint64, err error) { done(err) })
	if errors.Is(err, eventlog.ErrBusy) {
		return &engage.Error{Code: engage.RateLimited, Msg: "busy", Err: err}
	}
	return err
}

// The broker goes away again and again under phones that go on: their sessions
// stay, everything is acknowledged, and the log has it once and in order.
func TestPhonesLiveThroughABrokerThatGoesAwayAndComesBack(t *testing.T) {
	const phones, rounds, each = 12, 2, 20
	log := new(eventlogtest.Memory).Open()
	defer func() { _ = log.Close() }()
	stream, err := log.Open(t.Context(), "IN_0", "in.0.>")
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{Stream: stream}
	writer := eventlog.NewWriter(b, eventlog.WriterOptions{
		Partition: "in/0", Subject: func(ws string) string { return "in.0." + ws }, Now: func() time.Time { return noon },
		Timeout: 20 * time.Millisecond, MaxPending: phones * each / 2, // too few for all
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := writer.Run(ctx); err != nil {
			t.Errorf("writer: %v", err)
		}
	})
	w := newWorldOn(t, ingest.Limits{}, written{writer})
	wg.Go(func() { // the clock runs fast
		for ctx.Err() == nil {
			w.clock.Advance(100 * time.Millisecond)
			<-time.After(2 * time.Millisecond)
		}
	})
	defer wg.Wait()
	defer cancel()

	var ps []*phone
	for i := range phones {
		p := w.phone(fmt.Sprintf("phone-%05d", i), sdkproto.Protobuf{}, func(o *client.Options) { o.Clock = func() time.Time { return noon } })
		if err := p.Foreground(t.Context()); err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	until(t, "sessions", func() bool { return w.gateway.Sessions().Count() == phones })
	for range rounds {
		b.away.Store(true)
		for i := range each {
			for _, p := range ps {
				if _, err := p.Track(fmt.Sprintf("event %d", i), nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		until(t, "stall", func() bool { return w.gateway.LogHealth().Stalled > 0 })
		b.away.Store(false)
		until(t, "empty queues", func() bool {
			return !slices.ContainsFunc(ps, func(p *phone) bool { return p.Pending() > 0 })
		})
	}
	_, last, err := stream.Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	msgs, err := stream.Read(t.Context(), 1, int(last))
	if err != nil {
		t.Fatal(err)
	}
	items, hellos := map[string][]uint64{}, map[string]int{}
	for _, m := range msgs {
		entries, err := engage.DecodeRecord(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Kind == engage.KindSession {
				hellos[e.Key]++
				continue
			}
			item := new(sdkpb.Item)
			if err := proto.Unmarshal(e.Body, item); err != nil {
				t.Fatal(err)
			}
			items[e.Key] = append(items[e.Key], item.Seq)
		}
	}
	if len(items) != phones {
		t.Errorf("items of %d phones", len(items))
	}
	for _, key := range slices.Sorted(maps.Keys(items)) {
		var want []uint64
		for seq := range uint64(rounds * each) {
			want = append(want, seq+1)
		}
		if !slices.Equal(items[key], want) {
			t.Errorf("%s: logged %v", key, items[key])
		}
		if hellos[key] != 1 {
			t.Errorf("%s: %d sessions", key, hellos[key])
		}
	}
}
