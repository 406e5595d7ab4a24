// Package lab is a synthetic town and its phones: streets, shops, people who walk
// between them, and for each of them a phone that speaks the SDK protocol. The
// demo and the load generator run it against a server; nothing of a server is
// known here.
//
// Reading order: Town (who and what there is), Walk (where a person is when),
// monitor.go (the phone's own geofences), phone.go and pocket.go (what a phone does
// with them), Crowd (all of them, and the clock that drives them), book.go (what
// each phone can testify in an audit).
//
// # What a seed determines
//
// The town, its people, what they answered, and their walks as functions of
// simulated time: Walk.At gives the same for the same seed, however often and
// however densely it is asked. Which messages a person opens is a hash of seed,
// person and message. What a seed does not determine is real time: when a phone
// samples its position, in which order the phones' frames reach the server, and
// whatever follows from that. Speed scales the walking (a speed of 20 makes
// people cover 28 m between two fixes of one second), never the phones' clocks.
package lab

import "fmt"

// Error says which option has a value that cannot be, and why.
type Error struct {
	Field  string // path of the option, "center.lat"
	Reason string // what must hold and what is
}

// Error implements error.
func (e *Error) Error() string { return "lab: " + e.Field + " " + e.Reason }

func errorf(field, format string, args ...any) *Error {
	return &Error{Field: field, Reason: fmt.Sprintf(format, args...)}
}
