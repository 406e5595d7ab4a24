package mongo_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

const (
	opReply = 1
	opQuery = 2004
	opMsg   = 2013
)

// replicaSet stands before FerretDB and pretends to be the primary of a replica
// set. Transactions run one after the other; their writes wait for the commit, so
// that an abort leaves nothing. It knows no conflicts but those that a test makes.
// Without a server behind it answers what it can answer itself.
type replicaSet struct {
	t        testing.TB
	behind   string // address, or nothing
	listener net.Listener
	turn     sync.Mutex // held by a transaction under way, or for a command

	mu       sync.Mutex // guards what follows
	hello    bson.D     // what is different from a good primary
	answer   func(c command) bson.D
	commands []command
	txns     map[string]*transaction
	clock    uint32
}

// command is one that came, without what only transports it.
type command struct {
	name string
	db   string
	body bson.D
}

func (c command) get(field string) any {
	for _, e := range c.body {
		if e.Key == field {
			return e.Value
		}
	}
	return nil
}

type transaction struct{ writes []bson.D }

// newReplicaSet serves until the test ends; uri is of the server behind it, or
// empty.
func newReplicaSet(t testing.TB, uri string) *replicaSet {
	t.Helper()
	r := &replicaSet{t: t, txns: map[string]*transaction{}}
	if uri != "" {
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		r.behind = u.Host
	}
	var err error
	if r.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	serving.Go(func() {
		for {
			c, err := r.listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			serving.Go(func() { r.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = r.listener.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return r
}

func (r *replicaSet) address() string { return r.listener.Addr().String() }

func (r *replicaSet) uri() string { return "mongodb://" + r.address() + "/" }

// on has f answer commands; nil means as usual.
func (r *replicaSet) on(f func(c command) bson.D) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

// seen returns the commands of that name, and forgets all.
func (r *replicaSet) seen(name string) []command {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []command
	for _, c := range r.commands {
		if c.name == name {
			out = append(out, c)
		}
	}
	return out
}

func (r *replicaSet) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commands = nil
}

func (r *replicaSet) greeting() bson.D {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := bson.D{
		{Key: "helloOk", Value: true},
		{Key: "ismaster", Value: true},
		{Key: "isWritablePrimary", Value: true},
		{Key: "setName", Value: "rs0"},
		{Key: "setVersion", Value: 1},
		{Key: "hosts", Value: bson.A{r.address()}},
		{Key: "me", Value: r.address()},
		{Key: "primary", Value: r.address()},
		{Key: "maxBsonObjectSize", Value: 16 << 20},
		{Key: "maxMessageSizeBytes", Value: 48_000_000},
		{Key: "maxWriteBatchSize", Value: 100_000},
		{Key: "logicalSessionTimeoutMinutes", Value: 30},
		{Key: "minWireVersion", Value: 0},
		{Key: "maxWireVersion", Value: 21},
		{Key: "ok", Value: 1},
	}
	for _, change := range r.hello {
		i := slices.IndexFunc(d, func(e bson.E) bool { return e.Key == change.Key })
		switch {
		case i < 0:
			d = append(d, change)
		case change.Value == nil:
			d = slices.Delete(d, i, i+1)
		default:
			d[i] = change
		}
	}
	return d
}

// drop from a test's answer has the connection closed instead.
var drop = bson.D{{Key: "drop", Value: true}}

func (r *replicaSet) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	var behind net.Conn
	if r.behind != "" {
		var err error
		if behind, err = net.Dial("tcp", r.behind); err != nil {
			r.t.Errorf("reach FerretDB: %v", err)
			return
		}
		defer func() { _ = behind.Close() }()
	}
	for {
		id, opcode, payload, err := readMessage(c)
		if err != nil {
			return
		}
		if opcode == opQuery {
			raw, _ := bson.Marshal(r.greeting())
			head := make([]byte, 20)
			binary.LittleEndian.PutUint32(head[16:], 1)
			if writeMessage(c, id, opReply, append(head, raw...)) != nil {
				return
			}
			continue
		}
		cmd, err := parseCommand(payload)
		if err != nil {
			r.t.Errorf("parse a command: %v", err)
			return
		}
		reply, err := r.handle(cmd, func(d bson.D) (bson.D, error) { return forward(behind, d) })
		if err != nil || reply == nil {
			return
		}
		r.mu.Lock()
		r.clock++
		at := bson.Timestamp{T: 1, I: r.clock}
		r.mu.Unlock()
		reply = append(reply, bson.E{Key: "operationTime", Value: at}, bson.E{Key: "$clusterTime", Value: bson.D{{Key: "clusterTime", Value: at}}})
		if writeDoc(c, id, reply) != nil {
			return
		}
	}
}

// handle answers a command; no answer means that the connection breaks.
func (r *replicaSet) handle(cmd command, behind func(bson.D) (bson.D, error)) (bson.D, error) {
	r.mu.Lock()
	r.commands = append(r.commands, cmd)
	answer := r.answer
	r.mu.Unlock()
	key := fmt.Sprintf("%v %v", cmd.get("lsid"), cmd.get("txnNumber"))
	inTxn := cmd.get("autocommit") != nil
	if cmd.get("startTransaction") == true {
		r.turn.Lock()
		r.mu.Lock()
		r.txns[key] = &transaction{}
		r.mu.Unlock()
	}
	r.mu.Lock()
	txn := r.txns[key]
	r.mu.Unlock()
	end := func() {
		if txn != nil {
			r.mu.Lock()
			delete(r.txns, key)
			r.mu.Unlock()
			r.turn.Unlock()
		}
	}
	if answer != nil {
		if d := answer(cmd); d != nil {
			if failed := d[0].Key != "ok" || d[0].Value != 1; failed && inTxn && (cmd.name != "commitTransaction" || over(d)) {
				end() // as a server does
			}
			if d[0].Key == "drop" {
				return nil, nil
			}
			return d, nil
		}
	}
	ok := bson.D{{Key: "ok", Value: 1}}
	switch cmd.name {
	case "hello", "isMaster", "ismaster":
		return r.greeting(), nil
	case "ping", "endSessions", "killCursors":
		return ok, nil
	case "abortTransaction":
		end()
		return ok, nil
	case "commitTransaction":
		if txn == nil {
			return ok, nil // again
		}
		defer end()
		for _, w := range txn.writes {
			d, err := behind(w)
			if err != nil {
				return nil, err
			}
			if (command{body: d}).get("writeErrors") != nil || (command{body: d}).get("errmsg") != nil {
				r.t.Errorf("a write of a transaction failed at its commit: %v", d)
			}
		}
		return ok, nil
	}
	if r.behind == "" {
		return bson.D{{Key: "ok", Value: 0}, {Key: "code", Value: 59}, {Key: "codeName", Value: "CommandNotFound"}, {Key: "errmsg", Value: "no such command"}}, nil
	}
	plain := plainCommand(cmd.body)
	if !inTxn {
		r.turn.Lock()
		defer r.turn.Unlock()
		return behind(plain)
	}
	if txn == nil {
		return failure(251, "NoSuchTransaction", "TransientTransactionError"), nil
	}
	for _, list := range []string{"documents", "updates", "deletes"} {
		if a, writes := cmd.get(list).(bson.A); writes {
			txn.writes = append(txn.writes, plain)
			return bson.D{{Key: "ok", Value: 1}, {Key: "n", Value: len(a)}, {Key: "nModified", Value: len(a)}}, nil
		}
	}
	return behind(plain)
}

// over: a failed commit ends the transaction unless it can be asked again.
func over(d bson.D) bool {
	labels, _ := (command{body: d}).get("errorLabels").([]string)
	return slices.Contains(labels, "TransientTransactionError")
}

func failure(code int, name string, labels ...string) bson.D {
	return bson.D{
		{Key: "ok", Value: 0},
		{Key: "code", Value: code},
		{Key: "codeName", Value: name},
		{Key: "errmsg", Value: "secret words"},
		{Key: "errorLabels", Value: labels},
	}
}

// plainCommand is a command without what FerretDB does not know.
func plainCommand(d bson.D) bson.D {
	out := slices.Clone(d)
	return slices.DeleteFunc(out, func(e bson.E) bool {
		return slices.Contains([]string{
			"lsid", "txnNumber", "startTransaction", "autocommit", "readConcern", "writeConcern", "$clusterTime", "hint", "recoveryToken",
		}, e.Key)
	})
}

func forward(behind net.Conn, d bson.D) (bson.D, error) {
	if err := writeDoc(behind, 0, d); err != nil {
		return nil, err
	}
	_, _, payload, err := readMessage(behind)
	if err != nil {
		return nil, err
	}
	var out bson.D
	return out, bson.Unmarshal(payload[5:], &out)
}

func parseCommand(payload []byte) (command, error) {
	var c command
	lists := bson.D{}
	for rest := payload[4:]; len(rest) > 0; { // behind the flags
		kind := rest[0]
		rest = rest[1:]
		size := int(binary.LittleEndian.Uint32(rest))
		section := rest[:size]
		rest = rest[size:]
		if kind == 0 {
			if err := bson.Unmarshal(section, &c.body); err != nil {
				return c, err
			}
			continue
		}
		end := slices.Index(section[4:], 0) + 4
		docs := bson.A{}
		for at := end + 1; at < size; {
			n := int(binary.LittleEndian.Uint32(section[at:]))
			var d bson.D
			if err := bson.Unmarshal(section[at:at+n], &d); err != nil {
				return c, err
			}
			docs = append(docs, d)
			at += n
		}
		lists = append(lists, bson.E{Key: string(section[4:end]), Value: docs})
	}
	if len(c.body) == 0 {
		return c, errors.New("no body")
	}
	c.body = append(c.body, lists...)
	c.name = c.body[0].Key
	c.db, _ = c.get("$db").(string)
	return c, nil
}

func readMessage(c io.Reader) (id uint32, opcode int, payload []byte, err error) {
	var head [16]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return 0, 0, nil, err
	}
	payload = make([]byte, binary.LittleEndian.Uint32(head[:])-16)
	_, err = io.ReadFull(c, payload)
	return binary.LittleEndian.Uint32(head[4:]), int(binary.LittleEndian.Uint32(head[12:])), payload, err
}

func writeMessage(c io.Writer, to uint32, opcode int, payload []byte) error {
	head := make([]byte, 16, 16+len(payload))
	binary.LittleEndian.PutUint32(head, uint32(16+len(payload))) //nolint:gosec // below 48 MB
	binary.LittleEndian.PutUint32(head[8:], to)
	binary.LittleEndian.PutUint32(head[12:], uint32(opcode)) //nolint:gosec // small
	_, err := c.Write(append(head, payload...))
	return err
}

func writeDoc(c io.Writer, to uint32, d bson.D) error {
	raw, err := bson.Marshal(d)
	if err != nil {
		return err
	}
	return writeMessage(c, to, opMsg, append(make([]byte, 5), raw...))
}
