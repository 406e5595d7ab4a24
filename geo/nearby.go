package geo

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/uber/h3-go/v4"
)

// Nearby holds where live devices are, and answers who is near a place. V is
// what a question may want to know of a device besides: a set of segments, a
// pointer to more; struct{} if nothing. The zero Nearby is empty. It is safe for
// concurrent use and must not be copied.
//
// Devices stand in lists by their H3 cell of resolution 8 (about 0.7 km²), and
// the cells in use form a tree by their ancestors of resolution 6, 4, 2 and 0. A
// question goes down that tree, past every branch whose cells cannot reach into
// its circle: no neighbours are asked for, so that pentagons, poles and the
// antimeridian are nothing special. Containment is the hierarchy's, as in Index.
//
// A device that moves within the circle that lies wholly inside its cell stays
// in its list, and no cell is asked for: at walking pace, that is most updates.
// A question sees every device just once, at a position that it had during the
// call; an update into another cell waits while one is answered, one within a
// cell does not.
type Nearby[V any] struct {
	shards [nearbyShards]nearbyShard[V]

	// mu guards the tree: its nodes and which devices stand in which leaf.
	// Locked after a shard's and before a leaf's.
	mu     sync.RWMutex
	roots  []*nearbyNode[V]
	leaves map[Cell]*nearbyNode[V]

	copying sync.Mutex // one Heat copies at a time
	copies  uint32     // how many have
}

// Resolutions of the tree: the leaves', and the step from level to level.
const (
	nearbyRes  = 8
	nearbyStep = 2
)

// nearbyShards bounds how long Expire keeps an update waiting.
const nearbyShards = 256

// nearbyShard holds the devices whose ids hash to it. Its lock orders the
// changes of one device.
type nearbyShard[V any] struct {
	mu      sync.Mutex
	devices map[string]*nearbyDevice[V]
}

type nearbyDevice[V any] struct {
	id   string
	leaf *nearbyNode[V]
	at   int64 // Unix time in microseconds
	pos  Point
	v    V
	i    int32 // its place in leaf.devices

	copied uint32 // the last of Nearby.copies that has its position; guarded by leaf.mu
}

func (d *nearbyDevice[V]) set(p Point, at int64, v V) { d.pos, d.at, d.v = p, at, v }

// nearbyNode is a cell in use: with children, or, at nearbyRes, with devices.
type nearbyNode[V any] struct {
	cell   Cell
	center vec
	parent *nearbyNode[V]

	children []*nearbyNode[V]

	inner2  float64 // a point with a smaller squared chord to center is in the cell
	devices []*nearbyDevice[V]
	mu      sync.Mutex // guards what set changes in devices
}

// Neighbour is a device found near a point.
type Neighbour[V any] struct {
	ID        string
	Pos       Point
	At        time.Time // of the update, UTC, to the microsecond
	Value     V
	DistanceM float64
}

// CellCount is how many devices are in a cell.
type CellCount struct {
	Cell  Cell `json:"cell"`
	Count int  `json:"count"`
}

// Update says where a device is and since when, and what else holds of it. One
// that is older than what is known changes nothing and gives false; one of the
// same time replaces. Times are kept to the microsecond. Errors: *Error of "id"
// if it is empty, of "lat" or "lng".
func (n *Nearby[V]) Update(id string, p Point, when time.Time, v V) (bool, error) {
	if id == "" {
		return false, errorf("id", "is missing")
	}
	if err := p.Validate(); err != nil {
		return false, err
	}
	where, micros := vecOf(p), when.UnixMicro()
	s := n.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[id]
	if d != nil && micros < d.at {
		return false, nil
	}
	if d != nil && where.chord2(d.leaf.center) < d.leaf.inner2 {
		d.leaf.mu.Lock()
		d.set(p, micros, v)
		d.leaf.mu.Unlock()
		return true, nil
	}
	var at spot // the library's call costs several times as much
	if err := at.find(p, where, nearbyRes); err != nil {
		return false, err
	}
	cell := at.cell
	if d != nil && d.leaf.cell == cell {
		d.leaf.mu.Lock()
		d.set(p, micros, v)
		d.leaf.mu.Unlock()
		return true, nil
	}
	fresh, err := n.unlessKnown(cell)
	if err != nil {
		return false, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	leaf, err := n.leaf(cell, fresh)
	if err != nil {
		return false, err
	}
	if d == nil {
		if s.devices == nil {
			s.devices = map[string]*nearbyDevice[V]{}
		}
		d = &nearbyDevice[V]{id: strings.Clone(id)}
		s.devices[d.id] = d
	} else {
		n.leave(d)
	}
	d.set(p, micros, v)
	d.leaf, d.i = leaf, int32(len(leaf.devices))
	leaf.devices = append(leaf.devices, d)
	return true, nil
}

// Remove forgets a device, and reports whether it was known.
func (n *Nearby[V]) Remove(id string) bool {
	s := n.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[id]
	if d == nil {
		return false
	}
	delete(s.devices, id)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leave(d)
	return true
}

// Expire forgets the devices whose last update is from before the given time,
// and returns how many. It looks at all of them, a part at a time, between which
// updates go on.
func (n *Nearby[V]) Expire(before time.Time) int {
	limit, removed := before.UnixMicro(), 0
	for i := range n.shards {
		removed += n.expire(&n.shards[i], limit)
	}
	return removed
}

func (n *Nearby[V]) expire(s *nearbyShard[V], limit int64) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var old []*nearbyDevice[V]
	for id, d := range s.devices {
		if d.at < limit {
			old = append(old, d)
			delete(s.devices, id)
		}
	}
	if len(old) > 0 {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, d := range old {
			n.leave(d)
		}
	}
	return len(old)
}

// Get is what is known of a device; its DistanceM is 0.
func (n *Nearby[V]) Get(id string) (Neighbour[V], bool) {
	s := n.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[id]
	if d == nil {
		return Neighbour[V]{}, false
	}
	return d.neighbour(0), true
}

// Len is the number of devices.
func (n *Nearby[V]) Len() int {
	sum := 0
	for i := range n.shards {
		s := &n.shards[i]
		s.mu.Lock()
		sum += len(s.devices)
		s.mu.Unlock()
	}
	return sum
}

// Within appends to dst the devices that are no farther than radiusM from p and
// that match, the nearest first, then by id. A nil match takes all; it is called
// without any lock held, and may ask n. An invalid p or a radius that is
// negative or NaN finds none.
func (n *Nearby[V]) Within(p Point, radiusM float64, match func(*Neighbour[V]) bool, dst []Neighbour[V]) []Neighbour[V] {
	if p.Validate() != nil || !(radiusM >= 0) {
		return dst
	}
	first := len(dst)
	around := vecOf(p)
	dst = n.gather(around, radiusM, dst)
	if match != nil {
		kept := slices.DeleteFunc(dst[first:], func(x Neighbour[V]) bool { return !match(&x) })
		dst = dst[:first+len(kept)]
	}
	sortNeighbours(dst[first:])
	return dst
}

// sortNeighbours orders by distance, then by id. It sorts short keys and moves
// each neighbour once, since neighbours are long.
func sortNeighbours[V any](found []Neighbour[V]) {
	type key struct {
		distanceM float64
		from      int32
	}
	keys := make([]key, len(found))
	for i := range found {
		keys[i] = key{found[i].DistanceM, int32(i)}
	}
	slices.SortFunc(keys, func(a, b key) int {
		if c := cmp.Compare(a.distanceM, b.distanceM); c != 0 {
			return c
		}
		return strings.Compare(found[a.from].ID, found[b.from].ID)
	})
	for i := range keys { // along the cycles of the permutation
		if keys[i].from < 0 {
			continue
		}
		first := found[i]
		to := int32(i)
		for {
			from := keys[to].from
			keys[to].from = -1
			if from == int32(i) {
				found[to] = first
				break
			}
			found[to] = found[from]
			to = from
		}
	}
}

// gather appends the devices in the circle.
func (n *Nearby[V]) gather(around vec, radiusM float64, dst []Neighbour[V]) []Neighbour[V] {
	reach := reachM(radiusM)
	n.mu.RLock()
	defer n.mu.RUnlock()
	n.descend(around, reach, func(leaf *nearbyNode[V]) {
		leaf.mu.Lock()
		defer leaf.mu.Unlock()
		for _, d := range leaf.devices {
			// The chord first: most that are out of reach need no arc.
			c := around.chord2(vecOf(d.pos))
			if c > reach*reach {
				continue
			}
			if m := arcM(math.Sqrt(c)); m <= radiusM {
				dst = append(dst, d.neighbour(m))
			}
		}
	})
	return dst
}

// reachM is the chord of a radius, a little more for rounding; endless from half
// the circumference on, since the ellipsoid's longest chord is longer than that
// of the mean sphere.
func reachM(radiusM float64) float64 {
	if radiusM >= math.Pi*EarthRadiusM {
		return math.Inf(1)
	}
	return chordM(radiusM) + slackM
}

// descend visits the leaves that have a point within the chord reach of around.
// Called with mu.
func (n *Nearby[V]) descend(around vec, reach float64, visit func(leaf *nearbyNode[V])) {
	var limits [nearbyRes + 1]float64 // by resolution, the squared chord to the centre
	for res := 0; res <= nearbyRes; res += nearbyStep {
		limit := reach + spreadM(res, nearbyRes)
		limits[res] = limit * limit
	}
	var down func(nodes []*nearbyNode[V], res int)
	down = func(nodes []*nearbyNode[V], res int) {
		for _, x := range nodes {
			switch {
			case around.chord2(x.center) > limits[res]:
			case res == nearbyRes:
				visit(x)
			default:
				down(x.children, res+nearbyStep)
			}
		}
	}
	down(n.roots, 0)
}

// neighbour is called with the shard's lock or the leaf's.
func (d *nearbyDevice[V]) neighbour(distanceM float64) Neighbour[V] {
	return Neighbour[V]{ID: d.id, Pos: d.pos, At: time.UnixMicro(d.at).UTC(), Value: d.v, DistanceM: distanceM}
}

// shard of an id, by FNV-1a.
func (n *Nearby[V]) shard(id string) *nearbyShard[V] {
	h := uint32(2166136261)
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return &n.shards[(h>>16^h)%nearbyShards]
}

// unlessKnown makes a leaf for a cell that has none: the library's answers take
// longer than anybody should wait for mu.
func (n *Nearby[V]) unlessKnown(cell Cell) (*nearbyNode[V], error) {
	n.mu.RLock()
	known := n.leaves[cell] != nil
	n.mu.RUnlock()
	if known {
		return nil, nil
	}
	return newNearbyLeaf[V](cell)
}

func newNearbyLeaf[V any](cell Cell) (*nearbyNode[V], error) {
	inner, err := innerM(cell)
	if err != nil {
		return nil, err
	}
	return &nearbyNode[V]{cell: cell, center: vecOf(cell.Center()), inner2: inner * inner}, nil
}

// leaf of a cell, which is fresh if the tree has none. Called with mu locked.
func (n *Nearby[V]) leaf(cell Cell, fresh *nearbyNode[V]) (*nearbyNode[V], error) {
	if x := n.leaves[cell]; x != nil {
		return x, nil
	}
	if fresh == nil { // it was known a moment ago, and its last device has left since
		var err error
		if fresh, err = newNearbyLeaf[V](cell); err != nil {
			return nil, err
		}
	}
	if n.leaves == nil {
		n.leaves = map[Cell]*nearbyNode[V]{}
	}
	n.leaves[cell] = fresh
	nodes, parent := &n.roots, (*nearbyNode[V])(nil)
	for res := 0; res < nearbyRes; res += nearbyStep {
		c := cell.Parent(res)
		i := slices.IndexFunc(*nodes, func(x *nearbyNode[V]) bool { return x.cell == c })
		if i < 0 {
			i = len(*nodes)
			*nodes = append(*nodes, &nearbyNode[V]{cell: c, center: vecOf(c.Center()), parent: parent})
		}
		parent = (*nodes)[i]
		nodes = &parent.children
	}
	fresh.parent = parent
	*nodes = append(*nodes, fresh)
	return fresh, nil
}

// leave takes a device out of its leaf, and what has become empty out of the
// tree. Called with mu locked.
func (n *Nearby[V]) leave(d *nearbyDevice[V]) {
	x := d.leaf
	last := len(x.devices) - 1
	x.devices[last].i = d.i
	x.devices[d.i] = x.devices[last]
	x.devices[last] = nil
	x.devices = x.devices[:last]
	if last > 0 {
		return
	}
	delete(n.leaves, x.cell)
	for len(x.devices) == 0 && len(x.children) == 0 {
		nodes := &n.roots
		if x.parent != nil {
			nodes = &x.parent.children
		}
		*nodes = slices.DeleteFunc(*nodes, func(o *nearbyNode[V]) bool { return o == x })
		if x = x.parent; x == nil {
			return
		}
	}
}

// innerM is a chord around the centre of a cell within which every point is in
// the cell.
//
// A cell's border is made of great arcs between the library's vertices, on the
// sphere whose latitude and longitude the library takes; whoever is nearer to
// the centre than the border is inside. Carrying a way over to WGS 84 stretches
// it by at least the smallest radius of curvature, a(1-e²), on the equator along
// a meridian. A thousandth is taken off for the border's bend between vertices,
// which the straight ways here neglect: for cells of resolution 5 and finer, less
// than a third of that.
func innerM(cell Cell) (float64, error) {
	border, err := h3.Cell(cell).Boundary()
	if err != nil {
		return 0, fmt.Errorf("find border of cell %v: %w", cell, err)
	}
	center := unitOf(cell.Center())
	nearest := math.Inf(1)
	for i, v := range border {
		w := border[(i+1)%len(border)]
		nearest = min(nearest, center.toSegment(unitOf(Point(v)), unitOf(Point(w))))
	}
	return 0.999 * semiMajorM * (1 - eccentricity) * nearest, nil
}
