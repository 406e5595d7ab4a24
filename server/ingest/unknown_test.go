package ingest_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/server/ingest"
)

// An address that is misspelt, and a method that is not the path's, are refused in the
// protocol's words, which a web page can read, too.
func TestWhatNoPathIsForIsRefusedInWords(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	for _, c := range []struct {
		method, path  string
		status        int
		field, allows string
	}{
		{http.MethodGet, sdkproto.PathBatch, http.StatusMethodNotAllowed, "method", "POST, OPTIONS"},
		{http.MethodPost, sdkproto.PathWS, http.StatusMethodNotAllowed, "method", "GET, OPTIONS"},
		{http.MethodDelete, sdkproto.PathInbox, http.StatusMethodNotAllowed, "method", "GET, OPTIONS"},
		{http.MethodPost, "/sdk/v1/batches", http.StatusNotFound, "path", ""},
		{http.MethodGet, "/sdk/v1/", http.StatusNotFound, "path", ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, w.server.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var body struct {
			Error struct {
				Code  uint32 `json:"code"`
				Field string `json:"field"`
			} `json:"error"`
		}
		err = json.NewDecoder(res.Body).Decode(&body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != c.status || body.Error.Code != uint32(sdkproto.ErrUnknownFrame) || body.Error.Field != c.field || res.Header.Get("Allow") != c.allows ||
			res.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s %s: %d, %+v, allow %q, %v", c.method, c.path, res.StatusCode, body.Error, res.Header.Get("Allow"), err)
		}
	}
}
