package deliver

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/footfall-engage/footfall/server/engage"
)

// This file reads and writes the record of a delivery, whose JSON encoding/json defines
// (record.go), at a fraction of its cost, which was a third of what a push cost. What it
// does not know it leaves to encoding/json as a whole; tests hold the two against each
// other.

// wire is the send of a delivery as it stood in the record that was read. Nothing of a
// send changes but that devices and data are dropped, so it is written as it was read,
// which also keeps what a newer build has added to it.
type wire struct {
	send       string
	data       [2]int // where its member "data" is, with the comma before it
	devices    [2]int // where the value of "devices" is
	hasDevices bool
}

// reader reads JSON as encoding/json has written it: compact, members in the order of the
// struct. bad says that there is something else.
type reader struct {
	s   string
	i   int
	bad bool
}

// decode reads a record; false leaves it to encoding/json.
func (d *delivery) decode(body []byte) bool {
	if !utf8.Valid(body) {
		return false
	}
	r := reader{s: string(body)}
	r.open()
	r.number("v", &d.V)
	r.text("lane", &d.Lane)
	r.int64("due_us", &d.DueUS)
	text(&r, "state", &d.State)
	if r.key("send") {
		r.send(&d.Send, &d.wire)
	}
	if r.key("attempts") {
		r.array(func() {
			d.Attempts = append(d.Attempts, attempt{})
			r.attempt(&d.Attempts[len(d.Attempts)-1])
		})
	}
	r.number("made", &d.Made)
	r.number("failed", &d.Failed)
	r.other("outcome", &d.Outcome)
	r.boolean("told", &d.Told)
	r.boolean("displayed", &d.Displayed)
	r.time("updated_at", &d.UpdatedAt)
	r.close()
	return !r.bad && r.i == len(r.s)
}

func (r *reader) send(s *engage.Send, w *wire) {
	from := r.i
	r.open()
	r.text("delivery", &s.Delivery)
	r.text("workspace", &s.Workspace)
	r.text("campaign", &s.Campaign)
	r.text("arm", &s.Arm)
	r.text("profile", &s.Profile)
	text(r, "class", &s.Class)
	r.text("title", &s.Title)
	r.text("body", &s.Body)
	r.text("deep_link", &s.DeepLink)
	r.text("image_url", &s.ImageURL)
	w.data[0] = r.i - from
	if r.key("data") {
		s.Data = map[string]string{}
		r.open()
		for !r.bad && r.i < len(r.s) && r.s[r.i] != '}' {
			if r.s[r.i-1] != '{' {
				r.token(',')
			}
			k := r.quoted()
			r.token(':')
			s.Data[k] = r.quoted()
		}
		r.close()
	}
	w.data[1] = r.i - from
	r.other("actions", &s.Actions)
	r.other("push", &s.Push)
	r.other("in_app", &s.InApp)
	r.other("inbox", &s.Inbox)
	if r.key("channels") && !r.null() {
		s.Channels = []engage.Channel{}
		r.array(func() { s.Channels = append(s.Channels, engage.Channel(r.quoted())) })
	}
	if r.key("devices") && !r.null() {
		w.devices[0] = r.i - from
		s.Devices = []engage.Device{}
		r.array(func() {
			s.Devices = append(s.Devices, engage.Device{})
			r.device(&s.Devices[len(s.Devices)-1])
		})
		w.devices[1], w.hasDevices = r.i-from, true
	}
	r.time("decided_at", &s.DecidedAt)
	r.time("expires_at", &s.ExpiresAt)
	r.boolean("retry_ambiguous", &s.RetryAmbiguous)
	r.boolean("bulk", &s.Bulk)
	r.close()
	if !r.bad {
		w.send = r.s[from:r.i]
	}
}

func (r *reader) device(d *engage.Device) {
	r.open()
	r.text("install", &d.Install)
	r.text("app", &d.App)
	r.text("platform", &d.Platform)
	r.text("os_version", &d.OSVersion)
	r.text("app_version", &d.AppVersion)
	r.text("time_zone", &d.TimeZone)
	r.text("locale", &d.Locale)
	r.text("location_permission", &d.Location)
	r.text("precision_permission", &d.Precision)
	r.text("notification_permission", &d.Notifications)
	r.text("bluetooth", &d.Bluetooth)
	r.text("background_refresh", &d.Background)
	r.text("battery_optimised", &d.Battery)
	if r.key("push") {
		d.Push = &engage.PushTarget{}
		r.target(d.Push)
	}
	r.other("spare_push", &d.Spare)
	r.text("lifecycle", &d.Lifecycle)
	r.time("seen_at", &d.SeenAt)
	r.close()
}

func (r *reader) target(p *engage.PushTarget) {
	r.open()
	r.text("provider", &p.Provider)
	text(r, "token", &p.Token)
	r.text("environment", &p.Environment)
	r.boolean("environment_found", &p.Found)
	r.text("topic", &p.Topic)
	r.text("dead", &p.Dead)
	r.time("at", &p.At)
	r.boolean("imported", &p.Imported)
	r.close()
}

func (r *reader) attempt(a *attempt) {
	r.open()
	r.text("id", &a.ID)
	r.text("install", &a.Install)
	text(r, "provider", &a.Provider)
	r.text("credential", &a.Credential)
	r.text("platform", &a.Platform)
	r.number("number", &a.Number)
	r.time("at", &a.At)
	r.other("answer", &a.Answer)
	r.close()
}

func (r *reader) token(c byte) {
	if r.bad || r.i >= len(r.s) || r.s[r.i] != c {
		r.bad = true
		return
	}
	r.i++
}

func (r *reader) open()  { r.token('{') }
func (r *reader) close() { r.token('}') }

// key reports whether the next member has the name, and goes on to its value.
func (r *reader) key(name string) bool {
	i := r.i
	if r.bad || i == 0 || i >= len(r.s) {
		return false
	}
	if r.s[i] == ',' && r.s[i-1] != '{' {
		i++
	} else if r.s[i-1] != '{' {
		return false
	}
	end := i + len(name) + 3
	if end > len(r.s) || r.s[i] != '"' || r.s[end-2] != '"' || r.s[end-1] != ':' || r.s[i+1:end-2] != name {
		return false
	}
	r.i = end
	return true
}

// null reports whether the value is null, and goes on behind it.
func (r *reader) null() bool {
	if !strings.HasPrefix(r.s[r.i:], "null") {
		return false
	}
	r.i += len("null")
	return true
}

// quoted is a string.
func (r *reader) quoted() string {
	from := r.i
	r.token('"')
	if r.bad {
		return ""
	}
	n := strings.IndexByte(r.s[r.i:], '"')
	if n < 0 {
		r.bad = true
		return ""
	}
	out := r.s[r.i : r.i+n]
	escaped := false
	for i := range len(out) {
		if out[i] < ' ' {
			r.bad = true
			return ""
		}
		escaped = escaped || out[i] == '\\'
	}
	if !escaped {
		r.i += n + 1
		return out
	}
	r.i = from
	r.into(&out)
	return out
}

func (r *reader) text(name string, to *string) { text(r, name, to) }

func text[T ~string](r *reader, name string, to *T) {
	if r.key(name) {
		*to = T(r.quoted())
	}
}

func (r *reader) int64(name string, to *int64) {
	if !r.key(name) {
		return
	}
	from := r.i
	for r.i < len(r.s) && (r.s[r.i] >= '0' && r.s[r.i] <= '9' || r.s[r.i] == '-' && r.i == from) {
		r.i++
	}
	n, err := strconv.ParseInt(r.s[from:r.i], 10, 64)
	digits := strings.TrimPrefix(r.s[from:r.i], "-")
	if err != nil || len(digits) > 1 && digits[0] == '0' {
		r.bad = true
	}
	*to = n
}

func (r *reader) number(name string, to *int) {
	var n int64
	r.int64(name, &n)
	if n != 0 {
		*to = int(n)
	}
}

func (r *reader) boolean(name string, to *bool) {
	if !r.key(name) {
		return
	}
	switch rest := r.s[r.i:]; {
	case strings.HasPrefix(rest, "true"):
		*to = true
		r.i += 4
	case strings.HasPrefix(rest, "false"):
		*to = false
		r.i += 5
	default:
		r.bad = true
	}
}

func (r *reader) time(name string, to *time.Time) {
	if !r.key(name) {
		return
	}
	if s := r.quoted(); !r.bad && to.UnmarshalText([]byte(s)) != nil {
		r.bad = true
	}
}

func (r *reader) array(each func()) {
	r.token('[')
	for first := true; !r.bad && r.i < len(r.s) && r.s[r.i] != ']'; first = false {
		if !first {
			r.token(',')
		}
		each()
	}
	r.token(']')
}

// other leaves a member to encoding/json.
func (r *reader) other(name string, to any) {
	if r.key(name) {
		r.into(to)
	}
}

// into has encoding/json read the value that is next: an object, an array or a string.
func (r *reader) into(to any) {
	from, depth, inside := r.i, 0, false
	for ; r.i < len(r.s); r.i++ {
		switch c := r.s[r.i]; {
		case inside && c == '\\':
			r.i++
			continue
		case c == '"':
			inside = !inside
		case inside:
			continue
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
		if depth == 0 && !inside {
			break
		}
	}
	if r.i >= len(r.s) {
		r.bad = true
		return
	}
	r.i++
	if json.Unmarshal([]byte(r.s[from:r.i]), to) != nil {
		r.bad = true
	}
}

// encode is the record of a delivery that was read by decode; nil leaves it to
// encoding/json.
func (d *delivery) encode() []byte {
	w := &d.wire
	if w.send == "" || d.Offer != nil || len(d.Gone) > 0 || len(d.Legs) > 0 || d.Claimed != "" || !d.BoxedUntil.IsZero() || d.Boxed || d.Dismissed {
		return nil
	}
	for _, t := range d.times() {
		if y := t.Year(); y < 0 || y > 9999 {
			return nil // which encoding/json refuses
		}
	}
	b := make([]byte, 0, len(w.send)+640)
	b = append(b, `{"v":`...)
	b = strconv.AppendInt(b, int64(d.V), 10)
	if d.Lane != "" {
		b = quote(append(b, `,"lane":`...), d.Lane)
	}
	if d.DueUS != 0 {
		b = strconv.AppendInt(append(b, `,"due_us":`...), d.DueUS, 10)
	}
	b = quote(append(b, `,"state":`...), d.State)
	b = append(b, `,"send":`...)
	from := 0
	if len(d.Send.Data) == 0 {
		b = append(b, w.send[:w.data[0]]...)
		from = w.data[1]
	}
	if w.hasDevices && d.Send.Devices == nil {
		b = append(b, w.send[from:w.devices[0]]...)
		b = append(b, "null"...)
		from = w.devices[1]
	}
	b = append(b, w.send[from:]...)
	for i := range d.Attempts {
		if i == 0 {
			b = append(b, `,"attempts":[`...)
		} else {
			b = append(b, ',')
		}
		b = d.Attempts[i].encode(b)
	}
	if len(d.Attempts) > 0 {
		b = append(b, ']')
	}
	b = count(b, `,"made":`, d.Made)
	b = count(b, `,"failed":`, d.Failed)
	if o := d.Outcome; o != nil {
		b = quote(append(b, `,"outcome":{"delivery":`...), o.Delivery)
		b = quote(append(b, `,"state":`...), o.State)
		b = quote(append(b, `,"channel":`...), o.Channel)
		b = some(b, `,"install":`, o.Install)
		b = some(b, `,"reason":`, string(o.Reason))
		b = some(b, `,"detail":`, o.Detail)
		b = strconv.AppendInt(append(b, `,"attempts":`...), int64(o.Attempts), 10)
		b = append(b, '}')
	}
	b = yes(b, `,"told":true`, d.Told)
	b = yes(b, `,"displayed":true`, d.Displayed)
	b = stamp(append(b, `,"updated_at":`...), d.UpdatedAt)
	return append(b, '}')
}

// times are those that encode writes.
func (d *delivery) times() []time.Time {
	out := make([]time.Time, 0, 4)
	for i := range d.Attempts {
		out = append(out, d.Attempts[i].At)
	}
	return append(out, d.UpdatedAt)
}

func (a *attempt) encode(b []byte) []byte {
	b = quote(append(b, `{"id":`...), a.ID)
	b = quote(append(b, `,"install":`...), a.Install)
	b = quote(append(b, `,"provider":`...), a.Provider)
	b = quote(append(b, `,"credential":`...), a.Credential)
	if a.Platform != "" {
		b = quote(append(b, `,"platform":`...), a.Platform)
	}
	b = strconv.AppendInt(append(b, `,"number":`...), int64(a.Number), 10)
	b = stamp(append(b, `,"at":`...), a.At)
	if x := a.Answer; x != nil {
		b = append(b, `,"answer":{`...)
		n := len(b)
		b = some(b, `,"kind":`, string(x.Kind))
		b = some(b, `,"reason":`, x.Reason)
		b = count(b, `,"status":`, x.Status)
		b = some(b, `,"provider_id":`, x.ProviderID)
		b = yes(b, `,"ambiguous":true`, x.Ambiguous)
		if len(b) > n { // without the first comma
			b = append(b[:n], b[n+1:]...)
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

// encode is the leaf as encoding/json would have it.
func (l *leafRecord) encode() []byte {
	b := make([]byte, 0, 192+192*len(l.Flights)+96*len(l.Tells))
	b = strconv.AppendInt(append(b, `{"v":`...), int64(l.V), 10)
	b = quote(append(b, `,"lane":`...), l.Lane)
	b = strconv.AppendInt(append(b, `,"due_us":`...), l.DueUS, 10)
	b = some(b, `,"provider":`, string(l.Provider))
	b = some(b, `,"credential":`, l.Credential)
	note := func(i int, list, workspace, delivery string, version int64) {
		if i == 0 {
			b = append(b, list...)
		} else {
			b = append(b, ',')
		}
		b = quote(append(b, `{"w":`...), workspace)
		b = quote(append(b, `,"d":`...), delivery)
		b = strconv.AppendInt(append(b, `,"v":`...), version, 10)
	}
	for i := range l.Flights {
		x := &l.Flights[i]
		note(i, `,"flights":[`, x.Workspace, x.Delivery, x.Version)
		b = quote(append(b, `,"i":`...), x.Install)
		b = some(b, `,"p":`, x.Platform)
		b = strconv.AppendInt(append(b, `,"n":`...), int64(x.Number), 10)
		b = append(b, '}')
	}
	if len(l.Flights) > 0 {
		b = append(b, ']')
	}
	for i := range l.Tells {
		x := &l.Tells[i]
		note(i, `,"tells":[`, x.Workspace, x.Delivery, x.Version)
		b = append(b, '}')
	}
	if len(l.Tells) > 0 {
		b = append(b, ']')
	}
	return append(b, '}')
}

// count adds a number unless it is 0, some a string unless it is empty, yes a member if
// it is true.
func count(b []byte, name string, n int) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(append(b, name...), int64(n), 10)
}

func some(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	return quote(append(b, name...), s)
}

func yes(b []byte, member string, is bool) []byte {
	if !is {
		return b
	}
	return append(b, member...)
}

func stamp(b []byte, t time.Time) []byte {
	return append(t.AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
}

// quote adds a string. One that needs more than quotes is left to encoding/json.
func quote[T ~string](b []byte, s T) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c == 0x7f {
			q, err := json.Marshal(string(s))
			if err != nil { // a string can always be marshalled
				return b
			}
			return append(b, q...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
