package media

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
)

// Path is where a Library is to be mounted; the name of an image follows.
const Path = "/media/"

// Image is what is known of a kept image beside its bytes.
type Image struct {
	Workspace string
	Name      string // 40 hexadecimal digits and the extension of its type: "3f….png"
	Type      string // image/jpeg, image/png, image/gif
	Bytes     int64
	// Unused is since when no campaign has shown it; zero while one does.
	Unused time.Time
}

// Use is that a campaign shows an image in place of an address.
type Use struct {
	Workspace, Campaign string
	Source              string // Source of the address: that may hold a secret
	Image               string // its name
}

// Source names an address: 32 hexadecimal digits of its SHA-256.
func Source(address string) string {
	sum := sha256.Sum256([]byte(address))
	return hex.EncodeToString(sum[:16])
}

// Shelf is where a Library keeps things. app implements it with the document store.
// What it has taken survives kill -9. It is safe for concurrent use.
type Shelf interface {
	// Key of this installation, made when there is none: 32 bytes.
	Key(ctx context.Context) ([]byte, error)
	// All calls i for every image and u for every use, of all workspaces.
	All(ctx context.Context, i func(Image), u func(Use)) error
	// PutImage keeps what is known of an image; with its bytes, unless data is nil.
	PutImage(ctx context.Context, i Image, data []byte) error
	// Data are an image's bytes; nil if it is not there.
	Data(ctx context.Context, workspace, name string) ([]byte, error)
	// PutUses replaces the images of uses.
	PutUses(ctx context.Context, uses []Use) error
	// Remove removes; what is not there is no error.
	Remove(ctx context.Context, images []Image, uses []Use) error
}

// Shown is an address in a campaign.
type Shown struct{ Workspace, Campaign, Address string }

// LibraryOptions of NewLibrary. Those without a default are required.
type LibraryOptions struct {
	Shelf   Shelf
	Checker *Checker
	// Shown lists the addresses that are the same for everybody, of all campaigns that
	// may still send.
	Shown func() []Shown
	// Base is the address under which phones reach the server, without a path.
	Base string
	// Grace is how long an image stays that no campaign shows; 0 means 35 days, longer
	// than a message stays in an inbox.
	Grace time.Duration
	// MaxBytes of all images together; 0 means 1 GiB.
	MaxBytes int64
	Clock    clock.Clock
	Logger   *slog.Logger          // nil logs nothing
	Metrics  prometheus.Registerer // nil registers nothing
}

// Library keeps images and serves them. It is safe for concurrent use. Load comes
// before everything else.
type Library struct {
	o       LibraryOptions
	log     *slog.Logger
	key     []byte
	metrics *metrics
	cache   *cache
	reading singleflight.Group

	change sync.Mutex // held over a change, shelf included: there are few

	mu     sync.RWMutex
	images map[string]Image // by name
	uses   map[use]string   // names of images
	bytes  int64            // of all images
	later  map[use]pause    // addresses that could not be had
}

// use is Use without what is shown.
type use struct{ workspace, campaign, source string }

// pause is when an address is tried again, after how many failures.
type pause struct {
	until    time.Time
	failures int
}

var extensions = map[string]string{"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif"}

// NewLibrary makes a Library; Load fills it and Run looks after it.
func NewLibrary(o LibraryOptions) (*Library, error) {
	for _, need := range []struct {
		field string
		given bool
	}{{"shelf", o.Shelf != nil}, {"checker", o.Checker != nil}, {"shown", o.Shown != nil}, {"base", o.Base != ""}, {"clock", o.Clock != nil}} {
		if !need.given {
			return nil, engage.Errorf(engage.Invalid, need.field, "is required")
		}
	}
	if o.Grace == 0 {
		o.Grace = 35 * 24 * time.Hour
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 30
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Base = strings.TrimSuffix(o.Base, "/")
	l := &Library{
		o: o, log: o.Logger, metrics: newMetrics(), cache: newCache(cacheBytes),
		images: map[string]Image{}, uses: map[use]string{}, later: map[use]pause{},
	}
	if o.Metrics != nil {
		if err := l.metrics.register(o.Metrics, l); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Load reads what is kept. It may be repeated after an error.
func (l *Library) Load(ctx context.Context) error {
	l.change.Lock()
	defer l.change.Unlock()
	key, err := l.o.Shelf.Key(ctx)
	if err != nil {
		return err
	}
	images, uses, size := map[string]Image{}, map[use]string{}, int64(0)
	if err := l.o.Shelf.All(ctx, func(i Image) {
		images[i.Name] = i
		size += i.Bytes
	}, func(u Use) { uses[use{u.Workspace, u.Campaign, u.Source}] = u.Image }); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.key, l.images, l.uses, l.bytes = key, images, uses, size
	return nil
}

// name of an image: nobody can guess it, not even who has the image, and no workspace
// learns from it what another has.
func (l *Library) name(workspace, kind string, data []byte) string {
	h := hmac.New(sha256.New, l.key)
	h.Write([]byte(workspace))
	h.Write([]byte{0})
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil)[:20]) + extensions[kind]
}

// Take fetches the image of an address and keeps it, for Use. Errors are those of
// Checker.Check; Unavailable also when there is no room.
func (l *Library) Take(ctx context.Context, workspace, address string) (image string, err error) {
	data, kind, err := l.o.Checker.Fetch(ctx, address)
	if err != nil {
		l.metrics.fetched(err)
		return "", err
	}
	l.change.Lock()
	defer l.change.Unlock()
	i := Image{Workspace: workspace, Name: l.name(workspace, kind, data), Type: kind, Bytes: int64(len(data)), Unused: l.o.Clock.Now()}
	l.mu.RLock()
	old, known := l.images[i.Name]
	full := !known && l.bytes+i.Bytes > l.o.MaxBytes
	l.mu.RUnlock()
	switch {
	case full:
		l.metrics.fetches.WithLabelValues("full").Inc()
		return "", engage.Errorf(engage.Unavailable, "", "cannot be hosted: hosted images may take %d bytes together, which is too little for one more", l.o.MaxBytes)
	case known && old.Unused.IsZero():
		l.metrics.fetches.WithLabelValues("known").Inc()
		return i.Name, nil
	case known: // it may be about to be removed
		data = nil
	}
	if err := l.put(ctx, i, data); err != nil {
		return "", err
	}
	if known {
		l.metrics.fetches.WithLabelValues("known").Inc()
	} else {
		l.metrics.fetches.WithLabelValues("kept").Inc()
		l.cache.put(i.Name, data) // phones are about to ask
	}
	return i.Name, nil
}

// put writes what is known of an image; l.change is held.
func (l *Library) put(ctx context.Context, i Image, data []byte) error {
	if err := l.o.Shelf.PutImage(ctx, i, data); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.images[i.Name]; !known {
		l.bytes += i.Bytes
	}
	l.images[i.Name] = i
	return nil
}

// Use says that the campaign shows these images, each in place of its address. The
// campaign is in the catalogue by then.
func (l *Library) Use(ctx context.Context, workspace, campaign string, images map[string]string) error {
	if len(images) == 0 {
		return nil
	}
	l.change.Lock()
	defer l.change.Unlock()
	var uses []Use
	var first []Image // not shown so far
	for address, name := range images {
		l.mu.RLock()
		i, known := l.images[name]
		have := l.uses[use{workspace, campaign, Source(address)}]
		l.mu.RUnlock()
		if !known || i.Workspace != workspace {
			return engage.Errorf(engage.NotFound, "", "an image is not kept any more")
		}
		if !i.Unused.IsZero() {
			i.Unused = time.Time{}
			first = append(first, i)
		}
		if have != name {
			uses = append(uses, Use{workspace, campaign, Source(address), name})
		}
	}
	for _, i := range first {
		if err := l.put(ctx, i, nil); err != nil {
			return err
		}
	}
	if len(uses) == 0 {
		return nil
	}
	if err := l.o.Shelf.PutUses(ctx, uses); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, u := range uses {
		l.uses[use{u.Workspace, u.Campaign, u.Source}] = u.Image
	}
	return nil
}

// Address is where the image of the address is kept that the campaign shows, else the
// address itself.
func (l *Library) Address(workspace, campaign, address string) string {
	if address == "" {
		return ""
	}
	u := use{workspace, campaign, Source(address)}
	l.mu.RLock()
	defer l.mu.RUnlock()
	name := l.uses[u]
	if name == "" {
		return address
	}
	return l.o.Base + Path + name
}

// data are an image's bytes, from the memory if it was asked for lately.
func (l *Library) data(ctx context.Context, i Image) ([]byte, error) {
	if data := l.cache.get(i.Name); data != nil {
		return data, nil
	}
	// A push brings thousands of phones at once: one of them reads.
	v, err, _ := l.reading.Do(i.Name, func() (any, error) {
		data, err := l.o.Shelf.Data(context.WithoutCancel(ctx), i.Workspace, i.Name)
		if err == nil && int64(len(data)) != i.Bytes {
			err = fmt.Errorf("%d of %d bytes are there", len(data), i.Bytes)
		}
		if err == nil {
			l.cache.put(i.Name, data)
		}
		return data, err
	})
	if err != nil {
		return nil, err
	}
	return v.([]byte), nil //nolint:forcetypeassert // it is what the function returns
}
