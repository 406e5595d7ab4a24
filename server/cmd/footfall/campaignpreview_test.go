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

func TestAPreviewOnTheCommandLine(t *testing.T) {
	var asked string
	sendable := "true"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = r.Method + " " + r.RequestURI + " " + string(body)
		_, _ = io.WriteString(w, `{"previews":[{"arm":"a","platform":"ios","locale":"nl","sendable":`+sendable+`,"title":"Hoi","body":"b","actions":[{"label":"Ga"}],
			"errors":[],"samples":["weather"],"findings":[{"field":"title","words":"is long"}],"push":{"provider":"APNs","bytes":99,"limit":4096}}]}`)
	}))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "draft.json")
	if err := os.WriteFile(file, []byte(`{"name":"Rain"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args, out, errs, asked, sendable string
		code                             int
	}{
		{
			args:  "campaigns preview rain --person user_id:ada --place cafe --weather rain --temperature -2 --locale nl --at 2027-03-01T09:00:00Z",
			asked: `POST /api/v1/campaigns/preview {"campaign_id":"rain","person":"user_id:ada","place":"cafe","weather":{"condition":"rain","temperature_c":-2},"locale":"nl","at":"2027-03-01T09:00:00Z"}`,
			out:   "a on ios in nl, 99 of 4096 bytes by APNs\n  Hoi\n  b\n  [Ga]\n  note: title: is long\n  of an example: weather\n",
		},
		{args: "campaigns preview --file " + file + ` --properties {"n":1} --json`, asked: `POST /api/v1/campaigns/preview {"campaign":{"name":"Rain"},"properties":{"n":1}}`, out: `{"previews":`},
		{args: "campaigns preview rain", sendable: "false", code: 1, errs: "1 of 1 cannot be written"},
		{args: "campaigns preview", code: 2, errs: "either a campaign's id or --file"},
		{args: "campaigns preview rain --file " + file, code: 2},
		{args: "campaigns preview rain --at noon", code: 2, errs: "is not a time"},
		{args: "campaigns preview rain --properties {", code: 2, errs: "--properties is not JSON"},
	} {
		asked, sendable = "", "true"
		if c.sendable != "" {
			sendable = c.sendable
		}
		var out, errs bytes.Buffer
		env := func(name string) string {
			return map[string]string{"FOOTFALL_KEY": "ffk_key", "FOOTFALL_SERVER": s.URL}[name]
		}
		code := run(t.Context(), strings.Fields(c.args), env, &out, &errs)
		if code != c.code || !strings.Contains(out.String(), c.out) || !strings.Contains(errs.String(), c.errs) || c.asked != "" && asked != c.asked {
			t.Errorf("%s: %d\nout %s\nerrs %s\nasked %s", c.args, code, &out, &errs, asked)
		}
	}
}
