package decide_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
)

const week = 7 * 24 * time.Hour

// agreesToVisits is everything that rules about visits need.
func agreesToVisits() map[engage.Purpose]engage.Consent {
	yes := map[engage.Purpose]engage.Consent{}
	for _, p := range []engage.Purpose{engage.ConsentMarketing, engage.ConsentProfiling, engage.ConsentLocationForeground} {
		yes[p] = engage.Consent{Granted: true, At: t0}
	}
	return yes
}

// An audience asks when and how often a place was visited, before this moment; the trace
// of a no has every clause.
func TestAnAudienceAsksWhenAPlaceWasVisited(t *testing.T) {
	w := newWorld(t, offer("back", func(c *engage.Campaign) {
		c.Audience = []byte(`{"all":[{"field":"visited.cafe.visits","op":"ge","value":1},{"field":"visited.cafe.last_at","op":"not_within_last","value":"7d"}]}`)
	}))
	w.meet("ada")
	w.apply(entry(engage.KindConsent, person("ada"), sec, agreesToVisits()))
	w.apply(enters("ada", "cafe", "v1", 24*time.Hour))
	w.apply(enters("ada", "cafe", "v2", 48*time.Hour))
	w.apply(enters("ada", "cafe", "v3", 48*time.Hour+week+time.Hour))
	if sends := w.sends(); len(sends) != 1 {
		t.Fatalf("sent %+v", sends)
	}
	var kept []map[string][]struct {
		Path string `json:"path"`
		OK   bool   `json:"ok"`
	}
	for _, d := range w.decisions() {
		if d.Reason != engage.ReasonAudience {
			continue
		}
		g := d.Gates[len(d.Gates)-1]
		text, err := json.Marshal(g.Saw)
		if err != nil {
			t.Fatal(err)
		}
		var saw map[string][]struct {
			Path string `json:"path"`
			OK   bool   `json:"ok"`
		}
		if err := json.Unmarshal(text, &saw); err != nil {
			t.Fatal(err)
		}
		kept = append(kept, saw)
	}
	if len(kept) != 2 {
		t.Fatalf("%d times not in the audience, want 2", len(kept))
	}
	// The first visit: never there before. The second: there, but a day ago.
	for i, want := range []string{"all[0]", "all[1]"} {
		if f := kept[i]["failed"]; len(f) != 1 || f[0].Path != want {
			t.Errorf("visit %d failed by %v, want %s", i, f, want)
		}
		all := kept[i]["clauses"]
		if len(all) != 2 || all[i].OK || !all[1-i].OK {
			t.Errorf("visit %d: every clause is %v", i, all)
		}
	}
}

// A place that is no more (of a campaign that an earlier build kept) makes a rule about
// visits to it hold for nobody, a negative one too.
func TestARuleOverALostPlaceHoldsForNobody(t *testing.T) {
	in := world0([]*engage.Campaign{offer("lost", func(c *engage.Campaign) {
		c.Audience = []byte(`{"field":"visited.atlantis.last_at","op":"not_within_last","value":"30d"}`)
	})})
	w := newWorld(t)
	w.adoptAll(in)
	w.meet("ada")
	w.apply(enters("ada", "cafe", "v1", time.Hour))
	ds := w.decisions()
	if len(ds) != 1 || ds[0].Reason != engage.ReasonAudience || len(w.sends()) != 0 {
		t.Fatalf("decided %+v", ds)
	}
	in.Places = append(in.Places, &engage.Place{ID: "atlantis", Name: "Atlantis"})
	w.adoptAll(in)
	w.apply(enters("ada", "cafe", "v2", 3*time.Hour))
	if len(w.sends()) != 1 {
		t.Errorf("with the place there: %s", w.verdicts())
	}
}

func TestReadProfileReadsWhatEncodeWrites(t *testing.T) {
	p := &decide.Person{V: 1}
	p.ID, p.Attributes = "x", map[string]any{"city": "Ams"}
	body, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := decide.ReadProfile(body)
	if err != nil || got.ID != "x" || got.Attributes["city"] != "Ams" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := decide.ReadProfile([]byte(`{"id":3}`)); err == nil {
		t.Error("what is no person was read")
	}
}
