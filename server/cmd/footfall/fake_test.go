package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeServer answers what the commands ask, and remembers the last that was asked.
type fakeServer struct {
	t     *testing.T
	url   string
	asked string // method, path and body of the newest request of a run; empty: none was made
}

// newFakeServer answers each request, "GET /api/v1/places", with what answer gives: a
// status and a body.
func newFakeServer(t *testing.T, answer func(request string) (status int, body string)) *fakeServer {
	t.Helper()
	f := &fakeServer{t: t}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		f.asked = strings.TrimSpace(r.Method + " " + r.RequestURI + " " + string(body))
		status, text := answer(r.Method + " " + r.RequestURI)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(s.Close)
	f.url = s.URL
	return f
}

// known answers by request; an empty body is 204, and what is not there the given status.
func known(answers map[string]string, unknown int, problem string) func(string) (int, string) {
	return func(request string) (int, string) {
		switch text, is := answers[request]; {
		case !is:
			return unknown, problem
		case text == "":
			return http.StatusNoContent, ""
		default:
			return http.StatusOK, text
		}
	}
}

// run runs a command against it.
func (f *fakeServer) run(args ...string) (code int, out, errs string) {
	f.t.Helper()
	f.asked = ""
	var o, e bytes.Buffer
	env := func(name string) string {
		return map[string]string{"FOOTFALL_KEY": "ffk_key", "FOOTFALL_SERVER": f.url}[name]
	}
	code = run(f.t.Context(), args, env, &o, &e)
	return code, o.String(), e.String()
}

// tempFile is a file that has the text.
func tempFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file.json")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
