package api

import (
	"math"

	"github.com/footfall-engage/footfall/server/engage"
)

// FollowedView is what followed decisions within the campaign's window.
type FollowedView struct {
	People    int64              `json:"people"`
	Visited   int64              `json:"visited"`
	Bought    int64              `json:"bought"`
	Reached   int64              `json:"reached"`
	Goals     int64              `json:"goals"`
	LastTouch int64              `json:"last_touch"`
	Assisted  int64              `json:"assisted"`
	Orders    int64              `json:"orders"`
	Value     map[string]float64 `json:"value,omitempty" doc:"By currency (ISO 4217), in its units"`
}

func (f *FollowedView) add(c engage.Counts) {
	f.People += c.People
	f.Visited += c.Visited
	f.Bought += c.Bought
	f.Reached += c.Reached
	f.Goals += c.Goals
	f.LastTouch += c.LastTouch
	f.Assisted += c.Assisted
	f.Orders += c.Orders
	f.Value = addMoney(f.Value, moneyOf(c.Value))
}

// sharesView are shares of an arm's persons.
type sharesView struct {
	Visited shareView `json:"visited"`
	Bought  shareView `json:"bought"`
	Reached shareView `json:"reached"`
}

// shareView is a share with its interval. Those of two arms that overlap do not show that
// the arms are the same, nor those that do not how much the one causes.
type shareView struct {
	Rate float64 `json:"rate" minimum:"0" maximum:"1"`
	Low  float64 `json:"low" doc:"The lower end of its 95 % interval (Wilson)"`
	High float64 `json:"high"`
}

// ratesOf an arm; nil where nobody was assigned.
func ratesOf(c engage.Counts) *sharesView {
	if c.People <= 0 {
		return nil
	}
	return &sharesView{rateOf(c.Visited, c.People), rateOf(c.Bought, c.People), rateOf(c.Reached, c.People)}
}

// rateOf is x of n with Wilson's score interval (Wilson, Probable Inference, JASA 22, 1927),
// which unlike that of the normal approximation holds also for small numbers and rare events.
// In a span of time what is counted can be of persons who were assigned before it: the share
// is at most 1.
func rateOf(x, n int64) shareView {
	const z = 1.959963984540054 // the 97.5 % quantile of the standard normal distribution
	x = min(max(x, 0), n)
	p, m := float64(x)/float64(n), float64(n)
	middle := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	v := shareView{Rate: p, Low: max(middle-half, 0), High: min(middle+half, 1)}
	if x == 0 {
		v.Low = 0
	}
	if x == n {
		v.High = 1
	}
	return v
}
