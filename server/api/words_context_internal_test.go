package api

import (
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

// forecastFor is a weather record of the place where decided's person is, with rain in the
// coming hours.
func forecastFor(entry func(engage.Kind, any) engage.Entry, at time.Time, hours int) engage.Entry {
	cell, err := geo.CellOf(geo.Point{Lat: 52.3731, Lng: 4.8922}, engage.WeatherResolution)
	if err != nil {
		panic(err)
	}
	r := engage.WeatherRecord{Weather: engage.Weather{
		Cell: cell, At: at, FetchedAt: at, FreshUntil: at.Add(time.Hour), Kind: "forecast", Condition: "partly_cloudy", TemperatureC: 9, Provider: "sim",
	}}
	for i := range hours {
		r.Hours = append(r.Hours, engage.WeatherHour{At: at.Add(time.Duration(i) * time.Hour), Condition: "rain", TemperatureC: 7 + float64(i), Precipitation: 0.5})
	}
	e := entry(engage.KindWeather, r)
	e.Key = engage.WeatherKey(cell.String())
	return e
}
