package apns

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/footfall-engage/footfall/channels"
)

// encodeAlert is the payload of a shown message that has nothing rare (no buttons, no
// relevance, not critical): byte for byte what apns2's types give (a test holds the two
// against each other), at a tenth of their cost, since those go by way of two maps and
// are compacted twice. ok is false for all else.
func encodeAlert(m *channels.Message) (b []byte, ok bool) {
	a := &m.Apple
	if len(m.Actions) > 0 || a.Relevance != 0 || a.Interruption == critical {
		return nil, false
	}
	w := writer{make([]byte, 0, 512)}
	custom := w.custom(m)
	i := 0
	w.b = append(w.b, '{')
	for ; i < len(custom) && custom[i].key < "aps"; i++ {
		w.str(custom[i].key, custom[i].value)
	}
	w.open("aps")
	if m.Title != "" || m.Subtitle != "" || m.Body != "" {
		w.open("alert")
		w.some("body", m.Body)
		w.some("title", m.Title)
		w.some("subtitle", m.Subtitle)
		w.close()
	}
	if m.Badge != nil {
		w.number("badge", *m.Badge)
	}
	w.some("category", a.Category)
	w.some("interruption-level", a.Interruption)
	if a.MutableContent || m.ImageURL != "" {
		w.number("mutable-content", 1)
	}
	w.some("sound", m.Sound)
	w.some("thread-id", a.ThreadID)
	w.close()
	for ; i < len(custom); i++ {
		w.str(custom[i].key, custom[i].value)
	}
	w.close()
	return w.b, true
}

type member struct{ key, value string }

// writer writes JSON as encoding/json does, but for its escaping of <, > and &.
type writer struct{ b []byte }

// custom are the members beside "aps", in their order.
func (w *writer) custom(m *channels.Message) []member {
	out := make([]member, 0, len(m.Data)+4)
	for _, x := range [...]member{{keyDeepLink, m.DeepLink}, {keyCampaignID, m.CampaignID}, {keyMessageID, m.DeliveryID}, {keyImageURL, m.ImageURL}} {
		if x.value != "" {
			out = append(out, x)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(m.Data)) {
		out = append(out, member{k, m.Data[k]})
	}
	slices.SortFunc(out, func(x, y member) int {
		if x.key < y.key {
			return -1
		}
		return 1
	})
	return out
}

func (w *writer) key(k string) {
	if w.b[len(w.b)-1] != '{' {
		w.b = append(w.b, ',')
	}
	w.quote(k)
	w.b = append(w.b, ':')
}

func (w *writer) open(k string) { w.key(k); w.b = append(w.b, '{') }
func (w *writer) close()        { w.b = append(w.b, '}') }

func (w *writer) str(k, v string) { w.key(k); w.quote(v) }

// some is str unless the value is empty.
func (w *writer) some(k, v string) {
	if v != "" {
		w.str(k, v)
	}
}

func (w *writer) number(k string, v int) {
	w.key(k)
	w.b = strconv.AppendInt(w.b, int64(v), 10)
}

// quote writes a string. One that needs more than quotes is left to encoding/json.
func (w *writer) quote(s string) {
	if !plainString(s) {
		if b, err := json.Marshal(s); err == nil { // a string can always be marshalled
			w.b = append(w.b, plain(b)...)
		}
		return
	}
	w.b = append(w.b, '"')
	w.b = append(w.b, s...)
	w.b = append(w.b, '"')
}

func plainString(s string) bool {
	ascii := true
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c == '"', c == '\\', c == 0x7f:
			return false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	if ascii {
		return true
	}
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || r == '\u2028' || r == '\u2029' {
			return false
		}
		i += n
	}
	return true
}
