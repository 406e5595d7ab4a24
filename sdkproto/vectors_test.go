package sdkproto_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

var update = flag.Bool("update", false, "write the pb column of vectors/encoding.json")

func loadVectors[T any](t testing.TB, name string) []T {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("vectors", name))
	if err != nil {
		t.Fatal(err)
	}
	var v []T
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if len(v) == 0 {
		t.Fatalf("%s is empty", name)
	}
	return v
}

type encodingVector struct {
	Name       string          `json:"name"`
	Type       string          `json:"type"`
	DecodeOnly bool            `json:"decode_only,omitempty"`
	JSON       json.RawMessage `json:"json"`
	PB         string          `json:"pb"`
}

func (v encodingVector) message(t testing.TB) proto.Message {
	t.Helper()
	mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName("footfall.sdk.v1." + v.Type))
	if err != nil {
		t.Fatal(err)
	}
	return mt.New().Interface()
}

func TestEncodingVectors(t *testing.T) {
	vectors := loadVectors[encodingVector](t, "encoding.json")
	for i := range vectors {
		v := &vectors[i]
		t.Run(v.Name, func(t *testing.T) {
			fromJSON, fromPB, again := v.message(t), v.message(t), v.message(t)
			if err := (sdkproto.JSON{}).Unmarshal(v.JSON, fromJSON); err != nil {
				t.Fatal(err)
			}
			pb, err := proto.MarshalOptions{Deterministic: true}.Marshal(fromJSON)
			if err != nil {
				t.Fatal(err)
			}
			if *update && !v.DecodeOnly {
				v.PB = hex.EncodeToString(pb)
			}
			want, err := hex.DecodeString(v.PB)
			if err != nil {
				t.Fatal(err)
			}
			if !v.DecodeOnly && !bytes.Equal(pb, want) {
				t.Errorf("encodes as\n%x, want\n%x", pb, want)
			}
			if err := (sdkproto.Protobuf{}).Unmarshal(want, fromPB); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(fromJSON, fromPB) {
				t.Errorf("JSON says %v, protobuf %v", fromJSON, fromPB)
			}
			text, err := (sdkproto.JSON{}).Marshal(fromPB)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.ContainsRune(text, '\n') {
				t.Errorf("a line break inside a JSON frame: %s", text)
			}
			if err := (sdkproto.JSON{}).Unmarshal(text, again); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(again, fromPB) {
				t.Errorf("JSON and back: %v, want %v", again, fromPB)
			}
		})
	}
	if *update {
		b := new(bytes.Buffer)
		e := json.NewEncoder(b)
		e.SetEscapeHTML(false)
		e.SetIndent("", " ")
		if err := e.Encode(vectors); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("vectors/encoding.json", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Every message, field and enum value of the schema stands in a vector, so that
// nothing can be added to it that an implementation is not tested with.
func TestEncodingVectorsCoverTheSchema(t *testing.T) {
	seen := map[protoreflect.FullName]bool{}
	var visit func(m protoreflect.Message)
	value := func(f protoreflect.FieldDescriptor, v protoreflect.Value) {
		switch f.Kind() {
		case protoreflect.MessageKind:
			visit(v.Message())
		case protoreflect.EnumKind:
			if d := f.Enum().Values().ByNumber(v.Enum()); d != nil {
				seen[d.FullName()] = true
			}
		}
	}
	visit = func(m protoreflect.Message) {
		seen[m.Descriptor().FullName()] = true
		m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			seen[f.FullName()] = true
			switch {
			case f.IsMap():
				v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
					value(f.MapValue(), v)
					return true
				})
			case f.IsList():
				for i := range v.List().Len() {
					value(f, v.List().Get(i))
				}
			default:
				value(f, v)
			}
			return true
		})
	}
	for _, v := range loadVectors[encodingVector](t, "encoding.json") {
		m := v.message(t)
		if err := (sdkproto.JSON{}).Unmarshal(v.JSON, m); err != nil {
			t.Fatal(err)
		}
		visit(m.ProtoReflect())
	}
	need := func(n protoreflect.FullName) {
		if !seen[n] {
			t.Errorf("no vector holds %s", n)
		}
	}
	enum := func(d protoreflect.EnumDescriptor) {
		for i := range d.Values().Len() {
			if v := d.Values().Get(i); v.Number() != 0 { // 0 is absence
				need(v.FullName())
			}
		}
	}
	var message func(d protoreflect.MessageDescriptor)
	message = func(d protoreflect.MessageDescriptor) {
		if d.IsMapEntry() {
			return
		}
		need(d.FullName())
		for i := range d.Fields().Len() {
			need(d.Fields().Get(i).FullName())
		}
		for i := range d.Enums().Len() {
			enum(d.Enums().Get(i))
		}
		for i := range d.Messages().Len() {
			message(d.Messages().Get(i))
		}
	}
	file := sdkpb.File_footfall_sdk_v1_sdk_proto
	for i := range file.Messages().Len() {
		message(file.Messages().Get(i))
	}
	for i := range file.Enums().Len() {
		enum(file.Enums().Get(i))
	}
}

type itemVector struct {
	Name       string          `json:"name"`
	Item       json.RawMessage `json:"item"`
	Batch      json.RawMessage `json:"batch"`
	ReceivedMS int64           `json:"received_ms"`
	AtMS       int64           `json:"at_ms"`
	How        string          `json:"how"`
	Kind       string          `json:"kind"`
	Code       string          `json:"code"`
	Field      string          `json:"field"`
}

func (v itemVector) parse(t testing.TB) (*sdkpb.Item, *sdkpb.Batch) {
	t.Helper()
	item, batch := new(sdkpb.Item), new(sdkpb.Batch)
	if err := protojson.Unmarshal(v.Item, item); err != nil {
		t.Fatal(err)
	}
	if len(v.Batch) > 0 {
		if err := protojson.Unmarshal(v.Batch, batch); err != nil {
			t.Fatal(err)
		}
	}
	return item, batch
}

func TestClockVectors(t *testing.T) {
	for _, v := range loadVectors[itemVector](t, "clock.json") {
		t.Run(v.Name, func(t *testing.T) {
			item, batch := v.parse(t)
			at, how := sdkproto.CorrectedTime(item, batch, time.UnixMilli(v.ReceivedMS))
			if at.UnixMilli() != v.AtMS || string(how) != v.How || at.Location() != time.UTC {
				t.Errorf("%v by %s, want %v by %s", at, how, time.UnixMilli(v.AtMS).UTC(), v.How)
			}
		})
	}
}

func TestItemVectors(t *testing.T) {
	for _, v := range loadVectors[itemVector](t, "items.json") {
		t.Run(v.Name, func(t *testing.T) {
			item, batch := v.parse(t)
			bad := sdkproto.ValidateItem(item, batch, time.UnixMilli(v.ReceivedMS))
			if v.Code == "" {
				if bad != nil {
					t.Fatalf("refused: %v", bad)
				}
				if kind, _ := sdkproto.ItemBody(item); string(kind) != v.Kind {
					t.Errorf("kind %s, want %s", kind, v.Kind)
				}
				return
			}
			if bad == nil || bad.Code != v.Code || bad.Field != v.Field || bad.Reason == "" || bad.Retryable || bad.Seq != item.Seq {
				t.Errorf("reject %v, want %s of %q with a reason", bad, v.Code, v.Field)
			}
		})
	}
}

type stopVector struct {
	Name        string  `json:"name"`
	StopAfterS  int     `json:"stop_after_s"`
	StopRadiusM float64 `json:"stop_radius_m"`
	Fixes       []struct {
		AtMS      int64   `json:"at_ms,string"`
		Lat       float64 `json:"lat"`
		Lng       float64 `json:"lng"`
		AccuracyM float64 `json:"accuracy_m"`
	} `json:"fixes"`
	Stopped []bool    `json:"stopped"`
	SinceMS []*string `json:"since_ms"`
}

func TestStopVectors(t *testing.T) {
	for _, v := range loadVectors[stopVector](t, "stops.json") {
		t.Run(v.Name, func(t *testing.T) {
			d := sdkproto.StopDetector{After: time.Duration(v.StopAfterS) * time.Second, RadiusM: v.StopRadiusM}
			if len(v.Stopped) != len(v.Fixes) || len(v.SinceMS) != len(v.Fixes) {
				t.Fatal("not an answer for each fix")
			}
			for i, f := range v.Fixes {
				was := d.Stopped()
				changed := d.Fix(time.UnixMilli(f.AtMS), f.Lat, f.Lng, f.AccuracyM)
				if d.Stopped() != v.Stopped[i] || changed != (was != v.Stopped[i]) {
					t.Errorf("fix %d: stopped %v, changed %v; want %v", i, d.Stopped(), changed, v.Stopped[i])
				}
				since := ""
				if v.SinceMS[i] != nil {
					since = *v.SinceMS[i]
				}
				if got := d.Since(); got.IsZero() != (since == "") || since != "" && strconv.FormatInt(got.UnixMilli(), 10) != since {
					t.Errorf("fix %d: since %v, want %q", i, got, since)
				}
			}
		})
	}
}
