package vectors_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/sdkproto/vectors"
)

// Every step says one thing, and every frame is one that the protocol has.
func TestTranscriptsAreWellFormed(t *testing.T) {
	all, err := vectors.Transcripts()
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		tr := &all[i]
		s := vectors.NewScript(tr)
		var check func(where string, x *vectors.Step)
		check = func(where string, x *vectors.Step) {
			said := 0
			for _, set := range []bool{
				x.App != nil, x.Server != nil, x.Open, x.Cut, x.Up != nil, x.Down != nil, x.Close != nil, x.Request != nil,
				x.Answer != nil, x.QuietMS > 0, x.Unordered != nil, x.Expect != nil, x.ExpectServer != nil,
			} {
				if set {
					said++
				}
			}
			if said != 1 {
				t.Errorf("%s %s: %d things, must be one", tr.File, where, said)
			}
			for _, pattern := range []map[string]any{x.Up, x.Down} {
				if pattern == nil {
					continue
				}
				b, err := json.Marshal(s.Fill(pattern))
				if err != nil {
					t.Fatal(err)
				}
				f := new(sdkpb.Frame)
				if err := protojson.Unmarshal(b, f); err != nil {
					t.Errorf("%s %s: %v", tr.File, where, err)
				} else if err := sdkproto.CheckFrame(f); err != nil {
					t.Errorf("%s %s: %v", tr.File, where, err)
				}
			}
			for k := range x.Unordered {
				check(fmt.Sprintf("%s.%d", where, k), &x.Unordered[k])
			}
		}
		for k := range tr.Steps {
			check(fmt.Sprint("step ", k), &tr.Steps[k])
		}
	}
}

func TestAPatternMatchesWhatItNames(t *testing.T) {
	for _, c := range []struct {
		pattern, actual string
		want            string // part of the error; empty: it matches
	}{
		{`{"re":"$a","ack":{"throughSeq":"7"}}`, `{"re":"3","ack":{"throughSeq":"7","serverMs":"1"}}`, ""},
		{`{"re":"$a","ack":{"throughSeq":"7"}}`, `{"re":"3","ack":{"throughSeq":"8"}}`, ".ack.throughSeq"},
		{`{"re":"$a","ack":{}}`, `{"ack":{}}`, ".re is absent"},
		{`{"ack":{"rejects":null}}`, `{"ack":{"rejects":[{"seq":"1"}]}}`, "must be absent"},
		{`{"ack":{"rejects":null}}`, `{"ack":{}}`, ""},
		{`{"a":"$x","b":"$x"}`, `{"a":"1","b":"1"}`, ""},
		{`{"a":"$x","b":"$x"}`, `{"a":"1","b":"2"}`, "want"},
		{`{"a":"Bearer $known"}`, `{"a":"Bearer k"}`, ""},
		{`{"a":"Bearer $known"}`, `{"a":"Bearer j"}`, ".a is"},
		{`{"a":"*"}`, `{}`, ""},
		{`{"inbox":{}}`, `{"ack":{}}`, ".inbox"},
		{`{"n":30}`, `{"n":30}`, ""},
		{`{"n":30}`, `{"n":31}`, ".n is 31"},
		{`{"hello":{"caps":["b","a"]}}`, `{"hello":{"caps":["a","b","c"]}}`, ""},
		{`{"hello":{"caps":["d"]}}`, `{"hello":{"caps":["a","b","c"]}}`, "lacks d"},
		{`{"gone":["m1"]}`, `{"gone":["m1","m2"]}`, "has 2, want 1"},
		{`{"items":[{"seq":"$i","event":{"name":"x"}}]}`, `{"items":[{"seq":"1","lifecycle":{}},{"seq":"2","event":{"name":"x"}}]}`, ""},
		{`{"items":[{"event":{"name":"x"}}]}`, `{"items":[{"event":{"name":"x"}},{"event":{"name":"y"}}]}`, "too"},
		{`{"items":[{"event":{"name":"x"}}]}`, `{"items":[{"event":{"name":"y"}}]}`, ".name is y"},
	} {
		var pattern, actual map[string]any
		if err := json.Unmarshal([]byte(c.pattern), &pattern); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(c.actual), &actual); err != nil {
			t.Fatal(err)
		}
		s := vectors.NewScript(&vectors.Transcript{})
		s.Bind("known", "k")
		if err := s.Match(pattern, actual); err == nil != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s and %s: %v, want %q", c.pattern, c.actual, err, c.want)
		}
	}
}
