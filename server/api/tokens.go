package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/tokens"
)

// Tokens are saved in batches, so that an import takes little memory whatever its size,
// and a record of the log is none that holds up a phone.
const (
	batchTokens     = 500
	batchTokenBytes = 256 << 10
)

func (s *server) registerTokens() {
	register(s, operation{
		method: http.MethodPost, path: "/apps/{id}/push-tokens", id: "import-push-tokens", tag: tagApps, role: catalog.Admin,
		summary: "Import push tokens that were collected elsewhere",
		description: "A table (CSV with a header, separated by comma, semicolon or tab) or lines of JSON, read as it comes in, up to 1 GB. " +
			"Each row is a token with whose it is (user_id or install) and when it was last known to be good (registered_at or last_seen); platform, provider, environment, topic and notifications may stand beside. " +
			"A row that is refused stops no other: the report tells its number, the field and the reason; of a token that stands twice it tells both rows. The same file again changes nothing. " +
			"With Accept: application/x-ndjson the report has all rows that were refused or have a warning, one JSON object per line, and the counts as the last line.\n\n" +
			"A phone that Footfall has not heard of is made up, under an id that is a hash of its token, and is its user's: a message to that user reaches it. " +
			"When the app registers the same token, the made-up phone ends and the app's own takes its place; when the app identifies the user, by a proof, the user is whoever the app says. " +
			"A token that an app has registered is never taken from it. No consent comes with a token: marketing messages need the person's, as ever.",
		body: tokenRow{}, bodyTypes: []string{csvType, ndjsonType}, streams: true,
		content: map[string]any{jsonType: tokens.Report{}, ndjsonType: tokens.RowReport{}},
	}, s.importTokens)
	ok := s.api.OpenAPI().Paths["/api/v1/apps/{id}/push-tokens"].Post.RequestBody
	ok.Content[csvType] = &huma.MediaType{Schema: &huma.Schema{
		Type: huma.TypeString, Description: "A table with a header; the fields of a row by the columns' names, others are not looked at",
		Examples: []any{"user_id,token,platform,last_seen\nada,fGk2:APA91b,android,2026-03-01T10:00:00Z\n"},
	}}
}

// tokenRow documents a row.
type tokenRow struct {
	UserID        string `json:"user_id,omitempty" doc:"Also external_user_id, external_id. This or install"`
	Install       string `json:"install,omitempty" doc:"Also install_id, device_id: where the app is Footfall's already"`
	Platform      string `json:"platform,omitempty" enum:"android,ios,web" doc:"Absent: the app's"`
	Provider      string `json:"provider,omitempty" enum:"fcm,apns" doc:"Absent: apns for ios, else fcm"`
	Token         string `json:"token"`
	Environment   string `json:"environment,omitempty" enum:"production,sandbox" doc:"APNs; absent: found out with the first push"`
	Topic         string `json:"topic,omitempty" doc:"APNs; absent: the app's bundle id"`
	RegisteredAt  string `json:"registered_at,omitempty" doc:"RFC 3339, a date, or Unix seconds or milliseconds; this or last_seen"`
	LastSeen      string `json:"last_seen,omitempty" doc:"As registered_at; of the two the later one counts"`
	Notifications string `json:"notifications,omitempty" enum:"granted,provisional,denied,undetermined" doc:"What the OS allows; absent: granted"`
}

type tokensInput struct {
	ID     string `path:"id" maxLength:"100" doc:"Of the app"`
	DryRun bool   `query:"dry_run" doc:"Only report what would happen"`
	Old    string `query:"old" enum:"warn,refuse_expired,refuse_stale" default:"warn" doc:"What becomes of tokens that are too old. Android's are stale after 30 days and expire after 270; others are stale after 270. warn: they are taken with a warning; refuse_expired: expired ones are refused; refuse_stale: stale ones, too"`
	Accept string `header:"Accept" hidden:"true"`
	Type   string `header:"Content-Type" hidden:"true"`

	body io.Reader
}

// Resolve takes the body as a stream, which Huma would read as a whole.
func (in *tokensInput) Resolve(ctx huma.Context) []error {
	in.body = patient(ctx)
	return nil
}

func (s *server) importTokens(ctx context.Context, who caller, in *tokensInput) (*streamed, error) {
	app := s.o.Catalog.Now().App(who.workspace, in.ID)
	if app == nil {
		return nil, engage.Errorf(engage.NotFound, "id", "there is no app %q", clip(in.ID))
	}
	o := tokens.Options{Platform: app.Platform, Old: tokens.Old(in.Old), Now: s.o.Clock.Now()}
	if app.FCM != nil {
		o.Providers = append(o.Providers, "fcm")
	}
	if app.APNs != nil {
		o.Providers = append(o.Providers, "apns")
	}
	switch {
	case strings.HasPrefix(in.Type, csvType):
		o.Format = tokens.CSV
	case strings.HasPrefix(in.Type, ndjsonType):
		o.Format = tokens.NDJSON
	}
	r, err := tokens.NewReader(in.body, o)
	if err != nil {
		return nil, readError(err)
	}
	x := &importingTokens{
		s: s, who: who, app: app, dryRun: in.DryRun, all: strings.Contains(in.Accept, ndjsonType),
		report: tokens.Report{DryRun: in.DryRun, Rows: []tokens.RowReport{}}, twice: tokens.NewTwice(),
	}
	if err := x.run(ctx, r); err != nil {
		return nil, err
	}
	if !x.all {
		return &streamed{jsonType, func(hc huma.Context) { s.write(ctx, hc.BodyWriter(), x.report) }}, nil
	}
	if err := x.spool.close(); err != nil {
		return nil, err
	}
	return &streamed{ndjsonType, func(hc huma.Context) {
		if err := x.spool.copy(hc.BodyWriter()); err == nil {
			s.write(ctx, hc.BodyWriter(), x.report)
		}
	}}, nil
}

// importingTokens is one import under way.
type importingTokens struct {
	s      *server
	who    caller
	app    *catalog.App
	dryRun bool
	all    bool // rows, into the spool
	report tokens.Report
	spool  spool
	twice  *tokens.Twice
	batch  []engage.TokenImport
	bytes  int // of the batch's tokens
}

// run reads the file and saves it batch by batch. An error is one before which nothing
// was saved, or that of the log.
func (x *importingTokens) run(ctx context.Context, r *tokens.Reader) error {
	for {
		row, err := r.Next()
		if err != nil {
			if err := x.flush(ctx); err != nil {
				return err
			}
			switch {
			case x.report.Read == 0 && errors.Is(err, io.EOF):
				return engage.Errorf(engage.Invalid, "row", "the file has no row")
			case errors.Is(err, io.EOF):
				return nil
			case x.report.Read == 0:
				return readError(err)
			}
			e, _ := errors.AsType[*engage.Error](readError(err))
			x.report.Error = &tokens.RowError{Code: e.Code, Field: e.Field, Reason: e.Msg}
			return nil
		}
		if row.Err == nil && row.User != "" && x.s.o.Privacy.Suppressed(x.who.workspace, "user_id:"+row.User) {
			row.Err = engage.Errorf(engage.Forbidden, "user_id", "is on the suppression list")
		}
		x.twice.Compare(row)
		x.report.Count(row)
		if err := x.tell(row); err != nil {
			return err
		}
		if row.Err != nil {
			continue
		}
		x.batch = append(x.batch, x.importOf(row))
		if x.bytes += len(row.Push.Token); len(x.batch) < batchTokens && x.bytes < batchTokenBytes {
			continue
		}
		if err := x.flush(ctx); err != nil {
			return err
		}
	}
}

func (x *importingTokens) importOf(row *tokens.Row) engage.TokenImport {
	t := engage.TokenImport{Install: row.Install, App: x.app.ID, Platform: row.Platform, Push: row.Push, Notifications: row.Notifications}
	if row.User != "" {
		t.Identifier = "user_id:" + row.User
	}
	if t.Install == "" {
		t.Install = engage.ImportedInstall(x.who.workspace, x.app.ID, row.Push.Provider, row.Push.Token)
	}
	return t
}

func (x *importingTokens) tell(row *tokens.Row) error {
	r, noteworthy := row.Report()
	switch {
	case !noteworthy:
	case x.all:
		return x.spool.add(r)
	case len(x.report.Rows) < tokens.MaxReported:
		x.report.Rows = append(x.report.Rows, r)
	default:
		x.report.More++
	}
	return nil
}

// flush saves the batch. Who its users are the owners of the installs find.
func (x *importingTokens) flush(ctx context.Context) error {
	defer func() {
		clear(x.batch)
		x.batch, x.bytes = x.batch[:0], 0
	}()
	if x.dryRun || len(x.batch) == 0 {
		return nil
	}
	return x.s.o.Push.ImportTokens(ctx, x.who.workspace, x.batch)
}
