package fcm_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2/google"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/fcm/fcmsim"
)

// BenchmarkSend compares pushes at 100 in flight with bare HTTP/2 POSTs of
// net/http to the same simulator and prints the ratio; below 1 the sender is the
// faster.
func BenchmarkSend(b *testing.B) {
	sim := start(b, fcmsim.Options{KeepRequests: 1000})
	s := sender(b, sim, nil)
	m := message("bench")
	m.Target.Platform = "android" // as deliver says it
	push := func() error {
		out, err := s.Send(b.Context(), m)
		if err == nil && out.Kind != channels.Accepted {
			err = fmt.Errorf("%+v", out)
		}
		return err
	}

	conf, err := google.JWTConfigFromJSON(sim.Credentials(), "https://www.googleapis.com/auth/firebase.messaging")
	if err != nil {
		b.Fatal(err)
	}
	token, err := conf.TokenSource(b.Context()).Token()
	if err != nil {
		b.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
	b.Cleanup(client.CloseIdleConnections)
	b.Cleanup(http.DefaultClient.CloseIdleConnections)
	// The very body that the sender makes.
	if err := push(); err != nil {
		b.Fatal(err)
	}
	body := sim.Arrivals()[0].Raw
	url := sim.URL() + "/v1/projects/" + sim.ProjectID() + "/messages:send"
	bare := func() error {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token.AccessToken)
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%d %w", resp.StatusCode, err)
		}
		return nil
	}
	if err := bare(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	// In turns, so that what else the machine does strikes both.
	var ours, theirs time.Duration
	for left := b.N; left > 0; left -= 2000 {
		n := min(left, 2000)
		b.StartTimer()
		ours += inFlight(b, 100, n, push)
		b.StopTimer()
		theirs += inFlight(b, 100, n, bare)
	}
	b.ReportMetric(float64(b.N)/ours.Seconds(), "push/s")
	b.ReportMetric(float64(b.N)/theirs.Seconds(), "bare/s")
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "time/bare")
}

// inFlight runs f n times from so many workers.
func inFlight(b *testing.B, workers, n int, f func() error) time.Duration {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range workers {
		wg.Go(func() {
			for next.Add(1) <= int64(n) {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}
