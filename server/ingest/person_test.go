package ingest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/ingest"
)

// breaking knows nobody, and has exports that cannot be read to their end.
type breaking struct{}

func (breaking) Person(_ context.Context, _, profile string) (ingest.Person, error) {
	return ingest.Person{ID: profile}, nil
}

func (breaking) Export(context.Context, string, string, string) (func(context.Context, io.Writer) error, error) {
	return func(_ context.Context, w io.Writer) error {
		_, err := io.WriteString(w, strings.Repeat(`{"a":"}`, 10_000)+`{"persons":[{}`)
		return errors.Join(err, errors.New("the store is away"))
	}, nil
}

func (breaking) Erase(context.Context, string, string, string) (*engage.Erasure, error) {
	return nil, errors.New("not here")
}

func (breaking) Erasure(context.Context, string, string) (*engage.Erasure, error) {
	return nil, errors.New("not here")
}

// An export that cannot be read to its end is no answer: nobody takes it for whole,
// wherever it ends.
func TestAnExportThatBreaksOffIsNoAnswer(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+sdkproto.PathExport, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range auth("phone-00001", w.token("phone-00001")) {
		req.Header.Set(name, value)
	}
	resp, err := w.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d", resp.StatusCode)
	}
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Fatalf("%d bytes look like a whole answer", len(body))
	}
}
