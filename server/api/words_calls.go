package api

import (
	"fmt"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// calledWords says that the API called for a campaign; of a call that names no place,
// place is empty.
func calledWords(place string) string {
	if place == "" {
		return "Called by the API"
	}
	return "Called by the API, about " + place
}

// timeCameWords says that a time of a schedule came, on the clocks that it is meant by.
func timeCameWords(t *engage.Trigger) string {
	if t.Local == "" {
		return "Its time came"
	}
	return "Its time came (" + strings.Replace(t.Local, "T", " ", 1) + ")"
}

// askedWords is what a timeline says of a moment that was for one campaign.
func askedWords(t *engage.Trigger, place string) string {
	words := triggerWords(t, place)
	if t.Campaign != "" {
		words += fmt.Sprintf(", for the campaign %q", t.Campaign)
	}
	return words
}
