package loopbench

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

// sink stands for the push provider: HTTP/2 with TLS on the loopback.
type sink struct {
	server *http.Server
	url    string
	roots  *x509.CertPool
	served chan error
}

func startSink(plan *plan) (*sink, error) {
	cert, leaf, err := selfSigned()
	if err != nil {
		return nil, fmt.Errorf("certificate of the sink: %w", err)
	}
	//nolint:noctx // a listener on the loopback answers at once
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &sink{url: "https://" + l.Addr().String() + "/push", roots: x509.NewCertPool(), served: make(chan error, 1)}
	s.roots.AddCert(leaf)
	s.server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var body [itemBytes + 1]byte
			n, err := io.ReadFull(r.Body, body[:])
			if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			if err := plan.arrive(body[:n]); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
			}
		}),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13},
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 1000},
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	go func() { s.served <- s.server.ServeTLS(l, "", "") }() // joined by close
	return s, nil
}

func selfSigned() (tls.Certificate, *x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	t := now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "loopbench"},
		NotBefore: t.Add(-time.Hour), NotAfter: t.Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, leaf, err
}

func (s *sink) close() error {
	err := s.server.Close()
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// attempts is the collection of what has been or may have been POSTed.
const attempts = "attempts"

// posters is how many POSTs may be under way.
const posters = 64

// attempt is one POST to make.
type attempt struct {
	id   string
	body []byte
}

// applier is what the sender needs of the hot store.
type applier interface {
	Apply(ctx context.Context, b store.Batch) error
}

// sender is a deliver stage at its thinnest: attempts are committed before they
// are made and forgotten in a commit after they are answered.
type sender struct {
	plan        *plan
	hot         applier // nil: nothing is committed, for the baseline
	url         string
	client      *http.Client
	jobs        chan attempt
	answered    chan string
	outstanding atomic.Int64 // attempts accepted and not yet forgotten
}

func newSender(s *sink, plan *plan, hot applier) *sender {
	return &sender{
		plan: plan, hot: hot, url: s.url, jobs: make(chan attempt, 4096), answered: make(chan string, 4096),
		client: &http.Client{Transport: &http.Transport{
			ForceAttemptHTTP2: true, MaxConnsPerHost: 1, IdleConnTimeout: time.Minute,
			TLSClientConfig: &tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS13},
		}},
	}
}

// accept commits the attempts and takes them over.
func (s *sender) accept(ctx context.Context, entries []engage.Entry) error {
	as := make([]attempt, len(entries))
	b := store.Batch{Puts: make([]store.Put, len(entries))}
	for i, e := range entries {
		f := e.From
		as[i] = attempt{id: f.Partition + "/" + strconv.FormatUint(f.Seq, 36) + "." + strconv.FormatUint(uint64(f.Index), 36), body: e.Body}
		b.Puts[i] = store.Put{Collection: attempts, Key: store.Key{Workspace: e.Workspace(), ID: as[i].id}, Body: e.Body, If: store.AnyVersion}
	}
	if err := s.hot.Apply(ctx, b); err != nil {
		return fmt.Errorf("commit attempts: %w", err)
	}
	s.outstanding.Add(int64(len(as)))
	for _, a := range as {
		s.plan.reached(attempted, a.body)
		select {
		case s.jobs <- a:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// run makes attempts until ctx ends.
func (s *sender) run(ctx context.Context) error {
	defer s.client.CloseIdleConnections()
	g, ctx := errgroup.WithContext(ctx)
	for range posters {
		g.Go(func() error {
			for {
				select {
				case a := <-s.jobs:
					if err := s.post(ctx, a); err != nil {
						if ctx.Err() != nil {
							return nil // it is in the store still
						}
						return err
					}
				case <-ctx.Done():
					return nil
				}
			}
		})
	}
	if s.hot != nil {
		g.Go(func() error { return s.forget(ctx) })
	}
	return g.Wait()
}

func (s *sender) post(ctx context.Context, a attempt) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(a.body))
	if err != nil {
		return err
	}
	res, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("post: %w", err)
	}
	_, err = io.Copy(io.Discard, res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the sink answers %s", res.Status)
	}
	if s.hot == nil {
		return nil
	}
	select {
	case s.answered <- a.id:
	case <-ctx.Done():
	}
	return nil
}

// answerGap is how long answers wait for company: nobody waits for their commit.
const answerGap = 5 * time.Millisecond

// forget commits what was answered, many at a time.
func (s *sender) forget(ctx context.Context) error {
	//nolint:forbidigo // when it is forgotten decides nothing
	gap := time.NewTimer(answerGap)
	defer gap.Stop()
	for {
		var b store.Batch
		add := func(id string) {
			b.Deletes = append(b.Deletes, store.Delete{Collection: attempts, Key: store.Key{Workspace: "shop", ID: id}})
		}
		select {
		case id := <-s.answered:
			add(id)
		case <-ctx.Done():
			return nil
		}
		gap.Reset(answerGap)
		for waiting := true; waiting && len(b.Deletes) < 1000; {
			select {
			case id := <-s.answered:
				add(id)
			case <-gap.C:
				waiting = false
			case <-ctx.Done():
				waiting = false
			}
		}
		if err := s.hot.Apply(context.WithoutCancel(ctx), b); err != nil {
			return fmt.Errorf("forget attempts: %w", err)
		}
		s.outstanding.Add(-int64(len(b.Deletes)))
	}
}
