package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// askings is a Privacy in memory.
type askings struct {
	w *world

	mu         sync.Mutex
	erasures   map[string][]engage.Erasure // by workspace
	suppressed map[string]map[string]*engage.Suppression
	accesses   map[string][]engage.Access
}

func newAskings(w *world) *askings {
	return &askings{
		w: w, erasures: map[string][]engage.Erasure{}, suppressed: map[string]map[string]*engage.Suppression{}, accesses: map[string][]engage.Access{},
	}
}

func (p *askings) Export(ctx context.Context, ws, profile string) (func(context.Context, io.Writer) error, error) {
	raw, err := p.w.Profile(ctx, ws, profile)
	if err != nil {
		return nil, err
	}
	return func(_ context.Context, w io.Writer) error {
		if p.w.breaks {
			_, err := io.WriteString(w, strings.Repeat(`{"a":"}`, 10_000)+`{"persons":[{}`)
			return errors.Join(err, errors.New("the store is away"))
		}
		_, err := fmt.Fprintf(w, `{"persons":[%s]}`, strings.ReplaceAll(string(raw), "push-token", "withheld"))
		return err
	}, nil
}

func (p *askings) Erase(_ context.Context, ws, _, by, reason string, suppress bool) (*engage.Erasure, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := engage.Erasure{V: 1, ID: fmt.Sprint("e", len(p.erasures[ws])), Workspace: ws, State: engage.ErasureRunning, At: start, By: by, Reason: reason, Suppressed: suppress}
	p.erasures[ws] = append(p.erasures[ws], e)
	return &e, nil
}

func (p *askings) Erasure(_ context.Context, ws, id string) (*engage.Erasure, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.erasures[ws] {
		if e.ID == id {
			return &e, nil
		}
	}
	return nil, engage.Errorf(engage.NotFound, "id", "there is no such erasure")
}

func (p *askings) Erasures(_ context.Context, ws, identifier, _ string, _ int) (api.Page[engage.Erasure], error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.asked = append(p.w.asked, identifier)
	return api.Page[engage.Erasure]{Items: slices.Clone(p.erasures[ws])}, nil
}

func (p *askings) Suppress(_ context.Context, ws, identifier, by, reason string) (*engage.Suppression, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.suppressed[ws] == nil {
		p.suppressed[ws] = map[string]*engage.Suppression{}
	}
	kind, _, _ := strings.Cut(identifier, ":")
	x := &engage.Suppression{V: 1, Hash: "h" + identifier, Kind: kind, At: start, By: by, Reason: reason}
	p.suppressed[ws][identifier] = x
	return x, nil
}

func (p *askings) Suppression(_ context.Context, ws, identifier string) (*engage.Suppression, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if x := p.suppressed[ws][identifier]; x != nil {
		return x, nil
	}
	return nil, engage.Errorf(engage.NotFound, "identifier", "is not on the suppression list")
}

func (p *askings) Suppressed(ws, identifier string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.suppressed[ws][identifier] != nil
}

func (p *askings) Unsuppress(ctx context.Context, ws, identifier string) error {
	if _, err := p.Suppression(ctx, ws, identifier); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.suppressed[ws], identifier)
	return nil
}

func (p *askings) Suppressions(_ context.Context, ws, _ string, _ int) (api.Page[engage.Suppression], error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out api.Page[engage.Suppression]
	for _, x := range p.suppressed[ws] {
		out.Items = append(out.Items, *x)
	}
	return out, nil
}

func (p *askings) Looked(_ context.Context, ws string, a engage.Access, profiles ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, x := range profiles {
		a.Profile = x
		p.accesses[ws] = append(p.accesses[ws], a)
	}
	return nil
}

func (p *askings) Accesses(_ context.Context, ws, profile, _ string, _ int) (api.Page[engage.Access], error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := slices.DeleteFunc(slices.Clone(p.accesses[ws]), func(a engage.Access) bool { return a.Profile != profile })
	slices.Reverse(all)
	return api.Page[engage.Access]{Items: all}, nil
}

// Whoever looks at a person is noted, with what they called it; a list notes each.
func TestWhoLooksAtAPersonIsNoted(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	who := engage.ProfileID(alpha, "phone-1")
	for _, path := range []string{"", "/timeline", "/explain?campaign=rain", "/export"} {
		s.do(request{method: "GET", path: "/api/v1/people/user_id:ada" + path, role: catalog.Admin}).want(200)
	}
	s.do(request{method: "GET", path: "/api/v1/people", role: catalog.Viewer}).want(200)
	s.do(request{method: "GET", path: "/api/v1/people/user_id:nobody", role: catalog.Viewer}).want(404)
	s.do(request{method: "GET", path: "/api/v1/decisions?profile=" + who, role: catalog.Viewer}).want(200)
	a := s.do(request{method: "GET", path: "/api/v1/people/" + who + "/accesses", role: catalog.Admin}).want(200)
	var got struct{ Items []engage.Access }
	if err := json.Unmarshal(a.body, &got); err != nil {
		t.Fatal(err)
	}
	var ops []string
	for _, x := range got.Items {
		if x.Key == "" || x.Name == "" || x.Role == "" {
			t.Errorf("%+v", x)
		}
		ops = append(ops, x.Operation)
	}
	slices.Reverse(ops)
	if want := []string{"get-person", "get-timeline", "explain", "export-person", "list-people", "list-decisions", "list-accesses"}; !slices.Equal(ops, want) {
		t.Errorf("noted %v, want %v", ops, want)
	}
}

func TestSomebodyWhoIsKnownIsErasedNotSuppressed(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	suppress := func(id string) answer {
		body, err := json.Marshal(map[string]string{"identifier": id})
		if err != nil {
			t.Fatal(err)
		}
		return s.do(request{method: "POST", path: "/api/v1/suppressions", body: string(body), role: catalog.Admin})
	}
	suppress("user_id:ada").wantProblem(409, engage.Conflict, "identifier")
	suppress("ada").wantProblem(422, engage.Invalid, "identifier")
	suppress("phone:1").wantProblem(422, engage.Invalid, "identifier.phone")
	suppress("email: EVE@Example.org").want(201)
	at := "/api/v1/suppressions/" + url.PathEscape("email:eve@example.ORG")
	s.do(request{method: "GET", path: at, role: catalog.Admin}).want(200)
	s.do(request{method: "DELETE", path: at, role: catalog.Admin}).want(204)
	s.do(request{method: "GET", path: at, role: catalog.Admin}).want(404)

	a := s.do(request{method: "DELETE", path: "/api/v1/people/user_id:ada?suppress=true&reason=asked", role: catalog.Admin}).want(202)
	var e engage.Erasure
	if err := json.Unmarshal(a.body, &e); err != nil || e.State != engage.ErasureRunning || !e.Suppressed || e.Reason != "asked" || e.By == "" {
		t.Errorf("%s %v", a.body, err)
	}
	s.do(request{method: "GET", path: "/api/v1/erasures/" + e.ID, role: catalog.Admin}).want(200)
	s.do(request{method: "DELETE", path: "/api/v1/people/user_id:ada", role: catalog.Marketer}).wantProblem(403, engage.Forbidden, "")
}

// An export that cannot be read to its end is no answer: nobody takes it for whole,
// wherever it ends.
func TestAnExportThatBreaksOffIsNoAnswer(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	s.world.breaks = true
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/api/v1/people/user_id:ada/export", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.keys[alpha][catalog.Admin])
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // it is broken
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%d bytes are taken for whole", len(b))
	}
	if !strings.Contains(s.log.String(), "the store is away") {
		t.Error("the log does not say why")
	}
}

// Somebody who asks to be erased writes their address as they please.
func TestAPersonIsFoundHoweverTheirAddressIsWritten(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	s.world.bindings[alpha]["email:ada@example.org"] = engage.ProfileID(alpha, "phone-1")
	for _, id := range []string{"email:ada@example.org", "email:Ada@Example.ORG", "email: ada@example.org "} {
		s.do(request{method: "GET", path: "/api/v1/people/" + url.PathEscape(id), role: catalog.Viewer}).want(200)
		s.do(request{method: "GET", path: "/api/v1/decisions?profile=" + url.QueryEscape(id), role: catalog.Viewer}).want(200)
		s.do(request{method: "GET", path: "/api/v1/erasures?identifier=" + url.QueryEscape(id), role: catalog.Admin}).want(200)
	}
	s.do(request{method: "GET", path: "/api/v1/erasures?identifier=u0123", role: catalog.Admin}).want(200)
	if want := []string{"email:ada@example.org", "email:ada@example.org", "email:ada@example.org", "u0123"}; !slices.Equal(s.world.asked, want) {
		t.Errorf("asked for %q, want %q", s.world.asked, want)
	}
	s.do(request{method: "GET", path: "/api/v1/people/user_id:ADA", role: catalog.Viewer}).wantProblem(404, engage.NotFound, "id")
}
