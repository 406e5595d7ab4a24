package apns_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/apns"
	"github.com/footfall-engage/footfall/channels/apns/apnssim"
)

// BenchmarkSend compares pushes at 100 in flight with bare POSTs of net/http to
// the same simulator and prints the ratio; below 1 the sender is the faster.
func BenchmarkSend(b *testing.B) {
	sim := start(b, apnssim.Options{KeepRequests: 1000})
	s := sender(b, sim, func(o *apns.Options) { o.MaxConns = 1 })
	token := apnssim.Token("ok", "bench")
	m := message(token)
	push := func() error {
		out, err := s.Send(b.Context(), m)
		if err == nil && out.Kind != channels.Accepted {
			err = fmt.Errorf("%+v", out)
		}
		return err
	}

	team, kid, p8 := sim.Key()
	key, err := jwt.ParseECPrivateKeyFromPEM(p8)
	if err != nil {
		b.Fatal(err)
	}
	t := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": team, "iat": time.Now().Unix()})
	t.Header["kid"] = kid
	bearer, err := t.SignedString(key)
	if err != nil {
		b.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: sim.RootCAs()}, ForceAttemptHTTP2: true}}
	b.Cleanup(client.CloseIdleConnections)
	body := []byte(`{"aps":{"alert":{"body":"It rains at your shop","title":"Umbrella?"},"sound":"default"},"footfall_campaign_id":"rainy-day","footfall_message_id":"delivery-1"}`)
	bare := func() error {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, sim.URL()+"/3/device/"+token, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "bearer "+bearer)
		req.Header.Set("Apns-Topic", "com.example.shop")
		req.Header.Set("Apns-Push-Type", "alert")
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
	if err := push(); err != nil { // raises the stream limit of its connection
		b.Fatal(err)
	}
	if err := bare(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	ours := inFlight(b, 100, b.N, push)
	b.StopTimer()
	theirs := inFlight(b, 100, b.N, bare)
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
