package places

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

// value is what a file has in a field.
type value struct {
	text string // the cell, or the JSON of a list or object
	json bool   // text is a list or object
}

// lookup gives the value of a field; false if the file does not have the field.
type lookup func(Field) (value, bool)

// rowReader reads one row. The first that is wrong refuses it.
type rowReader struct {
	part *part
	get  lookup
	in   func(Field) string
}

func (r *rowReader) refuse(err error) {
	if r.part.row.Err != nil || err == nil {
		return
	}
	e, ok := errors.AsType[*engage.Error](engage.FromGeo(err))
	if !ok {
		e = &engage.Error{Code: engage.Invalid, Msg: err.Error()}
	}
	r.part.row.Err = e
}

func (r *rowReader) refusef(f Field, format string, args ...any) {
	r.refuse(engage.Errorf(engage.Invalid, r.in(f), format, args...))
}

func (r *rowReader) warn(field, reason string) {
	r.part.row.Warnings = append(r.part.row.Warnings, Warning{field, reason})
}

// text is a field's value without the spaces around it.
func (r *rowReader) text(f Field) string {
	v, there := r.get(f)
	if !there {
		return ""
	}
	r.part.given[f] = true
	switch {
	case !utf8.ValidString(v.text):
		r.refusef(f, "is not UTF-8: save the file as that")
		return ""
	case v.json:
		r.refusef(f, "must be a text or a number")
		return ""
	}
	return strings.TrimSpace(v.text)
}

// printable is a text with a space in the place of control characters, as tables of
// other programs hold them: tabs, line ends, and what was a dash in another encoding.
func (r *rowReader) printable(f Field, text string) string {
	if strings.IndexFunc(text, unicode.IsControl) < 0 {
		return text
	}
	r.warn(r.in(f), "has control characters: each run of them became a space")
	var out []string
	for piece := range strings.FieldsFuncSeq(text, unicode.IsControl) {
		if piece = strings.TrimSpace(piece); piece != "" {
			out = append(out, piece)
		}
	}
	return strings.Join(out, " ")
}

// set is a field of texts, each once.
func (r *rowReader) set(f Field) []string {
	var out []string
	for _, text := range r.list(f) {
		if text = r.printable(f, text); strings.TrimSpace(text) != "" && !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return out
}

// number is a field's value; NaN where it is empty or none.
func (r *rowReader) number(f Field) float64 {
	text := r.text(f)
	if text == "" {
		return math.NaN()
	}
	if strings.Count(text, ",") == 1 && !strings.Contains(text, ".") {
		text = strings.Replace(text, ",", ".", 1)
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		r.refusef(f, "must be a number, is %q", clip(text))
		return math.NaN()
	}
	return v
}

// list is a field of texts.
func (r *rowReader) list(f Field) []string {
	v, there := r.get(f)
	if !there {
		return nil
	}
	if v.json || strings.HasPrefix(strings.TrimSpace(v.text), "[") {
		var out []string
		r.value(f, &out)
		return out
	}
	var out []string
	for piece := range strings.FieldsFuncSeq(r.text(f), func(c rune) bool { return c == ';' || c == ',' || c == '|' }) {
		if piece = strings.TrimSpace(piece); piece != "" {
			out = append(out, piece)
		}
	}
	return out
}

// value reads a field that is JSON.
func (r *rowReader) value(f Field, into any) {
	v, there := r.get(f)
	if !there {
		return
	}
	r.part.given[f] = true
	r.refuse(engage.At(r.in(f), readJSON([]byte(v.text), into)))
}

// names reads what names the row: the place's id, else otherID, and the geofence's,
// else otherFence, else one after the place and the ring.
func (r *rowReader) names(otherID, otherFence string) {
	p := r.part
	p.fence.Ring = engage.Inside
	if ring := strings.ToLower(r.text(Ring)); ring != "" {
		p.fence.Ring = engage.Ring(ring)
	}
	p.row.Place = r.id(ID, r.text(ID), otherID)
	if p.row.Fence = r.id(Fence, r.text(Fence), otherFence); p.row.Fence == "" && p.row.Place != "" {
		p.row.Fence = p.row.Place + "-" + string(p.fence.Ring)
	}
	p.fence.ID = p.row.Fence
	switch {
	case p.row.Place == "":
		r.refusef(ID, "is missing")
	case p.fence.Ring != engage.Inside && p.fence.Ring != engage.Near:
		r.refusef(Ring, `must be "inside" or "near", is %q`, clip(string(p.fence.Ring)))
	case !engage.ValidID(p.row.Fence):
		r.refusef(Fence, "%q is no id of a geofence: it must have 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'", clip(p.row.Fence))
	}
}

// id is a text, or else other, as an id.
func (r *rowReader) id(f Field, text, other string) string {
	field := r.in(f)
	if text == "" {
		text, field = strings.TrimSpace(other), "id"
	}
	if text == "" || engage.ValidID(text) {
		return text
	}
	clean := cleanID(text)
	if !engage.ValidID(clean) {
		r.refuse(engage.Errorf(engage.Invalid, field, "%q cannot be an id: that has 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'", clip(text)))
		return ""
	}
	if f == ID {
		r.warn(field, strconv.Quote(clip(text))+" became the id "+strconv.Quote(clean))
	}
	return clean
}

// cleanID makes an id of a text, always the same one. What is not ASCII leaves
// nothing that tells two texts apart, so that a hash stands for it.
func cleanID(text string) string {
	ascii := true
	out := strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
			return c
		case c >= utf8.RuneSelf:
			ascii = false
		}
		return '-'
	}, text)
	out = strings.TrimLeft(out, "-._")
	if !ascii {
		sum := sha256.Sum256([]byte(text))
		out = strings.TrimLeft(strings.TrimRight(out, "-")+"-"+hex.EncodeToString(sum[:4]), "-")
	}
	return out
}

// rest reads what both formats have.
func (r *rowReader) rest() {
	p := &r.part.place
	p.Name = r.printable(Name, r.text(Name))
	p.Hours = r.text(Hours)
	p.Tags = r.set(Tags)
	p.Holidays = r.set(Holidays)
	r.zone()
	var at struct{ Lat, Lng *float64 }
	if r.value(Location, &at); at.Lat != nil && at.Lng != nil {
		p.Location = geo.Point{Lat: *at.Lat, Lng: *at.Lng}
	} else if at.Lat != nil || at.Lng != nil {
		r.refusef(Location, "must have lat and lng")
	} else {
		delete(r.part.given, Location) // an empty one is found from the geofences
	}
	r.value(Exceptions, &p.Exceptions)
	r.value(Beacons, &p.Beacons)
	r.value(PlaceRule, &p.Rule)
	r.value(Rule, &r.part.fence.Rule)
	if p.Rule.IsZero() {
		p.Rule = nil
	}
	if r.part.fence.Rule.IsZero() {
		r.part.fence.Rule = nil
	}
	for i := range p.Beacons {
		NormalizeBeacon(&p.Beacons[i])
	}
	if dwell := r.number(DwellS); !math.IsNaN(dwell) {
		if dwell != math.Trunc(dwell) || math.Abs(dwell) > 1e9 {
			r.refusef(DwellS, "must be whole seconds, is %v", dwell)
			return
		}
		r.part.fence.DwellS = int(dwell)
	}
}

// zone reads the time zone: a name, or one among other words.
func (r *rowReader) zone() {
	text := r.text(TimeZone)
	if text == "" {
		return
	}
	for _, word := range append([]string{text}, strings.Fields(text)...) {
		if _, known := engage.Zone(word); known {
			r.part.place.TimeZone = word
			return
		}
	}
	r.warn(r.in(TimeZone), strconv.Quote(clip(text))+" is no IANA time zone: it was found from the position")
}

// shape takes a shape with what was put right in it.
func (r *rowReader) shape(s geo.Shape, err error, field func(string) string) {
	if e, ok := errors.AsType[*geo.Error](err); ok {
		code := engage.Invalid
		if e.Unsupported {
			code = engage.Unsupported
		}
		r.refuse(&engage.Error{Code: code, Field: field(e.Field), Msg: e.Reason})
		return
	}
	if err != nil {
		r.refuse(err)
		return
	}
	r.part.fence.Shape = s
	for _, w := range geo.Warnings(s) {
		r.warn(field(w.Field), w.Reason)
	}
}

// radius is that of the file, else the default for points.
func (r *rowReader) radius(byDefault float64, isPoint bool) *float64 {
	if v := r.number(Radius); !math.IsNaN(v) {
		return &v
	}
	if isPoint && byDefault != 0 {
		return &byDefault
	}
	return nil
}

// isPoint reports whether a geometry says that it is a Point.
func isPoint(geometry json.RawMessage) bool {
	var g struct{ Type string }
	return json.Unmarshal(geometry, &g) == nil && g.Type == "Point"
}
