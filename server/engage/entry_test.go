package engage_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// Only for the file of a new version: those of the old ones never change.
var update = flag.Bool("update", false, "write the golden file of a record version that has none")

// firstRecord has every kind of field, absent and present.
func firstRecord() []engage.Entry {
	at := time.Date(2026, 3, 1, 12, 30, 45, 123456789, time.UTC)
	return []engage.Entry{
		{Kind: engage.KindItem, Key: engage.InstallKey("shop", "i-1"), At: at, Occurred: at.Add(-3 * time.Second), Body: []byte{0, 1, 2, 0xff}},
		{
			Kind: engage.KindTrigger, Key: engage.ProfileKey("shop", "9f86d081884c7d65"), At: at.Add(time.Millisecond),
			From: engage.Source{Partition: "in/0", Incarnation: 3, Seq: 1 << 40, Index: 70000}, Body: []byte(`{"type":"place"}`),
		},
		{Kind: engage.KindIdentify, Key: engage.IdentifierKey("shop", "email:zoë@example.org"), At: at, Body: []byte{}},
		{Kind: engage.KindTimer, Key: engage.WeatherKey("851faeb7fffffff"), At: time.Date(1969, 7, 20, 20, 17, 40, 0, time.UTC), Body: bytes.Repeat([]byte("x"), 200)},
	}
}

// The log holds records of every version that ever ran: this one's bytes are
// kept as the first release wrote them.
func TestTheFirstRecordVersionStaysReadable(t *testing.T) {
	path := filepath.Join("testdata", "record_v1.hex")
	if _, err := os.Stat(path); *update && errors.Is(err, os.ErrNotExist) {
		text := hex.EncodeToString(engage.EncodeRecord(firstRecord()))
		var b strings.Builder
		for len(text) > 0 {
			n := min(64, len(text))
			b.WriteString(text[:n] + "\n")
			text = text[n:]
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	golden, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	got, err := engage.DecodeRecord(golden)
	if err != nil {
		t.Fatal(err)
	}
	if want := firstRecord(); !reflect.DeepEqual(got, want) {
		t.Errorf("the kept bytes read as\n%+v, want\n%+v", got, want)
	}
	if golden[0] == engage.EncodeRecord(nil)[0] && !bytes.Equal(engage.EncodeRecord(firstRecord()), golden) {
		t.Error("the encoding has changed without a new version")
	}
}

func TestARecordIsReadAsItWasWritten(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	text := func(most int) []byte {
		b := make([]byte, random.IntN(most))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	when := func() time.Time {
		switch random.IntN(4) {
		case 0:
			return time.Time{}
		case 1:
			return time.Unix(0, math.MaxInt64-int64(random.IntN(1000))).UTC()
		case 2:
			return time.Unix(0, math.MinInt64+int64(random.IntN(1000))).UTC()
		}
		return time.Unix(0, random.Int64()).UTC()
	}
	for range 300 {
		entries := make([]engage.Entry, random.IntN(20))
		for i := range entries {
			entries[i] = engage.Entry{
				Kind: engage.Kind(text(20)), Key: string(text(200)), At: when(), Occurred: when(), Body: text(1000),
			}
			if random.IntN(2) == 0 {
				entries[i].From = engage.Source{
					Partition: "p" + string(text(10)), Incarnation: random.Uint32(), Seq: random.Uint64(), Index: random.Uint32(),
				}
			}
		}
		record := engage.EncodeRecord(entries)
		got, err := engage.DecodeRecord(record)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, entries) {
			t.Fatalf("read\n%+v, wrote\n%+v", got, entries)
		}
	}
}

func TestTimesLoseZoneAndMonotonicReadingOnly(t *testing.T) {
	now := time.Now().In(time.FixedZone("CET", 3600))
	got, err := engage.DecodeRecord(engage.EncodeRecord([]engage.Entry{{At: now}}))
	if err != nil {
		t.Fatal(err)
	}
	if !got[0].At.Equal(now) || got[0].At.Location() != time.UTC {
		t.Fatalf("read %v, wrote %v", got[0].At, now)
	}
}

func TestADamagedRecordIsRefused(t *testing.T) {
	record := engage.EncodeRecord(firstRecord())
	for n := range record {
		if _, err := engage.DecodeRecord(record[:n]); !errors.Is(err, engage.ErrRecord) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	for name, b := range map[string][]byte{
		"trailing byte":       append(bytes.Clone(record), 0),
		"version 0":           append([]byte{0}, record[1:]...),
		"a later version":     append([]byte{2}, record[1:]...),
		"2^60 entries":        {1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10},
		"endless varint":      append([]byte{1}, bytes.Repeat([]byte{0xff}, 20)...),
		"more entries than b": {1, 5, 0, 0, 0, 0},
	} {
		if _, err := engage.DecodeRecord(b); !errors.Is(err, engage.ErrRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBodiesOfARecordCannotOverwriteEachOther(t *testing.T) {
	got, err := engage.DecodeRecord(engage.EncodeRecord([]engage.Entry{{Body: []byte("one")}, {Key: "k", Body: []byte("two")}}))
	if err != nil {
		t.Fatal(err)
	}
	_ = append(got[0].Body, "xxxxxxxxxx"...)
	if string(got[1].Body) != "two" {
		t.Fatalf("second body is %q", got[1].Body)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(engage.EncodeRecord(firstRecord()))
	f.Add(engage.EncodeRecord(nil))
	f.Add([]byte{})
	f.Add([]byte{1, 1, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := engage.DecodeRecord(b)
		if err != nil {
			if !errors.Is(err, engage.ErrRecord) || entries != nil {
				t.Fatalf("%v with %d entries", err, len(entries))
			}
			return
		}
		again, err := engage.DecodeRecord(engage.EncodeRecord(entries))
		if err != nil || !reflect.DeepEqual(again, entries) {
			t.Fatalf("read again (%v)\n%+v, want\n%+v", err, again, entries)
		}
	})
}

// Keys that differ in little, as ids that count do, must still fill all slots
// evenly: with 400 keys to a slot, chance alone gives 400 ± 20.
func TestSlotsAreFilledEvenly(t *testing.T) {
	for name, key := range map[string]func(i int) string{
		"installs that count": func(i int) string { return engage.InstallKey("shop", fmt.Sprint(i)) },
		"profiles":            func(i int) string { return engage.ProfileKey("shop", engage.ProfileID("shop", fmt.Sprint(i))) },
		"workspaces":          func(i int) string { return engage.InstallKey(fmt.Sprint("ws", i), "1") },
		"identifiers":         func(i int) string { return engage.IdentifierKey("shop", fmt.Sprintf("email:u%06d@example.org", i)) },
		"installs, 3 letters": func(i int) string {
			return engage.InstallKey("shop", string([]rune{rune('a' + i%64), rune('a' + i/64%64), rune('a' + i/4096)}))
		},
	} {
		var slots [engage.Slots]int
		const each = 400
		for i := range engage.Slots * each {
			slots[engage.SlotOf(key(i))]++
		}
		for slot, n := range slots {
			if n < each*7/10 || n > each*13/10 {
				t.Errorf("%s: slot %d has %d keys, want about %d", name, slot, n, each)
			}
		}
	}
}

func TestAPartitionIsARangeOfSlots(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 16, engage.Slots} {
		owner := map[int]int{} // of a slot
		for i := range 20_000 {
			key := engage.InstallKey("shop", fmt.Sprint(i))
			p := engage.PartitionOf(key, n)
			if p < 0 || p >= n {
				t.Fatalf("partition %d of %d", p, n)
			}
			owner[engage.SlotOf(key)] = p
		}
		last := 0
		used := map[int]bool{}
		for slot := range engage.Slots {
			p, ok := owner[slot]
			if !ok {
				t.Fatalf("no key has slot %d", slot)
			}
			if p < last {
				t.Fatalf("of %d partitions, slot %d has %d after %d", n, slot, p, last)
			}
			last, used[p] = p, true
		}
		if len(used) != n {
			t.Errorf("%d of %d partitions own slots", len(used), n)
		}
	}
}

// Where a key's records go must never change: its state would stay behind.
func TestSlotsNeverChange(t *testing.T) {
	for key, want := range map[string]int{
		"shop/i:1": 146, "shop/p:9f86d081884c7d65": 31, "shop/d:email:a@example.org": 85, "_/w:851faeb7fffffff": 60, "": 1,
	} {
		if got := engage.SlotOf(key); got != want {
			t.Errorf("slot of %q is %d, was %d", key, got, want)
		}
	}
}
