package app

import (
	"fmt"
	"maps"
	"testing"
)

func TestOccupancyIsCoarseAndOfTheFullestPlaces(t *testing.T) {
	got := occupancyOf(map[string]int{"a": 1, "b": 4, "c": 5, "d": 99, "e": 131})
	if want := map[string]int{"c": 5, "d": 95, "e": 125}; !maps.Equal(got.Places, want) || got.Partial {
		t.Errorf("%+v", got)
	}
	many := map[string]int{}
	for i := range maxOccupied + 10 {
		many[fmt.Sprint(i)] = 10 + i%7
	}
	if got := occupancyOf(many); len(got.Places) != maxOccupied || !got.Partial {
		t.Errorf("%d places, partial %v", len(got.Places), got.Partial)
	}
}
