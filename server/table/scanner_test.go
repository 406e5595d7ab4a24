package table_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/table"
)

// rows are all rows behind the header, each in words, and where each ended.
func rows(t *testing.T, s *table.Scanner) (words []string, ends []int64) {
	t.Helper()
	for {
		cells, _, fatal, err := s.Next()
		switch {
		case errors.Is(err, io.EOF):
			return words, ends
		case fatal:
			t.Fatal(err)
		case err != nil:
			words = append(words, fmt.Sprintf("%d refused: %v", s.Row(), err))
		default:
			words = append(words, fmt.Sprintf("%d %q", s.Row(), cells))
		}
		ends = append(ends, -1)
		if s.Settled() {
			ends[len(ends)-1] = s.Offset()
		}
	}
}

func open(t *testing.T, text string) (*table.Scanner, []string, int) {
	t.Helper()
	in := bufio.NewReader(strings.NewReader(text))
	skipped, err := table.Begin(in)
	if err != nil {
		t.Fatal(err)
	}
	s := table.NewScanner(in)
	header, err := s.Header()
	if err != nil {
		t.Fatal(err)
	}
	return s, header, skipped
}

func TestAnotherScannerGoesOnBehindAnyRow(t *testing.T) {
	text := "\ufeffid|name|note\n1|Ada|\"two\nlines\"\n\n2|\"مريم 👩‍🚀\"|x\n3|\"broken|y\n4|Bob|z\r\n5|\"a \"\"b\"\"\"|last"
	s, header, skipped := open(t, text)
	if !slices.Equal(header, []string{"id", "name", "note"}) {
		t.Fatalf("header %q", header)
	}
	all, ends := rows(t, s)
	want := []string{
		`2 ["1" "Ada" "two\nlines"]`, `4 ["2" "مريم 👩\u200d🚀" "x"]`, `5 refused: invalid: has a quote that is not closed`,
		`6 ["4" "Bob" "z"]`, `7 ["5" "a \"b\"" "last"]`,
	}
	if !slices.Equal(all, want) {
		t.Fatalf("rows\n%s\nwant\n%s", strings.Join(all, "\n"), strings.Join(want, "\n"))
	}
	if last := ends[len(ends)-1] + int64(skipped); last != int64(len(text)) {
		t.Errorf("the last row ends at %d of %d", last, len(text))
	}
	resumed := 0
	for i, end := range ends {
		if end < 0 {
			continue
		}
		resumed++
		s, _, skipped := open(t, text)
		in := bufio.NewReader(strings.NewReader(text[end+int64(skipped):]))
		var row int
		if _, err := fmt.Sscanf(all[i], "%d", &row); err != nil {
			t.Fatal(err)
		}
		s.Resume(in, end, row)
		if rest, _ := rows(t, s); !slices.Equal(rest, all[i+1:]) {
			t.Errorf("behind %s come\n%s", all[i], strings.Join(rest, "\n"))
		}
	}
	if resumed != 3 { // not where the lines behind the broken quote are read again
		t.Errorf("only %d rows were places to go on at", resumed)
	}
}

func TestLinesOfJSONAreCounted(t *testing.T) {
	s := table.NewScanner(bufio.NewReader(strings.NewReader("{\"a\":1}\r\n\n  {\"b\":2}\n" + strings.Repeat("x", table.MaxRowBytes+1) + "\n{\"c\"")))
	var got []string
	for {
		line, err := s.NextLine()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			line = []byte(engage.CodeOf(err))
		}
		got = append(got, fmt.Sprintf("%d %s", s.Row(), line))
	}
	want := []string{`1 {"a":1}`, `3 {"b":2}`, `4 too_large`, `5 {"c"`}
	if !slices.Equal(got, want) {
		t.Errorf("lines %q, want %q", got, want)
	}
}

func TestWhatIsNoTextIsRefusedAtItsBeginning(t *testing.T) {
	for _, text := range []string{"\xff\xfei\x00d\x00", "\xfe\xff\x00i", "PK\x03\x04 a workbook"} {
		if _, err := table.Begin(bufio.NewReader(strings.NewReader(text))); engage.CodeOf(err) != engage.Invalid {
			t.Errorf("%q: %v", text, err)
		}
	}
	many := strings.Repeat("c,", 10_000) + "c\n"
	if _, err := table.NewScanner(bufio.NewReader(strings.NewReader(many))).Header(); engage.CodeOf(err) != engage.TooLarge {
		t.Errorf("10,001 columns: %v", err)
	}
}
