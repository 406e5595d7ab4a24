package traces

import (
	"bufio"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"math"
	"slices"

	"github.com/footfall-engage/footfall/geo"
)

// Map draws what a Replay saw: the fixes with their error circles, coloured by
// accuracy, the fences and the transitions. It has no tiles. A nil Map draws nothing.
type Map struct {
	fixes       []mapFix
	every, seen int // every so many fixes is drawn
	transitions []mapTransition
}

type mapFix struct {
	device string
	pos    geo.Point
	acc    float64
	title  string
}

type mapTransition struct {
	pos   geo.Point
	kind  geo.Kind
	title string
}

// mapFixes bounds what a Map draws: more make a file that nobody can look at. Beyond
// it every second fix is dropped, then every second of those.
const (
	mapFixes       = 50_000
	mapTransitions = 50_000
	mapFences      = 50_000
)

// mapTime is how times stand on a Map.
const mapTime = "2006-01-02 15:04:05"

func (m *Map) fix(row *Row) {
	if m == nil {
		return
	}
	m.every = max(m.every, 1)
	m.seen++
	if m.seen%m.every != 0 {
		return
	}
	if len(m.fixes) == mapFixes {
		n := 0
		for i := 1; i < len(m.fixes); i += 2 {
			m.fixes[n] = m.fixes[i]
			n++
		}
		m.fixes, m.every = m.fixes[:n], 2*m.every
	}
	m.fixes = append(m.fixes, mapFix{
		row.Device, row.Pos, row.AccuracyM,
		fmt.Sprintf("%s UTC, %.0f m", row.At.UTC().Format(mapTime), row.AccuracyM),
	})
}

func (m *Map) transition(l *Line, t *geo.Transition) {
	if m == nil || !t.Located || t.Kind == geo.Stay || len(m.transitions) == mapTransitions {
		return // a visit ends with an exit
	}
	m.transitions = append(m.transitions, mapTransition{
		t.Pos, t.Kind, fmt.Sprintf("%s %s %s UTC by %s", l.Kind, l.Fence, l.At.Format(mapTime), l.Evidence),
	})
}

// colours of fixes by accuracy in metres, of which the last have any.
var mapColours = []struct {
	upToM  float64
	colour string
}{{10, "#1a9850"}, {30, "#91cf60"}, {65, "#fdae61"}, {200, "#f46d43"}, {math.Inf(1), "#a50026"}}

var kindColours = map[geo.Kind]string{
	geo.Enter: "#0050ff", geo.Exit: "#d00000", geo.Near: "#00a0c0", geo.Dwell: "#8000c0", geo.Pass: "#808000",
}

// frame maps points to a picture whose north is up, in metres.
type frame struct {
	middle geo.Point
	scale  float64 // metres a degree of longitude
	box    [4]float64
}

const metresPerDegree = 111_195

func (f *frame) at(p geo.Point) (x, y float64) {
	lng := math.Remainder(p.Lng-f.middle.Lng, 360)
	return lng * f.scale, (f.middle.Lat - p.Lat) * metresPerDegree
}

func (f *frame) add(x, y, r float64) {
	f.box = [4]float64{min(f.box[0], x-r), min(f.box[1], y-r), max(f.box[2], x+r), max(f.box[3], y+r)}
}

// WriteSVG draws the map with the fences near what was seen. Around, if it names a
// fence, shows that one's neighbourhood only. A unit of the drawing is a metre.
func (m *Map) WriteSVG(w io.Writer, fences *Fences, around string) error {
	f := frame{box: [4]float64{math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)}}
	if one, there := fences.index.Fence(around); there {
		f.middle = one.Shape.Center()
	} else if around != "" {
		return fmt.Errorf("there is no fence %q to draw a map around", around)
	} else if len(m.fixes) > 0 {
		f.middle = m.fixes[len(m.fixes)/2].pos
	}
	f.scale = metresPerDegree * max(0.01, math.Cos(f.middle.Lat*math.Pi/180))
	if one, there := fences.index.Fence(around); there {
		f.add(0, 0, 3*one.Shape.BoundingRadiusM()+100)
	} else {
		for i := range m.fixes {
			x, y := f.at(m.fixes[i].pos)
			f.add(x, y, 100)
		}
	}
	if len(m.fixes) == 0 && around == "" {
		f.add(0, 0, 100)
	}
	b := bufio.NewWriter(w)
	width, height := f.box[2]-f.box[0], f.box[3]-f.box[1]
	size := max(width, height)
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="%.1f %.1f %.1f %.1f" width="1200" height="%.0f">`+"\n",
		f.box[0], f.box[1], width, height, 1200*height/width)
	fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="#fcfcf8"/>`+"\n", f.box[0], f.box[1], width, height)
	m.drawFences(b, &f, fences)
	m.drawFixes(b, &f, size)
	for i := range m.transitions {
		t := &m.transitions[i]
		x, y := f.at(t.pos)
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="%.1f" fill="none" stroke="%s" stroke-width="%.2f"><title>%s</title></circle>`+"\n",
			x, y, size/150, kindColours[t.kind], size/400, html.EscapeString(t.title))
	}
	fmt.Fprintln(b, `</svg>`)
	return b.Flush()
}

func (m *Map) drawFences(b *bufio.Writer, f *frame, fences *Fences) {
	// What is within the picture: the fences within its diagonal of its middle.
	reach := math.Hypot(f.box[2]-f.box[0], f.box[3]-f.box[1]) / 2
	cx, cy := (f.box[0]+f.box[2])/2, (f.box[1]+f.box[3])/2
	centre := geo.Point{
		Lat: max(-90, min(90, f.middle.Lat-cy/metresPerDegree)),
		Lng: math.Remainder(f.middle.Lng+cx/f.scale, 360),
	}
	hits := fences.index.Within(centre, reach, nil)
	slices.SortFunc(hits, func(a, b geo.Hit) int { // large ones below
		return -cmpFloat(a.Shape.BoundingRadiusM(), b.Shape.BoundingRadiusM())
	})
	for i := range hits[:min(len(hits), mapFences)] {
		h := &hits[i]
		t, _ := fences.Terms(h.ID)
		style := `fill="#3060c0" fill-opacity="0.12" stroke="#3060c0"`
		if t.Near {
			style = `fill="none" stroke="#60a0c0" stroke-dasharray="4 4"`
		}
		fmt.Fprintf(b, `<g %s vector-effect="non-scaling-stroke"><title>%s</title>`, style, html.EscapeString(h.ID))
		drawShape(b, f, h.Shape)
		fmt.Fprintln(b, `</g>`)
	}
}

func cmpFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// drawShape draws circles as such, areas by their rings, and of what has neither the
// circle that holds it.
func drawShape(b *bufio.Writer, f *frame, s geo.Shape) {
	circle := func(p geo.Point, r float64) {
		x, y := f.at(p)
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="%.1f" vector-effect="non-scaling-stroke"/>`, x, y, r)
	}
	raw, radius, err := geo.EncodeGeometry(s)
	_, isCircle := s.(geo.Circle)
	if isCircle || err != nil || radius != nil {
		circle(s.Center(), s.BoundingRadiusM())
		return
	}
	var g struct {
		Type        string          `json:"type"`
		Coordinates json.RawMessage `json:"coordinates"`
	}
	var areas [][][][2]float64
	if err = json.Unmarshal(raw, &g); err == nil && g.Type == "Polygon" {
		areas = make([][][][2]float64, 1)
		err = json.Unmarshal(g.Coordinates, &areas[0])
	} else if err == nil {
		err = json.Unmarshal(g.Coordinates, &areas)
	}
	if err != nil {
		circle(s.Center(), s.BoundingRadiusM())
		return
	}
	for _, rings := range areas {
		fmt.Fprint(b, `<path fill-rule="evenodd" vector-effect="non-scaling-stroke" d="`)
		for _, ring := range rings {
			for i, at := range ring {
				x, y := f.at(geo.Point{Lat: at[1], Lng: at[0]})
				fmt.Fprintf(b, "%c%.1f %.1f", "ML"[min(i, 1)], x, y)
			}
			fmt.Fprint(b, "Z")
		}
		fmt.Fprint(b, `"/>`)
	}
}

// drawFixes draws each device's way, and the fixes on it.
func (m *Map) drawFixes(b *bufio.Writer, f *frame, size float64) {
	ways := map[string][]int{}
	var names []string
	for i := range m.fixes {
		if name := m.fixes[i].device; ways[name] == nil {
			names = append(names, name)
		}
		ways[m.fixes[i].device] = append(ways[m.fixes[i].device], i)
	}
	for _, name := range names {
		fmt.Fprint(b, `<polyline fill="none" stroke="#888" stroke-width="0.7" vector-effect="non-scaling-stroke" points="`)
		for _, i := range ways[name] {
			x, y := f.at(m.fixes[i].pos)
			fmt.Fprintf(b, "%.1f,%.1f ", x, y)
		}
		fmt.Fprintln(b, `"/>`)
	}
	for i := range m.fixes {
		fix := &m.fixes[i]
		x, y := f.at(fix.pos)
		colour := ""
		for _, c := range mapColours {
			if fix.acc <= c.upToM {
				colour = c.colour
				break
			}
		}
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="%.1f" fill="%s" fill-opacity="0.04" stroke="%s" stroke-opacity="0.3" vector-effect="non-scaling-stroke"/>`, x, y, fix.acc, colour, colour)
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="%.2f" fill="%s"><title>%s</title></circle>`+"\n", x, y, size/400, colour, html.EscapeString(fix.title))
	}
}
