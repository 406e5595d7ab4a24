package api_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// Append implements uploads.Log.
func (w *world) Append(_ context.Context, entries []engage.Entry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range entries {
		w.touched = append(w.touched, e.Key)
	}
	return nil
}

type uploadDoc struct {
	ID, Kind, State, SHA256                    string
	Received, Read, Taken, Refused, Used, Size int64
	Mapping                                    map[string]string
	Problem                                    *struct{ Code, Field, Reason string }
}

// process runs the uploads until one has ended.
func (s *site) process(id string) uploadDoc {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.uploads.Run(ctx) }()
	for {
		var u uploadDoc
		s.do(request{method: "GET", path: "/api/v1/uploads/" + id, role: catalog.Viewer}).want(200, &u)
		if u.State == "done" || u.State == "failed" || u.State == "cancelled" {
			cancel()
			if err := <-done; err != nil {
				s.t.Fatal(err)
			}
			return u
		}
	}
}

func (s *site) admin(method, path, body string, header ...string) answer {
	s.t.Helper()
	h := map[string]string{}
	for i := 0; i < len(header); i += 2 {
		h[header[i]] = header[i+1]
	}
	return s.do(request{method: method, path: path, body: body, role: catalog.Admin, header: h})
}

func TestAFileOfPeopleIsUploadedInPartsAndReportsItsRefusedRows(t *testing.T) {
	s := newSite(t)
	file := "No;city;=x\nada;Delft;1\nbob;" + strings.Repeat("x", 2000) + ";1\ncay;Gouda;no number\n"
	var preview struct {
		Format  string
		Mapping map[string]string
		Read    int
		Rows    []struct {
			Identifiers []string
			Attributes  map[string]any
		}
		Wrong []struct{ Row int }
	}
	mapping := `{"No":"user_id","city":"attributes.city","=x":"attributes.x:number"}`
	s.admin("POST", "/api/v1/uploads/preview?kind=people&mapping="+url.QueryEscape(mapping), file, "Content-Type", "text/csv").want(200, &preview)
	if preview.Read != 3 || len(preview.Wrong) != 2 || len(preview.Rows) != 1 || fmt.Sprint(preview.Rows[0]) != "{[user_id:ada] map[city:Delft x:1]}" {
		t.Errorf("preview %+v", preview)
	}
	s.admin("POST", "/api/v1/uploads/preview?kind=people", "city\nDelft\n", "Content-Type", "text/csv").wantProblem(422, engage.Invalid, "header")
	s.admin("POST", "/api/v1/uploads/preview?kind=people&mapping=%5B%5D", file, "Content-Type", "text/csv").wantProblem(422, engage.Invalid, "mapping")

	var u uploadDoc
	s.admin("POST", "/api/v1/uploads", `{"kind":"people","name":"people.csv","mapping":`+mapping+`}`).want(201, &u)
	content := "/api/v1/uploads/" + u.ID + "/content"
	const typ, binary = "Content-Type", "application/octet-stream"
	s.admin("POST", content+"?offset=0", file[:30], typ, binary).want(200, &u)
	if u.Received != 30 || u.State != "receiving" {
		t.Errorf("a part: %+v", u)
	}
	head := func(want ...string) {
		t.Helper()
		a := s.do(request{method: "HEAD", path: "/api/v1/uploads/" + u.ID, role: catalog.Viewer}).want(204)
		got := []string{a.header.Get("Upload-Offset"), a.header.Get("Upload-Length"), a.header.Get("Upload-Complete"), a.header.Get("Cache-Control")}
		if !slices.Equal(got, append(want, "no-store")) {
			t.Errorf("head %q, want %q", got, want)
		}
	}
	head("30", "", "?0")
	p := s.admin("POST", content+"?offset=7", file[30:], typ, binary).wantProblem(409, engage.Conflict, "offset")
	if !strings.Contains(p.Reason, "30") {
		t.Errorf("the reason does not say where to go on: %s", p.Reason)
	}
	s.admin("POST", content+"?offset=30&last=true", file[30:], typ, binary).want(200, &u)
	if u.State != "waiting" || u.Received != int64(len(file)) {
		t.Errorf("whole: %+v", u)
	}
	size := strconv.Itoa(len(file))
	head(size, size, "?1")
	s.admin("POST", content+"?offset=0", "x", typ, binary).wantProblem(409, engage.Conflict, "id")
	u = s.process(u.ID)
	head(size, size, "?1")
	if u.State != "done" || u.Read != 3 || u.Taken != 1 || u.Refused != 2 || u.Mapping["=x"] != "attributes.x:number" {
		t.Errorf("done: %+v", u)
	}
	if want := fmt.Sprintf("%x", sha256.Sum256([]byte(file))); u.SHA256 != want {
		t.Errorf("sha256 %q of a file that was not announced with one, want %s", u.SHA256, want)
	}
	if want := engage.ProfileKey(alpha, engage.PersonID(alpha, "user_id:ada")); len(s.world.touched) != 1 || s.world.touched[0] != want {
		t.Errorf("touched %v, want %s", s.world.touched, want)
	}
	lines := string(s.admin("GET", "/api/v1/uploads/"+u.ID+"/refused", "").want(200).body)
	if lines != `{"row":3,"code":"too_large","field":"city","reason":"has more than 1024 bytes"}`+"\n"+
		`{"row":4,"code":"attribute_type","field":"=x","reason":"must be a number, with a point before its decimals"}`+"\n" {
		t.Errorf("report %s", lines)
	}
	table := string(s.admin("GET", "/api/v1/uploads/"+u.ID+"/refused", "", "Accept", "text/csv").want(200).body)
	if !strings.HasPrefix(table, "row,field,code,reason\n3,city,too_large,") || !strings.Contains(table, "4,'=x,attribute_type") {
		t.Errorf("table %s", table)
	}

	var second uploadDoc
	s.admin("POST", "/api/v1/uploads", `{"kind":"people","size":5}`).want(201, &second)
	var all struct {
		Items []uploadDoc
		Next  string
	}
	s.admin("GET", "/api/v1/uploads?limit=1", "").want(200, &all)
	first := all.Items[0].ID
	cursor := all.Next
	all.Next = ""
	s.admin("GET", "/api/v1/uploads?limit=1&cursor="+cursor, "").want(200, &all)
	if len(all.Items) != 1 || all.Items[0].ID == first || all.Next != "" {
		t.Errorf("pages %s, %+v", first, all)
	}
	s.admin("DELETE", "/api/v1/uploads/"+second.ID, "").want(204)
	s.admin("GET", "/api/v1/uploads/"+second.ID, "").want(200, &second)
	if second.State != "cancelled" {
		t.Errorf("cancelled: %+v", second)
	}
	for key, id := range map[string]string{s.keys[alpha][catalog.Admin]: second.ID, s.keys[beta][catalog.Admin]: u.ID} {
		s.do(request{method: "HEAD", path: "/api/v1/uploads/" + id, key: key}).want(404)
	}
	s.admin("DELETE", "/api/v1/uploads/"+second.ID, "").want(204)
	s.admin("GET", "/api/v1/uploads/"+second.ID, "").wantProblem(404, engage.NotFound, "id")

	beta := s.keys[beta][catalog.Admin]
	for _, r := range []request{
		{method: "GET", path: "/api/v1/uploads/" + u.ID},
		{method: "DELETE", path: "/api/v1/uploads/" + u.ID},
		{method: "GET", path: "/api/v1/uploads/" + u.ID + "/refused"},
		{method: "POST", path: content, body: "x", header: map[string]string{typ: binary}},
	} {
		r.key = beta
		s.do(r).wantProblem(404, engage.NotFound, "id")
	}
	s.admin("POST", "/api/v1/uploads", `{"kind":"pets"}`).wantProblem(422, engage.Invalid, "kind")
	s.admin("POST", "/api/v1/uploads", `{"kind":"people","mapping":{"a":"b"}}`).wantProblem(422, engage.Invalid, "mapping.a")
}
