package collect_test

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/collect"
)

// BenchmarkBatch is what a batch of 100 calls costs from its bytes to its entries, with
// a log that answers at once.
func BenchmarkBatch(b *testing.B) {
	w := &world{}
	c, err := collect.New(collect.Options{
		Catalog: w, Log: w, List: w, Clock: clock.NewManual(start), Logger: slog.New(slog.DiscardHandler),
		Limits: collect.Limits{RequestRate: 1e9, CallRate: 1e9},
	})
	if err != nil {
		b.Fatal(err)
	}
	var calls []string
	for i := range 100 {
		calls = append(calls, fmt.Sprintf(`{"type":"track","messageId":"m%d","userId":"u%d","event":"Product Viewed","timestamp":"2026-03-02T09:28:00Z",
			"properties":{"product_id":"u1","category":"rain","price":12.5,"currency":"EUR"},"context":{"locale":"nl-NL","library":{"name":"analytics-node","version":"3.1.0"}}}`, i, i))
	}
	body := `{"sentAt":"2026-03-02T09:29:00Z","batch":[` + strings.Join(calls, ",") + `]}`
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("POST", "/v1/b", strings.NewReader(body))
		r.Header.Set("Authorization", basic(server+":"))
		answer := httptest.NewRecorder()
		c.Handler().ServeHTTP(answer, r)
		if answer.Code != 200 || len(w.entries) != 100 {
			b.Fatal(answer.Code, len(w.entries))
		}
		w.entries = w.entries[:0]
	}
	b.ReportMetric(float64(b.N)*100/b.Elapsed().Seconds(), "calls/s")
}
