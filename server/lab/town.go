package lab

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// Bounds of a town.
const (
	DefaultPeople = 200
	DefaultShops  = 24
	MaxPeople     = 100_000
	MaxShops      = 5_000
	maxLat        = 80 // of the centre: the plane has no poles
)

// TownOptions say which town.
type TownOptions struct {
	Seed     uint64    // the same seed and numbers give the same town
	People   int       // 1..MaxPeople; 0 means DefaultPeople
	Shops    int       // 1..MaxShops; 0 means DefaultShops
	Center   geo.Point // |lat| at most 80; the zero value means the middle of Amsterdam
	TimeZone string    // IANA name that the phones say; empty: they say none
}

// Town is a grid of named streets with shops on them and people between them. It
// is immutable.
type Town struct {
	Seed     uint64
	Center   geo.Point
	TimeZone string
	Streets  []Street
	Shops    []Shop
	People   []Person

	plane  plane
	xs, ys []float64 // where the avenues and the streets run
}

// Street is a straight one, from border to border of the town. Streets[0:n] run
// one way, the others cross them all.
type Street struct {
	Name string    `json:"name"`
	From geo.Point `json:"from"`
	To   geo.Point `json:"to"`
}

// Shop is one on a street.
type Shop struct {
	ID       string    `json:"id"`       // 1 to 100 of a-z, 0-9, '-'; unique in the town
	Name     string    `json:"name"`     // "Linden Books"
	Tags     []string  `json:"tags"`     // the main topic first
	Address  string    `json:"address"`  // "12 Canal Street"
	Position geo.Point `json:"position"` // its door on the street: the centre of both geofences
	InsideM  float64   `json:"inside_m"` // radius of the geofence of the shop itself: 40 to 60 m
	NearM    float64   `json:"near_m"`   // radius of the ring around it: 300 m

	door spot
	room vec
}

// InsideFence is the id of the geofence of the shop itself.
func (s *Shop) InsideFence() string { return s.ID + "-inside" }

// NearFence is the id of the ring around the shop.
func (s *Shop) NearFence() string { return s.ID + "-near" }

// Answer of a person to a question of consent.
type Answer uint8

// The answers. Never is the zero value: not asked, or looked away.
const (
	Never Answer = iota
	No
	Yes
)

// Mode is how a person holds the phone.
type Mode uint8

// The modes.
const (
	InHand   Mode = iota // the app in the foreground, on its socket
	InPocket             // the app in the background, woken by the OS
	Switch               // now one, now the other
)

// Person and the phone.
type Person struct {
	ID     string // "person-0001", unique in the town
	Name   string
	UserID string // at the retailer; empty: never signs in

	Likes    []string // topics
	Dislikes []string // topics

	Marketing  Answer
	Profiling  Answer
	Foreground Answer // location while the app is in use
	Background Answer // location while it is not
	Precise    Answer // precise positions
	// MindAfter is the simulated time after which the person turns the answer to
	// marketing round (Never becomes Yes); 0 means never.
	MindAfter time.Duration

	Platform      sdkpb.Platform // android or ios
	Location      sdkpb.Permissions_Location
	Precision     sdkpb.Permissions_Precision
	Notifications sdkpb.Permissions_Notifications
	Locale        string
	JSON          bool          // the app speaks the JSON twin
	Mode          Mode          // how the phone is held
	Spotty        bool          // the network goes away now and then
	Careless      bool          // the app sends positions without asking for consent
	DeadToken     bool          // the push token that the app knows is no longer valid
	ClockSkew     time.Duration // of the phone's wall clock, ahead of real time

	Home geo.Point

	index     int
	home      spot
	favourite []int         // shops, the dearest first
	dwell     time.Duration // mean stay in a shop
	atHome    time.Duration // mean stay at home
	wander    float64       // share of the ways that lead nowhere
	pace      float64       // metres per second
	start     int           // startHome, startStreet or startShop
}

const (
	startHome = iota
	startStreet
	startShop
)

// spot is a place on the street network: metres along a street. Streets below
// len(xs) are avenues (at is y), the others streets (at is x).
type spot struct {
	street int
	at     float64
}

// NewTown builds it. The error is an *Error.
func NewTown(o TownOptions) (*Town, error) {
	if o.People == 0 {
		o.People = DefaultPeople
	}
	if o.Shops == 0 {
		o.Shops = DefaultShops
	}
	if o.Center == (geo.Point{}) {
		o.Center = geo.Point{Lat: 52.3731, Lng: 4.8926}
	}
	if err := o.Center.Validate(); err != nil {
		return nil, errorf("center", "%v", err)
	}
	switch {
	case o.People < 1 || o.People > MaxPeople:
		return nil, errorf("people", "must be 1 to %d, is %d", MaxPeople, o.People)
	case o.Shops < 1 || o.Shops > MaxShops:
		return nil, errorf("shops", "must be 1 to %d, is %d", MaxShops, o.Shops)
	case math.Abs(o.Center.Lat) > maxLat:
		return nil, errorf("center.lat", "must be -%d to %d, is %v", maxLat, maxLat, o.Center.Lat)
	}
	t := &Town{Seed: o.Seed, Center: o.Center, TimeZone: o.TimeZone}
	t.build(t.rand("streets"), o.Shops)
	t.open(t.rand("shops"), o.Shops)
	t.settle(t.rand("people"), o.People)
	return t, nil
}

// rand is the stream of chance of a name: what one part draws changes no other.
func (t *Town) rand(name string) *rand.Rand {
	return rand.New(rand.NewPCG(t.Seed, hash(name)))
}

func hash(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		_, _ = h.Write([]byte(p)) // never fails
		_, _ = h.Write([]byte{0})
	}
	// FNV leaves its high bits alike for like endings; mix them (splitmix64).
	x := h.Sum64()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// chance is a number in [0, 1) that depends on nothing but the seed and the parts.
func (t *Town) chance(parts ...string) float64 {
	return float64((hash(parts...)^t.Seed*0x9e3779b97f4a7c15)>>11) / (1 << 53)
}

// build lays the streets: blocks of 110 to 170 m.
func (t *Town) build(rng *rand.Rand, shops int) {
	n := max(10, int(math.Ceil(1.5*math.Sqrt(float64(shops))))+4)
	t.plane = newPlane(t.Center, rng.Float64()*30-15)
	lay := func() []float64 {
		at := make([]float64, n)
		for i := 1; i < n; i++ {
			at[i] = at[i-1] + 110 + 60*rng.Float64()
		}
		for i, middle := 0, at[n-1]/2; i < n; i++ {
			at[i] -= middle
		}
		return at
	}
	t.xs, t.ys = lay(), lay()
	names := streetNames()
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for s := range 2 * n {
		kind := "Avenue"
		if s >= n {
			kind = "Street"
		}
		name := names[s%len(names)] + " " + kind
		if round := s / len(names); round > 0 {
			name = fmt.Sprintf("%s %d", name, round+1)
		}
		lo, hi := t.ends(s)
		t.Streets = append(t.Streets, Street{
			Name: name,
			From: t.plane.point(t.vec(spot{s, lo})), To: t.plane.point(t.vec(spot{s, hi})),
		})
	}
}

func (t *Town) avenue(street int) bool { return street < len(t.xs) }

// crossings are where the other streets cross this one, ascending.
func (t *Town) crossings(street int) []float64 {
	if t.avenue(street) {
		return t.ys
	}
	return t.xs
}

func (t *Town) ends(street int) (lo, hi float64) {
	c := t.crossings(street)
	return c[0], c[len(c)-1]
}

func (t *Town) vec(s spot) vec {
	if t.avenue(s.street) {
		return vec{t.xs[s.street], s.at}
	}
	return vec{s.at, t.ys[s.street-len(t.xs)]}
}

// beside is a position off the street, metres to one side.
func (t *Town) beside(s spot, m float64) vec {
	v := t.vec(s)
	if t.avenue(s.street) {
		v.x += m
	} else {
		v.y += m
	}
	return v
}

// faces are the middles of all blocks' sides, where houses stand.
func (t *Town) faces() []spot {
	var out []spot
	for s := range t.Streets {
		c := t.crossings(s)
		for i := 1; i < len(c); i++ {
			out = append(out, spot{s, (c[i-1] + c[i]) / 2})
		}
	}
	return out
}

// apartM keeps the shops' own geofences from overlapping, where there is room.
const apartM = 125

// open opens the shops, rather in the middle of the town.
func (t *Town) open(rng *rand.Rand, n int) {
	type candidate struct {
		spot
		rank float64
	}
	var all []candidate
	for _, f := range t.faces() {
		f.at += 40*rng.Float64() - 20
		all = append(all, candidate{f, t.vec(f).length() * (0.4 + rng.Float64())})
	}
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Compare(a.rank, b.rank) })
	var chosen, rest []spot
	for _, c := range all {
		crowded := slices.ContainsFunc(chosen, func(s spot) bool { return t.vec(s).distance(t.vec(c.spot)) < apartM })
		switch {
		case len(chosen) == n:
		case crowded:
			rest = append(rest, c.spot)
		default:
			chosen = append(chosen, c.spot)
		}
	}
	chosen = append(chosen, rest[:min(len(rest), n-len(chosen))]...)
	trades, names := trades(), lastNames()
	names = append(names, streetNames()...)
	used := map[string]int{}
	for i, door := range chosen {
		kind := trades[i%len(trades)]
		name := names[rng.IntN(len(names))] + " " + kind.nouns[rng.IntN(len(kind.nouns))]
		used[name]++
		if k := used[name]; k > 1 {
			name = fmt.Sprintf("%s %d", name, k)
		}
		setback := 10.0
		if rng.IntN(2) == 0 {
			setback = -setback
		}
		lo, _ := t.ends(door.street)
		t.Shops = append(t.Shops, Shop{
			ID: slug(name), Name: name, Tags: kind.tags,
			Address:  fmt.Sprintf("%d %s", int((door.at-lo)/8)+1, t.Streets[door.street].Name),
			Position: t.plane.point(t.vec(door)),
			InsideM:  math.Round(40 + 20*rng.Float64()), NearM: 300,
			door: door, room: t.beside(door, setback),
		})
	}
}

func slug(name string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "é", "e")
	return strings.ReplaceAll(name, " ", "-")
}

// deal gives each of n people one of the values, in shares as close to the given
// ones as n allows, in a random order: a small town has its minorities too.
func deal[T any](rng *rand.Rand, n int, shares []float64, values []T) []T {
	out := make([]T, n)
	sum := 0.0
	for _, s := range shares {
		sum += s
	}
	i, upTo := 0, 0.0
	for k, s := range shares {
		upTo += s / sum
		for ; i < n && (float64(i)+0.5 < upTo*float64(n) || k == len(shares)-1); i++ {
			out[i] = values[k]
		}
	}
	rng.Shuffle(n, func(a, b int) { out[a], out[b] = out[b], out[a] })
	return out
}

func dealBool(rng *rand.Rand, n int, share float64) []bool {
	return deal(rng, n, []float64{share, 1 - share}, []bool{true, false})
}

// located is what somebody answered to the questions about location, in the app
// and in the OS.
type located struct {
	foreground, background, precise Answer
	os                              sdkpb.Permissions_Location
	precision                       sdkpb.Permissions_Precision
}

// settle brings the people. The shares are those of a shopping app whose
// onboarding asks well; see Town's tests.
func (t *Town) settle(rng *rand.Rand, n int) {
	const (
		always, inUse, none = sdkpb.Permissions_LOCATION_ALWAYS, sdkpb.Permissions_LOCATION_WHEN_IN_USE, sdkpb.Permissions_LOCATION_NONE
		precise, reduced    = sdkpb.Permissions_PRECISION_PRECISE, sdkpb.Permissions_PRECISION_REDUCED
	)
	marketing := deal(rng, n, []float64{75, 13, 12}, []Answer{Yes, No, Never})
	profiling := deal(rng, n, []float64{60, 25, 15}, []Answer{Yes, No, Never})
	where := deal(rng, n, []float64{70, 12, 3, 3, 7, 5}, []located{
		{Yes, Yes, Yes, always, precise},
		{Yes, No, Yes, inUse, precise},
		{Yes, Yes, No, always, precise},
		{Yes, Yes, No, always, reduced},
		{No, No, No, none, precise},
		{Never, Never, Never, inUse, precise},
	})
	android := dealBool(rng, n, 0.55)
	inJSON := dealBool(rng, n, 0.3)
	modes := deal(rng, n, []float64{40, 45, 15}, []Mode{InHand, InPocket, Switch})
	notify := deal(rng, n, []float64{72, 8, 14, 6}, []sdkpb.Permissions_Notifications{
		sdkpb.Permissions_NOTIFICATIONS_GRANTED, sdkpb.Permissions_NOTIFICATIONS_PROVISIONAL,
		sdkpb.Permissions_NOTIFICATIONS_DENIED, sdkpb.Permissions_NOTIFICATIONS_UNDETERMINED,
	})
	signedIn := dealBool(rng, n, 0.8)
	spotty := dealBool(rng, n, 0.12)
	dead := dealBool(rng, n, 0.05)
	mind := dealBool(rng, n, 0.05)
	skewed := dealBool(rng, n, 0.06)
	fashion := deal(rng, n, []float64{50, 15, 35}, []int{1, -1, 0})
	starts := deal(rng, n, []float64{30, 50, 20}, []int{startHome, startStreet, startShop})
	faces := t.faces()
	first, last := firstNames(), lastNames()
	locales := []string{"en-GB", "nl-NL", "de-DE", "fr-FR"}
	for i := range n {
		p := Person{
			ID:        fmt.Sprintf("person-%04d", i+1),
			Name:      first[rng.IntN(len(first))] + " " + last[rng.IntN(len(last))],
			Marketing: marketing[i], Profiling: profiling[i],
			Foreground: where[i].foreground, Background: where[i].background, Precise: where[i].precise,
			Platform: sdkpb.Platform_PLATFORM_IOS,
			Location: where[i].os, Precision: where[i].precision, Notifications: notify[i],
			Locale: locales[rng.IntN(len(locales))],
			JSON:   inJSON[i], Mode: modes[i], Spotty: spotty[i], DeadToken: dead[i],
			index:  i,
			dwell:  time.Duration(120+rng.IntN(240)) * time.Second,
			atHome: time.Duration(120+rng.IntN(480)) * time.Second,
			wander: 0.1 + 0.25*rng.Float64(),
			pace:   1.4 * (0.85 + 0.3*rng.Float64()),
			start:  starts[i],
		}
		if android[i] {
			p.Platform = sdkpb.Platform_PLATFORM_ANDROID
			if p.Notifications == sdkpb.Permissions_NOTIFICATIONS_PROVISIONAL { // iOS only
				p.Notifications = sdkpb.Permissions_NOTIFICATIONS_GRANTED
			}
		}
		if signedIn[i] {
			p.UserID = slug(p.Name) + fmt.Sprintf("-%d", i+1)
		}
		p.Careless = p.Foreground == Never && i%2 == 0
		if mind[i] {
			p.MindAfter = time.Duration(60+rng.IntN(900)) * time.Second
		}
		if skewed[i] {
			p.ClockSkew = time.Duration(rng.IntN(360)-180) * time.Second
		}
		t.tastes(rng, &p, fashion[i])
		p.home = faces[rng.IntN(len(faces))]
		p.home.at += 40*rng.Float64() - 20
		p.Home = t.plane.point(t.beside(p.home, 8))
		t.People = append(t.People, p)
	}
}

// tastes draws what a person likes, and with it the shops.
func (t *Town) tastes(rng *rand.Rand, p *Person, fashion int) {
	switch fashion {
	case 1:
		p.Likes = append(p.Likes, "fashion")
	case -1:
		p.Dislikes = append(p.Dislikes, "fashion")
	}
	for _, topic := range topics() {
		switch roll := rng.Float64(); {
		case topic == "fashion":
		case roll < 0.3:
			p.Likes = append(p.Likes, topic)
		case roll < 0.45:
			p.Dislikes = append(p.Dislikes, topic)
		}
	}
	rank := make([]float64, len(t.Shops))
	order := make([]int, len(t.Shops))
	for i, s := range t.Shops {
		order[i] = i
		rank[i] = rng.Float64()
		for _, tag := range s.Tags {
			if slices.Contains(p.Likes, tag) {
				rank[i] += 0.5
			}
			if slices.Contains(p.Dislikes, tag) {
				rank[i] -= 1
			}
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(rank[b], rank[a]) })
	p.favourite = slices.Clone(order[:min(len(order), 3+rng.IntN(4))])
}
