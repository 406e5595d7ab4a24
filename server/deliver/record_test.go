package deliver

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/server/engage"
)

var update = flag.Bool("update", false, "write testdata")

// example has every field.
func example() *delivery {
	at := time.Date(2026, 11, 21, 12, 0, 0, 123456789, time.UTC)
	dev := engage.Device{
		Install: "install-1", App: "app", Platform: "android", Notifications: "granted", SeenAt: at,
		Push: &engage.PushTarget{Provider: "fcm", Token: "token-1", At: at},
	}
	return &delivery{
		State: waiting, Lane: "push/fcm/app", DueUS: at.UnixMicro(), UpdatedAt: at,
		Send: engage.Send{
			Delivery: "d1", Workspace: "shop", Campaign: "rainy-day", Arm: "a", Profile: "ada", Class: engage.Marketing,
			Title: "Umbrella?", Body: "It rains", DeepLink: "shop://u", ImageURL: "https://example.com/u.png",
			Data: map[string]string{"sku": "7"}, Channels: []engage.Channel{engage.InApp, engage.Push, engage.Inbox},
			Devices: []engage.Device{dev}, DecidedAt: at, ExpiresAt: at.Add(time.Hour), RetryAmbiguous: true,
		},
		Offer: &offer{"install-1", at.Add(2 * time.Second)},
		Attempts: []attempt{{
			ID: engage.AttemptID("d1", "install-1"), Install: "install-1", Provider: channels.FCM, Credential: "app", Number: 1, At: at,
			Answer: &answer{channels.RetryAfter, "UNAVAILABLE", 503, "", true},
		}},
		Made: 1, Failed: 1, Gone: []string{"install-2"},
		Outcome: &engage.DeliveryOutcome{Delivery: "d1", State: engage.DeliveryGranted, Channel: "in_app", Install: "install-1"},
		Told:    true, Displayed: true,
	}
}

// golden compares with testdata, in which the bytes of the first version stay.
func golden(t *testing.T, name string, got []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
	return want
}

func TestFirstVersionsOfRecordsStayReadable(t *testing.T) {
	d := example()
	rec, err := d.record()
	if err != nil {
		t.Fatal(err)
	}
	rec.Body = golden(t, "record-v1.json", rec.Body)
	rec.Version = 3
	back, err := readRecord(rec)
	if err != nil {
		t.Fatal(err)
	}
	again, err := back.record()
	if err != nil || !bytes.Equal(again.Body, rec.Body) || !again.Due.Equal(rec.Due) || back.version != 3 {
		t.Errorf("read and written again: %s, %v", again.Body, err)
	}

	item, err := d.inboxItem(d.UpdatedAt)
	if err != nil {
		t.Fatal(err)
	}
	// Builds until issue 4 did not say when a message was sent.
	first, err := os.ReadFile(filepath.Join("testdata", "inbox-v1.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range [][]byte{first, golden(t, "inbox-v1-sent.json", item.Body)} {
		item.Body = body
		m, err := readInboxItem(*item)
		if err != nil || m.MessageId != "d1" || m.Title != "Umbrella?" || m.Data["sku"] != "7" ||
			m.ExpiresMs != item.Expires.UnixMilli() || m.SentMs != d.UpdatedAt.UnixMilli() || m.Display != nil {
			t.Errorf("read %v, %v", m, err)
		}
	}

	b := &box{V: boxV1, Epoch: "0011223344556677"}
	b.put("d1", d.Send.ExpiresAt, "aabbccdd")
	b.put("d2", d.Send.ExpiresAt, "aabbccdd")
	b.read("d1", "aabbccdd")
	b.remove("d2", d.UpdatedAt, "00112233")
	b.Floor, b.Installs = 1, []string{"install-1"}
	body, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	back2, err := readBox(golden(t, "box-v1.json", body))
	if err != nil || !reflect.DeepEqual(back2, b) {
		t.Errorf("read %+v, %v; want %+v", back2, err, b)
	}
	for _, bad := range []string{"", "{", "[]", "{}", `{"v":1}`, `{"v":2,"epoch":"00","runs":[{}]}`} {
		if _, err := readBox([]byte(bad)); !errors.Is(err, errBox) {
			t.Errorf("inbox %q: %v", bad, err)
		}
	}
}

func TestRecordsThatCannotBeReadAreRefused(t *testing.T) {
	for name, change := range map[string]func(*delivery){
		"unknown state":              func(d *delivery) { d.State = "lost" },
		"offered to nobody":          func(d *delivery) { d.State, d.Offer = offered, nil },
		"sending without an attempt": func(d *delivery) { d.State, d.Attempts = sending, nil },
		"nothing to tell":            func(d *delivery) { d.State, d.Lane, d.Outcome = done, laneTell, nil },
		"waits with nothing to tell": func(d *delivery) { d.State, d.Lane, d.Outcome = waiting, laneTell, nil },
		"under way and waiting":      func(d *delivery) { d.State, d.Lane, d.Attempts = waiting, laneInFlight, nil },
	} {
		t.Run(name, func(t *testing.T) {
			d := example()
			change(d)
			rec, err := d.record()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := readRecord(rec); !errors.Is(err, errRecord) {
				t.Errorf("read: %v", err)
			}
		})
	}
	rec, _ := example().record()
	other := rec
	other.Workspace = "other"
	newer := rec
	newer.Body = bytes.Replace(rec.Body, []byte(`"v":1`), []byte(`"v":2`), 1)
	for name, r := range map[string]Record{"another workspace": other, "newer version": newer, "not JSON": {Body: []byte("{")}} {
		if _, err := readRecord(r); !errors.Is(err, errRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, body := range []string{`{`, `{"v":2}`, `[]`} {
		if _, err := readInboxItem(InboxItem{Body: []byte(body)}); err == nil {
			t.Errorf("inbox item %s was read", body)
		}
	}
}

func FuzzReadRecord(f *testing.F) {
	rec, _ := example().record()
	f.Add(rec.Body)
	f.Add([]byte(`{"v":1,"state":"retry","send":{"delivery":"d1","workspace":"shop"}}`))
	f.Add([]byte(`{"v":1,"state":"sending","attempts":[{}],"send":{"delivery":"d1","workspace":"shop","devices":[{}]}}`))
	f.Add([]byte(`{"v":1,"lane":"inflight","state":"sending","attempts":[{}],"send":{"delivery":"d1","workspace":"shop","devices":[{}]}}`))
	f.Add([]byte(`{"v":1,"lane":"tell","state":"retry","outcome":{},"send":{"delivery":"d1","workspace":"shop"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := readRecord(Record{Workspace: "shop", ID: "d1", Body: body})
		if err != nil {
			if !errors.Is(err, errRecord) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		for i := range d.Send.Devices {
			if d.reach(&d.Send.Devices[i]) == "" {
				pushMessage(d, &d.Send.Devices[i])
			}
		}
		if d.last() != nil {
			d.pushLane(d.last())
		}
		switch d.Lane { // as a process does that finds it there
		case laneTell:
			_ = d.Outcome.State
		case laneInFlight:
			new(Deliverer).interrupted(d, time.Unix(1_800_000_000, 0).UTC())
		}
		rec, err := d.record()
		if err != nil {
			return // a year that JSON cannot hold
		}
		if !json.Valid(rec.Body) {
			t.Errorf("wrote %s", rec.Body)
		}
	})
}

func FuzzReadInboxItem(f *testing.F) {
	it, _ := example().inboxItem(time.Unix(0, 0))
	f.Add(it.Body)
	f.Add([]byte(`{"v":1,"data":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := readInboxItem(InboxItem{Delivery: "d1", Body: body})
		if (m == nil) == (err == nil) {
			t.Errorf("%v, %v", m, err)
		}
	})
}

func TestBackoffDoublesUpToFiveMinutesWithHalfByChance(t *testing.T) {
	for _, test := range []struct {
		n    int
		full time.Duration
	}{{0, time.Second}, {1, time.Second}, {2, 2 * time.Second}, {8, 128 * time.Second}, {10, 5 * time.Minute}, {1 << 40, 5 * time.Minute}} {
		if lo, hi := backoff(test.n, 0), backoff(test.n, 0.999999); lo != test.full/2 || hi > test.full || hi < test.full*99/100 {
			t.Errorf("failure %d: %v to %v, want %v to %v", test.n, lo, hi, test.full/2, test.full)
		}
	}
}
