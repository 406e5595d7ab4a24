package app

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/catalog"
)

// sdkConfigs are what SDKs are told, as the protocol has it. A config is made anew
// when its app has changed, which the catalogue's snapshots show by another pointer.
type sdkConfigs struct {
	mu   sync.Mutex
	made map[string]madeConfig // by the public key of the app
}

type madeConfig struct {
	of *catalog.SDKConfig
	is *sdkpb.Config
}

// config of an app; nil when nothing is configured.
func (x *sdkConfigs) config(app *catalog.App) *sdkpb.Config {
	if app.SDK.Empty() {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if have, ok := x.made[app.Key]; ok && have.of == app.SDK {
		return have.is
	}
	if x.made == nil {
		x.made = map[string]madeConfig{}
	}
	c := sdkConfig(app.SDK)
	x.made[app.Key] = madeConfig{app.SDK, c}
	return c
}

// sdkConfig is a config in the protocol's words. Its etag depends on what it says
// alone: an app that is saved again without a change has its phones fetch nothing.
func sdkConfig(c *catalog.SDKConfig) *sdkpb.Config {
	out := &sdkpb.Config{Tracking: preset(c.Tracking), InAppGapMs: uint32(c.InAppGapMS)} //nolint:gosec // validated: at most a day
	for _, t := range c.Presets {
		p := &sdkpb.Tracking{
			Preset: preset(t.Preset), MovingIntervalS: unsigned(t.MovingIntervalS), StoppedIntervalS: unsigned(t.StoppedIntervalS),
			SyncIntervalS: unsigned(t.SyncIntervalS), StopAfterS: unsigned(t.StopAfterS), StopRadiusM: unsigned(t.StopRadiusM),
			Visits: t.Visits, SignificantChanges: t.SignificantChanges, ForegroundService: t.ForegroundService,
		}
		if t.Accuracy != "" {
			p.Accuracy = sdkpb.Tracking_Accuracy(sdkpb.Tracking_Accuracy_value["ACCURACY_"+strings.ToUpper(t.Accuracy)]).Enum()
		}
		out.Presets = append(out.Presets, p)
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(out)
	if err != nil {
		panic(err) // numbers and flags can always be encoded
	}
	sum := sha256.Sum256(b)
	out.Etag = hex.EncodeToString(sum[:8])
	return out
}

// preset of a name; UNSPECIFIED for "".
func preset(name string) sdkpb.Tracking_Preset {
	return sdkpb.Tracking_Preset(sdkpb.Tracking_Preset_value["PRESET_"+strings.ToUpper(name)])
}

func unsigned(v *int) *uint32 {
	if v == nil {
		return nil
	}
	return new(uint32(*v)) //nolint:gosec // validated: at most a day
}
