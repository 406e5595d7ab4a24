package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/sdkproto/vectors"
)

type actionVector struct {
	Name   string `json:"name"`
	During string `json:"during"` // hello, batch, session, post, handshake
	Comes  struct {
		Error       json.RawMessage `json:"error"`
		Close       int             `json:"close"`
		Cut         bool            `json:"cut"`
		Reject      json.RawMessage `json:"reject"`
		RetryMS     uint32          `json:"retry_after_ms"` // of the ack with the reject
		Status      int             `json:"status"`
		RetryS      int             `json:"retry_after_s"`
		ContentType string          `json:"content_type"`
		Text        string          `json:"text"`
		Reply       json.RawMessage `json:"reply"`
	} `json:"comes"`
	Action   sdkproto.Action `json:"action"`
	Items    string          `json:"items"` // kept, dropped
	Then     string          `json:"then"`  // open, reconnect, stopped, later
	Token    string          `json:"token"` // kept, forgotten
	DelayMin int             `json:"delay_min_ms"`
}

// What a phone does about each error, close code, status and reject.
func TestActionVectors(t *testing.T) {
	b, err := os.ReadFile("../vectors/actions.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []actionVector
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range all {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel() // some wait for a second
			v.table(t)
			v.run(t)
		})
	}
}

// table compares the action with the tables of codes.
func (v *actionVector) table(t *testing.T) {
	t.Helper()
	switch {
	case v.Comes.Error != nil:
		if got := sdkproto.ErrorCode(v.protoError(t).Code).Info().Action; got != v.Action {
			t.Errorf("the table of errors says %s, want %s", got, v.Action)
		}
	case v.Comes.Close >= 4000:
		if got := sdkproto.CloseCode(v.Comes.Close).Info().Action; got != v.Action {
			t.Errorf("the table of close codes says %s, want %s", got, v.Action)
		}
	}
}

func (v *actionVector) protoError(t *testing.T) *sdkpb.Error {
	t.Helper()
	e := new(sdkpb.Error)
	if err := protojson.Unmarshal(v.Comes.Error, e); err != nil {
		t.Fatal(err)
	}
	return e
}

func (v *actionVector) run(t *testing.T) {
	s := newScripted(t, &vectors.Transcript{
		Given: vectors.Given{Registered: true},
		Vars:  map[string]any{"app": "ak_test", "install": "install-1", "token": "tok-1", "session": "s-1"},
	}, sdkproto.Protobuf{})
	items := 0
	if v.During != "session" {
		if _, err := s.c.Track("one", nil); err != nil {
			t.Fatal(err)
		}
		items = 1
	}
	var posted chan error
	post := func() {
		posted = make(chan error, 1)
		s.calls.Go(func() { posted <- s.c.PostBatch(context.WithoutCancel(t.Context())) })
	}
	if v.During == "post" {
		post()
	} else {
		if v.During == "handshake" {
			s.refuse.Store(int32(v.Comes.Status))
		}
		if err := s.c.Foreground(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	came := time.Now()
	var seq any
	switch v.During {
	case "hello", "batch", "session":
		s.open("open")
		s.heard("hello", []map[string]any{{"id": "$h", "hello": map[string]any{"deviceToken": "$token"}}})
		if v.During != "hello" {
			s.say("hello_ok", map[string]any{"re": "$h", "helloOk": map[string]any{"session": "$session"}})
		}
		if v.During == "batch" {
			s.heard("batch", []map[string]any{{"id": "$b", "batch": map[string]any{"items": []any{map[string]any{"seq": "$i"}}}}})
			seq = s.Value("i")
		}
		came = v.comes(s, seq)
	case "post":
		s.request("post", &vectors.Request{Method: "POST", Path: sdkproto.PathBatch, Body: map[string]any{}})
		came = time.Now()
		v.answers(s)
	}

	notBefore := func(what string) {
		if d := time.Since(came); d < time.Duration(v.DelayMin)*time.Millisecond {
			t.Errorf("%s after %v, want %d ms at least", what, d, v.DelayMin)
		}
	}
	token := "$token"
	switch v.Then {
	case "open":
		if v.Items == "kept" && items == 1 { // it comes again, on the same socket
			s.heard("again", []map[string]any{{"batch": map[string]any{"items": []any{map[string]any{"seq": seq}}}}})
			notBefore("sent again")
		} else {
			s.quiet("open", 20*time.Millisecond)
		}
	case "reconnect":
		var shown any = "$token"
		if v.Token == "forgotten" {
			shown, token = nil, ""
		}
		if v.During == "post" {
			s.request("register", &vectors.Request{Method: "POST", Path: sdkproto.PathInstall, Body: map[string]any{"deviceToken": shown}})
			break
		}
		s.open("reconnect")
		notBefore("reconnected")
		s.heard("hello", []map[string]any{{"hello": map[string]any{"deviceToken": shown}}})
	case "stopped":
		if v.During == "post" {
			if _, ok := errors.AsType[*client.TerminalError](<-posted); !ok {
				t.Error("the POST may be made again")
			}
		} else {
			s.expect("stopped", &vectors.Expect{State: new("stopped")})
		}
	case "later":
		if v.Items == "dropped" { // what is left is posted at once
			s.request("the rest", &vectors.Request{Method: "POST", Path: sdkproto.PathBatch, Body: map[string]any{"items": nil}})
			s.answer("the rest", json.RawMessage(`{"status": 200, "body": {"ack": {}}}`))
			if err := <-posted; err != nil {
				t.Errorf("the rest: %v", err)
			}
			break
		}
		err := <-posted
		if err == nil {
			t.Error("the POST was taken for a good one")
		}
		if _, ok := errors.AsType[*client.TerminalError](err); ok {
			t.Errorf("stopped: %v", err)
		}
		if v.DelayMin > 0 {
			later, ok := errors.AsType[*client.RetryError](s.c.PostBatch(t.Context()))
			if !ok || later.After <= 0 {
				t.Fatalf("asked again at once: %v", err)
			}
			<-time.After(later.After)
		}
		post()
		s.request("later", &vectors.Request{Method: "POST", Path: sdkproto.PathBatch, Body: map[string]any{"items": []any{map[string]any{}}}})
		notBefore("posted again")
	default:
		t.Fatalf("then %q", v.Then)
	}
	if v.Items == "dropped" {
		s.expect("dropped", &vectors.Expect{Pending: new(0)})
		s.mu.Lock()
		if len(s.rejected) != 1 {
			t.Errorf("reported %v", s.rejected)
		}
		s.mu.Unlock()
	} else if n := s.c.Pending(); n != items {
		t.Errorf("%d items are left, want %d", n, items)
	}
	s.expect("token", &vectors.Expect{Token: &token})
}

// comes sends what the server says on the socket, and returns when.
func (v *actionVector) comes(s *scripted, seq any) time.Time {
	s.Helper()
	came := time.Now()
	switch {
	case v.Comes.Error != nil:
		f := &sdkpb.Frame{Error: v.protoError(s.T)}
		if v.During == "batch" {
			f.Re = s.frameID("$b")
		}
		_ = s.write(f)
	case v.Comes.Reject != nil:
		r := new(sdkpb.Reject)
		if err := protojson.Unmarshal(v.Comes.Reject, r); err != nil {
			s.Fatal(err)
		}
		item := new(sdkpb.Item)
		s.message("seq", map[string]any{"seq": seq}, item)
		r.Seq = item.Seq
		_ = s.write(&sdkpb.Frame{Re: s.frameID("$b"), Ack: &sdkpb.Ack{Rejects: []*sdkpb.Reject{r}, RetryAfterMs: v.Comes.RetryMS}})
	}
	switch {
	case v.Comes.Close != 0:
		_ = s.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(v.Comes.Close, ""), time.Now().Add(time.Second))
	case v.Comes.Cut:
		_ = s.conn.NetConn().Close()
	}
	return came
}

// frameID is the number that a variable stands for.
func (s *scripted) frameID(variable string) uint64 {
	f := new(sdkpb.Frame)
	s.message(variable, map[string]any{"id": variable}, f)
	return f.Id
}

// answers answers the POST.
func (v *actionVector) answers(s *scripted) {
	s.Helper()
	body, typ := []byte(v.Comes.Text), v.Comes.ContentType
	if v.Comes.Error != nil || v.Comes.Reply != nil {
		reply := new(sdkpb.BatchReply)
		if v.Comes.Error != nil {
			reply.Error = v.protoError(s.T)
		}
		var err error
		if body, err = s.codec.Marshal(reply); err != nil {
			s.Fatal(err)
		}
		typ = s.codec.ContentType()
	}
	s.asked.answer <- func(w http.ResponseWriter) {
		if typ != "" {
			w.Header().Set("Content-Type", typ)
		}
		if v.Comes.RetryS > 0 {
			w.Header().Set("Retry-After", "1")
		}
		w.WriteHeader(v.Comes.Status)
		_, _ = w.Write(body)
	}
}
