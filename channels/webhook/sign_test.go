package webhook_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels/webhook"
)

// vectors: the first is the example of the Standard Webhooks reference
// implementations; the others were made with OpenSSL
// (openssl dgst -sha256 -mac HMAC -macopt hexkey:… -binary | base64).
var vectors = []struct {
	name, secret, id string
	unix             int64
	body, want       string
}{
	{"the specification's", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, `{"test": 2432232314}`, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
	{"an empty body", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "id", 1, "", "v1,lREBoLuPdhRvafYCvRqQLK027fHSeOWciJpBSw5gHMQ="},
	{"text that is not ASCII", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "0f1e2d3c4b5a69788796a5b4c3d2e1f0", 1795255200, `{"name":"Café Löwe"}`, "v1,j+zB2Gj7OSRYYYLLH5ZN4vamKgQsSLDGGCZxJVSuxnQ="},
}

func TestSignaturesAreTheVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			secret, err := webhook.ParseSecret(v.secret)
			if err != nil {
				t.Fatal(err)
			}
			if got := webhook.Sign(secret, v.id, time.Unix(v.unix, 999), []byte(v.body)); got != v.want {
				t.Errorf("signed as %s, want %s", got, v.want)
			}
		})
	}
}

func headers(id string, at time.Time, signatures ...string) http.Header {
	h := http.Header{}
	h.Set(webhook.HeaderID, id)
	h.Set(webhook.HeaderTimestamp, strconv.FormatInt(at.Unix(), 10))
	h.Set(webhook.HeaderSignature, strings.Join(signatures, " "))
	return h
}

func TestVerifyTakesWhatWasSignedAndNothingElse(t *testing.T) {
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	old, fresh, other := webhook.NewSecret(), webhook.NewSecret(), webhook.NewSecret()
	body := []byte(`{"a":1}`)
	sign := func(text string) string {
		secret, err := webhook.ParseSecret(text)
		if err != nil {
			t.Fatal(err)
		}
		return webhook.Sign(secret, "id", now, body)
	}
	without := func(name string) http.Header {
		h := headers("id", now, sign(old))
		h.Del(name)
		return h
	}
	garbled := headers("id", now, sign(old))
	garbled.Set(webhook.HeaderTimestamp, "yesterday")
	for name, x := range map[string]struct {
		header  http.Header
		body    string
		now     time.Time
		secrets []string
		want    error
	}{
		"good":                           {headers("id", now, sign(old)), `{"a":1}`, now, []string{old}, nil},
		"within the tolerance":           {headers("id", now, sign(old)), `{"a":1}`, now.Add(webhook.Tolerance), []string{old}, nil},
		"sender has two, receiver old":   {headers("id", now, sign(fresh), sign(old)), `{"a":1}`, now, []string{old}, nil},
		"sender has two, receiver fresh": {headers("id", now, sign(old), sign(fresh)), `{"a":1}`, now, []string{fresh}, nil},
		"receiver has two":               {headers("id", now, sign(fresh)), `{"a":1}`, now, []string{old, fresh}, nil},
		"beside one of another version":  {headers("id", now, "v1a,abcd", sign(old)), `{"a":1}`, now, []string{old}, nil},
		"another secret":                 {headers("id", now, sign(other)), `{"a":1}`, now, []string{old, fresh}, webhook.ErrSignature},
		"another body":                   {headers("id", now, sign(old)), `{"a":2}`, now, []string{old}, webhook.ErrSignature},
		"another id":                     {headers("id2", now, sign(old)), `{"a":1}`, now, []string{old}, webhook.ErrSignature},
		"another time":                   {headers("id", now.Add(time.Second), sign(old)), `{"a":1}`, now, []string{old}, webhook.ErrSignature},
		"as another version":             {headers("id", now, "v2"+strings.TrimPrefix(sign(old), "v1")), `{"a":1}`, now, []string{old}, webhook.ErrSignature},
		"too old":                        {headers("id", now, sign(old)), `{"a":1}`, now.Add(webhook.Tolerance + time.Second), []string{old}, webhook.ErrTimestamp},
		"from the future":                {headers("id", now, sign(old)), `{"a":1}`, now.Add(-webhook.Tolerance - time.Second), []string{old}, webhook.ErrTimestamp},
		"no id":                          {without(webhook.HeaderID), `{"a":1}`, now, []string{old}, webhook.ErrHeaders},
		"no timestamp":                   {without(webhook.HeaderTimestamp), `{"a":1}`, now, []string{old}, webhook.ErrHeaders},
		"no signature":                   {without(webhook.HeaderSignature), `{"a":1}`, now, []string{old}, webhook.ErrHeaders},
		"no time in the timestamp":       {garbled, `{"a":1}`, now, []string{old}, webhook.ErrHeaders},
		"no secret":                      {headers("id", now, sign(old)), `{"a":1}`, now, nil, webhook.ErrSecret},
		"an empty secret":                {headers("id", now, sign(old)), `{"a":1}`, now, []string{""}, webhook.ErrSecret},
	} {
		if err := webhook.Verify(x.header, []byte(x.body), x.now, x.secrets...); !errors.Is(err, x.want) || x.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", name, err, x.want)
		}
	}
}

func TestSecretsHaveTheirLengthAndHideThemselves(t *testing.T) {
	of := func(n int) string { return "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for text, ok := range map[string]bool{
		of(webhook.MinSecret): true, of(webhook.MaxSecret): true, of(webhook.MinSecret - 1): false, of(webhook.MaxSecret + 1): false,
		strings.TrimPrefix(of(32), "whsec_"): true, "whsec_%": false, "": false,
	} {
		s, err := webhook.ParseSecret(text)
		if (err == nil) != ok {
			t.Errorf("%d characters: %v", len(text), err)
		}
		if s.String() != "redacted" || s.LogValue().String() != "redacted" {
			t.Errorf("it shows itself: %s", s)
		}
	}
	if one, other := webhook.NewSecret(), webhook.NewSecret(); one == other {
		t.Error("two secrets are the same")
	}
}
