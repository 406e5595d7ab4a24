package situate_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/situate"
)

// seqs are sequence numbers: each a string, or {from, to, step}.
type seqs []uint64

func (s *seqs) UnmarshalJSON(b []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(b, &parts); err != nil {
		return err
	}
	for _, p := range parts {
		if p[0] == '"' {
			n, err := strconv.ParseUint(strings.Trim(string(p), `"`), 10, 64)
			if err != nil {
				return err
			}
			*s = append(*s, n)
			continue
		}
		r := struct {
			From, To, Step uint64 `json:",string"`
		}{Step: 1}
		if err := json.Unmarshal(p, &r); err != nil {
			return err
		}
		for n := r.From; n <= r.To; n += r.Step {
			*s = append(*s, n)
		}
	}
	return nil
}

type dedupeVector struct {
	Name     string                     `json:"name"`
	Batches  []seqs                     `json:"batches"`
	Items    map[string]json.RawMessage `json:"items"` // by seq; without, each is an event of the name of its seq
	Taken    seqs                       `json:"taken"`
	Accepted []seqs                     `json:"accepted"`
	Consents map[engage.Purpose]bool    `json:"consents"`
	Events   []string                   `json:"events"`
}

func (v *dedupeVector) item(t *testing.T, seq uint64) *sdkpb.Item {
	t.Helper()
	i := &sdkpb.Item{}
	switch body, ok := v.Items[strconv.FormatUint(seq, 10)]; {
	case ok:
		if err := protojson.Unmarshal(body, i); err != nil {
			t.Fatal(err)
		}
	case v.Items != nil:
		t.Fatalf("no item %d", seq)
	default:
		i.Event = &sdkpb.Event{Name: fmt.Sprint(seq)}
	}
	return i
}

// What an install sends, in whatever order and however often, takes effect once:
// the vectors of dedupe.json, through the step that owns the install.
func TestDedupeVectors(t *testing.T) {
	b, err := os.ReadFile("../../sdkproto/vectors/dedupe.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []dedupeVector
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			p := newPhone(t)
			var taken seqs
			var events []string
			for _, batch := range v.Batches {
				for _, seq := range batch {
					before := p.accepted()
					p.apply(entry(seq, 0, v.item(t, seq)))
					if !slices.Equal(p.accepted(), before) {
						taken = append(taken, seq)
					}
					for _, tr := range p.triggers() {
						events = append(events, tr.Event)
					}
				}
			}
			if !slices.Equal(taken, v.Taken) {
				t.Errorf("took %v\nwant %v", taken, v.Taken)
			}
			var accepted [][2]uint64
			for _, a := range v.Accepted {
				accepted = append(accepted, [2]uint64{a[0], a[1]})
			}
			in := p.install()
			if !slices.Equal(in.Accepted, situate.Intervals(accepted)) {
				t.Errorf("accepted %v\nwant %v", in.Accepted, accepted)
			}
			if v.Items == nil {
				for _, n := range v.Taken {
					v.Events = append(v.Events, fmt.Sprint(n))
				}
			}
			if !slices.Equal(events, v.Events) {
				t.Errorf("events %v\nwant %v", events, v.Events)
			}
			consents := map[engage.Purpose]bool{}
			for purpose, c := range in.Consents.All() {
				consents[purpose] = c.Granted
			}
			if v.Items != nil && !maps.Equal(consents, v.Consents) {
				t.Errorf("consents %v, want %v", consents, v.Consents)
			}
		})
	}
}

// accepted is a copy of what the install has taken so far.
func (p *phone) accepted() situate.Intervals {
	in, ok := p.State(key).(*situate.Install)
	if !ok {
		return nil
	}
	return slices.Clone(in.Accepted)
}
