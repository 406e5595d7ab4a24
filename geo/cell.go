package geo

import (
	"fmt"
	"log/slog"
	"math"
	"strconv"

	"github.com/uber/h3-go/v4"
)

// MaxResolution is the finest H3 resolution, with cells of about 1 m².
const MaxResolution = 15

// Cell is an H3 cell, https://h3geo.org/docs/core-library/h3Indexing. In text
// and JSON it is the usual hexadecimal string. The zero Cell is none; its text
// is empty.
type Cell uint64

// CellOf is the cell of the given resolution, 0 to 15, that holds p. Errors:
// *Error of "lat", "lng" or "resolution". (The library wraps latitude 91 around
// silently, so the ranges are checked here.)
func CellOf(p Point, res int) (Cell, error) {
	if err := p.Validate(); err != nil {
		return 0, err
	}
	if res < 0 || res > MaxResolution {
		return 0, errorf("resolution", "must be 0 to %d, is %d", MaxResolution, res)
	}
	c, err := h3.LatLngToCell(h3.LatLng{Lat: p.Lat, Lng: p.Lng}, res)
	if err != nil {
		return 0, fmt.Errorf("find cell of resolution %d: %w", res, err)
	}
	return Cell(c), nil
}

// ParseCell reads a cell's string, as String writes it; case does not matter.
// Anything that is no valid cell is refused with an *Error of "cell".
func ParseCell(s string) (Cell, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	if c := Cell(n); err == nil && c.Valid() {
		return c, nil
	}
	if len(s) > 32 {
		s = s[:32] + "…"
	}
	return 0, errorf("cell", "must be an H3 cell such as 891f1d48177ffff, is %q", s)
}

// Layout of an H3 index: 4 bits of resolution at 52, then 15 digits of 3 bits
// from the coarsest to the finest, of which the unused ones are 7.
const (
	resolutionShift = 52
	digitBits       = 3
)

// Resolution of the cell, 0 to 15.
func (c Cell) Resolution() int { return int(c >> resolutionShift & 15) }

// Parent is the ancestor of the given resolution, the cell itself at its own; 0,
// which is none, if res is finer than the cell or negative. A parent's hexagon
// does not exactly hold those of its descendants.
func (c Cell) Parent(res int) Cell {
	if res < 0 || res > c.Resolution() {
		return 0
	}
	unused := Cell(1)<<(digitBits*(MaxResolution-res)) - 1
	return c&^(15<<resolutionShift) | Cell(res)<<resolutionShift | unused
}

// Center of the cell. An invalid cell has none: NaN, which Validate refuses.
func (c Cell) Center() Point {
	ll, err := h3.CellToLatLng(h3.Cell(c))
	if err != nil || !c.Valid() { // the library gives a centre to some that are not
		return Point{Lat: math.NaN(), Lng: math.NaN()}
	}
	return Point{Lat: ll.Lat, Lng: ll.Lng}
}

// Valid reports whether c is a cell of the grid.
func (c Cell) Valid() bool { return h3.Cell(c).IsValid() }

// String is the hexadecimal form; empty for the zero Cell.
func (c Cell) String() string {
	if c == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(c), 16)
}

// MarshalText writes String.
func (c Cell) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText writes: empty is the zero Cell.
func (c *Cell) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*c = 0
		return nil
	}
	n, err := ParseCell(string(text))
	if err != nil {
		return err
	}
	*c = n
	return nil
}

// loggedResolution is the finest whose cells (about 5 km²) do not tell where
// somebody is. DESIGN keeps this one for people who share no precise position.
const loggedResolution = 7

// LogValue hides cells that are small enough to be a position.
func (c Cell) LogValue() slog.Value {
	if c.Resolution() > loggedResolution {
		return slog.StringValue("redacted")
	}
	return slog.StringValue(c.String())
}
