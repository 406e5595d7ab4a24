package fcmsim_test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	firebase "firebase.google.com/go/v4"
	"firebase.google.com/go/v4/errorutils"
	"firebase.google.com/go/v4/messaging"
	"go.uber.org/goleak"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/option"

	"github.com/footfall-engage/footfall/channels/fcm/fcmsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t testing.TB, o fcmsim.Options) *fcmsim.Server {
	t.Helper()
	sim, err := fcmsim.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	return sim
}

// admin is the Firebase Admin SDK as its documentation sets it up, but for the
// address.
func admin(t testing.TB, sim *fcmsim.Server, credentials []byte, project string) *messaging.Client {
	t.Helper()
	app, err := firebase.NewApp(t.Context(), &firebase.Config{ProjectID: project},
		option.WithCredentialsJSON(credentials), option.WithEndpoint(sim.URL()+"/v1"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := app.Messaging(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func hello(token string) *messaging.Message {
	return &messaging.Message{Token: token, Notification: &messaging.Notification{Title: "Hello", Body: "There"}}
}

func TestAdminSDKSends(t *testing.T) {
	sim := start(t, fcmsim.Options{Strict: true})
	sdk := admin(t, sim, sim.Credentials(), "")
	ada, err := sim.AddDevice(fcmsim.Device{})
	if err != nil {
		t.Fatal(err)
	}
	ttl, count, at := 90*time.Second, 2, time.Now()
	whole := &messaging.Message{
		Token: ada.Token, Data: map[string]string{"k": "ø"}, Notification: &messaging.Notification{Title: "T", Body: "B", ImageURL: "https://img.example/a.png"},
		Android: &messaging.AndroidConfig{
			CollapseKey: "c", Priority: "high", TTL: &ttl, RestrictedPackageName: "com.example.shop", DirectBootOK: true,
			Notification: &messaging.AndroidNotification{
				Icon: "i", Color: "#aabbcc", Sound: "s", Tag: "tag", ChannelID: "offers", Priority: messaging.PriorityMax, Visibility: messaging.VisibilitySecret,
				BodyLocKey: "k", BodyLocArgs: []string{"a"}, NotificationCount: &count, EventTimestamp: &at, VibrateTimingMillis: []int64{100, 250},
				LightSettings: &messaging.LightSettings{Color: "#ff0000", LightOnDurationMillis: 10, LightOffDurationMillis: 20},
			},
			FCMOptions: &messaging.AndroidFCMOptions{AnalyticsLabel: "rain-1"},
		},
		APNS: &messaging.APNSConfig{
			Headers: map[string]string{"apns-priority": "10", "apns-collapse-id": "c"},
			Payload: &messaging.APNSPayload{Aps: &messaging.Aps{Badge: &count, Sound: "default", MutableContent: true}, CustomData: map[string]any{"x": 1}},
		},
		Webpush: &messaging.WebpushConfig{
			Headers: map[string]string{"TTL": "60"}, Notification: &messaging.WebpushNotification{Tag: "t", Actions: []*messaging.WebpushNotificationAction{{Action: "a", Title: "A"}}},
			FCMOptions: &messaging.WebpushFCMOptions{Link: "https://shop.example/"},
		},
		FCMOptions: &messaging.FCMOptions{AnalyticsLabel: "rain"},
	}
	name, err := sdk.Send(t.Context(), whole)
	if err != nil || !strings.HasPrefix(name, "projects/footfall-sim/messages/") {
		t.Fatal(name, err)
	}
	got := sim.Arrivals()
	if len(got) != 1 || got[0].Name != name || got[0].Tag != "tag" || got[0].TTL != ttl || !got[0].High || got[0].Data["k"] != "ø" || got[0].Label != "rain-1" || got[0].ChannelID != "offers" {
		t.Fatalf("%+v", got)
	}
	if name, err := sdk.SendDryRun(t.Context(), whole); err != nil || name != "projects/footfall-sim/messages/fake_message_id" {
		t.Error(name, err)
	}
	if n := len(sim.Arrivals()); n != 1 {
		t.Error("a dry run arrived")
	}
	if _, err := sdk.SendDryRun(t.Context(), hello("x"+ada.Token[1:])); !messaging.IsUnregistered(err) {
		t.Error("dry run to nobody:", err)
	}
}

func TestAdminSDKKnowsEveryError(t *testing.T) {
	// Beyond two minutes the SDK does not repeat a 503 on its own.
	sim := start(t, fcmsim.Options{Rules: []fcmsim.Rule{{
		Match: map[string]string{"message.token": "down"}, Fault: fcmsim.Fault{Code: "UNAVAILABLE", RetryAfter: 10 * time.Minute},
	}}})
	sdk := admin(t, sim, sim.Credentials(), "")
	is := map[string]func(error) bool{
		"unregistered": messaging.IsUnregistered, "invalid": messaging.IsInvalidArgument, "mismatch": messaging.IsSenderIDMismatch,
		"quota": messaging.IsQuotaExceeded, "unavailable": messaging.IsUnavailable, "internal": messaging.IsInternal,
		"third party":         messaging.IsThirdPartyAuthError,
		"platform: not found": errorutils.IsNotFound, "platform: denied": errorutils.IsPermissionDenied, "platform: unauthenticated": errorutils.IsUnauthenticated,
		"platform: exhausted": errorutils.IsResourceExhausted,
	}
	for _, c := range []struct {
		token  string
		status int
		want   []string
	}{
		{"unregistered-a", 404, []string{"platform: not found", "unregistered"}},
		{"expired-a", 404, []string{"platform: not found", "unregistered"}},
		{"flapping-a", 404, []string{"platform: not found", "unregistered"}},
		{"invalid-a", 400, []string{"invalid"}},
		{"malformed-a", 400, []string{"invalid"}},
		{"not a token", 400, []string{"invalid"}},
		{"mismatch-a", 403, []string{"mismatch", "platform: denied"}},
		{"apnsauth-a", 401, []string{"platform: unauthenticated", "third party"}},
		{"unauthorized-a", 401, []string{"platform: unauthenticated"}},
		{"quota-a", 429, []string{"platform: exhausted", "quota"}},
		{"devicequota-a", 429, []string{"platform: exhausted", "quota"}},
		{"internal-a", 500, []string{"internal"}},
		{"html502-a", 502, nil},
		{"down", 503, []string{"unavailable"}},
	} {
		t.Run(c.token, func(t *testing.T) {
			_, err := sdk.Send(t.Context(), hello(c.token))
			var got []string
			for name, f := range is {
				if f(err) {
					got = append(got, name)
				}
			}
			slices.Sort(got)
			resp := errorutils.HTTPResponse(err) //nolint:bodyclose // the SDK has read and closed it
			if resp == nil || resp.StatusCode != c.status || !slices.Equal(got, c.want) {
				t.Errorf("got %v %v %v, want %d %v", err, resp, got, c.status, c.want)
			}
		})
	}
	if _, err := sdk.Send(t.Context(), hello("flapping-a")); err != nil {
		t.Error("a flapping token's second push:", err)
	}
}

func TestAdminSDKRepeatsA503(t *testing.T) {
	sim := start(t, fcmsim.Options{Rules: []fcmsim.Rule{{Times: 1, Fault: fcmsim.Fault{Code: "UNAVAILABLE"}}}})
	if _, err := admin(t, sim, sim.Credentials(), "").Send(t.Context(), hello("a")); err != nil {
		t.Error(err)
	}
	if n := len(sim.Requests()); n != 2 {
		t.Errorf("%d requests", n)
	}
}

func TestAdminSDKSendEach(t *testing.T) {
	sim := start(t, fcmsim.Options{})
	sdk := admin(t, sim, sim.Credentials(), "")
	var all []*messaging.Message
	for i := range 120 {
		all = append(all, hello([]string{"ok-a", "unregistered-b", "quota-c"}[i%3]))
	}
	got, err := sdk.SendEach(t.Context(), all)
	if err != nil || got.SuccessCount != 40 || got.FailureCount != 80 {
		t.Fatal(got, err)
	}
	for i, r := range got.Responses {
		ok := r.Success
		switch i % 3 {
		case 1:
			ok = messaging.IsUnregistered(r.Error)
		case 2:
			ok = messaging.IsQuotaExceeded(r.Error)
		}
		if !ok {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if n := len(sim.Requests()); n != 120 {
		t.Errorf("%d requests: one for each", n)
	}
	dry, err := sdk.SendEachForMulticastDryRun(t.Context(), &messaging.MulticastMessage{Tokens: []string{"ok-a", "mismatch-b"}, Data: map[string]string{"a": "b"}})
	if err != nil || dry.SuccessCount != 1 || !messaging.IsSenderIDMismatch(dry.Responses[1].Error) {
		t.Error(dry, err)
	}
}

// TestWrongProjectsAreRefused does not blame the token for it.
func TestWrongProjectsAreRefused(t *testing.T) {
	sim := start(t, fcmsim.Options{Projects: []string{"other-shop"}})
	for project, is := range map[string]func(error) bool{"other-shop": errorutils.IsPermissionDenied, "no-shop": errorutils.IsNotFound} {
		_, err := admin(t, sim, sim.Credentials(), project).Send(t.Context(), hello("a"))
		if !is(err) || messaging.IsUnregistered(err) || messaging.IsSenderIDMismatch(err) {
			t.Errorf("%s: %v", project, err)
		}
	}
	if _, err := admin(t, sim, sim.CredentialsOf("other-shop"), "").Send(t.Context(), hello("a")); err != nil {
		t.Error("the second project's own account:", err)
	}
	ada, err := sim.AddDevice(fcmsim.Device{Project: "other-shop"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin(t, sim, sim.Credentials(), "").Send(t.Context(), hello(ada.Token)); !messaging.IsSenderIDMismatch(err) {
		t.Error("a phone of the other project:", err)
	}
}

// TestAdminSDKTopics sends to topics and conditions. The SDK has no option for the
// address of topic management: its HTTP client is pointed here.
func TestAdminSDKTopics(t *testing.T) {
	sim := start(t, fcmsim.Options{Strict: true})
	conf, err := google.JWTConfigFromJSON(sim.Credentials(), "https://www.googleapis.com/auth/firebase.messaging")
	if err != nil {
		t.Fatal(err)
	}
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	here := redirect{base, sim.URL()}
	client := &http.Client{Transport: &oauth2.Transport{Base: here, Source: conf.TokenSource(context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: here}))}}
	app, err := firebase.NewApp(t.Context(), &firebase.Config{ProjectID: sim.ProjectID()}, option.WithHTTPClient(client), option.WithEndpoint(sim.URL()+"/v1"))
	if err != nil {
		t.Fatal(err)
	}
	sdk, err := app.Messaging(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var tokens []string
	for range 3 {
		d, err := sim.AddDevice(fcmsim.Device{})
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, d.Token)
	}
	for topic, to := range map[string][]string{"rain": {tokens[0], tokens[1]}, "sale": {tokens[1], tokens[2], "nobody"}} {
		r, err := sdk.SubscribeToTopic(t.Context(), to, topic)
		if err != nil || r.SuccessCount != 2 || r.FailureCount != len(to)-2 {
			t.Fatal(r, err)
		}
	}
	if _, err := sdk.UnsubscribeFromTopic(t.Context(), tokens[1:2], "sale"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		m    messaging.Message
		want []string
	}{
		{messaging.Message{Topic: "rain"}, tokens[:2]},
		{messaging.Message{Topic: "sale"}, tokens[2:]},
		{messaging.Message{Topic: "nothing"}, nil},
		{messaging.Message{Condition: "'rain' in topics && !('sale' in topics)"}, tokens[:2]},
		{messaging.Message{Condition: "('rain' in topics || 'sale' in topics) && 'sale' in topics"}, tokens[2:]},
	} {
		before := len(sim.Arrivals())
		c.m.Data = map[string]string{"a": "b"}
		if _, err := sdk.Send(t.Context(), &c.m); err != nil {
			t.Error(c.m, err)
		}
		var got []string
		for _, a := range sim.Arrivals()[before:] {
			got = append(got, a.Token)
		}
		slices.Sort(got)
		want := slices.Sorted(slices.Values(c.want))
		if !slices.Equal(got, want) {
			t.Errorf("%s%s: %d arrivals, want %d", c.m.Topic, c.m.Condition, len(got), len(want))
		}
	}
	for _, m := range []messaging.Message{
		{Condition: "'rain' in topics and"},
		{Condition: "'a' in topics || 'b' in topics || 'c' in topics || 'd' in topics || 'e' in topics || 'f' in topics"},
		{Topic: strings.Repeat("x", 901)},
	} {
		if _, err := sdk.Send(t.Context(), &m); !messaging.IsInvalidArgument(err) {
			t.Errorf("%+v: %v", m, err)
		}
	}
	// To topics 2048 bytes, refused without FCM's details.
	m := messaging.Message{Topic: "rain", Data: map[string]string{"a": strings.Repeat("x", 2047)}}
	if _, err := sdk.Send(t.Context(), &m); err != nil {
		t.Error(err)
	}
	m.Data["a"] += "x"
	if _, err := sdk.Send(t.Context(), &m); !errorutils.IsInvalidArgument(err) || messaging.IsInvalidArgument(err) {
		t.Error(err)
	}
}

// redirect sends everything to one address.
type redirect struct {
	base http.RoundTripper
	to   string
}

func (r redirect) RoundTrip(req *http.Request) (*http.Response, error) {
	to, err := url.Parse(r.to)
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.URL.Scheme, req.URL.Host = to.Scheme, to.Host
	return r.base.RoundTrip(req)
}
