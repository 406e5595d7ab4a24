package eventlog_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/eventlog/natstest"
)

// said is what was logged; connections log from goroutines of their own.
type said struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// refused is what Connect says and logs instead of opening.
func refused(t *testing.T, o eventlog.RemoteOptions) string {
	t.Helper()
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	var out said
	o.Logger = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	l, err := eventlog.Connect(t.Context(), o)
	if err == nil {
		_ = l.Close()
		t.Fatal("it was opened")
	}
	t.Log(err)
	return err.Error() + "\n" + out.String()
}

func wantText(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%q is not in:\n%s", w, got)
		}
	}
}

func wantNoText(t *testing.T, got string, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		if strings.Contains(got, s) {
			t.Errorf("the secret %q is told in:\n%s", s, got)
		}
	}
}

func TestOptionsAreCheckedBeforeAnythingIsAsked(t *testing.T) {
	dir := t.TempDir()
	rubbish := filepath.Join(dir, "rubbish")
	if err := os.WriteFile(rubbish, []byte("s3cret rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*eventlog.RemoteOptions)
		want   string
	}{
		"no url":                  {func(o *eventlog.RemoteOptions) { o.URLs = nil }, "url"},
		"a url with a password":   {func(o *eventlog.RemoteOptions) { o.URLs = []string{"nats://ada:s3cret@h:4222"} }, "settings of their own"},
		"a url with a token":      {func(o *eventlog.RemoteOptions) { o.URLs = []string{"nats://s3cret@h:4222"} }, "settings of their own"},
		"another scheme":          {func(o *eventlog.RemoteOptions) { o.URLs = []string{"http://h"} }, "nats://"},
		"no host":                 {func(o *eventlog.RemoteOptions) { o.URLs = []string{"nats://:4222"} }, "host"},
		"not a url":               {func(o *eventlog.RemoteOptions) { o.URLs = []string{"nats://h:s3cret"} }, "not a URL"},
		"a monitor's password":    {func(o *eventlog.RemoteOptions) { o.MonitorURLs = []string{"http://a:s3cret@h"} }, "monitor_url"},
		"two replicas":            {func(o *eventlog.RemoteOptions) { o.Replicas = 2 }, "replicas"},
		"a prefix with a dot":     {func(o *eventlog.RemoteOptions) { o.Prefix = "A.B" }, "prefix"},
		"another durability":      {func(o *eventlog.RemoteOptions) { o.Durability = "eventual" }, "durability"},
		"a user alone":            {func(o *eventlog.RemoteOptions) { o.User = "ada" }, "belong together"},
		"two logins":              {func(o *eventlog.RemoteOptions) { o.User, o.Password, o.Token = "ada", "s3cret", "s3cret" }, "only one"},
		"a certificate alone":     {func(o *eventlog.RemoteOptions) { o.TLS.CertFile = rubbish }, "belong together"},
		"no such authorities":     {func(o *eventlog.RemoteOptions) { o.TLS.RootCAFile = filepath.Join(dir, "none") }, "tls.root_ca_file"},
		"rubbish as authorities":  {func(o *eventlog.RemoteOptions) { o.TLS.RootCAFile = rubbish }, "no certificate"},
		"rubbish as certificate":  {func(o *eventlog.RemoteOptions) { o.TLS.CertFile, o.TLS.KeyFile = rubbish, rubbish }, "tls.cert_file"},
		"rubbish as credentials":  {func(o *eventlog.RemoteOptions) { o.CredentialsFile = rubbish }, "credentials_file"},
		"no such credentials":     {func(o *eventlog.RemoteOptions) { o.CredentialsFile = filepath.Join(dir, "none") }, "credentials_file"},
		"rubbish as nkey":         {func(o *eventlog.RemoteOptions) { o.NKeyFile = rubbish }, "nkey_file"},
		"no such file of an nkey": {func(o *eventlog.RemoteOptions) { o.NKeyFile = filepath.Join(dir, "none") }, "nkey_file"},
	} {
		t.Run(name, func(t *testing.T) {
			o := eventlog.RemoteOptions{URLs: []string{"nats://127.0.0.1:1"}, Replicas: 1}
			c.change(&o)
			err := o.Validate()
			if err == nil {
				t.Fatal("taken")
			}
			wantText(t, err.Error(), c.want)
			wantNoText(t, err.Error(), "s3cret")
		})
	}
}

func TestServersThatDoNotAnswerAreNamed(t *testing.T) {
	t.Parallel()
	got := refused(t, eventlog.RemoteOptions{
		URLs:          []string{"nats://127.0.0.1:1", "nats://127.0.0.1:2"},
		User:          "ada",
		Password:      "s3cret",
		ConnectWithin: 3 * time.Second,
	})
	wantText(t, got, "127.0.0.1:1", "127.0.0.1:2", "3s", "refused")
	wantNoText(t, got, "s3cret")
}

func TestConnectWaitsForAServerThatStarts(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{})
	s.Kill9()
	opened := make(chan error, 1)
	go func() {
		l, err := eventlog.Connect(context.Background(), eventlog.RemoteOptions{URLs: []string{s.URL()}, Replicas: 1, ConnectWithin: patience})
		if err == nil {
			err = l.Close()
		}
		opened <- err
	}()
	s.Restart()
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
}

func TestConnectEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if l, err := eventlog.Connect(ctx, eventlog.RemoteOptions{URLs: []string{"nats://127.0.0.1:1"}, Replicas: 1}); err == nil {
		_ = l.Close()
		t.Fatal("it was opened")
	}
}

func TestLoginsAreTakenAndRefused(t *testing.T) {
	t.Parallel()
	nkey, nkeyFile := natstest.NewNKey(t)
	_, otherNKey := natstest.NewNKey(t)
	op, otherOp := natstest.NewOperator(t), natstest.NewOperator(t)
	certs, others := natstest.NewTLS(t), natstest.NewTLS(t)
	trust := eventlog.TLSOptions{RootCAFile: certs.CAFile}
	whole := eventlog.TLSOptions{RootCAFile: certs.CAFile, CertFile: certs.ClientCert, KeyFile: certs.ClientKey}
	strange := eventlog.TLSOptions{RootCAFile: certs.CAFile, CertFile: others.ClientCert, KeyFile: others.ClientKey}
	type options = eventlog.RemoteOptions
	for _, c := range []struct {
		name   string
		config string
		right  options
		wrong  map[string]options // what is wrong, to the login
		want   []string           // in what is said of the wrong ones
	}{
		{
			"user and password", `authorization { users: [{ user: "ada", password: "s3cret" }] }`,
			options{User: "ada", Password: "s3cret"},
			map[string]options{"none": {}, "another password": {User: "ada", Password: "s3cretX"}, "a token": {Token: "s3cret"}},
			[]string{"user", "refused the login"},
		},
		{
			"token", `authorization { token: "s3cret" }`,
			options{Token: "s3cret"},
			map[string]options{"none": {}, "another": {Token: "s3cretX"}},
			[]string{"refused the login"},
		},
		{
			"nkey", fmt.Sprintf("authorization { users: [{ nkey: %s }] }", nkey),
			options{NKeyFile: nkeyFile},
			map[string]options{"none": {}, "another": {NKeyFile: otherNKey}},
			[]string{"refused the login"},
		},
		{
			"credentials", op.Config(),
			options{CredentialsFile: op.CredentialsFile},
			map[string]options{"none": {}, "another operator's": {CredentialsFile: otherOp.CredentialsFile}},
			[]string{"refused the login"},
		},
		{
			"tls", certs.Config(false),
			options{TLS: trust},
			map[string]options{"unknown authority": {}, "another authority": {TLS: eventlog.TLSOptions{RootCAFile: others.CAFile}}},
			[]string{"tls.root_ca_file", "cannot be trusted"},
		},
		{
			"tls with a client's certificate", certs.Config(true),
			options{TLS: whole},
			map[string]options{"no certificate": {TLS: trust}, "another authority's": {TLS: strange}},
			[]string{"tls.cert_file"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t, natstest.Options{Config: c.config})
			secrets := []string{"s3cret"}
			for _, file := range []string{nkeyFile, otherNKey} {
				seed, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				secrets = append(secrets, string(seed))
			}
			var out said
			c.right.URLs, c.right.Logger = []string{s.URL()}, slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
			l := connect(t, c.right)
			st, err := l.Open(t.Context(), "IN_0", "in.0.>")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := st.Append(t.Context(), "in.0.shop", []byte("x"), 0); err != nil {
				t.Fatal(err)
			}
			// The login is good for a reconnect, too.
			s.Restart()
			eventually(t, "the connection to be back", func() bool {
				_, last, err := st.Bounds(t.Context())
				return err == nil && last == 1
			})
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			wantNoText(t, out.String(), secrets...)
			for name, o := range c.wrong {
				t.Run(name, func(t *testing.T) {
					o.URLs = []string{s.URL()}
					got := refused(t, o)
					wantText(t, got, c.want...)
					wantText(t, got, s.Addr())
					wantNoText(t, got, secrets...)
				})
			}
		})
	}
}

func TestAServerWithoutTLSIsRefusedWhereTLSIsAskedFor(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{})
	wantText(t, refused(t, eventlog.RemoteOptions{URLs: []string{"tls://" + s.Addr()}}), "TLS is wanted on one side only")
}

func TestServersThatCannotHoldTheLogAreRefused(t *testing.T) {
	t.Parallel()
	accounts := `accounts { A { users: [{ user: "a", password: "a" }] }, B { jetstream: enabled, users: [{ user: "b", password: "b" }] } }`
	forbidden := `accounts { A { jetstream: enabled, users: [{ user: "a", password: "a", permissions: { publish: ["in.>"], subscribe: [">"] } }] } }`
	readOnly := `accounts { A { jetstream: enabled, users: [{ user: "a", password: "a", permissions: { publish: { deny: ["$JS.API.STREAM.PURGE.>"] } } }] } }`
	login := eventlog.RemoteOptions{User: "a", Password: "a"}
	for name, c := range map[string]struct {
		server natstest.Options
		o      eventlog.RemoteOptions
		want   []string
	}{
		"NATS's default max_payload":      {natstest.Options{MaxPayload: 1 << 20}, eventlog.RemoteOptions{}, []string{"1048576", "max_payload: 5MB"}},
		"no JetStream":                    {natstest.Options{NoJetStream: true}, eventlog.RemoteOptions{}, []string{"JetStream is not enabled"}},
		"no JetStream for the account":    {natstest.Options{Config: accounts}, login, []string{"JetStream is not enabled"}},
		"no permission on the API":        {natstest.Options{Config: forbidden}, login, []string{"permission is missing", "$JS.API"}},
		"no permission to trim":           {natstest.Options{Config: readOnly}, login, []string{"permission is missing", "PURGE"}},
		"three replicas on one server":    {natstest.Options{}, eventlog.RemoteOptions{Replicas: 3}, []string{"replicas", "single"}},
		"power where nothing is synced":   {natstest.Options{}, eventlog.RemoteOptions{Durability: eventlog.DurabilityPower}, []string{"durability", "sync_interval: always"}},
		"another's stream in the way":     {natstest.Options{}, eventlog.RemoteOptions{Prefix: "TAKEN"}, []string{"prefix", "TAKEN_FOOTFALL"}},
		"a user who may subscribe to nil": {natstest.Options{Config: `accounts { A { jetstream: enabled, users: [{ user: "a", password: "a", permissions: { subscribe: ["in.>"] } }] } }`}, login, []string{"permission is missing", "_INBOX"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t, c.server)
			c.o.URLs = []string{s.URL()}
			if c.o.Durability == eventlog.DurabilityPower {
				c.o.MonitorURLs = []string{s.MonitorURL()}
			}
			if c.o.Prefix != "" {
				make1(t, s.URL(), jetstream.StreamConfig{Name: c.o.Prefix + "_FOOTFALL", Subjects: []string{"theirs"}})
			}
			wantText(t, refused(t, c.o), c.want...)
		})
	}
}

func TestAClusterTooSmallForTheReplicasIsRefused(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, natstest.Options{})
	wantText(t, refused(t, eventlog.RemoteOptions{URLs: c.URLs(), Replicas: 5}), "replicas", "no 5 servers")
}

func TestAnOldServerIsRefused(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(c, "INFO {\"server_id\":\"X\",\"version\":\"2.10.29\",\"proto\":1,\"headers\":true,\"max_payload\":8388608}\r\n")
			for lines := bufio.NewScanner(c); lines.Scan(); {
				if lines.Text() == "PING" {
					fmt.Fprint(c, "PONG\r\n")
				}
			}
			_ = c.Close()
		}
	}()
	wantText(t, refused(t, eventlog.RemoteOptions{URLs: []string{"nats://" + ln.Addr().String()}}), "2.10.29", eventlog.MinServerVersion, "acknowledged")
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	<-served
}

func TestPowerIsNotCheckedAtAnotherServer(t *testing.T) {
	t.Parallel()
	lazy, other := natstest.Start(t, natstest.Options{}), natstest.Start(t, natstest.Options{SyncAlways: true})
	wantText(t, refused(t, eventlog.RemoteOptions{
		URLs: []string{lazy.URL()}, MonitorURLs: []string{other.MonitorURL()}, Durability: eventlog.DurabilityPower,
	}), "monitor_url", lazy.Name())
}

// Who asks how far a stream reaches while it is appended to gets an answer.
func TestBoundsAreToldWhileAppendsGoOn(t *testing.T) {
	t.Parallel()
	l := connect(t, eventlog.RemoteOptions{URLs: []string{natstest.Start(t, natstest.Options{}).URL()}})
	defer func() { _ = l.Close() }()
	s, err := l.Open(t.Context(), "IN_0", "in.0.>")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if _, err := s.Append(context.WithoutCancel(ctx), "in.0.shop", []byte("x"), -1); err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	for range 300 {
		if _, _, err := s.Bounds(t.Context()); err != nil {
			t.Error(err)
			break
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestPowerAsksEveryServerAndSaysOnceWhatItCouldNotAsk(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, natstest.Options{SyncAlways: true})
	for name, x := range map[string]struct {
		monitors []string
		want     []string // in the one warning; none when all told
	}{
		"all":             {c.MonitorURLs(), nil},
		"one of three":    {c.MonitorURLs()[:1], []string{"1 of 3 servers"}},
		"none":            {nil, []string{"0 of 3 servers"}},
		"one silent":      {append(c.MonitorURLs()[1:], "http://127.0.0.1:1"), []string{"127.0.0.1:1 (does not answer)", "2 of 3"}},
		"no monitor":      {append(c.MonitorURLs(), "http://"+c.Servers[0].Addr()), []string{c.Servers[0].Addr()}},
		"one named twice": {append(c.MonitorURLs()[:2:2], c.MonitorURLs()[0]), []string{"2 of 3"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out said
			l := connect(t, eventlog.RemoteOptions{
				URLs: c.URLs(), Replicas: 3, MonitorURLs: x.monitors, Durability: eventlog.DurabilityPower,
				Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})),
			})
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			wantText(t, out.String(), x.want...)
			if n := strings.Count(out.String(), "level=WARN"); n != min(1, len(x.want)) {
				t.Errorf("%d warnings:\n%s", n, out.String())
			}
		})
	}
}

// make1 makes a stream behind the log's back.
func make1(t *testing.T, url string, cfg jetstream.StreamConfig) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

func TestStreamsThatAreNotOursAreNotAdopted(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{})
	l := connect(t, eventlog.RemoteOptions{URLs: []string{s.URL()}})
	defer func() { _ = l.Close() }()
	i := 0
	for name, c := range map[string]struct {
		change func(*jetstream.StreamConfig)
		want   string // "" when it is taken
	}{
		"as ours":                {func(*jetstream.StreamConfig) {}, ""},
		"a limit that refuses":   {func(c *jetstream.StreamConfig) { c.MaxBytes, c.Discard = 1<<30, jetstream.DiscardNew }, ""},
		"other subjects":         {func(c *jetstream.StreamConfig) { c.Subjects = []string{"theirs.>"} }, "subjects"},
		"in memory":              {func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, "storage"},
		"a work queue":           {func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, "retention"},
		"an age":                 {func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, "max_age"},
		"a number":               {func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 }, "max_msgs"},
		"a size":                 {func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 30 }, "max_bytes"},
		"a number per subject":   {func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 }, "max_msgs_per_subject"},
		"small messages":         {func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1 << 20 }, "max_msg_size"},
		"written later":          {func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode }, "persist_mode"},
		"without answers":        {func(c *jetstream.StreamConfig) { c.NoAck = true }, "no_ack"},
		"that cannot be trimmed": {func(c *jetstream.StreamConfig) { c.DenyPurge = true }, "deny_purge"},
	} {
		i++
		stream, subject := fmt.Sprintf("S_%d", i), fmt.Sprintf("s%d.>", i)
		cfg := jetstream.StreamConfig{Name: stream, Subjects: []string{subject}, Storage: jetstream.FileStorage}
		c.change(&cfg)
		make1(t, s.URL(), cfg)
		_, err := l.Open(t.Context(), stream, subject)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && err == nil:
			t.Errorf("%s: adopted", name)
		case c.want != "":
			wantText(t, err.Error(), c.want, stream, "not ours")
		}
	}
}

func TestReplicasFollowTheConfiguration(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, natstest.Options{})
	for i, replicas := range []int{1, 3} {
		var out said
		l := connect(t, eventlog.RemoteOptions{
			URLs: c.URLs(), Replicas: replicas, Prefix: "SHOP",
			Logger: slog.New(slog.NewTextHandler(&out, nil)),
		})
		for i, name := range []string{"IN_0", "IN_1"} {
			s, err := l.Open(t.Context(), name, fmt.Sprintf("in.%d.>", i))
			if err != nil {
				t.Fatal(err)
			}
			if i == 1 { // also of a sealed stream
				if err := s.Seal(t.Context()); err != nil {
					t.Fatal(err)
				}
				continue
			}
			eventually(t, "an append", func() bool {
				_, err := s.Append(t.Context(), "in.0.shop", []byte("x"), -1)
				return err == nil
			})
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		nc, err := nats.Connect(c.URLs()[0])
		if err != nil {
			t.Fatal(err)
		}
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"SHOP_FOOTFALL", "SHOP_IN_0", "SHOP_IN_1"} {
			eventually(t, name+" to tell its replicas", func() bool {
				st, err := js.Stream(t.Context(), name)
				return err == nil && st.CachedInfo().Config.Replicas == replicas
			})
		}
		nc.Close()
		if told := strings.Contains(out.String(), "replicas change"); told != (i > 0) {
			t.Errorf("%d replicas: the log is\n%s", replicas, out.String())
		}
	}
}

func TestAnEmbeddedLogIsConnectedUntilItIsClosed(t *testing.T) {
	l := embedded(t, t.TempDir(), "")
	if st := l.Status(); !st.Connected || st.Server != "embedded" || st.Since.IsZero() || st.Reason != "" {
		t.Errorf("status is %+v", st)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if st := l.Status(); st.Connected || st.Reason != "closed" {
		t.Errorf("status is %+v", st)
	}
}
