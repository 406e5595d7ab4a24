package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// testSendRequest is the body of a test send.
type testSendRequest struct {
	Install     string          `json:"install,omitempty"`
	Token       string          `json:"token,omitempty"`
	Provider    string          `json:"provider,omitempty"`
	Environment string          `json:"environment,omitempty"`
	Topic       string          `json:"topic,omitempty"`
	Campaign    string          `json:"campaign,omitempty"`
	Arm         string          `json:"arm,omitempty"`
	Content     json.RawMessage `json:"content,omitempty"`
	DryRun      bool            `json:"dry_run,omitempty"`
}

func (c *cli) testSend() *cobra.Command {
	cmd := &cobra.Command{
		Use: "test-send APP", Short: "Send one push to one phone now, and show the provider's answer", Args: exactly(1, "an app's id"),
		Long: `Send one push to one phone of an app now, past all queues, gates and counts, and show
what the provider answered. The phone is an install that the server knows (--install),
or a token that stands in a file (--token-file, - for standard input, with
--provider). The message is that of a campaign's arm, a title and a body, or a JSON
file with all that an arm's message may have.

The exit code is 0 when the provider took it, and 1 when it did not.`,
		Example: `  footfall test-send shop-android --install 9f2c5e0b --campaign rainy-day
  footfall test-send shop-ios --token-file token.txt --provider apns --title Hello --body "It works"
  footfall test-send shop-android --token-file - --provider fcm --content message.json --dry-run`,
	}
	var b testSendRequest
	f := cmd.Flags()
	f.StringVar(&b.Install, "install", "", "id of the install")
	tokenFile := f.String("token-file", "", "file that holds a push token, instead of --install; - for standard input")
	f.StringVar(&b.Provider, "provider", "", "fcm or apns: of the token, or which of the install's")
	f.StringVar(&b.Environment, "environment", "", "of an APNs token: production or sandbox (default: both are tried)")
	f.StringVar(&b.Topic, "topic", "", "of an APNs token (default: the app's bundle id)")
	f.StringVar(&b.Campaign, "campaign", "", "campaign whose message it is")
	f.StringVar(&b.Arm, "arm", "", "arm of the campaign (default: its first)")
	title := f.String("title", "", "title, instead of --campaign")
	text := f.String("body", "", "text, instead of --campaign")
	contentFile := f.String("content", "", "JSON file with the message as an arm has it, instead of --campaign")
	f.BoolVar(&b.DryRun, "dry-run", false, "FCM: have it judged, not delivered")
	asJSON := f.Bool("json", false, "print the server's answer as it is")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := b.read(*tokenFile, *contentFile, *title, *text); err != nil {
			return usageError{err}
		}
		r, err := remote()
		if err != nil {
			return err
		}
		var raw json.RawMessage
		if err := r.call(cmd.Context(), "POST", "/api/v1/apps/"+url.PathEscape(args[0])+"/test-send", b, &raw); err != nil {
			return err
		}
		return c.printTest(raw, *asJSON)
	}
	return cmd
}

// read takes what stands in files, and what is short for a content.
func (b *testSendRequest) read(tokenFile, contentFile, title, text string) error {
	if tokenFile != "" {
		token, err := readSmall(tokenFile)
		if err != nil {
			return fmt.Errorf("--token-file: %w", err)
		}
		b.Token = strings.TrimSpace(string(token))
	}
	switch {
	case contentFile != "" && title+text != "":
		return fmt.Errorf("--content has title and body: leave --title and --body out")
	case contentFile != "":
		content, err := readSmall(contentFile)
		if err == nil && !json.Valid(content) {
			err = fmt.Errorf("%s is not JSON", contentFile)
		}
		if err != nil {
			return fmt.Errorf("--content: %w", err)
		}
		b.Content = content
	case title+text != "":
		content, err := json.Marshal(map[string]string{"title": title, "body": text})
		if err != nil {
			return err
		}
		b.Content = content
	}
	return nil
}

// readSmall reads a file that should be small.
func readSmall(name string) ([]byte, error) {
	const most = 1 << 20
	var from io.Reader = os.Stdin
	if name != "-" {
		f, err := os.Open(name) //nolint:gosec // whoever calls the command names it
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // it was read
		from = f
	}
	return io.ReadAll(io.LimitReader(from, most))
}

func (c *cli) printTest(raw json.RawMessage, asJSON bool) error {
	var x struct {
		Provider   string  `json:"provider"`
		Outcome    string  `json:"outcome"`
		Reason     string  `json:"reason"`
		Status     int     `json:"status"`
		ProviderID string  `json:"provider_id"`
		Raw        string  `json:"raw"`
		TookMS     float64 `json:"took_ms"`
		Words      string  `json:"words"`
		Title      string  `json:"title"`
		Body       string  `json:"body"`
		Warnings   []struct {
			Field  string `json:"field"`
			Reason string `json:"reason"`
		} `json:"warnings"`
	}
	if err := json.Unmarshal(raw, &x); err != nil {
		return err
	}
	if asJSON {
		fmt.Fprintf(c.out, "%s\n", raw)
	} else {
		fmt.Fprintf(c.out, "sent: %s\n", strings.TrimSpace(x.Title+" | "+x.Body))
		fmt.Fprintf(c.out, "%s: %s", x.Provider, x.Outcome)
		for _, more := range []string{x.Reason, x.ProviderID} {
			if more != "" {
				fmt.Fprintf(c.out, " %s", more)
			}
		}
		if x.Status != 0 {
			fmt.Fprintf(c.out, " (status %d)", x.Status)
		}
		fmt.Fprintf(c.out, " in %.0f ms\n", x.TookMS)
		if x.Raw != "" {
			fmt.Fprintf(c.out, "answer: %s\n", strings.TrimSpace(x.Raw))
		}
		fmt.Fprintln(c.out, x.Words)
	}
	for _, w := range x.Warnings {
		fmt.Fprintf(c.errs, "%s: %s\n", w.Field, w.Reason)
	}
	if x.Outcome != "accepted" {
		return fmt.Errorf("the provider did not take it: %s", strings.TrimSpace(x.Outcome+" "+x.Reason))
	}
	return nil
}
