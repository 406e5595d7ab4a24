package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

func (s *server) registerCredentials() {
	register(s, operation{
		method: http.MethodPut, path: "/apps/{id}/credentials", id: "put-app-credentials", tag: tagApps, role: catalog.Admin,
		summary: "Exchange an app's push credentials",
		description: "The credential of each provider that is given takes the place of the app's, or is its first; the other stays. " +
			"It is in use from the next push on. What waits because the provider refused the old one is tried with it when the pause that /channels tells is over. " +
			"A change names the app's version that it was made from, by If-Match or in the document.",
		body: credentialsBody{}, errors: []int{http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired},
	}, s.putCredentials)
	register(s, operation{
		method: http.MethodDelete, path: "/apps/{id}/credentials/{provider}", id: "delete-app-credential", tag: tagApps, role: catalog.Admin,
		summary: "Take a push credential from an app",
		description: "At once: nothing more is sent to that provider for the app, what waits for it goes to the inbox where its campaign allows that, " +
			"and the secret is no longer kept. Tokens stay: with a new credential they are used again.",
		errors: []int{http.StatusConflict, http.StatusPreconditionFailed},
	}, s.deleteCredential)
}

type credentialsBody struct {
	Version int64     `json:"version,omitempty" doc:"Of the app, that the change was made from, if If-Match does not say it"`
	FCM     *fcmBody  `json:"fcm,omitempty" doc:"Absent: it stays"`
	APNs    *apnsBody `json:"apns,omitempty" doc:"Absent: it stays"`
}

type putCredentialsInput struct {
	ID      string `path:"id" maxLength:"100"`
	IfMatch string `header:"If-Match" maxLength:"40" doc:"The ETag (version of the app) that the change was made from; * means whatever is there now"`
	Raw
}

func (s *server) putCredentials(ctx context.Context, who caller, in *putCredentialsInput) (*versioned[appView], error) {
	var b credentialsBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	if b.FCM == nil && b.APNs == nil {
		return nil, engage.Errorf(engage.Invalid, "fcm", "give a credential: fcm, apns or both")
	}
	old, err := s.app(who, in.ID)
	if err != nil {
		return nil, err
	}
	expected, err := Changing{IfMatch: in.IfMatch}.expected(old.Version, b.Version)
	if err != nil {
		return nil, err
	}
	a := *old // a snapshot is never changed
	if err := s.setCredentials(&a, b.FCM, b.APNs); err != nil {
		return nil, err
	}
	if err := s.o.Catalog.PutApp(ctx, who.key.ID, &a, expected); err != nil {
		return nil, err
	}
	return versionedOf(viewApp(&a), a.Version, old.Version), nil
}

type deleteCredentialInput struct {
	ID       string `path:"id" maxLength:"100"`
	Provider string `path:"provider" enum:"fcm,apns"`
	IfMatch  string `header:"If-Match" maxLength:"40" doc:"The ETag (version of the app) that the credential is taken from; absent: whatever is there"`
}

func (s *server) deleteCredential(ctx context.Context, who caller, in *deleteCredentialInput) (*struct{}, error) {
	for try := 1; ; try++ {
		old, err := s.app(who, in.ID)
		if err != nil {
			return nil, err
		}
		expected := old.Version
		if in.IfMatch != "" {
			if expected, err = (Changing{IfMatch: in.IfMatch}).expected(old.Version, 0); err != nil {
				return nil, err
			}
		}
		a := *old
		switch {
		case in.Provider == string(channels.FCM) && a.FCM != nil:
			a.FCM = nil
		case in.Provider == string(channels.APNs) && a.APNs != nil:
			a.APNs = nil
		default:
			return nil, engage.Errorf(engage.NotFound, "provider", "the app has no credential for %s", in.Provider)
		}
		err = s.o.Catalog.PutApp(ctx, who.key.ID, &a, expected)
		if engage.CodeOf(err) == engage.Conflict && in.IfMatch == "" && try < keyTries {
			continue // somebody else changed the app meanwhile: what is taken away does not depend on that
		}
		return nil, err
	}
}

// setCredentials seals what is given into a, in place of what it has; nil leaves it.
func (s *server) setCredentials(a *catalog.App, f *fcmBody, p *apnsBody) error {
	if f != nil {
		a.FCM = &catalog.FCM{ProjectID: f.ProjectID}
		if len(f.ServiceAccount) > 0 {
			account, err := serviceAccount(f.ServiceAccount)
			if err != nil {
				return engage.At("fcm.service_account", err)
			}
			a.FCM.ServiceAccount = s.o.Sealer.Seal(account)
		}
	}
	if p != nil {
		if err := checkP8(p.PrivateKey.Reveal()); err != nil {
			return engage.At("apns.private_key", err)
		}
		a.APNs = &catalog.APNs{TeamID: p.TeamID, KeyID: p.KeyID, PrivateKey: s.o.Sealer.Seal(p.PrivateKey.Reveal())}
	}
	return nil
}

// serviceAccount is the text of a service account's file. Errors say nothing of
// what stands in it.
func serviceAccount(raw json.RawMessage) (string, error) {
	text := string(raw)
	if len(raw) > 0 && raw[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			return "", engage.Errorf(engage.Invalid, "", "must be an object, or its text")
		}
	}
	var account struct {
		ClientEmail string `json:"client_email"`
		PrivateKey  string `json:"private_key"`
	}
	switch err := json.Unmarshal([]byte(text), &account); {
	case err != nil:
		return "", engage.Errorf(engage.Invalid, "", "must be the JSON file of a service account")
	case account.ClientEmail == "" || account.PrivateKey == "":
		return "", engage.Errorf(engage.Invalid, "", "must be the JSON file of a service account: client_email and private_key are missing")
	}
	if block, _ := pem.Decode([]byte(account.PrivateKey)); block == nil {
		return "", engage.Errorf(engage.Invalid, "", "its private_key is not PEM")
	}
	return text, nil
}

// checkP8 refuses what is not an APNs signing key.
func checkP8(text string) error {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return engage.Errorf(engage.Invalid, "", "must be the .p8 file (PEM)")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if _, ok := key.(*ecdsa.PrivateKey); err != nil || !ok {
		return engage.Errorf(engage.Invalid, "", "must be the .p8 file: a PKCS #8 key for ES256")
	}
	return nil
}
