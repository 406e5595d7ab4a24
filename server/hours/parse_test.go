package hours_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/hours"
)

var update = flag.Bool("update", false, "rewrite testdata/expected.txt")

// read gives the canonical text, or the error after "! ".
func read(text string) string {
	h, err := hours.Parse(text)
	if err != nil {
		return "! " + err.Error()
	}
	return h.String()
}

// TestTextsReadAsExpected holds each line of texts.txt, made for this test, against
// its canonical text or its error in expected.txt; what is read reads again.
func TestTextsReadAsExpected(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("testdata", "texts.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSuffix(line, "\n")
		canonical := read(line)
		got.WriteString(line + "\n    " + canonical + "\n")
		if !strings.HasPrefix(canonical, "!") && read(canonical) != canonical {
			t.Errorf("%s reads as %s, which reads as %s", line, canonical, read(canonical))
		}
	}
	golden := filepath.Join("testdata", "expected.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("-update writes this:\n%s", got.String())
	}
}

// TestRealTextsRead reads what mappers wrote. Lines with # are the sample's own remarks.
func TestRealTextsRead(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "data", "stores", "osm_opening_hours_strings_sample.txt"))
	if err != nil {
		t.Skip("the shared sample is not here")
	}
	texts, accepted := 0, 0
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		texts++
		h, err := hours.Parse(line)
		if err == nil {
			accepted++
			if again, err := hours.Parse(h.String()); err != nil || again.String() != h.String() {
				t.Errorf("%s reads as %s, which reads as %s, %v", line, h, again, err)
			}
			continue
		}
		t.Logf("refused: %s\n\t%v", line, err)
		if e, ok := errors.AsType[*hours.Error](err); !ok || !e.Unsupported || !strings.Contains(e.Reason, "times of the sun") {
			t.Errorf("%s: %v: only times of the sun are beyond this package here", line, err)
		}
	}
	t.Logf("%d of %d texts read", accepted, texts)
	if accepted < 190 {
		t.Errorf("only %d of %d texts read", accepted, texts)
	}
}

func TestAnErrorTellsTheByteAndTheCharacter(t *testing.T) {
	_, err := hours.Parse(`Mo "für Ä"; Xx 10:00-12:00`)
	e, ok := errors.AsType[*hours.Error](err)
	if !ok || e.Pos != 14 || e.Unsupported || e.Error() != `at character 13: "xx" is not known here` {
		t.Errorf("%+v", err)
	}
	_, err = hours.Parse("Mo sunrise-18:00")
	if e, ok = errors.AsType[*hours.Error](err); !ok || !e.Unsupported {
		t.Errorf("%+v", err)
	}
	if _, err = hours.Parse(strings.Repeat(" ", 5000)); err == nil || !strings.Contains(err.Error(), "at most 4096 bytes") {
		t.Error(err)
	}
}

func TestHoursAndDatesAreTextInJSON(t *testing.T) {
	type place struct {
		Hours    hours.Hours  `json:"hours"`
		Holidays []hours.Date `json:"holidays"`
	}
	var p place
	if err := json.Unmarshal([]byte(`{"hours":"mo - fr 9:00 - 18:00;","holidays":["2026-12-25"]}`), &p); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(p)
	if want := `{"hours":"Mo-Fr 09:00-18:00","holidays":["2026-12-25"]}`; err != nil || string(out) != want {
		t.Errorf("%s, %v", out, err)
	}
	if err := json.Unmarshal([]byte(`{"hours":"Mo 25:00-26:00"}`), &p); err == nil || p.Hours.String() != "Mo-Fr 09:00-18:00" {
		t.Errorf("%v, %s", err, p.Hours)
	}
	if err := json.Unmarshal([]byte(`{"holidays":["2026-02-30"]}`), &p); err == nil || !strings.Contains(err.Error(), `must be a date like 2026-12-25, is "2026-02-30"`) {
		t.Error(err)
	}
}

func TestAWeekBecomesHours(t *testing.T) {
	day := []string{"09:00-12:30", "14:00-18:00"}
	for _, c := range []struct {
		week hours.Week
		want string
	}{
		{hours.Week{"mo": day, "tu": day, "we": day, "fr": day, "sa": {"10:00-02:00"}}, "Mo-We 09:00-12:30,14:00-18:00; Fr 09:00-12:30,14:00-18:00; Sa 10:00-02:00"},
		{hours.Week{"su": day, "mo": day, "tu": {}}, "Mo 09:00-12:30,14:00-18:00; Su 09:00-12:30,14:00-18:00"},
		{hours.Week{"fr": {"18:00+"}}, "Fr 18:00+"},
		{hours.Week{}, "off"},
		{hours.Week{"mo": nil}, "off"},
		{hours.Week{"mo": {"09:00-12:00", "25:00-26:00"}}, `! mo[1]: at character 1: the hour must be 0 to 23, is "25"`},
		{hours.Week{"mo": {"09:00-12:00 off"}}, `! mo[0]: at character 13: "off" is not expected here`},
		{hours.Week{"mo": {`"call`}}, `! mo[0]: at character 1: the comment has no closing quote`},
		{hours.Week{"mo": {""}}, `! mo[0]: at the end: a time with hours and minutes is missing, like "18:00"`},
		{hours.Week{"Monday": day}, "! Monday: no such day; days are mo, tu, we, th, fr, sa and su"},
	} {
		h, err := c.week.Hours()
		got := h.String()
		if err != nil {
			got = "! " + err.Error()
		}
		if got != c.want {
			t.Errorf("%v: %s, want %s", c.week, got, c.want)
		}
		if err == nil && read(got) != got {
			t.Errorf("%s reads as %s", got, read(got))
		}
	}
}

func FuzzParse(f *testing.F) {
	raw, err := os.ReadFile(filepath.Join("testdata", "texts.txt"))
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		f.Add(strings.TrimSuffix(line, "\n"))
	}
	p := berlin(f)
	moments := []string{"2026-02-28 23:59", "2026-03-29 01:59", "2026-10-25 02:30", "2026-12-25 00:00"}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := hours.Parse(text)
		if err != nil {
			e, ok := errors.AsType[*hours.Error](err)
			if !ok || e.Reason == "" || e.Pos < 0 || e.Pos > len(text) {
				t.Fatalf("%q: %#v", text, err)
			}
			return
		}
		again, err := hours.Parse(h.String())
		if err != nil || again.String() != h.String() {
			t.Fatalf("%q reads as %q, which reads as %q, %v", text, h, again, err)
		}
		for _, m := range moments {
			at := local(t, p, m)
			is := h.At(at, p)
			if is != again.At(at, p) {
				t.Fatalf("%q at %s: %v, its canonical text %q: %v", text, m, is, h, again.At(at, p))
			}
			if next, ok := h.Until(at, p); ok && (!next.After(at) || h.At(next, p).State == is.State || h.At(next.Add(-1), p).State != is.State) {
				t.Fatalf("%q at %s lasts until %s", text, m, next)
			}
		}
	})
}
