package catalog_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

func TestAnSDKConfigSaysWhereItIsWrong(t *testing.T) {
	n := func(i int) *int { return &i }
	type c = catalog.SDKConfig
	type tr = catalog.Tracking
	for _, test := range []struct {
		config      *c
		field, says string // "" means that it is right
	}{
		{nil, "", ""},
		{&c{}, "", ""},
		{&c{Tracking: "off", InAppGapMS: catalog.MaxInAppGapMS}, "", ""},
		{&c{Presets: []tr{
			{Preset: "efficient", MovingIntervalS: n(0), StoppedIntervalS: n(86400), SyncIntervalS: n(0), StopAfterS: n(0), StopRadiusM: n(10)},
			{Preset: "responsive", Accuracy: "low", StopAfterS: n(3600), StopRadiusM: n(1000)},
			{Preset: "continuous"},
		}}, "", ""},
		{&c{Tracking: "turbo"}, "tracking", `must be "off", "efficient", "responsive" or "continuous", is "turbo"`},
		{&c{Tracking: "Off"}, "tracking", "is"},
		{&c{InAppGapMS: -1}, "in_app_gap_ms", "must be 0 to 86400000 milliseconds, is -1"},
		{&c{InAppGapMS: catalog.MaxInAppGapMS + 1}, "in_app_gap_ms", "must be"},
		{&c{Presets: []tr{{}}}, "presets[0].preset", `must be "efficient", "responsive" or "continuous", is ""`},
		{&c{Presets: []tr{{Preset: "off"}}}, "presets[0].preset", "must be"},
		{&c{Presets: []tr{{Preset: "efficient"}, {Preset: "efficient"}}}, "presets[1].preset", `stands twice: "efficient"`},
		{&c{Presets: []tr{{Preset: "efficient"}, {Preset: "responsive", MovingIntervalS: n(-1)}}}, "presets[1].moving_interval_s", "must be 0 to 86400 seconds, is -1"},
		{&c{Presets: []tr{{Preset: "efficient", StoppedIntervalS: n(86401)}}}, "presets[0].stopped_interval_s", "must be"},
		{&c{Presets: []tr{{Preset: "efficient", SyncIntervalS: n(86401)}}}, "presets[0].sync_interval_s", "must be"},
		{&c{Presets: []tr{{Preset: "efficient", StopAfterS: n(3601)}}}, "presets[0].stop_after_s", "must be"},
		{&c{Presets: []tr{{Preset: "efficient", StopRadiusM: n(9)}}}, "presets[0].stop_radius_m", "must be 10 to 1000 metres, is 9"},
		{&c{Presets: []tr{{Preset: "efficient", StopRadiusM: n(1001)}}}, "presets[0].stop_radius_m", "must be"},
		{&c{Presets: []tr{{Preset: "efficient", Accuracy: "best"}}}, "presets[0].accuracy", `must be "low", "medium" or "high", is "best"`},
	} {
		var e *engage.Error
		switch err := test.config.Validate(); {
		case test.field == "" && err != nil:
			t.Errorf("%+v: %v", test.config, err)
		case test.field != "" && (!errors.As(err, &e) || e.Code != engage.Invalid || e.Field != test.field || !strings.Contains(e.Msg, test.says)):
			t.Errorf("%+v: %v, want %s: %s", test.config, err, test.field, test.says)
		}
	}
	app := catalog.App{ID: "a", Platform: "ios", Key: "ffa_123456789012", SDK: &c{Tracking: "turbo"}}
	var e *engage.Error
	if err := app.Validate(); !errors.As(err, &e) || e.Field != "sdk.tracking" {
		t.Errorf("an app: %v", err)
	}
	if e := (&c{}); !e.Empty() || (&c{Tracking: "off"}).Empty() || (&c{InAppGapMS: 1}).Empty() || (&c{Presets: []tr{{Preset: "efficient"}}}).Empty() {
		t.Error("what is empty")
	}
}
