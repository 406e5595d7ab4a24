package ingest_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/ingest"
)

var updateVectors = flag.Bool("update-vectors", false, "write the regions of sdkproto/vectors/slots.json")

const slotsFile = "../../sdkproto/vectors/slots.json"

type slotsVector struct {
	Name        string          `json:"name"`
	Platform    string          `json:"platform"`
	Caps        []string        `json:"caps"`
	Permissions json.RawMessage `json:"permissions"` // of hello; null: not said
	Consents    []string        `json:"consents"`    // that stand when the phone says hello
	Fences      []slotsFence    `json:"fences"`
	Steps       []slotsStep     `json:"steps"`
}

type slotsFence struct {
	ID      string       `json:"id"`
	Lat     float64      `json:"lat,omitempty"`
	Lng     float64      `json:"lng,omitempty"`
	RadiusM float64      `json:"radius_m,omitempty"`
	Outline [][2]float64 `json:"outline,omitempty"` // latitude, longitude; in place of the circle
	Weight  *float64     `json:"weight,omitempty"`  // absent: 1
	DwellS  int          `json:"dwell_s,omitempty"`
}

// slotsStep is a POST and the set that its answer must bring; null: none.
type slotsStep struct {
	Batch   json.RawMessage `json:"batch"`
	Regions json.RawMessage `json:"regions"`
}

func (f *slotsFence) fence(t *testing.T) geo.Fence {
	t.Helper()
	if len(f.Outline) == 0 {
		return geo.Fence{ID: f.ID, Shape: geo.Circle{Around: geo.Point{Lat: f.Lat, Lng: f.Lng}, RadiusM: f.RadiusM}}
	}
	var ring []geo.Point
	for _, p := range f.Outline {
		ring = append(ring, geo.Point{Lat: p[0], Lng: p[1]})
	}
	shape, err := geo.NewPolygon([][][]geo.Point{{ring}})
	if err != nil {
		t.Fatal(err)
	}
	return geo.Fence{ID: f.ID, Shape: shape}
}

// What a phone is told to watch, by its position, its slots, its permissions and
// consents and by the places: the vectors of slots.json through the gateway.
func TestSlotsVectors(t *testing.T) {
	b, err := os.ReadFile(slotsFile)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []slotsVector
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) == 0 {
		t.Fatal("no vectors")
	}
	for i := range vectors {
		t.Run(vectors[i].Name, func(t *testing.T) { vectors[i].run(t) })
	}
	if *updateVectors {
		var out bytes.Buffer // a vector a line: indented it would be 200 KB
		separator := "[\n"
		for _, v := range vectors {
			line, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			out.WriteString(separator)
			out.Write(line)
			separator = ",\n"
		}
		out.WriteString("\n]\n")
		if err := os.WriteFile(slotsFile, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func (v *slotsVector) run(t *testing.T) {
	const install, appKey = "phone-00001", "ffa_vector_key"
	w := newWorld(t, ingest.Limits{})
	fences, wishes := []geo.Fence{}, map[string]ingest.Wish{}
	for _, f := range v.Fences {
		fences = append(fences, f.fence(t))
		wish := ingest.Wish{Weight: 1, Dwell: time.Duration(f.DwellS) * time.Second}
		if f.Weight != nil {
			wish.Weight = *f.Weight
		}
		wishes[f.ID] = wish
	}
	// Before anybody asks: a change that is told would come at some time in between.
	w.catalog.mu.Lock()
	w.catalog.apps[appKey] = ingest.App{Workspace: ws, ID: "shop", Platform: v.Platform}
	w.catalog.index, w.catalog.wishes = indexOf(fences), wishes
	w.catalog.mu.Unlock()
	consents := map[engage.Purpose]bool{}
	for _, c := range v.Consents {
		consents[engage.Purpose(c)] = true
	}
	w.installs.known[install] = ingest.Install{Consents: consents}

	h := hello(install)
	h.AppKey, h.Caps, h.Lifecycle = appKey, v.Caps, sdkpb.Lifecycle_STATE_FOREGROUND
	h.Platform = sdkpb.Platform(sdkpb.Platform_value["PLATFORM_"+strings.ToUpper(v.Platform)])
	if len(v.Permissions) > 0 && string(v.Permissions) != "null" {
		h.Permissions = new(sdkpb.Permissions)
		if err := protojson.Unmarshal(v.Permissions, h.Permissions); err != nil {
			t.Fatal(err)
		}
	}
	reply, status := w.post(sdkproto.PathInstall, h, nil)
	if status != http.StatusOK || len(reply.GetRegions().GetRegions()) > 0 {
		t.Fatalf("hello: %d %v", status, reply)
	}
	head := auth(install, reply.HelloOk.NewDeviceToken)
	head[sdkproto.HeaderAppKey], head[sdkproto.HeaderCaps] = appKey, strings.Join(v.Caps, ",")
	etag := ""
	for i := range v.Steps {
		step := &v.Steps[i]
		b := new(sdkpb.Batch)
		if err := protojson.Unmarshal([]byte(strings.ReplaceAll(string(step.Batch), "$etag", etag)), b); err != nil {
			t.Fatal(err)
		}
		reply, status := w.post(sdkproto.PathBatch, b, head)
		if status != http.StatusOK || len(reply.Ack.GetRejects()) > 0 {
			t.Fatalf("step %d: %d %v", i, status, reply)
		}
		if reply.Regions != nil {
			if reply.Regions.Etag == "" {
				t.Errorf("step %d: a set without etag", i)
			}
			etag = reply.Regions.Etag
			reply.Regions.Etag = ""
		}
		if *updateVectors {
			step.Regions = json.RawMessage("null")
			if reply.Regions != nil {
				step.Regions, _ = sdkproto.JSON{}.Marshal(reply.Regions)
			}
			continue
		}
		var want *sdkpb.Regions
		if string(step.Regions) != "null" {
			want = new(sdkpb.Regions)
			if err := protojson.Unmarshal(step.Regions, want); err != nil {
				t.Fatal(err)
			}
		}
		if !sameRegions(reply.Regions, want) {
			t.Errorf("step %d: told\n%v\nwant\n%v", i, reply.Regions, want)
		}
	}
}

// sameRegions compares sets to about a metre: distances may be computed in more
// ways than one.
func sameRegions(a, b *sdkpb.Regions) bool {
	if (a == nil) != (b == nil) || len(a.GetRegions()) != len(b.GetRegions()) || (a.GetBubble() == nil) != (b.GetBubble() == nil) {
		return false
	}
	same := func(x, y *sdkpb.Region) bool {
		return x.Id == y.Id && math.Abs(x.Lat-y.Lat) < 1e-6 && math.Abs(x.Lng-y.Lng) < 1e-6 && math.Abs(x.RadiusM-y.RadiusM) < 1 &&
			x.OnEnter == y.OnEnter && x.OnExit == y.OnExit && x.DwellS == y.DwellS && x.Exact == y.Exact
	}
	for i, x := range a.GetRegions() {
		if !same(x, b.Regions[i]) {
			return false
		}
	}
	return a.GetBubble() == nil || same(a.Bubble, b.Bubble)
}
