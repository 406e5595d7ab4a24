package engage_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
)

func TestACampaignIsOfTheLiveLaneUnlessItSaysBulk(t *testing.T) {
	for _, tt := range []struct {
		lane engage.Lane
		good bool
	}{{"", true}, {engage.LiveLane, true}, {engage.BulkLane, true}, {"slow", false}, {"Bulk", false}} {
		c := saying(engage.Content{Title: "T"})
		c.Lane = tt.lane
		err := c.Validate()
		if e, _ := errors.AsType[*engage.Error](err); tt.good != (err == nil) || !tt.good && (e == nil || e.Field != "lane") {
			t.Errorf("%q: %v", tt.lane, err)
		}
	}
	if out, err := json.Marshal(saying(engage.Content{Title: "T"})); err != nil || bytes.Contains(out, []byte(`"lane"`)) {
		t.Errorf("a campaign of earlier builds looks different: %s %v", out, err)
	}
}
