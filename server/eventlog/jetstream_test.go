package eventlog_test

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/eventlog/eventlogtest"
)

func embedded(t testing.TB, dir string, d eventlog.Durability) *eventlog.JetStream {
	t.Helper()
	l, err := eventlog.OpenEmbedded(context.Background(), eventlog.EmbeddedOptions{Dir: dir, Durability: d})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestEmbeddedKeepsTheContract(t *testing.T) {
	eventlogtest.Run(t, func(t *testing.T) func() eventlog.Log {
		dir := t.TempDir()
		return func() eventlog.Log { return embedded(t, dir, "") }
	})
}

func TestMemoryKeepsTheContract(t *testing.T) {
	eventlogtest.Run(t, func(*testing.T) func() eventlog.Log { return new(eventlogtest.Memory).Open })
}

func TestPowerDurabilityKeepsRecordsAcrossModes(t *testing.T) {
	dir := t.TempDir()
	for i, d := range []eventlog.Durability{eventlog.DurabilityPower, eventlog.DurabilityProcess, eventlog.DurabilityPower} {
		l := embedded(t, dir, d)
		s, err := l.Open(t.Context(), "IN_0", "in.0.>")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Append(t.Context(), "in.0.shop", []byte("x"), int64(i)); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenEmbeddedRefuses(t *testing.T) {
	dir := t.TempDir()
	l := embedded(t, dir, "")
	file := filepath.Join(dir, "lock")
	for name, o := range map[string]eventlog.EmbeddedOptions{
		"no folder":          {},
		"unknown durability": {Dir: t.TempDir(), Durability: "eventual"},
		"a folder in use":    {Dir: dir},
		"a file":             {Dir: file},
	} {
		if l, err := eventlog.OpenEmbedded(t.Context(), o); err == nil {
			t.Errorf("%s: opened", name)
			_ = l.Close()
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if l, err := eventlog.OpenEmbedded(ctx, eventlog.EmbeddedOptions{Dir: dir}); err == nil {
		_ = l.Close() // started before it looked
	}
	if err := embedded(t, dir, "").Close(); err != nil { // the lock is free again
		t.Fatal(err)
	}
}

func TestAClosedLogSaysSo(t *testing.T) {
	l := embedded(t, t.TempDir(), "")
	s, err := l.Open(t.Context(), "IN_0", "in.0.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatalf("second close: %v", err)
	}
	for name, call := range map[string]func() error{
		"open":   func() error { _, err := l.Open(t.Context(), "IN_1", "in.1.>"); return err },
		"append": func() error { _, err := s.Append(t.Context(), "in.0.a", nil, -1); return err },
		"read":   func() error { _, err := s.Read(t.Context(), 1, 1); return err },
		"bounds": func() error { _, _, err := s.Bounds(t.Context()); return err },
		"trim":   func() error { return s.Trim(t.Context(), 1) },
		"seal":   func() error { return s.Seal(t.Context()) },
	} {
		wantErr(t, name, call(), eventlog.ErrClosed)
	}
}

func TestTheServersNoticesAreDebugMessages(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	l, err := eventlog.OpenEmbedded(t.Context(), eventlog.EmbeddedOptions{Dir: t.TempDir(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "level=DEBUG") || strings.Contains(out.String(), "level=INFO") || strings.Contains(out.String(), "level=WARN") {
		t.Fatalf("log is\n%s", out.String())
	}
}

func TestAStreamsSubjectsCanChange(t *testing.T) {
	l := embedded(t, t.TempDir(), "")
	defer func() { _ = l.Close() }()
	ctx := t.Context()
	if _, err := l.Open(ctx, "IN_0", "old.>"); err != nil {
		t.Fatal(err)
	}
	s, err := l.Open(ctx, "IN_0", "in.0.>", "timer.*")
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"in.0.a.b", "timer.a"} {
		if _, err := s.Append(ctx, subject, nil, -1); err != nil {
			t.Error(err)
		}
	}
	for _, subject := range []string{"old.a", "timer.a.b", "timer"} {
		if _, err := s.Append(ctx, subject, nil, -1); err == nil {
			t.Errorf("subject %q was taken", subject)
		}
	}
}
