package client_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// picture is all that a store holds, to compare.
func picture(t *testing.T, s client.Store) string {
	t.Helper()
	saved, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	text := func(m proto.Message) string {
		b, err := protojson.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(bytes.ReplaceAll(b, []byte(" "), nil)) // protojson's spaces are random
	}
	var b strings.Builder
	fmt.Fprintln(&b, saved.Token, saved.OldToken, max(saved.NextSeq, 1), saved.Shown, saved.Tracking, saved.Waiting, saved.Install)
	for _, i := range saved.Items {
		fmt.Fprintln(&b, text(i))
	}
	for _, m := range []proto.Message{saved.Resume, saved.Config, saved.Regions, saved.Inbox} {
		if m.ProtoReflect().IsValid() {
			fmt.Fprintf(&b, "%T %s\n", m, text(m))
		}
	}
	return b.String()
}

func openStore(t *testing.T, dir string) *client.FileStore {
	t.Helper()
	s, err := client.OpenFileStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func event(seq uint64) *sdkpb.Item {
	return &sdkpb.Item{ItemId: strconv.FormatUint(seq, 10), Seq: seq, Event: &sdkpb.Event{Name: "e"}}
}

// steps are calls of every kind, the same for every store.
func steps() []func(client.Store) error {
	preset := sdkpb.Tracking_PRESET_RESPONSIVE
	apply := func(x client.Change) func(client.Store) error {
		return func(s client.Store) error { return s.Apply(x) }
	}
	return []func(client.Store) error{
		func(s client.Store) error { return s.Append(event(1)) },
		func(s client.Store) error { return s.Append(event(2), event(3)) },
		apply(client.Change{Tokens: &client.Tokens{Token: "a"}}),
		apply(client.Change{Resume: &sdkpb.Resume{Session: "s", Epoch: "e", LastSeq: 1}, Config: &sdkpb.Config{Etag: "c1"}}),
		func(s client.Store) error { return s.Remove([]uint64{2, 1}) },
		apply(client.Change{Tokens: &client.Tokens{Token: "b", Old: "a"}, Shown: "m1"}),
		apply(client.Change{
			Resume: &sdkpb.Resume{Session: "s", Epoch: "e", LastSeq: 2},
			Inbox:  &sdkpb.Inbox{Full: true, Cursor: "i1", Messages: []*sdkpb.Message{{MessageId: "m1", SentMs: 1}, {MessageId: "m2", SentMs: 2}}},
		}),
		apply(client.Change{Dismissed: "m1"}),
		func(s client.Store) error { return s.Append(event(4)) },
		apply(client.Change{Inbox: &sdkpb.Inbox{Cursor: "i2", Messages: []*sdkpb.Message{{MessageId: "m1", SentMs: 1}, {MessageId: "m3", SentMs: 3}}, Gone: []string{"m2"}}}),
		apply(client.Change{Regions: &sdkpb.Regions{Etag: "r", Regions: []*sdkpb.Region{{Id: "x", RadiusM: 100}}}, Tracking: &preset}),
		apply(client.Change{Waiting: `[{"message":"CgFt","shown":1}]`}),
		func(s client.Store) error { return s.Remove([]uint64{3, 4}) },
		apply(client.Change{Inbox: &sdkpb.Inbox{Full: true}, Resume: new(sdkpb.Resume), Shown: "m9"}),
		func(s client.Store) error { return s.Append(event(5)) },
		apply(client.Change{Install: &client.Install{Host: "phone-00001", Next: "phone-00002"}}),
		apply(client.Change{Tokens: new(client.Tokens), Install: &client.Install{Host: "phone-00001", ID: "phone-00002", Former: "phone-00001"}}),
	}
}

func TestStoresHoldTheSame(t *testing.T) {
	dir := t.TempDir()
	file, mem := openStore(t, dir), new(client.MemStore)
	for n, step := range steps() {
		if err := errors.Join(step(file), step(mem)); err != nil {
			t.Fatal(err)
		}
		want := picture(t, mem)
		if got := picture(t, file); got != want {
			t.Fatalf("after step %d the file store holds\n%s\nwant\n%s", n, got, want)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		file = openStore(t, dir)
		if got := picture(t, file); got != want {
			t.Fatalf("after step %d and a restart it holds\n%s\nwant\n%s", n, got, want)
		}
	}
}

// written is a store's journal after all steps, with what it held at each length
// that it had in between.
func written(t *testing.T) (journal []byte, held map[int]string) {
	t.Helper()
	dir := t.TempDir()
	s := openStore(t, dir)
	path := onlyJournal(t, dir)
	held = map[int]string{}
	look := func() {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		journal = b
		held[len(b)] = picture(t, s)
	}
	look()
	for _, step := range steps() {
		if err := step(s); err != nil {
			t.Fatal(err)
		}
		look()
	}
	return journal, held
}

func onlyJournal(t *testing.T, dir string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "journal.*"))
	if err != nil || len(all) != 1 {
		t.Fatalf("journals %v, %v", all, err)
	}
	return all[0]
}

// A journal that ends at any byte holds what was kept by the last whole record, and
// goes on from there.
func TestATornJournalHoldsAllWholeRecords(t *testing.T) {
	journal, held := written(t)
	begin := slices.Min(sortedKeys(held))
	root := t.TempDir()
	for n := begin; n <= len(journal); n++ {
		want := ""
		for _, end := range sortedKeys(held) {
			if end <= n {
				want = held[end]
			}
		}
		for _, tail := range []string{"", "\x00\x00\x00\x00\x00\x00\x00\x00\x00", "garbage that was on the disk"} {
			if tail != "" && n%10 > 0 {
				continue
			}
			dir := root
			if tail == "" && n%25 == 0 {
				dir = t.TempDir() // which goes on
			}
			if err := os.WriteFile(filepath.Join(dir, "journal.1"), slices.Concat(journal[:n], []byte(tail)), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := client.OpenFileStore(dir)
			if err != nil {
				t.Fatalf("cut at %d: %v", n, err)
			}
			if got := picture(t, s); got != want {
				t.Fatalf("cut at %d it holds\n%s\nwant\n%s", n, got, want)
			}
			if tail != "" || n%25 > 0 {
				_ = s.Close()
				continue
			}
			mem := new(client.MemStore)
			for _, both := range []client.Store{mem, s} {
				if both == mem {
					saved, _ := s.Load()
					_ = mem.Append(saved.Items...)
				}
				if err := both.Append(event(100)); err != nil {
					t.Fatal(err)
				}
			}
			saved, _ := mem.Load()
			_ = s.Close()
			again, err := client.OpenFileStore(dir)
			if err != nil {
				t.Fatal(err)
			}
			now, err := again.Load()
			_ = again.Close()
			if err != nil || len(now.Items) != len(saved.Items) || now.NextSeq != 101 {
				t.Fatalf("cut at %d and gone on it holds %d items, next %d, %v", n, len(now.Items), now.NextSeq, err)
			}
		}
	}
}

func sortedKeys(m map[int]string) []int {
	var all []int
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

// A byte that turned is noticed: what the store holds then is what it held once.
func TestATurnedByteIsNotBelieved(t *testing.T) {
	journal, held := written(t)
	begin := slices.Min(sortedKeys(held))
	states := map[string]bool{}
	for _, h := range held {
		states[h] = true
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "journal.1")
	for n := begin; n < len(journal); n++ {
		bad := slices.Clone(journal)
		bad[n] ^= 1 << (n % 8)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := client.OpenFileStore(dir)
		if err != nil {
			t.Fatalf("byte %d: %v", n, err)
		}
		if got := picture(t, s); !states[got] {
			t.Fatalf("byte %d: it holds what it never held:\n%s", n, got)
		}
		_ = s.Close()
	}
}

func TestAJournalOfThePastIsWrittenAnew(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	last := uint64(0)
	fill := func(n int) {
		items := make([]*sdkpb.Item, n)
		for i := range items {
			last++
			items[i] = &sdkpb.Item{Seq: last, Event: &sdkpb.Event{Name: "e", PropertiesJson: strings.Repeat("x", 200)}}
		}
		if err := s.Append(items...); err != nil {
			t.Fatal(err)
		}
	}
	var most int64
	for range 40 {
		fill(500)
		from := last - 499
		seqs := make([]uint64, 0, 500)
		for q := from; q <= last-10; q++ {
			seqs = append(seqs, q)
		}
		if err := s.Remove(seqs); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(onlyJournal(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, info.Size())
	}
	want := picture(t, s)
	if saved, _ := s.Load(); len(saved.Items) != 400 || saved.NextSeq != last+1 {
		t.Errorf("%d items, next %d", len(saved.Items), saved.NextSeq)
	}
	if most > 1<<20 {
		t.Errorf("a journal of %d bytes for 400 items", most)
	}
	// A process that died while it wrote the next one.
	if err := os.WriteFile(filepath.Join(dir, "journal.999.part"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	s = openStore(t, dir)
	if got := picture(t, s); got != want || filepath.Base(onlyJournal(t, dir)) == "journal.1" {
		t.Errorf("after compaction and a restart in %s it holds another state", onlyJournal(t, dir))
	}
}

func TestAFolderThatIsNoStoreIsNotTouched(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal.1")
	if err := os.WriteFile(path, []byte("another program's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := client.OpenFileStore(dir); err == nil {
		t.Error("opened")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "another program's" {
		t.Errorf("%q, %v", b, err)
	}
	s := openStore(t, t.TempDir())
	_ = s.Close()
	if err := s.Append(event(1)); err == nil {
		t.Error("a closed store takes items")
	}
}

// storeChild says to the test's program that it is a phone that will be killed: the
// folder of its store.
const storeChild = "FOOTFALL_TEST_STORE_CHILD"

// runStoreChild enqueues and forgets until it dies, and says what it has done once
// it is durable.
func runStoreChild(dir string) error {
	s, err := client.OpenFileStore(dir)
	if err != nil {
		return err
	}
	saved, err := s.Load()
	if err != nil {
		return err
	}
	waiting := map[uint64]bool{}
	for _, i := range saved.Items {
		waiting[i.Seq] = true
	}
	for n := max(saved.NextSeq, 1); ; n++ {
		if err := s.Append(event(n)); err != nil {
			return err
		}
		waiting[n] = true
		if _, err := fmt.Printf("kept %d\n", n); err != nil {
			return err
		}
		if n%3 == 0 {
			for old := range waiting {
				if _, err := fmt.Printf("forgets %d\n", old); err != nil {
					return err
				}
				if err := s.Remove([]uint64{old}); err != nil {
					return err
				}
				delete(waiting, old)
				break
			}
		}
		if n%5 == 0 {
			if err := s.Apply(client.Change{Resume: &sdkpb.Resume{Session: "s", Epoch: "e", LastSeq: n}}); err != nil {
				return err
			}
			if _, err := fmt.Printf("taken %d\n", n); err != nil {
				return err
			}
		}
	}
}

// A process that is killed at a random moment has lost nothing that it was told is
// kept, and gives out no seq again.
func TestAKilledProcessHasLostNothingKept(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(5, 1))
	kept, forgotten := map[uint64]bool{}, map[uint64]bool{}
	var highest, taken uint64
	for round := range 12 {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), storeChild+"="+dir)
		cmd.Stderr = t.Output()
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		life := time.AfterFunc(time.Duration(5+rng.IntN(60))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			what, number, _ := strings.Cut(lines.Text(), " ")
			n, err := strconv.ParseUint(number, 10, 64)
			if err != nil {
				continue // the last line may be half of one
			}
			switch what {
			case "kept":
				if kept[n] {
					t.Fatalf("round %d: seq %d was given out twice", round, n)
				}
				kept[n] = true
				highest = max(highest, n)
			case "forgets":
				forgotten[n] = true // or not: it may have died before it did
			case "taken":
				taken = n
			}
		}
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait() // killed
		life.Stop()
		s, err := client.OpenFileStore(dir)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		saved, err := s.Load()
		_ = s.Close()
		if err != nil {
			t.Fatal(err)
		}
		saved.NextSeq = max(saved.NextSeq, 1) // it may have died before its first item
		there := map[uint64]bool{}
		for _, i := range saved.Items {
			there[i.Seq] = true
		}
		for n := range kept {
			if !there[n] && !forgotten[n] {
				t.Fatalf("round %d: item %d is lost", round, n)
			}
		}
		if saved.NextSeq <= highest || saved.Resume.GetLastSeq() < taken {
			t.Fatalf("round %d: next seq %d after %d, taken %d of %d", round, saved.NextSeq, highest, saved.Resume.GetLastSeq(), taken)
		}
		// What died before its line was read is there too, and counts as given out.
		for n := highest + 1; n < saved.NextSeq; n++ {
			kept[n] = true
		}
		highest = saved.NextSeq - 1
	}
	if highest < 20 {
		t.Errorf("only %d items were kept in 12 lives", highest)
	}
	t.Logf("%d items kept in 12 lives", highest)
}
