package ingest_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/ingest"
)

func TestABadHelloIsToldWhatIsWrong(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	taken := w.token("phone-taken")
	w.judgements(auth("phone-taken", taken), batch())
	for name, c := range map[string]struct {
		change func(*sdkpb.Hello)
		code   sdkproto.ErrorCode
		close  sdkproto.CloseCode
		status int
		field  string
	}{
		"wrong app key":    {func(h *sdkpb.Hello) { h.AppKey = "ffa_wrong" }, sdkproto.ErrAppKey, sdkproto.CloseAppKey, 401, "app_key"},
		"wrong platform":   {func(h *sdkpb.Hello) { h.Platform = sdkpb.Platform_PLATFORM_IOS }, sdkproto.ErrAppKey, sdkproto.CloseAppKey, 401, "platform"},
		"disabled app":     {func(h *sdkpb.Hello) { h.AppKey = off }, sdkproto.ErrBlocked, sdkproto.CloseBlocked, 403, "app_key"},
		"wrong token":      {func(h *sdkpb.Hello) { h.DeviceToken = "wrong" }, sdkproto.ErrToken, sdkproto.CloseToken, 401, "device_token"},
		"another's token":  {func(h *sdkpb.Hello) { h.DeviceToken = taken }, sdkproto.ErrToken, sdkproto.CloseToken, 401, "device_token"},
		"taken install":    {func(h *sdkpb.Hello) { h.InstallId = "phone-taken" }, sdkproto.ErrToken, sdkproto.CloseToken, 401, "device_token"},
		"bad install id":   {func(h *sdkpb.Hello) { h.InstallId = "a/b" }, sdkproto.ErrNoHello, sdkproto.CloseNoHello, 400, "install_id"},
		"no app key":       {func(h *sdkpb.Hello) { h.AppKey = "" }, sdkproto.ErrNoHello, sdkproto.CloseNoHello, 400, "app_key"},
		"no wall clock":    {func(h *sdkpb.Hello) { h.WallMs = 0 }, sdkproto.ErrNoHello, sdkproto.CloseNoHello, 400, "wall_ms"},
		"future version":   {func(h *sdkpb.Hello) { h.ProtoMin, h.ProtoMax = 7, 9 }, sdkproto.ErrVersion, sdkproto.CloseVersion, 426, "proto_max"},
		"unknown platform": {func(h *sdkpb.Hello) { h.Platform = 77 }, sdkproto.ErrNoHello, sdkproto.CloseNoHello, 400, "platform"},
	} {
		t.Run(name, func(t *testing.T) {
			bothCodecs(t, func(t *testing.T, codec sdkproto.Codec) {
				h := hello("phone-00001")
				c.change(h)
				r := w.dial(codec)
				r.send(&sdkpb.Frame{Id: 1, Hello: h})
				errs, code := r.closed()
				if code != c.close || len(errs) != 1 || errs[0].Code != uint32(c.code) || errs[0].Field != c.field || errs[0].Reason == "" {
					t.Errorf("closed with %d after %v", code, errs)
				}
			})
			h := hello("phone-00001")
			c.change(h)
			reply, status := w.post(sdkproto.PathInstall, h, nil)
			if status != c.status || reply.Error.GetCode() != uint32(c.code) || reply.Error.Field != c.field {
				t.Errorf("POST: %d %v", status, reply)
			}
		})
	}
}

// Each of these closes its own connection with the code for the SDK; a neighbour
// goes on.
func TestBadBytesCloseOnlyTheirOwnConnection(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	neighbour := w.open("neighbour-1", sdkproto.Protobuf{})
	frame, err := sdkproto.EncodeFrame(sdkproto.Protobuf{}, &sdkpb.Frame{Id: 9, Batch: batch(fix(1, 1, 1))})
	if err != nil {
		t.Fatal(err)
	}
	many := sdkproto.Codec(sdkproto.Protobuf{})
	var pings []byte
	for range sdkproto.MaxFramesPerWSMsg + 1 {
		if pings, err = many.AppendFrame(pings, &sdkpb.Frame{Ping: &sdkpb.Ping{}}); err != nil {
			t.Fatal(err)
		}
	}
	empty := bytes.Repeat([]byte{0x2a, 0}, sdkproto.MaxBatchItems+1) // field 5, length 0: an item
	tooMany := append([]byte{0x62}, binary.AppendUvarint(nil, uint64(len(empty)))...)
	tooMany = append(tooMany, empty...)
	tooMany = append(binary.AppendUvarint(nil, uint64(len(tooMany))), tooMany...)
	for name, c := range map[string]struct {
		codec sdkproto.Codec
		kind  int
		bytes []byte
		code  sdkproto.ErrorCode
		close sdkproto.CloseCode
	}{
		"1 MiB frame":           {sdkproto.Protobuf{}, websocket.BinaryMessage, make([]byte, 1<<20), sdkproto.ErrTooLarge, sdkproto.CloseTooLarge},
		"one byte too much":     {sdkproto.JSON{}, websocket.TextMessage, make([]byte, sdkproto.MaxFrameBytes+1), sdkproto.ErrTooLarge, sdkproto.CloseTooLarge},
		"truncated protobuf":    {sdkproto.Protobuf{}, websocket.BinaryMessage, frame[:len(frame)-3], sdkproto.ErrMalformed, sdkproto.CloseMalformed},
		"not protobuf":          {sdkproto.Protobuf{}, websocket.BinaryMessage, []byte("\x05hello world"), sdkproto.ErrMalformed, sdkproto.CloseMalformed},
		"not JSON":              {sdkproto.JSON{}, websocket.TextMessage, []byte(`{"id":`), sdkproto.ErrMalformed, sdkproto.CloseMalformed},
		"deep JSON":             {sdkproto.JSON{}, websocket.TextMessage, []byte(strings.Repeat("[", 1000)), sdkproto.ErrMalformed, sdkproto.CloseMalformed},
		"text for protobuf":     {sdkproto.Protobuf{}, websocket.TextMessage, frame, sdkproto.ErrMalformed, sdkproto.CloseMalformed},
		"protobuf for JSON":     {sdkproto.JSON{}, websocket.BinaryMessage, frame, sdkproto.ErrMalformed, sdkproto.CloseMalformed},
		"257 frames":            {sdkproto.Protobuf{}, websocket.BinaryMessage, pings, sdkproto.ErrTooLarge, sdkproto.CloseTooLarge},
		"501 items in JSON":     {sdkproto.JSON{}, websocket.TextMessage, []byte(`{"batch":{"items":[{}` + strings.Repeat(",{}", sdkproto.MaxBatchItems) + `]}}`), sdkproto.ErrTooLarge, sdkproto.CloseTooLarge},
		"501 items of no bytes": {sdkproto.Protobuf{}, websocket.BinaryMessage, tooMany, sdkproto.ErrTooLarge, sdkproto.CloseTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			for _, greeted := range []bool{false, true} {
				if name == "257 frames" && !greeted {
					continue // its first frame is not hello, which is said first
				}
				var r *raw
				if greeted {
					r = w.open(fmt.Sprintf("bad-phone-%d", len(name)), c.codec)
					w.creds.mu.Lock()
					clear(w.creds.byID) // the next of the same name registers anew
					w.creds.mu.Unlock()
				} else {
					r = w.dial(c.codec)
				}
				r.sendBytes(c.kind, c.bytes)
				errs, code := r.closed()
				if code != c.close || len(errs) == 0 || errs[len(errs)-1].Code != uint32(c.code) {
					t.Errorf("greeted %t: closed with %d after %v", greeted, code, errs)
				}
			}
		})
	}
	neighbour.send(&sdkpb.Frame{Id: 3, Ping: &sdkpb.Ping{}})
	if f := neighbour.next(); f.Pong == nil || f.Re != 3 {
		t.Errorf("the neighbour got %v", f)
	}
}

// What went before a faulty frame is answered before the close, and counts.
func TestAFaultyFrameLosesNothingThatWentBefore(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	r := w.open("phone-00001", sdkproto.Protobuf{})
	w.log.set(func() { w.log.hold = true })
	r.send(&sdkpb.Frame{Id: 2, Batch: batch(&sdkpb.Item{Seq: 1, Event: &sdkpb.Event{Name: "x"}})})
	r.sendBytes(websocket.BinaryMessage, []byte{200})
	until(t, "append", func() bool { return w.log.waiting() == 1 })
	w.log.release()
	if f := r.next(); f.Ack == nil || f.Re != 2 {
		t.Errorf("first came %v", f)
	}
	if errs, code := r.closed(); code != sdkproto.CloseMalformed || len(errs) != 1 {
		t.Errorf("closed with %d after %v", code, errs)
	}
}

func TestFaultsThatAConnectionSurvives(t *testing.T) {
	bothCodecs(t, func(t *testing.T, codec sdkproto.Codec) {
		w := newWorld(t, ingest.Limits{Credit: 3})
		r := w.open("phone-00001", codec)
		event := func(n int) *sdkpb.Batch {
			b := batch()
			for i := range n {
				b.Items = append(b.Items, &sdkpb.Item{Seq: uint64(i + 1), Event: &sdkpb.Event{Name: "x"}})
			}
			return b
		}
		for i, c := range []struct {
			frame *sdkpb.Frame
			code  sdkproto.ErrorCode
			field string
		}{
			{&sdkpb.Frame{}, sdkproto.ErrUnknownFrame, ""},
			{&sdkpb.Frame{Ping: &sdkpb.Ping{}, Pong: &sdkpb.Pong{}}, sdkproto.ErrMalformed, ""},
			{&sdkpb.Frame{Hello: hello("phone-00001")}, sdkproto.ErrMalformed, ""},
			{&sdkpb.Frame{HelloOk: &sdkpb.HelloOk{}}, sdkproto.ErrMalformed, ""},
			{&sdkpb.Frame{Claim: &sdkpb.Claim{}}, sdkproto.ErrMalformed, "claim.message_id"},
			{&sdkpb.Frame{Claim: &sdkpb.Claim{MessageId: strings.Repeat("x", 500)}}, sdkproto.ErrMalformed, "claim.message_id"},
			{&sdkpb.Frame{Batch: &sdkpb.Batch{BatchId: strings.Repeat("x", 500)}}, sdkproto.ErrMalformed, "batch.batch_id"},
			{&sdkpb.Frame{Batch: event(4)}, sdkproto.ErrCredit, "batch.items"},
		} {
			c.frame.Id = uint64(10 + i)
			r.send(c.frame)
			f := r.next()
			if f.Re != c.frame.Id || f.Error.GetCode() != uint32(c.code) || f.Error.Field != c.field {
				t.Errorf("%v was answered %v", c.frame, f)
			}
		}
		r.send(&sdkpb.Frame{Id: 99, Batch: event(3)})
		if f := r.next(); f.Ack == nil || f.Re != 99 {
			t.Errorf("within the credit: %v", f)
		}
	})
}

// The ack of a batch that is bad throughout fits into a message of either codec,
// and names every item.
func TestAnAckOfManyRejectsFits(t *testing.T) {
	bothCodecs(t, func(t *testing.T, codec sdkproto.Codec) {
		w := newWorld(t, ingest.Limits{})
		r := w.open("phone-00001", codec)
		b := batch()
		for i := range 480 {
			b.Items = append(b.Items, &sdkpb.Item{Seq: uint64(i + 1), ItemId: strings.Repeat("x", 50)})
		}
		r.send(&sdkpb.Frame{Id: 2, Batch: b})
		f := r.next()
		if len(f.Ack.GetRejects()) != 480 || f.Ack.Rejects[479].Seq != 480 || f.Ack.Rejects[479].Code != string(sdkproto.RejectUnsupported) {
			t.Errorf("%d rejects", len(f.Ack.GetRejects()))
		}
	})
}

func TestAHandshakeWithoutTheSubprotocolIs400(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	for _, offer := range [][]string{nil, {"chat"}, {"application/json"}} {
		d := websocket.Dialer{Subprotocols: offer, NetDialContext: (&net.Dialer{}).DialContext}
		conn, resp, err := d.Dial("ws"+strings.TrimPrefix(w.server.URL, "http")+sdkproto.PathWS, nil) //nolint:bodyclose // gorilla has read it
		if err == nil {
			_ = conn.Close()
			t.Fatalf("offering %v was accepted", offer)
		}
		if resp == nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("offering %v: %v", offer, resp)
		}
	}
	resp, err := w.http.Get(w.server.URL + sdkproto.PathWS)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a plain GET: %d", resp.StatusCode)
	}
}

func TestABadPostIsToldWhatIsWrong(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	head := auth("phone-00001", w.token("phone-00001"))
	with := func(k, v string) map[string]string {
		m := map[string]string{k: v}
		for hk, hv := range head {
			if _, ok := m[hk]; !ok {
				m[hk] = hv
			}
		}
		return m
	}
	zip := func(b []byte) []byte {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		_, _ = z.Write(b)
		_ = z.Close()
		return out.Bytes()
	}
	bomb := zip(make([]byte, 400_000))
	for name, c := range map[string]struct {
		body   []byte
		head   map[string]string
		status int
		code   sdkproto.ErrorCode
	}{
		"wrong app key":           {nil, with(sdkproto.HeaderAppKey, "ffa_wrong"), 401, sdkproto.ErrAppKey},
		"no app key":              {nil, nil, 401, sdkproto.ErrAppKey},
		"disabled app":            {nil, with(sdkproto.HeaderAppKey, off), 403, sdkproto.ErrBlocked},
		"another app's key":       {nil, with(sdkproto.HeaderAppKey, ios), 401, sdkproto.ErrToken},
		"no token":                {nil, with(sdkproto.HeaderAuthorization, ""), 401, sdkproto.ErrToken},
		"wrong token":             {nil, with(sdkproto.HeaderAuthorization, "Bearer wrong"), 401, sdkproto.ErrToken},
		"basic auth":              {nil, with(sdkproto.HeaderAuthorization, "Basic eDp5"), 401, sdkproto.ErrToken},
		"another install":         {nil, with(sdkproto.HeaderInstall, "phone-00002"), 401, sdkproto.ErrToken},
		"bad install id":          {nil, with(sdkproto.HeaderInstall, "../../etc"), 400, sdkproto.ErrMalformed},
		"unknown content type":    {nil, with("Content-Type", "text/plain"), 400, sdkproto.ErrMalformed},
		"unknown encoding":        {nil, with("Content-Encoding", "br"), 400, sdkproto.ErrMalformed},
		"truncated protobuf":      {[]byte{0x2a, 200, 1}, head, 400, sdkproto.ErrMalformed},
		"not JSON":                {[]byte("{"), with("Content-Type", sdkproto.ContentTypeJSON), 400, sdkproto.ErrMalformed},
		"too large":               {make([]byte, sdkproto.MaxBodyBytes+1), head, 413, sdkproto.ErrTooLarge},
		"gzip bomb":               {bomb, with("Content-Encoding", "gzip"), 413, sdkproto.ErrTooLarge},
		"too large when unzipped": {zip(append(make([]byte, 0), bytes.Repeat([]byte("0123456789"), 60_000)...)), with("Content-Encoding", "gzip"), 413, sdkproto.ErrTooLarge},
		"truncated gzip":          {zip([]byte("x"))[:12], with("Content-Encoding", "gzip"), 400, sdkproto.ErrMalformed},
		"501 items":               {bytes.Repeat([]byte{0x2a, 0}, 501), head, 413, sdkproto.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			reply, status := w.postRaw(sdkproto.PathBatch, c.body, c.head)
			if status != c.status || reply.Error.GetCode() != uint32(c.code) || reply.Error.Reason == "" {
				t.Errorf("%d %v", status, reply)
			}
		})
	}
	if _, status := w.postRaw(sdkproto.PathInstall, make([]byte, 20_000), nil); status != 413 {
		t.Errorf("a hello of 20 kB: %d", status)
	}
	if n := len(w.log.items(t, "phone-00001")); n != 0 {
		t.Errorf("%d items logged", n)
	}
}

func TestAWebviewMayAsk(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	req, err := http.NewRequest(http.MethodOptions, w.server.URL+sdkproto.PathBatch, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "capacitor://localhost")
	resp, err := w.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent || !strings.Contains(resp.Header.Get("Access-Control-Allow-Headers"), sdkproto.HeaderAppKey) {
		t.Errorf("preflight: %d %v", resp.StatusCode, resp.Header)
	}
}

// tickUntil turns the wheel until the condition holds, and counts the turns.
func (w *world) tickUntil(what string, f func() bool) (ticks int) {
	w.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !f() {
		if time.Now().After(deadline) {
			w.t.Fatalf("no %s within 10 s", what)
		}
		w.clock.Advance(time.Second)
		ticks++
		<-time.After(time.Millisecond)
	}
	return ticks
}

func TestHelloMustComeInTime(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	r := w.dial(sdkproto.Protobuf{})
	ended := make(chan sdkproto.CloseCode, 1)
	go func() {
		_, code := r.closed()
		ended <- code
	}()
	var code sdkproto.CloseCode
	ticks := w.tickUntil("close", func() bool {
		select {
		case code = <-ended:
			return true
		default:
			return false
		}
	})
	if code != sdkproto.CloseHelloTimeout || ticks < 5 {
		t.Errorf("closed with %d after %d ticks", code, ticks)
	}
}

func TestAPeerThatAnswersNoPingIsClosed(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	dead, alive := w.open("phone-dead1", sdkproto.Protobuf{}), w.open("phone-alive", sdkproto.Protobuf{})
	pings := make(chan struct{}, 1000)
	dead.conn.SetPingHandler(func(string) error { pings <- struct{}{}; return nil })
	ended := make(chan sdkproto.CloseCode, 2)
	for _, r := range []*raw{dead, alive} {
		go func() {
			_, code := r.closed()
			ended <- code
		}()
	}
	w.tickUntil("ping", func() bool { return len(pings) > 0 })
	x := w.gateway.Sessions()
	w.tickUntil("end of the dead", func() bool { return !x.Online(ws, "phone-dead1") })
	if code := <-ended; code != sdkproto.CloseNoPong {
		t.Errorf("closed with %d", code)
	}
	if !x.Online(ws, "phone-alive") {
		t.Error("whoever answered was closed too")
	}
	w.stop()
	if code := <-ended; code != sdkproto.CloseShutdown {
		t.Errorf("the living was closed with %d", code)
	}
}

// A phone that writes but does not read fills its bounded queue and is closed.
func TestASlowPhoneIsClosed(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	r := w.open("phone-00001", sdkproto.Protobuf{})
	var msg []byte
	id := strings.Repeat("x", 390) // its grant is as long
	for range 140 {
		var err error
		if msg, err = r.codec.AppendFrame(msg, &sdkpb.Frame{Id: 5, Claim: &sdkpb.Claim{MessageId: id}}); err != nil {
			t.Fatal(err)
		}
	}
	x := w.gateway.Sessions()
	until(t, "fault", func() bool {
		_ = r.conn.SetWriteDeadline(time.Now().Add(time.Second))
		_ = r.conn.WriteMessage(websocket.BinaryMessage, msg)
		return !x.Online(ws, "phone-00001")
	})
	if x.Offer(ws, "phone-00001", &sdkpb.Message{MessageId: "m"}) {
		t.Error("a message was offered to a slow phone")
	}
	// Who reads on within a second gets the code; under load that is not certain.
	for {
		_, _, err := r.conn.ReadMessage()
		if ce, ok := errors.AsType[*websocket.CloseError](err); ok && ce.Code != int(sdkproto.CloseSlow) && ce.Code != websocket.CloseAbnormalClosure {
			t.Errorf("closed with %d", ce.Code)
		}
		if err != nil {
			break
		}
	}
	if got := w.measured()["footfall_ingest_closes_total slow"]; got != 1 {
		t.Errorf("%v closed as slow", got)
	}
}

// measured are the metrics: name and labels, and the value or count.
func (w *world) measured() map[string]float64 {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return got
}

func TestMetricsCountWhatHappened(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	r := w.open("phone-00001", sdkproto.Protobuf{})
	r.send(&sdkpb.Frame{Id: 2, Batch: batch(fix(1, 0, 0), &sdkpb.Item{Seq: 2, Event: &sdkpb.Event{Name: "x"}})})
	r.next()
	got := w.measured()
	for name, want := range map[string]float64{
		"footfall_ingest_sessions": 1, "footfall_ingest_items_total event": 1,
		"footfall_ingest_rejects_total consent_missing": 1, "footfall_ingest_frames_total batch": 1,
		"footfall_ingest_ack_seconds ws": 1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}
