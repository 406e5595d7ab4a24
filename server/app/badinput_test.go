package app_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// Bad input at the server's boundaries, as a caller meets it: a code, the field
// and the reason, and nothing else is lost.
func TestBadInputIsRefusedWithItsReason(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)

	t.Run("api", func(t *testing.T) {
		campaign := func(change string) string {
			c := map[string]any{
				"name": "x", "class": "marketing", "status": "draft", "holdout_percent": 0,
				"trigger": map[string]any{"type": "place", "transition": "enter"},
				"arms":    []any{map[string]any{"id": "a", "message": map[string]any{"title": "Hello"}}},
			}
			var d map[string]any
			if err := json.Unmarshal([]byte(change), &d); err != nil {
				t.Fatal(err)
			}
			maps.Copy(c, d)
			b, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		arm := func(title string) string {
			b, err := json.Marshal(title)
			if err != nil {
				t.Fatal(err)
			}
			return campaign(`{"arms":[{"id":"a","message":{"title":` + string(b) + `}}]}`)
		}
		place := func(lng, lat, radius string) string {
			return `{"name":"x","location":{"lat":52,"lng":4},"geofences":[{"id":"f","ring":"inside","radius":` + radius +
				`,"geometry":{"type":"Point","coordinates":[` + lng + `,` + lat + `]}}]}`
		}
		for _, c := range []struct {
			name, path, body string
			status           int
			field            string
		}{
			{"radius of -1", "/api/v1/places/x", place("4", "52", "-1"), 422, "geofences[0].radius"},
			{"latitude 91", "/api/v1/places/x", place("4", "91", "50"), 422, "geofences[0].geometry.coordinates[1]"},
			{"NaN coordinates", "/api/v1/places/x", place("NaN", "52", "50"), 400, "geofences[0].geometry.coordinates[0]"},
			{"template with a syntax error", "/api/v1/campaigns/x", arm("Hi {{ profile.id"), 422, "arms[0].message.title"},
			{"template that includes a file", "/api/v1/campaigns/x", arm(`{% include "/etc/passwd" %}`), 422, "arms[0].message.title"},
			{"endless loop", "/api/v1/campaigns/x", arm(`{% for i in (1..100000000) %}{% endfor %}`), 422, "arms[0].message.title"},
			{"rule with an unknown attribute", "/api/v1/campaigns/x", campaign(`{"audience":{"all":[{"field":"attributes.shoe","op":"eq","value":1}]}}`), 422, "audience.all[0].field"},
			{"operator that the type has not", "/api/v1/campaigns/x", campaign(`{"audience":{"field":"likes","op":"gt","value":1}}`), 422, "audience.op"},
		} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.url+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+s.key)
			req.Header.Set("Content-Type", "application/json")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close() // read to its end
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != c.status || resp.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(string(b), c.field) {
				t.Errorf("%s: %d %s %s", c.name, resp.StatusCode, resp.Header.Get("Content-Type"), b)
			}
		}
	})

	t.Run("sdk", func(t *testing.T) {
		// A wrong app key, by POST and by socket.
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+sdkproto.PathBatch, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", sdkproto.ContentTypeJSON)
		req.Header.Set(sdkproto.HeaderAppKey, "ffa_nobody_knows")
		req.Header.Set(sdkproto.HeaderInstall, "install-x")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // read to its end
		if err != nil || resp.StatusCode != http.StatusUnauthorized || !bytes.Contains(b, []byte("app_key")) {
			t.Errorf("wrong app key: %d %s %v", resp.StatusCode, b, err)
		}
		for name, first := range map[string][]byte{
			"wrong app key": frame(t, &sdkpb.Frame{Id: 1, Hello: &sdkpb.Hello{
				AppKey: "ffa_nobody_knows", InstallId: "install-x", Platform: sdkpb.Platform_PLATFORM_ANDROID, WallMs: time.Now().UnixMilli(),
			}}),
			"a 1 MiB frame":        make([]byte, 1<<20),
			"a truncated protobuf": frame(t, &sdkpb.Frame{Id: 1, Hello: &sdkpb.Hello{AppKey: s.keys["android"], InstallId: "install-x"}})[:20],
		} {
			code := s.closeCode(t, first)
			want := map[string]int{"wrong app key": int(sdkproto.CloseAppKey), "a 1 MiB frame": int(sdkproto.CloseTooLarge), "a truncated protobuf": int(sdkproto.CloseMalformed)}[name]
			if code != want && (name != "a 1 MiB frame" || code != websocket.CloseMessageTooBig) {
				t.Errorf("%s: closed with %d, want %d", name, code, want)
			}
		}

		// Bad items beside a good one: only they are refused.
		ada := s.phone("ada", "android", nil).agree().background()
		now := s.clock.Now()
		ada.Fix(&sdkpb.Location{Lat: 91, Lng: 4, AccuracyM: 5}, now)
		ada.Fix(&sdkpb.Location{Lat: 52, Lng: 4, AccuracyM: 5}, time.Date(2035, 1, 1, 0, 0, 0, 0, time.UTC))
		good := ada.Fix(&sdkpb.Location{Lat: 52, Lng: 4, AccuracyM: 5}, now)
		ada.post()
		s.eventually("the good fix took effect", func() bool {
			if err := s.app.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			got, err := s.app.Accepted(t.Context(), "default", ada.install)
			if err != nil {
				t.Fatal(err)
			}
			return len(got) > 0 && got[len(got)-1][1] == good
		})
		if got := strings.Join(ada.rejects, "; "); !strings.Contains(got, "invalid location.lat") || !strings.Contains(got, "invalid occurred_ms") {
			t.Errorf("refused: %s", got)
		}
	})
}

func frame(t *testing.T, f *sdkpb.Frame) []byte {
	t.Helper()
	b, err := sdkproto.EncodeFrame(sdkproto.Protobuf{}, f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// closeCode is that with which the server closes after a first message.
func (s *story) closeCode(t *testing.T, first []byte) int {
	t.Helper()
	d := websocket.Dialer{Subprotocols: []string{sdkproto.SubprotocolPB}}
	conn, resp, err := d.DialContext(t.Context(), "ws"+strings.TrimPrefix(s.url, "http")+sdkproto.PathWS, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()                                 // a handshake has none
	defer func() { _ = conn.Close() }()                   // closed by the server already
	_ = conn.WriteMessage(websocket.BinaryMessage, first) // may fail half-way: the server stops reading
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for {
		if _, _, err := conn.ReadMessage(); err != nil {
			if e, ok := err.(*websocket.CloseError); ok { //nolint:errorlint // gorilla returns it bare
				return e.Code
			}
			return -1
		}
	}
}
