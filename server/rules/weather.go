package rules

import (
	"fmt"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// WeatherSchema is what a trigger of weather may ask about the weather at a place, now and
// in the next hours: what a context may, and nothing of the person or the moment.
func WeatherSchema() *Schema { return weatherSchema }

var weatherSchema = func() *Schema {
	s := NewSchema(weatherFields()...)
	for _, f := range PersonSchema(nil).fields {
		prefix, _, _ := strings.Cut(f.Path, "*")
		s.hints[prefix] = "it belongs to the person: put it into the audience rule"
	}
	for _, family := range []string{"place.", "trigger.", "local.", "device."} {
		s.hints[family] = "it belongs to the moment: put it into the context rule"
	}
	return s
}()

// conditions are the values of a weather's condition.
var conditions = []string{"clear", "partly_cloudy", "cloudy", "fog", "rain", "sleet", "snow", "thunder"}

// weatherFields are of the weather now, and of each span of the next hours.
func weatherFields() []Field {
	fields := []Field{
		{
			Path: "weather.condition", Type: String, Description: "Forecast weather at the place for this hour",
			Values: conditions,
		},
		{Path: "weather.temperature_c", Type: Number, Description: "Air temperature, °C"},
		{Path: "weather.feels_like_c", Type: Number, Description: "Temperature as it feels, °C"},
		{Path: "weather.precipitation_mm", Type: Number, Description: "Precipitation in the next hour, mm"},
		{Path: "weather.wind_mps", Type: Number, Description: "Wind speed, m/s"},
		{Path: "weather.uv", Type: Number, Description: "UV index"},
		{Path: "weather.day", Type: Bool, Description: "Whether the sun is up"},
	}
	for _, n := range engage.OutlookHours {
		at, of := fmt.Sprintf("weather.next_%dh.", n), fmt.Sprintf("in the next %d hours, by the forecast", n)
		if n == 1 {
			of = "in the next hour, by the forecast"
		}
		fields = append(fields,
			Field{Path: at + "condition", Type: String, Description: "The gravest weather " + of, Values: conditions},
			Field{Path: at + "conditions", Type: Strings, Description: "Every weather " + of, Values: conditions},
			Field{Path: at + "temperature_min_c", Type: Number, Description: "Lowest air temperature " + of + ", °C"},
			Field{Path: at + "temperature_max_c", Type: Number, Description: "Highest air temperature " + of + ", °C"},
			Field{Path: at + "feels_like_min_c", Type: Number, Description: "Lowest temperature as it feels " + of + ", °C"},
			Field{Path: at + "feels_like_max_c", Type: Number, Description: "Highest temperature as it feels " + of + ", °C"},
			Field{Path: at + "precipitation_mm", Type: Number, Description: "Precipitation in total " + of + ", mm"},
			Field{Path: at + "wind_mps", Type: Number, Description: "Strongest wind " + of + ", m/s"},
			Field{Path: at + "uv", Type: Number, Description: "Highest UV index " + of},
			Field{Path: at + "wet_in_h", Type: Number, Description: "In which of these hours rain, sleet, snow or thunder comes first, from 1; 0: in none " + of},
		)
	}
	return fields
}
