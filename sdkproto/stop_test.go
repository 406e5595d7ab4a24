package sdkproto_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/sdkproto"
)

func TestAStopIsAPhoneThatStaysAroundItsAnchor(t *testing.T) {
	const perM = 1 / 111195.08 // degrees of latitude
	type fix struct{ s, northM, accuracyM float64 }
	for _, c := range []struct {
		name  string
		after time.Duration
		fixes []fix
		want  string // what each fix changed: s it stopped, m it moves, . nothing
	}{
		{"stays", 140 * time.Second, []fix{{0, 0, 10}, {70, 30, 10}, {139, 60, 10}, {140, 60, 10}, {200, 0, 10}}, "...s."},
		{"two fixes are enough", 140 * time.Second, []fix{{0, 0, 10}, {3600, 10, 10}}, ".s"},
		{"walks", 140 * time.Second, []fix{{0, 0, 10}, {60, 80, 10}, {120, 160, 10}, {180, 240, 10}, {240, 320, 10}}, "....."},
		{"walks, then stays", 140 * time.Second, []fix{{0, 0, 10}, {60, 80, 10}, {120, 120, 10}, {199, 120, 10}, {200, 120, 10}}, "....s"},
		{"leaves beyond radius and accuracy", 140 * time.Second, []fix{{0, 0, 5}, {140, 0, 5}, {150, 75, 20}, {160, 95, 20}, {170, 95, 20}}, ".s.m."},
		{"comes back and stops anew", 140 * time.Second, []fix{{0, 0, 5}, {140, 0, 5}, {200, 100, 5}, {300, 100, 5}, {340, 100, 5}}, ".sm.s"},
		{"coarse fixes are not looked at", 140 * time.Second, []fix{{0, 0, 10}, {70, 500, 1000}, {140, 10, 10}}, "..s"},
		{"older fixes are not looked at", 140 * time.Second, []fix{{0, 0, 10}, {100, 0, 10}, {50, 500, 10}, {140, 0, 10}}, "...s"},
		{"no rule, no stop", 0, []fix{{0, 0, 10}, {10000, 0, 10}}, ".."},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := sdkproto.StopDetector{After: c.after, RadiusM: 70}
			start := time.UnixMilli(1_700_000_000_000)
			var got strings.Builder
			for _, f := range c.fixes {
				was := d.Stopped()
				switch changed := d.Fix(start.Add(time.Duration(f.s*1000)*time.Millisecond), 52+f.northM*perM, 4.9, f.accuracyM); {
				case changed != (d.Stopped() != was):
					t.Errorf("at %v s: changed is %v, stopped went from %v to %v", f.s, changed, was, d.Stopped())
				case !changed:
					fmt.Fprint(&got, ".")
				case d.Stopped():
					fmt.Fprint(&got, "s")
				default:
					fmt.Fprint(&got, "m")
				}
				if d.Stopped() == d.Since().IsZero() {
					t.Errorf("at %v s: stopped %v since %v", f.s, d.Stopped(), d.Since())
				}
			}
			if got.String() != c.want {
				t.Errorf("got %s, want %s", got.String(), c.want)
			}
		})
	}
}
