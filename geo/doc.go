// Package geo knows where things are: points, H3 cells, fences, an index that
// finds the fences of a point, and the rule that turns a noisy fix into
// presence. It is pure: no I/O, no clock, no chance. The same arguments give the
// same answers.
//
// # Distances
//
// DistanceM is the chord between two points on the WGS 84 ellipsoid, bent to an
// arc of the mean Earth radius. It costs two pairs of sines and has no weak spot
// at the poles or at the antimeridian. Against Vincenty's geodesic, on 20,000
// pairs per band with a quarter of them beside the pole and a quarter on the
// equator, it was off by less than 1e-8 up to 10 km (haversine: up to 5.6e-3),
// 1.1e-7 up to 100 km, 1.1e-5 up to 1,000 km and 2.8e-4 up to 5,000 km. The first
// two come from the neglected curvature along the way, (d/R)²/24 times 1.2 %, and
// so hold everywhere.
//
// # Shapes
//
// A Shape is anything with a signed distance to its border; Circle is the one
// that exists. Index relies on nothing but the contract of Shape, so further
// shapes need no change there. The border counts as inside.
//
// # Index
//
// At finds the fences of a point with one call of the H3 library: a fence stands
// in the cells of one resolution that suits its size (spacing of at least its
// radius: about 9 cells), the point's cell of the finest resolution in use gives
// those of the others by bit arithmetic, and what stands there is compared by
// squared chord before its exact margin is computed. Covers are by overlap, under
// the hierarchy's own containment: cover.go has the proof that no point is
// missed. The tests compare with brute force at the poles, at ±180, on pentagons,
// on fence borders to the last bit and at the tips of descendants that stick out
// of their ancestor; at worst 96 % of the proven bound was needed, and a cover by
// 97 % of it fails them. Nearest and Within ask a tree of boxes over the same
// fences, since their reach is not known beforehand.
//
// Measured on a busy two-core machine in the world of 300 cities (circles of 50
// to 500 m, devices walking 60 m a step), in blocks that take turns with bare
// calls of LatLngToCell, as multiples of one such call:
//
//	fences   hits a point   At           Within(0)    Nearest(19)   memory of the index
//	10,000   0.05           1.2 to 1.3   0.9 to 1.3   5.5 to 6.2    267 B a fence
//	100,000  0.48           1.8          2.0 to 2.2   14 to 18      233 B a fence
//
// Building took 25 to 35 µs a fence. The lookups allocate nothing besides the
// two small blocks of the library's one call.
//
// # From a fix to presence
//
// Rule.Decide judges one fix at one fence: accuracy is evidence, entering leans
// to yes, leaving to no. The trade-off stands there. With independent normal
// noise (worse than real GPS, whose error is alike from fix to fix), a fence of
// 60 m, 5,000 fixes of somebody exactly on the border and 2,000 walks through the
// middle with a fix each 10 s:
//
//	ClearFactor   changes on the border        walks with just one visit     exit late by, m
//	              accuracy 8 / 20 / 40 m       accuracy 8 / 20 / 40 m        accuracy 8 / 20 / 40 m
//	1             352 / 735 / 766              100 / 96 / 79 %               16 / 22 / 31
//	1.5 (default)  28 / 136 / 176              100 / 99 / 94 %               21 / 32 / 50
//	2               0 /   8 /  24              100 / 100 / 98 %              26 / 42 / 70
//
// (Without a rule about 2,450 changes.) No walk went without an enter. On ten
// recorded phone-days with fences laid on their way, enters and exits alternate,
// and there are 7 to 55 % fewer enters than without the rule. What remains are
// jumps that come with a good accuracy, which one fix cannot tell from walking.
//
// # Who is near
//
// Nearby holds live devices and answers who is within a radius of a point and
// matches, nearest first, and how many are in which cell. Its lists are by H3
// cell; a tree over the cells' ancestors leads to those that reach into the
// question's circle, under the same proven bound as the index's covers. The tests
// compare with brute force at poles, pentagons, face edges and ±180, and a device
// that wanders from cell to cell during a question is found exactly once.
//
// With 1,000,000 devices in the 300 cities, 8 bytes of payload each and ids of 15
// bytes, on two cores that others kept busy (load 6; a bare LatLngToCell on both
// took 1.3 µs a call, which is 0.3 on quiet ones): 830,000 updates/s of a 60 m
// step each, 0.95 of that bare call; 171 bytes a device, everything included;
// 1,311 found among those within 4 km in 1.2 ms, p99 2.3 ms at the best and 8.7 at
// the worst of the load; no allocation in steady state.
//
// # What a phone should watch
//
// Slots plans the few circles that an operating system watches for a sleeping
// app, and the bubble whose exit asks for the next plan. Slots.Plan has the rule;
// the promise is that no fence is reached before it is registered, given the
// platform's lateness and the phone's speed, or that the plan says that it cannot
// promise this. Phones that are woken up to five minutes late walked and cycled 320 km
// through fields of 5,000 fences with 19, 9 and 50 slots, and 160 km through 167 and
// 276 fences with fixes of 200 m: 345 enters, none missed, about one plan per
// 2 km. Watching the nearest at each waking, which is the usual way, missed 79.
// A plan takes as long as the index's Nearest for four times the slots.
package geo
