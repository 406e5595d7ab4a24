package uploads_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/uploads"
)

// orders by the touches that told of them, in short.
func ordersOf(t *testing.T, entries []engage.Entry) []string {
	t.Helper()
	var out []string
	for _, e := range entries {
		x := touchOf(t, e)
		b, err := json.Marshal(x.Order)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprint(strings.Join(x.Identifiers, " "), " ", e.Occurred.Format("15:04:05"), " ", x.Event.Properties, " ", string(b)))
	}
	return out
}

// receipts is a till's table with a row for each line of n orders: the i-th has i % 9 + 1
// of them, and every 50th a line that is refused.
func receipts(n int) (text string, rows, refused int) {
	var b strings.Builder
	b.WriteString("Receipt,customer_no,date,currency,store,sku,qty,unit_price\n")
	for i := range n {
		for k := range i%9 + 1 {
			price := "1.10"
			if i%50 == 49 && k == i%9 {
				price, refused = "free", refused+i%9+1
			}
			fmt.Fprintf(&b, "r%d,c%d,2026-10-01T10:00:0%dZ,eur,cafe,s%d,2,%s\n", i, i%40, k, k, price)
			rows++
		}
	}
	return b.String(), rows, refused
}

// The rows of an order are one order, also where a portion ends between them and where the
// server dies between them; the same file again is the same orders.
func TestRowsOfAnOrderAreOneOrderWhateverComesBetween(t *testing.T) {
	const n = 3100 // more than the index has room for at first
	text, rows, refused := receipts(n)
	for name, file := range map[string]string{"plain": text, "gzip": zipped(text)} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			id := d.give(uploads.Making{Kind: uploads.Purchases}, file)
			starts := 0
			for ; !d.get(id).State.Ended(); starts++ {
				before := len(d.log.batches)
				d.log.most = before + 13
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- d.Run(ctx) }()
				d.wait(func() bool {
					d.log.mu.Lock()
					n := len(d.log.batches)
					d.log.mu.Unlock()
					d.clock.Advance(300 * time.Millisecond)
					return n >= before+13 || d.get(id).State.Ended()
				})
				cancel()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				d.open()
			}
			u := d.get(id)
			if u.State != uploads.Done || u.Read != int64(rows) || u.Refused != int64(refused) || u.Taken != int64(rows-refused) || starts < 4 {
				t.Errorf("after %d starts: %+v, want %d rows, %d refused", starts, u, rows, refused)
			}
			if u.Decided["sku"] != "line.id" || u.Decided["unit_price"] != "line.price" || u.Decided["Receipt"] != "order_id" {
				t.Errorf("read by %v", u.Decided)
			}
			all, again := d.log.touches(t)
			if len(all) != n-n/50 || again == 0 {
				t.Fatalf("%d orders, %d told again", len(all), again)
			}
			for _, e := range all {
				x := touchOf(t, e)
				var i int
				if _, err := fmt.Sscanf(x.Order.ID, "r%d", &i); err != nil {
					t.Fatal(err)
				}
				lines := i%9 + 1
				if want := float64(22*lines) / 10; len(x.Order.Products) != lines || x.Order.Value != want || x.Identifiers[0] != fmt.Sprintf("user_id:c%d", i%40) || e.Occurred.Second() != 0 {
					t.Fatalf("order %+v of %v, want %d lines, %v", x.Order, x.Identifiers, lines, want)
				}
			}
			d.log.most = 0
			second := d.give(uploads.Making{Kind: uploads.Purchases}, text+"\n")
			d.run(d.ended(second))
			if all, _ := d.log.touches(t); len(all) != n-n/50 {
				t.Errorf("the same rows again make %d orders", len(all))
			}
			if left, err := filepath.Glob(filepath.Join(d.dir, "*", "orders*")); err != nil || len(left) != 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}

func TestWhatTheRowsOfAnOrderSayTogether(t *testing.T) {
	m := uploads.Mapping{
		"no": "order_id", "card": "loyalty", "mail": "email", "at": "occurred_at", "cur": "currency", "sum": "value", "art": "line.id", "pc": "line.quantity",
		"amt": "line.value", "how": "status", "till": "properties.till", "c": "coupon",
	}
	for _, c := range []struct{ name, text, want, report string }{
		{
			"a sum of lines, one of them a discount; who and when stand where they like",
			"1,,,,EUR,,a,2,5,,7,\n1,k1,,2026-10-01T10:00:05Z,,,b,,0.30,,,\n1,,a@example.com,2026-10-01T10:00:02Z,EUR,,,,-0.20,,,SAVE\n",
			`email:a@example.com loyalty:k1 10:00:02 map[till:7] {"id":"1","status":"completed","value":5.1,"currency":"EUR","coupon":"SAVE","products":[{"id":"a","price":2.5,"quantity":2},{"id":"b","price":0.3}]}`, "",
		},
		{
			"the value of the whole, in each row",
			"1,k1,,2026-10-01,,9.9,a,1,,,,\n1,k1,,2026-10-01,,9.9,b,1,,,,\n",
			`loyalty:k1 00:00:00 map[] {"id":"1","status":"completed","value":9.9,"products":[{"id":"a","quantity":1},{"id":"b","quantity":1}]}`, "",
		},
		{
			"a refund is another",
			"1,k1,,2026-10-01,,,a,,5,,,\n1,k1,,2026-10-01,,,b,,6,,,\n1,k1,,2026-10-01,,,a,,5,refunded,,\n",
			`loyalty:k1 00:00:00 map[] {"id":"1","status":"completed","value":11,"products":[{"id":"a","price":5},{"id":"b","price":6}]}` + "\n" +
				`loyalty:k1 00:00:00 map[] {"id":"1","status":"refunded","value":5,"products":[{"id":"a","price":5}]}`, "",
		},
		{
			"two currencies",
			"1,k1,,2026-10-01,EUR,,a,,5,,,\n1,k1,,2026-10-01,,,a,,5,,,\n1,k1,,2026-10-01,USD,,a,,5,,,\n2,k1,,2026-10-01,,,a,,5,,,\n",
			`loyalty:k1 00:00:00 map[] {"id":"2","status":"completed","value":5,"products":[{"id":"a","price":5}]}`,
			"2 no: of which row 4 is refused|3 no: of which row 4 is refused|4 cur: another than in row 2",
		},
		{
			"two persons", "1,k1,,2026-10-01,,,a,,5,,,\n1,k2,,2026-10-01,,,a,,5,,,\n", "",
			"2 no: of which row 3 is refused|3 card: names another person than the rows from row 2",
		},
		{
			"two values, and two days", "1,k1,,2026-10-01,,5,a,,,,,\n1,k1,,2026-10-01,,6,a,,,,,\n2,k1,,2026-10-01,,5,a,,,,,\n2,k1,,2026-10-03,,5,a,,,,,\n", "",
			"2 no: of which|3 sum: its target is line.value|4 no: of which row 5|5 at: another than in row 4",
		},
		{
			"a line that cannot be read, with and without its order's id",
			"1,k1,,2026-10-01,,,a,,5,,,\n1,k1,,2026-10-01,,,b,many,5,,,\n2,k1,,2026-10-01,,,a,,5,,,\nx\n2,k1,,2026-10-01,,,b,,5,,,\nx\n3,k1,,2026-10-01,,,a,,5,,,\n",
			`loyalty:k1 00:00:00 map[] {"id":"3","status":"completed","value":5,"products":[{"id":"a","price":5}]}`,
			"2 no: of which row 3|3 pc: must be a number|4 no: of which row 5|5 row: has 1 cells|6 no: of which row 5|7 row: has 1 cells",
		},
		{
			"rows apart", "1,k1,,2026-10-01,,,a,,5,,,\n2,k1,,2026-10-01,,,a,,6,,,\n1,k1,,2026-10-01,,,b,,5,,,\n",
			`loyalty:k1 00:00:00 map[] {"id":"1","status":"completed","value":5,"products":[{"id":"a","price":5}]}` + "\n" +
				`loyalty:k1 00:00:00 map[] {"id":"2","status":"completed","value":6,"products":[{"id":"a","price":6}]}`,
			"4 no: has rows before, from row 2 on",
		},
		{
			"nobody, no time, no worth, less than nothing", "1,,,2026-10-01,,,a,,5,,,\n2,k1,,,,,a,,5,,,\n3,k1,,2026-10-01,,,a,2,,,,\n4,k1,,2026-10-01,,,a,,-1,,,\n,k1,,2026-10-01,,,a,,5,,,\n", "",
			"2 identifiers: missing in all rows|3 at: missing in all rows|4 amt: is missing|5 amt: less than 0|6 order_id: is missing",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t)
			id := d.give(uploads.Making{Kind: uploads.Purchases, Mapping: m}, "no,card,mail,at,cur,sum,art,pc,amt,how,till,c\n"+c.text)
			d.run(d.ended(id))
			all, _ := d.log.touches(t)
			if got := strings.Join(ordersOf(t, all), "\n"); got != c.want {
				t.Errorf("orders\n%s\nwant\n%s", got, c.want)
			}
			lines := strings.Split(strings.TrimSuffix(d.report(id), "\n"), "\n")
			wants := strings.Split(c.report, "|")
			if len(lines) != len(wants) {
				t.Fatalf("report\n%s\nwant %s", strings.Join(lines, "\n"), c.report)
			}
			for i, want := range wants {
				var x uploads.Refused
				if c.report == "" {
					break
				}
				if err := json.Unmarshal([]byte(lines[i]), &x); err != nil {
					t.Fatal(err)
				}
				if got := fmt.Sprintf("%d %s: %s", x.Row, x.Field, x.Reason); !has(got, want) {
					t.Errorf("refused %q, want %q", got, want)
				}
			}
		})
	}
}

// has reports whether a text begins as the other until its colon, and has the rest.
func has(got, want string) bool {
	head, rest, _ := strings.Cut(want, ": ")
	return strings.HasPrefix(got, head+": ") && strings.Contains(got, rest)
}

// An order without end does not fill the memory, and none of its rows is taken.
func TestAnOrderOfTooManyRowsIsRefusedInPortions(t *testing.T) {
	d := newDesk(t)
	var b strings.Builder
	b.WriteString("order_id,user_id,date,sku,price\n")
	for range 1300 {
		b.WriteString("o1,ada,2026-10-01,a,1\n")
	}
	b.WriteString("o2,ada,2026-10-01,a,1\n")
	id := d.give(uploads.Making{Kind: uploads.Purchases}, b.String())
	d.run(d.ended(id))
	if u := d.get(id); u.Read != 1301 || u.Refused != 1300 || u.Taken != 1 || strings.Count(d.report(id), "more than 500 rows, which begins in row 2") != 1300 {
		t.Errorf("%+v", u)
	}
}

// The sum of a file that breaks off cannot be known for the order at its end.
func TestTheLastOrderOfAFileThatBreaksOffIsRefused(t *testing.T) {
	d := newDesk(t)
	text, rows, _ := receipts(4000)
	file := zipped(text)
	id := d.give(uploads.Making{Kind: uploads.Purchases}, file[:len(file)*3/4])
	d.run(d.ended(id))
	u := d.get(id)
	if u.State != uploads.Failed || u.Taken == 0 || u.Read >= int64(rows) || !strings.Contains(d.report(id), "at whose rows the file breaks off") {
		t.Errorf("%+v", u)
	}
	all, _ := d.log.touches(t)
	for _, e := range all {
		x := touchOf(t, e)
		var i int
		if _, err := fmt.Sscanf(x.Order.ID, "r%d", &i); err != nil || len(x.Order.Products) != i%9+1 {
			t.Fatalf("half an order: %+v", x.Order)
		}
	}
}

func TestLinesAreShownInAPreviewAndAskedForByAMapping(t *testing.T) {
	text, _, _ := receipts(12)
	p := look(t, uploads.Purchases, nil, text)
	if p.Refused != 0 || len(p.Rows) != 10 || p.Rows[8].Order.Products == nil || len(p.Rows[8].Order.Products) != 9 {
		t.Errorf("preview %+v", p)
	}
	_, err := uploads.Look(strings.NewReader(text), uploads.Previewing{
		Kind: uploads.Purchases, Now: now, Mapping: uploads.Mapping{"Receipt": "order_id", "customer_no": "user_id", "date": "occurred_at", "sku": "line.id", "qty": "products"},
	})
	if engage.CodeOf(err) != engage.Invalid || !strings.Contains(err.Error(), "products and line") {
		t.Errorf("products and lines: %v", err)
	}
	_, err = uploads.Look(strings.NewReader(text), uploads.Previewing{
		Kind: uploads.Purchases, Now: now, Mapping: uploads.Mapping{"Receipt": "order_id", "customer_no": "user_id", "date": "occurred_at", "sku": "line.id"},
	})
	if engage.CodeOf(err) != engage.Invalid || !strings.Contains(err.Error(), "value") {
		t.Errorf("no worth: %v", err)
	}
	// Lines of JSON are of an order where a mapping says so.
	d := newDesk(t)
	lines := `{"o":"1","user_id":"ada","at":"2026-10-01","sku":"a","v":5}` + "\n" + `{"v":"x","o":"1"}` + "\n" + `{"o":"2","user_id":"ada","at":"2026-10-01","sku":"a","v":5}` + "\n" + `{"o":"2","sku":"b","v":6}` + "\n"
	id := d.give(uploads.Making{Kind: uploads.Purchases, Mapping: uploads.Mapping{"o": "order_id", "user_id": "user_id", "at": "occurred_at", "sku": "line.id", "v": "line.value"}}, lines)
	d.run(d.ended(id))
	all, _ := d.log.touches(t)
	if got := ordersOf(t, all); len(got) != 1 || !strings.Contains(got[0], `"id":"2","status":"completed","value":11`) || d.get(id).Refused != 2 {
		t.Errorf("%v, refused %s", got, d.report(id))
	}
	if files, err := os.ReadDir(d.dir); err != nil || len(files) != 1 || !slices.ContainsFunc(files, os.DirEntry.IsDir) {
		t.Errorf("%v %v", files, err)
	}
}
