package catalog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// Limits of an SDKConfig.
const (
	MaxTrackingIntervalS = 24 * 3600 // of the three intervals
	MaxStopAfterS        = 3600
	MinStopRadiusM       = 10
	MaxStopRadiusM       = 1000
	MaxInAppGapMS        = 24 * 3600 * 1000
)

// Presets of tracking, as the protocol names them.
var (
	TrackingPresets    = []string{"off", "efficient", "responsive", "continuous"}
	TrackingAccuracies = []string{"low", "medium", "high"}
)

// SDKConfig is what an app's SDKs are to do otherwise than the protocol's
// specification says.
type SDKConfig struct {
	// Tracking is the preset that is used in place of what the app asks for; empty:
	// what it asks for.
	Tracking string `json:"tracking,omitempty"`
	// Presets say what some of the presets mean, each at most once; never "off".
	Presets []Tracking `json:"presets,omitempty"`
	// InAppGapMS is the time between the end of an in-app message and the next; 0
	// means none.
	InAppGapMS int `json:"in_app_gap_ms,omitempty"`
}

// Tracking says what a preset means. A field that is nil, or empty, has the
// specification's value.
type Tracking struct {
	Preset             string `json:"preset"`
	MovingIntervalS    *int   `json:"moving_interval_s,omitempty"`
	StoppedIntervalS   *int   `json:"stopped_interval_s,omitempty"`
	SyncIntervalS      *int   `json:"sync_interval_s,omitempty"`
	Accuracy           string `json:"accuracy,omitempty"`
	StopAfterS         *int   `json:"stop_after_s,omitempty"`
	StopRadiusM        *int   `json:"stop_radius_m,omitempty"`
	Visits             *bool  `json:"visits,omitempty"`
	SignificantChanges *bool  `json:"significant_changes,omitempty"`
	ForegroundService  *bool  `json:"foreground_service,omitempty"`
}

// Empty reports whether nothing is configured. Nil is empty.
func (c *SDKConfig) Empty() bool {
	return c == nil || c.Tracking == "" && len(c.Presets) == 0 && c.InAppGapMS == 0
}

// Validate checks the config; the field of an error is its path. Nil is valid.
func (c *SDKConfig) Validate() error {
	if c == nil {
		return nil
	}
	if c.Tracking != "" && !slices.Contains(TrackingPresets, c.Tracking) {
		return oneOf("tracking", TrackingPresets, c.Tracking)
	}
	for i := range c.Presets {
		t := &c.Presets[i]
		at := fmt.Sprintf("presets[%d]", i)
		if t.Preset == "off" || !slices.Contains(TrackingPresets, t.Preset) {
			return engage.At(at, oneOf("preset", TrackingPresets[1:], t.Preset))
		}
		if slices.ContainsFunc(c.Presets[:i], func(o Tracking) bool { return o.Preset == t.Preset }) {
			return engage.At(at, engage.Errorf(engage.Invalid, "preset", "stands twice: %q", t.Preset))
		}
		if err := t.validate(); err != nil {
			return engage.At(at, err)
		}
	}
	return within("in_app_gap_ms", &c.InAppGapMS, 0, MaxInAppGapMS, "milliseconds")
}

func (t *Tracking) validate() error {
	if t.Accuracy != "" && !slices.Contains(TrackingAccuracies, t.Accuracy) {
		return oneOf("accuracy", TrackingAccuracies, t.Accuracy)
	}
	for _, f := range []struct {
		name    string
		value   *int
		lo, hi  int
		measure string
	}{
		{"moving_interval_s", t.MovingIntervalS, 0, MaxTrackingIntervalS, "seconds"},
		{"stopped_interval_s", t.StoppedIntervalS, 0, MaxTrackingIntervalS, "seconds"},
		{"sync_interval_s", t.SyncIntervalS, 0, MaxTrackingIntervalS, "seconds"},
		{"stop_after_s", t.StopAfterS, 0, MaxStopAfterS, "seconds"},
		{"stop_radius_m", t.StopRadiusM, MinStopRadiusM, MaxStopRadiusM, "metres"},
	} {
		if err := within(f.name, f.value, f.lo, f.hi, f.measure); err != nil {
			return err
		}
	}
	return nil
}

func within(field string, v *int, lo, hi int, measure string) error {
	if v == nil || *v >= lo && *v <= hi {
		return nil
	}
	return engage.Errorf(engage.Invalid, field, "must be %d to %d %s, is %d", lo, hi, measure, *v)
}

func oneOf(field string, words []string, is string) error {
	var quoted []string
	for _, w := range words {
		quoted = append(quoted, fmt.Sprintf("%q", w))
	}
	return engage.Errorf(engage.Invalid, field, "must be %s or %s, is %q",
		strings.Join(quoted[:len(quoted)-1], ", "), quoted[len(quoted)-1], is)
}
