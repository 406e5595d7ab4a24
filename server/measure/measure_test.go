package measure_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/engage/steptest"
	"github.com/footfall-engage/footfall/server/measure"
)

// common is a name that every map of filled counts has.
const common = "common"

// filled has another number in every count, so that a forgotten one shows.
func filled(t *testing.T, base int64) engage.Counts {
	t.Helper()
	var c engage.Counts
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Int64:
			f.SetInt(base + int64(i))
		case reflect.Map:
			f.Set(reflect.MakeMap(f.Type()))
			for name, n := range map[string]int64{common: base, v.Type().Field(i).Name: 1} {
				f.SetMapIndex(reflect.ValueOf(name).Convert(f.Type().Key()), reflect.ValueOf(n))
			}
		default:
			t.Fatalf("Counts.%s is of an unknown kind", v.Type().Field(i).Name)
		}
	}
	return c
}

func TestSumAddsEveryCountAndChangesNeither(t *testing.T) {
	a, b := filled(t, 100), filled(t, 1000)
	sum := measure.Sum(a, b)
	x, y, z := reflect.ValueOf(a), reflect.ValueOf(b), reflect.ValueOf(sum)
	for i := range x.NumField() {
		name := x.Type().Field(i).Name
		if x.Field(i).Kind() == reflect.Map {
			of := func(key string) int64 {
				return z.Field(i).MapIndex(reflect.ValueOf(key).Convert(z.Field(i).Type().Key())).Int()
			}
			if z.Field(i).Len() != 2 || of(common) != 1100 || of(name) != 2 {
				t.Errorf("%s: %v", name, z.Field(i))
			}
		} else if z.Field(i).Int() != x.Field(i).Int()+y.Field(i).Int() {
			t.Errorf("%s: %d + %d = %d", name, x.Field(i).Int(), y.Field(i).Int(), z.Field(i).Int())
		}
	}
	if !reflect.DeepEqual(a, filled(t, 100)) || !reflect.DeepEqual(b, filled(t, 1000)) {
		t.Error("an operand was changed")
	}
	if got := measure.Sum(engage.Counts{}, engage.Counts{}); got.Suppressed != nil {
		t.Errorf("nothing and nothing is %+v", got)
	}
}

// meter adds what an entry's body says.
type meter struct{ measure.Meter }

func (m meter) Apply(tx engage.Tx, e engage.Entry) error {
	var c engage.Counts
	if err := json.Unmarshal(e.Body, &c); err != nil {
		return err
	}
	return m.Add(tx, e.Workspace(), engage.IDOf(e.Key), string(e.Kind), c)
}

func TestPartitionsCountForThemselvesAndReadersAddUp(t *testing.T) {
	var tallies []*measure.Tally
	for _, name := range []string{"act/0", "act/1"} {
		p := steptest.New(name, meter{})
		for _, arm := range []string{"a", "b", "a"} {
			e := engage.Entry{Kind: engage.Kind(arm), Key: "acme/rainy", Body: []byte(`{"decided":1,"suppressed":{"cap":2}}`)}
			if err := p.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
		tally, ok := p.State("acme/" + measure.Prefix("rainy") + name).(*measure.Tally)
		if !ok || tally.Campaign != "rainy" {
			t.Fatalf("states %v", p.Keys())
		}
		tallies = append(tallies, tally)
	}
	total := measure.Merge(tallies...)
	if total["a"].Decided != 4 || total["b"].Decided != 2 || total["a"].Suppressed[engage.ReasonCap] != 8 {
		t.Errorf("total %+v", total)
	}
	if tallies[0].Arms.Of("a").Decided != 2 {
		t.Errorf("adding up changed a tally: %+v", tallies[0])
	}
}

func TestOnlyKnownVersionsAreRead(t *testing.T) {
	for _, bad := range []string{"", "{}", "[]", `{"v":2}`} {
		if _, err := (measure.Meter{}).Decode("acme/m:x@act/0", []byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
