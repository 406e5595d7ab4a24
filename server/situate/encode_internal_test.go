package situate

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

// fill gives a value of any kind that a state has: zero ones too.
func fill(r *rand.Rand, v reflect.Value) {
	if r.IntN(4) == 0 {
		return
	}
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Unix(r.Int64N(1e10), r.Int64N(1e9)).UTC()
		return
	case *geo.Tracker:
		*x = geo.Resume([]geo.Visit{{ID: "v", Place: "p", Since: time.Unix(r.Int64N(1e9), 0), Fences: []string{"<f>"}}}, time.Unix(r.Int64N(1e9), 0))
		return
	case *geo.Track:
		t, err := geo.Track{}.Add(geo.TrackFix{At: time.Unix(r.Int64N(1e9), 0), Pos: geo.Point{Lat: 1.5, Lng: 2}})
		if err != nil {
			panic(err)
		}
		*x = t
		return
	case *geo.Cell:
		cell, err := geo.CellOf(geo.Point{Lat: float64(r.IntN(80)), Lng: 5}, 7)
		if err != nil {
			panic(err)
		}
		*x = cell
		return
	case *engage.Purpose:
		*x = []engage.Purpose{engage.ConsentMarketing, engage.ConsentProfiling, "<new>"}[r.IntN(3)]
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(r, v.Field(i))
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(r, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(3), 3))
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.String:
		v.SetString([]string{"a", "<é\u2028>", "\"\\", "\xff"}[r.IntN(4)])
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(r.Int64())
	case reflect.Uint64, reflect.Uint32, reflect.Uint8:
		v.SetUint(r.Uint64())
	case reflect.Float64:
		v.SetFloat(r.NormFloat64())
	default:
		panic("no way to fill a " + v.Type().String())
	}
}

// A state is written by hand, to save time, with all that encoding/json would write of it.
func TestAnInstallIsWrittenAsEncodingJSONWould(t *testing.T) {
	type bare Install // without its Encode
	r := rand.New(rand.NewPCG(61, 62))
	for range 3000 {
		in := &Install{}
		fill(r, reflect.ValueOf(in).Elem())
		want, err := json.Marshal((*bare)(in))
		if err != nil {
			t.Fatal(err)
		}
		got, err := in.Encode()
		if err != nil || string(got) != string(want) {
			t.Fatalf("%v\n%s\nwant\n%s", err, got, want)
		}
	}
}
