package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/identity"
)

// What persons see and change of what is kept of them, by sdkproto's person.go. Whoever
// holds an install's token sees the person whose install it is: one whom nobody knows
// anyway, one who is known only where the install has proven to be theirs. To bring a
// known person's install id, as a file of push tokens may have it, is no proof.

// Person is what is kept of somebody, as far as they are shown it here.
type Person struct {
	ID          string // profile; of one that has become another's, that one's
	Known       bool   // somebody is known by it; false: it is an install's own, or nothing is kept of it
	Preferences map[string]engage.Attitude
	Consents    engage.ByPurpose[engage.Consent]
}

// People knows persons and does what they ask for.
type People interface {
	// Person is who a profile is now; one of whom nothing is kept has its ID alone.
	Person(ctx context.Context, workspace, profile string) (Person, error)
	// Export returns what writes everything that is kept of a person, as one JSON
	// object. It has noted that an install of the app looks. NotFound: nothing is kept.
	Export(ctx context.Context, workspace, profile, app string) (func(context.Context, io.Writer) error, error)
	// Erase begins to erase a person at the wish of one of their installs.
	Erase(ctx context.Context, workspace, profile, app string) (*engage.Erasure, error)
	// Erasure is a receipt; NotFound without one.
	Erasure(ctx context.Context, workspace, id string) (*engage.Erasure, error)
}

const (
	// lookCost, exportCost and erasureCost are what questions cost of an install's rate,
	// in items.
	lookCost    = 5
	exportCost  = 500
	erasureCost = 100
	// maxPersonBody is more than any valid body has: 100 topics of 100 characters.
	maxPersonBody = 64 << 10
	// maxExports are written at a time, each within exportWithin.
	maxExports   = 4
	exportWithin = time.Minute
)

func (g *Gateway) personRoutes(mux *http.ServeMux) {
	for pattern, handle := range map[string]asked{
		"GET " + sdkproto.PathPreferences:          g.getPreferences,
		"PUT " + sdkproto.PathPreferences:          g.putPreferences,
		"GET " + sdkproto.PathConsents:             g.getConsents,
		"PUT " + sdkproto.PathConsents + "/{name}": g.putConsent,
		"POST " + sdkproto.PathErasure:             g.postErasure,
		"GET " + sdkproto.PathErasure + "/{id}":    g.getErasure,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { g.servePerson(w, r, handle) })
	}
	mux.HandleFunc("GET "+sdkproto.PathExport, g.serveExport)
}

// asked answers a request with what becomes JSON.
type asked func(context.Context, *http.Request) (any, error)

func (g *Gateway) servePerson(w http.ResponseWriter, r *http.Request, handle asked) {
	g.admitPerson(w, r, answerWithin, func(ctx context.Context) error {
		answer, err := handle(ctx, r)
		if err != nil {
			return err
		}
		body, err := json.Marshal(answer)
		if err != nil {
			return wrap("encode answer", err)
		}
		w.Header().Set("Content-Type", sdkproto.ContentTypeJSON)
		_, _ = w.Write(body) // who has gone asks again
		return nil
	})
}

// admitPerson is attend for what answers in JSON. What is not there is a 404.
func (g *Gateway) admitPerson(w http.ResponseWriter, r *http.Request, within time.Duration, answer func(context.Context) error) {
	w.Header().Set("Cache-Control", "no-store")
	allowOrigins(w)
	g.attend(w, r, sdkproto.JSON{}, within, func(ctx context.Context) error {
		err := answer(ctx)
		if e, is := errors.AsType[*engage.Error](err); is && e.Code == engage.NotFound {
			g.refuse(w, sdkproto.JSON{}, http.StatusNotFound, sdkproto.Errorf(sdkproto.ErrUnknownFrame, e.Field, "%s", e.Msg))
			return nil
		}
		return err
	})
}

// read reads a JSON body, strictly: a misspelt name would be an answer that is lost.
func read(r *http.Request, v any) error {
	if t := r.Header.Get("Content-Type"); !strings.HasPrefix(t, sdkproto.ContentTypeJSON) {
		return sdkproto.Errorf(sdkproto.ErrMalformed, "Content-Type", "must be %s", sdkproto.ContentTypeJSON)
	}
	raw, err := sdkproto.ReadBody(r.Body, r.Header.Get("Content-Encoding"), maxPersonBody)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		if e, is := errors.AsType[*json.UnmarshalTypeError](err); is {
			return sdkproto.Errorf(sdkproto.ErrMalformed, e.Field, "must be of type %s", e.Type)
		}
		return sdkproto.Errorf(sdkproto.ErrMalformed, "", "the body must be one JSON object of the names that are known here")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return sdkproto.Errorf(sdkproto.ErrMalformed, "", "the body must be one JSON object")
	}
	return nil
}

// self is who asks, with the install, which the caller releases, and the person whose
// install it is. An error of ErrIdentity says that the person is known and the install
// has not proven to be theirs.
func (g *Gateway) self(ctx context.Context, r *http.Request, cost int, field string) (who caller, in *install, p Person, err error) {
	if who, err = g.identify(ctx, r); err != nil {
		return who, nil, p, err
	}
	if in, err = g.ask(ctx, who, cost, field); err != nil {
		return who, nil, p, err
	}
	if p, err = g.personOf(ctx, in); err != nil {
		g.installs.release(in)
		return who, nil, p, err
	}
	return who, in, p, nil
}

func (g *Gateway) personOf(ctx context.Context, in *install) (Person, error) {
	in.mu.Lock()
	profile, proof := in.view.profile, in.view.proof
	in.mu.Unlock()
	if profile == "" { // it was erased a moment ago
		return Person{}, sdkproto.Errorf(sdkproto.ErrToken, "device_token", "the install is not known any more")
	}
	p, err := g.o.People.Person(ctx, in.key.workspace, profile)
	if err != nil {
		return Person{}, wrap("person", err)
	}
	if !p.Known {
		return p, nil
	}
	if proof != nil {
		user, err := g.o.People.Person(ctx, in.key.workspace, proof.user)
		if err != nil {
			return Person{}, wrap("person", err)
		}
		if user.ID == p.ID {
			return p, nil
		}
	}
	return Person{}, sdkproto.Errorf(sdkproto.ErrIdentity, "", "the install has not proven to be this person's: identify first")
}

// getPreferences answers GET /sdk/v1/preferences.
func (g *Gateway) getPreferences(ctx context.Context, r *http.Request) (any, error) {
	_, in, p, err := g.self(ctx, r, lookCost, "preferences")
	if err != nil {
		return nil, err
	}
	defer g.installs.release(in)
	out := sdkproto.Preferences{Topics: map[string]string{}, ThroughSeq: in.lastSeq.Load()}
	for topic, a := range p.Preferences {
		out.Topics[topic] = string(a)
	}
	return out, nil
}

// getConsents answers GET /sdk/v1/consents.
func (g *Gateway) getConsents(ctx context.Context, r *http.Request) (any, error) {
	_, in, p, err := g.self(ctx, r, lookCost, "consents")
	if err != nil {
		return nil, err
	}
	defer g.installs.release(in)
	out := sdkproto.Consents{Consents: map[string]sdkproto.ConsentAnswer{}, ThroughSeq: in.lastSeq.Load()}
	for purpose, c := range p.Consents.All() {
		out.Consents[string(purpose)] = sdkproto.ConsentAnswer{Granted: c.Granted, TextVersion: c.TextVersion, Source: c.Source, At: c.At}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for i, purpose := range purposes {
		if purpose == "" {
			continue
		}
		x, known := out.Consents[string(purpose)]
		if x.Here = in.view.answers[i].granted(); known || x.Here {
			out.Consents[string(purpose)] = x
		}
	}
	return out, nil
}

var attitudes = map[string]sdkpb.Preferences_Attitude{
	string(engage.Like): sdkpb.Preferences_ATTITUDE_LIKE, string(engage.Dislike): sdkpb.Preferences_ATTITUDE_DISLIKE,
}

// putPreferences answers PUT /sdk/v1/preferences.
func (g *Gateway) putPreferences(ctx context.Context, r *http.Request) (any, error) {
	var b sdkproto.PutPreferences
	return g.put(ctx, r, &b, func() (*sdkpb.Item, error) {
		topics := make(map[string]sdkpb.Preferences_Attitude, len(b.Topics))
		for topic, word := range b.Topics {
			a := sdkpb.Preferences_ATTITUDE_UNSPECIFIED // null: it forgets
			if word != nil {
				known := false
				if a, known = attitudes[*word]; !known {
					return nil, sdkproto.Errorf(sdkproto.ErrMalformed, "topics", `an answer must be "like", "dislike" or null`)
				}
			}
			topics[topic] = a
		}
		return &sdkpb.Item{Seq: b.Seq, Preferences: &sdkpb.Preferences{Topics: topics}}, nil
	})
}

// putConsent answers PUT /sdk/v1/consents/{purpose}.
func (g *Gateway) putConsent(ctx context.Context, r *http.Request) (any, error) {
	var b sdkproto.PutConsent
	return g.put(ctx, r, &b, func() (*sdkpb.Item, error) {
		for i, purpose := range purposes {
			if purpose == "" || string(purpose) != r.PathValue("name") {
				continue
			}
			if b.Granted == nil {
				return nil, sdkproto.Errorf(sdkproto.ErrMalformed, "granted", "is required")
			}
			return &sdkpb.Item{Seq: b.Seq, Consent: &sdkpb.Consent{
				Purpose: sdkpb.Consent_Purpose(i), Granted: *b.Granted, TextVersion: b.TextVersion, Source: b.Source,
			}}, nil
		}
		return nil, sdkproto.Errorf(sdkproto.ErrMalformed, "purpose", "is none of the purposes")
	})
}

// put has what a body says taken as an item of the install, by the same rules, and
// returns when it is durable.
func (g *Gateway) put(ctx context.Context, r *http.Request, into any, item func() (*sdkpb.Item, error)) (any, error) {
	who, in, _, err := g.self(ctx, r, 1, "put")
	if err != nil {
		return nil, err
	}
	defer g.installs.release(in)
	if err := read(r, into); err != nil {
		return nil, err
	}
	one, err := item()
	if err != nil {
		return nil, err
	}
	if e := g.mayTake(in.slot); e != nil {
		return nil, e
	}
	now := g.o.Clock.Now()
	if e := g.mayBring(in, g.apps.of(&who.app), 1, now); e != nil {
		return nil, e
	}
	var ack sdkpb.Ack
	landed := make(chan error, 1)
	var stalled <-chan struct{}
	nothing, err := g.take(in, &who.app, &sdkpb.Batch{Items: []*sdkpb.Item{one}}, now, &ack, nil, func(entries []engage.Entry) (err error) {
		stalled, err = g.append(in, entries, func(err error) { landed <- err })
		return err
	})
	if err == nil && !nothing {
		err = g.await(ctx, in, landed, stalled)
	}
	if err != nil {
		return nil, err
	}
	for _, x := range ack.GetRejects() {
		return nil, sdkproto.Errorf(sdkproto.ErrMalformed, x.GetField(), "%s", x.GetReason())
	}
	return sdkproto.Put{ThroughSeq: in.lastSeq.Load()}, nil
}

// postErasure answers POST /sdk/v1/erasure. A proof of before is not enough: a phone
// that lies about must not erase whoever left it there.
func (g *Gateway) postErasure(ctx context.Context, r *http.Request) (any, error) {
	who, in, p, err := g.self(ctx, r, erasureCost, "erasure")
	if err != nil {
		return nil, err
	}
	defer g.installs.release(in)
	var b sdkproto.AskErasure
	if err := read(r, &b); err != nil {
		return nil, err
	}
	proven, fault := who.app.Identity.Judge(identity.Proof{UserID: b.UserID, HMAC: b.HMAC, JWT: b.JWT}, g.o.Clock.Now())
	switch {
	case fault != nil:
		return nil, sdkproto.Errorf(sdkproto.ErrIdentity, strings.TrimPrefix(fault.Field, "identify."), "%s", fault.Reason)
	case !proven || !p.Known:
		return nil, sdkproto.Errorf(sdkproto.ErrIdentity, "", "only who proves who they are can be erased from here")
	}
	id, err := engage.Identifier(engage.IDUser, b.UserID)
	if err != nil {
		return nil, sdkproto.Errorf(sdkproto.ErrMalformed, "user_id", "must be a user id")
	}
	user, err := g.o.People.Person(ctx, who.app.Workspace, engage.PersonID(who.app.Workspace, id))
	if err != nil {
		return nil, wrap("person", err)
	}
	if user.ID != p.ID {
		return nil, sdkproto.Errorf(sdkproto.ErrIdentity, "user_id", "is not whose install this is")
	}
	e, err := g.o.People.Erase(ctx, who.app.Workspace, p.ID, who.app.ID)
	if err != nil {
		return nil, wrap("erase", err)
	}
	return receipt(e), nil
}

// getErasure answers GET /sdk/v1/erasure/{id}. The install is not known any more by
// then, so the app's key and the receipt's id, which nobody can guess, are enough.
func (g *Gateway) getErasure(ctx context.Context, r *http.Request) (any, error) {
	app, err := g.app(r.Header.Get(sdkproto.HeaderAppKey))
	if err != nil {
		return nil, err
	}
	e, err := g.o.People.Erasure(ctx, app.Workspace, r.PathValue("id"))
	if err != nil {
		return nil, wrap("erasure", err)
	}
	return receipt(e), nil
}

func receipt(e *engage.Erasure) sdkproto.Erasure {
	return sdkproto.Erasure{
		ID: e.ID, State: e.State, At: e.At, DoneAt: e.DoneAt, LogUntil: e.LogUntil, LogRemovedAt: e.LogRemovedAt,
		StatusPath: sdkproto.PathErasure + "/" + e.ID,
	}
}

// serveExport answers GET /sdk/v1/export.
func (g *Gateway) serveExport(w http.ResponseWriter, r *http.Request) {
	g.admitPerson(w, r, exportWithin, func(ctx context.Context) error {
		who, in, p, err := g.self(ctx, r, exportCost, "export")
		if err != nil {
			return err
		}
		defer g.installs.release(in)
		select {
		case g.exports <- struct{}{}:
			defer func() { <-g.exports }()
		default:
			return g.busy("too many exports at once")
		}
		write, err := g.o.People.Export(ctx, who.app.Workspace, p.ID, who.app.ID)
		if err != nil {
			return wrap("export", err)
		}
		// It takes as long as the history is, and the phone's line.
		line := http.NewResponseController(w)
		_ = line.SetWriteDeadline(soon(exportWithin))
		defer func() { _ = line.SetWriteDeadline(time.Time{}) }()
		h := w.Header()
		h.Set("Content-Type", sdkproto.ContentTypeJSON)
		h.Set("Content-Disposition", `attachment; filename="person.json"`)
		if err := write(ctx, w); err != nil {
			_ = g.answer(ctx, err, "export")
			panic(http.ErrAbortHandler) // the connection breaks, so that nobody takes what there is for whole
		}
		return nil
	})
}
