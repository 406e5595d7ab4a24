package geo

import (
	"fmt"
	"math"
	"slices"

	"github.com/uber/h3-go/v4"
)

// MaxCells of a CellSet.
const MaxCells = 10_000

// CellSet is the area of H3 cells of one resolution. Its edges are those of the
// cells, parts of great circles; edges between two of its cells are no border. The
// border counts as inside, up to cellBorderM, by which the library's rounding can
// differ from the edges.
//
// It is immutable and safe for concurrent use; NewCellSet makes it. The zero
// CellSet is invalid.
type CellSet struct {
	cells  []Cell // sorted
	border border
	center Point
	boundM float64
}

const cellBorderM = borderTolM

// NewCellSet makes a shape of cells. Cells of several resolutions are taken as
// their descendants of the finest among them, doubles once. Refused with an *Error
// of "[i]" or the whole: none, a value that is no cell, more than MaxCells, an area
// above MaxAreaM2 or an extent above MaxExtentM.
func NewCellSet(cells []Cell) (*CellSet, error) {
	if len(cells) == 0 {
		return nil, errorf("", "must not be empty")
	}
	finest := 0
	for i, c := range cells {
		if !c.Valid() {
			return nil, errorf(fmt.Sprintf("[%d]", i), "must be an H3 cell, is %x", uint64(c))
		}
		finest = max(finest, c.Resolution())
	}
	s := &CellSet{}
	total := 0.0
	for _, c := range cells {
		if total += math.Pow(7, float64(finest-c.Resolution())); total > 2*MaxCells {
			return nil, errorf("", "must be at most %d cells of resolution %d", MaxCells, finest)
		}
		children, err := h3.Cell(c).Children(finest)
		if err != nil {
			return nil, fmt.Errorf("find the descendants of cell %v: %w", c, err)
		}
		for _, d := range children {
			s.cells = append(s.cells, Cell(d))
		}
	}
	slices.Sort(s.cells)
	s.cells = slices.Compact(s.cells)
	if len(s.cells) > MaxCells {
		return nil, errorf("", "must be at most %d cells of resolution %d, are %d", MaxCells, finest, len(s.cells))
	}
	// There are 2 + 120·7^r cells, whose areas differ by a factor of up to 2.
	if area := earthM2 * float64(len(s.cells)) / (2 + 120*math.Pow(7, float64(finest))); area > MaxAreaM2 {
		return nil, errorf("", "must have an area of at most %.0f m², have about %.3g", float64(MaxAreaM2), area)
	}
	if err := s.outline(); err != nil {
		return nil, err
	}
	s.center, s.boundM = s.border.bounds()
	if s.boundM > MaxExtentM {
		return nil, errorAt(s.center, "", "must fit a circle of %d m, need %.0f m", MaxExtentM, s.boundM)
	}
	return s, nil
}

const earthM2 = 4 * math.Pi * EarthRadiusM * EarthRadiusM

// outline puts the edges to cells that are not in the set into the border.
func (s *CellSet) outline() error {
	s.border.great = true
	for _, c := range s.cells {
		edges, err := h3.Cell(c).DirectedEdges()
		if err != nil {
			return fmt.Errorf("find the edges of cell %v: %w", c, err)
		}
		for _, e := range edges {
			if !e.IsValid() { // a pentagon has five
				continue
			}
			to, err := e.Destination()
			if err != nil {
				return fmt.Errorf("find a neighbour of cell %v: %w", c, err)
			}
			if s.has(Cell(to)) {
				continue
			}
			ends, err := e.Boundary() // three points where it crosses the grid's faces
			if err != nil {
				return fmt.Errorf("find an edge of cell %v: %w", c, err)
			}
			for i, p := range ends {
				s.border.at = append(s.border.at, Point{Lat: p.Lat, Lng: p.Lng})
				if i > 0 {
					n := uint32(len(s.border.at))
					s.border.add(n-2, n-1)
				}
			}
		}
	}
	s.border.locate()
	s.border.build()
	return nil
}

func (s *CellSet) has(c Cell) bool {
	_, ok := slices.BinarySearch(s.cells, c)
	return ok
}

// Validate implements Shape: only the zero CellSet is invalid.
func (s *CellSet) Validate() error {
	if s == nil || len(s.cells) == 0 {
		return errorf("cells", "must not be empty")
	}
	return nil
}

// Contains implements Shape. An invalid point is outside.
func (s *CellSet) Contains(p Point) bool {
	c, err := CellOf(p, s.cells[0].Resolution())
	return err == nil && (s.has(c) || s.border.chordM(vecOf(p)) <= cellBorderM)
}

// MarginM implements Shape. The distance to the cells' edges is right to 1 mm or
// 1e-7 of it, besides DistanceM's own bound. NaN for an invalid point.
func (s *CellSet) MarginM(p Point) float64 {
	c, err := CellOf(p, s.cells[0].Resolution())
	if err != nil {
		return math.NaN()
	}
	inside := s.has(c)
	if !inside && s.border.chordM(vecOf(p)) <= cellBorderM {
		return 0
	}
	return s.border.marginM(p, inside, s.boundM)
}

// Center implements Shape. It need not be inside.
func (s *CellSet) Center() Point { return s.center }

// BoundingRadiusM implements Shape.
func (s *CellSet) BoundingRadiusM() float64 { return s.boundM }

// Cells are the cells of the set, all of one resolution, in the order of their
// numbers.
func (s *CellSet) Cells() []Cell { return slices.Clone(s.cells) }
