package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/ingest"
	"github.com/footfall-engage/footfall/server/store"
)

// raceRounds is how many phones withdraw in the test below; `make soak` sets 600.
const raceRounds = "FOOTFALL_TEST_RACE_ROUNDS"

// rawPhone speaks the protocol without a client's order: it says what it is told to.
type rawPhone struct {
	s       *story
	install string
	token   string
}

// another serves a second gateway on the server's log and stores until the test ends.
func (s *story) another(adjust ...func(*ingest.Options)) string {
	s.t.Helper()
	g, err := s.app.AnotherGateway(adjust...)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	<-g.Ready()
	web := httptest.NewServer(g.Routes())
	s.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			s.t.Errorf("the other gateway: %v", err)
		}
		web.Close()
	})
	return web.URL
}

func (s *story) rawHello(install string) *sdkpb.Hello {
	return &sdkpb.Hello{
		AppKey: s.keys["android"], InstallId: install, Platform: sdkpb.Platform_PLATFORM_ANDROID, WallMs: s.clock.Now().UnixMilli(),
		Permissions: &sdkpb.Permissions{Location: sdkpb.Permissions_LOCATION_ALWAYS, Precision: sdkpb.Permissions_PRECISION_PRECISE},
		Lifecycle:   sdkpb.Lifecycle_STATE_FOREGROUND,
	}
}

// raw registers a phone.
func (s *story) raw(install string) *rawPhone {
	s.t.Helper()
	p := &rawPhone{s: s, install: install}
	body, err := sdkproto.Protobuf{}.Marshal(s.rawHello(install))
	if err != nil {
		s.t.Fatal(err)
	}
	reply, err := p.send(s.t.Context(), s.url+sdkproto.PathInstall, body)
	if err != nil {
		s.t.Fatal(err)
	}
	p.token = reply.GetHelloOk().GetNewDeviceToken()
	return p
}

// post sends items through a gateway and gives the answer; an error where it is none.
func (p *rawPhone) post(ctx context.Context, gateway string, items ...*sdkpb.Item) (*sdkpb.BatchReply, error) {
	body, err := sdkproto.Protobuf{}.Marshal(&sdkpb.Batch{SentMs: p.s.clock.Now().UnixMilli(), Items: items})
	if err != nil {
		return nil, err
	}
	return p.send(ctx, gateway+sdkproto.PathBatch, body)
}

func (p *rawPhone) send(ctx context.Context, to string, body []byte) (*sdkpb.BatchReply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", sdkproto.ContentTypePB)
	req.Header.Set(sdkproto.HeaderAppKey, p.s.keys["android"])
	req.Header.Set(sdkproto.HeaderInstall, p.install)
	req.Header.Set(sdkproto.HeaderAuthorization, sdkproto.BearerPrefix+p.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	reply := new(sdkpb.BatchReply)
	if err := (sdkproto.Protobuf{}).Unmarshal(b, reply); err != nil {
		return nil, fmt.Errorf("%d: %w", resp.StatusCode, err)
	}
	if e := reply.GetError(); e != nil {
		return reply, fmt.Errorf("%d %s: %s", e.GetCode(), e.GetName(), e.GetReason())
	}
	return reply, nil
}

// rawSocket is an open session.
type rawSocket struct {
	conn    *websocket.Conn
	id      uint64
	welcome *sdkpb.HelloOk
	beside  []*sdkpb.Frame // that came while an answer was waited for
}

// socket opens one through a gateway; change adjusts the hello.
func (p *rawPhone) socket(ctx context.Context, gateway string, change func(*sdkpb.Hello)) (*rawSocket, error) {
	d := websocket.Dialer{Subprotocols: []string{sdkproto.SubprotocolPB}}
	conn, resp, err := d.DialContext(ctx, "ws"+strings.TrimPrefix(gateway, "http")+sdkproto.PathWS, nil)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close() // a handshake has none
	x := &rawSocket{conn: conn}
	h := p.s.rawHello(p.install)
	h.DeviceToken = p.token
	if change != nil {
		change(h)
	}
	f, err := x.ask(&sdkpb.Frame{Hello: h})
	if err == nil && f.GetHelloOk() == nil {
		err = fmt.Errorf("hello was answered %v", f)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	x.welcome = f.GetHelloOk()
	return x, nil
}

func (x *rawSocket) write(f *sdkpb.Frame) error {
	b, err := sdkproto.EncodeFrame(sdkproto.Protobuf{}, f)
	if err != nil {
		return err
	}
	return x.conn.WriteMessage(websocket.BinaryMessage, b)
}

// read gives the frames of the next message, within 20 s.
func (x *rawSocket) read() ([]*sdkpb.Frame, error) {
	if err := x.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, err
	}
	_, b, err := x.conn.ReadMessage()
	if err != nil {
		return nil, err
	}
	return sdkproto.Protobuf{}.DecodeFrames(b, 0)
}

// ask sends a frame and waits for its answer.
func (x *rawSocket) ask(f *sdkpb.Frame) (*sdkpb.Frame, error) {
	x.id++
	f.Id = x.id
	if err := x.write(f); err != nil {
		return nil, err
	}
	for {
		frames, err := x.read()
		if err != nil {
			return nil, err
		}
		var answer *sdkpb.Frame
		for _, a := range frames {
			if a.GetRe() == f.GetId() {
				answer = a
			} else {
				x.beside = append(x.beside, a)
			}
		}
		if answer != nil {
			return answer, nil
		}
	}
}

func consented(seq uint64, p sdkpb.Consent_Purpose, granted bool) *sdkpb.Item {
	return &sdkpb.Item{Seq: seq, Consent: &sdkpb.Consent{Purpose: p, Granted: granted, TextVersion: "v1", Source: "settings"}}
}

// sentFix is a fix that was sent while somebody withdrew: number n of its phone,
// which is where it lies and when it was made.
type sentFix struct {
	n     int
	seq   uint64
	begun time.Time
	ended time.Time
	taken bool // acknowledged, and not refused
}

// Phones withdraw their consent through one gateway while their fixes go through
// another, which does not hear of it: both append to one log. What begins after the
// withdrawal was acknowledged is not located, whatever its seq; nor is what was made
// between it and the next yes, whenever it comes. What was answered before is history.
func TestAWithdrawalWinsOverFixesThroughAnotherGateway(t *testing.T) {
	rounds := 24
	if s := os.Getenv(raceRounds); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	s := newStory(t)
	s.place("cafe", cafe)
	other := s.another()
	const (
		fg, bg, precise = sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND, sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND, sdkpb.Consent_PURPOSE_LOCATION_PRECISE
	)
	// What is withdrawn, and whether it is given again.
	kinds := []struct {
		name     string
		purposes []sdkpb.Consent_Purpose
		again    bool
	}{
		{"location", []sdkpb.Consent_Purpose{fg, bg}, false},
		{"precise", []sdkpb.Consent_Purpose{precise}, false},
		{"location, and given again", []sdkpb.Consent_Purpose{fg, bg}, true},
		{"precise, and given again", []sdkpb.Consent_Purpose{precise}, true},
	}
	const withdrawal, yes = 1000, 2000 // seqs
	phones := make([]*rawPhone, rounds)
	for i := range phones {
		phones[i] = s.raw(fmt.Sprintf("racer-%04d", i))
		if _, err := phones[i].post(t.Context(), s.url, consented(1, fg, true), consented(2, bg, true), consented(3, precise, true)); err != nil {
			t.Fatal(err)
		}
	}
	s.settle()
	if err := s.app.Flush(t.Context()); err != nil { // so that the other gateway finds the consents
		t.Fatal(err)
	}

	for i, p := range phones {
		kind := kinds[i%len(kinds)]
		var mu sync.Mutex
		var sent []sentFix
		var count atomic.Int64
		next := func(seq uint64) (*sdkpb.Item, sentFix) {
			n := int(count.Add(1))
			at := s.clock.Now().Add(time.Duration(n-2000) * 50 * time.Millisecond)
			return &sdkpb.Item{
				Seq: seq, OccurredMs: at.UnixMilli(),
				Location: &sdkpb.Location{Lat: cafe.Lat + float64(n)*1e-6, Lng: cafe.Lng, AccuracyM: 5},
			}, sentFix{n: n, seq: seq, begun: time.Now()}
		}
		done := func(f sentFix, ack *sdkpb.Ack, err error) {
			f.ended, f.taken = time.Now(), err == nil && len(ack.GetRejects()) == 0
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			sent = append(sent, f)
		}
		var overtaking, between, after atomic.Uint64 // seqs: before the withdrawal, after it, after the next yes
		overtaking.Store(10)
		between.Store(withdrawal + 10)
		after.Store(yes + 10)

		var phase atomic.Int32 // how far the person is: 1 withdrew, 2 agreed again, 3 it is over
		var fixers sync.WaitGroup
		started := make(chan struct{}, 4)
		seqOf := func(k int) uint64 {
			switch {
			case kind.again && phase.Load() >= 2 && k%3 == 2:
				return after.Add(1)
			case k%3 == 0:
				return overtaking.Add(1)
			}
			return between.Add(1)
		}
		for range 3 {
			fixers.Go(func() {
				for k := 0; phase.Load() < 3; k++ {
					item, f := next(seqOf(k))
					reply, err := p.post(t.Context(), other, item)
					done(f, reply.GetAck(), err)
					if k == 0 {
						started <- struct{}{}
					}
				}
			})
		}
		fixers.Go(func() {
			x, err := p.socket(t.Context(), other, nil)
			if err != nil {
				t.Error(err)
				started <- struct{}{}
				return
			}
			defer x.conn.Close() //nolint:errcheck // it is over
			for k := 0; phase.Load() < 3; k++ {
				item, f := next(seqOf(k))
				answer, err := x.ask(&sdkpb.Frame{Batch: &sdkpb.Batch{SentMs: s.clock.Now().UnixMilli(), Items: []*sdkpb.Item{item}}})
				if err == nil && answer.GetAck() == nil {
					err = fmt.Errorf("a fix was answered %v", answer)
				}
				done(f, answer.GetAck(), err)
				if k == 0 {
					started <- struct{}{}
				}
			}
		})
		for range 4 {
			<-started
		}
		say := func(seq uint64, granted bool) (begun, ended time.Time) {
			begun = time.Now()
			var items []*sdkpb.Item
			for j, purpose := range kind.purposes {
				items = append(items, consented(seq+uint64(j), purpose, granted))
			}
			reply, err := p.post(t.Context(), s.url, items...)
			if err != nil || len(reply.GetAck().GetRejects()) > 0 {
				t.Fatalf("%v %v", reply, err)
			}
			return begun, time.Now()
		}
		more := func(n int64) { // as many more fixes
			for to := count.Load() + n; count.Load() < to; {
				time.Sleep(100 * time.Microsecond) //nolint:forbidigo // the fixers are not to be hurried
			}
		}
		withdraws, withdrew := say(withdrawal, false)
		phase.Store(1)
		more(8)
		var agreed time.Time
		if kind.again {
			_, agreed = say(yes, true)
			phase.Store(2)
			more(8)
		}
		phase.Store(3)
		fixers.Wait()

		s.settle()
		if err := s.app.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		located := map[int]bool{}
		for _, fix := range s.track(p.install) {
			located[int(math.Round((fix.Pos.Lat-cafe.Lat)*1e6))] = true
		}
		late := 0
		for _, f := range sent {
			switch afterYes := kind.again && f.seq > yes && f.begun.After(agreed); {
			case f.ended.Before(withdraws) && f.seq < withdrawal && !located[f.n]:
				t.Errorf("%s: fix %d was answered before the withdrawal and is not there", kind.name, f.seq)
			case afterYes && !located[f.n]:
				t.Errorf("%s: fix %d was made after the person agreed again and is not there", kind.name, f.seq)
			case f.begun.After(withdrew) && !afterYes:
				late++
				if located[f.n] {
					t.Errorf("%s: fix %d began %v after the withdrawal was acknowledged, and was located", kind.name, f.seq, f.begun.Sub(withdrew))
				}
				if !f.taken {
					t.Errorf("the other gateway refused fix %d: it knew, and nothing was raced", f.seq)
				}
			}
		}
		if late == 0 {
			t.Errorf("%s: no fix came after the withdrawal", kind.name)
		}
		in, err := s.app.InstallState(t.Context(), "default", p.install)
		if err != nil {
			t.Fatal(err)
		}
		if kind.again {
			continue
		}
		if in.Fix != nil || len(in.Places()) > 0 || !in.Tracks.IsZero() || kind.name == "location" && in.Coarse != 0 {
			t.Errorf("%s: the state still has fix %t, cell %t, visits %v, track %t", kind.name, in.Fix != nil, in.Coarse != 0, in.Places(), !in.Tracks.IsZero())
		}
		// The gateway that heard the withdrawal refuses at the door.
		item, _ := next(3000)
		reply, err := p.post(t.Context(), s.url, item)
		if err != nil || (len(reply.GetAck().GetRejects()) > 0) != (kind.name == "location") {
			t.Errorf("%s: the gateway of the withdrawal answers %v, %v", kind.name, reply, err)
		}
	}
}

// track is all that is kept of where an install was: in the history and in its state.
func (s *story) track(install string) (all []geo.TrackFix) {
	s.t.Helper()
	err := s.app.States().Iterate(s.t.Context(), "tracks", store.Query{Workspace: "default", IDPrefix: install + "/"}, func(d store.Doc) error {
		var c engage.TrackChunk
		if err := json.Unmarshal(d.Body, &c); err != nil {
			return err
		}
		all = append(all, c.Track.Fixes()...)
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	in, err := s.app.InstallState(s.t.Context(), "default", install)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, o := range in.Tracks.Open() {
		all = append(all, o.Track.Fixes()...)
	}
	return all
}
