package collect

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

const (
	// maxTraits is how many attributes one call may set.
	maxTraits = 200
	// maxAttribute is how many bytes a profile takes of one (profile.MaxAttribute).
	maxAttribute = 1024
)

// drop is a call, or a part of one, that has no effect.
type drop struct {
	call    *call // nil: not one call
	message string
	err     error
}

// said is what a call becomes.
type said struct {
	touches  []*engage.Touch // none: it was dropped. Of one call two only for an alias
	occurred time.Time
	how      string // of its time
	drops    []drop
}

// understand makes touches of a call. Where a part cannot be, the rest counts; where the
// person or what happened cannot be known, nothing does.
func (c *Collector) understand(k *Key, cl *call, received time.Time, makeID func() string) said {
	cl.context.own = objectOf(cl.fields["context"])
	var out said
	id, err := cl.text("messageId")
	switch {
	case err != nil || id == "":
		id = makeID()
	case len(id) > maxMessage || clip(id, maxMessage) != id:
		sum := sha256.Sum256([]byte(id))
		id = "h-" + hex.EncodeToString(sum[:16])
	}
	leave := func(err error) {
		if err != nil {
			out.drops = append(out.drops, drop{cl, id, err})
		}
	}
	nothing := func(err error) said {
		leave(err)
		out.touches = nil
		return out
	}
	if k.Revoked {
		return nothing(engage.Errorf(engage.Unauthorized, "writeKey", "is revoked"))
	}
	library, full := cl.library()
	t := &engage.Touch{
		V: 1, ID: id, Trusted: k.Trusted, Quiet: cl.quiet,
		From: engage.TouchSource{Kind: k.Source, Key: k.ID, Name: full},
	}
	original, sent := cl.times(leave)
	out.occurred, out.how = happened(received, sent, original, library, cl.quiet)

	if err := cl.who(t, leave); err != nil {
		return nothing(err)
	}
	t.Device = cl.device()
	out.touches = []*engage.Touch{t}
	switch cl.typ {
	case "identify":
		t.Traits = traitsOf(cl.fields["traits"], k.IsTime, leave)
	case "alias":
		more, err := cl.alias(t)
		if err != nil {
			return nothing(err)
		}
		out.touches = append(out.touches, more...)
	default:
		if err := cl.event(t); err != nil {
			return nothing(err)
		}
		if cl.typ == "track" {
			t.Order = c.order(k.Workspace, cl, leave)
		}
	}
	if c.leftAlone(k.Workspace, out.touches) {
		return nothing(engage.Errorf(engage.Forbidden, "", "somebody whom it names is on the suppression list"))
	}
	return out
}

// leftAlone reports whether touches name somebody who wants to be left alone.
func (c *Collector) leftAlone(workspace string, touches []*engage.Touch) bool {
	if c.o.Suppressed == nil {
		return false
	}
	for _, t := range touches {
		for _, id := range append([]string{t.Claimed, t.Alias}, t.Identifiers...) {
			if id != "" && c.o.Suppressed.Suppressed(workspace, id) {
				return true
			}
		}
	}
	return false
}

// times are when the call happened and when it was sent, as the sender has it.
func (c *call) times(leave func(error)) (original, sent time.Time) {
	field, raw := c.fields.first("originalTimestamp", "timestamp")
	original, err := timeOf(raw, field)
	leave(err)
	raw = c.fields["sentAt"]
	if len(raw) == 0 {
		raw = c.sentAt
	}
	sent, err = timeOf(raw, "sentAt")
	leave(err)
	return original, sent
}

// who fills in the identifiers: the ones that stand for a person most come first.
func (c *call) who(t *engage.Touch, leave func(error)) error {
	anonymous, err := identifierOf(c.fields["anonymousId"], "anonymousId", engage.IDAnonymous)
	if err != nil {
		leave(err)
	}
	user, err := identifierOf(c.fields["userId"], "userId", engage.IDUser)
	if err != nil {
		leave(err)
	}
	if !t.Trusted {
		if anonymous == "" && user == "" {
			return engage.Errorf(engage.Invalid, "anonymousId", "is required")
		}
		if anonymous == "" {
			return engage.Errorf(engage.IdentityInvalid, "userId", "a public write key proves nobody's identity: an anonymousId is required, or a server's key")
		}
		t.Identifiers, t.Claimed = []string{anonymous}, user
		return nil
	}
	ids := []string{user}
	for _, source := range []struct {
		at     string
		traits object
	}{{"traits.", c.traits()}, {"context.traits.", c.context.object("traits")}} {
		for _, kind := range []struct {
			kind  string
			names []string
		}{{engage.IDLoyalty, []string{"loyalty_number", "loyaltyNumber", "loyalty"}}, {engage.IDEmail, []string{"email"}}} {
			name, raw := source.traits.first(kind.names...)
			id, err := identifierOf(raw, source.at+name, kind.kind)
			leave(err)
			ids = append(ids, id)
		}
	}
	// An address that a family shares may be another person's too; a card is one's own.
	slices.SortStableFunc(ids[1:], func(a, b string) int { return rank(a) - rank(b) })
	for _, id := range append(ids, anonymous) {
		if id != "" && !slices.Contains(t.Identifiers, id) {
			t.Identifiers = append(t.Identifiers, id)
		}
	}
	if len(t.Identifiers) == 0 {
		return engage.Errorf(engage.Invalid, "userId", "userId or anonymousId is required")
	}
	return nil
}

func rank(identifier string) int {
	if strings.HasPrefix(identifier, engage.IDEmail+":") {
		return 1
	}
	return 0
}

// traits are the person's that the call itself has; those of a group are not.
func (c *call) traits() object {
	if c.typ == "group" {
		return object{}
	}
	return objectOf(c.fields["traits"])
}

// device is what the context says of where the person is; nil when it says nothing.
func (c *call) device() *engage.TouchDevice {
	d := engage.TouchDevice{
		Locale: clip(hint(c.context.member("locale")), 40), TimeZone: clip(hint(c.context.member("timezone")), 64),
		AppVersion: clip(hint(c.context.object("app")["version"]), 100),
	}
	if d == (engage.TouchDevice{}) {
		return nil
	}
	return &d
}

// event fills in what a person did.
func (c *call) event(t *engage.Touch) error {
	field, member, otherwise := "event", "properties", ""
	switch c.typ {
	case "page":
		field, otherwise = "name", "Page"
	case "screen":
		field, otherwise = "name", "Screen"
	case "group":
		field, member = "groupId", "traits"
	}
	name, err := c.text(field)
	switch {
	case err != nil:
		return err
	case name == "" && otherwise == "":
		return engage.Errorf(engage.Invalid, field, "is required")
	case name == "":
		name = otherwise
	case len(name) > maxName || clip(name, maxName) != name:
		return engage.Errorf(engage.Invalid, field, "must have 1 to %d bytes and no control characters", maxName)
	}
	properties, err := propertiesOf(c.fields[member], member)
	if err != nil {
		return err
	}
	if category, _ := c.text("category"); category != "" && (c.typ == "page" || c.typ == "screen") && properties["category"] == nil {
		if properties == nil {
			properties = map[string]any{}
		}
		properties["category"] = clip(category, maxName)
	}
	t.Event = &engage.TouchEvent{Type: c.typ, Name: name, Properties: properties}
	return nil
}

// uuid is how libraries write the anonymous ids that they make up.
var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// alias fills in who else the person is. Where that can be two identifiers, the second
// has a touch of its own.
func (c *call) alias(t *engage.Touch) ([]*engage.Touch, error) {
	if !t.Trusted {
		return nil, engage.Errorf(engage.IdentityInvalid, "previousId", "a public write key cannot make two persons one")
	}
	user, _ := identifierOf(c.fields["userId"], "userId", engage.IDUser)
	if user == "" {
		return nil, engage.Errorf(engage.Invalid, "userId", "is required")
	}
	before, err := identifierOf(c.fields["previousId"], "previousId", engage.IDUser)
	if err != nil {
		return nil, err
	}
	anonymous, err := identifierOf(c.fields["previousId"], "previousId", engage.IDAnonymous)
	switch {
	case err != nil:
		return nil, err
	case before == "":
		return nil, engage.Errorf(engage.Invalid, "previousId", "is required")
	case before == user:
		return nil, engage.Errorf(engage.Invalid, "previousId", "is the userId itself")
	}
	_, value, _ := strings.Cut(before, ":")
	switch {
	case slices.Contains(t.Identifiers, anonymous):
		t.Alias = anonymous
	case uuid.MatchString(value):
		t.Alias = before
		too := *t
		too.ID, too.Alias, too.Device = t.ID+"/2", anonymous, nil
		return []*engage.Touch{&too}, nil
	default:
		t.Alias = before
	}
	return nil, nil
}

// traitsOf are traits as attributes; nil when there are none. What no attribute can be is
// left out alone.
func traitsOf(raw json.RawMessage, isTime func(attribute string) bool, leave func(error)) map[string]any {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	in, err := parseObject(raw)
	if err != nil {
		leave(engage.Errorf(engage.Invalid, "traits", "must be an object"))
		return nil
	}
	out := map[string]any{}
	left := 0
	var walk func(prefix string, in object, depth int)
	walk = func(prefix string, in object, depth int) {
		for _, key := range slices.Sorted(maps.Keys(in)) {
			name := prefix + key
			v, inner, err := attribute(name, in[key])
			if inner != nil && depth < maxDepth {
				walk(name+"_", inner, depth+1)
				continue
			}
			if _, twice := out[name]; err == nil && twice {
				err = engage.Errorf(engage.Conflict, "", "another trait has this name too")
			}
			if err == nil && len(out) >= maxTraits {
				err = engage.Errorf(engage.TooLarge, "", "a call sets at most %d attributes", maxTraits)
			}
			if err == nil {
				if isTime != nil && dateOnly(v) && isTime(name) {
					v = v.(string) + "T00:00:00Z" // as an upload's dates
				}
				out[name] = v
			} else if left++; left <= 10 { // of a call that says nonsense a few lines are enough
				leave(engage.At("traits."+clip(name, 60), err))
			}
		}
	}
	walk("", in, 1)
	if left > 10 {
		leave(engage.Errorf(engage.Invalid, "traits", "%d more attributes were left out", left-10))
	}
	return out
}

// dateOnly reports whether a value is a day, 2026-01-31.
func dateOnly(v any) bool {
	text, is := v.(string)
	if !is || len(text) != len(time.DateOnly) {
		return false
	}
	_, err := time.Parse(time.DateOnly, text)
	return err == nil
}

// attribute is what a trait becomes: a value, nil to forget; or the object that it is.
func attribute(name string, raw json.RawMessage) (value any, inner object, err error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) > 0 && raw[0] == '{' {
		if inner, err := parseObject(raw); err == nil {
			return nil, inner, engage.Errorf(engage.TooLarge, "", "is nested deeper than %d", maxDepth)
		}
	}
	if !engage.ValidID(name) || strings.Contains(name, ".") {
		return nil, nil, engage.Errorf(engage.Invalid, "", "an attribute's name has 1 to 100 of a-z, A-Z, 0-9, '_', '-'")
	}
	if n := len(name) + len(raw); n > maxAttribute {
		return nil, nil, engage.Errorf(engage.TooLarge, "", "an attribute has at most %d bytes, name included, this one %d", maxAttribute, n)
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		return nil, nil, engage.Errorf(engage.Invalid, "", "is a number that is too large")
	}
	if list, ok := value.([]any); ok {
		for i, x := range list {
			if _, text := x.(string); !text {
				return nil, nil, engage.Errorf(engage.Invalid, fmt.Sprintf("[%d]", i), "a list has texts only")
			}
		}
	}
	return value, nil, nil
}
