package api_test

import (
	"testing"
)

func TestSmoke(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	for _, p := range []string{"/api/v1/places", "/api/v1/places?format=geojson", "/api/v1/campaigns", "/api/v1/campaigns/rain", "/api/v1/people/user_id:ada", "/api/v1/people/install:phone-1/timeline", "/api/v1/people/install:phone-1/explain?campaign=rain", "/api/v1/campaigns/rain/results", "/api/v1/decisions", "/api/v1/live", "/api/v1/fields", "/api/v1/attributes", "/api/v1/apps", "/api/v1/quarantine", "/api/v1/weather", "/api/v1/nothing", "/api/v1/places?limit=0&foo=1", "/readyz", "/healthz", "/metrics", "/sdk/v1/ws"} {
		a := s.get(p)
		t.Log(p, a.status, a.header.Get("Content-Type"), string(a.body))
	}
}
