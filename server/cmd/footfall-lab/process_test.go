package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/config"
)

// A server of its own must keep its log and its documents where the demo does,
// whatever there is to say about that.
func TestAServerOfItsOwnIsToldWhereEverythingIs(t *testing.T) {
	conf := config.Default()
	conf.Limits.RegistrationsPerS = 77
	for i, s := range config.Settings() {
		if !strings.HasPrefix(s.Path, "event_log.") && !strings.HasPrefix(s.Path, "store.") && s.Path != "durability" {
			continue
		}
		if err := conf.Set(s.Path, strconv.Itoa(100+i)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("FOOTFALL_LISTEN", "127.0.0.1:1") // of the machine's user, not of the demo
	t.Setenv("FOOTFALL_RETENTION_DAYS", "1")
	told := map[string]string{}
	for _, kv := range environ(&conf) {
		name, value, _ := strings.Cut(kv, "=")
		told[name] = value
	}
	got, err := config.Load("", func(name string) string { return told[name] })
	if err != nil {
		t.Fatal(err)
	}
	want := conf
	want.Log.Level = "warn"
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestAProcessEndsWithTheOneWhoStartedIt(t *testing.T) {
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}()
	p, url, err := startNATS(t.Context(), t.TempDir(), config.Process, log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(url, "nats://127.0.0.1:") || p.died() {
		t.Errorf("it is at %q, died %t", url, p.died())
	}
	if err := p.input.Close(); err != nil { // as when this process ends
		t.Fatal(err)
	}
	<-p.ended
	if !p.died() {
		t.Error("an end by itself is not noticed")
	}
	if _, err := p.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.kill()
	if p.died() {
		t.Error("an end that was asked for counts as one by itself")
	}
}

func TestAProcessThatDoesNotComeUpIsTold(t *testing.T) {
	p, err := self("nobody", os.Environ(), nil, "run-nats", "--port", "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.start(t.Context()); err == nil || !strings.Contains(err.Error(), "nobody ended before it was up") {
		t.Errorf("said %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.start(ctx); err == nil {
		t.Error("an end of the context is not told")
	}
}
