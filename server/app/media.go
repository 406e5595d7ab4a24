package app

import (
	"github.com/footfall-engage/footfall/channels/webhook"
	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/media"
)

// openMedia makes what looks at images; nil when the operator does not want it.
func (a *App) openMedia() (api.Images, error) {
	c := a.o.Config.Media
	if !c.Checked() {
		return nil, nil // api.Options says what nil means
	}
	allow, err := webhook.ParseNetworks(c.AllowNetworks)
	if err != nil {
		return nil, engage.Errorf(engage.Invalid, "media.allow_networks", "%v", err)
	}
	checker := media.New(media.Options{
		MaxBytes: c.MaxBytes(), Timeout: c.Timeout(), AllowNetworks: allow, UserAgent: "Footfall/" + a.o.Version,
	})
	a.life.push("image connections", checker.Close)
	return checker, nil
}
