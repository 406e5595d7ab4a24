package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

// claimsCollection is engage.Claim: who was said to be whom.
func claimsCollection() store.Collection {
	return store.Collection{Name: engage.Claims, Indexes: []store.Index{{Name: "profile", Paths: []string{"profile"}}}}
}

// claimsKey is the document of meta that says that the claims of earlier builds, which
// did not list them, are listed.
var claimsKey = store.Key{Workspace: store.System, ID: "claims"}

// claimsPortion is how many documents are written at once.
const claimsPortion = 500

// newClaims notes of a data folder without anybody that every claim will be listed.
func (a *App) newClaims(ctx context.Context) error {
	some := errors.New("there is somebody")
	err := a.states.Iterate(ctx, "state_act", store.Query{}, func(store.Doc) error { return some })
	switch {
	case errors.Is(err, some):
		return nil
	case err != nil:
		return fmt.Errorf("look for persons: %w", err)
	}
	return a.claimsListed(ctx)
}

func (a *App) claimsListed(ctx context.Context) error {
	err := a.states.Apply(ctx, store.Batch{Puts: []store.Put{{Collection: "meta", Key: claimsKey, Body: []byte(`{"v":1}`), If: store.AnyVersion}}})
	if err != nil {
		return fmt.Errorf("note that claims are listed: %w", err)
	}
	return nil
}

// ListClaims implements people.Engine: it looks through all persons and all timelines, once
// in the life of a data folder that an earlier build began.
func (f forgetting) ListClaims(ctx context.Context) error {
	a := f.a
	_, err := a.states.Get(ctx, "meta", claimsKey)
	if err == nil {
		return nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("read whether claims are listed: %w", err)
	}
	var b store.Batch
	write := func(least int) error {
		if len(b.Puts) < least {
			return nil
		}
		err := a.states.Apply(ctx, b)
		b.Puts = b.Puts[:0]
		return err
	}
	note := func(d store.Doc, profile, identifier string) error {
		if identifier == "" {
			return nil
		}
		c := engage.Claim{V: 1, Of: engage.PersonID(d.Workspace, identifier), Profile: profile}
		body, err := json.Marshal(c)
		if err != nil {
			return err
		}
		b.Puts = append(b.Puts, store.Put{Collection: engage.Claims, Key: store.Key{Workspace: d.Workspace, ID: c.ID()}, Body: body, If: store.AnyVersion})
		return write(claimsPortion)
	}
	claimed := []byte(`"claimed"`) // a member, or a kind
	for collection, read := range map[string]func(store.Doc) (profile, identifier string, err error){
		"state_act": func(d store.Doc) (string, string, error) {
			p, err := fromJSON[struct {
				ID      string `json:"id"`
				Claimed string `json:"claimed"`
			}](d)
			return p.ID, p.Claimed, err
		},
		"timeline": func(d store.Doc) (string, string, error) {
			e, err := fromJSON[engage.TimelineEntry](d)
			if err != nil {
				return "", "", err
			}
			id, err := claimOf(&e)
			return e.Profile, id, err
		},
	} {
		err := a.states.Iterate(ctx, collection, store.Query{}, func(d store.Doc) error {
			if !bytes.Contains(d.Body, claimed) {
				return nil
			}
			profile, identifier, err := read(d)
			if err != nil {
				return fmt.Errorf("decode %s: %w", d.ID, err)
			}
			return note(d, profile, identifier)
		})
		if err == nil {
			err = write(1)
		}
		if err != nil {
			return fmt.Errorf("list claims of %s: %w", collection, err)
		}
	}
	return a.claimsListed(ctx)
}

// claimOf is the identifier that an entry of a timeline claims; empty: none.
func claimOf(e *engage.TimelineEntry) (identifier string, err error) {
	switch e.Kind {
	case engage.KindClaimed:
		var x engage.Identify
		err = json.Unmarshal(e.Data, &x)
		return x.Identifier, err
	case engage.KindTouch:
		var x struct {
			Claimed string `json:"claimed"`
		}
		err = json.Unmarshal(e.Data, &x)
		return x.Claimed, err
	}
	return "", nil
}

// Disclaim implements people.Engine.
func (f forgetting) Disclaim(ctx context.Context, workspace string, d engage.Disclaim, profiles []string) error {
	body, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encode disclaim: %w", err)
	}
	// Whoever a profile has become may have taken the claim over; and may become another
	// meanwhile, whose owner then has the claim before it hears of this.
	var all []string
	for next := profiles; len(next) > 0; {
		keys := make([]string, len(next))
		for i, id := range next {
			keys[i] = engage.ProfileKey(workspace, id)
		}
		if err := appendAndSave(ctx, keys, f.a.router.actOf, engage.KindDisclaim, body); err != nil {
			return err
		}
		all = append(all, next...)
		next = nil
		for _, id := range all {
			now, _, err := f.a.now(ctx, workspace, id)
			if err != nil {
				return err
			}
			if !slices.Contains(all, now) && !slices.Contains(next, now) {
				next = append(next, now)
			}
		}
	}
	x := disclaimer{f.a.states, workspace, d}
	for _, id := range all {
		if err := x.clean(ctx, "timeline", engage.TimelineShelf(id, ""), x.entry); err != nil {
			return err
		}
		if err := x.clean(ctx, decide.Snapshots, decide.SnapshotShelf(id), x.snapshot); err != nil {
			return err
		}
	}
	return nil
}

// disclaimer takes out of the history of others whom they were said to be.
type disclaimer struct {
	states    store.Store
	workspace string
	d         engage.Disclaim
}

// clean writes those documents anew that f changes, and deletes those that it leaves nothing of.
// It is all done again if somebody else changes one meanwhile: another erasure.
func (x *disclaimer) clean(ctx context.Context, collection, prefix string, f func(store.Doc) (body []byte, changed bool, err error)) error {
	const tries = 3
	for n := 1; ; n++ {
		err := x.once(ctx, collection, prefix, f)
		if err == nil {
			return nil
		}
		if n == tries || !errors.Is(err, store.ErrVersion) {
			return fmt.Errorf("take claims out of %s: %w", collection, err)
		}
	}
}

func (x *disclaimer) once(ctx context.Context, collection, prefix string, f func(store.Doc) ([]byte, bool, error)) error {
	var b store.Batch
	write := func(least int) error {
		if len(b.Puts)+len(b.Deletes) < least {
			return nil
		}
		err := x.states.Apply(ctx, b)
		b = store.Batch{}
		return err
	}
	err := x.states.Iterate(ctx, collection, store.Query{Workspace: x.workspace, IDPrefix: prefix}, func(d store.Doc) error {
		body, changed, err := f(d)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", d.ID, err)
		case !changed:
			return nil
		case body == nil:
			b.Deletes = append(b.Deletes, store.Delete{Collection: collection, Key: d.Key, If: d.Version})
		default:
			b.Puts = append(b.Puts, store.Put{Collection: collection, Key: d.Key, Body: body, Expires: d.Expires, If: d.Version})
		}
		return write(claimsPortion)
	})
	if err != nil {
		return err
	}
	return write(1)
}

// entry of a timeline. What says nothing but whom an app named goes as a whole.
func (x *disclaimer) entry(d store.Doc) (body []byte, changed bool, err error) {
	if !bytes.Contains(d.Body, []byte(`"claimed"`)) && !bytes.ContainsRune(d.Body, '@') {
		return nil, false, nil
	}
	e, err := fromJSON[engage.TimelineEntry](d)
	if err != nil || len(e.Data) == 0 {
		return nil, false, err
	}
	id, err := claimOf(&e)
	if err != nil {
		return nil, false, err
	}
	theirs := id != "" && x.d.Names(x.workspace, id)
	if theirs && e.Kind == engage.KindClaimed {
		return nil, true, nil
	}
	read := json.NewDecoder(bytes.NewReader(e.Data))
	read.UseNumber() // a number stays as it was written
	var data any
	if err := read.Decode(&data); err != nil {
		return nil, false, err
	}
	if members, is := data.(map[string]any); is && theirs {
		delete(members, "claimed")
	}
	data, addresses := x.without(data)
	if !theirs && !addresses {
		return nil, false, nil
	}
	if e.Data, err = json.Marshal(data); err != nil {
		return nil, false, err
	}
	body, err = json.Marshal(e)
	return body, true, err
}

// without is a value without the e-mail addresses of who was erased.
func (x *disclaimer) without(v any) (_ any, changed bool) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			if x.d.IsAddress(x.workspace, inner) {
				delete(v, name)
				changed = true
				continue
			}
			rest, is := x.without(inner)
			if is {
				v[name], changed = rest, true
			}
		}
	case []any:
		n := len(v)
		v = slices.DeleteFunc(v, func(inner any) bool { return x.d.IsAddress(x.workspace, inner) })
		changed = len(v) < n
		for i, inner := range v {
			rest, is := x.without(inner)
			if is {
				v[i], changed = rest, true
			}
		}
		return v, changed
	}
	return v, changed
}

// snapshot of a person.
func (x *disclaimer) snapshot(d store.Doc) (body []byte, changed bool, err error) {
	s, err := decide.DecodeSnapshot(d.Body)
	if err != nil || !s.State.Disclaim(x.d) {
		return nil, false, err
	}
	body, err = s.Encode()
	return body, true, err
}
