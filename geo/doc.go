// Package geo knows where things are: points, H3 cells, fences, an index that
// finds the fences of a point, and the tracker that turns noisy evidence into
// transitions and visits. It is pure: no I/O, no clock, no chance. The same arguments give the
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
// A Shape is anything with a signed distance to its border: Circle, Polygon (one
// or several areas with holes, edges straight in longitude and latitude), CellSet
// (H3 cells) and OutwardRing (all within so many metres of another). Index relies
// on nothing but the contract of Shape, so further shapes need no change there.
// The border counts as inside.
//
// What a Polygon contains is decided without rounding, in the plane of longitude
// and latitude; ±180 is one meridian, of which a point may have either name, and a
// pole has every longitude. Parts that meet at ±180 are joined: the seam is no
// border. Distances are measured in space, to the edges as they curve there: an
// edge is halved until it is within 1 mm of its chord, or 1e-7 of the distance
// (border.go has the bound), only where that can matter. Tests hold this against
// Vincenty's geodesic to densified edges, 20 m to 300 km across, up to 1,000 km away
// and at 85 degrees; the relative error of DistanceM comes on top.
//
// Measured with 2 cores and busy neighbours, ns a call, for an outline like a coast
// of 400 m, points up to 300 m from its middle; in brackets one of nothing but spikes
// from its middle, the worst that there is. A bare DistanceM took 310 in that run:
//
//	vertices   Contains         MarginM            NewPolygon, µs
//	10         69    (120)      430    (750)       19      (14)
//	100        70    (130)      720    (680)       300     (150)
//	1,000      88    (1,100)    2,500  (3,000)     4,300   (3,000)
//	10,000     72    (11,000)   5,400  (38,000)    56,000  (350,000)
//
// NewPolygon and ParseGeometry refuse what cannot be a fence, with the field, the
// reason and the point where it fails, and put right what can be (Warnings). Of
// Natural Earth's 177 countries they refuse two, Sudan and the USA, whose outlines
// cross themselves by a metre.
//
// # Index
//
// An Index is an immutable snapshot; With makes another in microseconds that has
// some fences more or less, Live holds the newest, and Compact tidies up in the
// caller's goroutine. At finds the fences of a point with one H3 cell, found in Go
// (index_lattice.go: the library's call costs ten times as much and two
// allocations): a fence stands in some 4 cells of a resolution that suits its size
// and its neighbours' number, the cells of coarser ones follow by bit arithmetic,
// finer ones are asked only where a mark says that they must be, and a cell's list
// has a word a fence that tells most of them away (index_table.go). A shape that is no
// circle stands in finer cells, and is not asked in those that lie wholly inside it.
// Covers are by overlap, under the hierarchy's own containment: cover.go has the proof
// that no point is missed. The tests compare with brute force at the poles, at ±180,
// on pentagons, on fence borders to the last bit and at the tips of descendants that
// stick out of their ancestor, on millions of points in `make soak`; at worst 96 % of
// the proven bound was needed.
//
// A Watch follows one device. While it stays in the domain of its cell the lists are
// at hand, and after a slow step it knows a radius in which nothing can change: then a
// fix costs no sines even. Nearest and Within ask a tree of boxes over the same
// fences, since their reach is not known beforehand.
//
// Measured by `footfall-lab bench fences` in the world of 300 cities (circles of
// 50 to 500 m, 1,000 devices that walk 60 m a step), CPU time, on a two-core
// machine with busy neighbours (load 4 to 8), as multiples of one bare call of
// LatLngToCell, which took 0.9 to 1.6 µs then; the R-tree is tidwall/rtree with
// haversine distances; the worse of two runs:
//
//	fences     hits a fix   Watch.Move   still   At     R-tree   memory with the fence
//	10,000     0.05         0.13         0.01    0.45   0.30     248 B a fence
//	100,000    0.48         0.23         0.01    0.76   0.77     194 B
//	1,000,000  4.9          1.1          0.01    2.2    2.6      170 B
//
// With as many fences in each city as at 100,000, Move took 0.20, 0.19 and 0.22. In the
// same cities it grows with the hits and the changes that it tells (0.01, 0.1 and 1.1 a
// fix), each of which is somewhere else in memory: by 4.3 to 5.7 in nanoseconds, where
// the aim was 3. On ten recorded phone-days in the middle of the densest city of a
// million fences, with 0.4 to 10 hits a fix, Move took 0.13 to 0.87. A million fences
// were built in 4.1 to 4.6 s of CPU time; a change of one fence during the walk took
// 9 to 13 µs in the median and, by the clock, 0.2 to 1.1 ms in one of a hundred cases.
// Nothing is allocated in lookups.
//
// Of 10,000 polygons in the same cities (440,000 vertices, 0.11 hits a fix) Move took
// 0.40, Containing 0.60, an R-tree of their boxes with the same exact containment 0.47;
// At, which computes margins, 1.1. Within 100 m took 1.5 times as long as At at
// 10,000 fences, 2.1 to 2.3 at 100,000 and 2.3 to 2.7 at 1,000,000, where it found 8.
//
// # From fixes to visits
//
// Rule.Judge says what one fix says of one fence; a Tracker makes transitions and
// visits of it, for one device: enter, exit, dwell, near, pass, visit. Accuracy is
// evidence: a fix whose error circle straddles the border changes nothing until
// another confirms it. The words of an operating system, beacons and silence are
// evidence like fixes. Everything takes effect in the order in which it happened,
// whatever the order in which it arrives; Tracker has the rules.
//
// The trade-off of Rule: waiting for evidence makes enters and exits late, not
// waiting makes visits flap. In a simulation of normal noise, independent from fix to
// fix or alike by 0.8 (real GPS is alike), a fence of 60 m, a fix each 10 s, 5,000
// fixes of somebody exactly on the border and 1,000 walks through the middle at
// 1.3 m/s: changes on the border, walks with just one visit, and by how many metres
// enter and exit came late, for accuracies of 8, 20 and 40 m:
//
//	                        8 m                    20 m                   40 m
//	independent
//	DefaultRule             67  100 %  16 m 21 m   191  100 %  19 m 32 m  221   99 %  27 m 48 m
//	SureFactor 0            69  100 %   7 m 21 m   201   98 %   6 m 32 m  249   93 %   0 m 49 m
//	ClearFactor 1          315  100 %  16 m 16 m   575   99 %  19 m 22 m  551   97 %  27 m 29 m
//	ClearFactor 2           61  100 %  16 m 26 m    75  100 %  19 m 42 m   97  100 %  27 m 66 m
//	ExitConfirm 20 s       565  100 %  16 m 21 m   629  100 %  19 m 27 m  633   97 %  27 m 30 m
//	ExitConfirm 120 s       13  100 %  16 m 21 m   145  100 %  19 m 32 m  165   99 %  27 m 48 m
//	EnterConfirm 30 s       65  100 %  17 m 21 m   174  100 %  25 m 32 m  176   95 %  46 m 48 m
//	no rule              2,454   98 %   7 m  6 m 2,430   63 %   8 m  5 m 2,388  15 %  14 m -2 m
//	alike by 0.8
//	DefaultRule            231  100 %  17 m 21 m   243  100 %  20 m 35 m  255   99 %  26 m 56 m
//	ExitConfirm 120 s       87  100 %  17 m 21 m   103  100 %  20 m 35 m  131   99 %  26 m 59 m
//	no rule              1,079  100 %   7 m  6 m 1,101   97 %   8 m  4 m 1,095  64 %  14 m -2 m
//
// So SureFactor 1 costs a walker 10 to 20 m on entering, and spares the doubled
// visits of bad fixes; fewer than 1 in 100 walks had no visit, at 40 m. An ExitConfirm
// of two minutes is calmer still, and leaves who sits next door in the shop for
// longer. FOOTFALL_TRADE_OFF=1 go test -run TradeOff -v prints the table.
//
// # What ten phone-days showed
//
// Ten recorded days, Android and iPhone: 2,944 fixes, half of them 30 s apart, the
// accuracy 38 m in the median and above 1 km in every tenth. Circles around the places
// of 40 stays that another pipeline had seen, and every 400 m along the ways; in
// brackets the bare positions in order of time, without a rule. Short is below two
// minutes, re-entered within five of the exit; seconds are after that pipeline's
// times, in the median:
//
//	radius                   50 m          100 m          200 m
//	stays with a visit       40 of 40      40 of 40       40 of 40
//	  with more than one      1    (6)      1    (6)       0    (4)
//	visits of the places     78  (112)     80  (129)      84  (149)
//	  short                  31   (64)     26   (72)      20   (68)
//	  re-entered             17   (46)     15   (56)       8   (68)
//	enter, exit         -60, 93 s     -108, 101 s    -166, 187 s
//	visits along the way    215  (477)    261  (503)     307  (565)
//	  re-entered              7   (66)      8   (74)      11   (94)
//
// On the maps (`footfall replay --map`): no stay was missed. Visits that are no stay
// are mostly true ones, on foot and by car, with one fix or two inside: a dwell is what
// tells them from stays. A phone at rest, a fence's 100 m around it, that every other
// time gave a place outside, to within 30 to 170 m, made one visit; its bare positions
// went in and out 11 times. What is left: of the 15 re-entries at 100 m, 14 are phones
// that believe themselves in two places 67 to 271 m apart, each to within 44 m, as
// satellites and networks disagree. One such fix cannot be told from walking. If every
// exit waits a minute for a second fix (ClearFactor 1000) half of them are left, and
// exits are another minute late. In two more the same cell tower's position, to within
// 700 and 800 m, had come twice and confirmed itself: since then so coarse a fix
// confirms nothing. go test -run PhoneDays -v in server/traces prints the table.
//
// # Who is near
//
// Nearby holds live devices and answers who is within a radius of a point and
// matches, nearest first (Within), or only the nearest few (Nearest), and how many
// are in which cell, without the few (Heat). Its lists are by H3 cell; a tree over
// the cells' ancestors leads to those that reach into the question's circle, under
// the same proven bound as the index's covers. The tests compare with brute force
// at poles, pentagons, face edges and ±180, and a device that wanders from cell to
// cell during a question is found exactly once; whatever is added up or subtracted
// of heat maps of all resolutions, no sum is of one to least-1 devices.
//
// With 1,000,000 devices in the 300 cities, 8 bytes of payload each and ids of 15
// bytes, on two cores that others kept busy (load 7; a bare LatLngToCell on both
// took 0.9 µs a call): 1,117,000 updates/s of a 60 m step each, as many as of that
// bare call; 171 bytes a device, everything included; 1,311 found among those
// within 4 km in 0.6 ms, p99 0.8 ms (7 ms in the worst run of that load). An update
// allocates nothing in steady state, a question 16 bytes for each that it finds.
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
//
// # What is kept of a way
//
// Track is the fixes of an hour as bytes that grow: differences to the fix before, as
// varints, so that a state can hold the hour that goes on and share it with its
// clones; Pack is for the history. Positions are kept to 1e-7 degrees, which phones
// give; times to the millisecond, accuracies to 0.1 m. Ten phone-days, 2,944 fixes in
// 49 hours, took 9.0 bytes a fix and 8.4 packed: of noise there is little to
// compress. To 1e-6 degrees it would be 0.7 less.
package geo
