package sdkproto

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// ReadBody reads the body of a POST of at most limit bytes after decompression
// (0 means MaxBodyBytes). Encoding is the Content-Encoding header: "", "identity"
// or "gzip". The error is an *Error of code ErrTooLarge (also for a gzip that
// expands more than MaxGzipRatio) or ErrMalformed, or the reader's own.
func ReadBody(r io.Reader, encoding string, limit int) ([]byte, error) {
	if limit <= 0 {
		limit = MaxBodyBytes
	}
	switch encoding {
	case "", "identity":
		return readLimited(r, limit, nil)
	case "gzip":
	default:
		return nil, Errorf(ErrMalformed, "", `content encoding must be "gzip" or none`)
	}
	// More compressed bytes than this cannot be a body within the limit.
	in := &countingReader{r: io.LimitReader(r, int64(limit)+1024)}
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, gzipError(in, err)
	}
	body, err := readLimited(z, limit, in)
	if err != nil {
		if _, ours := errors.AsType[*Error](err); ours {
			return nil, err
		}
		return nil, gzipError(in, err)
	}
	return body, nil
}

func gzipError(in *countingReader, err error) error {
	if in.err != nil && !errors.Is(in.err, io.EOF) {
		return fmt.Errorf("read body: %w", in.err)
	}
	return Errorf(ErrMalformed, "", "not a whole gzip body: %v", err)
}

// readLimited reads in steps, so that a bomb is noticed after one of them.
func readLimited(r io.Reader, limit int, in *countingReader) ([]byte, error) {
	buf := make([]byte, 0, 4096)
	for {
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(2*cap(buf), limit+1))
			copy(grown, buf)
			buf = grown
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if len(buf) > limit {
			return nil, Errorf(ErrTooLarge, "", "more than %d bytes", limit)
		}
		if in != nil && len(buf) > GzipRatioFloor && int64(len(buf)) > MaxGzipRatio*in.n {
			return nil, Errorf(ErrTooLarge, "", "expands more than %d to 1", MaxGzipRatio)
		}
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

type countingReader struct {
	r   io.Reader
	n   int64
	err error
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil {
		c.err = err
	}
	return n, err
}
