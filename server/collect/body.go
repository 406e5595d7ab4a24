package collect

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// maxRatio is how many times larger than on the wire a gzip body may be, once it is above
// ratioFloor. The 2,500 calls of a batch say nearly the same, so they compress well; a
// body made to cost us memory is a thousand times smaller on the wire.
const (
	maxRatio   = 100
	ratioFloor = 64 << 10
)

// body reads a request's body of at most limit bytes after decompression. The error is an
// *engage.Error of Invalid or TooLarge; or of the connection, which then is of no use.
func (c *Collector) body(w http.ResponseWriter, r *http.Request, limit int) ([]byte, error) {
	socket := http.NewResponseController(w)
	_ = socket.SetReadDeadline(deadline(c.o.Limits.ReadWithin)) // only what is no socket refuses
	defer func() { _ = socket.SetReadDeadline(time.Time{}) }()  // the log is waited for without it
	in := &counting{r: http.MaxBytesReader(w, r.Body, int64(limit))}
	zipped := false
	switch encoding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); encoding {
	case "", "identity":
	case "gzip":
		zipped = true
	default:
		return nil, engage.Errorf(engage.Invalid, "Content-Encoding", `must be "gzip" or absent`)
	}
	from := io.Reader(in)
	if zipped {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, bodyError(err, in, limit)
		}
		from = z
	}
	var out bytes.Buffer
	for {
		_, err := io.CopyN(&out, from, int64(min(16<<10, limit+1-out.Len())))
		switch {
		case out.Len() > limit:
			return nil, engage.Errorf(engage.TooLarge, "", "the body has more than %d bytes", limit)
		case zipped && out.Len() > ratioFloor && int64(out.Len()) > maxRatio*in.n:
			return nil, engage.Errorf(engage.TooLarge, "", "the body expands more than %d times", maxRatio)
		case errors.Is(err, io.EOF):
			return bytes.TrimPrefix(out.Bytes(), []byte("\ufeff")), nil
		case err != nil:
			return nil, bodyError(err, in, limit)
		}
	}
}

// bodyError tells a body that cannot be from a connection that broke.
func bodyError(err error, in *counting, limit int) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return engage.Errorf(engage.TooLarge, "", "the body has more than %d bytes", limit)
	}
	if in.err != nil && !errors.Is(in.err, io.EOF) {
		return in.err
	}
	return engage.Errorf(engage.Invalid, "", "the body is no whole gzip")
}

// counting counts what was read, and keeps what ended it.
type counting struct {
	r   io.Reader
	n   int64
	err error
}

// Read implements io.Reader.
func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil {
		c.err = err
	}
	return n, err
}

// deadline of a socket, which knows only the machine's clock.
func deadline(within time.Duration) time.Time {
	return time.Now().Add(within) //nolint:forbidigo // a socket's deadline: nothing is decided by it
}
