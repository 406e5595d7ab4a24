package people

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// names are the texts by which a person is found in documents that are kept by
// something else: lists of what went wrong, or is on its way.
//
// An identifier's value is the retailer's choice: it may be "1" or "web", and as a mere
// word that stands in everybody's documents. Only a value that can hardly be anything
// else is looked for wherever it stands; any other where it is said whose it is: behind
// its kind ("user_id:1"), or as the member of a call that names somebody.
type names struct {
	words  [][]byte       // whole words
	folded [][]byte       // likewise, in lower case: e-mail addresses
	member *regexp.Regexp // nil: no value is so short
}

// members of calls and uploads that name somebody.
const members = `user_?id|previous_?id|anonymous_?id|email|loyalty(_?number)?`

func namesOf(s *Subject) *names {
	n := &names{}
	var short []string
	for _, id := range append(s.Profiles(), s.Installs...) {
		n.add(id)
	}
	for _, id := range s.Identifiers {
		n.add(id)
		kind, value, _ := strings.Cut(id, ":")
		switch {
		case value == "":
		case kind == engage.IDEmail || telling(value):
			n.add(value)
		default:
			for _, text := range written(value) {
				short = append(short, regexp.QuoteMeta(text))
			}
		}
	}
	if len(short) > 0 {
		n.member = regexp.MustCompile(`"(?i:` + members + `)"\s*:\s*(?:"\s*(?:` + strings.Join(short, "|") + `)\s*"|(?:` + strings.Join(short, "|") + `)[\s,}])`)
	}
	return n
}

// telling reports whether a value is hardly anything but an identifier: not a word, and
// not a number or a code that stands elsewhere, too.
func telling(value string) bool {
	word := func(r rune) bool { return r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }
	return len(value) >= 8 && strings.ContainsFunc(value, func(r rune) bool { return !word(r) })
}

func (n *names) add(name string) {
	if name == "" {
		return
	}
	for _, text := range written(name) {
		if strings.Contains(name, "@") {
			n.folded = append(n.folded, []byte(strings.ToLower(text)))
		} else {
			n.words = append(n.words, []byte(text))
		}
	}
}

// written are the ways in which a text stands in JSON: as it is, and with what
// encoding/json escapes.
func written(text string) []string {
	b, err := json.Marshal(text)
	if err != nil {
		return []string{text} // it cannot be
	}
	if escaped := string(b[1 : len(b)-1]); escaped != text {
		return []string{text, escaped}
	}
	return []string{text}
}

// in reports whether a body has one of the names. Quarantined records are bytes in
// base64 within JSON, which are looked through, too.
func (n *names) in(body []byte) bool {
	if n.standIn(body) {
		return true
	}
	var x struct {
		Key    string `json:"key"`
		Record []byte `json:"record"`
	}
	return json.Unmarshal(body, &x) == nil && (n.standIn([]byte(x.Key)) || n.standIn(x.Record))
}

func (n *names) standIn(text []byte) bool {
	has := func(in []byte) func([]byte) bool {
		return func(name []byte) bool { return wordIn(in, name) }
	}
	return slices.ContainsFunc(n.words, has(text)) ||
		len(n.folded) > 0 && slices.ContainsFunc(n.folded, has(bytes.ToLower(text))) ||
		n.member != nil && n.member.Match(text)
}

// wordIn reports whether a text has a name as a whole word: not "ada" of "adam".
func wordIn(text, name []byte) bool {
	for from := 0; ; from++ {
		i := bytes.Index(text[from:], name)
		if i < 0 {
			return false
		}
		from += i
		end := from + len(name)
		if (from == 0 || !wordByte(text[from-1])) && (end == len(text) || !wordByte(text[end])) {
			return true
		}
	}
}

func wordByte(b byte) bool {
	return b >= 0x80 || b == '_' || b == '-' || '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}
