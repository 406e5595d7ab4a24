package deliver

import (
	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/server/engage"
)

// PushOf is the message that a push of the send to a device is, for those who try it
// without delivering anything. The device has a push target.
func PushOf(s *engage.Send, dev *engage.Device) channels.Message {
	return pushMessage(&delivery{Send: *s}, dev)
}
