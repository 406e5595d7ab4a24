package webhook_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels/webhook"
)

func TestEventsAreCloudEventsInStructuredMode(t *testing.T) {
	e := webhook.Event{ID: "1", Source: "urn:footfall:acme", Type: "footfall.place.entered", Subject: "people/9", Time: at, Data: json.RawMessage(`{"place":{"id":"cafe"}}`)}
	typ, body, err := webhook.Body(false, e)
	const one = `{"specversion":"1.0","id":"1","source":"urn:footfall:acme","type":"footfall.place.entered","subject":"people/9","time":"2026-11-21T10:00:00Z","datacontenttype":"application/json","data":{"place":{"id":"cafe"}}}`
	if err != nil || typ != "application/cloudevents+json" || string(body) != one {
		t.Errorf("%s %s %v", typ, body, err)
	}
	least := webhook.Event{ID: "2", Source: "s", Type: "t"}
	typ, body, err = webhook.Body(true, e, least)
	if err != nil || typ != "application/cloudevents-batch+json" || string(body) != "["+one+`,{"specversion":"1.0","id":"2","source":"s","type":"t"}]` {
		t.Errorf("%s %s %v", typ, body, err)
	}
	got, err := webhook.Parse(typ+"; charset=utf-8", body)
	if err != nil || len(got) != 2 || got[0].Subject != "people/9" || !got[1].Time.IsZero() || got[1].Data != nil {
		t.Errorf("%+v %v", got, err)
	}
	if _, _, err := webhook.Body(false, e, least); err == nil {
		t.Error("two events in one that is no batch")
	}
	for _, bad := range []webhook.Event{{Source: "s", Type: "t"}, {ID: "1", Type: "t"}, {ID: "1", Source: "s"}} {
		if _, _, err := webhook.Body(true, bad); err == nil {
			t.Errorf("%+v was written", bad)
		}
	}
}

func TestParseRefusesWhatIsNoCloudEvent(t *testing.T) {
	for body, typ := range map[string]string{
		`{"id":"1","source":"s","type":"t"}`:                         webhook.ContentType,
		`{"specversion":"0.3","id":"1","source":"s","type":"t"}`:     webhook.ContentType,
		`{"specversion":"1.0","source":"s","type":"t"}`:              webhook.ContentType,
		`[{"specversion":"1.0","id":"1","source":"s","type":"t"}]`:   webhook.ContentType,
		`{"specversion":"1.0","id":"1","source":"s","type":"t"} `:    "application/json",
		`{"specversion":"1.0","id":"1","source":"s","type":"t"}  `:   "a/b; c",
		`[{"specversion":"1.0","id":"1","source":"s","type":"t"},1]`: webhook.BatchContentType,
	} {
		if got, err := webhook.Parse(typ, []byte(body)); err == nil {
			t.Errorf("%s as %s: %+v", body, typ, got)
		}
	}
	// An attribute of another's extension is let be.
	got, err := webhook.Parse(webhook.ContentType, []byte(`{"specversion":"1.0","id":"1","source":"s","type":"t","myextension":5}`))
	if err != nil || len(got) != 1 {
		t.Errorf("%+v %v", got, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(webhook.ContentType, []byte(`{"specversion":"1.0","id":"1","source":"s","type":"t","time":"2026-11-21T10:00:00Z","data":[1]}`))
	f.Add(webhook.BatchContentType, []byte(`[{"specversion":"1.0","id":"1","source":"s","type":"t"}]`))
	f.Fuzz(func(t *testing.T, typ string, body []byte) {
		events, err := webhook.Parse(typ, body)
		if err != nil {
			return
		}
		for _, e := range events { // what was read can be written and read again
			if y := e.Time.Year(); y < 0 || y > 9999 {
				continue
			}
			_, again, err := webhook.Body(false, e)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := webhook.Parse(webhook.ContentType, again); err != nil {
				t.Fatalf("%s: %v", again, err)
			}
		}
	})
}

func FuzzVerify(f *testing.F) {
	f.Add("id", "1795255200", "v1,AAAA v1,", "body", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	f.Fuzz(func(t *testing.T, id, unix, signature, body, secret string) {
		h := http.Header{}
		h.Set(webhook.HeaderID, id)
		h.Set(webhook.HeaderTimestamp, unix)
		h.Set(webhook.HeaderSignature, signature)
		if webhook.Verify(h, []byte(body), time.Unix(1795255200, 0), secret) == nil {
			t.Fatal("a forged signature is good")
		}
	})
}
