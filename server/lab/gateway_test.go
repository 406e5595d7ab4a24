package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gateway is a server as the phones see one, in memory: it acknowledges, gives
// regions around the newest fix, says hello in-app to who is in a shop, pushes to
// who enters a region by POST, and puts one message into every inbox.
type gateway struct {
	t    *testing.T
	town *Town
	addr string
	push func(install, message, via string) // the provider

	mu       sync.Mutex
	server   *http.Server
	sockets  map[*websocket.Conn]struct{}
	served   sync.WaitGroup
	installs map[string]*install
	granted  int
	pushed   int
}

type install struct {
	platform  sdkpb.Platform
	taken     map[uint64]int // times, by seq
	bodies    []*sdkpb.Item  // each once, in the order of arrival
	consents  map[sdkpb.Consent_Purpose]bool
	greeted   map[string]bool // shops
	served    bool            // has regions
	around    geo.Point       // of the regions
	hellos    int
	codecs    map[string]bool
	targets   map[string]bool
	noConsent int
}

func newGateway(t *testing.T, town *Town) *gateway {
	g := &gateway{t: t, town: town, installs: map[string]*install{}, sockets: map[*websocket.Conn]struct{}{}}
	g.listen("127.0.0.1:0")
	t.Cleanup(g.crash)
	return g
}

func (g *gateway) listen(addr string) {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		g.t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+sdkproto.PathWS, g.ws)
	mux.HandleFunc("POST "+sdkproto.PathBatch, g.batch)
	mux.HandleFunc("POST "+sdkproto.PathInstall, g.register)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	g.mu.Lock()
	g.server, g.addr = srv, l.Addr().String()
	g.mu.Unlock()
	g.served.Go(func() { _ = srv.Serve(l) })
}

// crash is kill -9: whatever is open breaks. What was acknowledged stays.
func (g *gateway) crash() {
	g.mu.Lock()
	_ = g.server.Close()
	for c := range g.sockets {
		_ = c.Close()
	}
	g.mu.Unlock()
	g.served.Wait()
}

func (g *gateway) restart() { g.listen(g.addr) }

func (g *gateway) of(id string) *install {
	in := g.installs[id]
	if in == nil {
		in = &install{
			taken: map[uint64]int{}, consents: map[sdkpb.Consent_Purpose]bool{}, greeted: map[string]bool{},
			codecs: map[string]bool{}, targets: map[string]bool{},
		}
		g.installs[id] = in
	}
	return in
}

// take applies items, and says what to send besides the ack.
func (g *gateway) take(id string, b *sdkpb.Batch, post bool) (*sdkpb.Ack, *sdkpb.Regions, *sdkpb.Message) {
	g.mu.Lock()
	defer g.mu.Unlock()
	in := g.of(id)
	ack := &sdkpb.Ack{BatchId: b.BatchId, ServerMs: time.Now().UnixMilli()}
	var regions *sdkpb.Regions
	var message *sdkpb.Message
	for _, i := range b.Items {
		if bad := sdkproto.ValidateItem(i, b, time.Now()); bad != nil {
			g.t.Errorf("%s sent what cannot be: %v", id, bad)
		}
		if c := i.Consent; c != nil {
			in.consents[c.Purpose] = c.Granted
		}
		located := i.Location != nil || i.RegionEvent != nil
		if located && !in.consents[sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND] && !in.consents[sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND] {
			in.noConsent++
			ack.Rejects = append(ack.Rejects, sdkproto.NewReject(i, sdkproto.RejectConsent, "", "not asked"))
			continue
		}
		if in.taken[i.Seq]++; in.taken[i.Seq] > 1 {
			continue
		}
		in.bodies = append(in.bodies, i)
		if l := i.Location; l != nil {
			p := geo.Point{Lat: l.Lat, Lng: l.Lng}
			if !in.served || geo.DistanceM(p, in.around) > 200 {
				in.served, in.around = true, p
				regions = g.nearest(p)
			}
			for _, s := range g.town.Shops {
				if !post && !in.greeted[s.ID] && geo.DistanceM(p, s.Position) < s.NearM {
					in.greeted[s.ID] = true
					message = &sdkpb.Message{MessageId: "hello-" + id + "-" + s.ID, Kind: sdkpb.Message_KIND_IN_APP, Title: s.Name}
				}
			}
		}
		if r := i.RegionEvent; r != nil && post && r.Transition == enter && in.targets["live"] {
			g.pushed++
			via := "fcm"
			if in.platform == sdkpb.Platform_PLATFORM_IOS {
				via = "apns"
			}
			msg := "push-" + id + "-" + r.RegionId
			for range 2 { // the provider repeats itself
				g.served.Go(func() { g.push(id, msg, via) })
			}
		}
	}
	return ack, regions, message
}

func (g *gateway) nearest(p geo.Point) *sdkpb.Regions {
	type near struct {
		*sdkpb.Region
		m float64
	}
	var all []near
	for _, s := range g.town.Shops {
		m := geo.DistanceM(p, s.Position)
		all = append(all, near{region(s.InsideFence(), s.Position, s.InsideM), m - s.InsideM}, near{region(s.NearFence(), s.Position, s.NearM), m - s.NearM})
	}
	out := &sdkpb.Regions{Etag: fmt.Sprint(p)}
	for len(out.Regions) < 19 && len(all) > 0 {
		best := 0
		for i := range all {
			if all[i].m < all[best].m {
				best = i
			}
		}
		out.Regions = append(out.Regions, all[best].Region)
		all = append(all[:best], all[best+1:]...)
	}
	return out
}

func (g *gateway) hello(h *sdkpb.Hello, codec sdkproto.Codec) *sdkpb.HelloOk {
	if err := sdkproto.ValidateHello(h); err != nil {
		g.t.Errorf("hello: %v", err)
	}
	want := map[sdkpb.Platform]string{sdkpb.Platform_PLATFORM_ANDROID: "ak_android", sdkpb.Platform_PLATFORM_IOS: "ak_ios"}[h.Platform]
	if h.AppKey != want {
		g.t.Errorf("app key %q on %s", h.AppKey, h.Platform)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	in := g.of(h.InstallId)
	in.hellos++
	in.platform = h.Platform
	in.codecs[codec.Subprotocol()] = true
	if t := h.PushTarget; t != nil {
		kind, _, _ := strings.Cut(t.Token, "-")
		in.targets[kind] = true
	}
	ok := &sdkpb.HelloOk{Session: "s", ServerMs: time.Now().UnixMilli(), Proto: 1}
	if h.DeviceToken == "" {
		ok.NewDeviceToken = "dt_" + h.InstallId
	}
	return ok
}

func (g *gateway) ws(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{Subprotocols: []string{sdkproto.SubprotocolPB, sdkproto.SubprotocolJSON}}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	g.mu.Lock()
	g.sockets[conn] = struct{}{}
	g.served.Add(1)
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		delete(g.sockets, conn)
		g.mu.Unlock()
		_ = conn.Close()
		g.served.Done()
	}()
	codec := sdkproto.CodecFor(conn.Subprotocol())
	kind := websocket.TextMessage
	if codec.Binary() {
		kind = websocket.BinaryMessage
	}
	id := ""
	for {
		_, msg, err := conn.ReadMessage()
		if err != nil {
			return
		}
		frames, err := codec.DecodeFrames(msg, 0)
		if err != nil {
			g.t.Errorf("frames: %v", err)
			return
		}
		for _, f := range frames {
			for _, answer := range g.answer(&id, f, codec) {
				out, err := sdkproto.EncodeFrame(codec, answer)
				if err != nil {
					g.t.Errorf("answer: %v", err)
				}
				_ = conn.WriteMessage(kind, out)
			}
		}
	}
}

func (g *gateway) answer(id *string, f *sdkpb.Frame, codec sdkproto.Codec) (out []*sdkpb.Frame) {
	switch {
	case f.Hello != nil:
		*id = f.Hello.InstallId
		out = append(out, &sdkpb.Frame{Re: f.Id, HelloOk: g.hello(f.Hello, codec)})
	case f.Batch != nil:
		ack, regions, message := g.take(*id, f.Batch, false)
		out = append(out, &sdkpb.Frame{Re: f.Id, Ack: ack})
		if regions != nil {
			out = append(out, &sdkpb.Frame{Regions: regions})
		}
		if message != nil {
			out = append(out, &sdkpb.Frame{Message: message}, &sdkpb.Frame{Message: message})
		}
	case f.Claim != nil:
		g.mu.Lock()
		g.granted++
		g.mu.Unlock()
		out = append(out, &sdkpb.Frame{Re: f.Id, Grant: &sdkpb.Grant{MessageId: f.Claim.MessageId, Granted: true}})
	}
	return out
}

func (g *gateway) register(w http.ResponseWriter, r *http.Request) {
	codec := sdkproto.CodecFor(r.Header.Get("Content-Type"))
	var h sdkpb.Hello
	if g.read(w, r, codec, &h) {
		g.write(w, codec, &sdkpb.BatchReply{HelloOk: g.hello(&h, codec)})
	}
}

func (g *gateway) batch(w http.ResponseWriter, r *http.Request) {
	codec := sdkproto.CodecFor(r.Header.Get("Content-Type"))
	var b sdkpb.Batch
	if !g.read(w, r, codec, &b) {
		return
	}
	id := r.Header.Get(sdkproto.HeaderInstall)
	if r.Header.Get(sdkproto.HeaderAuthorization) != sdkproto.BearerPrefix+"dt_"+id {
		g.t.Errorf("%s posts with a wrong token", id)
	}
	ack, regions, _ := g.take(id, &b, true)
	g.write(w, codec, &sdkpb.BatchReply{Ack: ack, Regions: regions, Messages: []*sdkpb.Message{
		{MessageId: "inbox-" + id, Kind: sdkpb.Message_KIND_INBOX, Title: "news"},
	}})
}

func (g *gateway) read(w http.ResponseWriter, r *http.Request, codec sdkproto.Codec, into proto.Message) bool {
	body, err := sdkproto.ReadBody(r.Body, r.Header.Get("Content-Encoding"), 0)
	if err == nil {
		err = codec.Unmarshal(body, into)
	}
	if _, ours := errors.AsType[*sdkproto.Error](err); ours {
		g.t.Errorf("%s: %v", r.URL.Path, err)
	}
	if err != nil { // the phone went offline while it spoke
		w.WriteHeader(http.StatusBadRequest)
	}
	return err == nil
}

func (g *gateway) write(w http.ResponseWriter, codec sdkproto.Codec, m proto.Message) {
	out, err := codec.Marshal(m)
	if err != nil {
		g.t.Errorf("reply: %v", err)
	}
	w.Header().Set("Content-Type", codec.ContentType())
	_, _ = w.Write(out)
}

// opened reports whether somebody said that a message was opened.
func (g *gateway) opened() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, in := range g.installs {
		for _, i := range in.bodies {
			if i.GetReceipt().GetState() == sdkpb.Receipt_STATE_OPENED {
				return true
			}
		}
	}
	return false
}

// refusing is a server that knows no app key: its endpoint.
func refusing(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		out, err := sdkproto.Protobuf{}.Marshal(&sdkpb.BatchReply{Error: &sdkpb.Error{Code: uint32(sdkproto.ErrAppKey), Reason: "unknown"}})
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", sdkproto.ContentTypePB)
		w.WriteHeader(sdkproto.ErrAppKey.Info().HTTP)
		_, _ = w.Write(out)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}
