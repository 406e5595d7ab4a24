package sdkproto

import (
	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// DefaultTracking is what a preset means on a platform (README, "Tracking"), with
// every field set. What only one platform has is false or 0 on the others; a
// preset that is not known is off.
func DefaultTracking(p sdkpb.Tracking_Preset, on sdkpb.Platform) *sdkpb.Tracking {
	type row struct {
		moving, stopped, sync, stopAfter  uint32
		accuracy                          sdkpb.Tracking_Accuracy
		visits, significant, asForeground bool
	}
	ios := on == sdkpb.Platform_PLATFORM_IOS
	var r row
	stopRadius := uint32(70)
	switch p {
	case sdkpb.Tracking_PRESET_EFFICIENT:
		r = row{1200, 3600, 140, 140, sdkpb.Tracking_ACCURACY_MEDIUM, true, false, false}
		if ios {
			r.moving, r.stopped, r.sync, r.stopAfter = 0, 0, 0, 0
		}
	case sdkpb.Tracking_PRESET_RESPONSIVE:
		r = row{150, 0, 20, 140, sdkpb.Tracking_ACCURACY_MEDIUM, true, true, false}
	case sdkpb.Tracking_PRESET_CONTINUOUS:
		r = row{30, 30, 20, 140, sdkpb.Tracking_ACCURACY_HIGH, false, false, true}
	default:
		p, stopRadius = sdkpb.Tracking_PRESET_OFF, 0
	}
	return &sdkpb.Tracking{
		Preset: p, MovingIntervalS: &r.moving, StoppedIntervalS: &r.stopped, SyncIntervalS: &r.sync,
		Accuracy: &r.accuracy, StopAfterS: &r.stopAfter, StopRadiusM: &stopRadius,
		Visits: new(r.visits && ios), SignificantChanges: new(r.significant && ios),
		ForegroundService: &r.asForeground,
	}
}

// EffectiveTracking is how a phone tracks now, with every field set. Asked is what
// the app asked for: UNSPECIFIED nothing yet, OFF that it stopped. The config may
// be nil.
func EffectiveTracking(asked sdkpb.Tracking_Preset, c *sdkpb.Config, on sdkpb.Platform) *sdkpb.Tracking {
	preset := asked
	if t := c.GetTracking(); t != sdkpb.Tracking_PRESET_UNSPECIFIED && asked != sdkpb.Tracking_PRESET_OFF {
		preset = t
	}
	out := DefaultTracking(preset, on)
	if out.Preset == sdkpb.Tracking_PRESET_OFF {
		return out
	}
	for _, t := range c.GetPresets() {
		if t.GetPreset() == out.Preset {
			proto.Merge(out, t)
		}
	}
	return out
}
