package traces

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/net/html/charset"

	"github.com/footfall-engage/footfall/geo"
)

// maxDepth is how deep the elements of a GPX may stand in one another.
const maxDepth = 64

// rationed refuses to read more than MaxLine without a new ration: an element that
// never ends would fill the memory.
type rationed struct {
	from io.Reader
	left int
}

var errRation = fmt.Errorf("a part of it is longer than %d bytes", MaxLine)

func (r *rationed) Read(b []byte) (int, error) {
	if r.left <= 0 {
		return 0, errRation
	}
	n, err := r.from.Read(b[:min(len(b), r.left)])
	r.left -= n
	return n, err
}

// gpx reads the points of tracks as they come. Routes and waypoints are no trace: they
// are counted. XML that breaks off costs what follows, not what was read.
func (s *sink) gpx(b *bufio.Reader) error {
	ration := &rationed{from: b, left: MaxLine}
	d := xml.NewDecoder(ration)
	d.CharsetReader = charset.NewReaderLabel
	x := gpxReader{sink: s}
	for {
		ration.left = MaxLine
		token, err := d.Token()
		line, _ := d.InputPos()
		if errors.Is(err, io.EOF) {
			if !x.root {
				return errors.New("is no GPX: it has no element")
			}
			break
		}
		if err != nil {
			var syntax *xml.SyntaxError
			if !errors.As(err, &syntax) && !errors.Is(err, errRation) {
				return err
			}
			s.report.Rows++
			s.report.refuse(line, refuse(CodeSyntax, "", "the XML breaks off here: %v", err))
			break
		}
		if err := x.token(token, line); err != nil {
			return err
		}
	}
	for what, n := range map[string]int{"waypoint": x.waypoints, "point of routes": x.routes} {
		if n > 0 {
			s.report.note("left out, for they are no trace: %d x %s", n, what)
		}
	}
	return nil
}

// gpxReader is between two tokens.
type gpxReader struct {
	*sink
	root              bool
	depth             int
	point             *Row // being read
	refused           *Refusal
	time, accuracy    *strings.Builder // of the point, once it has one
	text              *strings.Builder // being read
	waypoints, routes int
}

func (x *gpxReader) token(t xml.Token, line int) error {
	switch t := t.(type) {
	case xml.StartElement:
		if x.depth++; x.depth > maxDepth {
			return fmt.Errorf("line %d: elements stand more than %d deep in one another", line, maxDepth)
		}
		if !x.root && t.Name.Local != "gpx" {
			return fmt.Errorf("line %d: is no GPX: its element is %.40q", line, t.Name.Local)
		}
		x.root = true
		x.start(&t, line)
	case xml.CharData:
		if x.text != nil && x.text.Len() < 100 { // a time has 30
			x.text.Write(t[:min(len(t), 100)])
		}
	case xml.EndElement:
		x.depth--
		x.text = nil
		if t.Name.Local == "trkpt" && x.point != nil {
			return x.end()
		}
	}
	return nil
}

func (x *gpxReader) start(t *xml.StartElement, line int) {
	x.text = nil
	switch t.Name.Local {
	case "wpt":
		x.waypoints++
	case "rtept":
		x.routes++
	case "trkpt":
		x.point = &Row{Line: line, Evidence: geo.Evidence{Source: geo.ByFix}}
		x.time, x.accuracy = nil, nil
		x.refused = x.position(t)
	case "time":
		if x.point != nil && x.time == nil {
			x.time = new(strings.Builder)
			x.text = x.time
		}
	case "accuracy": // an extension of some recorders, in metres
		if x.point != nil && x.accuracy == nil {
			x.accuracy = new(strings.Builder)
			x.text = x.accuracy
		}
	}
}

func (x *gpxReader) position(t *xml.StartElement) *Refusal {
	var at [2]float64
	for i, name := range []string{"lat", "lon"} {
		text := ""
		for _, a := range t.Attr {
			if a.Name.Local == name {
				text = strings.TrimSpace(a.Value)
			}
		}
		var refused *Refusal
		if at[i], refused = parseNumber(CodePosition, name, text, false); refused != nil {
			return refused
		}
	}
	return x.point.setPosition(at[0], at[1])
}

// end takes the point.
func (x *gpxReader) end() error {
	row, refused := x.point, x.refused
	x.point = nil
	var u unit
	if refused == nil {
		if x.time == nil {
			refused = refuse(CodeTime, "time", "is missing")
		} else {
			row.At, u, refused = parseTime(strings.TrimSpace(x.time.String()))
		}
	}
	if refused == nil && x.accuracy != nil {
		var acc float64
		if acc, refused = parseNumber(CodeAccuracy, "accuracy", strings.TrimSpace(x.accuracy.String()), false); refused == nil {
			refused = row.setAccuracy(acc)
		}
	}
	return x.take(row, u, refused)
}
