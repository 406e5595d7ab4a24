package sdkproto

import (
	"time"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// How a corrected time was found.
type How string

// The ways, best first.
const (
	HowMono     How = "mono"     // same boot: age by the monotonic clock, immune to edits of the wall clock
	HowSent     How = "sent"     // age by the wall clock: sent − occurred
	HowDevice   How = "device"   // the batch does not say when it was sent: the wall clock as it is
	HowReceived How = "received" // the item does not say when it happened
	HowClamped  How = "clamped"  // the clock says future, by at most MaxSkew: received
	HowSkewed   How = "skewed"   // the same by at most MaxFuture: received, and worth a flag
	HowAbsurd   How = "absurd"   // further in the future, or older than MaxAge: received, and not to be believed
)

// CorrectedTime is when an item happened, judged by its batch and by when the
// server received it:
//
//	same boot:  received − (batch.sent_mono_ms − item.mono_ms)
//	otherwise:  received − (batch.sent_ms − item.occurred_ms)
//
// The time on the wire counts as zero. A time after received becomes received;
// how says how far it was off. An absurd one (2035, 1970) also becomes received:
// ValidateItem refuses the observations among them, and what the person said
// (consent, preferences) takes effect all the same. The result is in UTC.
func CorrectedTime(item *sdkpb.Item, batch *sdkpb.Batch, received time.Time) (at time.Time, how How) {
	received = received.UTC()
	age, how := itemAge(item, batch, received)
	switch {
	case how == HowReceived || how == HowAbsurd:
		return received, how
	case age >= 0 && age <= MaxAge:
		return received.Add(-age), how
	case age < 0 && age >= -MaxSkew:
		return received, HowClamped
	case age < 0 && age >= -MaxFuture:
		return received, HowSkewed
	}
	return received, HowAbsurd
}

func itemAge(item *sdkpb.Item, batch *sdkpb.Batch, received time.Time) (time.Duration, How) {
	if item.GetBootId() != "" && item.GetBootId() == batch.GetBootId() &&
		item.GetMonoMs() > 0 && item.GetMonoMs() <= batch.GetSentMonoMs() {
		return ageOf(batch.GetSentMonoMs() - item.GetMonoMs()), HowMono
	}
	if item.GetOccurredMs() == 0 {
		return 0, HowReceived
	}
	sent, how := batch.GetSentMs(), HowSent
	if sent == 0 {
		sent, how = received.UnixMilli(), HowDevice
	}
	if !plausible(sent) || !plausible(item.GetOccurredMs()) {
		return 0, HowAbsurd
	}
	return ageOf(sent - item.GetOccurredMs()), how
}

// plausible excludes what would overflow, not what is wrong: 0 to the year 9999.
func plausible(ms int64) bool { return ms >= 0 && ms < 253402300800000 }

// ageOf is ms as a duration, held where a duration ends.
func ageOf(ms int64) time.Duration {
	const most = int64(1 << 62 / time.Millisecond)
	return time.Duration(min(max(ms, -most), most)) * time.Millisecond
}
