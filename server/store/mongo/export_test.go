package mongo

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/event"
)

// WithMonitor has every command of the store seen.
func WithMonitor(o Options, m *event.CommandMonitor) Options {
	o.monitor = m
	return o
}

// WithPatience bounds the wait for a write's outcome.
func WithPatience(o Options, d time.Duration) Options {
	o.patience = d
	return o
}

// Project is the projection of a body, by path.
func Project(body []byte) map[string]any {
	out := map[string]any{}
	for _, e := range project(body).document() {
		out[e.Key] = e.Value
	}
	return out
}

// Composite is what an object or an array is in a projection.
const Composite = composite
