package fastjson_test

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/fastjson"
)

type stamp int64

type word string

// spoken says itself how it is written.
type spoken struct{ s string }

func (x spoken) MarshalJSON() ([]byte, error)  { return json.Marshal("<" + x.s) }
func (x *spoken) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &x.s) }
func (x spoken) IsZero() bool                  { return x.s == "none" }

type inner struct {
	At   time.Time `json:"at,omitzero"`
	Next *inner    `json:"next,omitempty"`
}

type Embedded struct {
	ID    string         `json:"id"`
	Named word           `json:"named,omitempty"`
	Any   map[string]any `json:"any,omitempty"`
}

// object is JSON itself.
type object []byte

func (o object) MarshalJSON() ([]byte, error) { return json.RawMessage(o).MarshalJSON() }
func (o *object) UnmarshalJSON(b []byte) error {
	*o = bytes.Clone(b)
	return nil
}

type sample struct {
	V int `json:"v"`
	Embedded
	List    []string         `json:"list"`
	Stamps  map[string]stamp `json:"stamps,omitempty"`
	Spoken  spoken           `json:"spoken,omitzero"`
	Bytes   []byte           `json:"bytes"`
	Small   int8             `json:"small,omitempty"`
	Yes     bool             `json:"yes,omitempty"`
	Inner   inner            `json:"inner"`
	To      *inner           `json:"to"`
	At      time.Time        `json:"at"`
	Other   map[string]inner `json:"other,omitempty"`
	Raw     json.RawMessage  `json:"raw,omitempty"`
	Float   float64          `json:"float,omitempty"`
	Inners  []inner          `json:"inners"`
	Object  object           `json:"object,omitempty"`
	Hidden  string           `json:"-"`
	NoTag   string
	private string
}

var samples = fastjson.Of[sample](fastjson.Ints[stamp](), fastjson.Raw[object]())

// compare writes and reads a sample both ways.
func compare(t *testing.T, x *sample) {
	t.Helper()
	want, err := json.Marshal(x)
	got, gotErr := samples.Append([]byte("before "), x)
	if (err != nil) != (gotErr != nil) {
		t.Fatalf("error %v, encoding/json has %v", gotErr, err)
	}
	if err != nil {
		return
	}
	if got = bytes.TrimPrefix(got, []byte("before ")); !bytes.Equal(got, want) {
		t.Fatalf("written as\n%s, want\n%s", got, want)
	}
	compareRead(t, want)
}

func compareRead(t *testing.T, body []byte) {
	t.Helper()
	var got, want sample
	err := json.Unmarshal(body, &want)
	if gotErr := samples.Unmarshal(body, &got); (err != nil) != (gotErr != nil) {
		t.Fatalf("%s: error %v, encoding/json has %v", body, gotErr, err)
	}
	if err == nil && !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: read as\n%+v, want\n%+v", body, got, want)
	}
}

var texts = []string{
	"", "Delft", "Zoë <b>&\"\\/", "\u2028\x01\x7f", "é\u2029", "\xff", "שלום 👋", "a b", "größe", "null", "true", "\xe2\x80", "x\xe2", "7",
}

func TestWhatIsWrittenIsWhatEncodingJSONWrites(t *testing.T) {
	at := time.Date(2026, 10, 1, 9, 0, 0, 1e6, time.UTC)
	values := []any{
		true, false, nil, 0.0, math.Copysign(0, -1), 1.0, -7.0, 7.5, 1e21, -1e20, float64(1 << 53), float64(1<<53) - 1, 1e-7, math.MaxFloat64,
		[]any{"a", "b<", nil},
		[]string{"x"},
		map[string]any{"deep": map[string]any{"er": 1.0, "<": "&"}},
		map[string]any{},
		3, json.Number("12"),
	}
	for _, s := range texts {
		values = append(values, s)
	}
	rnd := rand.New(rand.NewPCG(7, 11)) //nolint:gosec // a fixed disorder
	some := func() bool { return rnd.IntN(2) == 0 }
	text := func() string { return texts[rnd.IntN(len(texts))] }
	raws := []string{`{}`, `[]`, `{"a":"b c","d":[1,-2.5e+3,true,null,"\u00e9\n"]}`, ` {"a" : 1}`, `"<"`, `"` + "\u2028" + `"`, `{"a":}`, `1 2`, `"\ud800"`, `[1,]`, `01`, `null`}
	for n := range 4000 {
		x := &sample{V: n - 7, Small: int8(rnd.IntN(256) - 128), Yes: some(), NoTag: text(), Hidden: "h", private: "p"} //nolint:gosec // it wraps
		x.ID, x.Named, x.At = text(), word(text()), at.Add(time.Duration(n)*time.Hour)
		if some() {
			x.Any = map[string]any{}
			x.Stamps = map[string]stamp{}
			for range rnd.IntN(30) {
				name := text() + text()
				x.Any[name] = values[rnd.IntN(len(values))]
				if n%3 > 0 || some() {
					x.Stamps[name] = stamp(rnd.Uint64()) //nolint:gosec // it wraps
				}
			}
		}
		if some() {
			x.List, x.Bytes, x.Spoken = []string{}, []byte{}, spoken{text()}
			for range rnd.IntN(4) {
				x.List, x.Bytes = append(x.List, text()), append(x.Bytes, byte(n))
			}
		}
		if some() {
			x.Spoken.s = "none"
		}
		if some() {
			x.To = &inner{Next: &inner{At: at.In(time.FixedZone("", 3600*(n%40-20)))}}
			x.Inner.At = time.Date(n%11000, 1, 1, 0, 0, 0, 0, time.UTC)
			x.Other = map[string]inner{text(): {At: at}}
		}
		if some() {
			x.Raw = json.RawMessage(raws[rnd.IntN(len(raws))])
			floats := []float64{1, 0.5, -1e20, 1e21, 1e-6, 1e-7, -9e-7, 123456.789, math.MaxFloat64, 1 << 53, math.Copysign(0, -1), math.Inf(1), math.NaN()}
			x.Float = floats[rnd.IntN(len(floats))]
		}
		if some() {
			x.Inners = []inner{}
			for range rnd.IntN(3) {
				x.Inners = append(x.Inners, inner{Next: &inner{}, At: at})
			}
			x.Object = object(raws[rnd.IntN(3)])
		}
		compare(t, x)
		want, err := json.Marshal(x.Any)
		if got, gotErr := fastjson.AppendObject(nil, x.Any); (err != nil) != (gotErr != nil) || !bytes.Equal(got, want) {
			t.Fatalf("%s, %v; want %s, %v", got, gotErr, want, err)
		}
	}
	compare(t, &sample{})
	round := map[string]any{}
	round["and"] = round
	if b, err := fastjson.AppendObject(nil, round); err == nil {
		t.Errorf("an object that is in itself is written as %.40s", b)
	}
}

// Whatever stands there, it is read as encoding/json reads it, or refused as there.
func FuzzWhatIsReadIsWhatEncodingJSONReads(f *testing.F) {
	for _, s := range []string{
		`{"v":1,"id":"a","named":"b","any":{"x":1,"y":"\u00e9","z":[1,{"a":null}],"n":null,"x":-0},"list":["a","b"],"stamps":{"a":1,"b":-9223372036854775808},` +
			`"spoken":"x","bytes":"AQID","small":-128,"yes":true,"inner":{"at":"2026-10-01T09:00:00Z"},"to":{"next":{}},"at":"2026-10-01T09:00:00.5+02:00",` +
			`"other":{"a":{}},"raw":{"a":[1,2]},"float":1.5,"inners":[{},{"next":{}}],"object":{"a":1},"NoTag":"x"}`,
		`{"V":1,"ID":"x"}`, `{"v":1,"v":2}`, `{"id":"a","v":1}`, ` {"v":1}`, `{"v":1} `, `{"v": 1}`, `{"v":1.0}`, `{"v":null,"id":null,"any":null,"list":null,"to":null,"raw":null}`,
		`{"small":128}`, `{"bytes":"A"}`, `{"bytes":""}`, `{"bytes":"AQ\n=="}`, `{"any":{"a":1e999}}`, `{"any":{"a":00}}`, `{"any":{"a":1.}}`, `{"any":{"a":tru}}`, `{"any":{"a":[}]}}`,
		`{"list":["a",]}`, `{"list":[],"more":1}`, `{"id":"` + "\xff" + `"}`, `{"id":"` + "\x01" + `"}`, `{"id":"\ud83d\ude00\ud800"}`, `{"at":"2026-10-01"}`, `{"raw": {"a": 1}}`,
		`{"raw":[1,2}`, `{"yes":1}`, `{"yes":"true"}`, `{`, `{}`, `[]`, `null`, ``, `{"v":1}}`, `{"float":12,"x":3`, `{"stamps":{"a":1000000000000000000}}`, `{"stamps":{"a":1e3}}`, `{"v":-}`,
		`{"any":{"a":12345678901234567890,"b":9007199254740993,"c":-9007199254740992,"d":123456789012345678}}`, `{"raw":"\u12"}`, `{"spoken":3}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) { compareRead(t, body) })
}

// A codec reads what stands at the place of a field of its own, and the fast way is the
// one that is taken: the tests above would pass without any.
func TestWhatWasWrittenIsNotReadTwice(t *testing.T) {
	x := &sample{V: 1, List: []string{"é"}, Bytes: []byte{1}, To: &inner{}, Raw: json.RawMessage(`{"a":"b c"}`)}
	x.ID, x.Any, x.Stamps = "x", map[string]any{"a": 1.0, "b": "c", "d": []any{true}}, map[string]stamp{"a": 3}
	body, err := samples.Append(nil, x)
	if err != nil {
		t.Fatal(err)
	}
	if !samples.Fast(body) {
		t.Errorf("%s is left to encoding/json", body)
	}
	for _, odd := range []string{" " + string(body), string(body) + " ", `{"V":1}`} {
		if samples.Fast([]byte(odd)) {
			t.Errorf("%s is not left to encoding/json", odd)
		}
	}
}
