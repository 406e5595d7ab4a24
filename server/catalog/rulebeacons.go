package catalog

import (
	"fmt"
	"slices"

	"github.com/footfall-engage/footfall/server/engage"
)

// BeaconPlace is the id of the place where a beacon stands; empty when there is none.
func (s *Snapshot) BeaconPlace(workspace, beacon string) string {
	return s.beacons[workspace+"/"+beacon]
}

// triggerBeacons refuses a trigger that names a beacon which there is not. One that the
// campaign named before is left alone, as rulesPlaces has it.
func triggerBeacons(s *Snapshot, old, cam *engage.Campaign) error {
	for i, id := range cam.Trigger.Beacons {
		if s.BeaconPlace(cam.Workspace, id) == "" && (old == nil || !slices.Contains(old.Trigger.Beacons, id)) {
			return engage.Errorf(engage.Invalid, fmt.Sprintf("trigger.beacons[%d]", i), "there is no beacon %q", id)
		}
	}
	return nil
}
