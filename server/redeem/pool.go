package redeem

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

const (
	chunkCodes = 1000 // of a document of offer_pool
	// PortionCodes are written at once.
	PortionCodes = 500
	tries        = 8 // of a batch that somebody else's overtakes
)

// code is a document of offer_codes.
type code struct {
	V     int    `json:"v"` // 1
	Offer string `json:"offer"`
	N     int64  `json:"n"`
	Used  *used  `json:"used,omitempty"` // nil: no till has it, or it was voided
}

// used says which redemption has a code, or a message. It names nobody.
type used struct {
	Redemption string    `json:"redemption"`
	At         time.Time `json:"at"`
	Place      string    `json:"place,omitempty"`
}

// chunk is a document of offer_pool; Codes are as they were uploaded.
type chunk struct {
	V     int      `json:"v"` // 1
	Codes []string `json:"codes"`
}

// pool is the head of an offer's pool.
type pool struct {
	V    int   `json:"v"` // 1
	Size int64 `json:"size"`
}

func chunkID(offer string, n int64) string {
	return fmt.Sprintf("%s/%010d", offer, n-n%chunkCodes)
}

// Size is how many codes the pool of an offer has.
func (s *Service) Size(ctx context.Context, workspace, offer string) (int64, error) {
	var p pool
	_, err := s.get(ctx, "offer_pool", workspace, offer, &p)
	return p.Size, err
}

// AddCodes appends codes to an offer's pool, at most PortionCodes, and says of each why
// it was refused: nil of those that were taken, which survive a crash when it returns.
// TooLarge: the pool is full; Conflict: the workspace has the code already.
func (s *Service) AddCodes(ctx context.Context, workspace, offer string, codes []string) ([]error, error) {
	if len(codes) > PortionCodes {
		return nil, engage.Errorf(engage.TooLarge, "codes", "at most %d at once, got %d", PortionCodes, len(codes))
	}
	s.adding.Lock()
	defer s.adding.Unlock()
	for range tries {
		refused, err := s.addCodes(ctx, workspace, offer, codes)
		if !errors.Is(err, store.ErrVersion) {
			return refused, err
		}
	}
	return nil, engage.Errorf(engage.Unavailable, "codes", "others are adding codes at the same time: try again")
}

func (s *Service) addCodes(ctx context.Context, workspace, offer string, codes []string) ([]error, error) {
	refused := make([]error, len(codes))
	ids := make([]string, len(codes))
	var ask []string
	for i, text := range codes {
		ids[i] = engage.NormalCode(text)
		switch {
		case ids[i] == "":
			refused[i] = engage.Errorf(engage.Invalid, "code", "must have 3 to 64 letters, digits, '-', '_' or '.'")
		case slices.Contains(ids[:i], ids[i]):
			refused[i] = engage.Errorf(engage.Conflict, "code", "stands twice")
		case s.o.Shared(workspace, ids[i]) != nil:
			refused[i] = engage.Errorf(engage.Conflict, "code", "is the shared code of another offer")
		default:
			ask = append(ask, ids[i])
		}
	}
	had := map[string]bool{}
	if len(ask) > 0 {
		q := store.Query{Workspace: workspace, Filter: store.Filter{Path: "_id", Op: store.In, Value: ask}}
		err := s.o.Hot.Iterate(ctx, "offer_codes", q, func(d store.Doc) error {
			had[d.ID] = true
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read codes: %w", err)
		}
	}
	var head pool
	version, err := s.get(ctx, "offer_pool", workspace, offer, &head)
	if err != nil {
		return nil, err
	}
	var b store.Batch
	chunks := map[string]*chunk{}
	versions := map[string]int64{}
	for i, id := range ids {
		switch {
		case refused[i] != nil:
			continue
		case had[id]:
			refused[i] = engage.Errorf(engage.Conflict, "code", "is there already")
			continue
		case head.Size >= engage.MaxPool:
			refused[i] = engage.Errorf(engage.TooLarge, "code", "an offer has at most %d codes", engage.MaxPool)
			continue
		}
		n := head.Size
		head.Size++
		at := chunkID(offer, n)
		if chunks[at] == nil {
			chunks[at] = &chunk{V: 1}
			if versions[at], err = s.get(ctx, "offer_pool", workspace, at, chunks[at]); err != nil {
				return nil, err
			}
		}
		chunks[at].Codes = append(chunks[at].Codes, codes[i])
		if err := put(&b, "offer_codes", workspace, id, 0, code{V: 1, Offer: offer, N: n}); err != nil {
			return nil, err
		}
	}
	if len(chunks) == 0 {
		return refused, nil
	}
	for at, c := range chunks {
		if err := put(&b, "offer_pool", workspace, at, versions[at], c); err != nil {
			return nil, err
		}
	}
	head.V = 1
	if err := put(&b, "offer_pool", workspace, offer, version, head); err != nil {
		return nil, err
	}
	if err := s.o.Hot.Apply(ctx, b); err != nil {
		return nil, fmt.Errorf("write codes: %w", err)
	}
	return refused, nil
}

// Fill adds the texts to codes that have numbers. One of which there is no text is left
// out, and so is one that a till has taken, though its message was said to have ended
// undelivered: the holding counts it as used.
func (s *Service) Fill(ctx context.Context, workspace, offer string, codes []engage.PoolCode) ([]engage.PoolCode, error) {
	chunks := map[string]*chunk{}
	out := make([]engage.PoolCode, 0, len(codes))
	for _, c := range codes {
		at := chunkID(offer, c.N)
		if chunks[at] == nil {
			chunks[at] = &chunk{}
			if _, err := s.get(ctx, "offer_pool", workspace, at, chunks[at]); err != nil {
				return nil, err
			}
		}
		if i := c.N % chunkCodes; i < int64(len(chunks[at].Codes)) {
			out = append(out, engage.PoolCode{N: c.N, Code: chunks[at].Codes[i]})
		}
	}
	if len(out) == 0 {
		return out, nil
	}
	ids := make([]string, len(out))
	for i := range out {
		ids[i] = engage.NormalCode(out[i].Code)
	}
	taken := map[string]bool{}
	q := store.Query{Workspace: workspace, Filter: store.Filter{Path: "_id", Op: store.In, Value: ids}}
	err := s.o.Hot.Iterate(ctx, "offer_codes", q, func(d store.Doc) error {
		var c code
		if err := json.Unmarshal(d.Body, &c); err != nil {
			return fmt.Errorf("decode code: %w", err)
		}
		taken[d.ID] = c.Used != nil
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read codes: %w", err)
	}
	return slices.DeleteFunc(out, func(c engage.PoolCode) bool { return taken[engage.NormalCode(c.Code)] }), nil
}

// get reads a document into v and returns its version; 0 when there is none.
func (s *Service) get(ctx context.Context, collection, workspace, id string, v any) (int64, error) {
	d, err := s.o.Hot.Get(ctx, collection, store.Key{Workspace: workspace, ID: id})
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err == nil {
		err = json.Unmarshal(d.Body, v)
	}
	if err != nil {
		return 0, fmt.Errorf("read %s %s: %w", collection, id, err)
	}
	return d.Version, nil
}

func put(b *store.Batch, collection, workspace, id string, version int64, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", collection, err)
	}
	b.Puts = append(b.Puts, store.Put{Collection: collection, Key: store.Key{Workspace: workspace, ID: id}, Body: body, If: version})
	return nil
}
