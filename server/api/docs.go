package api

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"github.com/footfall-engage/footfall/server/engage"
)

//go:embed docs/docs.html docs/docs.css
var docFiles embed.FS

// docsView is what the docs page shows of the document.
type docsView struct {
	Title, Version, Description string
	Groups                      []docsGroup
	Schemas                     []docsSchema
	Codes                       []docsCode
}

type docsGroup struct {
	Name, Description string
	Operations        []docsOperation
}

type docsOperation struct {
	ID, Method, Path, Summary, Description, Role string
	Params                                       []docsField
	Body, Answer                                 string // names of schemas, empty if none
	Examples                                     []docsExample
}

type docsField struct {
	Name, Kind, Type, Description string
	Required                      bool
}

type docsExample struct{ Summary, Text string }

type docsSchema struct {
	Name   string
	Fields []docsField
}

type docsCode struct {
	Code   engage.Code
	Status int
}

// registerDocs renders the document once, as JSON and as a page.
func (s *server) registerDocs(r *gin.Engine) error {
	doc := s.api.OpenAPI()
	// Huma's own error models are never sent.
	for _, name := range []string{"ErrorModel", "ErrorDetail"} {
		delete(doc.Components.Schemas.Map(), name)
	}
	raw, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return fmt.Errorf("encode api document: %w", err)
	}
	page, err := template.ParseFS(docFiles, "docs/docs.html")
	if err != nil {
		return fmt.Errorf("parse docs page: %w", err)
	}
	var html bytes.Buffer
	if err := page.Execute(&html, docsOf(doc)); err != nil {
		return fmt.Errorf("render docs page: %w", err)
	}
	css, err := docFiles.ReadFile("docs/docs.css")
	if err != nil {
		return fmt.Errorf("read docs page: %w", err)
	}
	static(r, "/openapi.json", "application/openapi+json", raw)
	static(r, "/docs", "text/html; charset=utf-8", html.Bytes())
	static(r, "/docs.css", "text/css; charset=utf-8", css)
	return nil
}

// static serves what does not change while the process lives.
func static(r *gin.Engine, path, contentType string, body []byte) {
	r.GET(path, func(c *gin.Context) {
		c.Header("Cache-Control", "no-cache")
		c.Data(http.StatusOK, contentType, body)
	})
}

func docsOf(doc *huma.OpenAPI) docsView {
	out := docsView{Title: doc.Info.Title, Version: doc.Info.Version, Description: doc.Info.Description}
	for _, tag := range doc.Tags {
		g := docsGroup{Name: tag.Name, Description: tag.Description}
		for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
			item := doc.Paths[path]
			for _, op := range []*huma.Operation{item.Get, item.Head, item.Put, item.Post, item.Delete} {
				if op != nil && slices.Contains(op.Tags, tag.Name) {
					g.Operations = append(g.Operations, docsOperationOf(path, op))
				}
			}
		}
		out.Groups = append(out.Groups, g)
	}
	schemas := doc.Components.Schemas.Map()
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		x := docsSchema{Name: name}
		for _, field := range slices.Sorted(maps.Keys(schemas[name].Properties)) {
			p := schemas[name].Properties[field]
			x.Fields = append(x.Fields, docsField{
				Name: field, Type: typeWords(p), Description: p.Description, Required: slices.Contains(schemas[name].Required, field),
			})
		}
		out.Schemas = append(out.Schemas, x)
	}
	for _, code := range slices.Sorted(maps.Keys(statusOf)) {
		out.Codes = append(out.Codes, docsCode{code, statusOf[code]})
	}
	return out
}

func docsOperationOf(path string, op *huma.Operation) docsOperation {
	role, _ := op.Extensions["x-role"].(string)
	if not, _ := op.Extensions["x-not-role"].(string); not != "" {
		role += ", not " + not
	}
	x := docsOperation{ID: op.OperationID, Method: op.Method, Path: path, Summary: op.Summary, Description: op.Description, Role: role}
	for _, p := range op.Parameters {
		if p.Name == WorkspaceHeader {
			continue // said once at the top
		}
		x.Params = append(x.Params, docsField{Name: p.Name, Kind: p.In, Type: typeWords(p.Schema), Description: p.Description, Required: p.Required})
	}
	if op.RequestBody != nil {
		for _, m := range op.RequestBody.Content {
			x.Body = typeWords(m.Schema)
			if x.Examples != nil {
				continue
			}
			for _, name := range slices.Sorted(maps.Keys(m.Examples)) {
				text, _ := m.Examples[name].Value.(json.RawMessage)
				x.Examples = append(x.Examples, docsExample{name + ": " + m.Examples[name].Summary, string(text)})
			}
		}
	}
	for _, status := range []string{"200", "201"} {
		if r := op.Responses[status]; r != nil && x.Answer == "" {
			if m := r.Content[jsonType]; m != nil {
				x.Answer = typeWords(m.Schema)
			}
		}
	}
	return x
}

// typeWords names a schema's type; a component by its name.
func typeWords(s *huma.Schema) string {
	switch {
	case s == nil:
		return ""
	case s.Ref != "":
		return s.Ref[strings.LastIndex(s.Ref, "/")+1:]
	case s.Type == huma.TypeArray:
		return "list of " + typeWords(s.Items)
	case len(s.Enum) > 0:
		parts := []string{}
		for _, v := range s.Enum {
			parts = append(parts, fmt.Sprint(v))
		}
		return strings.Join(parts, " | ")
	case s.Type == "":
		return "any"
	case s.Format != "" && s.Type == huma.TypeString:
		return s.Format
	default:
		return s.Type
	}
}
