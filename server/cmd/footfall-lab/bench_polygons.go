package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/tidwall/rtree"

	"github.com/footfall-engage/footfall/geo"
)

// polygons of the world: of ten, nine are malls and one is a district.
func (w *fenceWorld) polygons() ([]geo.Fence, error) {
	r := rand.New(rand.NewPCG(33, 34))
	fences := make([]geo.Fence, 0, w.fences)
	for i := range w.fences {
		vertices, radiusM := 10+r.IntN(51), 50+200*r.Float64()
		if i%10 == 9 {
			vertices, radiusM = 50+r.IntN(151), 500+2500*r.Float64()
		}
		middle := spread(r, w.cities[r.IntN(len(w.cities))])
		for math.Abs(middle.Lng) > 179.9 { // a ring across ±180 would have to be split
			middle = spread(r, w.cities[r.IntN(len(w.cities))])
		}
		p, err := geo.NewPolygon([][][]geo.Point{{star(r, middle, vertices, radiusM)}})
		if err != nil {
			return nil, fmt.Errorf("make polygon %d: %w", i, err)
		}
		fences = append(fences, geo.Fence{ID: fmt.Sprintf("p%07d", i), Shape: p})
	}
	return fences, nil
}

// star is a ring of vertices that are all seen from its middle, at half to all of the
// radius: notched as outlines of buildings are, and it never crosses itself.
func star(r *rand.Rand, middle geo.Point, vertices int, radiusM float64) []geo.Point {
	ring := make([]geo.Point, 0, vertices+1)
	for i := range vertices { // turning to the left, apart from each other
		bearing := -2 * math.Pi * (float64(i) + 0.8*r.Float64()) / float64(vertices)
		ring = append(ring, along(middle, bearing, radiusM*(0.5+0.5*r.Float64())))
	}
	return append(ring, ring[0])
}

// measurePolygons is measure for polygons.
func (w *fenceWorld) measurePolygons(f fencesFlags) (fencesSize, error) {
	out := fencesSize{Fences: w.fences, Cities: len(w.cities)}
	before := liveHeap()
	fences, err := w.polygons()
	if err != nil {
		return out, err
	}
	began, beganCPU := time.Now(), cpuTime()
	index, err := geo.NewIndex(fences)
	if err != nil {
		return out, err
	}
	out.BuildS, out.BuildCPUS = time.Since(began).Seconds(), (cpuTime() - beganCPU).Seconds()
	// The slice is garbage by now: the index has what it needs of it.
	out.BytesPerFence = (liveHeap() - before) / float64(w.fences)
	all := index.All()
	for _, f := range all {
		out.Vertices += len(f.Shape.(*geo.Polygon).Polygons()[0][0]) - 1
	}
	tree := treeOf(all)
	w.follow(index, f, func(p geo.Point) int { return inPolygons(tree, p) }, &out)
	var containingNS blocks
	in := make([]geo.Fence, 0, 1024)
	for _, ps := range w.walk {
		containingNS.add(len(ps), func() {
			for _, p := range ps {
				in = index.Containing(p, in[:0])
			}
		})
	}
	out.ContainingNS = containingNS.median()
	return out, nil
}

// treeOf holds polygons by their boxes.
func treeOf(fences []geo.Fence) *rtree.RTreeG[*geo.Polygon] {
	var t rtree.RTreeG[*geo.Polygon]
	for _, f := range fences {
		p := f.Shape.(*geo.Polygon)
		ring := p.Polygons()[0][0]
		lo, hi := [2]float64{ring[0].Lng, ring[0].Lat}, [2]float64{ring[0].Lng, ring[0].Lat}
		for _, v := range ring {
			lo, hi = [2]float64{min(lo[0], v.Lng), min(lo[1], v.Lat)}, [2]float64{max(hi[0], v.Lng), max(hi[1], v.Lat)}
		}
		t.Insert(lo, hi, p)
	}
	return &t
}

// inPolygons counts those of the tree that hold p.
func inPolygons(tree *rtree.RTreeG[*geo.Polygon], p geo.Point) (n int) {
	at := [2]float64{p.Lng, p.Lat}
	tree.Search(at, at, func(_, _ [2]float64, s *geo.Polygon) bool {
		if s.Contains(p) {
			n++
		}
		return true
	})
	return n
}
