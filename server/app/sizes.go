package app

import (
	"time"

	"github.com/footfall-engage/footfall/channels/apns"
	"github.com/footfall-engage/footfall/channels/fcm"
	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/engage"
)

// pushSizes are the sizes of a send as a push to an Android phone and to an iPhone. A
// message that a provider's package refuses for another reason than its size has none
// there.
func pushSizes(s *engage.Send) []api.PushSize {
	if s.DecidedAt.IsZero() { // a Live Activity's state has a time
		dated := *s
		dated.DecidedAt = time.Unix(1, 0).UTC()
		s = &dated
	}
	dev := engage.Device{Install: "example", Platform: "android", Push: &engage.PushTarget{Provider: "fcm"}}
	android := fcm.PayloadSize(deliver.PushOf(s, &dev))
	out := []api.PushSize{{Provider: "FCM", Bytes: android.Bytes, Limit: android.Limit, Field: api.PushField(android.Field), FieldBytes: android.FieldBytes}}
	dev.Platform, dev.Push = "ios", &engage.PushTarget{Provider: "apns"}
	if ios, err := apns.PayloadSize(deliver.PushOf(s, &dev)); err == nil {
		out = append(out, api.PushSize{Provider: "APNs", Bytes: ios.Bytes, Limit: ios.Limit, Field: api.PushField(ios.Field), FieldBytes: ios.FieldBytes})
	}
	return out
}
