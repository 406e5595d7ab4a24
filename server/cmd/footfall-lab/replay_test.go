package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/eventlog/natstest"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/mongo"
	"github.com/footfall-engage/footfall/server/store/mongo/mongotest"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

// runReplay runs the command as a shell would, and reads its one object.
func runReplay(t *testing.T, args ...string) (code int, r played, errs string) {
	t.Helper()
	var out, said bytes.Buffer
	code = run(t.Context(), append([]string{"replay", "--json"}, args...), &out, &said)
	d := json.NewDecoder(&out)
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatalf("exit %d, no result: %v\n%s", code, err, &said)
	}
	return code, r, said.String()
}

// The streams of one demo are played on every log and store that a server can have,
// in both modes and with other commits: decisions, traces, states and timers are
// those of the demo, byte for byte.
func TestOneDemoReplaysTheSameOnEveryLogAndStore(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "demo.tape")
	// A small town: the MongoDB of these tests may be FerretDB, which is slow.
	if code, r, errs := runDemo(t, "--people", "16", "--shops", "8", "--duration", "3s", "--record", file); code != 0 || r.Audit.Decided < 10 {
		t.Fatalf("exit %d, %d decisions\n%s", code, r.Audit.Decided, errs)
	}
	tape, err := readTape(file)
	if err != nil {
		t.Fatal(err)
	}
	nats := natstest.Start(t, natstest.Options{})
	uri, serial := mongotest.Peer(t)
	logs := map[string]func(*testing.T) eventlog.Log{
		"embedded": func(t *testing.T) eventlog.Log {
			l, err := eventlog.OpenEmbedded(t.Context(), eventlog.EmbeddedOptions{Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			return l
		},
		"nats": func(t *testing.T) eventlog.Log {
			l, err := eventlog.Connect(t.Context(), eventlog.RemoteOptions{
				URLs: []string{nats.URL()}, Replicas: 1, Prefix: regexp.MustCompile(`\W`).ReplaceAllString(strings.ToUpper(filepath.Base(t.Name())), "_"),
			})
			if err != nil {
				t.Fatal(err)
			}
			return l
		},
	}
	now := func() time.Time { return tape.At }
	stores := map[string]func(*testing.T) store.Store{
		"sqlite": func(t *testing.T) store.Store {
			s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "replay.db"), Collections: app.AllCollections(), Now: now})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		"mongodb": func(t *testing.T) store.Store {
			s, err := mongo.Open(t.Context(), mongo.Options{
				URI: engage.Secret(uri), Database: mongotest.Database(t, uri), Collections: app.AllCollections(), Now: now, Serial: serial,
			})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
	}
	type how struct {
		mode  partition.Mode
		batch int
	}
	for log := range logs {
		for kept := range stores {
			hows := []how{{partition.Fast, 0}, {partition.Reference, 7}}
			if kept == "sqlite" {
				hows = append(hows, how{partition.Fast, 1}, how{partition.Reference, 64})
			}
			for _, h := range hows {
				t.Run(fmt.Sprintf("%s %s %s %d", log, kept, h.mode, h.batch), func(t *testing.T) {
					l, s := logs[log](t), stores[kept](t)
					defer func() {
						if err := l.Close(); err != nil {
							t.Error(err)
						}
						if err := s.Close(); err != nil {
							t.Error(err)
						}
					}()
					got, err := app.Replay(t.Context(), tape, app.ReplayOptions{Log: l, Store: s, Mode: h.mode, MaxBatch: h.batch})
					if err != nil {
						t.Fatal(err)
					}
					if d := got.Difference(tape.Live); d != "" || !maps.Equal(got.Digests(), tape.Live.Digests()) {
						t.Errorf("not what the demo made of it: %s", d)
					}
				})
			}
		}
	}
	t.Run("by the command", func(t *testing.T) {
		dump := filepath.Join(t.TempDir(), "dump.txt")
		code, r, errs := runReplay(t, file, "--event-log", nats.URL(), "--dump", dump)
		if code != 0 || !r.Same || r.Difference != "" || r.On != (names{"nats", "sqlite"}) || r.Records["CONFIG"] != len(tape.Config) {
			t.Errorf("exit %d: %+v\n%s", code, r, errs)
		}
		if !maps.Equal(r.Results, tape.Live.Digests()) {
			t.Errorf("digests are %v", r.Results)
		}
		var want bytes.Buffer
		if _, err := tape.Live.WriteTo(&want); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(dump); err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Errorf("the dump is not what the demo made: %v", err)
		}
	})
	t.Run("in a folder that is not empty", func(t *testing.T) {
		dir := t.TempDir()
		if code, _, errs := runReplay(t, file, "--data", dir); code != 0 {
			t.Fatalf("exit %d\n%s", code, errs)
		}
		var out, errs bytes.Buffer
		if code := run(t.Context(), []string{"replay", file, "--data", dir}, &out, &errs); code != exitFailed || !strings.Contains(errs.String(), "is not empty") {
			t.Errorf("exit %d\n%s", code, &errs)
		}
	})
	// The control: a phone said one thing less, and the command names what differs.
	t.Run("another stream", func(t *testing.T) {
		withoutAnItem(t, tape)
		other := filepath.Join(t.TempDir(), "other.tape")
		var b bytes.Buffer
		if _, err := tape.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(other, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		code, r, errs := runReplay(t, other)
		if code != exitFailed || r.Same || r.Difference == "" || !strings.Contains(errs, r.Difference) || maps.Equal(r.Results, tape.Live.Digests()) {
			t.Errorf("exit %d: %+v\n%s", code, r, errs)
		}
	})
}

// withoutAnItem takes the last thing that a phone said off a tape.
func withoutAnItem(t *testing.T, tape *app.Tape) {
	t.Helper()
	for i, m := range slices.Backward(tape.Streams["in/0"]) {
		entries, err := engage.DecodeRecord(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(entries, func(e engage.Entry) bool { return e.Kind == engage.KindItem })
		if at >= 0 {
			tape.Streams["in/0"][i].Data = engage.EncodeRecord(slices.Delete(entries, at, at+1))
			return
		}
	}
	t.Fatal("in/0 has no item")
}

// A whole demo, whose NATS server and server die by kill -9 in turn: nothing is
// lost or doubled, and its streams replay the same.
func TestADemoWhoseNATSAndServerAreKilledLosesNothing(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "demo.tape")
	code, r, errs := runDemo(t, "--people", "60", "--duration", "12s", "--nats", "--kill", "nats,server", "--record", file)
	if code != 0 || r.Lost != 0 || r.Duplicates != 0 || r.Audit.Unordered != 0 {
		t.Errorf("exit %d, lost %d, duplicates %d: %+v\n%s", code, r.Lost, r.Duplicates, r.Audit, errs)
	}
	if r.On != (names{"nats", "sqlite"}) || r.Kills[killNATS] < 1 || r.Kills[killServer] < 2 || r.Fixes == 0 || r.Decisions.Sent == 0 {
		t.Errorf("too little happened to prove anything: %+v", r)
	}
	if code, r, errs := runReplay(t, file); code != 0 || !r.Same {
		t.Errorf("exit %d: %+v\n%s", code, r, errs)
	}
}

// What a temporary run makes on servers of others is gone afterwards.
func TestADemoLeavesNothingOnAnotherNATSServer(t *testing.T) {
	t.Parallel()
	nats := natstest.Start(t, natstest.Options{})
	code, r, errs := runDemo(t, "--people", "10", "--duration", "1s", "--event-log", nats.URL())
	if code != 0 || r.Lost != 0 || r.On.EventLog != "nats" || r.Fixes == 0 {
		t.Errorf("exit %d: %+v\n%s", code, r, errs)
	}
	err := withStreams(t.Context(), nats.URL(), nil, func(_ jetstream.JetStream, streams []string) error {
		if len(streams) > 0 {
			t.Errorf("left there: %q", streams)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// The demo with its documents in MongoDB, and nothing of it there afterwards.
func TestADemoOnMongoDBLosesNothing(t *testing.T) {
	t.Parallel()
	uri, serial := mongotest.Peer(t)
	var progress bytes.Buffer
	d := &demo{
		o: demoOptions{Seed: 1, People: 12, Shops: 8, Speed: 30, Duration: 2 * time.Second},
		env: func(name string) string {
			if name == "FOOTFALL_STORE_MONGODB_URI" {
				return uri
			}
			return ""
		},
		progress: &progress, log: warnings(t.Output()), options: app.Options{SerialStore: serial},
	}
	r, err := d.run(t.Context())
	if err != nil || r == nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	if r.Lost != 0 || r.Duplicates != 0 || r.Audit.Unordered != 0 || r.On != (names{"embedded", "mongodb"}) || r.Fixes == 0 || r.Audit.Decided == 0 {
		t.Errorf("%+v\n%s", r, &progress)
	}
	client, err := driver.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal("the URI is not good")
	}
	defer func() {
		if err := client.Disconnect(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	databases, err := client.ListDatabaseNames(t.Context(), bson.D{})
	if err != nil || slices.Contains(databases, d.conf.Store.MongoDB.Database) {
		t.Errorf("left there: %q, %v", d.conf.Store.MongoDB.Database, err)
	}
}
