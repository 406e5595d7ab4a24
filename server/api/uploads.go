package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/uploads"
)

// Uploads takes files of people, events and purchases (*uploads.Service, whose
// documentation holds).
type Uploads interface {
	Create(m uploads.Making) (uploads.Upload, error)
	Get(workspace, id string) (uploads.Upload, error)
	List(workspace string) []uploads.Upload
	Write(workspace, id string, offset int64, last bool, from io.Reader) (uploads.Upload, error)
	Cancel(workspace, id string) error
	Report(workspace, id string, f func(line []byte) error) error
}

const (
	binaryType = "application/octet-stream"
	gzipType   = "application/gzip"
)

const uploadTargets = "\n\nTargets of every kind of file: user_id, email, loyalty, anonymous_id (one is needed), identifiers (a list of <kind>:<value>), - (not looked at). " +
	"Of people: attributes.<name>[:string|number|bool|time|strings], preferences.<topic> (like, dislike, none), likes, dislikes (lists of topics), " +
	"consents.<purpose> (yes or no, and only with consents.<purpose>.text_version, .at and .source, or consent_text_version, consent_at, consent_source of all), updated_at. " +
	"Of events: event, occurred_at, event_type, message_id, properties.<name>[:<type>]. " +
	"Of purchases: order_id, value, occurred_at, status (completed, updated, refunded, cancelled), currency, place, coupon, products (a JSON list), message_id, properties.<name>[:<type>]; " +
	"where an order has a row for each of its lines, which must follow each other: line.id, line.name, line.category, line.brand, line.price (of one), line.quantity, line.value; an order of which a row is refused or contradicts another is refused as a whole. " +
	"Of items, which have no identifiers: id (needed), deleted (yes: the item is deleted), fields.<name>[:<type>]; a field that the catalogue does not have is learned. " +
	"Columns that the mapping does not name are not looked at; without a mapping all are guessed by their names, and the types of attributes by the first rows."

func (s *server) registerUploads() {
	register(s, operation{
		method: http.MethodPost, path: "/uploads", id: "create-upload", tag: tagPeople, role: catalog.Admin, status: http.StatusCreated,
		summary: "Begin an upload of people, events, purchases or items",
		description: "Then its bytes come by POST /uploads/{id}/content, in one part or several; what was cut off goes on where the server has it (received). " +
			"A table (CSV with a header, separated by comma, semicolon, tab or bar) or a JSON object per line, either compressed by gzip or not, up to 4 GB unless the server's configuration has another bound (uploads.max_mb). " +
			"It is processed in the background, beside live traffic, and triggers nothing. A row that is refused stops no other. The same row again, in this file or another, has no effect. A row of items replaces the item of its id, or deletes it." + uploadTargets,
		body: uploadBody{}, errors: []int{http.StatusTooManyRequests},
	}, s.createUpload)
	register(s, operation{
		method: http.MethodPost, path: "/uploads/preview", id: "preview-upload", tag: tagPeople, role: catalog.Admin,
		summary:     "See what a file would be read as",
		description: "Send the beginning of the file, of which at most 1 MB is read: the answer has the columns with what they would hold, and what the first rows say. Nothing is saved." + uploadTargets,
		body:        uploadPart(""), bodyTypes: []string{binaryType, csvType, ndjsonType, gzipType}, streams: true,
	}, s.previewUpload)
	register(s, operation{
		method: http.MethodGet, path: "/uploads", id: "list-uploads", tag: tagPeople, role: catalog.Viewer,
		summary: "List uploads, the newest first", description: "Those that have ended are kept for 30 days, unless the server's configuration says otherwise (uploads.report_days).",
	}, s.listUploads)
	register(s, operation{
		method: http.MethodGet, path: "/uploads/{id}", id: "get-upload", tag: tagPeople, role: catalog.Viewer,
		summary: "Get how far an upload is",
	}, s.getUpload)
	register(s, operation{
		method: http.MethodHead, path: "/uploads/{id}", id: "head-upload", tag: tagPeople, role: catalog.Viewer, status: http.StatusNoContent,
		summary: "Ask where to go on with an upload that was cut off",
		description: "By headers alone, as clients of resumable uploads know them: Upload-Offset, the bytes that the server has; Upload-Length, those that were announced, or that there are once it is whole; " +
			"Upload-Complete, ?1 when it is whole and ?0 while the server waits for more. One that was cancelled is not found: nobody goes on with it.",
	}, s.headUpload)
	register(s, operation{
		method: http.MethodPost, path: "/uploads/{id}/content", id: "write-upload", tag: tagPeople, role: catalog.Admin,
		summary: "Send the bytes of an upload, or a part of them",
		description: "The offset must be what the server has received; the answer to a wrong one, 409, says how much that is. Of a part that is cut off, what came is kept. " +
			"The upload is whole with the part that has last=true, or when it has the size that was announced; then it is processed.",
		body: uploadPart(""), bodyTypes: []string{binaryType, csvType, ndjsonType, gzipType}, streams: true, errors: []int{http.StatusConflict},
	}, s.writeUpload)
	register(s, operation{
		method: http.MethodGet, path: "/uploads/{id}/refused", id: "get-refused-rows", tag: tagPeople, role: catalog.Viewer,
		summary:     "Get the rows of an upload that were refused",
		description: "By their numbers, with field, code and reason, as lines of JSON or, with Accept: text/csv, as a table; the first 100,000. What stood in the file is not in it.",
		content:     map[string]any{ndjsonType: uploads.Refused{}, csvType: ""},
	}, s.refusedRows)
	register(s, operation{
		method: http.MethodDelete, path: "/uploads/{id}", id: "delete-upload", tag: tagPeople, role: catalog.Admin,
		summary:     "Cancel an upload, or remove one that has ended",
		description: "Its bytes are removed; what was taken until then stays. One that has ended is removed with its report.",
	}, s.deleteUpload)
}

type uploadBody struct {
	Kind      uploads.Kind      `json:"kind" enum:"people,events,purchases,items"`
	Catalogue string            `json:"catalogue,omitempty" maxLength:"50" doc:"Of items: the id of the catalogue into which they go"`
	Name      string            `json:"name,omitempty" doc:"Of the file, for people to read"`
	Format    uploads.Format    `json:"format,omitempty" enum:"csv,ndjson" doc:"Absent: found out"`
	Size      int64             `json:"size,omitempty" minimum:"0" doc:"Bytes; absent: not known"`
	SHA256    string            `json:"sha256,omitempty" doc:"Of the bytes, in hexadecimal: a file that has another one is not processed"`
	Mapping   map[string]string `json:"mapping,omitempty" doc:"Target by column, or by key of a line of JSON; one within an object by its path, traits.city. Absent: guessed"`
}

// uploadPart documents bytes.
type uploadPart string

type uploadView struct {
	ID        string            `json:"id"`
	Kind      uploads.Kind      `json:"kind" enum:"people,events,purchases,items"`
	Catalogue string            `json:"catalogue,omitempty" doc:"Of items"`
	Name      string            `json:"name,omitempty"`
	By        string            `json:"by" doc:"Id of the key that made it"`
	State     uploads.State     `json:"state" enum:"receiving,waiting,processing,done,failed,cancelled"`
	SameAs    string            `json:"same_as,omitempty" doc:"Id of an upload that has taken the same file in the same way: this one did nothing"`
	Problem   *FieldError       `json:"problem,omitempty" doc:"Why it failed; what was before is taken"`
	CreatedAt time.Time         `json:"created_at"`
	StartedAt time.Time         `json:"started_at,omitzero"`
	EndedAt   time.Time         `json:"ended_at,omitzero"`
	SHA256    string            `json:"sha256,omitempty" doc:"Of the bytes, in hexadecimal: what was announced, or what it was found to be when they were all there; absent: not known yet"`
	Size      int64             `json:"size,omitempty" doc:"Bytes that were announced; absent: it was not said"`
	Received  int64             `json:"received" doc:"Bytes: the offset of the next part"`
	Used      int64             `json:"used" doc:"Bytes of those that have been processed"`
	Read      int64             `json:"read" doc:"Rows"`
	Taken     int64             `json:"taken" doc:"Rows. One that came before, in this file or another, changes nothing"`
	Refused   int64             `json:"refused" doc:"Rows"`
	Listed    int64             `json:"listed" doc:"Refused rows that are in the report"`
	Mapping   map[string]string `json:"mapping,omitempty" doc:"By which it is read: what was given, or what was guessed when it began"`
	RowsPerS  float64           `json:"rows_per_s,omitempty"`
	LeftS     float64           `json:"left_s,omitempty" doc:"Seconds until it is done, at this rate; absent: not known"`
}

func viewUpload(u uploads.Upload) uploadView {
	mapping := u.Decided
	if mapping == nil {
		mapping = u.Mapping
	}
	v := uploadView{
		ID: u.ID, Kind: u.Kind, Catalogue: u.Catalogue, Name: u.Name, By: u.By, State: u.State, SameAs: u.Same, CreatedAt: u.CreatedAt, StartedAt: u.StartedAt, EndedAt: u.EndedAt,
		SHA256: u.SHA256, Size: u.Size, Received: u.Received, Used: u.Used, Read: u.Read, Taken: u.Taken, Refused: u.Refused, Listed: u.Listed, Mapping: mapping,
		RowsPerS: u.RowsPerS, LeftS: u.Left.Seconds(),
	}
	if p := u.Problem; p != nil {
		v.Problem = &FieldError{p.Code, p.Field, p.Reason}
	}
	return v
}

func (s *server) createUpload(_ context.Context, who caller, in *struct{ Raw }) (*answered[uploadView], error) {
	var b uploadBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	u, err := s.o.Uploads.Create(uploads.Making{
		Workspace: who.workspace, By: who.key.ID, Kind: b.Kind, Catalogue: b.Catalogue, Name: b.Name, Format: b.Format, Size: b.Size, SHA256: b.SHA256, Mapping: b.Mapping,
	})
	if err != nil {
		return nil, err
	}
	return &answered[uploadView]{viewUpload(u)}, nil
}

// uploadStream is a body that is read as it comes.
type uploadStream struct {
	body *heard
}

// Resolve takes the body as a stream, which Huma would read as a whole.
func (in *uploadStream) Resolve(ctx huma.Context) []error {
	in.body = &heard{from: &patientBody{from: ctx.BodyReader(), extend: ctx.SetReadDeadline, left: maxImportBytes}}
	return nil
}

// heard remembers that the client broke off: that is no fault of ours.
type heard struct {
	from io.Reader
	err  error
}

// Read implements io.Reader.
func (h *heard) Read(p []byte) (int, error) {
	n, err := h.from.Read(p)
	if err != nil && err != io.EOF {
		h.err = err
	}
	return n, err
}

type previewInput struct {
	uploadStream
	Kind      string `query:"kind" enum:"people,events,purchases,items" required:"true"`
	Catalogue string `query:"catalogue" maxLength:"50" doc:"Of items: the id of the catalogue into which they would go"`
	Format    string `query:"format" enum:"csv,ndjson" doc:"Absent: found out"`
	Mapping   string `query:"mapping" maxLength:"100000" doc:"Target by column, as a JSON object; absent: guessed"`
}

func (s *server) previewUpload(_ context.Context, who caller, in *previewInput) (*answered[*uploads.Preview], error) {
	_, w, err := s.workspaceOf(who)
	if err != nil {
		return nil, err
	}
	var mapping map[string]string
	if in.Mapping != "" {
		var b struct {
			Mapping map[string]string `json:"mapping"`
		}
		if err := decode([]byte(`{"mapping":`+in.Mapping+`}`), &b); err != nil {
			return nil, err
		}
		mapping = b.Mapping
	}
	look := uploads.Previewing{
		Kind: uploads.Kind(in.Kind), Format: uploads.Format(in.Format), Mapping: mapping, Declared: s.o.Catalog.Now().AttributesWith(w), Now: s.o.Clock.Now(),
	}
	if look.Kind == uploads.Items {
		if look.Catalogue = s.o.Catalog.Now().Catalogue(who.workspace, in.Catalogue); look.Catalogue == nil {
			return nil, engage.Errorf(engage.NotFound, "catalogue", "there is no catalogue %q", clip(in.Catalogue))
		}
		look.Declared = uploads.FieldTypes(look.Catalogue)
	}
	p, err := uploads.Look(in.body, look)
	if err != nil && in.body.err != nil {
		return nil, readError(in.body.err)
	}
	if err != nil {
		return nil, err
	}
	return &answered[*uploads.Preview]{p}, nil
}

func (s *server) listUploads(_ context.Context, who caller, in *struct{ Paging }) (*answered[list[uploadView]], error) {
	out := list[uploadView]{Items: []uploadView{}}
	for _, u := range s.o.Uploads.List(who.workspace) {
		if in.Cursor != "" && cmp.Compare(u.ID, in.Cursor) >= 0 {
			continue
		}
		if len(out.Items) == in.Limit {
			out.Next = out.Items[in.Limit-1].ID
			break
		}
		out.Items = append(out.Items, viewUpload(u))
	}
	return &answered[list[uploadView]]{out}, nil
}

func (s *server) getUpload(_ context.Context, who caller, in *byID) (*answered[uploadView], error) {
	u, err := s.o.Uploads.Get(who.workspace, in.ID)
	if err != nil {
		return nil, err
	}
	return &answered[uploadView]{viewUpload(u)}, nil
}

// uploadHead is where an upload stands, in the words of resumable uploads (tus 1.0 and the
// HTTP working group's draft-ietf-httpbis-resumable-upload).
type uploadHead struct {
	Offset   string `header:"Upload-Offset" doc:"Bytes that the server has"`
	Length   string `header:"Upload-Length" doc:"Bytes that it is to have; absent: not known yet"`
	Complete string `header:"Upload-Complete" doc:"?1: it is whole; ?0: more is to come"`
	Cache    string `header:"Cache-Control" doc:"no-store"`
}

func (s *server) headUpload(_ context.Context, who caller, in *byID) (*uploadHead, error) {
	u, err := s.o.Uploads.Get(who.workspace, in.ID)
	if err != nil {
		return nil, err
	}
	if u.State == uploads.Cancelled {
		return nil, engage.Errorf(engage.NotFound, "id", "was cancelled")
	}
	out := &uploadHead{Offset: strconv.FormatInt(u.Received, 10), Complete: "?0", Cache: "no-store"}
	size := u.Size
	if u.State != uploads.Receiving {
		out.Complete, size = "?1", u.Received
	}
	if size > 0 {
		out.Length = strconv.FormatInt(size, 10)
	}
	return out, nil
}

type writeUploadInput struct {
	ID     string `path:"id" maxLength:"100"`
	Offset int64  `query:"offset" minimum:"0" default:"0" doc:"Bytes that the server has: received of the upload"`
	Last   bool   `query:"last" doc:"This is the end of the file"`
	uploadStream
}

func (s *server) writeUpload(_ context.Context, who caller, in *writeUploadInput) (*answered[uploadView], error) {
	u, err := s.o.Uploads.Write(who.workspace, in.ID, in.Offset, in.Last, in.body)
	if err != nil && in.body.err != nil {
		return nil, readError(in.body.err)
	}
	if err != nil {
		return nil, err
	}
	return &answered[uploadView]{viewUpload(u)}, nil
}

func (s *server) deleteUpload(_ context.Context, who caller, in *byID) (*struct{}, error) {
	return nil, s.o.Uploads.Cancel(who.workspace, in.ID)
}

type refusedInput struct {
	ID     string `path:"id" maxLength:"100"`
	Accept string `header:"Accept" hidden:"true"`
}

func (s *server) refusedRows(ctx context.Context, who caller, in *refusedInput) (*streamed, error) {
	if _, err := s.o.Uploads.Get(who.workspace, in.ID); err != nil {
		return nil, err
	}
	rows := func(f func(line []byte) error) {
		if err := s.o.Uploads.Report(who.workspace, in.ID, f); err != nil { // the answer has begun
			s.o.Logger.DebugContext(ctx, "api answer not written", "error", err)
		}
	}
	if !strings.Contains(in.Accept, csvType) {
		return &streamed{ndjsonType, func(hc huma.Context) {
			rows(func(line []byte) error {
				_, err := hc.BodyWriter().Write(append(bytes.Clone(line), '\n'))
				return err
			})
		}}, nil
	}
	return &streamed{csvType, func(hc huma.Context) {
		w := csv.NewWriter(hc.BodyWriter())
		_ = w.Write([]string{"row", "field", "code", "reason"}) // Flush tells
		rows(func(line []byte) error {
			var x uploads.Refused
			if err := json.Unmarshal(line, &x); err != nil {
				return fmt.Errorf("report of an upload: %w", err)
			}
			return w.Write([]string{strconv.Itoa(x.Row), harmless(x.Field), string(x.Code), x.Reason})
		})
		w.Flush()
	}}, nil
}

// harmless keeps a spreadsheet from taking a column's name for a formula.
func harmless(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}
