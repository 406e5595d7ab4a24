package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAttributesOnTheCommandLine(t *testing.T) {
	var asked string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = r.Method + " " + r.RequestURI + " " + string(body)
		switch r.Method {
		case http.MethodGet:
			_, _ = io.WriteString(w, `{"looked_at":9,"attributes":[
				{"name":"city","type":"string","source":"declared","persons":3,"last_at":"2026-03-02T09:30:00Z","examples":[{"value":"Delft","persons":2}]},
				{"name":"points","type":"number","source":"learned","doubtful":true,"private":true,"persons":0,"examples":[]},
				{"name":"odd thing","source":"none","persons":1,"examples":[]}]}`)
		case http.MethodDelete:
			w.WriteHeader(http.StatusNoContent)
		default:
			_, _ = io.WriteString(w, `{"version":2,"attributes":{},"warnings":[{"code":"invalid","field":"attributes.x","reason":"of 9 persons one has another"}]}`)
		}
	}))
	defer s.Close()
	for _, c := range []struct {
		args, out, errs, asked string
		code                   int
	}{
		{args: "attributes", out: `city       string  declared                               3             2026-03-02 09:30:00  "Delft"`},
		{args: "attributes", out: "points     number  learned, from apps and pages, private  0             -"},
		{args: "attributes", out: "odd thing  -       none"},
		{args: "attributes --json", out: `{"looked_at":9`},
		{args: "attributes declare a/b number --private", errs: "a/b is declared as number", asked: `PUT /api/v1/attribute-types/a%2Fb {"private":true,"type":"number"}`},
		{args: "attributes declare x bool", errs: "warning: attributes.x: of 9 persons one has another\nx is declared as bool\n", asked: `PUT /api/v1/attribute-types/x {"type":"bool"}`},
		{args: "attributes forget x", errs: "the type of x is forgotten", asked: "DELETE /api/v1/attribute-types/x"},
		{args: "attributes declare x", code: 2},
	} {
		var out, errs bytes.Buffer
		env := func(name string) string {
			return map[string]string{"FOOTFALL_KEY": "ffk_key", "FOOTFALL_SERVER": s.URL}[name]
		}
		asked = ""
		code := run(t.Context(), strings.Split(c.args, " "), env, &out, &errs)
		if code != c.code || !strings.Contains(out.String(), c.out) || !strings.Contains(errs.String(), c.errs) || !strings.HasPrefix(asked, c.asked) {
			t.Errorf("%s: %d\n%s\n%s\nasked %s", c.args, code, &out, &errs, asked)
		}
	}
}
