package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// resultCounts are what is shown of the counts of a time, an arm, or all.
type resultCounts struct {
	Decided    int64              `json:"decided"`
	HeldOut    int64              `json:"held_out"`
	Sent       int64              `json:"sent"`
	Suppressed int64              `json:"suppressed"`
	Delivered  int64              `json:"delivered"`
	Displayed  int64              `json:"displayed"`
	Opened     int64              `json:"opened"`
	People     int64              `json:"people"`
	Visited    int64              `json:"visited"`
	Bought     int64              `json:"bought"`
	Reached    int64              `json:"reached"`
	Goals      int64              `json:"goals"`
	LastTouch  int64              `json:"last_touch"`
	Assisted   int64              `json:"assisted"`
	Value      map[string]float64 `json:"value"`
	// Redeemed are codes that tills took, those included that were Voided later;
	// RedeemedValue is what was paid with those that stand, by currency.
	Redeemed      int64              `json:"redeemed"`
	Voided        int64              `json:"voided"`
	RedeemedValue map[string]float64 `json:"redeemed_value"`
}

// taken are the codes that tills took, in words.
func (c *resultCounts) taken() string {
	if c.Voided > 0 {
		return fmt.Sprintf("%d (%d voided)", c.Redeemed, c.Voided)
	}
	return fmt.Sprint(c.Redeemed)
}

type resultShare struct{ Rate, Low, High float64 }

type resultReason struct {
	Reason string  `json:"reason"`
	Count  int64   `json:"count"`
	Words  string  `json:"words"`
	Share  float64 `json:"share"`
	Advice string  `json:"advice"`
}

type resultWhy struct {
	Moments int64          `json:"moments"`
	Decided float64        `json:"decided"`
	Words   string         `json:"words"`
	Reasons []resultReason `json:"reasons"`
}

type resultPoint struct {
	From time.Time `json:"from"`
	resultCounts
}

type resultSpan struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	By   string    `json:"by"`
	Zone string    `json:"zone"`
}

func (c *cli) campaignsResults() *cobra.Command {
	cmd := &cobra.Command{
		Use: "results [ID]", Short: "Say what became of a campaign, or of all, over time, and why people did not get it", Args: cobra.MaximumNArgs(1),
		Long: `Say what became of a campaign, or without ID of all, since ever or over time, and with --why
why people did not get it and what could be done. What followed (visited, bought, reached) is of the
persons who were assigned to the arm, in the arms and in the control group alike, with the share and
its 95 % interval. A code that a till redeemed is no purchase by itself: what is bought is told by
order events. Times are RFC 3339 or days.`,
		Example: `  footfall campaigns results rainy-day
  footfall campaigns results rainy-day --by day --from 2027-03-01
  footfall campaigns results rainy-day --by hour --why
  footfall campaigns results --why`,
	}
	f := cmd.Flags()
	q := url.Values{}
	times := map[string]*string{"from": f.String("from", "", "at this time or later"), "to": f.String("to", "", "before this time")}
	texts := map[string]*string{"by": f.String("by", "", "hour or day"), "zone": f.String("zone", "", "whose days, such as Europe/Amsterdam; absent: UTC")}
	why := f.Bool("why", false, "all reasons of the gates' no, and what could be done")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		for name, text := range times {
			at, err := momentOf(*text)
			if err != nil {
				return usageError{fmt.Errorf("--%s: %w", name, err)}
			}
			if !at.IsZero() {
				q.Set(name, at.Format(time.RFC3339))
			}
		}
		for name, text := range texts {
			if *text != "" {
				q.Set(name, *text)
			}
		}
		return nil
	}
	one := false
	c.shows(cmd, func(args []string) string {
		path := "/api/v1/results"
		if one = len(args) == 1; one {
			path = campaignPath(args[0]) + "/results"
		}
		if len(q) > 0 {
			path += "?" + q.Encode()
		}
		return path
	}, func(raw json.RawMessage) error {
		if one {
			return c.tellResults(raw, *why)
		}
		return c.tellAllResults(raw, *why)
	})
	return cmd
}

func (c *cli) tellResults(raw json.RawMessage, why bool) error {
	var x struct {
		Campaign, Name, Status string
		Span                   *resultSpan
		Arms                   []struct {
			Arm     string
			Control bool
			resultCounts
			Rates *struct{ Visited, Bought, Reached resultShare }
		}
		Suppressed []resultReason
		Why        resultWhy
		Series     []resultPoint
	}
	if err := json.Unmarshal(raw, &x); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s (%s), %s%s\n\n", x.Campaign, x.Name, statusWord(x.Status), spanWords(x.Span))
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ARM\tDECIDED\tSENT\tDELIVERED\tDISPLAYED\tOPENED\tPEOPLE\tVISITED\tBOUGHT\tREACHED\tLAST TOUCH\tASSISTED\tVALUE\tREDEEMED\tREDEEMED VALUE")
	for _, a := range x.Arms {
		name := a.Arm
		if a.Control {
			name += " (control)"
		}
		visited, bought, reached := fmt.Sprint(a.Visited), fmt.Sprint(a.Bought), fmt.Sprint(a.Reached)
		if r := a.Rates; r != nil {
			visited += r.Visited.String()
			bought += r.Bought.String()
			reached += r.Reached.String()
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", name, a.Decided, a.Sent, a.Delivered, a.Displayed, a.Opened, a.People,
			visited, bought, reached, a.LastTouch, a.Assisted, money(a.Value), a.taken(), money(a.RedeemedValue))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := chart(c.out, x.Series, x.Span); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "\n%s\n", x.Why.Words)
	if why {
		return tellReasons(c.out, x.Suppressed)
	}
	return nil
}

func (c *cli) tellAllResults(raw json.RawMessage, why bool) error {
	var x struct {
		Span      *resultSpan
		Campaigns []struct {
			Campaign, Status string
			Totals           resultCounts
			Why              resultWhy
		}
		Suppressed []resultReason
		Series     []resultPoint
	}
	if err := json.Unmarshal(raw, &x); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%d campaigns%s\n\n", len(x.Campaigns), spanWords(x.Span))
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CAMPAIGN\tSTATUS\tMOMENTS\tDECIDED\tHELD OUT\tSENT\tDISPLAYED\tOPENED\tREDEEMED\tREDEEMED VALUE\tMOST FREQUENT NO")
	for _, a := range x.Campaigns {
		no := "-"
		if len(a.Why.Reasons) > 0 {
			r := a.Why.Reasons[0]
			no = fmt.Sprintf("%s (%s)", r.Words, percent(r.Share))
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\n", a.Campaign, a.Status, a.Why.Moments, a.Totals.Decided, a.Totals.HeldOut, a.Totals.Sent, a.Totals.Displayed, a.Totals.Opened, a.Totals.taken(), money(a.Totals.RedeemedValue), no)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := chart(c.out, x.Series, x.Span); err != nil {
		return err
	}
	if why {
		return tellReasons(c.out, x.Suppressed)
	}
	return nil
}

// String is the share with its interval, as it stands behind a count.
func (s resultShare) String() string {
	return fmt.Sprintf(" (%s, %s to %s)", percent(s.Rate), percent(s.Low), percent(s.High))
}

func percent(share float64) string {
	if share > 0 && share < 0.1 {
		return fmt.Sprintf("%.1f%%", 100*share)
	}
	return fmt.Sprintf("%.0f%%", 100*share)
}

func money(by map[string]float64) string {
	if len(by) == 0 {
		return "-"
	}
	var out []string
	for _, currency := range slices.Sorted(maps.Keys(by)) {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%.2f %s", by[currency], currency)))
	}
	return strings.Join(out, ", ")
}

func spanWords(s *resultSpan) string {
	if s == nil {
		return ", since ever"
	}
	zone := "UTC"
	at := func(t time.Time) string {
		if z, err := time.LoadLocation(s.Zone); err == nil && s.Zone != "" {
			zone, t = s.Zone, t.In(z)
		}
		return t.Format("2006-01-02 15:04")
	}
	return fmt.Sprintf(", %s to %s %s", at(s.From), at(s.To), zone)
}

// barWidth of the longest bar.
const barWidth = 40

// chart draws what was sent and what was not, as bars of one scale.
func chart(out io.Writer, series []resultPoint, span *resultSpan) error {
	if span == nil {
		return nil
	}
	if len(series) == 0 {
		_, err := fmt.Fprintln(out, "\nNothing was counted in this time.")
		return err
	}
	layout, zone := time.DateOnly, time.UTC
	if span.By == "hour" {
		layout = "2006-01-02 15:04"
	} else if z, err := time.LoadLocation(span.Zone); err == nil && span.Zone != "" {
		zone = z
	}
	most := int64(1)
	for _, p := range series {
		most = max(most, p.Sent, p.Suppressed)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n%s\tSENT\t\tNOT SENT\t\n", strings.ToUpper(span.By))
	for _, p := range series {
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%s\n", p.From.In(zone).Format(layout), p.Sent, blocks(p.Sent, most), p.Suppressed, blocks(p.Suppressed, most))
	}
	return w.Flush()
}

// blocks are a bar in eighths of a block; whatever is not nothing is seen.
func blocks(n, most int64) string {
	if n <= 0 {
		return ""
	}
	eighths := max(1, n*barWidth*8/most)
	text := strings.Repeat("█", int(eighths/8))
	if rest := eighths % 8; rest > 0 {
		text += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return text
}

func tellReasons(out io.Writer, reasons []resultReason) error {
	if len(reasons) == 0 {
		_, err := fmt.Fprintln(out, "\nNo gate said no.")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nNO\tSHARE\t\tWHY\tWHAT COULD BE DONE")
	for _, r := range reasons {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s (%s)\t%s\n", r.Count, percent(r.Share), blocks(r.Count, max(1, 2*reasons[0].Count)), r.Words, r.Reason, r.Advice)
	}
	return w.Flush()
}
