package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// sentCodes is how many codes a request carries.
const sentCodes = 5000

// offerLine is what the commands tell of an offer.
type offerLine struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Status  string `json:"status"`
	Kind    string `json:"kind"`
	Codes   string `json:"codes"`
	Pool    int64  `json:"pool"`
	Stock   int64  `json:"stock"`
	Version int64  `json:"version"`
}

func (c *cli) offers() *cobra.Command {
	cmd := &cobra.Command{
		Use: "offers", Short: "List offers, and upload their unique codes", Args: nothing,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.offersList(), c.offersShow(), c.offersCodes())
	return cmd
}

func offerPath(id string) string { return "/api/v1/offers/" + url.PathEscape(id) }

func (c *cli) offersList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the offers of the workspace", Args: nothing}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		return list(cmd, c, r, "/api/v1/offers", "ID\tSTATUS\tKIND\tCODES\tPOOL\tSTOCK\tVERSION\tNAME", func(w io.Writer, x offerLine) {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", x.ID, x.Status, x.Kind, x.Codes, x.Pool, x.Stock, x.Version, x.Name)
		})
	}
	return cmd
}

func (c *cli) offersShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show ID", Short: "Show an offer, and what became of it: issued, given back, redeemed", Args: exactly(1, "the offer's id")}
	c.shows(cmd, func(args []string) string { return offerPath(args[0]) }, func(raw json.RawMessage) error {
		var x struct {
			offerLine

			Total     int64              `json:"total"`
			Issued    int64              `json:"issued"`
			GivenBack int64              `json:"given_back"`
			Redeemed  int64              `json:"redeemed"`
			Voided    int64              `json:"voided"`
			Value     map[string]float64 `json:"redeemed_value"`
			Worth     map[string]float64 `json:"redeemed_worth"`
		}
		if err := json.Unmarshal(raw, &x); err != nil {
			return err
		}
		fmt.Fprintf(c.out, "%s, version %d, %s: %s\n", x.ID, x.Version, x.Status, x.Name)
		fmt.Fprintf(c.out, "kind %s, codes %s\n", x.Kind, x.Codes)
		w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "POOL\tSTOCK\tISSUED\tGIVEN BACK\tREDEEMED\tOF AT MOST\tVOIDED\tPAID\tWORTH")
		fmt.Fprintf(w, "%d\t%s\t%d\t%d\t%d\t%s\t%d\t%s\t%s\n", x.Pool, limit(x.Stock), x.Issued, x.GivenBack, x.Redeemed, limit(x.Total), x.Voided,
			money(x.Value), money(x.Worth))
		return w.Flush()
	})
	return cmd
}

// limit is a number of at most so many; 0 is no limit.
func limit(n int64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

// codeRow is a line of a file of codes.
type codeRow struct {
	line int
	code string
}

func (c *cli) offersCodes() *cobra.Command {
	cmd := &cobra.Command{
		Use: "codes ID FILE", Short: "Upload unique codes, one a line, or the first column of a CSV",
		Long: "Upload unique codes, one a line, or the first column of a CSV. What is there already is refused and told,\n" +
			"so that a file that was cut off can be sent again.",
		Args: exactly(2, "the offer's id and a file"), Example: "  footfall offers codes gift codes.csv",
	}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		f, err := os.Open(args[1]) //nolint:gosec // whoever calls the command names it
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // it is only read
		taken, refused, pool := 0, 0, int64(0)
		send := func(rows []codeRow, more bool) error {
			codes := make([]string, len(rows))
			for i := range rows {
				codes[i] = rows[i].code
			}
			var report struct {
				Taken   int `json:"taken"`
				Refused []struct {
					Index  int    `json:"index"`
					Reason string `json:"reason"`
				} `json:"refused"`
				Pool int64 `json:"pool"`
			}
			body := map[string]any{"codes": codes, "more": more}
			if err := r.call(cmd.Context(), http.MethodPost, offerPath(args[0])+"/codes", body, &report); err != nil {
				return err
			}
			taken, pool = taken+report.Taken, report.Pool
			for _, x := range report.Refused {
				if refused++; refused <= maxTold && x.Index >= 0 && x.Index < len(rows) {
					fmt.Fprintf(c.errs, "line %d: %s\n", rows[x.Index].line, x.Reason)
				}
			}
			return nil
		}
		if err := eachCodes(f, send); err != nil {
			return err
		}
		fmt.Fprintf(c.errs, "%d codes taken, %d refused; the offer has %d\n", taken, refused, pool)
		return nil
	}
	return cmd
}

// eachCodes gives the codes of a file in portions, the last one with more false. Empty
// lines are left out, and so is a first line that says "code".
func eachCodes(from io.Reader, send func(rows []codeRow, more bool) error) error {
	var rows []codeRow
	lines := bufio.NewScanner(from)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "\ufeff"), ",")
		text, _, _ = strings.Cut(text, ";")
		text = strings.Trim(strings.TrimSpace(text), `"`)
		if text == "" || n == 1 && strings.EqualFold(text, "code") {
			continue
		}
		if len(rows) == sentCodes {
			if err := send(rows, true); err != nil {
				return err
			}
			rows = nil
		}
		rows = append(rows, codeRow{n, text})
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if len(rows) == 0 {
		return fmt.Errorf("the file has no codes")
	}
	return send(rows, false)
}
