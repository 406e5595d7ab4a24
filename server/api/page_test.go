package api_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// town makes a workspace look like a busy morning.
func (s *site) town() {
	s.t.Helper()
	key := s.keys[alpha][catalog.Admin]
	streets := []string{"Harbour", "Canal", "Market", "Station", "Museum", "Bridge", "Garden", "Mill", "Tower", "Church"}
	goods := []string{"shoes", "books"}
	centre := geo.Point{Lat: 52.3702, Lng: 4.8952}
	for i := range 20 {
		a := float64(i) * 2.399963 // the golden angle spreads them evenly
		r := 0.0022 * math.Sqrt(float64(i)+0.7)
		at := geo.Point{Lat: centre.Lat + r*math.Sin(a), Lng: centre.Lng + r*math.Cos(a)*1.64}
		name := streets[i%10] + " " + goods[i/10]
		s.do(request{method: "PUT", path: fmt.Sprintf("/api/v1/places/shop-%02d", i), key: key, body: fmt.Sprintf(
			`{"name":%q,"tags":["fashion"],"geofences":[{"id":"f%02d","ring":"inside","geometry":{"type":"Point","coordinates":[%f,%f]},"radius":45},
			{"id":"n%02d","ring":"near","geometry":{"type":"Point","coordinates":[%f,%f]},"radius":300}]}`, name, i, at.Lng, at.Lat, i, at.Lng, at.Lat)}).want(201)
	}
	for _, name := range []string{api.RainyDay, api.WelcomeBack} {
		s.do(request{method: "PUT", path: "/api/v1/campaigns/" + name, key: key, body: string(api.ExampleCampaign(name))}).want(201)
	}
	w := s.world
	w.mu.Lock()
	defer w.mu.Unlock()
	places := s.catalog.Now().Places(alpha)
	for i := range 200 {
		p := places[i%20].Location
		x := api.Whereabouts{
			Install: fmt.Sprintf("phone-%d", i), Profile: engage.ProfileID(alpha, fmt.Sprint(i)), Platform: []string{"android", "ios"}[i%2],
			Lifecycle: []string{"foreground", "background", "background"}[i%3], Precise: i%9 != 0, AccuracyM: 12, At: start,
		}
		d := 0.0001
		if i%3 == 0 {
			d = 0.0018
		} else if i%4 == 0 {
			x.Places = []string{places[i%20].ID}
			w.visits[alpha] = append(w.visits[alpha], engage.Visit{ID: x.Install, Place: places[i%20].ID, Install: x.Install, InsideAt: start})
		}
		x.Fix = &geo.Point{Lat: p.Lat + d*math.Sin(float64(i)), Lng: p.Lng + d*1.6*math.Cos(float64(i)*1.7)}
		w.where[alpha] = append(w.where[alpha], x)
	}
	gates := []engage.GateResult{{Gate: "consent", OK: true}, {Gate: "eligibility", OK: true}}
	for i := range 40 {
		place := places[i%20]
		d := engage.Decision{
			V: 1, ID: fmt.Sprintf("%032d", i), Campaign: []string{api.RainyDay, api.WelcomeBack}[i%2], Profile: engage.ProfileID(alpha, fmt.Sprint(i)),
			At: start.Add(-time.Duration(i) * 3 * time.Second), UpdatedAt: start, State: engage.Sent, Gates: gates, Arm: "umbrella",
			Trigger: engage.Trigger{Type: engage.TriggerPlace, Transition: engage.Enter, Ring: []engage.Ring{engage.Inside, engage.Near}[i%2], Place: place.ID, Evidence: "fix", DistanceM: float64(20 + 7*i), AccuracyM: 12},
		}
		switch i % 6 {
		case 0:
			d.Channel, d.Receipts = "apns", []string{"delivered", "displayed"}
		case 1:
			d.State, d.Reason = engage.Suppressed, engage.ReasonConsent
			d.Gates = []engage.GateResult{{Gate: "consent", Reason: engage.ReasonConsent}}
		case 2:
			d.State, d.Arm = engage.HeldOut, engage.HoldoutArm
		case 3:
			d.State, d.Reason = engage.Suppressed, engage.ReasonContext
			d.Gates = append(gates[:2:2], engage.GateResult{Gate: "audience", OK: true}, engage.GateResult{Gate: "context", Reason: engage.ReasonContext, Saw: engage.SawOf(map[string]any{
				"weather": map[string]any{"kind": "forecast", "condition": "clear", "temperature_c": 14.0},
				"failed":  []any{map[string]any{"field": "weather.condition", "op": "in", "want": []any{"rain", "sleet", "thunder"}, "got": "clear"}},
			})})
		case 4:
			d.Channel = "in_app"
		case 5:
			d.State, d.Reason = engage.Suppressed, engage.ReasonCap
			d.Gates = append(gates[:2:2], engage.GateResult{Gate: "cap", Reason: engage.ReasonCap, Saw: engage.SawOf(map[string]any{"count": 1, "cap": 1, "window_s": 86400})})
		}
		if i > 2 {
			d.Trigger.Weather = &engage.Weather{
				At: start, FetchedAt: start.Add(-time.Duration(i) * time.Minute), Kind: "forecast", Condition: []string{"partly_cloudy", "fog"}[i/20],
				TemperatureC: 9.6, Provider: "met.no", Attribution: "Weather forecast from MET Norway, CC BY 4.0",
			}
		}
		w.decisions[alpha] = append(w.decisions[alpha], d)
	}
	w.tallies[alpha] = map[string]map[string]engage.Counts{
		api.RainyDay: {
			"":         {Suppressed: map[engage.Reason]int64{engage.ReasonConsent: 214, engage.ReasonContext: 371, engage.ReasonCap: 88, engage.ReasonAudience: 402}},
			"umbrella": {Decided: 143, Sent: 132, Accepted: 97, InApp: 31, Inboxed: 12, Delivered: 90, Displayed: 101, Opened: 23, Failed: 1}, "holdout": {Decided: 17, HeldOut: 17},
		},
		api.WelcomeBack: {
			"":      {Suppressed: map[engage.Reason]int64{engage.ReasonConsent: 120, engage.ReasonAudience: 63, engage.ReasonCap: 12}},
			"hello": {Decided: 88, Sent: 83, Accepted: 60, InApp: 20, Inboxed: 5, Delivered: 51, Displayed: 66, Opened: 9},
		},
	}
}

// chromium runs the browser on the live page and returns what it printed.
func (s *site) chromium(path string, args ...string) string {
	s.t.Helper()
	bin, err := exec.LookPath("chromium")
	if err != nil {
		s.t.Skip("chromium is not installed")
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 60*time.Second)
	defer cancel()
	all := append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
		"--user-data-dir=" + s.t.TempDir(), "--window-size=1400,900", "--virtual-time-budget=2500",
	}, args...)
	out, err := exec.CommandContext(ctx, bin, append(all, s.url+path)...).Output()
	if err != nil {
		s.t.Fatalf("chromium: %v", err)
	}
	return string(out)
}

// A bare 1fr grows with what is in it, so that a narrow page scrolls sideways.
func TestNoColumnOfTheLivePageOutgrowsIt(t *testing.T) {
	s := newSite(t)
	css := string(s.get("/live.css").want(200).body)
	for _, columns := range regexp.MustCompile(`grid-template-columns:[^;}]+`).FindAllString(css, -1) {
		bounded := regexp.MustCompile(`minmax\([^()]*(\([^()]*\)[^()]*)*, 1fr\)`).ReplaceAllString(columns, "")
		if strings.Contains(bounded, "1fr") {
			t.Errorf("%s has a column without minmax", columns)
		}
	}
	_, narrow, _ := strings.Cut(css, "@media (max-width")
	if !strings.Contains(narrow, "main, #left, #below { grid-template-columns: minmax(0, 1fr); }") {
		t.Error("on a narrow page not everything stands in one column")
	}
}

// WCAG 2.2, 1.4.3: text has a contrast of at least 4.5 to what is behind it.
func TestTextOfTheLivePageIsReadable(t *testing.T) {
	s := newSite(t)
	css := string(s.get("/live.css").want(200).body)
	var colors [2]map[string]float64 // light and dark: relative luminance by name
	for i := range colors {
		colors[i] = map[string]float64{}
	}
	for _, m := range regexp.MustCompile(`--(\w+): light-dark\((#\w{6}), (#\w{6})\)`).FindAllStringSubmatch(css, -1) {
		for i := range colors {
			colors[i][m[1]] = luminance(t, m[2+i])
		}
	}
	for i, theme := range []string{"light", "dark"} {
		for _, text := range []string{"ink", "dim", "sent", "held_out", "pending", "suppressed", "failed", "expired"} {
			for _, behind := range []string{"panel", "soft", "bg"} {
				a, b := colors[i][text], colors[i][behind]
				least := 4.5
				if text == "dim" || text == "suppressed" {
					least = 6 // most of the feed: small, and much of it
				}
				if c := (max(a, b) + 0.05) / (min(a, b) + 0.05); c < least {
					t.Errorf("%s: %s on %s has a contrast of %.2f, want %.1f", theme, text, behind, c, least)
				}
			}
		}
	}
}

// luminance as WCAG defines it.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(hex[1:], 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for i, weight := range []float64{0.0722, 0.7152, 0.2126} {
		c := float64(n>>(8*i)&0xff) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}

// With FOOTFALL_SCREENSHOTS=<folder> the pages are also kept as pictures.
func TestLivePageShowsDecisionsInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	s := newSite(t)
	s.town()
	key := "/#key=" + s.keys[alpha][catalog.Viewer]
	dom := s.chromium(key, "--dump-dom")
	for _, want := range []string{
		"Sent: APNs accepted it. The phone reported it delivered, displayed.",
		"weather.condition must be one of rain, sleet, thunder, but was clear", "Held out: eligible", "Welcome back", "partly cloudy, 10 °C", "forecast for", "<b>33</b><span>visits inside</span>", "Weather forecast from MET Norway, CC BY 4.0", "ALPHA", `class="ok"`,
	} {
		if !strings.Contains(dom, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	tile := func(name string) int {
		m := regexp.MustCompile(`<b>([0-9,]+)</b><span>` + name + `</span>`).FindStringSubmatch(dom)
		if m == nil {
			t.Fatalf("the page does not show how many are %q", name)
		}
		n, err := strconv.Atoi(strings.ReplaceAll(m[1], ",", ""))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if all, parts := tile("decided"), tile("held out")+tile("sent")+tile("pending")+tile("expired")+tile("failed"); all == 0 || all != parts {
		t.Errorf("%d are decided, and %d of those are accounted for", all, parts)
	}
	if tile("pending") == 0 || tile("put into the inbox") == 0 {
		t.Error("nothing is pending or in the inbox, so this shows nothing")
	}
	if heads, cells := strings.Count(cut(dom, `<table id="campaigns">`, "</thead>"), "</th>"), strings.Count(cut(dom, "<tbody><tr>", "</tr>"), "</td>"); heads == 0 || heads != cells {
		t.Errorf("the campaigns have %d columns with a name, and %d cells", heads, cells)
	}
	if strings.Contains(dom, s.keys[alpha][catalog.Viewer]) {
		t.Error("the key stands in the page")
	}
	folder := os.Getenv("FOOTFALL_SCREENSHOTS")
	if folder == "" {
		return
	}
	s.chromium(key, "--screenshot="+filepath.Join(folder, "live-light.png"))
	for _, width := range []int{700, 500} {
		s.chromium(key, fmt.Sprintf("--window-size=%d,1800", width), fmt.Sprintf("--screenshot=%s/live-%d.png", folder, width))
	}
	s.chromium(key, "--force-dark-mode", "--enable-features=WebContentsForceDark:inversion_method/none", "--blink-settings=preferredColorScheme=0", "--screenshot="+filepath.Join(folder, "live-dark.png"))
	s.chromium("/", "--screenshot="+filepath.Join(folder, "live-login.png"))
	s.chromium("/docs", "--screenshot="+filepath.Join(folder, "docs.png"))
}

// cut is what stands in text between two marks.
func cut(text, from, to string) string {
	_, text, _ = strings.Cut(text, from)
	text, _, _ = strings.Cut(text, to)
	return text
}
