package mongo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/mongo"
	"github.com/footfall-engage/footfall/server/store/mongo/mongotest"
)

func key(id string) store.Key { return store.Key{Workspace: "w", ID: id} }

func put(id, body string) store.Put {
	return store.Put{Collection: "docs", Key: key(id), Body: []byte(body), If: store.AnyVersion}
}

func batch(puts ...store.Put) store.Batch { return store.Batch{Puts: puts} }

func docs(indexes ...store.Index) []store.Collection {
	return []store.Collection{{Name: "docs", Indexes: indexes}}
}

func unique(name string, paths ...string) store.Index {
	return store.Index{Name: name, Paths: paths, Unique: true}
}

// set is a replica set, on which every test here can rely, and options for it.
func set(t *testing.T) (*replicaSet, mongo.Options) {
	t.Helper()
	uri, serial := mongotest.Peer(t)
	if !serial {
		t.Skip("a scripted server stands before FerretDB only")
	}
	r := newReplicaSet(t, uri)
	o := options(t, uri, false)
	o.URI, o.Collections = engage.Secret(r.uri()), docs()
	return r, o
}

func opened(t *testing.T, o mongo.Options) *mongo.Store {
	t.Helper()
	s := open(t, o)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func wantDoc(t *testing.T, s *mongo.Store, id string, version int64, body string) {
	t.Helper()
	d, err := s.Get(t.Context(), "docs", key(id))
	if version == 0 {
		if !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("%s is there: version %d, %v", id, d.Version, err)
		}
		return
	}
	if err != nil || d.Version != version || string(d.Body) != body {
		t.Fatalf("%s is version %d %s, %v; want version %d %s", id, d.Version, d.Body, err, version, body)
	}
}

func TestServersThatBreakPromisesAreRefused(t *testing.T) {
	for _, test := range []struct {
		name  string
		hello bson.D
		want  string
	}{
		{"standalone", bson.D{{Key: "setName"}, {Key: "hosts"}, {Key: "me"}, {Key: "primary"}}, "transactions need a replica set: the server stands alone"},
		{"old", bson.D{{Key: "maxWireVersion", Value: 8}}, "older than MongoDB 4.4"},
		{"router", bson.D{{Key: "setName"}, {Key: "hosts"}, {Key: "me"}, {Key: "msg", Value: "isdbgrid"}}, ""},
		{"primary", nil, ""},
	} {
		r, o := set(t)
		r.hello = test.hello
		s, err := mongo.Open(t.Context(), o)
		if err == nil {
			err = s.Close()
		}
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error is %v, want %q", test.name, err, test.want)
		}
	}
	if uri, serial := mongotest.Peer(t); serial {
		o := options(t, uri, false)
		if _, err := mongo.Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "transactions need a replica set") {
			t.Errorf("FerretDB itself: error is %v", err)
		}
	}
}

func TestASecondaryIsRefused(t *testing.T) {
	r, o := set(t)
	r.hello = bson.D{{Key: "isWritablePrimary", Value: false}, {Key: "ismaster", Value: false}, {Key: "secondary", Value: true}}
	o.URI += "?directConnection=true"
	if _, err := mongo.Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "not the primary") {
		t.Errorf("error is %v", err)
	}
}

func TestWeakerURIsAreRefusedWithTheReason(t *testing.T) {
	for option, want := range map[string]string{
		"w=1":                             "w other than majority",
		"w=3":                             "w other than majority",
		"w=dc1":                           "w other than majority",
		"journal=false":                   "journal=false",
		"readPreference=secondary":        "readPreference",
		"readPreference=primaryPreferred": "readPreference",
		"readConcernLevel=local":          "readConcernLevel",
		"retryWrites=false":               "retryWrites=false",
		"retryReads=false":                "retryReads=false",
		"nonsense=%zz":                    "cannot be read",
		"tlsCAFile=/nowhere/ca.pem":       "/nowhere/ca.pem",
		"serverSelectionTimeoutMS=soon":   "serverSelectionTimeoutMS",
	} {
		o := mongo.Options{URI: engage.Secret("mongodb://ada:s3cret@127.0.0.1:1/?" + option), Database: "x", Now: time.Now}
		_, err := mongo.Open(t.Context(), o)
		var e *engage.Error
		if !errors.As(err, &e) || e.Field != "uri" || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: error is %v, want one of uri that has %q", option, err, want)
		}
	}
	for name, o := range map[string]mongo.Options{
		"no URI":     {Database: "x", Now: time.Now},
		"no clock":   {URI: "mongodb://127.0.0.1:1/", Database: "x"},
		"scheme":     {URI: "http://127.0.0.1:1/", Database: "x", Now: time.Now},
		"database":   {URI: "mongodb://127.0.0.1:1/", Database: "a b", Now: time.Now},
		"durability": {URI: "mongodb://127.0.0.1:1/", Database: "x", Durability: "hope", Now: time.Now},
	} {
		if _, err := mongo.Open(t.Context(), o); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

func TestNoErrorAndNoLogHoldsThePassword(t *testing.T) {
	const user, password = "adalovelace", "p%40ss%2Fw%3Ard"
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	r := newReplicaSet(t, "")
	r.on(func(c command) bson.D {
		if c.name == "saslStart" {
			d := failure(18, "AuthenticationFailed")
			d[3].Value = "could not authenticate " + user + " with p@ss/w:rd"
			return d
		}
		return nil
	})
	for name, test := range map[string]struct{ host, want string }{
		"refused":     {r.address(), "authenticate"},
		"unreachable": {closed.Addr().String(), "reach the server"},
		"TLS":         {r.address() + "/?tls=true", ""},
		"unescaped":   {"x/p@" + r.address(), ""},
	} {
		var log bytes.Buffer
		host, query, _ := strings.Cut(test.host, "/?")
		uri := "mongodb://" + user + ":" + password + "@" + host + "/?serverSelectionTimeoutMS=1500&" + query
		_, err := mongo.Open(t.Context(), mongo.Options{
			URI: engage.Secret(uri), Database: "x", Now: time.Now, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error is %v", name, err)
			continue
		}
		for _, secret := range []string{user, password, "p@ss/w:rd"} {
			if strings.Contains(err.Error()+log.String(), secret) {
				t.Errorf("%s: %q is in %v or in %s", name, secret, err, &log)
			}
		}
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := mongo.Options{URI: "mongodb://127.0.0.1:1/", Database: "x", Now: time.Now}
	if _, err := mongo.Open(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
}

func TestPowerIsCheckedWhereTheServerTells(t *testing.T) {
	good := bson.D{
		{Key: "replSetGetConfig", Value: bson.D{{Key: "config", Value: bson.D{{Key: "writeConcernMajorityJournalDefault", Value: true}}}, {Key: "ok", Value: 1}}},
		{Key: "serverStatus", Value: bson.D{{Key: "storageEngine", Value: bson.D{{Key: "name", Value: "wiredTiger"}, {Key: "persistent", Value: true}}}, {Key: "ok", Value: 1}}},
	}
	with := func(command string, answer bson.D) bson.D {
		d := slices.Clone(good)
		for i := range d {
			if d[i].Key == command {
				d[i].Value = answer
			}
		}
		return d
	}
	for _, test := range []struct {
		name      string
		answers   bson.D
		err, warn string
	}{
		{"good", good, "", ""},
		{"no journal", with("replSetGetConfig", bson.D{{Key: "config", Value: bson.D{{Key: "writeConcernMajorityJournalDefault", Value: false}}}, {Key: "ok", Value: 1}}), "writeConcernMajorityJournalDefault false", ""},
		{"in memory", with("serverStatus", bson.D{{Key: "storageEngine", Value: bson.D{{Key: "name", Value: "inMemory"}}}, {Key: "ok", Value: 1}}), "inMemory", ""},
		{"no right to one", with("replSetGetConfig", failure(13, "Unauthorized")), "", "not checked: writeConcernMajorityJournalDefault"},
		{"no right to the other", with("serverStatus", failure(13, "Unauthorized")), "", "not checked: the storage engine"},
	} {
		r, o := set(t)
		var log bytes.Buffer
		o.Durability, o.Logger = mongo.DurabilityPower, slog.New(slog.NewTextHandler(&log, nil))
		r.on(func(c command) bson.D {
			answer, _ := (command{body: test.answers}).get(c.name).(bson.D)
			return answer
		})
		s, err := mongo.Open(t.Context(), o)
		if err == nil {
			err = s.Close()
		}
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: error is %v, want %q", test.name, err, test.err)
		}
		if !strings.Contains(log.String(), test.warn) || test.warn == "" && log.Len() > 0 {
			t.Errorf("%s: log is %q, want %q", test.name, &log, test.warn)
		}
	}
}

// field follows a path of names through documents and arrays of one.
func field(d any, path ...string) any {
	for _, name := range path {
		if a, ok := d.(bson.A); ok && len(a) == 1 {
			d = a[0]
		}
		doc, _ := d.(bson.D)
		d = (command{body: doc}).get(name)
	}
	return d
}

func wantMajority(t *testing.T, c command) {
	t.Helper()
	if w, j := field(c.body, "writeConcern", "w"), field(c.body, "writeConcern", "j"); w != "majority" || j != true {
		t.Errorf("%s has write concern w %v, j %v", c.name, w, j)
	}
}

func TestOneChangeIsOneConditionalCommand(t *testing.T) {
	r, o := set(t)
	s := opened(t, o)
	ifVersion := func(p store.Put, v int64) store.Put {
		p.If = v
		return p
	}
	for _, test := range []struct {
		b       store.Batch
		command string
		upsert  any
		version any
	}{
		{batch(ifVersion(put("a", `{}`), 0)), "insert", nil, nil},
		{batch(ifVersion(put("a", `{}`), 1)), "update", nil, int64(1)},
		{batch(put("a", `{}`)), "update", true, nil},
		{store.Batch{Deletes: []store.Delete{{Collection: "docs", Key: key("a"), If: 3}}}, "delete", nil, int64(3)},
		{store.Batch{Deletes: []store.Delete{{Collection: "docs", Key: key("a")}}}, "delete", nil, nil},
	} {
		r.forget()
		if err := s.Apply(t.Context(), test.b); err != nil {
			t.Fatal(err)
		}
		all := slices.Concat(r.seen("insert"), r.seen("update"), r.seen("delete"), r.seen("find"), r.seen("commitTransaction"))
		if len(all) != 1 || all[0].name != test.command {
			t.Fatalf("commands are %+v, want one %s", all, test.command)
		}
		c := all[0]
		wantMajority(t, c)
		if c.get("txnNumber") == nil || c.get("lsid") == nil {
			t.Errorf("%s is no retryable write", c.name)
		}
		version := field(c.body, c.name+"s", "q", "v")
		if c.name != "insert" && (field(c.body, c.name+"s", "q", "_id") != "w\x00a" || version != test.version || field(c.body, c.name+"s", "upsert") != test.upsert) {
			t.Errorf("%s is %v", c.name, c.body)
		}
	}
	wantDoc(t, s, "a", 0, "")
	r.forget()
	wantDoc(t, s, "a", 0, "")
	c := r.seen("find")[0]
	if field(c.body, "readConcern", "level") != "majority" || field(c.body, "readConcern", "afterClusterTime") == nil {
		t.Errorf("a read after a write has read concern %v", c.get("readConcern"))
	}
}

func TestABatchIsATransaction(t *testing.T) {
	r, o := set(t)
	o.Collections = docs(unique("email", "email"))
	s := opened(t, o)
	r.forget()
	if err := s.Apply(t.Context(), batch(put("a", `{"email":"e"}`))); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	all := slices.DeleteFunc(slices.Clone(r.commands), func(c command) bool { return c.get("autocommit") == nil })
	r.mu.Unlock()
	var names []string
	for i, c := range all {
		names = append(names, fmt.Sprint(c.name, " ", c.body[0].Value))
		if c.get("autocommit") != false || c.get("lsid") == nil || fmt.Sprint(c.get("lsid"), c.get("txnNumber")) != fmt.Sprint(all[0].get("lsid"), all[0].get("txnNumber")) {
			t.Errorf("%s is of another transaction", c.name)
		}
		if starts := c.get("startTransaction") == true; starts != (i == 0) {
			t.Errorf("command %d: startTransaction is %v", i, starts)
		}
	}
	want := []string{"find doc_docs", "find identifiers", "insert identifiers", "insert doc_docs", "commitTransaction 1"}
	if !slices.Equal(names, want) {
		t.Fatalf("the transaction is %q, want %q", names, want)
	}
	if level := field(all[0].body, "readConcern", "level"); level != "snapshot" {
		t.Errorf("read concern is %v", level)
	}
	wantMajority(t, all[len(all)-1])

	// A no is confirmed by a commit, and wrote nothing.
	r.forget()
	if err := s.Apply(t.Context(), batch(put("b", `{"email":"e"}`))); !errors.Is(err, store.ErrUnique) {
		t.Fatalf("error is %v", err)
	}
	if len(r.seen("insert")) != 0 || len(r.seen("commitTransaction")) != 1 {
		t.Error("a no wrote something, or was not confirmed")
	}
}

// times has an answer for the first n commands of a name (n < 0: all).
func times(n int, name string, d bson.D) func(command) bson.D {
	var met atomic.Int64
	return func(c command) bson.D {
		if c.name != name || met.Add(1) > int64(n) && n >= 0 {
			return nil
		}
		return d
	}
}

func TestTransactionsAreRetried(t *testing.T) {
	conflict := failure(112, "WriteConflict", "TransientTransactionError")
	duplicate := bson.D{{Key: "ok", Value: 1}, {Key: "n", Value: 0}, {Key: "writeErrors", Value: bson.A{
		bson.D{{Key: "index", Value: 0}, {Key: "code", Value: 11000}, {Key: "errmsg", Value: "E11000"}},
	}}}
	short := bson.D{{Key: "ok", Value: 1}, {Key: "n", Value: 0}, {Key: "nModified", Value: 0}}
	unknown := failure(91, "ShutdownInProgress", "UnknownTransactionCommitResult", "RetryableWriteError")
	for _, test := range []struct {
		name    string
		answer  func(command) bson.D
		begins  int
		commits int // at least
	}{
		{"write conflict", times(3, "insert", conflict), 4, 1},
		{"duplicate key that the snapshot did not show", times(2, "insert", duplicate), 3, 1},
		{"another version than was read", times(2, "update", short), 3, 1},
		{"conflict of a read", times(1, "find", conflict), 2, 1},
		{"connection lost in a write", times(1, "insert", drop), 2, 1},
		{"conflict at the commit", times(2, "commitTransaction", conflict), 3, 3},
		{"commit unknown", times(3, "commitTransaction", unknown), 1, 4},
		{"commit without an answer", times(2, "commitTransaction", drop), 1, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, o := set(t)
			s := opened(t, o)
			if err := s.Apply(t.Context(), batch(put("old", `{}`))); err != nil {
				t.Fatal(err)
			}
			r.forget()
			r.on(test.answer)
			if err := s.Apply(t.Context(), batch(put("new", `{"n":1}`), put("old", `{"n":1}`))); err != nil {
				t.Fatal(err)
			}
			begins := 0
			for _, c := range r.seen("find") {
				if c.get("startTransaction") == true {
					begins++
				}
			}
			if begins != test.begins || len(r.seen("commitTransaction")) < test.commits {
				t.Errorf("%d transactions and %d commits, want %d and %d", begins, len(r.seen("commitTransaction")), test.begins, test.commits)
			}
			wantDoc(t, s, "new", 1, `{"n":1}`)
			wantDoc(t, s, "old", 2, `{"n":1}`)
		})
	}
}

func TestAnUnknownOutcomeIsCalledSo(t *testing.T) {
	for _, test := range []struct {
		command string
		b       store.Batch
	}{
		{"commitTransaction", batch(put("a", `{}`), put("b", `{}`))},
		{"update", batch(put("a", `{}`))},
	} {
		r, o := set(t)
		s := opened(t, mongo.WithPatience(o, 300*time.Millisecond))
		r.on(times(-1, test.command, drop))
		err := s.Apply(t.Context(), test.b)
		var e *mongo.Error
		if !errors.Is(err, mongo.ErrOutcomeUnknown) || !errors.As(err, &e) || !e.Temporary {
			t.Errorf("%s: error is %v", test.command, err)
		}
	}
}

func TestServersWordsAreNotQuoted(t *testing.T) {
	r, o := set(t)
	s := opened(t, o)
	r.on(func(c command) bson.D {
		if c.name == "find" || c.name == "insert" {
			return failure(13, "Unauthorized")
		}
		return nil
	})
	p := put("a", `{}`)
	p.If = 0
	_, err := s.Get(t.Context(), "docs", key("a"))
	for _, err := range []error{err, s.Apply(t.Context(), batch(p)), s.Apply(t.Context(), batch(p, p))} {
		var e *mongo.Error
		if !errors.As(err, &e) || e.Unknown || !slices.Contains(e.Codes, 13) || strings.Contains(err.Error(), "secret words") {
			t.Errorf("error is %v", err)
		}
	}
}

func TestCancelledBeforeTheCommitWritesNothing(t *testing.T) {
	r, o := set(t)
	s := opened(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	r.on(func(c command) bson.D {
		if c.name == "insert" {
			cancel()
		}
		return nil
	})
	if err := s.Apply(ctx, batch(put("a", `{}`), put("b", `{}`))); !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	if len(r.seen("abortTransaction")) != 1 || len(r.seen("commitTransaction")) != 0 {
		t.Error("the transaction was not aborted")
	}
	wantDoc(t, s, "a", 0, "")
	wantDoc(t, s, "b", 0, "")
}

func TestBodiesTooLargeWithTheirProjectionAreRefused(t *testing.T) {
	_, o := set(t)
	s := opened(t, o)
	var body strings.Builder
	body.WriteString(`{"` + strings.Repeat("x", 200) + `":{`)
	for i := 0; body.Len() < 2<<20; i++ {
		fmt.Fprintf(&body, `"m%d":1,`, i)
	}
	body.WriteString(`"z":1}}`)
	err := s.Apply(t.Context(), batch(put("good", `{}`), put("a", body.String())))
	var arg *store.ArgError
	if !errors.Is(err, store.ErrBadBatch) || !errors.As(err, &arg) || arg.Field != "puts[1].body" {
		t.Fatalf("error is %v", err)
	}
	wantDoc(t, s, "good", 0, "")
}

func TestTargetingIsJudged(t *testing.T) {
	for _, test := range []struct {
		filter bson.D
		good   bool
	}{
		{bson.D{{Key: "_id", Value: "a"}}, true},
		{bson.D{{Key: "$and", Value: bson.A{bson.D{{Key: "_id", Value: bson.D{{Key: "$gte", Value: "a"}, {Key: "$lt", Value: "b"}}}}, bson.D{{Key: "w", Value: "a"}}}}}, true},
		{bson.D{{Key: "w", Value: "a"}}, false},
		{bson.D{}, false},
		{bson.D{{Key: "_id", Value: bson.D{{Key: "$gte", Value: ""}}}}, false},
	} {
		raw, err := bson.Marshal(test.filter)
		if err != nil {
			t.Fatal(err)
		}
		if msg := targeted("update", raw); (msg == "") != test.good {
			t.Errorf("%v: %q", test.filter, msg)
		}
	}
}
