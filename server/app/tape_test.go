package app_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/eventlog"
)

// tapeV1 is a tape as its first version was written.
var tapeV1 = []string{
	`{"tape":{"v":1,"at":"2026-11-22T10:00:00Z","build":"test"}}`,
	`{"stream":"CONFIG"}`,
	`{"record":{"seq":1,"subject":"config.default","data":"eyJ2IjoxfQ=="}}`,
	`{"stream":"act/0"}`,
	`{"stream":"in/0"}`,
	`{"record":{"seq":1,"subject":"in.0.default","data":"AAE="}}`,
	`{"record":{"seq":2,"subject":"in.0.default","data":"/w=="}}`,
	`{"doc":{"collection":"decisions","workspace":"default","id":"a b","body":{"title":"<1 & 2> \u2028"}}}`,
	`{"doc":{"collection":"state_in","workspace":"default","id":"i:1","body":{}}}`,
	`{"end":{"digests":{` +
		`"decisions":{"documents":1,"sha256":"842fbd9ed2059c1c3f420cc64f2eb42de1b194875538ffaa181415a3444f2c7b"},` +
		`"quarantine":{"documents":0,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},` +
		`"state_act":{"documents":0,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},` +
		`"state_in":{"documents":1,"sha256":"5408757c8da465c121a24b5ae3c4c987785e58fd2b6890e685ca7b47cb7ca477"},` +
		`"timeline":{"documents":0,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},` +
		`"timers":{"documents":0,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}}}`,
}

// tapeV2 is the same tape in version 2.
func tapeV2() []string {
	out := append([]string{}, tapeV1...)
	out[0] = strings.Replace(out[0], `"v":1`, `"v":2`, 1)
	const none = `:{"documents":0,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}`
	last := len(out) - 1
	out[last] = strings.Replace(out[last], `"timers"`+none, `"timers"`+none+`,"tracks"`+none+`,"visits"`+none, 1)
	return out
}

func smallTape() *app.Tape {
	return &app.Tape{
		At: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), Build: "test",
		Config: []eventlog.Message{{Seq: 1, Subject: "config.default", Data: []byte(`{"v":1}`)}},
		Streams: map[string][]eventlog.Message{
			"act/0": nil,
			"in/0":  {{Seq: 1, Subject: "in.0.default", Data: []byte{0, 1}}, {Seq: 2, Subject: "in.0.default", Data: []byte{0xff}}},
		},
		Live: app.Results{
			{Collection: "decisions", Workspace: "default", ID: "a b", Body: []byte(`{"title":"<1 & 2> \u2028"}`)},
			{Collection: "state_in", Workspace: "default", ID: "i:1", Body: []byte(`{}`)},
		},
	}
}

func zipped(lines ...string) *bytes.Buffer {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for _, l := range lines {
		_, _ = io.WriteString(z, l+"\n") // to memory
	}
	_ = z.Close()
	return &b
}

func TestATapeIsReadAsItWasWrittenFirst(t *testing.T) {
	got, err := app.ReadTape(zipped(tapeV1...))
	if err != nil {
		t.Fatal(err)
	}
	want := smallTape()
	want.V = 1
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got, err = app.ReadTape(zipped(tapeV2()...)); err != nil || got.V != 2 {
		t.Fatalf("%+v: %v", got, err)
	}
	var file bytes.Buffer
	if n, err := got.WriteTo(&file); err != nil || n != int64(file.Len()) {
		t.Fatalf("wrote %d of %d: %v", n, file.Len(), err)
	}
	z, err := gzip.NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Join(tapeV2(), "\n") + "\n"; string(text) != want {
		t.Errorf("written is\n%s\nwant\n%s", text, want)
	}
}

func TestATapeThatIsNotWholeIsRefused(t *testing.T) {
	with := func(i int, line string) []string {
		lines := append([]string{}, tapeV1...)
		lines[i] = line
		return lines
	}
	without := func(i int) []string { return append(append([]string{}, tapeV1[:i]...), tapeV1[i+1:]...) }
	last := len(tapeV1) - 1
	for name, c := range map[string]struct {
		lines []string
		err   string
	}{
		"nothing":            {nil, "breaks off after line 0"},
		"no end":             {without(last), "breaks off after line 9"},
		"no version":         {without(0), "line 1: the first line"},
		"a newer version":    {with(0, `{"tape":{"v":3}}`), "line 1: version 3 is not known"},
		"an older end":       {with(0, tapeV2()[0]), "line 10: the documents are not those of the digests"},
		"two versions":       {with(1, tapeV1[0]), "line 2: the first line"},
		"an unknown line":    {with(1, `{"picture":{}}`), `line 2: json: unknown field "picture"`},
		"two things at once": {with(1, `{"stream":"CONFIG","end":{}}`), "line 2: must be one object"},
		"two objects":        {with(1, tapeV1[1]+tapeV1[2]), "line 2: must be one object"},
		"no configuration":   {without(1), "line 2: a record outside of a stream"},
		"no such partition":  {with(3, `{"stream":"out/0"}`), `line 4: "out/0" is not the name of a partition`},
		"a strange number":   {with(3, `{"stream":"in/00"}`), `line 4: "in/00" is not the name of a partition`},
		"a stream twice":     {with(3, `{"stream":"in/0"}`), `line 5: stream "in/0" is not at its place`},
		"a hole":             {without(5), "line 6: record 2 of in/0, where 1 must be"},
		"a record too late":  {with(8, tapeV1[6]), "line 9: a record outside of a stream"},
		"a stream too late":  {with(8, `{"stream":"in/1"}`), `line 9: stream "in/1" is not at its place`},
		"documents in disorder": {
			append(append(append([]string{}, tapeV1[:7]...), tapeV1[8], tapeV1[7]), tapeV1[last]), "line 9: the documents are not in order",
		},
		"no result":           {with(7, strings.Replace(tapeV1[7], "decisions", "outbox", 1)), `line 8: collection "outbox" holds no results`},
		"no body":             {with(7, `{"doc":{"collection":"decisions"}}`), "line 8: the body is not as a server writes it"},
		"another body":        {with(7, strings.Replace(tapeV1[7], "1 & 2", "1 & 3", 1)), "line 10: the documents are not those of the digests"},
		"a missing document":  {without(8), "line 9: the documents are not those of the digests"},
		"more than there was": {append(append([]string{}, tapeV1...), tapeV1[8]), "line 11: there is more after the end"},
	} {
		if _, err := app.ReadTape(zipped(c.lines...)); err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, want %s", name, err, c.err)
		}
	}
	cut := zipped(tapeV1...)
	cut.Truncate(cut.Len() - 10)
	if _, err := app.ReadTape(cut); err == nil {
		t.Error("a file that was cut off is taken")
	}
	if _, err := app.ReadTape(strings.NewReader("no gzip")); err == nil {
		t.Error("what is no gzip is taken")
	}
}

func TestADifferenceNamesTheFirstDocument(t *testing.T) {
	base := smallTape().Live
	other := func(change func(app.Results) app.Results) app.Results {
		return change(append(app.Results{}, base...))
	}
	for want, got := range map[string]app.Results{
		"":                                 base,
		"decisions default/a b is missing": base[1:],
		"state_in default/i:1 is missing":  base[:1],
		"state_in default/i:2 should not be there": other(func(r app.Results) app.Results {
			return append(r, app.Result{Collection: "state_in", Workspace: "default", ID: "i:2", Body: []byte("{}")})
		}),
		"decisions default/a should not be there": other(func(r app.Results) app.Results {
			return append(app.Results{{Collection: "decisions", Workspace: "default", ID: "a", Body: []byte("{}")}}, r...)
		}),
		"decisions default/a b differs at byte 2": other(func(r app.Results) app.Results {
			r[0].Body = []byte(`{"name":1}`)
			return r
		}),
	} {
		if d := got.Difference(base); d != want {
			t.Errorf("said %q, want %q", d, want)
		}
	}
}

// Whatever is read can be written and read again, and is the same then.
func FuzzReadTape(f *testing.F) {
	f.Add([]byte(strings.Join(tapeV1, "\n")))
	f.Add([]byte(strings.Join(tapeV1[:3], "\n")))
	f.Fuzz(func(t *testing.T, text []byte) {
		tape, err := app.ReadTape(zipped(string(text)))
		if err != nil {
			return
		}
		var file bytes.Buffer
		if _, err := tape.WriteTo(&file); err != nil {
			t.Fatal(err)
		}
		again, err := app.ReadTape(&file)
		if err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
		tape.V = again.V // it was written in the newest version
		if !reflect.DeepEqual(again, tape) {
			t.Errorf("read  %+v\nagain %+v", tape, again)
		}
	})
}
