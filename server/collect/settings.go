package collect

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// settings tell a library where to send what: here. Pages' libraries (analytics-next) read
// apiHost and protocol, Kotlin's and React Native's apiHost; plan and the rest must be there.
type settings struct {
	Integrations map[string]integration `json:"integrations"`
	Plan         plan                   `json:"plan"`
	EdgeFunction struct{}               `json:"edgeFunction"`
	Metrics      struct {
		SampleRate float64 `json:"sampleRate"`
	} `json:"metrics"`
	EnabledMiddleware struct{} `json:"enabledMiddleware"`
}

type integration struct {
	APIKey             string `json:"apiKey"`
	APIHost            string `json:"apiHost"` // without the scheme, with /v1
	Protocol           string `json:"protocol"`
	AddBundledMetadata bool   `json:"addBundledMetadata"`
}

type plan struct {
	Track    map[string]enabled `json:"track"`
	Identify map[string]enabled `json:"identify"`
	Group    map[string]enabled `json:"group"`
}

type enabled struct {
	Enabled bool `json:"enabled"`
}

// serveSettings answers GET /v1/projects/{key}/settings.
func (c *Collector) serveSettings(w http.ResponseWriter, r *http.Request, token string) int {
	k, ok := c.keyOf(token, "")
	if !ok || k.Revoked {
		return c.refuse(w, http.StatusNotFound, engage.Errorf(engage.NotFound, "writeKey", "there is no such write key"))
	}
	if !c.admit(w, r, &k) {
		return c.refuse(w, http.StatusForbidden, errOrigin(originOf(r)))
	}
	scheme := "http"
	if r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		scheme = "https"
	}
	all := map[string]enabled{"__default": {true}}
	s := settings{
		Integrations: map[string]integration{"Segment.io": {APIKey: token, APIHost: r.Host + "/v1", Protocol: scheme}},
		Plan:         plan{all, all, all},
	}
	body, err := json.Marshal(s)
	if err != nil { // it cannot be: there is nothing in it that JSON has no words for
		return c.refuse(w, http.StatusInternalServerError, engage.Errorf(engage.Internal, "", "the settings cannot be written"))
	}
	w.Header().Set("Cache-Control", "private, max-age=60")
	return answer(w, http.StatusOK, body)
}
