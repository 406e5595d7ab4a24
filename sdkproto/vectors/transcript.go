// Package vectors reads the golden transcripts, for the tests that run them: against
// the gateway, with the test as the phone, and against a client, with the test as
// the server. README.md has their format. It is test support; no binary needs it.
package vectors

import (
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

//go:embed transcripts/*.json
var files embed.FS

// Transcript is one file of transcripts/.
type Transcript struct {
	File  string         `json:"-"` // its name without ".json"
	Name  string         `json:"name"`
	About string         `json:"about"`
	Only  string         `json:"only"` // "client", "server": nobody else can run it; empty: both
	Given Given          `json:"given"`
	Vars  map[string]any `json:"vars"` // what a sender says for a variable that is not bound
	Steps []Step         `json:"steps"`
}

// Given is what is so before the first step.
type Given struct {
	Registered any      `json:"registered"` // true: the phone has a token; "elsewhere": one that is not valid
	Caps       []string `json:"caps"`
	Consents   *bool    `json:"consents"` // absent: all are granted
	Credit     int      `json:"credit"`   // 0: the default
}

// Step is one step; exactly one of the first group is set.
type Step struct {
	App          json.RawMessage `json:"app"`
	Server       json.RawMessage `json:"server"`
	Open         bool            `json:"open"`
	Cut          bool            `json:"cut"`
	Up           map[string]any  `json:"up"`
	Down         map[string]any  `json:"down"`
	Close        *Close          `json:"close"`
	Request      *Request        `json:"request"`
	Answer       json.RawMessage `json:"answer"` // Answer, or "lost"
	QuietMS      int             `json:"quiet_ms"`
	Unordered    []Step          `json:"unordered"`
	Expect       *Expect         `json:"expect"`
	ExpectServer *ExpectServer   `json:"expect_server"`

	Lost bool   `json:"lost"` // of Down: it is sent and does not arrive
	Only string `json:"only"`
	Conn int    `json:"conn"` // 0 and 1 are the same
	Note string `json:"note"`
}

// Close of a socket.
type Close struct {
	By   string `json:"by"` // "phone", "server", "either"
	Code int    `json:"code"`
}

// Request of the phone.
type Request struct {
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Headers map[string]string `json:"headers"`
	Body    map[string]any    `json:"body"`
}

// Answer to it.
type Answer struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Body    map[string]any    `json:"body"` // absent: none, as of a proxy
}

// Expect is the state of the phone; what is absent is not looked at.
type Expect struct {
	Pending  *int      `json:"pending"`
	Token    *string   `json:"token"`
	Shown    *[]string `json:"shown"`
	Inbox    *[]string `json:"inbox"`
	Cursor   *string   `json:"cursor"`
	State    *string   `json:"state"`
	Rejected *[]string `json:"rejected"`
	Tracking *string   `json:"tracking"`
}

// ExpectServer is what has reached the server's log.
type ExpectServer struct {
	Items []string `json:"items"` // seqs, in order
}

// Transcripts are all of them, by file name.
func Transcripts() ([]Transcript, error) {
	entries, err := files.ReadDir("transcripts")
	if err != nil {
		return nil, err
	}
	var out []Transcript
	for _, e := range entries {
		b, err := files.ReadFile("transcripts/" + e.Name())
		if err != nil {
			return nil, err
		}
		t := Transcript{File: strings.TrimSuffix(e.Name(), ".json")}
		d := json.NewDecoder(strings.NewReader(string(b)))
		d.DisallowUnknownFields()
		if err := d.Decode(&t); err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		out = append(out, t)
	}
	return out, nil
}

// Script holds the variables of a run.
type Script struct {
	vars, bound map[string]any
	made        int
}

// NewScript begins a run.
func NewScript(t *Transcript) *Script {
	return &Script{vars: t.Vars, bound: map[string]any{}}
}

// Bind sets a variable.
func (s *Script) Bind(name string, v any) { s.bound[name] = v }

// Value is what a sender says for "$name".
func (s *Script) Value(name string) any {
	if v, ok := s.bound[name]; ok {
		return v
	}
	v, ok := s.vars[name]
	if !ok {
		s.made++
		v = strconv.Itoa(s.made)
	}
	s.bound[name] = v
	return v
}

var variable = regexp.MustCompile(`\$[a-z0-9]+`)

// Text is a string with its variables replaced.
func (s *Script) Text(pattern string) string {
	return variable.ReplaceAllStringFunc(pattern, func(v string) string { return fmt.Sprint(s.Value(v[1:])) })
}

// Fill is what a sender says for a pattern: without what is null or "*".
func (s *Script) Fill(pattern any) any {
	switch p := pattern.(type) {
	case string:
		if p == "*" {
			return nil
		}
		if p == variable.FindString(p) && p != "" {
			return s.Value(p[1:])
		}
		return s.Text(p)
	case map[string]any:
		out := map[string]any{}
		for k, v := range p {
			if f := s.Fill(v); f != nil {
				out[k] = f
			}
		}
		return out
	case []any:
		out := make([]any, len(p))
		for i, v := range p {
			out[i] = s.Fill(v)
		}
		return out
	}
	return pattern
}

// Match compares what came, as JSON values, with a pattern, and binds variables if
// all of it fits.
func (s *Script) Match(pattern, actual any) error { return s.try("", pattern, actual) }

func (s *Script) try(path string, pattern, actual any) error {
	before := maps.Clone(s.bound)
	err := s.match(path, pattern, actual)
	if err != nil {
		s.bound = before
	}
	return err
}

// rebinds are where a variable takes a new value each time.
func rebinds(path string) bool { return path == ".id" || path == ".helloOk.session" }

func (s *Script) match(path string, pattern, actual any) error {
	wrong := func() error { return fmt.Errorf("%s is %v, want %v", path, actual, pattern) }
	switch p := pattern.(type) {
	case nil:
		if !empty(actual) {
			return fmt.Errorf("%s is %v, must be absent", path, actual)
		}
	case string:
		switch v := variable.FindString(p); {
		case p == "*":
		case v == p && p != "":
			if _, bound := s.bound[p[1:]]; !bound || rebinds(path) {
				if empty(actual) {
					return fmt.Errorf("%s is absent", path)
				}
				s.bound[p[1:]] = actual
				return nil
			}
			if fmt.Sprint(s.bound[p[1:]]) != fmt.Sprint(actual) {
				return fmt.Errorf("%s is %v, want %s = %v", path, actual, p, s.bound[p[1:]])
			}
		default:
			if a, ok := actual.(string); actual == nil && p != "" || actual != nil && (!ok || a != s.Text(p)) {
				return wrong()
			}
		}
	case map[string]any:
		a, ok := actual.(map[string]any)
		if !ok {
			return wrong()
		}
		for k, v := range p {
			if err := s.match(path+"."+k, v, a[k]); err != nil {
				return err
			}
		}
	case []any:
		return s.matchList(path, p, actual)
	default:
		if !reflect.DeepEqual(pattern, actual) && (actual != nil || !empty(pattern)) {
			return wrong()
		}
	}
	return nil
}

func (s *Script) matchList(path string, p []any, actual any) error {
	a, _ := actual.([]any)
	switch {
	case strings.HasSuffix(path, ".caps"):
		for _, v := range p {
			if !slices.Contains(a, v) {
				return fmt.Errorf("%s lacks %v", path, v)
			}
		}
		return nil
	case strings.HasSuffix(path, "items"):
		for _, item := range p {
			for len(a) > 0 && s.try(path, item, a[0]) != nil && Extra(a[0]) {
				a = a[1:]
			}
			if len(a) == 0 {
				return fmt.Errorf("%s lacks %v", path, item)
			}
			if err := s.match(path, item, a[0]); err != nil {
				return err
			}
			a = a[1:]
		}
		for _, item := range a {
			if !Extra(item) {
				return fmt.Errorf("%s has %v too", path, item)
			}
		}
		return nil
	case len(a) != len(p):
		return fmt.Errorf("%s has %d, want %d: %v", path, len(a), len(p), actual)
	}
	for i := range p {
		if err := s.match(fmt.Sprintf("%s[%d]", path, i), p[i], a[i]); err != nil {
			return err
		}
	}
	return nil
}

// Extra reports whether an item may be sent that the transcript does not describe.
func Extra(item any) bool {
	m, _ := item.(map[string]any)
	for _, kind := range []string{"lifecycle", "permissions", "pushToken"} {
		if m[kind] != nil {
			return true
		}
	}
	r, _ := m["receipt"].(map[string]any)
	return r["state"] == "STATE_DELIVERED"
}

// Ignored reports whether a frame may come wherever it likes.
func Ignored(frame map[string]any) bool {
	for k := range frame {
		switch k {
		case "id", "re", "downAck", "ping", "pong", "regionsAck":
		default:
			return false
		}
	}
	return true
}

// OnlyExtra reports whether a frame is a batch of nothing but extra items.
func OnlyExtra(frame map[string]any) bool {
	b, _ := frame["batch"].(map[string]any)
	items, _ := b["items"].([]any)
	for _, i := range items {
		if !Extra(i) {
			return false
		}
	}
	return b != nil && len(items) > 0
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case float64:
		return v == 0
	case bool:
		return !v
	case []any:
		return len(v) == 0
	case map[string]any:
		return false
	}
	return false
}
