package app

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/catalog"
)

func TestAnSDKConfigIsToldInTheProtocolsWords(t *testing.T) {
	n, yes, no := 0, true, false
	c := &catalog.SDKConfig{Tracking: "off", InAppGapMS: 5, Presets: []catalog.Tracking{
		{Preset: "continuous", MovingIntervalS: &n, Accuracy: "medium", Visits: &yes, ForegroundService: &no},
	}}
	got := sdkConfig(c)
	want := &sdkpb.Config{
		Etag: got.GetEtag(), Tracking: sdkpb.Tracking_PRESET_OFF, InAppGapMs: 5, Presets: []*sdkpb.Tracking{{
			Preset: sdkpb.Tracking_PRESET_CONTINUOUS, MovingIntervalS: proto.Uint32(0), Accuracy: sdkpb.Tracking_ACCURACY_MEDIUM.Enum(),
			Visits: new(true), ForegroundService: new(false),
		}},
	}
	if !proto.Equal(got, want) || got.GetEtag() == "" {
		t.Errorf("got %v\nwant %v", got, want)
	}
	// Every name that the catalogue takes has its word.
	for _, name := range catalog.TrackingPresets {
		if preset(name) == sdkpb.Tracking_PRESET_UNSPECIFIED {
			t.Errorf("preset %s is not the protocol's", name)
		}
	}
	for _, name := range catalog.TrackingAccuracies {
		c := sdkConfig(&catalog.SDKConfig{Presets: []catalog.Tracking{{Preset: "efficient", Accuracy: name}}})
		if c.GetPresets()[0].GetAccuracy() == sdkpb.Tracking_ACCURACY_UNSPECIFIED {
			t.Errorf("accuracy %s is not the protocol's", name)
		}
	}

	var x sdkConfigs
	app := &catalog.App{Key: "k", Version: 1, SDK: c}
	first := x.config(app)
	if again := x.config(&catalog.App{Key: "k", Version: 2, SDK: c}); again != first {
		t.Error("made twice")
	}
	same := *c
	if again := x.config(&catalog.App{Key: "k", Version: 3, SDK: &same}); again.GetEtag() != first.GetEtag() {
		t.Error("the same content has another etag")
	}
	same.InAppGapMS = 6
	other := same
	if again := x.config(&catalog.App{Key: "k", Version: 4, SDK: &other}); again.GetEtag() == first.GetEtag() || again.GetInAppGapMs() != 6 {
		t.Errorf("other content: %v", again)
	}
	for _, nothing := range []*catalog.SDKConfig{nil, {}} {
		if got := x.config(&catalog.App{Key: "k", SDK: nothing}); got != nil {
			t.Errorf("nothing is configured: %v", got)
		}
	}
}
