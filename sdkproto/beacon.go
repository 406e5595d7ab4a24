package sdkproto

import (
	"math"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// Lengths of the ids of beacons, in characters.
const (
	beaconUUIDChars        = 36 // 8-4-4-4-12 hexadecimal digits
	eddystoneNamespaceHex  = 20 // 10 bytes
	eddystoneInstanceHex   = 12 // 6 bytes
	maxBeaconNumber        = math.MaxUint16
	minRSSIDbm, maxRSSIDbm = -127, 20 // what Bluetooth LE can say
)

func (v *itemCheck) beacon(b *sdkpb.Beacon) {
	switch i, e := b.GetIbeacon(), b.GetEddystoneUid(); {
	case i != nil && e != nil:
		v.fail("beacon", "two ids, must be one")
		return
	case i != nil:
		v.uuid("beacon.ibeacon.uuid", i.Uuid)
		v.number("beacon.ibeacon.major", i.Major)
		v.number("beacon.ibeacon.minor", i.Minor)
		if i.Minor != nil && i.Major == nil {
			v.fail("beacon.ibeacon.major", "is required with minor")
		}
	case e != nil:
		v.hex("beacon.eddystone_uid.namespace", e.Namespace, eddystoneNamespaceHex)
		v.hex("beacon.eddystone_uid.instance", e.Instance, eddystoneInstanceHex)
	default:
		v.reject(RejectUnsupported, "beacon", "no id of a kind that this version knows")
		return
	}
	v.knownEnum("beacon.proximity", b.Proximity)
	if b.RssiDbm != nil {
		v.between("beacon", "rssi_dbm", float64(*b.RssiDbm), minRSSIDbm, maxRSSIDbm)
	}
	if b.DistanceM != nil {
		v.between("beacon", "distance_m", *b.DistanceM, 0, math.MaxFloat64)
	}
	if b.Location != nil {
		v.location("beacon.location", b.Location)
	}
}

func (v *itemCheck) uuid(field, s string) {
	if s == "" {
		v.fail(field, "is required")
		return
	}
	ok := len(s) == beaconUUIDChars
	for i := 0; ok && i < len(s); i++ {
		switch i {
		case 8, 13, 18, 23:
			ok = s[i] == '-'
		default:
			ok = isHex(s[i])
		}
	}
	if !ok {
		v.fail(field, "must be 8-4-4-4-12 hexadecimal digits")
	}
}

func (v *itemCheck) hex(field, s string, digits int) {
	if s == "" {
		v.fail(field, "is required")
		return
	}
	ok := len(s) == digits
	for i := 0; ok && i < len(s); i++ {
		ok = isHex(s[i])
	}
	if !ok {
		v.fail(field, "must be %d hexadecimal digits", digits)
	}
}

func (v *itemCheck) number(field string, n *uint32) {
	if n != nil && *n > maxBeaconNumber {
		v.fail(field, "must be 0 to %d", maxBeaconNumber)
	}
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
