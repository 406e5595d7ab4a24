package api

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/template"
)

// Images looks at the image of an address (*media.Checker). An error is an
// *engage.Error without a field: Unavailable if nobody could tell, and any other code
// if it is no image to send.
type Images interface {
	Check(ctx context.Context, address string) error
}

// tryImages looks at the images of every arm whose address is the same for everybody,
// each once, all at the same time: c compiles, so there are few. The error is of one that would never be shown, in
// the order of the arms; the warnings are of those that nobody could look at. Without
// Options.Images nobody is asked and there is neither.
func (s *server) tryImages(ctx context.Context, c *engage.Campaign) (warnings []FieldError, err error) {
	if s.o.Images == nil {
		return nil, nil
	}
	at := map[string]int{} // arms that are the first with an address
	var addresses []string
	for i, a := range c.Arms {
		address := fixedImage(a.Message.ImageURL)
		if _, again := at[address]; address == "" || again {
			continue
		}
		at[address] = i
		addresses = append(addresses, address)
	}
	found := make([]error, len(addresses))
	var all sync.WaitGroup
	for i, address := range addresses {
		all.Go(func() { found[i] = s.o.Images.Check(ctx, address) })
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i, err := range found {
		if err == nil {
			continue
		}
		err = engage.At(engage.Index("arms", at[addresses[i]], "message.image_url"), err)
		if engage.CodeOf(err) != engage.Unavailable {
			return nil, err
		}
		p := problemOf(err)
		warnings = append(warnings, FieldError{p.Code, p.Field, p.Reason})
	}
	return warnings, nil
}

// looked is tryImages for what is about to be saved: what nobody could look at goes to
// the log, for the answer is the campaign. For one that the catalogue will refuse
// nobody is asked.
func (s *server) looked(ctx context.Context, who caller, c *engage.Campaign) error {
	if s.o.Images == nil {
		return nil
	}
	_, w, err := s.workspaceOf(who)
	if err != nil {
		return err
	}
	if s.o.Compile(c, w.Attributes) != nil {
		return nil // the catalogue says it, with the rest of what is wrong
	}
	warnings, err := s.tryImages(ctx, c)
	for _, w := range warnings {
		s.o.Logger.LogAttrs(ctx, slog.LevelWarn, "image not looked at", slog.String("workspace", c.Workspace),
			slog.String("campaign", c.ID), slog.String("field", w.Field), slog.String("reason", w.Reason))
	}
	return err
}

// fixedImage is the address of an image if it is the same for everybody, else empty.
func fixedImage(source string) string {
	t, err := template.Parse(source)
	if err != nil || !t.Constant() {
		return ""
	}
	address, err := t.Render(nil, time.Time{})
	if err != nil {
		return ""
	}
	return address
}
