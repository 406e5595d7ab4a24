package engage

import "time"

// LiveToken is a token of the Live Activities of an iPhone's app, as the app has said it.
type LiveToken struct {
	// Type is the name of the app's type of attributes.
	Type string `json:"type"`
	// Activity is the running activity whose token it is; empty: the token starts
	// activities of the type.
	Activity string `json:"activity,omitempty"`
	// Push is where it is sent to; its provider is APNs.
	Push PushTarget `json:"push"`
}

// How many an install has, the newest, and how long a running one counts: iOS lets none
// be active for more than 8 hours, nor stand on the screen for more than 12.
const (
	MaxLiveTypes   = 20
	MaxLiveRunning = 20
	LiveFor        = 12 * time.Hour
)

// LiveStartToken is the token that starts activities of a type; nil: there is none.
func LiveStartToken(all []LiveToken, typ string) *LiveToken {
	for i := range all {
		if all[i].Activity == "" && all[i].Type == typ {
			return &all[i]
		}
	}
	return nil
}

// LiveRunningToken is the token of a running activity; nil: there is none, or it is too old.
func LiveRunningToken(all []LiveToken, activity string, now time.Time) *LiveToken {
	for i := range all {
		if x := &all[i]; activity != "" && x.Activity == activity && now.Sub(x.Push.At) < LiveFor {
			return x
		}
	}
	return nil
}
