package api

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"

	"github.com/gin-gonic/gin"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/media"
)

// Images looks at the image of an address (*media.Checker). An error is an
// *engage.Error without a field: Unavailable if nobody could tell, and any other code
// if it is no image to send.
type Images interface {
	Check(ctx context.Context, address string) error
}

// Hosting keeps images and serves them (*media.Library, whose documentation holds).
type Hosting interface {
	http.Handler // GET and HEAD below media.Path
	Take(ctx context.Context, workspace, address string) (image string, err error)
	Use(ctx context.Context, workspace, campaign string, images map[string]string) error
}

// registerHosting serves hosted images, without a key: phones ask for them.
func (s *server) registerHosting(r *gin.Engine) {
	if s.o.Hosting == nil {
		return
	}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		r.Handle(method, media.Path+":image", gin.WrapH(s.o.Hosting))
	}
}

// tryImages looks at the images of every arm whose address is the same for everybody,
// each once, all at the same time: c compiles, so there are few. Look is asked for each
// address. The error is of one that would never be shown, in the order of the arms; the
// warnings are of those that nobody could look at. Without Options.Images nobody is
// asked and there is neither.
func (s *server) tryImages(ctx context.Context, c *engage.Campaign, look func(ctx context.Context, address string) error) (warnings []FieldError, err error) {
	if s.o.Images == nil {
		return nil, nil
	}
	at := map[string]string{} // the first field with an address
	var addresses []string
	for i, a := range c.Arms {
		images := a.Message.Images()
		for _, field := range slices.Sorted(maps.Keys(images)) {
			address := media.Fixed(images[field])
			if _, again := at[address]; address == "" || again {
				continue
			}
			at[address] = engage.Index("arms", i, "message."+field)
			addresses = append(addresses, address)
		}
	}
	found := make([]error, len(addresses))
	var all sync.WaitGroup
	for i, address := range addresses {
		all.Go(func() { found[i] = look(ctx, address) })
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i, err := range found {
		if err == nil {
			continue
		}
		err = engage.At(at[addresses[i]], err)
		if engage.CodeOf(err) != engage.Unavailable {
			return nil, err
		}
		p := problemOf(err)
		warnings = append(warnings, FieldError{p.Code, p.Field, p.Reason})
	}
	return warnings, nil
}

// check is Options.Images.Check, which tryImages asks only if there is one.
func (s *server) check(ctx context.Context, address string) error {
	return s.o.Images.Check(ctx, address)
}

// looked is tryImages for what is about to be saved: what nobody could look at goes to
// the log, for the answer is the campaign. For one that the catalogue will refuse
// nobody is asked. Where images are hosted they are kept, each under its name, by
// address: for inUse, when the campaign is saved.
func (s *server) looked(ctx context.Context, who caller, c *engage.Campaign) (kept map[string]string, err error) {
	if s.o.Images == nil {
		return nil, nil
	}
	now, w, err := s.workspaceOf(who)
	if err != nil {
		return nil, err
	}
	if s.o.Compile(c, now.AttributesWith(w)) != nil {
		return nil, nil // the catalogue says it, with the rest of what is wrong
	}
	look := s.o.Images.Check
	if s.o.Hosting != nil {
		var mu sync.Mutex
		kept = map[string]string{}
		look = func(ctx context.Context, address string) error {
			image, err := s.o.Hosting.Take(ctx, c.Workspace, address)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				kept[address] = image
			}
			return err
		}
	}
	warnings, err := s.tryImages(ctx, c, look)
	for _, w := range warnings {
		s.o.Logger.LogAttrs(ctx, slog.LevelWarn, "image not looked at", slog.String("workspace", c.Workspace),
			slog.String("campaign", c.ID), slog.String("field", w.Field), slog.String("reason", w.Reason))
	}
	return kept, err
}

// inUse says that the campaign, which is saved now, shows what looked has kept. When it
// fails, messages carry what they did before: the image of the last save, or the
// address until the library has fetched it.
func (s *server) inUse(ctx context.Context, c *engage.Campaign, kept map[string]string) {
	if s.o.Hosting == nil {
		return
	}
	if err := s.o.Hosting.Use(ctx, c.Workspace, c.ID, kept); err != nil {
		s.o.Logger.LogAttrs(ctx, slog.LevelWarn, "image not hosted for now", slog.String("workspace", c.Workspace),
			slog.String("campaign", c.ID), slog.Any("error", err))
	}
}
