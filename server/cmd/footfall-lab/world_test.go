package main

import (
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/weather/weathersim"
)

// Whatever the seed, the season and the hour, a demo of half a minute must see it
// rain at its beginning and clear up.
func TestItRainsAtTheBeginningOfADemoAndClearsUp(t *testing.T) {
	around := geo.Point{Lat: 52.3731, Lng: 4.8926}
	for seed := range uint64(200) {
		start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(seed) * 47 * time.Hour)
		sky := weathersim.Sky{Seed: seed, Around: around, Period: frontEvery}
		weather := mild(sky, start)
		for _, at := range []time.Duration{-modelInterval, 0, 5 * time.Second} {
			if c := weather(around.Lat, around.Lng, start.Add(at)); c.PrecipitationMM < 0.1 || c.TemperatureC < 2 {
				t.Errorf("seed %d: %v after the start there are %v mm at %v °C", seed, at, c.PrecipitationMM, c.TemperatureC)
			}
		}
		if c := weather(around.Lat, around.Lng, start.Add(26*time.Second)); c.PrecipitationMM >= 0.1 {
			t.Errorf("seed %d: after 26 s there are %v mm", seed, c.PrecipitationMM)
		}
	}
}
