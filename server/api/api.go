package api

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

type server struct {
	o     Options
	api   huma.API
	tests testLimits
}

// New makes the handler of everything that the server speaks over HTTP. It starts
// nothing.
func New(o Options) (http.Handler, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	// Gin announces routes on standard output unless it is told that this is no
	// debugging; it knows no other way than for the whole process.
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.UseRawPath = true // so that an escaped slash in an id stays in it
	r.HandleMethodNotAllowed = true
	r.RedirectTrailingSlash = false

	s := &server{o: o}
	r.Use(s.recover, headers)
	r.NoRoute(func(c *gin.Context) {
		writeProblem(c.Writer, problemOf(engage.Errorf(engage.NotFound, "", "there is nothing at this address")))
	})
	r.NoMethod(func(c *gin.Context) {
		writeProblem(c.Writer, problemOf(engage.Errorf(methodNotAllowed, "", "%s is not possible here", c.Request.Method)))
	})

	s.api = humagin.New(r, humaConfig(o.Version))
	s.registerPlaces()
	s.registerCampaigns()
	s.registerCalls()
	s.registerLifecycle()
	s.registerTemplates()
	s.registerStop()
	s.registerAudit()
	s.registerOccurrences()
	s.registerAttributes()
	s.registerAttributeTypes()
	s.registerLocationPolicy()
	s.registerLimits()
	s.registerPeople()
	s.registerUploads()
	s.registerPrivacy()
	s.registerResults()
	s.registerLive()
	s.registerNearby()
	s.registerAudience()
	s.registerApps()
	s.registerTestSend()
	s.registerLiveActivities()
	s.registerCollect()
	s.registerTokens()
	s.registerChannels()
	s.registerKeys()
	s.registerWebhooks()
	s.registerOffers()
	s.registerRedemptions()
	s.registerItems()
	s.registerOperations()

	s.registerHealth(r)
	s.registerHosting(r)
	if err := s.registerDocs(r); err != nil {
		return nil, err
	}
	if err := registerPage(r); err != nil {
		return nil, err
	}
	if o.SDK == nil && o.Collect == nil {
		return r, nil
	}
	// Phones pass by Gin: its pooled context and writer are of no use to a
	// websocket that lives for hours. So does the tracking API, whose answers and
	// headers are not ours to choose.
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch {
		case o.SDK != nil && strings.HasPrefix(req.URL.Path, "/sdk/v1/"):
			o.SDK.ServeHTTP(w, req)
		case o.Collect != nil && strings.HasPrefix(req.URL.Path, "/v1/"):
			o.Collect.ServeHTTP(w, req)
		default:
			r.ServeHTTP(w, req)
		}
	}), nil
}

func (o *Options) check() error {
	for _, x := range []struct {
		name    string
		missing bool
	}{
		{"Catalog", o.Catalog == nil},
		{"Sealer", o.Sealer == nil},
		{"Compile", o.Compile == nil},
		{"People", o.People == nil},
		{"Uploads", o.Uploads == nil},
		{"Privacy", o.Privacy == nil},
		{"Decisions", o.Decisions == nil},
		{"Calls", o.Calls == nil},
		{"Occurrences", o.Occurrences == nil},
		{"Positions", o.Positions == nil},
		{"Nearby", o.Nearby == nil},
		{"Operations", o.Operations == nil},
		{"Webhooks", o.Webhooks == nil},
		{"Redemptions", o.Redemptions == nil},
		{"Items", o.Items == nil},
		{"Push", o.Push == nil},
		{"LiveActivities", o.LiveActivities == nil},
		{"Dropped", o.Dropped == nil},
		{"Ready", o.Ready == nil},
		{"Clock", o.Clock == nil},
		{"Logger", o.Logger == nil},
	} {
		if x.missing {
			return fmt.Errorf("api options: %s is missing", x.name)
		}
	}
	return nil
}

func humaConfig(version string) huma.Config {
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "Footfall", Version: version,
			Description: "What marketers define, what became of it and why. " +
				"Every operation works in one workspace, that of the key. " +
				"Errors are RFC 9457 problems with a code, the field and the reason. " +
				"x-role of an operation is the least role that a key needs, of till, viewer, marketer and admin; x-not-role is one above it that may not.",
			License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
		},
		Servers: []*huma.Server{{URL: "/", Description: "This server"}},
		Tags: []*huma.Tag{
			{Name: tagPlaces, Description: "Shops and other spots with their geofences"},
			{Name: tagCampaigns, Description: "When a message fires, for whom, in which context, saying what"},
			{Name: tagPeople, Description: "Persons, what happened to them, and why they did or did not get a message"},
			{Name: tagPrivacy, Description: "What persons may ask for: a copy, to be forgotten, to be left alone, who looked"},
			{Name: tagResults, Description: "What became of a campaign's messages"},
			{Name: tagApps, Description: "Shopping apps that embed the SDK"},
			{Name: tagLiveActivities, Description: "What stands on the lock screen of iPhones, and changes there"},
			{Name: tagCollect, Description: "What websites, servers and tills bring by the tracking API"},
			{Name: tagOffers, Description: "What messages bring: codes that a till takes"},
			{Name: tagItems, Description: "Catalogues of products and the like, whose items messages show"},
			{Name: tagWebhooks, Description: "Events for your own systems: visits, messages, conversions"},
			{Name: tagOperations, Description: "For those who run the server"},
		},
		Components: &huma.Components{
			Schemas: newRegistry(),
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"key": {Type: "http", Scheme: "bearer", Description: `A server key, "ffk_…". An admin key may name another workspace in the header ` + WorkspaceHeader + "."},
			},
		},
	}
	return huma.Config{
		OpenAPI: doc, Formats: map[string]huma.Format{jsonType: huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: jsonType, Transformers: []huma.Transformer{fromHuma},
	}
}

// Tags of the document.
const (
	tagPlaces    = "places"
	tagCampaigns = "campaigns"
	tagPeople    = "people"
	tagPrivacy   = "privacy"
	tagResults   = "results"
	tagApps      = "apps"
	tagCollect   = "collect"

	tagLiveActivities = "live activities"

	tagWebhooks   = "webhooks"
	tagOffers     = "offers"
	tagItems      = "items"
	tagOperations = "operations"
)

// headers that every answer has. Pages load nothing from elsewhere.
func headers(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	if strings.HasPrefix(c.Request.URL.Path, "/api/") {
		h.Set("Cache-Control", "no-store") // it is about persons
	}
	c.Next()
}

// recover makes a problem of a panic, and a log line with where it was.
func (s *server) recover(c *gin.Context) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(v)
		}
		s.o.Logger.LogAttrs(c.Request.Context(), slog.LevelError, "api handler panicked",
			slog.String("route", c.FullPath()), slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
		if !c.Writer.Written() {
			writeProblem(c.Writer, problemOf(fmt.Errorf("panic: %v", v)))
		}
		c.Abort()
	}()
	c.Next()
}

// workspaceOf is the caller's workspace in the newest configuration.
func (s *server) workspaceOf(who caller) (*catalog.Snapshot, *catalog.Workspace, error) {
	now := s.o.Catalog.Now()
	w := now.Workspaces[who.workspace]
	if w == nil {
		return nil, nil, engage.Errorf(engage.NotFound, "workspace", "there is no workspace %q", who.workspace)
	}
	return now, w, nil
}
