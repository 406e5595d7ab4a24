package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A line that breaks in the middle of the file: the command asks where the server is and
// goes on there.
func TestImportingPeopleGoesOnWhereItWasCut(t *testing.T) {
	text := "user_id,city\n" + strings.Repeat("ada,Delft\n", 100)
	var got bytes.Buffer
	cuts, created := 0, ""
	state := func() string {
		s := "receiving"
		if got.Len() == len(text) {
			s = "done"
		}
		return fmt.Sprintf(`{"id":"u1","kind":"people","state":%q,"received":%d,"used":%d,"read":100,"taken":98,"refused":2}`, s, got.Len(), got.Len())
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.URL.Path {
		case "POST /api/v1/uploads":
			b, _ := io.ReadAll(r.Body)
			created = string(b)
		case "POST /api/v1/uploads/u1/content":
			if offset := r.URL.Query().Get("offset"); offset != fmt.Sprint(got.Len()) {
				t.Errorf("offset %s, the server has %d", offset, got.Len())
			}
			if cuts++; cuts == 1 {
				_, _ = io.CopyN(&got, r.Body, 300)
				panic(http.ErrAbortHandler)
			}
			_, _ = io.Copy(&got, r.Body)
		case "POST /api/v1/uploads/preview":
			b, _ := io.ReadAll(r.Body)
			_, _ = fmt.Fprintf(w, `{"format":"csv","columns":["user_id","city","Zip"],"mapping":{"user_id":"user_id","city":"attributes.city:string"},"new_fields":["city"],"read":2,"refused":1,
				"rows":[{"row":2,"identifiers":["user_id:ada"],"at":"2026-03-02T09:30:00Z"}],"wrong":[{"row":3,"code":"invalid","field":"city","reason":"is %d bytes of a %s"}]}`, len(b), r.URL.RawQuery)
			return
		case "GET /api/v1/uploads/u1/refused":
			_, _ = io.WriteString(w, `{"row":3,"code":"invalid","field":"city","reason":"is not UTF-8"}`+"\n"+`{"row":9,"code":"invalid","field":"row","reason":"has 3 cells"}`+"\n")
			return
		case "GET /api/v1/uploads":
			_, _ = io.WriteString(w, `{"items":[`+state()+`]}`)
			return
		case "DELETE /api/v1/uploads/u1":
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = io.WriteString(w, state())
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "people.csv")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(t.TempDir(), "refused.ndjson")
	do := func(code int, args ...string) (string, string) {
		t.Helper()
		var out, errs bytes.Buffer
		env := func(name string) string {
			return map[string]string{"FOOTFALL_KEY": "ffk_key", "FOOTFALL_SERVER": server.URL}[name]
		}
		if got := run(t.Context(), args, env, &out, &errs); got != code {
			t.Fatalf("%v: exit code %d, want %d\n%s%s", args, got, code, &out, &errs)
		}
		return out.String(), errs.String()
	}
	out, errs := do(0, "import", "people", file, "--map", "user_id=user_id", "--map", "a=b=attributes.city", "--report", report)
	if got.String() != text || cuts != 2 {
		t.Errorf("%d bytes came in %d parts", got.Len(), cuts)
	}
	for _, want := range []string{`"kind":"people"`, `"name":"people.csv"`, fmt.Sprintf(`"size":%d`, len(text)), `"a=b":"attributes.city"`, `"sha256":"`} {
		if !strings.Contains(created, want) {
			t.Errorf("the upload was made by %s, without %s", created, want)
		}
	}
	if out != "rows: 100 read, 98 taken, 2 refused\n" || !strings.Contains(errs, "row 3 refused: city is not UTF-8\n") {
		t.Errorf("it says %s%s", out, errs)
	}
	if kept, err := os.ReadFile(report); err != nil || bytes.Count(kept, []byte("\n")) != 2 {
		t.Errorf("kept %s, %v", kept, err)
	}
	out, errs = do(0, "import", "events", file, "--preview")
	if !strings.Contains(out, "Zip      (not looked at)") || !strings.Contains(out, "city     attributes.city:string (a new field") || !strings.Contains(out, "1 would be refused") ||
		!strings.Contains(errs, fmt.Sprintf("is %d bytes of a kind=events", len(text))) {
		t.Errorf("preview\n%s%s", out, errs)
	}
	if out, _ = do(0, "uploads", "list"); !strings.Contains(out, "u1  people  done   100   98     2") {
		t.Errorf("list\n%s", out)
	}
	if out, _ = do(0, "uploads", "refused", "u1"); strings.Count(out, "\n") != 2 {
		t.Errorf("refused\n%s", out)
	}
	do(0, "uploads", "cancel", "u1")
	do(2, "import", "people", file, "--map", "nothing")
	do(2, "import", "people", "-")
	do(2, "import", "purchases")
}

// An upload is gone on with by the file that it is of, whatever it has come to: what became
// of it would be told as what became of another.
func TestAnUploadIsNotGoneOnWithByAnotherFile(t *testing.T) {
	const text = "user_id,city\nada,Delft\n"
	sum := sha256.Sum256([]byte(text))
	whole := fmt.Sprintf(`"size":%d,"received":%d,"sha256":"%x"`, len(text), len(text), sum)
	for name, c := range map[string]struct {
		upload, file, refused string
		code                  int
	}{
		"its own, done":                     {upload: `"state":"done",` + whole, file: text},
		"its own, the sum in capitals":      {upload: fmt.Sprintf(`"state":"done","received":%d,"sha256":"%X"`, len(text), sum), file: text},
		"another of the same size, done":    {upload: `"state":"done",` + whole, file: strings.Replace(text, "ada", "bob", 1), code: 2, refused: "is not the file of upload u1 (p.csv, done): its content (SHA-256) is another"},
		"a longer one, done":                {upload: `"state":"done",` + whole, file: text + "bob,Gouda\n", code: 2, refused: fmt.Sprintf("it has %d bytes, the upload's file %d", len(text)+10, len(text))},
		"another, in processing":            {upload: `"state":"processing",` + whole, file: strings.Replace(text, "ada", "bob", 1), code: 2, refused: "is another"},
		"another, half of it received":      {upload: `"state":"receiving","received":9,"sha256":"` + strings.Repeat("0", 64) + `"`, file: text, code: 2, refused: "is another"},
		"a shorter one than what came":      {upload: `"state":"receiving","received":900`, file: text, code: 2, refused: "the server received 900"},
		"one of another kind":               {upload: `"state":"done","kind":"events",` + whole, file: text, code: 2, refused: "upload u1 is one of events, not of people"},
		"nobody knows, by the size it fits": {upload: fmt.Sprintf(`"state":"done","received":%d`, len(text)), file: text},
		"a cancelled one":                   {upload: `"state":"cancelled","received":9`, file: text, code: 1, refused: "the upload was cancelled"},
	} {
		s := newFakeServer(t, func(string) (int, string) { return 200, `{"id":"u1","kind":"people","name":"p.csv",` + c.upload + `}` })
		code, out, errs := s.run("import", "people", tempFile(t, c.file), "--resume", "u1")
		if code != c.code || !strings.Contains(errs, c.refused) || code == 2 && out != "" || code == 0 && !strings.Contains(out, "rows: ") || !strings.HasPrefix(s.asked, "GET ") {
			t.Errorf("%s: %d %s%s, asked %s", name, code, out, errs, s.asked)
		}
	}
}
