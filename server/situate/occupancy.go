package situate

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// Occupancy is what this partition knows of how full a workspace's places are: key
// "<workspace>/o:places@<partition>".
type Occupancy struct {
	V  int              `json:"v"` // 1
	At time.Time        `json:"at"`
	Is engage.Occupancy `json:"is"` // never changed
}

// Clone implements engage.State.
func (o *Occupancy) Clone() engage.State {
	c := *o
	return &c
}

// Encode implements engage.State.
func (o *Occupancy) Encode() ([]byte, error) { return json.Marshal(o) }

func occupancyKey(tx engage.Tx, workspace string) string {
	return engage.OccupancyKey(workspace) + "@" + tx.Position().Partition
}

func applyOccupancy(tx engage.Tx, e engage.Entry) error {
	o := &Occupancy{V: 1, At: e.At}
	if err := json.Unmarshal(e.Body, &o.Is); err != nil {
		return fmt.Errorf("occupancy: %w", err)
	}
	tx.Put(occupancyKey(tx, e.Workspace()), o)
	return nil
}

// attach puts on a trigger what is known of its place beside what happened: the weather
// and how full it is.
func (s *step) attach(t *engage.Trigger, place *engage.Place) error {
	if s.config.wantsOccupancy {
		st, err := s.tx.Load(occupancyKey(s.tx, s.ws))
		if err != nil {
			return err
		}
		if o, known := st.(*Occupancy); known && s.e.At.Sub(o.At) <= engage.MaxOccupancyAge {
			if n, counted := o.Is.Places[place.ID]; counted || !o.Is.Partial {
				t.Occupancy = &n
			}
		}
	}
	return s.attachWeather(t, place)
}
