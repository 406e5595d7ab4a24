package config

import "time"

// Push bounds what push providers are sent. 0 means without limit.
type Push struct {
	// MaxInFlight is how many attempts one credential may have under way.
	MaxInFlight int
	// FCMPerMin is how many attempts one Firebase project may make in a minute, and
	// FCMRampS over how many seconds it climbs to that.
	FCMPerMin int
	FCMRampS  int
	// FCMDevicePerMin and FCMDevicePerHour are how many one device is sent through FCM.
	FCMDevicePerMin  int
	FCMDevicePerHour int
	// APNsPerMin is how many attempts one APNs key may make in a minute.
	APNsPerMin int
	// SilentPerHour is how many silent messages a device is sent in an hour.
	SilentPerHour int
}

// FCMRamp is FCMRampS.
func (p Push) FCMRamp() time.Duration { return time.Duration(p.FCMRampS) * time.Second }

func defaultPush() Push {
	return Push{
		MaxInFlight: 1000, FCMPerMin: 600_000, FCMRampS: 60, FCMDevicePerMin: 240, FCMDevicePerHour: 5000, SilentPerHour: 3,
	}
}

func (p *Push) bindings() []binding {
	return []binding{
		{"push.max_in_flight", &p.MaxInFlight, "Pushes that one credential may have under way, 1 to 100000. Each takes about 10 KB."},
		{"push.fcm_per_min", &p.FCMPerMin, "Pushes that one Firebase project may send per minute; 0 is no limit. Google's quota is 600000 until it is raised. When Google says that it is exceeded, the rate is halved and grows back."},
		{"push.fcm_ramp_s", &p.FCMRampS, "Seconds over which a project climbs to that rate, 0 to 3600. Google advises a minute at least."},
		{"push.fcm_device_per_min", &p.FCMDevicePerMin, "Pushes per minute to one device through FCM; 0 is no limit."},
		{"push.fcm_device_per_hour", &p.FCMDevicePerHour, "Pushes per hour to one device through FCM; 0 is no limit."},
		{"push.apns_per_min", &p.APNsPerMin, "Pushes per minute of one APNs key; 0 is no limit: Apple names none, and what it says of one is learned."},
		{"push.silent_per_hour", &p.SilentPerHour, "Silent pushes per hour to one device; 0 is no limit. Apple advises two or three. What is above it waits, or goes the way of a message without a device."},
	}
}

func (p *Push) validate(between func(field string, is, low, high int)) {
	const most = 1_000_000_000
	between("push.max_in_flight", p.MaxInFlight, 1, 100_000)
	between("push.fcm_per_min", p.FCMPerMin, 0, most)
	between("push.fcm_ramp_s", p.FCMRampS, 0, 3600)
	between("push.fcm_device_per_min", p.FCMDevicePerMin, 0, most)
	between("push.fcm_device_per_hour", p.FCMDevicePerHour, 0, most)
	between("push.apns_per_min", p.APNsPerMin, 0, most)
	between("push.silent_per_hour", p.SilentPerHour, 0, most)
}
