package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/footfall-engage/footfall/server/engage"
)

// peopleAPI is the server under test as its API shows it.
type peopleAPI struct {
	url, key, writeKey, workspace string
}

func (a *peopleAPI) profileOf(i int) string {
	return engage.PersonID(a.workspace, "user_id:"+customerOf(i))
}

// call sends a request and decodes the answer, a 2xx, into what into points to.
func (a *peopleAPI) call(ctx context.Context, method, path string, body io.Reader, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+a.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}

func (a *peopleAPI) makeWriteKey(ctx context.Context) (token string, err error) {
	var k struct{ Token string }
	err = a.call(ctx, http.MethodPost, "/api/v1/write-keys", bytes.NewReader([]byte(`{"name":"bench","kind":"server"}`)), &k)
	if err == nil && k.Token == "" {
		err = errors.New("the answer to a new write key has no token")
	}
	return k.Token, err
}

// peopleUpload is an upload, as far as it matters here.
type peopleUpload struct {
	ID, State   string
	Read, Taken int
	Received    int64
	RowsPerS    float64 `json:"rows_per_s"`
}

// send sends all bytes of a table and returns the upload, which is not told that it is
// whole.
func (a *peopleAPI) send(ctx context.Context, kind string, write func(io.Writer) error) (id string, err error) {
	var u peopleUpload
	if err := a.call(ctx, http.MethodPost, "/api/v1/uploads", bytes.NewReader([]byte(`{"kind":"`+kind+`","format":"csv"}`)), &u); err != nil {
		return "", err
	}
	from, to := io.Pipe()
	var g errgroup.Group
	g.Go(func() error {
		w := bufio.NewWriterSize(to, 1<<16)
		err := write(w)
		if err == nil {
			err = w.Flush()
		}
		return to.CloseWithError(err)
	})
	err = a.call(ctx, http.MethodPost, "/api/v1/uploads/"+u.ID+"/content?offset=0&last=false", from, nil)
	return u.ID, errors.Join(err, from.Close(), g.Wait())
}

// finish says that an upload is whole.
func (a *peopleAPI) finish(ctx context.Context, id string) error {
	u, err := a.upload(ctx, id)
	if err != nil {
		return err
	}
	return a.call(ctx, http.MethodPost, fmt.Sprintf("/api/v1/uploads/%s/content?offset=%d&last=true", id, u.Received), http.NoBody, nil)
}

func (a *peopleAPI) upload(ctx context.Context, id string) (u peopleUpload, err error) {
	return u, a.call(ctx, http.MethodGet, "/api/v1/uploads/"+id, http.NoBody, &u)
}

// benchPerson is a person, as far as it matters here.
type benchPerson struct {
	ID          string
	Identifiers []string
	Attributes  map[string]any
}

func (a *peopleAPI) person(ctx context.Context, id string) (p benchPerson, err error) {
	return p, a.call(ctx, http.MethodGet, "/api/v1/people/"+url.PathEscape(id), http.NoBody, &p)
}

// is reports what is wrong with a person who should be the ith.
func (p *benchPerson) is(i int) error {
	if len(p.Attributes) != attributesOfPerson || p.Attributes["row_number"] != float64(i) || len(p.Identifiers) != 2 {
		return fmt.Errorf("person %d is %+v: this measures nothing", i, p)
	}
	return nil
}

// checkPeople looks at a few of n persons by each of their ids.
func (a *peopleAPI) checkPeople(ctx context.Context, n int) error {
	for k := range 20 {
		i := k * (n - 1) / 19
		for _, id := range []string{userOf(i), emailOf(i), a.profileOf(i)} {
			p, err := a.person(ctx, id)
			if err == nil {
				err = p.is(i)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

const (
	peopleSenders = 4
	peopleBatch   = 250 // calls
	peopleWatched = 50
)

// eventSenders send track calls.
type eventSenders struct {
	api      *peopleAPI
	profiles int
	run      int64                       // makes the message ids of this run its own
	events   atomic.Int64                // that were answered as taken
	held     atomic.Int64                // answers that asked to wait
	watched  [peopleWatched]atomic.Int64 // of these, of a watched person
}

// person is who the nth watched one is.
func (s *eventSenders) person(n int) int { return n * (s.profiles - 1) / (peopleWatched - 1) }

// send sends for so long.
func (s *eventSenders) send(ctx context.Context, d time.Duration) error {
	g, ctx := errgroup.WithContext(ctx)
	isWatched := map[int]bool{}
	for n := range peopleWatched {
		isWatched[s.person(n)] = true
	}
	end := time.Now().Add(d)
	for sender := range peopleSenders {
		g.Go(func() error {
			var body bytes.Buffer
			x := uint64(sender + 1)
			for batch := 0; time.Now().Before(end); batch++ {
				// The first call is of a watched person, the others are of anybody but these.
				watched := (batch*peopleSenders + sender) % peopleWatched
				body.Reset()
				body.WriteString(`{"batch":[`)
				for k := range peopleBatch {
					who := s.person(watched)
					for x = shuffled(x); k > 0 && isWatched[who]; x = shuffled(x) {
						who = int(x % uint64(s.profiles))
					}
					if k > 0 {
						body.WriteByte(',')
					}
					fmt.Fprintf(&body, `{"type":"track","userId":%q,"messageId":"%d-%d-%d-%d","event":"Product Viewed",`+
						`"properties":{"product_id":"sku-%d","category":%q,"price":%d.95}}`,
						customerOf(who), s.run, sender, batch, k, x%5000, categories[x%uint64(len(categories))], 5+x%90)
				}
				body.WriteString(`]}`)
				if err := s.post(ctx, body.Bytes()); err != nil {
					return err
				}
				s.events.Add(peopleBatch)
				s.watched[watched].Add(1)
			}
			return nil
		})
	}
	return g.Wait()
}

// post sends a batch until it is taken.
func (s *eventSenders) post(ctx context.Context, body []byte) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.api.url+"/v1/batch", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.SetBasicAuth(s.api.writeKey, "")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return fmt.Errorf("send events: %w", err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return fmt.Errorf("send events: %w", err)
		}
		switch resp.StatusCode {
		case http.StatusOK:
			return nil
		case http.StatusTooManyRequests:
			s.held.Add(1)
			wait, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // none: a second
			if err := pauseFor(ctx, time.Duration(max(wait, 1))*time.Second); err != nil {
				return err
			}
		default:
			return fmt.Errorf("send events: %s", resp.Status)
		}
	}
}

// countWatched counts the live events in the timelines of the watched persons.
func (s *eventSenders) countWatched(ctx context.Context) ([]int, error) {
	out := make([]int, peopleWatched)
	for n := range out {
		for cursor := ""; ; {
			var page struct {
				Items []struct {
					Kind string
					Data struct{ Event *struct{ Name string } }
				}
				Next string
			}
			path := "/api/v1/people/" + url.PathEscape(userOf(s.person(n))) + "/timeline?limit=100&cursor=" + url.QueryEscape(cursor)
			if err := s.api.call(ctx, http.MethodGet, path, http.NoBody, &page); err != nil {
				return nil, err
			}
			for _, e := range page.Items {
				if e.Data.Event != nil && e.Data.Event.Name == "Product Viewed" {
					out[n]++
				}
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
	}
	return out, nil
}
