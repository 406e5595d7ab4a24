package main

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/footfall-engage/footfall/server/engage"
)

const redemptionsPath = "/api/v1/redemptions"

func redemptionPath(id string) string { return redemptionsPath + "/" + url.PathEscape(id) }

// tillAnswer is what a till hears of a redemption, and of a code that it looks at.
type tillAnswer struct {
	ID       string                 `json:"id"`
	State    engage.RedemptionState `json:"state"` // of a code: "redeemable", or why not
	Words    string                 `json:"words"` // of a code
	Code     string                 `json:"code"`
	At       time.Time              `json:"at"`
	VoidedAt time.Time              `json:"voided_at"`
	Worth    float64                `json:"worth"`
	Currency string                 `json:"currency"`
	Again    bool                   `json:"again"`
	Offer    *struct {
		Name     string           `json:"name"`
		Kind     engage.OfferKind `json:"kind"`
		Value    float64          `json:"value"`
		Currency string           `json:"currency"`
		Terms    string           `json:"terms"`
	} `json:"offer"`
}

func (c *cli) redemptions() *cobra.Command {
	cmd := &cobra.Command{
		Use: "redemptions", Short: "Redeem codes as a till does, look at them, take them back and search them", Args: nothing,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.redemptionsList(), c.redemptionsGet(), c.redemptionsRedeem(), c.redemptionsCheck(), c.redemptionsVoid())
	return cmd
}

func (c *cli) redemptionsList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "Search redemptions, the newest first", Args: nothing,
		Long: `Search redemptions, the newest first, as long as they are kept (history.offers_days).
PERSON is a profile id, an identifier such as user_id:ada, or install:ID. With --json each line is one redemption.`,
		Example: `  footfall redemptions list --offer gift --from 2027-03-01
  footfall redemptions list --place cafe --state voided
  footfall redemptions list --person user_id:ada --most 20`,
	}
	f := cmd.Flags()
	c.searches(cmd, redemptionsPath, "redemptions", map[string]*string{
		"offer": f.String("offer", "", "only of this offer"), "campaign": f.String("campaign", "", "only of messages of this campaign"),
		"person": f.String("person", "", "only of this person"), "place": f.String("place", "", "only at this place"),
		"code": f.String("code", "", "only of this code"), "state": f.String("state", "", "only in this state: redeemed, voided"),
	}, "AT\tSTATE\tOFFER\tCODE\tPLACE\tVALUE\tWORTH\tCAMPAIGN\tPERSON\tID", func(w io.Writer, raw json.RawMessage) error {
		var r engage.Redemption
		if err := json.Unmarshal(raw, &r); err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.At.UTC().Format(time.DateTime), r.State, r.Offer, r.Code, cmp.Or(r.Place, "-"),
			cmp.Or(sum(r.Value, r.Currency), "-"), cmp.Or(sum(r.Worth, r.Currency), "-"), cmp.Or(r.Campaign, "-"), cmp.Or(r.Profile, "-"), r.ID)
		return nil
	})
	return cmd
}

// sum is a sum for people; empty: it is not known.
func sum(units float64, currency string) string {
	if units == 0 {
		return ""
	}
	return strings.TrimSpace(fmt.Sprintf("%.2f %s", units, currency))
}

func (c *cli) redemptionsGet() *cobra.Command {
	cmd := &cobra.Command{Use: "get ID", Short: "Show a redemption", Args: exactly(1, "the redemption's id")}
	c.shows(cmd, func(args []string) string { return redemptionPath(args[0]) }, func(raw json.RawMessage) error {
		var r engage.Redemption
		if err := json.Unmarshal(raw, &r); err != nil {
			return err
		}
		fmt.Fprintf(c.out, "the code %s of the offer %s, redeemed %s UTC by the key %s\n", r.Code, r.Offer, r.At.UTC().Format(time.DateTime), r.By)
		for _, x := range [][2]string{
			{"id", r.ID},
			{"the till's id", r.Ref},
			{"place", r.Place},
			{"order", r.Order},
			{"paid", sum(r.Value, r.Currency)},
			{"worth", sum(r.Worth, r.Currency)},
			{"person", r.Profile},
			{"message", r.Delivery},
			{"campaign", r.Campaign},
			{"arm", r.Arm},
		} {
			if x[1] != "" {
				fmt.Fprintf(c.out, "  %s: %s\n", x[0], x[1])
			}
		}
		if r.State == engage.Voided {
			fmt.Fprintf(c.out, "voided %s UTC by the key %s: %s\n", r.VoidedAt.UTC().Format(time.DateTime), r.VoidedBy, cmp.Or(r.VoidReason, "-"))
		}
		return nil
	})
	return cmd
}

// tillBody is what a till says of a code.
type tillBody struct {
	ID       string  `json:"id,omitempty"`
	Code     string  `json:"code"`
	Delivery string  `json:"delivery,omitempty"`
	Person   string  `json:"person,omitempty"`
	Place    string  `json:"place,omitempty"`
	Order    string  `json:"order,omitempty"`
	Value    float64 `json:"value,omitempty"`
	Worth    float64 `json:"worth,omitempty"`
	Currency string  `json:"currency,omitempty"`
}

// tillFlags adds what a till may say besides the code.
func tillFlags(cmd *cobra.Command) func(code string) (*tillBody, error) {
	var b tillBody
	f := cmd.Flags()
	f.StringVar(&b.Place, "place", "", "id of the place of the till")
	f.StringVar(&b.Order, "order", "", "your id of the purchase")
	f.Float64Var(&b.Value, "value", 0, "what the customer pays, in the currency")
	f.Float64Var(&b.Worth, "worth", 0, "what the offer takes off or gives (default: what the offer says)")
	f.StringVar(&b.Currency, "currency", "", "ISO 4217, such as EUR (default: the offer's)")
	f.StringVar(&b.Person, "person", "", "of a shared code: who redeems it, such as loyalty:123, or the id of a known profile")
	f.StringVar(&b.Delivery, "delivery", "", "of a shared code: id of the message that brought it")
	return func(code string) (*tillBody, error) {
		for name, x := range map[string]float64{"value": b.Value, "worth": b.Worth} {
			if math.IsNaN(x) || math.IsInf(x, 0) { // no JSON has it
				return nil, usageError{fmt.Errorf("--%s: must be a number", name)}
			}
		}
		b.Code = code
		return &b, nil
	}
}

func (c *cli) redemptionsRedeem() *cobra.Command {
	cmd := &cobra.Command{
		Use: "redeem CODE", Short: "Redeem a code, and say what the customer gets", Args: exactly(1, "the code"),
		Long: `Redeem a code, and say what the customer gets; exit code 1 says that it was not redeemed, and why.
Asked the same again with the same --id nothing is redeemed twice. A key of the role till is enough.`,
		Example: "  footfall redemptions redeem GIFT-7Q2 --place cafe --order r-1042 --value 12.50 --currency EUR",
	}
	id := cmd.Flags().String("id", "", "your id of this redemption, unique in the workspace, such as shop-4/till-2/receipt-1042/line-1 (default: a new one)")
	asJSON := cmd.Flags().Bool("json", false, "print the server's answer as it is")
	body := tillFlags(cmd)
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, err := body(args[0])
		if err != nil {
			return err
		}
		r, err := remote()
		if err != nil {
			return err
		}
		if b.ID = *id; b.ID == "" {
			b.ID = "cli-" + rand.Text()
		}
		x, err := c.asTill(cmd, r, redemptionsPath, b, *asJSON)
		if no, answered := errors.AsType[*answerError](err); answered && no.status < http.StatusInternalServerError {
			return notRedeemed(no)
		}
		if err != nil {
			return fmt.Errorf("%w; whether it was redeemed is not known: ask the same again with --id %s", err, b.ID)
		}
		if x.State == engage.Voided {
			return fmt.Errorf("not redeemed: under this id it was, and was taken back on %s UTC; give another --id", x.VoidedAt.UTC().Format(time.DateTime))
		}
		if *asJSON {
			return nil
		}
		fmt.Fprintf(c.out, "Redeemed: %s, %s\n", x.Code, x.gives())
		if x.Again {
			fmt.Fprintf(c.out, "It was redeemed under this id before, on %s UTC, and not again.\n", x.At.UTC().Format(time.DateTime))
		}
		c.terms(x)
		fmt.Fprintf(c.out, "To take it back: footfall redemptions void %s\n", x.ID)
		return nil
	}
	return cmd
}

// asTill sends what a till says, prints the answer if it is for a program, and reads it.
func (c *cli) asTill(cmd *cobra.Command, r *remote, path string, body any, asJSON bool) (*tillAnswer, error) {
	var raw json.RawMessage
	if err := r.call(cmd.Context(), http.MethodPost, path, body, &raw); err != nil {
		return nil, err
	}
	var x tillAnswer
	if err := json.Unmarshal(raw, &x); err != nil {
		return nil, fmt.Errorf("the server's answer: %w", err)
	}
	if asJSON {
		fmt.Fprintf(c.out, "%s\n", raw)
	}
	return &x, nil
}

// notRedeemed leaves what a cashier can act on of a refusal.
func notRedeemed(no *answerError) error {
	switch no.code {
	case engage.TillUnknownCode, engage.TillAlready, engage.TillExpired, engage.TillPaused, engage.TillNotYet, engage.TillWrongPlace,
		engage.TillLimitReached, engage.TillGivenBack:
		return fmt.Errorf("not redeemed: %s", no.reason)
	default:
		return no
	}
}

// gives says what the customer gets.
func (x *tillAnswer) gives() string {
	o := x.Offer
	if o == nil {
		return strings.TrimSuffix("of an offer that is no more, worth "+sum(x.Worth, x.Currency), ", worth ")
	}
	what := "free shipping"
	switch o.Kind {
	case engage.OfferPercent:
		what = fmt.Sprintf("%v %% off", o.Value)
	case engage.OfferAmount:
		what = sum(o.Value, o.Currency) + " off"
	case engage.OfferGift:
		what = "a gift"
	case engage.OfferFreeShipping:
	}
	text := fmt.Sprintf("%q: %s", o.Name, what)
	if worth := sum(x.Worth, x.Currency); worth != "" && worth+" off" != what {
		text += ", worth " + worth
	}
	return text
}

func (c *cli) terms(x *tillAnswer) {
	if x.Offer != nil && x.Offer.Terms != "" {
		fmt.Fprintf(c.out, "Terms: %s\n", x.Offer.Terms)
	}
}

func (c *cli) redemptionsCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check CODE", Short: "Look whether a code would be redeemed now, and change nothing", Args: exactly(1, "the code"),
		Long:    "Look whether a code would be redeemed now, and change nothing; exit code 1 says that it would not, and why.",
		Example: "  footfall redemptions check GIFT-7Q2 --place cafe",
	}
	asJSON := cmd.Flags().Bool("json", false, "print the server's answer as it is")
	body := tillFlags(cmd)
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, err := body(args[0])
		if err != nil {
			return err
		}
		r, err := remote()
		if err != nil {
			return err
		}
		x, err := c.asTill(cmd, r, redemptionsPath+"/check", b, *asJSON)
		switch {
		case err != nil:
			return err
		case x.State != "redeemable":
			return fmt.Errorf("%s: %s", x.State, x.Words)
		case *asJSON:
			return nil
		}
		fmt.Fprintf(c.out, "It can be redeemed: %s\n", x.gives())
		c.terms(x)
		return nil
	}
	return cmd
}

func (c *cli) redemptionsVoid() *cobra.Command {
	cmd := &cobra.Command{
		Use: "void ID", Short: "Take a redemption back: its code is good again", Args: exactly(1, "the redemption's id"),
		Example: `  footfall redemptions void 5b1d… --reason "returned"`,
	}
	reason := cmd.Flags().String("reason", "", "why, for people; no name in it")
	asJSON := cmd.Flags().Bool("json", false, "print the server's answer as it is")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		body := map[string]string{}
		if *reason != "" {
			body["reason"] = *reason
		}
		x, err := c.asTill(cmd, r, redemptionPath(args[0])+"/void", body, *asJSON)
		if err != nil || *asJSON {
			return err
		}
		fmt.Fprintf(c.out, "Taken back on %s UTC: the code %s counts as not redeemed.\n", x.VoidedAt.UTC().Format(time.DateTime), x.Code)
		return nil
	}
	return cmd
}
