package pipelinebench

import (
	"fmt"
	"math"

	"github.com/footfall-engage/footfall/geo"
)

// The lattice of places: circles so far apart that no fix is in two of them, and that
// the middle between two is clear of both whatever the accuracy.
const (
	spacingM = 500
	radiusM  = 80
	// block is the side of the square of places that a phone goes round.
	block = 3
	// accuracyM of a fix: inside a circle beyond doubt, or clear of it.
	accuracyM = 8
)

// south and west are the lattice's corner.
const south, west = 50.0, 5.0

// Place is a place of the world, with its one geofence.
type Place struct {
	ID string
	geo.Circle
}

// Places are n places on a lattice of squares, row by row.
func Places(n int) []Place {
	w := newWorld(n)
	out := make([]Place, n)
	for i := range out {
		out[i] = Place{placeID(i), geo.Circle{Around: w.at(float64(i/w.side), float64(i%w.side)), RadiusM: radiusM}}
	}
	return out
}

func placeID(i int) string { return fmt.Sprintf("place-%06d", i) }

// world is where the places are.
type world struct{ n, side int }

func newWorld(n int) world { return world{n, max(block, int(math.Sqrt(float64(n))))} }

// at is a point of the lattice, by rows and columns.
func (w world) at(row, col float64) geo.Point {
	lat := south + row*spacingM/metresPerDegree
	return geo.Point{Lat: lat, Lng: west + col*spacingM/(metresPerDegree*math.Cos(lat*math.Pi/180))}
}

const metresPerDegree = geo.EarthRadiusM * math.Pi / 180

// rows that are full: no fewer than there are columns.
func (w world) rows() int { return w.n / w.side }

// MinPlaces is the smallest world: one block.
const MinPlaces = block * block

// route is where a phone goes: round the places of one block, for ever.
type route struct {
	w        world
	row, col int
	every    int
	n        int // fixes so far
}

// newRoute is that of phone i of all: phones are spread evenly over the world, and do
// not enter their places in step.
func newRoute(w world, i, all, every int) route {
	rows, cols := w.rows()-block+1, w.side-block+1
	cell := int(float64(i) / float64(max(all, 1)) * float64(rows*cols))
	return route{w: w, row: cell / cols, col: cell % cols, every: every, n: i % every}
}

// next is the next fix: each of number every is in the middle of the next place, which
// the phone enters; the others are between places. place is -1 for those.
func (r *route) next() (at geo.Point, place int) {
	k := r.n / r.every % (block * block)
	inside := r.n%r.every == r.every-1
	r.n++
	row, col := r.row+k/block, r.col+k%block
	if k/block%2 == 1 { // there and back: the next place is next door
		col = r.col + block - 1 - k%block
	}
	if !inside {
		return r.w.at(float64(row)+0.5, float64(col)+0.5), -1
	}
	return r.w.at(float64(row), float64(col)), row*r.w.side + col
}
