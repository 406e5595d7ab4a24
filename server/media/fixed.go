package media

import (
	"time"

	"github.com/footfall-engage/footfall/server/template"
)

// Fixed is the address that an image's template makes if it is the same for everybody,
// else empty.
func Fixed(source string) string {
	t, err := template.Parse(source)
	if err != nil || !t.Constant() {
		return ""
	}
	address, err := t.Render(nil, time.Time{})
	if err != nil {
		return ""
	}
	return address
}
