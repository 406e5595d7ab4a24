package sdkproto

import (
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fix is of an item that is a position what the server goes by when it applies it.
type Fix struct {
	Seq       uint64
	Lat, Lng  float64 // as in sdkpb.Location, and not checked
	AccuracyM float64
	Mocked    bool
}

// ReadFix reads an item that is a position and nothing else, without memory of its own.
// False where UnmarshalItem must tell what it is.
func ReadFix(b []byte) (Fix, bool) {
	var f Fix
	var location []byte
	there := false
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return Fix{}, false
		}
		b = b[n:]
		switch {
		case typ == protowire.BytesType && (num == itemID || num == itemBootID):
			text, n := protowire.ConsumeBytes(b)
			if n < 0 || !utf8.Valid(text) {
				return Fix{}, false
			}
			b = b[n:]
		case typ == protowire.VarintType && (num == itemSeq || num == itemOccurredMs || num == itemMonoMs):
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return Fix{}, false
			}
			if b = b[n:]; num == itemSeq {
				f.Seq = v
			}
		case typ == protowire.BytesType && num == itemLocation && !there: // two are merged
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return Fix{}, false
			}
			b, location, there = b[n:], v, true
		default:
			return Fix{}, false
		}
	}
	return f, there && f.readLocation(location)
}

func (f *Fix) readLocation(b []byte) bool {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		switch {
		case typ == protowire.Fixed64Type && num >= locationLat && num <= locationAltitudeM:
			bits, n := protowire.ConsumeFixed64(b)
			if n < 0 {
				return false
			}
			b = b[n:]
			switch v := math.Float64frombits(bits); num {
			case locationLat:
				f.Lat = v
			case locationLng:
				f.Lng = v
			case locationAccuracyM:
				f.AccuracyM = v
			}
		case typ == protowire.VarintType && num == locationMocked:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return false
			}
			b, f.Mocked = b[n:], protowire.DecodeBool(v)
		default:
			return false
		}
	}
	return true
}
