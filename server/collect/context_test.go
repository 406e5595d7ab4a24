package collect_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/collect"
)

// A batch's context is read once: as large as a body may be, it is not held, nor gone
// through, for each of its calls.
func TestABatchOfManyCallsDoesNotMultiplyItsContext(t *testing.T) {
	s := newSite(t)
	const calls, names = 300, 20_000
	var body strings.Builder
	body.WriteString(`{"context":{"locale":"de-AT","timezone":"Europe/Vienna","library":{"name":"l","version":"1"},"app":{"version":"` + strings.Repeat("7", 2000) + `"}`)
	for i := range names {
		fmt.Fprintf(&body, `,"n%d":%d`, i, i%10)
	}
	body.WriteString(`},"batch":[{"type":"track","event":"a","anonymousId":"x","context":{"locale":"fr"}}`)
	body.WriteString(strings.Repeat(`,{"type":"track","event":"a","anonymousId":"x"}`, calls-1) + `]}`)
	if body.Len() > 500<<10 {
		t.Fatalf("the body has %d bytes: it would be refused", body.Len())
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s.send(public, "/v1/batch", body.String())
	runtime.ReadMemStats(&after)
	touches, _ := s.took()
	if len(touches) != calls {
		t.Fatalf("%d touches", len(touches))
	}
	if d := touches[1].Device; d == nil || d.Locale != "de-AT" || d.TimeZone != "Europe/Vienna" || d.AppVersion != "" || touches[1].From.Name != "l/1" {
		t.Errorf("with the batch's context: %+v, %+v", d, touches[1].From)
	}
	if d := touches[0].Device; d == nil || d.Locale != "fr" || d.TimeZone != "Europe/Vienna" {
		t.Errorf("with its own over it: %+v", d)
	}
	if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 60 {
		t.Errorf("%d MB were allocated for a body of %d KB", mb, body.Len()>>10)
	}
}

// Calls that cannot be spend a key's rate like any other: each is a line of the list of
// what was dropped, which holds only so many.
func TestCallsThatCannotBeSpendTheRate(t *testing.T) {
	s := newSite(t, collect.Limits{CallRate: 1, MaxBatch: 3})
	const bad = `{"batch":[1,{"type":"nonsense"},{}]}`
	s.send(public, "/v1/batch", bad)
	if a := s.do("POST", "/v1/batch", []byte(bad), "Authorization", basic(public+":")); a.status != 429 || a.header.Get("Retry-After") == "" {
		t.Errorf("the next is answered %d %s", a.status, a.body)
	}
	if n := len(s.dropped()); n != 3 {
		t.Errorf("%d lines", n)
	}
}
