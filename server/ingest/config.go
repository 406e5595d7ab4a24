package ingest

import (
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// readme is what an SDK does whose app has no config.
var readme = &sdkpb.Config{}

// configFor is what the app wants of an SDK that has the config of an etag; nil
// means that it has it. An SDK whose config was taken back is told an empty one,
// whose etag is empty.
func configFor(app *App, has string) *sdkpb.Config {
	c := app.Config
	if c == nil {
		c = readme
	}
	if c.GetEtag() == has {
		return nil
	}
	return c
}

// configFrame is a frame of the config, and what its number needs.
func configFrame(c *sdkpb.Config) (*sdkpb.Frame, number) {
	return &sdkpb.Frame{Config: c}, number{topic: topicConfig, etag: c.GetEtag()}
}
