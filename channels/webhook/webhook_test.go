package webhook_test

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var at = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

// loopback allows what tests listen on.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func sender(t *testing.T, o webhook.Options) *webhook.Sender {
	t.Helper()
	s := webhook.New(o)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func receiver(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv
}

func to(t *testing.T, url string, secrets ...string) webhook.Request {
	t.Helper()
	if len(secrets) == 0 {
		secrets = []string{webhook.NewSecret()}
	}
	typ, body, err := webhook.Body(false, webhook.Event{ID: "e1", Source: "urn:footfall:acme", Type: "footfall.ping", Time: at, Data: json.RawMessage(`{"a":1}`)})
	if err != nil {
		t.Fatal(err)
	}
	r := webhook.Request{URL: url, ID: "e1", At: at, ContentType: typ, Body: body}
	for _, text := range secrets {
		s, err := webhook.ParseSecret(text)
		if err != nil {
			t.Fatal(err)
		}
		r.Secrets = append(r.Secrets, s)
	}
	return r
}

func send(t *testing.T, s *webhook.Sender, r webhook.Request) channels.Outcome {
	t.Helper()
	out, err := s.Send(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAReceiverVerifiesWhatItHears(t *testing.T) {
	old, fresh := webhook.NewSecret(), webhook.NewSecret()
	var header http.Header
	var body []byte
	srv := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		header = r.Header.Clone()
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusNoContent)
	})
	r := to(t, srv.URL+"/hook?shop=1", old, fresh)
	r.Headers = map[string]string{"Authorization": "Bearer x"}
	if out := send(t, sender(t, webhook.Options{AllowNetworks: loopback}), r); out.Kind != channels.Accepted || out.Status != 204 {
		t.Fatalf("outcome %+v", out)
	}
	for _, secret := range []string{old, fresh} {
		if err := webhook.Verify(header, body, at, secret); err != nil {
			t.Errorf("it does not verify: %v", err)
		}
	}
	if header.Get("Authorization") != "Bearer x" || header.Get("User-Agent") != "Footfall" || header.Get("Content-Type") != "application/cloudevents+json" {
		t.Errorf("headers %v", header)
	}
	events, err := webhook.Parse(header.Get("Content-Type"), body)
	if err != nil || len(events) != 1 || events[0].ID != "e1" || !events[0].Time.Equal(at) {
		t.Errorf("events %+v, %v", events, err)
	}
}

func TestWhatAnAnswerMeans(t *testing.T) {
	for name, x := range map[string]struct {
		status int
		header map[string]string
		body   string
		want   channels.Outcome
	}{
		"200": {200, nil, "ok", channels.Outcome{Kind: channels.Accepted, Status: 200, Raw: "ok"}},
		"202": {202, nil, "", channels.Outcome{Kind: channels.Accepted, Status: 202}},
		"a redirect is not followed": {302, map[string]string{"Location": "/elsewhere"}, "", channels.Outcome{
			Kind: channels.Rejected, Reason: "redirect", Status: 302,
		}},
		"400":      {400, nil, "no such shop", channels.Outcome{Kind: channels.Rejected, Reason: "http_400", Status: 400, Raw: "no such shop"}},
		"401":      {401, nil, "", channels.Outcome{Kind: channels.Rejected, Reason: "http_401", Status: 401}},
		"404":      {404, nil, "", channels.Outcome{Kind: channels.Rejected, Reason: "http_404", Status: 404}},
		"408":      {408, nil, "", channels.Outcome{Kind: channels.RetryAfter, Reason: "http_408", Status: 408, Ambiguous: true}},
		"410":      {410, nil, "", channels.Outcome{Kind: channels.TokenGone, Reason: "http_410", Status: 410}},
		"413":      {413, nil, "", channels.Outcome{Kind: channels.Rejected, Reason: "http_413", Status: 413}},
		"429":      {429, map[string]string{"Retry-After": "90"}, "", channels.Outcome{Kind: channels.RetryAfter, Reason: "http_429", Status: 429, RetryAfter: 90 * time.Second, Scope: channels.ScopeCredential}},
		"500":      {500, nil, "oh", channels.Outcome{Kind: channels.RetryAfter, Reason: "http_500", Status: 500, Raw: "oh"}},
		"501":      {501, nil, "", channels.Outcome{Kind: channels.RetryAfter, Reason: "http_501", Status: 501}},
		"503 date": {503, map[string]string{"Retry-After": "Sat, 21 Nov 2026 10:05:00 GMT", "Date": "Sat, 21 Nov 2026 10:00:00 GMT"}, "", channels.Outcome{Kind: channels.RetryAfter, Reason: "http_503", Status: 503, RetryAfter: 5 * time.Minute, Scope: channels.ScopeCredential}},
		"503 past": {503, map[string]string{"Retry-After": "Sat, 21 Nov 2020 10:05:00 GMT"}, "", channels.Outcome{Kind: channels.RetryAfter, Reason: "http_503", Status: 503, Scope: channels.ScopeCredential}},
		"503 junk": {503, map[string]string{"Retry-After": "soon"}, "", channels.Outcome{Kind: channels.RetryAfter, Reason: "http_503", Status: 503, Scope: channels.ScopeCredential}},
		"503 less": {503, map[string]string{"Retry-After": "-5"}, "", channels.Outcome{Kind: channels.RetryAfter, Reason: "http_503", Status: 503, Scope: channels.ScopeCredential}},
		"504":      {504, nil, "", channels.Outcome{Kind: channels.RetryAfter, Reason: "http_504", Status: 504, Ambiguous: true}},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			srv := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
				asked++
				for k, v := range x.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(x.status)
				_, _ = io.WriteString(w, x.body)
			})
			if got := send(t, sender(t, webhook.Options{AllowNetworks: loopback}), to(t, srv.URL)); got != x.want || asked != 1 {
				t.Errorf("asked %d times: %+v, want %+v", asked, got, x.want)
			}
		})
	}
}

func TestALongAnswerIsCutAndOfPeoplesText(t *testing.T) {
	srv := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte("\xff" + strings.Repeat("x", 1<<20)))
	})
	got := send(t, sender(t, webhook.Options{AllowNetworks: loopback}), to(t, srv.URL))
	if got.Kind != channels.Rejected || len(got.Raw) > channels.MaxRaw+3 || !strings.HasPrefix(got.Raw, "\uFFFDxxx") {
		t.Errorf("%s, %d bytes kept: %.10q", got.Kind, len(got.Raw), got.Raw)
	}
}

func TestNoAnswerIsToBeRepeated(t *testing.T) {
	hold := make(chan struct{})
	slow := receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // so that the server notices when the caller goes
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(hold) })
	reset := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}
	})
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		url, reason string
		timeout     time.Duration
		ambiguous   bool
	}{
		"nobody listens":       {nobody, webhook.ReasonConnect, 0, false},
		"reset in the middle":  {reset.URL, webhook.ReasonConnectionLost, 0, true},
		"no answer in time":    {slow.URL, webhook.ReasonTimeout, 200 * time.Millisecond, true},
		"a stranger's cert":    {secure.URL, webhook.ReasonTLS, 0, false},
		"no TLS where it must": {strings.Replace(nobodyTLS(t), "http:", "https:", 1), webhook.ReasonTLS, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := send(t, sender(t, webhook.Options{AllowNetworks: loopback, Timeout: x.timeout}), to(t, x.url))
			if got.Kind != channels.RetryAfter || got.Reason != x.reason || got.Ambiguous != x.ambiguous || got.Raw == "" {
				t.Errorf("%+v, want %s, ambiguous %v", got, x.reason, x.ambiguous)
			}
			if strings.Contains(got.Raw, x.url) {
				t.Errorf("the words show the address: %s", got.Raw)
			}
		})
	}
}

// nobodyTLS speaks plain http.
func nobodyTLS(t *testing.T) string {
	return receiver(t, func(http.ResponseWriter, *http.Request) {}).URL
}

func TestWithinItsOwnAuthorityTLSIsSpoken(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(srv.Close)
	pool := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	if got := send(t, sender(t, webhook.Options{AllowNetworks: loopback, RootCAs: pool}), to(t, srv.URL)); got.Kind != channels.Accepted {
		t.Errorf("%+v", got)
	}
}

// What is refused is judged at the dial: the receiver here is there, and its name is
// good until it is resolved.
func TestPrivateAddressesAreNotDialled(t *testing.T) {
	asked := make(chan string, 10)
	srv := receiver(t, func(_ http.ResponseWriter, r *http.Request) { asked <- r.Host })
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	s := sender(t, webhook.Options{})
	for _, url := range []string{srv.URL, "http://localhost:" + port, "https://localhost:" + port, "http://[::ffff:127.0.0.1]:" + port} {
		got := send(t, s, to(t, url))
		if got.Kind != channels.Misconfigured || got.Reason != webhook.ReasonAddress || got.Ambiguous {
			t.Errorf("%s: %+v", url, got)
		}
	}
	// A redirect to it is not followed either.
	if got := send(t, sender(t, webhook.Options{AllowNetworks: loopback}), to(t, receiver(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, srv.URL, http.StatusTemporaryRedirect)
	}).URL)); got.Reason != webhook.ReasonRedirect {
		t.Errorf("a redirect: %+v", got)
	}
	// Nor is a proxy of the environment asked, which would dial for us.
	t.Setenv("HTTP_PROXY", srv.URL)
	if got := send(t, s, to(t, "http://10.1.2.3/")); got.Reason != webhook.ReasonAddress {
		t.Errorf("with a proxy: %+v", got)
	}
	select {
	case host := <-asked:
		t.Errorf("%s was called", host)
	default:
	}
}

func TestWhichAddressesAreTaken(t *testing.T) {
	allow, err := webhook.ParseNetworks("10.1.0.0/16, 127.0.0.1,fd00::/8")
	if err != nil || len(allow) != 3 {
		t.Fatal(allow, err)
	}
	for url, want := range map[string][2]bool{ // without allowance, with
		"https://shop.example.com/hook":          {true, true},
		"http://shop.example.com/hook":           {false, true}, // its address is judged at the dial
		"https://8.8.8.8":                        {true, true},
		"http://8.8.8.8":                         {false, false},
		"https://[2606:4700::1111]/":             {true, true},
		"https://10.1.2.3":                       {false, true},
		"http://10.1.2.3":                        {false, true},
		"https://10.2.0.1":                       {false, false},
		"https://192.168.1.1":                    {false, false},
		"https://172.16.0.1":                     {false, false},
		"https://169.254.169.254/latest":         {false, false},
		"https://100.64.0.1":                     {false, false},
		"https://0.0.0.0":                        {false, false},
		"https://255.255.255.255":                {false, false},
		"https://224.0.0.1":                      {false, false},
		"https://198.18.0.1":                     {false, false},
		"http://127.0.0.1:8080":                  {false, true},
		"http://127.0.0.2:8080":                  {false, false},
		"http://localhost:8080":                  {false, true},
		"https://sub.localhost.":                 {false, true},
		"https://[::1]":                          {false, false},
		"https://[::]":                           {false, false},
		"https://[::ffff:10.2.0.1]":              {false, false},
		"https://[64:ff9b::7f00:1]":              {false, true}, // NAT64 of 127.0.0.1
		"https://[64:ff9b::808:808]":             {true, true},
		"https://[2002:a00:1::]":                 {false, false}, // 6to4 of 10.0.0.1
		"https://[fe80::1%25eth0]":               {false, false},
		"https://[fd12::1]":                      {false, true},
		"ftp://shop.example.com":                 {false, false},
		"https://user:secret@shop.example.com":   {false, false},
		"https://shop.example.com/#x":            {false, false},
		"https://":                               {false, false},
		"shop.example.com":                       {false, false},
		"https://a/" + strings.Repeat("x", 2000): {false, false},
	} {
		for i, nets := range [][]netip.Prefix{nil, allow} {
			if err := webhook.CheckURL(url, nets); (err == nil) != want[i] {
				t.Errorf("%.60s with %v: %v", url, nets, err)
			} else if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the refusal shows the password: %v", err)
			}
		}
	}
	for _, bad := range []string{"10.0.0.0/99", "shop", "fe80::1%eth0"} {
		if _, err := webhook.ParseNetworks(bad); err == nil {
			t.Errorf("%s is a network", bad)
		}
	}
	mapped, err := webhook.ParseNetworks("::ffff:10.0.0.0/104")
	if err != nil || webhook.CheckURL("https://10.9.9.9", mapped) != nil {
		t.Errorf("%v, %v", mapped, err)
	}
}

func TestHeadersOfOursAndOfTheConnectionAreKept(t *testing.T) {
	for name, ok := range map[string]bool{
		"Authorization": true, "X-Shop": true, "api_key": true,
		"Webhook-Id": false, "webhook-signature": false, "Content-Type": false, "Content-Length": false, "Host": false,
		"Transfer-Encoding": false, "Connection": false, "ce-id": false, "": false, "a b": false, "a\r\nb": false, "Proxy-Authorization": false,
	} {
		if err := webhook.CheckHeader(name, "v"); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, value := range []string{"a\r\nb: c", "a\x00", strings.Repeat("x", 2001)} {
		if err := webhook.CheckHeader("X-Shop", value); err == nil || strings.Contains(err.Error(), value) {
			t.Errorf("%.10q: %v", value, err)
		}
	}
	r := to(t, "https://shop.example.com")
	r.Headers = map[string]string{"Webhook-Id": "mine"}
	if _, err := sender(t, webhook.Options{}).Send(t.Context(), r); err == nil {
		t.Error("it was sent")
	}
}

func TestWithoutAttemptThereIsAnError(t *testing.T) {
	s := sender(t, webhook.Options{AllowNetworks: loopback})
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Send(over, to(t, "https://shop.example.com")); err == nil {
		t.Error("an ended context")
	}
	none := to(t, "https://shop.example.com")
	none.Secrets = nil
	if _, err := s.Send(t.Context(), none); err == nil {
		t.Error("no secret")
	}
	if _, err := s.Send(t.Context(), to(t, "https://a b/secret")); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a malformed address: %v", err)
	}
}
