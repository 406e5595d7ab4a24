package sdkproto

import (
	"math"
	"time"
)

// MaxStopAccuracyM is from where on a fix tells nothing about stops: metres.
const MaxStopAccuracyM = 1000

// StopDetector tells whether a phone stands, as the README defines a stop: by an
// anchor, so that what it remembers is one place however many fixes come. The
// zero value detects nothing; set After and RadiusM. Copy it to keep it.
type StopDetector struct {
	After   time.Duration // stop_after_s; 0 detects no stop
	RadiusM float64       // stop_radius_m, metres

	seen     bool // anchor and newestAt are set
	stopped  bool
	anchor   stopFix
	newestAt time.Time
}

// stopFix is where and when a stop may have begun.
type stopFix struct {
	at       time.Time
	lat, lng float64
}

// Fix takes one position: when it was made, in degrees, with its 68 % radius in
// metres (0 means not given). Changed says that the phone has stopped or moves
// again with it.
func (d *StopDetector) Fix(at time.Time, lat, lng, accuracyM float64) (changed bool) {
	if d.After <= 0 || accuracyM >= MaxStopAccuracyM || d.seen && at.Before(d.newestAt) {
		return false
	}
	here := stopFix{at: at, lat: lat, lng: lng}
	if !d.seen {
		d.seen, d.anchor, d.newestAt = true, here, at
		return false
	}
	d.newestAt = at
	away := arcM(d.anchor.lat, d.anchor.lng, lat, lng)
	switch {
	case d.stopped && away > d.RadiusM+accuracyM:
		d.stopped, d.anchor = false, here
		return true
	case d.stopped:
		return false
	case away > d.RadiusM:
		d.anchor = here
		return false
	}
	d.stopped = at.Sub(d.anchor.at) >= d.After
	return d.stopped
}

// Stopped reports whether the phone stands. Before the first stop it moves.
func (d *StopDetector) Stopped() bool { return d.stopped }

// Since is when the present stop began; the zero time while the phone moves.
func (d *StopDetector) Since() time.Time {
	if !d.stopped {
		return time.Time{}
	}
	return d.anchor.at
}

// arcM is the distance in metres on a sphere of the mean Earth radius (2a+b)/3 of
// WGS 84, which is off by at most half a percent.
func arcM(lat1, lng1, lat2, lng2 float64) float64 {
	const radiusM, rad = 6371008.7714, math.Pi / 180
	s, c := math.Sin((lat2-lat1)*rad/2), math.Sin((lng2-lng1)*rad/2)
	h := s*s + math.Cos(lat1*rad)*math.Cos(lat2*rad)*c*c
	return 2 * radiusM * math.Asin(min(1, math.Sqrt(h)))
}
