package engage

import "time"

// Occupancy is the body of a KindOccupancy entry, of the workspace of its key: how many
// phones are known to be inside places, coarsely.
type Occupancy struct {
	V      int            `json:"v"` // 1
	Places map[string]int `json:"places,omitempty"`
	// Partial: there are more places with people than stand here; what does not is not
	// known. Else it is 0.
	Partial bool `json:"partial,omitempty"`
}

// MaxOccupancyAge is for how long after its log time an Occupancy is believed.
const MaxOccupancyAge = 10 * time.Minute

// OccupancyKey is the key of a workspace's Occupancy.
func OccupancyKey(workspace string) string { return workspace + "/o:places" }

// CoarseCount is how many there are as rules and texts may know it, rounded down so that
// nobody is found by it: below 5 it is 0, below 100 a multiple of 5, from there of 25.
func CoarseCount(n int) int {
	if n >= 100 {
		return n - n%25
	}
	return n - n%5
}
