package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/config"
)

// peopleAt is what people-server prints.
type peopleAt struct {
	URL       string `json:"url"`
	Key       string `json:"key"` // the first admin key; empty when there was one
	Workspace string `json:"workspace"`
}

// peopleSettle answers whether all that was logged is in the store, after at most
// settlePatience.
const (
	peopleSettle   = "settle"
	settlePatience = 10 * time.Second
)

// benchPeopleServer is the hidden command that is the server under test.
func benchPeopleServer() *cobra.Command {
	var dir string
	cmd := &cobra.Command{Use: "people-server", Short: "The server of bench people", Args: noArgs, Hidden: true}
	cmd.Flags().StringVar(&dir, "dir", "", "its data folder")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s := benchServer{
			dir: dir,
			up: func(a *app.App, conf *config.Config) any {
				return peopleAt{a.URL(), a.FirstKey().Reveal(), conf.Workspace}
			},
			do: func(ctx context.Context, a *app.App, _ *config.Config, order []byte) (any, error) {
				var o serverOrder
				if err := json.Unmarshal(order, &o); err != nil {
					return nil, err
				}
				if o.Do == peopleSettle {
					return settledNow(ctx, a)
				}
				return serverDoes(order)
			},
		}
		return s.serve(cmd)
	}
	return cmd
}

// settledNow reports whether everything that was logged is in the store.
func settledNow(ctx context.Context, a *app.App) (bool, error) {
	soon, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	if err := a.Settle(soon); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = nil // it is asked again
		}
		return false, err
	}
	return true, a.Flush(ctx)
}

// peakRSS is the most that the process had resident.
func (p *told) peakRSS() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("memory of %s: %w", p.name, err)
	}
	for line := range strings.Lines(string(text)) {
		if kb, is := strings.CutPrefix(line, "VmHWM:"); is {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kb), "kB")), 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("memory of %s: no VmHWM", p.name)
}

// attributesOfPerson are the columns of a person beside the two ids.
const attributesOfPerson = 20

var (
	categories = []string{"shoes", "rain", "bags", "coffee", "books", "toys", "garden", "sport"}
	cities     = []string{"Delft", "Leiden", "Utrecht", "Gouda", "Zwolle", "Breda", "Arnhem", "Assen", "Hoorn", "Venlo"}
	givenNames = []string{"Ada", "Grace", "Edsger", "Barbara", "Alan", "Hedy", "Donald", "Frances", "Tony", "Margaret"}
)

func customerOf(i int) string { return fmt.Sprintf("c%07d", i) }
func userOf(i int) string     { return "user_id:" + customerOf(i) }
func emailOf(i int) string    { return "email:" + customerOf(i) + "@example.com" }

// shuffled is the next of a sequence that looks like chance (splitmix64).
func shuffled(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	z := (x ^ x>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// writePeople writes a table of n customers.
func writePeople(w io.Writer, n int) error {
	if _, err := io.WriteString(w, "user_id,email,row_number,first_name,last_name,city,postcode,country,birthday,gender,language,tier,points,"+
		"newsletter,store,registered,last_order,orders,spent,average_basket,favourite_category,shoe_size\n"); err != nil {
		return err
	}
	for i := range n {
		x := shuffled(uint64(i))
		if _, err := fmt.Fprintf(w, "%s,%s@example.com,%d,%s,Name%d,%s,%d AB,NL,19%02d-%02d-%02d,%s,nl,%s,%d,%t,store-%d,2024-%02d-%02dT10:00:00Z,2026-%02d-%02dT12:30:00Z,%d,%d.50,%d.25,%s,%d\n",
			customerOf(i), customerOf(i), i, givenNames[x%10], x%5000, cities[x>>8%10], 1000+x>>16%9000, 40+x>>20%60, 1+x>>24%12, 1+x>>28%28, []string{"f", "m", "x"}[x>>30%3],
			[]string{"basic", "silver", "gold"}[x>>32%3], x>>34%10_000, x>>36%2 == 0, x>>40%300, 1+x>>42%12, 1+x>>44%28, 1+x>>46%10, 1+x>>48%28, x>>50%100,
			x>>52%3000, x>>54%90, categories[x>>56%8], 36+x>>58%10); err != nil {
			return err
		}
	}
	return nil
}

// writeEvents writes a table of each events of n customers; two that follow each other
// are of customers far apart.
func writeEvents(w io.Writer, n, each int) error {
	if _, err := io.WriteString(w, "user_id,event,occurred_at,message_id,product_id,category,price\n"); err != nil {
		return err
	}
	stride := n*5/8 | 1 // from one to the next
	for gcd(stride, n) != 1 {
		stride += 2
	}
	began := time.Date(2026, 1, 1, 8, 0, 0, 0, time.UTC)
	for e := range each {
		for k, i := 0, e%n; k < n; k, i = k+1, (i+stride)%n {
			x := shuffled(uint64(e*n + k))
			if _, err := fmt.Fprintf(w, "%s,Product Seen,%s,m-%d-%d,sku-%d,%s,%d.95\n", customerOf(i),
				began.Add(time.Duration(e)*24*time.Hour+time.Duration(k)*time.Second).Format(time.RFC3339), e, i, x%5000, categories[x>>16%8], 5+x>>20%90); err != nil {
				return err
			}
		}
	}
	return nil
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
