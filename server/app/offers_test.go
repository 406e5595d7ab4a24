package app_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/engage"
)

// Three unique codes, from the upload to three screens, over partitions that lease them
// from one owner: each phone shows one of its own, and the fourth person is told of
// nothing, since there is none left.
func TestUniqueCodesGoTheWholeWay(t *testing.T) {
	s := newStory(t)
	s.must("PUT", "/api/v1/offers/gift", map[string]any{"name": "Gift", "status": "active", "kind": "gift", "codes": "unique"}, nil)
	var report struct{ Taken, Pool int }
	s.must("POST", "/api/v1/offers/gift/codes", map[string]any{"codes": []string{"GIFT-A", "GIFT-B", "gift-a", "GIFT-C"}}, &report)
	if report.Taken != 3 || report.Pool != 3 {
		t.Fatalf("%+v", report)
	}
	s.campaign("gifts", func(c map[string]any) {
		c["trigger"] = map[string]any{"type": "event", "event": "tick"}
		c["audience"], c["context"] = nil, nil
		c["offer"] = "gift"
		c["arms"] = []any{map[string]any{"id": "a", "message": map[string]any{"title": "{{ offer.code }}", "body": "For you", "channels": []string{"in_app"}}}}
	})
	codes := map[string]bool{}
	for i := range 4 {
		p := s.phone(fmt.Sprint("p", i), "android", nil).agree().foreground()
		if _, err := p.Track("tick", nil); err != nil {
			t.Fatal(err)
		}
		if i == 3 {
			s.want(p, "gifts", engage.Suppressed, engage.ReasonOfferSoldOut)
			break
		}
		s.eventually("the phone shows its code", func() bool { return len(p.shows()) == 1 })
		code := p.shows()[0]
		if !strings.HasPrefix(code, "GIFT-") || codes[code] {
			t.Errorf("%s was given %q; before: %v", p.name, code, codes)
		}
		codes[code] = true
	}
	s.eventually("three are counted as given", func() bool {
		if err := s.app.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		var o struct {
			Pool int64
			api.OfferCounts
		}
		s.must("GET", "/api/v1/offers/gift", nil, &o)
		return o.Pool == 3 && o.Reserved == 3 && o.Leased == 0
	})
}
