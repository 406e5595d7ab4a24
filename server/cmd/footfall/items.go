package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// catalogueLine is what the commands tell of a catalogue.
type catalogueLine struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Currency string            `json:"currency"`
	Fields   map[string]string `json:"fields"`
	Version  int64             `json:"version"`
}

// itemLine is an item.
type itemLine struct {
	ID        string          `json:"id"`
	Version   int64           `json:"version"`
	Fields    json.RawMessage `json:"fields"`
	UpdatedAt time.Time       `json:"updated_at"`
}

func (c *cli) items() *cobra.Command {
	cmd := &cobra.Command{
		Use: "items", Short: "See and change catalogues and their items: what messages show of products", Args: nothing,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.itemsCatalogues(), c.itemsDefine(), c.itemsList(), c.itemsShow(), c.itemsPut(), c.itemsDelete(), c.itemsClear())
	return cmd
}

func cataloguePath(id string) string { return "/api/v1/catalogues/" + url.PathEscape(id) }

func itemPath(catalogue, id string) string {
	return cataloguePath(catalogue) + "/items/" + url.PathEscape(id)
}

func (c *cli) itemsCatalogues() *cobra.Command {
	cmd := &cobra.Command{Use: "catalogues", Short: "List the catalogues of the workspace, with their fields", Args: nothing}
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object per line")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		if *asJSON {
			return pages(cmd.Context(), r, "/api/v1/catalogues", func(x json.RawMessage) error {
				fmt.Fprintf(c.out, "%s\n", x)
				return nil
			})
		}
		return list(cmd, c, r, "/api/v1/catalogues", "ID\tVERSION\tCURRENCY\tFIELDS", func(w io.Writer, x catalogueLine) {
			var fields []string
			for _, name := range slices.Sorted(maps.Keys(x.Fields)) {
				fields = append(fields, name+":"+x.Fields[name])
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", x.ID, x.Version, x.Currency, strings.Join(fields, " "))
		})
	}
	return cmd
}

func (c *cli) itemsDefine() *cobra.Command {
	cmd := &cobra.Command{
		Use: "define CATALOGUE FILE", Short: "Make or change a catalogue; a file - is standard input",
		Long: "Make or change a catalogue: the file says all of it, the fields that are there, too, since items may have them.\n" +
			"A file with a version changes that one only; one without changes whatever version is there.",
		Args: exactly(2, "the catalogue's id and a file"), Example: `  echo '{"currency":"EUR","fields":{"price":"money"}}' | footfall items define products -`,
	}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body, err := jsonFile(cmd, args[1])
		if err != nil {
			return err
		}
		r, err := remote()
		if err != nil {
			return err
		}
		if body, err = ofNow(cmd, r, cataloguePath(args[0]), body); err != nil {
			return err
		}
		var made catalogueLine
		if err := r.call(cmd.Context(), http.MethodPut, cataloguePath(args[0]), body, &made); err != nil {
			return err
		}
		fmt.Fprintf(c.errs, "catalogue %s has version %d\n", made.ID, made.Version)
		return nil
	}
	return cmd
}

// ofNow is a document with the version that the server has at the path, where it says none
// and the server has one.
func ofNow(cmd *cobra.Command, r *remote, path string, doc json.RawMessage) (json.RawMessage, error) {
	var says struct {
		Version int64 `json:"version"`
	}
	if json.Unmarshal(doc, &says) != nil || says.Version > 0 {
		return doc, nil // what is no such document the server refuses
	}
	switch err := r.call(cmd.Context(), http.MethodGet, path, nil, &says); {
	case missing(err):
		return doc, nil
	case err != nil:
		return nil, err
	}
	return withVersion(doc, says.Version)
}

func (c *cli) itemsList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list CATALOGUE", Short: "List the items of a catalogue", Args: exactly(1, "the catalogue's id"),
		Example: "  footfall items list products --prefix tea- --where brand:Acme",
	}
	prefix := cmd.Flags().String("prefix", "", "only items whose id begins with it")
	where := cmd.Flags().StringArray("where", nil, "only items with this value, as FIELD:VALUE; several times")
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object per line")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		q := url.Values{"limit": {"200"}}
		if *prefix != "" {
			q.Set("prefix", *prefix)
		}
		if len(*where) > 0 {
			q.Set("where", strings.Join(*where, ","))
		}
		path := cataloguePath(args[0]) + "/items?" + q.Encode()
		if *asJSON {
			return pages(cmd.Context(), r, path, func(x json.RawMessage) error {
				fmt.Fprintf(c.out, "%s\n", x)
				return nil
			})
		}
		return list(cmd, c, r, path, "ID\tVERSION\tUPDATED\tFIELDS", func(w io.Writer, x itemLine) {
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", x.ID, x.Version, x.UpdatedAt.Format(time.RFC3339), x.Fields)
		})
	}
	return cmd
}

func (c *cli) itemsShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show CATALOGUE ITEM", Short: "Print an item", Args: exactly(2, "the catalogue's id and the item's")}
	c.shows(cmd, func(args []string) string { return itemPath(args[0], args[1]) }, func(raw json.RawMessage) error {
		var x struct {
			itemLine

			Fields map[string]json.RawMessage `json:"fields"`
		}
		if err := json.Unmarshal(raw, &x); err != nil {
			return err
		}
		fmt.Fprintf(c.out, "%s, version %d, of %s\n", x.ID, x.Version, x.UpdatedAt.Format(time.RFC3339))
		for _, name := range slices.Sorted(maps.Keys(x.Fields)) {
			fmt.Fprintf(c.out, "  %s: %s\n", name, x.Fields[name])
		}
		return nil
	})
	return cmd
}

func (c *cli) itemsPut() *cobra.Command {
	cmd := &cobra.Command{
		Use: "put CATALOGUE ITEM FILE", Short: "Create or replace an item by its fields; a file - is standard input",
		Long: "Create or replace an item by its fields, a JSON object that replaces all that the item had, whatever version is\n" +
			"there. Whole files are taken by footfall import items.",
		Args: exactly(3, "the catalogue's id, the item's and a file"), Example: `  echo '{"name":"Tea","price":4.5}' | footfall items put products tea-1 -`,
	}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		fields, err := jsonFile(cmd, args[2])
		if err != nil {
			return err
		}
		r, err := remote()
		if err != nil {
			return err
		}
		return c.editItem(cmd, r, args[0], map[string]any{"id": args[1], "fields": fields})
	}
	return cmd
}

// editItem makes one change and tells what became of it.
func (c *cli) editItem(cmd *cobra.Command, r *remote, catalogue string, edit map[string]any) error {
	var report struct {
		Items []struct {
			ID      string `json:"id"`
			Outcome string `json:"outcome"`
			Version int64  `json:"version"`
			Errors  []struct {
				Field  string `json:"field"`
				Reason string `json:"reason"`
			} `json:"errors"`
		} `json:"items"`
	}
	if err := r.call(cmd.Context(), http.MethodPost, cataloguePath(catalogue)+"/items", map[string]any{"items": []any{edit}}, &report); err != nil {
		return err
	}
	for _, x := range report.Items {
		var wrong []error
		for _, e := range x.Errors {
			wrong = append(wrong, errors.New(sentence(e.Field, e.Reason)))
		}
		if len(wrong) > 0 {
			return errors.Join(wrong...)
		}
		if x.Version > 0 {
			fmt.Fprintf(c.errs, "item %s is %s, version %d\n", x.ID, x.Outcome, x.Version)
		} else {
			fmt.Fprintf(c.errs, "item %s is %s\n", x.ID, x.Outcome)
		}
	}
	return nil
}

func (c *cli) itemsDelete() *cobra.Command {
	cmd := &cobra.Command{Use: "delete CATALOGUE ITEM", Short: "Delete an item", Args: exactly(2, "the catalogue's id and the item's")}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		return r.call(cmd.Context(), http.MethodDelete, itemPath(args[0], args[1]), nil, nil)
	}
	return cmd
}

func (c *cli) itemsClear() *cobra.Command {
	cmd := &cobra.Command{Use: "clear CATALOGUE", Short: "Delete all items of a catalogue, and with --and-catalogue that, too", Args: exactly(1, "the catalogue's id")}
	yes := cmd.Flags().Bool("yes", false, "required: the items do not come back")
	whole := cmd.Flags().Bool("and-catalogue", false, "delete the catalogue as well")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !*yes {
			return usageError{errors.New("--yes is required: the items do not come back")}
		}
		r, err := remote()
		if err != nil {
			return err
		}
		for left := int64(1); left > 0; {
			var answer struct {
				Left int64 `json:"left"`
			}
			if err := r.call(cmd.Context(), http.MethodDelete, cataloguePath(args[0])+"/items", nil, &answer); err != nil {
				return err
			}
			left = answer.Left
		}
		if *whole {
			return r.call(cmd.Context(), http.MethodDelete, cataloguePath(args[0]), nil, nil)
		}
		return nil
	}
	return cmd
}
