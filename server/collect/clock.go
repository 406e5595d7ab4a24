package collect

import (
	"time"
)

// stampsEarly are the libraries that write sentAt when a batch is first complete.
var stampsEarly = map[string]bool{"analytics-kotlin": true, "analytics-swift": true}

const (
	// maxAhead is how far ahead of ours a clock may be that is still believed.
	maxAhead = 5 * time.Minute
	// maxOffline is how long a phone may keep what it could not send.
	maxOffline = 30 * 24 * time.Hour
)

// What is said to have happened before these has no true time: nobody had a library of
// this API, nor, when it is imported, a shop that wrote down what it sold.
var (
	earliest         = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	earliestImported = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
)

// The ways in which a time was found, for metrics.
const (
	timeArrival = "arrival" // the call says none
	timeMoved   = "moved"   // by the sender's clock
	timeStated  = "stated"
	timeClamped = "clamped" // it could not be
)

// happened is when a call happened: original is what the sender says of it, sent when the
// sender thinks that it sent it; zero means that it does not say. An import's times are
// taken as they stand.
func happened(received, sent, original time.Time, library string, quiet bool) (_ time.Time, how string) {
	if original.IsZero() {
		return received, timeArrival
	}
	at, how := original, timeStated
	early := stampsEarly[library] && !original.After(received.Add(maxAhead)) && original.After(received.Add(-maxOffline))
	if !sent.IsZero() && !quiet && !early {
		at, how = original.Add(received.Sub(sent)), timeMoved
	}
	if at.After(received) {
		if at.After(received.Add(maxAhead)) {
			how = timeClamped
		}
		return received, how
	}
	if quiet && at.Before(earliestImported) || !quiet && at.Before(earliest) {
		return received, timeClamped
	}
	return at, how
}
