package deliver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/server/engage"
)

// filled sets every field that JSON knows to something that is not its zero value.
func filled(v reflect.Value, n *int) {
	*n++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2026, 11, 22, 12, 0, 0, *n*1000, time.UTC)))
		return
	case json.RawMessage:
		v.Set(reflect.ValueOf(json.RawMessage(`{"x":1}`)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d é <&> \"\\", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(int64(*n))
	case reflect.Float64:
		v.SetFloat(float64(*n) / 4)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		filled(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			filled(v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			k, x := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			filled(k, n)
			filled(x, n)
			v.SetMapIndex(k, x)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				filled(v.Field(i), n)
			}
		}
	default:
		panic(v.Type().String())
	}
}

// common is a delivery with every field of what the codec reads and writes itself.
func common() *delivery {
	var d delivery
	n := 0
	filled(reflect.ValueOf(&d).Elem(), &n)
	d.V, d.State = recordV1, waiting
	d.Offer, d.Gone, d.Legs, d.Boxed, d.Dismissed, d.Claimed, d.BoxedUntil = nil, nil, nil, false, false, "", time.Time{}
	return &d
}

// same fails unless the codec reads body as encoding/json does, and writes what it has read
// as that does.
func same(t *testing.T, body []byte) {
	t.Helper()
	var got, want delivery
	if err := json.Unmarshal(body, &want); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if !got.decode(body) {
		t.Fatalf("left to encoding/json: %s", body)
	}
	clean := got
	clean.wire = wire{}
	if !reflect.DeepEqual(clean, want) {
		t.Errorf("read\n%+v, want\n%+v", clean, want)
	}
	for name, change := range map[string]func(d *delivery){
		"as it was": func(*delivery) {},
		"begun": func(d *delivery) {
			d.began(attempt{ID: "id", Install: "i", Provider: channels.FCM, Credential: "a b", Number: d.Made + 1, At: d.UpdatedAt})
		},
		"answered": func(d *delivery) {
			d.began(attempt{ID: "id", Install: "i", Provider: channels.FCM, Platform: "ios", Number: d.Made + 1, At: d.UpdatedAt})
			d.last().Answer = &answer{Status: 200}
			d.finish(engage.DeliveryOutcome{State: engage.DeliveryAccepted}, d.UpdatedAt)
		},
		"interrupted": func(d *delivery) {
			d.Attempts = []attempt{{Answer: &answer{}}}
			d.rest()
		},
	} {
		a, b := got, want
		change(&a)
		change(&b)
		x := a.encode()
		y, err := json.Marshal(&b)
		if err != nil || !bytes.Equal(x, y) {
			t.Errorf("%s: written\n%s, want\n%s, %v", name, x, y, err)
		}
	}
}

// A field that is new in a send, a device, a target, an attempt or an outcome, and that
// the codec does not know, fails here.
func TestCodecReadsAndWritesWhatEncodingJSONDoes(t *testing.T) {
	full := common()
	plain := &delivery{V: 1, State: sending, Lane: laneInFlight, DueUS: 7, UpdatedAt: time.Unix(0, 0).UTC()}
	plain.Send = engage.Send{Delivery: "d", Workspace: "w", Devices: []engage.Device{{Install: "i", Push: &engage.PushTarget{Token: "t"}}}}
	bare := &delivery{V: 1, State: done}
	empty := &delivery{V: 1, State: done}
	empty.Send.Devices, empty.Send.Channels = []engage.Device{}, []engage.Channel{}
	for _, d := range []*delivery{full, plain, bare, empty} {
		body, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		same(t, body)
	}
}

func TestLeavesAreWrittenAsEncodingJSONWouldDo(t *testing.T) {
	var full leafRecord
	n := 0
	filled(reflect.ValueOf(&full).Elem(), &n)
	tells := full
	tells.Flights, tells.Provider, tells.Credential = nil, "", ""
	short := full
	short.Tells, short.Flights = nil, []flightNote{{}}
	for _, l := range []leafRecord{full, tells, short, {}} {
		want, err := json.Marshal(l)
		if got := l.encode(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("written\n%s, want\n%s, %v", got, want, err)
		}
	}
}

func TestCodecLeavesTheRareToEncodingJSON(t *testing.T) {
	for _, name := range []string{"Offer", "Gone", "Legs", "Boxed", "Dismissed", "Claimed", "BoxedUntil"} {
		d := common()
		body, err := json.Marshal(d)
		if err != nil || !d.decode(body) {
			t.Fatal(name, err)
		}
		n := 0
		filled(reflect.ValueOf(d).Elem().FieldByName(name), &n)
		if b := d.encode(); b != nil {
			t.Errorf("%s is lost: %s", name, b)
		}
		if body, err = json.Marshal(d); err != nil || new(delivery).decode(body) {
			t.Errorf("%s is not read: %v", name, err)
		}
	}
}

func FuzzCodecReadsAsEncodingJSONDoes(f *testing.F) {
	for _, d := range []*delivery{common(), example(), {V: 1, State: done}} {
		body, err := json.Marshal(d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var got, want, again delivery
		if !got.decode(body) {
			return
		}
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("read what is not JSON: %v: %q", err, body)
		}
		clean := got
		clean.wire = wire{}
		if !reflect.DeepEqual(clean, want) {
			t.Errorf("%q: read\n%+v, want\n%+v", body, clean, want)
		}
		b := got.encode()
		if b == nil {
			return
		}
		if err := json.Unmarshal(b, &again); err != nil || !reflect.DeepEqual(again, want) {
			t.Errorf("%q: written %s, %v", body, b, err)
		}
	})
}

// BenchmarkCodec reads a queued push and writes it as one that was accepted.
func BenchmarkCodec(b *testing.B) {
	d := example()
	d.Offer, d.Gone, d.Attempts, d.Outcome, d.Told, d.Displayed, d.Made, d.Failed = nil, nil, nil, nil, false, false, 0, 0
	rec, err := d.record()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r, err := readRecord(rec)
		if err != nil {
			b.Fatal(err)
		}
		r.begin(&r.Send.Devices[0], "app", r.UpdatedAt)
		r.last().Answer = &answer{Kind: channels.Accepted, Status: 200}
		r.finish(engage.DeliveryOutcome{State: engage.DeliveryAccepted}, r.UpdatedAt)
		if _, err := r.record(); err != nil {
			b.Fatal(err)
		}
	}
}
