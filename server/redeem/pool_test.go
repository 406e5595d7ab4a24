package redeem_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/redeem"
)

func open(t *testing.T) *redeem.Service {
	t.Helper()
	w := newWorld(t)
	w.offers["coffee"] = &engage.Offer{ID: "coffee", Codes: engage.SharedCode, Code: "COFFEE"}
	return w.Service
}

// Codes that come in portions, over borders of documents, are there by their numbers.
func TestAPoolHasItsCodesByNumber(t *testing.T) {
	s := open(t)
	for from := 0; from < 2500; from += redeem.PortionCodes {
		var codes []string
		for n := from; n < from+redeem.PortionCodes; n++ {
			codes = append(codes, fmt.Sprintf("Gift-%04d", n))
		}
		refused, err := s.AddCodes(t.Context(), "acme", "gift", codes)
		if err != nil {
			t.Fatal(err)
		}
		for i, err := range refused {
			if err != nil {
				t.Errorf("%s: %v", codes[i], err)
			}
		}
	}
	if n, err := s.Size(t.Context(), "acme", "gift"); n != 2500 || err != nil {
		t.Errorf("%d codes, %v", n, err)
	}
	got, err := s.Fill(t.Context(), "acme", "gift", []engage.PoolCode{{N: 0}, {N: 999}, {N: 1000}, {N: 2499}, {N: 2500}, {N: 9999}})
	if want := "[{0 Gift-0000} {999 Gift-0999} {1000 Gift-1000} {2499 Gift-2499}]"; fmt.Sprint(got) != want || err != nil {
		t.Errorf("%v, %v, want %s", got, err, want)
	}
}

// A code stands once in a workspace, in whatever case and offer; what is refused stops no
// other.
func TestACodeStandsOnceInAWorkspace(t *testing.T) {
	s := open(t)
	add := func(ws, offer string, codes ...string) (out string) {
		t.Helper()
		refused, err := s.AddCodes(t.Context(), ws, offer, codes)
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range refused {
			if err == nil {
				out += "+"
			} else {
				out += string(engage.CodeOf(err)[0])
			}
		}
		return out
	}
	for _, c := range []struct{ got, want string }{
		{add("acme", "gift", "A-1", "a-1", "B 2", "x", "coffee", " c-3 "), "+ciic+"},
		{add("acme", "other", "C-3", "D-4"), "c+"},
		{add("beta", "gift", "A-1"), "+"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
	if n, err := s.Size(t.Context(), "acme", "gift"); n != 2 || err != nil {
		t.Errorf("%d codes, %v", n, err)
	}
}

// Two who upload the same codes at the same time have each of them taken once.
func TestCodesUploadedAtOnceAreTakenOnce(t *testing.T) {
	s := open(t)
	var codes []string
	for n := range 400 {
		codes = append(codes, fmt.Sprintf("CODE-%d", n))
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	taken := 0
	for range 4 {
		wg.Go(func() {
			refused, err := s.AddCodes(t.Context(), "acme", "gift", codes)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			for _, err := range refused {
				if err == nil {
					taken++
				}
			}
		})
	}
	wg.Wait()
	if n, err := s.Size(t.Context(), "acme", "gift"); n != 400 || taken != 400 || err != nil {
		t.Errorf("%d taken, %d there, %v", taken, n, err)
	}
}

// A code that a till has taken is given to nobody else, whatever became of its message.
func TestACodeThatWasRedeemedIsNotGivenAgain(t *testing.T) {
	w := newWorld(t)
	w.gift("A-1", "B-2", "C-3")
	w.reserve("d1", "B-2", "ada")
	w.redeem("x", "B-2", "redeemed")
	got, err := w.Fill(t.Context(), "acme", "gift", []engage.PoolCode{{N: 0}, {N: 1}, {N: 2}})
	if want := "[{0 A-1} {2 C-3}]"; fmt.Sprint(got) != want || err != nil {
		t.Errorf("%v, %v, want %s", got, err, want)
	}
}
