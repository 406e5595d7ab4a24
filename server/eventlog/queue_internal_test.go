package eventlog

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

func TestEntrySizeIsTheEncodedSize(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	text := func() string {
		sizes := []int{0, 1, 63, 64, 127, 128, 129, 300, 16383, 16384, 70000}
		return string(make([]byte, sizes[random.IntN(len(sizes))]))
	}
	for range 500 {
		e := engage.Entry{Kind: engage.Kind(text()), Key: text(), Body: []byte(text())}
		e.At = time.Unix(0, int64(random.Uint64()>>random.IntN(64))|1)
		if random.IntN(2) == 0 {
			e.Occurred = time.Unix(0, -int64(random.Uint64()>>(1+random.IntN(63)))|1)
		}
		if random.IntN(2) == 0 {
			e.From = engage.Source{
				Partition: "p" + text(), Incarnation: random.Uint32() >> random.IntN(32),
				Seq: random.Uint64() >> random.IntN(64), Index: random.Uint32() >> random.IntN(32),
			}
		}
		if got, want := 2+entrySize(&e), len(engage.EncodeRecord([]engage.Entry{e})); got != want {
			t.Fatalf("size is %d, want %d: %+v", got, want, e.From)
		}
	}
	now := engage.Entry{Kind: engage.KindItem, At: time.Now()}
	if e := (engage.Entry{Kind: engage.KindItem}); entrySize(&e) < entrySize(&now) {
		t.Fatal("an entry becomes larger by its stamp than was reckoned")
	}
}

func TestSubjectPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, subject string
		want             bool
	}{
		{"in.0.>", "in.0.a", true},
		{"in.0.>", "in.0.a.b", true},
		{"in.0.>", "in.0", false},
		{"in.0.>", "in.1.a", false},
		{"a.*", "a.b", true},
		{"a.*", "a.b.c", false},
		{"a.*", "a", false},
		{"a.*.c", "a.b.c", true},
		{"a", "a", true},
		{"a", "a.b", false},
		{"a.b", "a", false},
		{"a", "", false},
		{"a.>", "a..b", false},
		{"a.>", "a.", false},
		{">", ".a", false},
		{"a.>", "a.*", false},
	} {
		if got := takes([]string{c.pattern}, c.subject); got != c.want {
			t.Errorf("%q takes %q: %v", c.pattern, c.subject, got)
		}
	}
}
