package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/channels/webhook"
	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/media"
	"github.com/footfall-engage/footfall/server/store"
)

// openMedia makes what looks at images, and what keeps them; nil when the operator does
// not want it.
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
	if c.Hosted() {
		if a.library, err = media.NewLibrary(media.LibraryOptions{
			Shelf: shelf{a.states}, Checker: checker, Shown: func() []media.Shown { return shownImages(a.catalog.Now()) },
			Base: a.o.Config.PublicURL, Grace: c.Grace(), MaxBytes: c.HostBytes(),
			Clock: a.o.Clock, Logger: a.log, Metrics: a.registry,
		}); err != nil {
			return nil, fmt.Errorf("hosted images: %w", err)
		}
	}
	return checker, nil
}

// plainImages says whether an image's address by plain http is one that the operator
// allows, whether images are looked at or not.
func (a *App) plainImages(address string) bool {
	allow, err := webhook.ParseNetworks(a.o.Config.Media.AllowNetworks)
	return err == nil && webhook.CheckURL(address, allow) == nil
}

// hosting is the library as the API sees it.
func (a *App) hosting() api.Hosting {
	if a.library == nil {
		return nil // and not an interface that holds nil
	}
	return a.library
}

// imageAddress is where phones get an image that a campaign's message names.
func (a *App) imageAddress(workspace, campaign, address string) string {
	if a.library == nil {
		return address
	}
	return a.library.Address(workspace, campaign, address)
}

// withHostedImages hands sends on that name hosted images by where they are kept. In
// the log they stand with the address that the campaign has: the decision does not
// depend on what this server keeps.
func (a *App) withHostedImages(accept func(context.Context, []engage.Send) error) func(context.Context, []engage.Send) error {
	return func(ctx context.Context, sends []engage.Send) error {
		if a.library != nil {
			for i := range sends {
				s := &sends[i]
				s.ImageURL = a.library.Address(s.Workspace, s.Campaign, s.ImageURL)
			}
		}
		return accept(ctx, sends)
	}
}

// shownImages are the addresses that are the same for everybody, of the campaigns that
// may still send.
func shownImages(now *catalog.Snapshot) (out []media.Shown) {
	for ws := range now.Workspaces {
		for _, c := range now.Campaigns(ws) {
			if c.Status == engage.Ended {
				continue
			}
			for i := range c.Arms {
				for _, image := range c.Arms[i].Message.Images() {
					if address := media.Fixed(image); address != "" {
						out = append(out, media.Shown{Workspace: ws, Campaign: c.ID, Address: address})
					}
				}
			}
		}
	}
	return out
}

// shelf keeps hosted images in the store: in "media" what is known of an image as
// "image/<name>" and of a campaign's use of one as "use/<campaign>/<source>", in
// "media_data" its bytes as "<name>". The key is the system's document "key".
type shelf struct{ states store.Store }

const (
	imagePrefix = "image/"
	usePrefix   = "use/"
)

var mediaKey = store.Key{Workspace: store.System, ID: "key"}

// imageDoc is the body of an image's document.
type imageDoc struct {
	V        int    `json:"v"` // 1
	Type     string `json:"type"`
	Bytes    int64  `json:"bytes"`
	UnusedUS int64  `json:"unused_us,omitempty"` // Unix microseconds; absent: a campaign shows it
}

// useDoc is the body of a use's document.
type useDoc struct {
	V     int    `json:"v"` // 1
	Image string `json:"image"`
}

// keyDoc is the body of the key's document.
type keyDoc struct {
	V   int    `json:"v"` // 1
	Key []byte `json:"key"`
}

// Key implements media.Shelf.
func (s shelf) Key(ctx context.Context) ([]byte, error) {
	for {
		doc, err := s.states.Get(ctx, "media", mediaKey)
		if err == nil {
			var k keyDoc
			if err := json.Unmarshal(doc.Body, &k); err != nil {
				return nil, fmt.Errorf("decode the key of hosted images: %w", err)
			}
			return k.Key, nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return nil, fmt.Errorf("read the key of hosted images: %w", err)
		}
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails (Go 1.24)
		body, err := json.Marshal(keyDoc{1, key})
		if err != nil {
			return nil, err
		}
		err = s.states.Apply(ctx, store.Batch{Puts: []store.Put{{Collection: "media", Key: mediaKey, Body: body}}})
		if err != nil && !errors.Is(err, store.ErrVersion) {
			return nil, fmt.Errorf("keep the key of hosted images: %w", err)
		}
	}
}

// All implements media.Shelf.
func (s shelf) All(ctx context.Context, image func(media.Image), use func(media.Use)) error {
	err := s.states.Iterate(ctx, "media", store.Query{IDPrefix: imagePrefix}, func(d store.Doc) error {
		var x imageDoc
		if err := json.Unmarshal(d.Body, &x); err != nil {
			return fmt.Errorf("decode %s: %w", d.ID, err)
		}
		i := media.Image{Workspace: d.Workspace, Name: strings.TrimPrefix(d.ID, imagePrefix), Type: x.Type, Bytes: x.Bytes}
		if x.UnusedUS != 0 {
			i.Unused = time.UnixMicro(x.UnusedUS).UTC()
		}
		image(i)
		return nil
	})
	if err == nil {
		err = s.states.Iterate(ctx, "media", store.Query{IDPrefix: usePrefix}, func(d store.Doc) error {
			var x useDoc
			if err := json.Unmarshal(d.Body, &x); err != nil {
				return fmt.Errorf("decode %s: %w", d.ID, err)
			}
			campaign, source, _ := strings.Cut(strings.TrimPrefix(d.ID, usePrefix), "/")
			use(media.Use{Workspace: d.Workspace, Campaign: campaign, Source: source, Image: x.Image})
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("read hosted images: %w", err)
	}
	return nil
}

// PutImage implements media.Shelf.
func (s shelf) PutImage(ctx context.Context, i media.Image, data []byte) error {
	x := imageDoc{V: 1, Type: i.Type, Bytes: i.Bytes}
	if !i.Unused.IsZero() {
		x.UnusedUS = i.Unused.UnixMicro()
	}
	body, err := json.Marshal(x)
	if err != nil {
		return err
	}
	b := store.Batch{Puts: []store.Put{{Collection: "media", Key: imageKey(i), Body: body, If: store.AnyVersion}}}
	if data != nil {
		b.Puts = append(b.Puts, store.Put{Collection: "media_data", Key: store.Key{Workspace: i.Workspace, ID: i.Name}, Body: data, If: store.AnyVersion})
	}
	if err := s.states.Apply(ctx, b); err != nil {
		return fmt.Errorf("keep an image: %w", err)
	}
	return nil
}

// Data implements media.Shelf.
func (s shelf) Data(ctx context.Context, workspace, name string) ([]byte, error) {
	doc, err := s.states.Get(ctx, "media_data", store.Key{Workspace: workspace, ID: name})
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read an image: %w", err)
	}
	return doc.Body, nil
}

// PutUses implements media.Shelf.
func (s shelf) PutUses(ctx context.Context, uses []media.Use) error {
	var b store.Batch
	for _, u := range uses {
		body, err := json.Marshal(useDoc{1, u.Image})
		if err != nil {
			return err
		}
		b.Puts = append(b.Puts, store.Put{Collection: "media", Key: useKey(u), Body: body, If: store.AnyVersion})
	}
	if err := s.states.Apply(ctx, b); err != nil {
		return fmt.Errorf("keep the images of a campaign: %w", err)
	}
	return nil
}

// Remove implements media.Shelf.
func (s shelf) Remove(ctx context.Context, images []media.Image, uses []media.Use) error {
	var b store.Batch
	for _, i := range images {
		b.Deletes = append(b.Deletes,
			store.Delete{Collection: "media", Key: imageKey(i)},
			store.Delete{Collection: "media_data", Key: store.Key{Workspace: i.Workspace, ID: i.Name}})
	}
	for _, u := range uses {
		b.Deletes = append(b.Deletes, store.Delete{Collection: "media", Key: useKey(u)})
	}
	if err := s.states.Apply(ctx, b); err != nil {
		return fmt.Errorf("remove images: %w", err)
	}
	return nil
}

func imageKey(i media.Image) store.Key {
	return store.Key{Workspace: i.Workspace, ID: imagePrefix + i.Name}
}

func useKey(u media.Use) store.Key {
	return store.Key{Workspace: u.Workspace, ID: usePrefix + u.Campaign + "/" + u.Source}
}
