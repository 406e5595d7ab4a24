package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

func (s *server) registerApps() {
	register(s, operation{
		method: http.MethodPost, path: "/apps", id: "create-app", tag: tagApps, role: catalog.Admin, status: http.StatusCreated,
		summary:     "Create an app",
		description: "Its public key is made here. Its secrets are kept encrypted and never come back.",
		body:        appBody{}, errors: []int{http.StatusConflict},
	}, s.createApp)
	register(s, operation{
		method: http.MethodGet, path: "/apps", id: "list-apps", tag: tagApps, role: catalog.Marketer,
		summary: "List apps", description: "In order of id, without their secrets.",
	}, s.listApps)
	register(s, operation{
		method: http.MethodGet, path: "/apps/{id}", id: "get-app", tag: tagApps, role: catalog.Marketer,
		summary: "Get an app",
	}, s.getApp)
	s.registerCredentials()
	s.registerIdentity()
	s.registerSDKConfig()
}

type appBody struct {
	ID             string        `json:"id" doc:"1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'"`
	Name           string        `json:"name"`
	Platform       string        `json:"platform" enum:"android,ios,web"`
	BundleID       string        `json:"bundle_id,omitempty" doc:"APNs topic; required with apns"`
	IdentitySecret engage.Secret `json:"identity_secret,omitempty" writeOnly:"true" doc:"The short way to one key that proves users by HMAC, 16 to 200 characters: identity has all of them"`
	Identity       *newIdentity  `json:"identity,omitempty" doc:"How the app proves its users; absent: by identity_secret alone. Without any key, and with the mode required, it cannot identify users"`
	FCM            *fcmBody      `json:"fcm,omitempty"`
	APNs           *apnsBody     `json:"apns,omitempty"`
}

type fcmBody struct {
	ProjectID      string          `json:"project_id"`
	ServiceAccount json.RawMessage `json:"service_account,omitempty" writeOnly:"true" doc:"The service account's JSON file, as an object or as its text. Absent: the server's own of the project, which its configuration must have (providers.fcm)"`
}

type apnsBody struct {
	TeamID     string        `json:"team_id"`
	KeyID      string        `json:"key_id"`
	PrivateKey engage.Secret `json:"private_key" writeOnly:"true" doc:"The .p8 file (PEM)"`
}

// appView is an app without its secrets.
type appView struct {
	ID                string       `json:"id"`
	Name              string       `json:"name"`
	Platform          string       `json:"platform"`
	Key               string       `json:"key" doc:"Public: the SDK sends it"`
	BundleID          string       `json:"bundle_id,omitempty"`
	Disabled          bool         `json:"disabled,omitempty"`
	HasIdentitySecret bool         `json:"has_identity_secret" doc:"It was made with identity_secret, which is among the keys of identity"`
	Identity          identityView `json:"identity"`
	FCM               *fcmAppView  `json:"fcm,omitempty" doc:"Absent: no credential"`
	APNs              *apnsAppView `json:"apns,omitempty" doc:"Absent: no credential"`
	Version           int64        `json:"version"`
	UpdatedAt         time.Time    `json:"updated_at"`
}

type fcmAppView struct {
	ProjectID string `json:"project_id"`
}

type apnsAppView struct {
	TeamID string `json:"team_id"`
	KeyID  string `json:"key_id"`
}

func viewApp(a *catalog.App) appView {
	v := appView{
		ID: a.ID, Name: a.Name, Platform: a.Platform, Key: a.Key, BundleID: a.BundleID, Disabled: a.Disabled,
		HasIdentitySecret: a.IdentitySecret != "", Identity: viewIdentity(a, nil), Version: a.Version, UpdatedAt: a.UpdatedAt,
	}
	if a.FCM != nil {
		v.FCM = &fcmAppView{a.FCM.ProjectID}
	}
	if a.APNs != nil {
		v.APNs = &apnsAppView{a.APNs.TeamID, a.APNs.KeyID}
	}
	return v
}

func (s *server) createApp(ctx context.Context, who caller, in *bodyInput) (*versioned[appView], error) {
	var b appBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	a := &catalog.App{ID: b.ID, Workspace: who.workspace, Name: b.Name, Platform: b.Platform, BundleID: b.BundleID, Key: catalog.NewAppKey()}
	if n := len(b.IdentitySecret.Reveal()); n != 0 && (n < 16 || n > 200) {
		return nil, engage.Errorf(engage.Invalid, "identity_secret", "must have 16 to 200 characters, has %d", n)
	}
	if b.Name == "" || len(b.Name) > 200 {
		return nil, engage.Errorf(engage.Invalid, "name", "must have 1 to 200 bytes, has %d", len(b.Name))
	}
	a.IdentitySecret = s.o.Sealer.Seal(b.IdentitySecret.Reveal())
	made := map[string]engage.Secret{}
	if b.Identity != nil {
		var err error
		if a.Identity, err = s.newIdentity(b.Identity, made); err != nil {
			return nil, engage.At("identity", err)
		}
	}
	if err := s.setCredentials(a, b.FCM, b.APNs); err != nil {
		return nil, err
	}
	if err := s.o.Catalog.PutApp(ctx, who.key.ID, a, 0); err != nil {
		return nil, err
	}
	v := viewApp(a)
	v.Identity = viewIdentity(a, made)
	return versionedOf(v, a.Version, 0), nil
}

func (s *server) listApps(_ context.Context, who caller, in *struct{ Paging }) (*answered[list[appView]], error) {
	page := pageByID(s.o.Catalog.Now().Apps(who.workspace), func(a *catalog.App) string { return a.ID }, in.Paging)
	return listOf(page, viewApp), nil
}

func (s *server) getApp(_ context.Context, who caller, in *byID) (*versioned[appView], error) {
	a := s.o.Catalog.Now().App(who.workspace, in.ID)
	if a == nil {
		return nil, engage.Errorf(engage.NotFound, "id", "there is no app %q", clip(in.ID))
	}
	return versionedOf(viewApp(a), a.Version, a.Version), nil
}
