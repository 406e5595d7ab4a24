package engage

import (
	"regexp"
	"strconv"
	"strings"
)

// BeaconType is a kind of radio beacon.
type BeaconType string

// The types of beacons.
const (
	IBeacon      BeaconType = "ibeacon"       // Apple: a UUID, then major and minor
	EddystoneUID BeaconType = "eddystone_uid" // Google: a namespace, then an instance
)

// Beacon says which radio beacons stand at a place: seeing one is evidence of being
// in a geofence of it. What is absent may be anything, so that one Beacon can stand
// for all with a UUID, or with a UUID and a major.
type Beacon struct {
	ID   string     `json:"id"` // unique within the workspace; what a phone's region is named
	Type BeaconType `json:"type"`

	// Of an iBeacon. UUID as "f7826da6-4fa2-4e98-8024-bc5b71e0893e"; Major and Minor
	// 0 to 65535, nil for any. Minor needs Major.
	UUID  string `json:"uuid,omitempty"`
	Major *int   `json:"major,omitempty"`
	Minor *int   `json:"minor,omitempty"`

	// Of an Eddystone UID frame: Namespace of 10 bytes and Instance of 6, in hex;
	// an empty Instance stands for any.
	Namespace string `json:"namespace,omitempty"`
	Instance  string `json:"instance,omitempty"`

	// Fence is the id of the geofence that it is evidence for; empty: the first
	// inside geofence of the place.
	Fence string `json:"fence,omitempty"`
}

var (
	uuidText      = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	namespaceText = regexp.MustCompile(`^[0-9a-fA-F]{20}$`)
	instanceText  = regexp.MustCompile(`^[0-9a-fA-F]{12}$`)
)

// Validate checks the beacon by itself; an Error's field is relative to it.
func (b *Beacon) Validate() error {
	if !ValidID(b.ID) {
		return invalidID("id")
	}
	switch b.Type {
	case IBeacon:
		return b.validateIBeacon()
	case EddystoneUID:
		return b.validateEddystone()
	default:
		return Errorf(Invalid, "type", `must be "ibeacon" or "eddystone_uid", is %q`, b.Type)
	}
}

func (b *Beacon) validateIBeacon() error {
	switch {
	case b.UUID == "":
		return Errorf(Invalid, "uuid", "is missing")
	case !uuidText.MatchString(b.UUID):
		return Errorf(Invalid, "uuid", "must be 32 hex digits as 8-4-4-4-12, is %.60q", b.UUID)
	case b.Major != nil && (*b.Major < 0 || *b.Major > 65535):
		return Errorf(Invalid, "major", "must be 0 to 65535, is %d", *b.Major)
	case b.Minor != nil && (*b.Minor < 0 || *b.Minor > 65535):
		return Errorf(Invalid, "minor", "must be 0 to 65535, is %d", *b.Minor)
	case b.Minor != nil && b.Major == nil:
		return Errorf(Invalid, "major", "is missing: a minor counts within a major")
	case b.Namespace != "":
		return Errorf(Invalid, "namespace", "belongs to eddystone_uid")
	case b.Instance != "":
		return Errorf(Invalid, "instance", "belongs to eddystone_uid")
	}
	return nil
}

func (b *Beacon) validateEddystone() error {
	switch {
	case b.Namespace == "":
		return Errorf(Invalid, "namespace", "is missing")
	case !namespaceText.MatchString(b.Namespace):
		return Errorf(Invalid, "namespace", "must be 20 hex digits, is %.60q", b.Namespace)
	case b.Instance != "" && !instanceText.MatchString(b.Instance):
		return Errorf(Invalid, "instance", "must be 12 hex digits, is %.60q", b.Instance)
	case b.UUID != "":
		return Errorf(Invalid, "uuid", "belongs to ibeacon")
	case b.Major != nil:
		return Errorf(Invalid, "major", "belongs to ibeacon")
	case b.Minor != nil:
		return Errorf(Invalid, "minor", "belongs to ibeacon")
	}
	return nil
}

// Key names what the beacon stands for: two with the same key could not be told
// apart.
func (b *Beacon) Key() string { return b.Keys()[0] }

// Keys are those of a beacon that was seen, with all its parts, and of what else
// may stand for it, the most exact first.
func (b *Beacon) Keys() []string {
	if b.Type == EddystoneUID {
		all := "eddystone_uid:" + strings.ToLower(b.Namespace)
		if b.Instance == "" {
			return []string{all}
		}
		return []string{all + ":" + strings.ToLower(b.Instance), all}
	}
	all := "ibeacon:" + strings.ToLower(b.UUID)
	if b.Major == nil {
		return []string{all}
	}
	major := all + ":" + strconv.Itoa(*b.Major)
	if b.Minor == nil {
		return []string{major, all}
	}
	return []string{major + ":" + strconv.Itoa(*b.Minor), major, all}
}
