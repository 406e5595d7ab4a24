package weather

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
)

const (
	metName        = "met.no"
	metAttribution = "Weather forecast from MET Norway, CC BY 4.0"
	metPath        = "/weatherapi/locationforecast/2.0/complete"

	// maxBodyBytes is the largest answer read, unpacked: a real one has 0.1 MiB.
	maxBodyBytes = 4 << 20
	// An answer without a usable Expires is not asked for again for that long;
	// no answer is believed for longer than longestLife.
	defaultLife  = 30 * time.Minute
	shortestLife = time.Minute
	longestLife  = 24 * time.Hour
)

// MetOptions configure MetNorway.
type MetOptions struct {
	// Contact is an e-mail or web address at which MET Norway can reach the
	// operator; its terms of service demand it. Required.
	Contact string
	// Version of Footfall, for the User-Agent; empty means "dev".
	Version string
	// BaseURL, "https://host"; empty means https://api.met.no.
	BaseURL string
	// HTTPClient to ask with; nil means one of our own. Redirects are never
	// followed: nobody but the configured host learns what we ask for.
	HTTPClient *http.Client
	// Now is the clock; nil means the machine's.
	Now func() time.Time
	// Logger; nil discards.
	Logger *slog.Logger
}

// MetNorway asks the Norwegian Meteorological Institute (met.no), whose
// forecasts cover the world, by its terms of service
// (https://api.met.no/doc/TermsOfService): it says who asks, with at most four
// decimals, gzip, not before Expires, and with the exact Last-Modified.
type MetNorway struct {
	base      string
	userAgent string
	client    *http.Client
	now       func() time.Time
	log       *slog.Logger
	warned    atomic.Bool // the product is deprecated, and that was logged
}

var contactShape = regexp.MustCompile(`^[^\s@]+@[^\s@]+\.[^\s@.]+$|^(https?://)?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}(/\S*)?$`)

// NewMetNorway checks the options. Errors are engage.Errors with the fields
// weather.contact, weather.version and weather.base_url.
func NewMetNorway(o MetOptions) (*MetNorway, error) {
	switch {
	case o.Contact == "":
		return nil, engage.Errorf(engage.Invalid, "weather.contact", "is required: MET Norway wants an address at which it can reach you")
	case len(o.Contact) > 200 || !printable(o.Contact) || !contactShape.MatchString(o.Contact):
		return nil, engage.Errorf(engage.Invalid, "weather.contact", "must be an e-mail or web address of at most 200 ASCII characters")
	case len(o.Version) > 50 || !printable(o.Version) || strings.ContainsAny(o.Version, " /()"):
		return nil, engage.Errorf(engage.Invalid, "weather.version", "must be at most 50 ASCII characters without spaces and slashes")
	}
	m := &MetNorway{base: "https://api.met.no", client: o.HTTPClient, now: o.Now, log: o.Logger}
	if o.BaseURL != "" {
		u, err := url.Parse(o.BaseURL)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return nil, engage.Errorf(engage.Invalid, "weather.base_url", "must be http:// or https:// with a host, without query and user")
		}
		m.base = strings.TrimRight(o.BaseURL, "/")
	}
	version := o.Version
	if version == "" {
		version = "dev"
	}
	m.userAgent = "footfall/" + version + " " + o.Contact
	if m.client == nil {
		m.client = &http.Client{Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSHandshakeTimeout:    5 * time.Second,
			ResponseHeaderTimeout:  20 * time.Second,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 64 << 10,
			ForceAttemptHTTP2:      true,
		}}
	}
	own := *m.client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	m.client = &own
	if m.now == nil {
		m.now = clock.System{}.Now
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	return m, nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Name implements Provider.
func (*MetNorway) Name() string { return metName }

// CloseIdleConnections gives up the connections that nobody uses.
func (m *MetNorway) CloseIdleConnections() { m.client.CloseIdleConnections() }

// Fetch implements Provider. Before kept expires it answers kept, without
// asking.
func (m *MetNorway) Fetch(ctx context.Context, cell geo.Cell, kept *Forecast) (*Forecast, error) {
	if kept != nil && m.now().Before(kept.Expires) {
		return kept, nil
	}
	// A finer cell would tell where somebody is: its parent is all that is asked for.
	cell = cell.Parent(engage.WeatherResolution)
	if !cell.Valid() {
		return nil, m.fail(0, 0, engage.Invalid, "cell", "must be an H3 cell of resolution 5", nil)
	}
	centre := cell.Center()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		m.base+metPath+"?lat="+fourDecimals(centre.Lat)+"&lon="+fourDecimals(centre.Lng), nil)
	if err != nil {
		return nil, m.fail(0, 0, engage.Unavailable, "", "the request cannot be made", withoutURL(err))
	}
	req.Header.Set("User-Agent", m.userAgent)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "gzip") // by hand: so that the limit holds for the unpacked answer
	if kept != nil && kept.Validator != "" {
		req.Header.Set("If-Modified-Since", kept.Validator)
	}
	resp, err := m.client.Do(req)
	if err != nil {
		return nil, m.fail(0, 0, engage.Unavailable, "", "is out of reach", withoutURL(err))
	}
	defer func() {
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
		_ = resp.Body.Close()
	}()
	now := m.now()
	retryAfter := parseRetryAfter(resp.Header.Get("Retry-After"), now)
	switch {
	case resp.StatusCode == http.StatusOK:
	case resp.StatusCode == http.StatusNonAuthoritativeInfo:
		if !m.warned.Swap(true) {
			m.log.WarnContext(ctx, "weather product is deprecated and will be withdrawn", "provider", metName, "product", metPath)
		}
	case resp.StatusCode == http.StatusNotModified:
		if kept == nil || kept.Validator == "" {
			return nil, m.fail(resp.StatusCode, retryAfter, engage.Invalid, "", "unchanged from what we never had", nil)
		}
		renewed := *kept
		renewed.FetchedAt, renewed.Expires = now, now.Add(life(resp.Header, now))
		return &renewed, nil
	case resp.StatusCode == http.StatusForbidden, resp.StatusCode == http.StatusUnauthorized:
		return nil, m.fail(resp.StatusCode, retryAfter, engage.Forbidden, "weather.contact", "the provider refuses us: check the contact", nil)
	case resp.StatusCode == http.StatusTooManyRequests:
		return nil, m.fail(resp.StatusCode, retryAfter, engage.RateLimited, "", "we ask too much, or the contact is not accepted", nil)
	case resp.StatusCode >= 500:
		return nil, m.fail(resp.StatusCode, retryAfter, engage.Unavailable, "", "the provider is down", nil)
	default: // 400 bad request, 404 no such product, 422 not covered, 3xx
		return nil, m.fail(resp.StatusCode, retryAfter, engage.Invalid, "", "the provider does not take this question", nil)
	}
	body, err := readBody(resp)
	if err != nil {
		code, msg := engage.Unavailable, "the answer broke off"
		if errors.Is(err, errTooLarge) {
			code, msg = engage.TooLarge, "the answer exceeds 4 MiB"
		}
		return nil, m.fail(resp.StatusCode, 0, code, "", msg, withoutURL(err))
	}
	hours, modelAt, err := parseMet(body, centre, now)
	if err != nil {
		return nil, &ProviderError{Provider: metName, Status: resp.StatusCode, Err: err}
	}
	return &Forecast{
		Hours:       hours,
		ModelAt:     modelAt,
		FetchedAt:   now,
		Expires:     now.Add(life(resp.Header, now)),
		Validator:   resp.Header.Get("Last-Modified"),
		Deprecated:  resp.StatusCode == http.StatusNonAuthoritativeInfo,
		Provider:    metName,
		Attribution: metAttribution,
	}, nil
}

func (m *MetNorway) fail(status int, retryAfter time.Duration, code engage.Code, field, msg string, cause error) error {
	return &ProviderError{
		Provider: metName, Status: status, RetryAfter: retryAfter,
		Err: &engage.Error{Code: code, Field: field, Msg: msg, Err: cause},
	}
}

// withoutURL takes the URL, and with it the coordinates, out of the error.
func withoutURL(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return ue.Err
	}
	return err
}

// fourDecimals is the finest that MET Norway takes (five are a 403).
func fourDecimals(degrees float64) string {
	s := strconv.FormatFloat(degrees, 'f', 4, 64)
	if s == "-0.0000" {
		return "0.0000"
	}
	return s
}

// life is how long an answer stays fresh from its arrival: by its own clock, so
// that a difference between the clocks does not matter (RFC 9111, 4.2.1 and
// 4.2.3: Expires - Date - Age).
// An answer that is over on arrival still lives for shortestLife.
func life(h http.Header, now time.Time) time.Duration {
	expires, err := http.ParseTime(h.Get("Expires"))
	if err != nil {
		return defaultLife
	}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		date = now
	}
	d := expires.Sub(date)
	if age, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil {
		d -= time.Duration(age) * time.Second
	}
	if d <= 0 {
		return shortestLife
	}
	return min(d, longestLife)
}

// parseRetryAfter reads RFC 9110, 10.2.3: seconds or a date. At most a day; 0
// for what cannot be read.
func parseRetryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, longestLife)
	}
	if at, err := http.ParseTime(s); err == nil {
		return min(max(at.Sub(now), 0), longestLife)
	}
	return 0
}

var errTooLarge = errors.New("too large")

func readBody(resp *http.Response) ([]byte, error) {
	var r io.Reader = resp.Body
	switch encoding := resp.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
	case "gzip":
		zr, err := gzip.NewReader(resp.Body)
		if err != nil {
			return nil, err
		}
		r = zr
	default:
		return nil, errors.New("unknown content encoding")
	}
	body, err := io.ReadAll(io.LimitReader(r, maxBodyBytes+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxBodyBytes {
		return nil, errTooLarge
	}
	return body, nil
}
