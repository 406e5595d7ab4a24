package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func (c *cli) credentials() *cobra.Command {
	cmd := &cobra.Command{
		Use: "credentials", Short: "See, exchange and remove the push credentials of apps", Args: nothing,
		Long: `The credentials that an app's pushes are sent with: a service account of FCM, a signing
key of APNs. They are read from files, never from the command line, are kept encrypted
and never come back. Changes want an admin's key. Whether a credential sends is told by
'footfall channels'.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.credentialsList(), c.credentialsPut(), c.credentialsRemove())
	return cmd
}

// appDoc is what an app's document says of its credentials.
type appDoc struct {
	ID       string `json:"id"`
	Platform string `json:"platform"`
	Version  int64  `json:"version"`
	FCM      *struct {
		ProjectID string `json:"project_id"`
	} `json:"fcm"`
	APNs *struct {
		TeamID string `json:"team_id"`
		KeyID  string `json:"key_id"`
	} `json:"apns"`
}

// providers are the names that the API has for the providers.
var providers = []string{"fcm", "apns"}

// account names the credential of a provider as 'footfall channels' does; empty: the
// app has none.
func (a *appDoc) account(provider string) string {
	switch {
	case provider == "fcm" && a.FCM != nil:
		return a.FCM.ProjectID
	case provider == "apns" && a.APNs != nil:
		return a.APNs.TeamID + "/" + a.APNs.KeyID
	default:
		return ""
	}
}

func appPath(id string, more ...string) string {
	parts := []string{"/api/v1/apps", url.PathEscape(id)}
	for _, m := range more {
		parts = append(parts, url.PathEscape(m))
	}
	return strings.Join(parts, "/")
}

func (c *cli) credentialsList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list [APP]", Short: "Say which push credentials the apps have, or one of them", Args: atMostAnApp,
		Example: "  footfall credentials list\n  footfall credentials list shop-ios --json",
	}
	asJSON := cmd.Flags().Bool("json", false, "print the server's answer as it is, one app per line")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		var apps []json.RawMessage
		if len(args) == 1 {
			apps = make([]json.RawMessage, 1)
			err = r.call(cmd.Context(), http.MethodGet, appPath(args[0]), nil, &apps[0])
		} else {
			err = pages(cmd.Context(), r, "/api/v1/apps", func(a json.RawMessage) error {
				apps = append(apps, a)
				return nil
			})
		}
		if err != nil {
			return err
		}
		return c.printCredentials(apps, *asJSON)
	}
	return cmd
}

func atMostAnApp(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError{fmt.Errorf("give at most an app's id; see '%s --help'", cmd.CommandPath())}
	}
	return nil
}

func (c *cli) printCredentials(apps []json.RawMessage, asJSON bool) error {
	if asJSON {
		for _, raw := range apps {
			fmt.Fprintf(c.out, "%s\n", raw)
		}
		return nil
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "APP\tPLATFORM\tPROVIDER\tACCOUNT\tVERSION")
	for _, raw := range apps {
		var a appDoc
		if err := json.Unmarshal(raw, &a); err != nil {
			return err
		}
		has := false
		for _, p := range providers {
			if account := a.account(p); account != "" {
				has = true
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\n", a.ID, a.Platform, p, account, a.Version)
			}
		}
		if !has {
			fmt.Fprintf(w, "%s\t%s\t-\t-\t%d\n", a.ID, a.Platform, a.Version)
		}
	}
	return w.Flush()
}

// credentialFlags are what 'credentials put' is given.
type credentialFlags struct {
	account, project   string // FCM
	key, keyID, teamID string // APNs
}

func (c *cli) credentialsPut() *cobra.Command {
	cmd := &cobra.Command{
		Use: "put APP", Short: "Give an app a push credential, or exchange it", Args: exactly(1, "an app's id"),
		Long: `Give an app a push credential in place of the one it has; that of the other provider
stays. It is in use from the next push on. Files may be - for standard input.

FCM: the JSON file of a service account, or the project alone where the server's own
configuration has its account. APNs: the .p8 file with the ids of the key and the team.`,
		Example: `  footfall credentials put shop-android --fcm-service-account shop.json
  footfall credentials put shop-ios --apns-key AuthKey_ABC123DEFG.p8 --apns-key-id ABC123DEFG --apns-team-id DEF123GHIJ`,
	}
	var x credentialFlags
	f := cmd.Flags()
	f.StringVar(&x.account, "fcm-service-account", "", "file of the service account (JSON)")
	f.StringVar(&x.project, "fcm-project-id", "", "id of the Firebase project (default: what the file says)")
	f.StringVar(&x.key, "apns-key", "", "file of the signing key (.p8)")
	f.StringVar(&x.keyID, "apns-key-id", "", "id of the signing key")
	f.StringVar(&x.teamID, "apns-team-id", "", "id of the team that the key is of")
	asJSON := f.Bool("json", false, "print the server's answer as it is")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		doc, err := x.document()
		if err != nil {
			return usageError{err}
		}
		r, err := remote()
		if err != nil {
			return err
		}
		var was appDoc
		if err := r.call(cmd.Context(), http.MethodGet, appPath(args[0]), nil, &was); err != nil {
			return err
		}
		// Who changes the app in between is not overwritten unseen: the server compares.
		doc["version"] = was.Version
		var raw json.RawMessage
		if err := r.call(cmd.Context(), http.MethodPut, appPath(args[0], "credentials"), doc, &raw); err != nil {
			return err
		}
		if *asJSON {
			fmt.Fprintf(c.out, "%s\n", raw)
			return nil
		}
		var now appDoc
		if err := json.Unmarshal(raw, &now); err != nil {
			return err
		}
		for _, p := range providers {
			if doc[p] != nil {
				fmt.Fprintf(c.errs, "%s sends by %s as %s, version %d\n", now.ID, p, now.account(p), now.Version)
			}
		}
		return nil
	}
	return cmd
}

// document is the request's body. Errors name files and flags, never what a file holds.
func (x *credentialFlags) document() (map[string]any, error) {
	doc := map[string]any{}
	if x.account != "" || x.project != "" {
		fcm := map[string]any{"project_id": x.project}
		if x.account != "" {
			raw, err := readSmall(x.account)
			if err != nil {
				return nil, fmt.Errorf("--fcm-service-account: %w", err)
			}
			var account struct {
				ProjectID string `json:"project_id"`
			}
			if json.Unmarshal(raw, &account) != nil {
				return nil, fmt.Errorf("--fcm-service-account: %s is not the JSON file of a service account", x.account)
			}
			if x.project == "" {
				fcm["project_id"] = account.ProjectID
			}
			fcm["service_account"] = json.RawMessage(bytes.TrimSpace(raw))
		}
		if fcm["project_id"] == "" {
			return nil, fmt.Errorf("--fcm-service-account: %s names no project: give --fcm-project-id", x.account)
		}
		doc["fcm"] = fcm
	}
	if x.key != "" || x.keyID != "" || x.teamID != "" {
		if x.key == "" || x.keyID == "" || x.teamID == "" {
			return nil, errors.New("a key of APNs has a file, an id and a team: give --apns-key, --apns-key-id and --apns-team-id")
		}
		raw, err := readSmall(x.key)
		if err != nil {
			return nil, fmt.Errorf("--apns-key: %w", err)
		}
		doc["apns"] = map[string]any{"team_id": x.teamID, "key_id": x.keyID, "private_key": string(raw)}
	}
	if len(doc) == 0 {
		return nil, errors.New("give a credential: --fcm-service-account or --apns-key")
	}
	return doc, nil
}

func (c *cli) credentialsRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use: "remove APP fcm|apns", Short: "Take a push credential from an app", Args: exactly(2, "an app's id, and fcm or apns"),
		Long: `Take a push credential from an app, at once: nothing more is sent to that provider for
it, and what waits goes to the inbox where its campaign allows that.`,
	}
	asJSON := cmd.Flags().Bool("json", false, "print the app as the server shows it afterwards")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if args[1] != "fcm" && args[1] != "apns" {
			return usageError{fmt.Errorf("the provider must be fcm or apns, is %q", args[1])}
		}
		r, err := remote()
		if err != nil {
			return err
		}
		if err := r.call(cmd.Context(), http.MethodDelete, appPath(args[0], "credentials", args[1]), nil, nil); err != nil {
			return err
		}
		fmt.Fprintf(c.errs, "removed the %s credential of %s\n", args[1], args[0])
		if !*asJSON {
			return nil
		}
		var raw json.RawMessage
		if err := r.call(cmd.Context(), http.MethodGet, appPath(args[0]), nil, &raw); err != nil {
			return err
		}
		fmt.Fprintf(c.out, "%s\n", raw)
		return nil
	}
	return cmd
}
