package api

import (
	"context"
	"net/http"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

const sdkConfigHelp = "How the app's SDKs follow the phone. Tracking names the preset that is used in place of the one that the app asks for, also where it asks for none, " +
	"but never where the app has stopped tracking. Presets say what a preset means, where it means something else than the protocol's specification says. "

func (s *server) registerSDKConfig() {
	register(s, operation{
		method: http.MethodGet, path: "/apps/{id}/sdk-config", id: "get-sdk-config", tag: tagApps, role: catalog.Marketer,
		summary: "Get what an app's SDKs are told", description: sdkConfigHelp + "Its version is that of the app.",
	}, s.getSDKConfig)
	register(s, operation{
		method: http.MethodPut, path: "/apps/{id}/sdk-config", id: "put-sdk-config", tag: tagApps, role: catalog.Admin,
		summary: "Say what an app's SDKs are told",
		description: sdkConfigHelp + "The whole of it is replaced; {} takes everything back. Phones with an open session hear of it at once, the others with their next POST or hello. " +
			"A change names the app's version that it was made from, by If-Match or in the document.",
		body: sdkConfigDoc{}, errors: []int{http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired},
	}, s.putSDKConfig)
}

type sdkConfigDoc struct {
	Version    int64         `json:"version" required:"false" doc:"Of the app; in a change: that it was made from"`
	Tracking   string        `json:"tracking,omitempty" enum:"off,efficient,responsive,continuous" doc:"The preset that is used whatever the app asks for; absent: what it asks for"`
	Presets    []trackingDoc `json:"presets,omitempty" nullable:"false" maxItems:"3" doc:"Each preset at most once"`
	InAppGapMS int           `json:"in_app_gap_ms,omitempty" minimum:"0" maximum:"86400000" doc:"Milliseconds between the end of an in-app message and the next; absent: none"`
}

type trackingDoc struct {
	Preset             string `json:"preset" enum:"efficient,responsive,continuous"`
	MovingIntervalS    *int   `json:"moving_interval_s,omitempty" minimum:"0" maximum:"86400" doc:"Between two positions while the phone moves; 0 asks for none. Of this and the others, absent: as the specification says"`
	StoppedIntervalS   *int   `json:"stopped_interval_s,omitempty" minimum:"0" maximum:"86400" doc:"Likewise while it stands"`
	SyncIntervalS      *int   `json:"sync_interval_s,omitempty" minimum:"0" maximum:"86400" doc:"Positions are sent at most so often; 0 sends each at once"`
	Accuracy           string `json:"accuracy,omitempty" enum:"low,medium,high" doc:"About a kilometre, a hundred metres, GPS"`
	StopAfterS         *int   `json:"stop_after_s,omitempty" minimum:"0" maximum:"3600" doc:"So long within stop_radius_m of one place is a stop; 0 detects none"`
	StopRadiusM        *int   `json:"stop_radius_m,omitempty" minimum:"10" maximum:"1000"`
	Visits             *bool  `json:"visits,omitempty" doc:"iOS: ask for visits"`
	SignificantChanges *bool  `json:"significant_changes,omitempty" doc:"iOS: ask for significant changes"`
	ForegroundService  *bool  `json:"foreground_service,omitempty" doc:"Android: with a notification; iOS: with the blue bar"`
}

func sdkConfigOf(a *catalog.App) sdkConfigDoc {
	out := sdkConfigDoc{Version: a.Version}
	if c := a.SDK; c != nil {
		out.Tracking, out.InAppGapMS = c.Tracking, c.InAppGapMS
		for _, t := range c.Presets {
			out.Presets = append(out.Presets, trackingDoc(t))
		}
	}
	return out
}

func (s *server) getSDKConfig(_ context.Context, who caller, in *byID) (*versioned[sdkConfigDoc], error) {
	a, err := s.app(who, in.ID)
	if err != nil {
		return nil, err
	}
	return versionedOf(sdkConfigOf(a), a.Version, a.Version), nil
}

type putSDKConfigInput struct {
	ID      string `path:"id" maxLength:"100"`
	IfMatch string `header:"If-Match" maxLength:"40" doc:"The ETag (version) that the change was made from"`
	Raw
}

func (s *server) putSDKConfig(ctx context.Context, who caller, in *putSDKConfigInput) (*versioned[sdkConfigDoc], error) {
	var b sdkConfigDoc
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	old, err := s.app(who, in.ID)
	if err != nil {
		return nil, err
	}
	expected, err := Changing{IfMatch: in.IfMatch}.expected(old.Version, b.Version)
	if err != nil {
		return nil, err
	}
	c := &catalog.SDKConfig{Tracking: b.Tracking, InAppGapMS: b.InAppGapMS}
	for _, t := range b.Presets {
		c.Presets = append(c.Presets, catalog.Tracking(t))
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Empty() {
		c = nil
	}
	a := *old // a snapshot is never changed
	a.SDK = c
	if err := s.o.Catalog.PutApp(ctx, who.key.ID, &a, expected); err != nil {
		return nil, err
	}
	return versionedOf(sdkConfigOf(&a), a.Version, old.Version), nil
}

// app that must be there.
func (s *server) app(who caller, id string) (*catalog.App, error) {
	a := s.o.Catalog.Now().App(who.workspace, id)
	if a == nil {
		return nil, engage.Errorf(engage.NotFound, "id", "there is no app %q", clip(id))
	}
	return a, nil
}
