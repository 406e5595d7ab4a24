package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/lab/flaky"
)

func TestFlakyCutsWhatPassesAndSaysHowOften(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	done := make(chan int, 1)
	go func() {
		c := &cli{out: w, errs: t.Output()}
		done <- c.run(ctx, []string{"flaky", "--target", strings.TrimPrefix(server.URL, "http://"), "--cuts", "5", "--seed", "2", "--max-bytes", "100"})
	}()
	lines := json.NewDecoder(r)
	var at struct{ Listen string }
	if err := lines.Decode(&at); err != nil {
		t.Fatal(err)
	}
	get := func() error {
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := c.Get("http://" + at.Listen)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		_, err = io.ReadAll(resp.Body)
		return err
	}
	failed, counts := 0, make(chan flaky.Counts, 2)
	go func() {
		for range 2 {
			var c flaky.Counts
			_ = lines.Decode(&c) // nothing is no count either
			counts <- c
		}
	}()
	for range 200 {
		if get() != nil {
			failed++
		}
		if failed == 5 {
			break
		}
	}
	if c := <-counts; c.Cuts != 5 || failed == 0 {
		t.Errorf("%d requests failed; %+v", failed, c)
	}
	if err := get(); err != nil {
		t.Errorf("after the last cut: %v", err)
	}
	cancel()
	if c := <-counts; c.Cuts != 5 || c.BytesDown == 0 {
		t.Errorf("at the end: %+v", c)
	}
	if code := <-done; code != 0 {
		t.Errorf("exit code %d", code)
	}
}
