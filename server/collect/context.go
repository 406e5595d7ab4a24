package collect

import "encoding/json"

// surroundings are a call's context: its own members over those that its batch has for all.
type surroundings struct {
	own    object
	shared *shared // nil: the call is no batch's, or the batch has none
}

// shared is a batch's context. It is read once: thousands of calls may share one that is
// nearly as large as a body may be, and a copy each would be many times our memory.
type shared struct {
	fields object
	inner  map[string]object // what surroundings.object is asked for
}

func sharedOf(raw json.RawMessage) *shared {
	fields := objectOf(raw)
	if len(fields) == 0 {
		return nil
	}
	s := &shared{fields: fields, inner: map[string]object{}}
	for _, name := range []string{"library", "traits", "app"} {
		if o := objectOf(fields[name]); o != nil {
			s.inner[name] = o
		}
	}
	return s
}

// member is what stands under a name; nil when nothing does.
func (c *surroundings) member(name string) json.RawMessage {
	if raw, is := c.own[name]; is || c.shared == nil {
		return raw
	}
	return c.shared.fields[name]
}

// object is the object under library, traits or app; nil when there is none.
func (c *surroundings) object(name string) object {
	if raw, is := c.own[name]; is || c.shared == nil {
		return objectOf(raw)
	}
	return c.shared.inner[name]
}
