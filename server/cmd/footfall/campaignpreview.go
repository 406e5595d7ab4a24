package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// previewRequest is the body of a preview.
type previewRequest struct {
	Campaign   json.RawMessage `json:"campaign,omitempty"`
	CampaignID string          `json:"campaign_id,omitempty"`
	Arm        string          `json:"arm,omitempty"`
	Person     string          `json:"person,omitempty"`
	Place      string          `json:"place,omitempty"`
	DistanceM  float64         `json:"distance_m,omitempty"`
	Weather    *previewSky     `json:"weather,omitempty"`
	Properties json.RawMessage `json:"properties,omitempty"`
	Locale     string          `json:"locale,omitempty"`
	Platform   string          `json:"platform,omitempty"`
	At         string          `json:"at,omitempty"`
}

type previewSky struct {
	Condition    string  `json:"condition"`
	TemperatureC float64 `json:"temperature_c"`
}

// previewAnswer is what the command prints of the answer.
type previewAnswer struct {
	Previews []struct {
		Arm      string `json:"arm"`
		Platform string `json:"platform"`
		Locale   string `json:"locale"`
		Sendable bool   `json:"sendable"`
		Title    string `json:"title"`
		Subtitle string `json:"subtitle"`
		Body     string `json:"body"`
		DeepLink string `json:"deep_link"`
		Actions  []struct {
			Label string `json:"label"`
		} `json:"actions"`
		Errors []struct {
			Field  string `json:"field"`
			Reason string `json:"reason"`
		} `json:"errors"`
		Samples  []string `json:"samples"`
		Findings []struct {
			Field string `json:"field"`
			Words string `json:"words"`
		} `json:"findings"`
		Push *struct {
			Provider string `json:"provider"`
			Bytes    int    `json:"bytes"`
			Limit    int    `json:"limit"`
		} `json:"push"`
	} `json:"previews"`
}

func (c *cli) campaignsPreview() *cobra.Command {
	cmd := &cobra.Command{
		Use: "preview [ID]", Short: "See what a campaign would say, to whom, where and in which weather", Args: cobra.MaximumNArgs(1),
		Long: `See each arm of a campaign as it would be written, on each platform. What you do not
give is of an example, and said to be. Nothing is sent; that you looked at a person is
kept. The exit code is 1 when a text cannot be written.`,
		Example: `  footfall campaigns preview rainy-day --person user_id:ada --place cafe --weather rain --temperature 9
  footfall campaigns preview --file draft.json --locale nl-NL --properties '{"order":"1001"}'`,
	}
	var b previewRequest
	var sky previewSky
	f := cmd.Flags()
	file := f.String("file", "", "JSON file with a campaign, instead of ID; - for standard input")
	f.StringVar(&b.Arm, "arm", "", "only this arm")
	f.StringVar(&b.Person, "person", "", "profile id, user_id:… or install:… (default: an example person)")
	f.StringVar(&b.Place, "place", "", "id of a place (default: the campaign's first)")
	f.Float64Var(&b.DistanceM, "distance", 0, "metres from the place")
	f.StringVar(&sky.Condition, "weather", "", "clear, partly_cloudy, cloudy, fog, rain, sleet, snow or thunder")
	f.Float64Var(&sky.TemperatureC, "temperature", 15, "degrees Celsius, with --weather")
	properties := f.String("properties", "", "JSON object: what the event that triggers it says")
	f.StringVar(&b.Locale, "locale", "", "of the phone, such as nl-NL (default: the person's)")
	f.StringVar(&b.Platform, "platform", "", "ios, android or web (default: ios and android)")
	f.StringVar(&b.At, "at", "", "time, such as 2027-03-01T09:00:00Z (default: now)")
	asJSON := f.Bool("json", false, "print the server's answer as it is")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			b.CampaignID = args[0]
		}
		if sky.Condition != "" {
			b.Weather = &sky
		}
		if err := b.read(*file, *properties); err != nil {
			return usageError{err}
		}
		r, err := remote()
		if err != nil {
			return err
		}
		var raw json.RawMessage
		if err := r.call(cmd.Context(), http.MethodPost, "/api/v1/campaigns/preview", b, &raw); err != nil {
			return err
		}
		return c.printPreview(raw, *asJSON)
	}
	return cmd
}

// read takes what stands in a file, and checks what the server would not say so well.
func (b *previewRequest) read(file, properties string) error {
	if (file == "") == (b.CampaignID == "") {
		return errors.New("either a campaign's id or --file is needed")
	}
	if file != "" {
		campaign, err := readSmall(file)
		if err == nil && !json.Valid(campaign) {
			err = fmt.Errorf("%s is not JSON", file)
		}
		if err != nil {
			return fmt.Errorf("--file: %w", err)
		}
		b.Campaign = campaign
	}
	if properties != "" {
		if !json.Valid([]byte(properties)) {
			return errors.New("--properties is not JSON")
		}
		b.Properties = json.RawMessage(properties)
	}
	if b.At != "" {
		if _, err := time.Parse(time.RFC3339, b.At); err != nil {
			return fmt.Errorf("--at: %q is not a time such as 2027-03-01T09:00:00Z", b.At)
		}
	}
	return nil
}

func (c *cli) printPreview(raw json.RawMessage, asJSON bool) error {
	var x previewAnswer
	if err := json.Unmarshal(raw, &x); err != nil {
		return err
	}
	failed := 0
	for i := range x.Previews {
		if !x.Previews[i].Sendable {
			failed++
		}
	}
	if asJSON {
		fmt.Fprintf(c.out, "%s\n", raw)
	} else {
		c.tellPreview(&x)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d cannot be written: a person like this would get nothing", failed, len(x.Previews))
	}
	return nil
}

func (c *cli) tellPreview(x *previewAnswer) {
	for i, p := range x.Previews {
		if i > 0 {
			fmt.Fprintln(c.out)
		}
		head := p.Arm + " on " + p.Platform
		if p.Locale != "" {
			head += " in " + p.Locale
		}
		if p.Push != nil {
			head += fmt.Sprintf(", %d of %d bytes by %s", p.Push.Bytes, p.Push.Limit, p.Push.Provider)
		}
		fmt.Fprintf(c.out, "%s\n", head)
		for _, text := range []string{p.Title, p.Subtitle, p.Body} {
			if text != "" {
				fmt.Fprintf(c.out, "  %s\n", strings.ReplaceAll(text, "\n", "\n  "))
			}
		}
		for _, a := range p.Actions {
			fmt.Fprintf(c.out, "  [%s]\n", a.Label)
		}
		if p.DeepLink != "" {
			fmt.Fprintf(c.out, "  -> %s\n", p.DeepLink)
		}
		for _, e := range p.Errors {
			fmt.Fprintf(c.out, "  error: %s: %s\n", e.Field, e.Reason)
		}
		for _, f := range p.Findings {
			fmt.Fprintf(c.out, "  note: %s: %s\n", f.Field, f.Words)
		}
		if len(p.Samples) > 0 {
			fmt.Fprintf(c.out, "  of an example: %s\n", strings.Join(p.Samples, ", "))
		}
	}
}
