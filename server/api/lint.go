package api

import (
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/template"
)

// TextFinding is something about a campaign, most often about a text of its messages, that
// could be sent and is perhaps not meant.
type TextFinding struct {
	Kind     string `json:"kind" enum:"too_long,many_emoji,capitals,stacked_marks,direction,invisible_characters,no_deep_link,plain_http,no_title,locale_not_said,not_translated,other_variables,unknown_catalogue,unknown_item_field,no_effect" doc:"For programs; more may come"`
	Field    string `json:"field" example:"arms[0].message.locales.nl.title"`
	Locale   string `json:"locale,omitempty" doc:"Of the text; absent: the message's own"`
	Platform string `json:"platform,omitempty" enum:"ios,android" doc:"Where it matters; absent: everywhere"`
	Words    string `json:"words"`
}

// lint finds in every arm, in each of its languages, what is perhaps not meant, as it is
// with the shortest values. Texts that do not compile, or are too long whatever the
// values, are left to who refuses them. What the texts look at of catalogues is judged by
// those that there are now.
func lint(c *engage.Campaign, now *catalog.Snapshot) []TextFinding {
	out := idleLimits(c)
	more := itemSamples(c, now)
	for i := range c.Arms {
		content, err := template.ParseContent(c.Arms[i].Message)
		if err != nil {
			continue
		}
		examples, err := content.Examples(more)
		if err != nil {
			continue
		}
		made := &c.Arms[i].Message
		var found []template.Finding
		for n := range examples {
			locale := ""
			if n > 0 {
				locale = examples[n].Locale
			}
			for _, f := range template.Lint(made, &examples[n], locale, "") {
				if n > 0 && f.Field == ownField(found, f) {
					continue // of a text that is the message's own
				}
				found = append(found, f)
			}
		}
		found = append(found, content.LintLocales()...)
		found = append(found, lintItems(content, c, now)...)
		out = append(out, findings(engage.Index("arms", i, "message"), found)...)
	}
	return out
}

// idleLimits finds the limits that a service message does not have: who asked for it gets it.
func idleLimits(c *engage.Campaign) []TextFinding {
	out := []TextFinding{}
	if c.Class != engage.Service {
		return out
	}
	l := &c.Limits
	for _, x := range []struct {
		field string
		set   bool
	}{
		{"cap", l.Cap > 0},
		{"caps", len(l.Caps) > 0},
		{"quiet_hours", l.Quiet != nil},
		{"attention", l.Attention != nil},
		{"budget", l.Budget != nil},
		{"rate", l.Rate != nil},
	} {
		if x.set {
			out = append(out, TextFinding{
				Kind: "no_effect", Field: "limits." + x.field,
				Words: "A service message is sent to whoever asked for it: this limit is of marketing messages only and does nothing here.",
			})
		}
	}
	return out
}

// lintItems finds what there is not of what the texts look at.
func lintItems(content *template.Content, c *engage.Campaign, now *catalog.Snapshot) []template.Finding {
	about := ""
	if c.Item != nil {
		about = c.Item.Catalogue
	}
	return content.LintItems(about, func(catalogue, name string) (has, there bool) {
		k := now.Catalogue(c.Workspace, catalogue)
		if k == nil {
			return false, false
		}
		_, has = k.Fields[name]
		return has || name == "currency" && k.Currency != "", true
	})
}

// ownField is the field of f if that was found of the message's own text already.
func ownField(found []template.Finding, f template.Finding) string {
	for _, old := range found {
		if old.Locale == "" && old.Kind == f.Kind && old.Field == f.Field && old.Platform == f.Platform {
			return f.Field
		}
	}
	return ""
}

// findings are as the API shows them, below a field.
func findings(at string, found []template.Finding) []TextFinding {
	out := make([]TextFinding, 0, len(found))
	for _, f := range found {
		field := at + "." + f.Field
		if at == "" {
			field = f.Field
		}
		out = append(out, TextFinding{f.Kind, field, f.Locale, f.Platform, f.Words})
	}
	return out
}
