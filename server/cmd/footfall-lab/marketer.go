package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/lab"
)

// bundleID of the iOS app, which is its APNs topic.
const bundleID = "com.example.footfall.demo"

// The two campaigns, as the API's own document gives them for examples.
var demoCampaigns = []string{"rainy-day", "welcome-back"}

// marketer uses the HTTP API as a person at the console, or their script, would.
type marketer struct {
	base, key string
	http      *http.Client
}

func newMarketer(base, key string) *marketer {
	return &marketer{base: strings.TrimSuffix(base, "/"), key: key, http: &http.Client{Timeout: 30 * time.Second}}
}

// shopApp is an app that was created for one platform.
type shopApp struct {
	ID     string
	Key    string // public: phones send it
	secret string // proves users
}

// proof is the HMAC by which the retailer's server vouches for a user.
func (a shopApp) proof(user string) string {
	mac := hmac.New(sha256.New, []byte(a.secret))
	mac.Write([]byte("v1\x00" + a.ID + "\x00" + user))
	return hex.EncodeToString(mac.Sum(nil))
}

// apps creates one app per platform with the simulators' credentials. Names that
// are taken, by an earlier run on the same data, get a number.
func (m *marketer) apps(ctx context.Context, w *world) (android, ios shopApp, err error) {
	team, keyID, p8 := w.apns.Key()
	if android, err = m.app(ctx, "android", map[string]any{
		"name": "Town shops for Android", "platform": "android",
		"fcm": map[string]any{"project_id": w.fcm.ProjectID(), "service_account": json.RawMessage(w.fcm.Credentials())},
	}); err != nil {
		return android, ios, err
	}
	ios, err = m.app(ctx, "ios", map[string]any{
		"name": "Town shops for iOS", "platform": "ios", "bundle_id": bundleID,
		"apns": map[string]any{"team_id": team, "key_id": keyID, "private_key": string(p8)},
	})
	return android, ios, err
}

func (m *marketer) app(ctx context.Context, name string, body map[string]any) (shopApp, error) {
	secret := make([]byte, 24)
	_, _ = rand.Read(secret) // never fails (Go 1.24)
	a := shopApp{ID: name, secret: hex.EncodeToString(secret)}
	body["identity_secret"] = a.secret
	for n := 1; ; n++ {
		if n > 1 {
			a.ID = fmt.Sprintf("%s-%d", name, n)
		}
		body["id"] = a.ID
		var made struct {
			Key string `json:"key"`
		}
		err := m.call(ctx, http.MethodPost, "/api/v1/apps", nil, body, &made)
		if p, ok := err.(*problem); ok && p.Status == http.StatusConflict && n < 1000 { //nolint:errorlint // call gives it as it is
			continue
		}
		if err != nil {
			return a, fmt.Errorf("create app %s: %w", a.ID, err)
		}
		a.Key = made.Key
		return a, nil
	}
}

// dwellAfter is how long somebody is in a shop, in the town's own time, before the
// shop's dwell is told.
const dwellAfter = 2 * time.Minute

// places creates a place with its two geofences for every shop, of a town that
// walks so many times faster than in life.
func (m *marketer) places(ctx context.Context, t *lab.Town, speed float64) error {
	dwellS := int(math.Ceil(dwellAfter.Seconds() / max(1, speed)))
	for i := range t.Shops {
		s := &t.Shops[i]
		fence := func(id, ring string, radiusM float64) map[string]any {
			return map[string]any{
				"id": id, "ring": ring, "radius": radiusM,
				"geometry": map[string]any{"type": "Point", "coordinates": []float64{s.Position.Lng, s.Position.Lat}},
			}
		}
		inside := fence(s.InsideFence(), "inside", s.InsideM)
		inside["dwell_s"] = dwellS
		body := map[string]any{
			"name": s.Name, "tags": s.Tags, "location": point(s.Position),
			"geofences": []any{inside, fence(s.NearFence(), "near", s.NearM)},
		}
		if t.TimeZone != "" {
			body["time_zone"] = t.TimeZone
		}
		if err := m.put(ctx, "/api/v1/places/"+url.PathEscape(s.ID), body); err != nil {
			return fmt.Errorf("place %s: %w", s.ID, err)
		}
	}
	return nil
}

func point(p geo.Point) map[string]float64 { return map[string]float64{"lat": p.Lat, "lng": p.Lng} }

// campaigns launches the examples of the API's OpenAPI document.
func (m *marketer) campaigns(ctx context.Context, change func(id string, campaign map[string]any)) error {
	const path = "/api/v1/campaigns/{id}"
	var doc struct {
		Paths map[string]struct {
			Put struct {
				RequestBody struct {
					Content map[string]struct {
						Examples map[string]struct {
							Value map[string]any `json:"value"`
						} `json:"examples"`
					} `json:"content"`
				} `json:"requestBody"`
			} `json:"put"`
		} `json:"paths"`
	}
	if err := m.call(ctx, http.MethodGet, "/openapi.json", nil, nil, &doc); err != nil {
		return fmt.Errorf("read the OpenAPI document: %w", err)
	}
	examples := doc.Paths[path].Put.RequestBody.Content["application/json"].Examples
	for _, id := range demoCampaigns {
		c := examples[id].Value
		if c == nil {
			return fmt.Errorf("the OpenAPI document has no example %q of a campaign", id)
		}
		c["status"] = "live"
		if change != nil {
			change(id, c)
		}
		if err := m.put(ctx, strings.Replace(path, "{id}", id, 1), c); err != nil {
			return fmt.Errorf("campaign %s: %w", id, err)
		}
	}
	return nil
}

// put creates a document, or replaces whatever an earlier run left.
func (m *marketer) put(ctx context.Context, path string, body any) error {
	err := m.call(ctx, http.MethodPut, path, http.Header{"If-None-Match": {"*"}}, body, nil)
	if p, ok := err.(*problem); ok && (p.Status == http.StatusConflict || p.Status == http.StatusPreconditionFailed) { //nolint:errorlint // call gives it as it is
		return m.call(ctx, http.MethodPut, path, http.Header{"If-Match": {"*"}}, body, nil)
	}
	return err
}

// quarantined is how many entries the server has set aside, up to a page of them.
func (m *marketer) quarantined(ctx context.Context) (int, error) {
	var page struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := m.call(ctx, http.MethodGet, "/api/v1/quarantine?limit=200", nil, nil, &page); err != nil {
		return 0, fmt.Errorf("read the quarantine: %w", err)
	}
	return len(page.Items), nil
}

// problem is an answer of the API that is no success (RFC 9457).
type problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	Field  string `json:"field"`
}

// Error implements error.
func (p *problem) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "the server answered %d", p.Status)
	for _, more := range []string{p.Code, p.Field, p.Detail} {
		if more != "" {
			text.WriteString(": " + more)
		}
	}
	return text.String()
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 16 << 20

func (m *marketer) call(ctx context.Context, method, path string, header http.Header, body, into any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, m.base+path, in)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	maps.Copy(req.Header, header)
	req.Header.Set("Authorization", "Bearer "+m.key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := m.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it is read to its end
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode >= 300 {
		p := &problem{}
		_ = json.Unmarshal(b, p) // without it the status tells enough
		p.Status = resp.StatusCode
		return p
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	return nil
}
