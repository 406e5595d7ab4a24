package engage_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
)

// What a gate saw is kept as it was written, of whatever build.
func TestWhatAGateSawStaysAsItWasWritten(t *testing.T) {
	for in, want := range map[string]string{
		`{"gate":"cap","ok":true,"saw":{"cap":2,"count":1}}`:                       "",
		`{"gate":"cap","ok":false,"reason":"cap","saw":{"z":1.50,"a":"b \u00e9"}}`: "",
		`{"gate":"cap","ok":true,"saw":{ "cap" : 2 }}`:                             `{"gate":"cap","ok":true,"saw":{"cap":2}}`,
		`{"gate":"quiet","ok":true}`:                                               "",
		`{"gate":"quiet","ok":true,"saw":null}`:                                    `{"gate":"quiet","ok":true}`,
		`{"gate":"quiet","ok":true,"saw":{}}`:                                      `{"gate":"quiet","ok":true}`,
	} {
		var g engage.GateResult
		if err := json.Unmarshal([]byte(in), &g); err != nil {
			t.Fatal(err)
		}
		if want == "" {
			want = in
		}
		if got, err := json.Marshal(g); err != nil || string(got) != want {
			t.Errorf("%s is written as %s, %v", in, got, err)
		}
	}
	for _, bad := range []string{`{"saw":1}`, `{"saw":"x"}`, `{"saw":[1]}`} {
		var g engage.GateResult
		if err := json.Unmarshal([]byte(bad), &g); err == nil {
			t.Errorf("%s is read as %+v", bad, g)
		}
	}
}

func TestAValueThatCannotBeWrittenSpoilsNoOther(t *testing.T) {
	saw := engage.SawOf(map[string]any{"count": 2, "distance_m": math.Inf(1)})
	v := saw.Values()
	if v["count"] != 2.0 || v["distance_m"] != nil || !strings.Contains(string(saw), "unwritable") {
		t.Errorf("%s", saw)
	}
	if engage.SawOf(nil) != nil || engage.SawOf(map[string]any{}) != nil || engage.Saw(nil).Values() != nil {
		t.Error("nothing is something")
	}
}
