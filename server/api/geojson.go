package api

import (
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/places"
)

// featureCollection is places as GeoJSON. Next is a foreign member (RFC 7946 §6.1).
type featureCollection struct {
	Type     string           `json:"type"`
	Features []places.Feature `json:"features"`
	Next     string           `json:"next,omitempty"`
}

// features writes places as GeoJSON, a Feature per geofence.
func features(all []*engage.Place) (*featureCollection, error) {
	out := &featureCollection{Type: "FeatureCollection", Features: []places.Feature{}}
	for _, p := range all {
		fs, err := places.Features(p)
		if err != nil {
			return nil, err
		}
		out.Features = append(out.Features, fs...)
	}
	return out, nil
}
