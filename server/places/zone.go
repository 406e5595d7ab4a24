package places

import (
	"sync"

	"github.com/ringsaturn/tzf"
	lite "github.com/ringsaturn/tzf-rel-lite"
	pb "github.com/ringsaturn/tzf/gen/go/tzf/v1"
	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

// finder tells a zone by its borders or tiles; "" where it knows none.
type finder interface {
	GetTimezoneName(lng, lat float64) string
}

type nowhere struct{}

func (nowhere) GetTimezoneName(float64, float64) string { return "" }

// tiles are map tiles that lie within one zone.
var tiles = sync.OnceValue(func() finder {
	in := new(pb.PreindexTimezones)
	if err := proto.Unmarshal(lite.PreindexData, in); err != nil {
		return nowhere{}
	}
	f, err := tzf.NewFuzzyFinderFromPB(in)
	if err != nil {
		return nowhere{}
	}
	return f
})

// borders are the outlines of the zones, simplified.
var borders = sync.OnceValue(func() finder {
	in := new(pb.CompressedTimezones)
	if err := proto.Unmarshal(lite.LiteCompressData, in); err != nil {
		return nowhere{}
	}
	f, err := tzf.NewFinderFromCompressed(in, tzf.SetDropPBTZ)
	if err != nil {
		return nowhere{}
	}
	return f
})

// gapDegrees is how far beside a point is looked where the simplified borders of
// neighbours leave a gap between them.
const gapDegrees = 0.02

// ZoneAt finds the IANA time zone of a position; false where there is none that
// engage.Zone knows. At sea it is one of the Etc zones. It is safe for concurrent use.
func ZoneAt(p geo.Point) (string, bool) {
	if p.Validate() != nil {
		return "", false
	}
	name := zoneAt(p.Lng, p.Lat)
	for _, d := range [...][2]float64{{0, gapDegrees}, {0, -gapDegrees}, {gapDegrees, 0}, {-gapDegrees, 0}} {
		if name != "" {
			break
		}
		name = zoneAt(p.Lng+d[0], p.Lat+d[1])
	}
	_, known := engage.Zone(name)
	return name, known
}

func zoneAt(lng, lat float64) string {
	if name := tiles().GetTimezoneName(lng, lat); name != "" {
		return name
	}
	return borders().GetTimezoneName(lng, lat)
}
