package sdkproto

import "github.com/footfall-engage/footfall/sdkproto/sdkpb"

// liveActivity checks what the app says of a Live Activity.
func (v *itemCheck) liveActivity(l *sdkpb.LiveActivity) {
	const at = "live_activity."
	v.name(at+"attributes_type", l.AttributesType)
	v.chars(at+"activity_id", l.ActivityId, 0, MaxIDChars)
	switch {
	case l.Ended && l.Token != "":
		v.fail(at+"token", "must not stand beside ended")
	case !l.Ended:
		v.chars(at+"token", l.Token, 1, MaxActivityTokenChars)
		if !hexadecimal(l.Token) {
			v.fail(at+"token", "must be hexadecimal digits, two for each byte")
		}
	}
	switch l.Environment {
	case "", "production", "sandbox":
	default:
		v.fail(at+"environment", `must be "production" or "sandbox"`)
	}
	v.chars(at+"topic", l.Topic, 0, 255)
}

// hexadecimal reports whether s is whole bytes in hexadecimal digits of either case.
func hexadecimal(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			return false
		}
	}
	return len(s)%2 == 0
}
