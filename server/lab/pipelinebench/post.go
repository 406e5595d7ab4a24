package pipelinebench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// poster is one HTTP/1.1 connection, on which one request is under way at a time. It
// writes and reads by hand what it needs of HTTP: net/http's client takes as much of the
// machine as the server does.
type poster struct {
	l    *Load
	conn net.Conn
	in   *bufio.Reader
	out  []byte
	body []byte
}

// postWithin bounds one request.
const postWithin = 30 * time.Second

// ask POSTs a body and returns status and answer, which is valid until the next.
func (c *poster) ask(ctx context.Context, path string, p *phone, body []byte) (status int, answer []byte, err error) {
	if c.conn == nil {
		if c.conn, err = dialTCP(ctx, c.l.addr); err != nil {
			return 0, nil, err
		}
		c.in = bufio.NewReaderSize(c.conn, 8<<10)
	}
	b := append(c.out[:0], "POST "...)
	b = append(b, path...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, c.l.addr...)
	b = append(b, "\r\nContent-Type: "+sdkproto.ContentTypePB+"\r\n"+sdkproto.HeaderCaps+": "...)
	b = append(b, capsHeader...)
	b = append(b, "\r\n"+sdkproto.HeaderAppKey+": "...)
	b = append(b, c.l.o.AppKey...)
	b = append(b, "\r\n"+sdkproto.HeaderInstall+": "...)
	b = append(b, p.install...)
	if p.bearer != "" {
		b = append(b, "\r\n"+sdkproto.HeaderAuthorization+": "...)
		b = append(b, p.bearer...)
	}
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	c.out = append(b, body...)
	if err := c.conn.SetDeadline(time.Now().Add(postWithin)); err != nil {
		return 0, nil, err
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return 0, nil, err
	}
	return c.read()
}

// read reads an answer with a Content-Length, which all of the protocol's have.
func (c *poster) read() (status int, body []byte, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	if len(line) < 12 {
		return 0, nil, fmt.Errorf("status line %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, nil, fmt.Errorf("status line %q", line)
	}
	const length = "content-length:"
	n := -1
	for {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return 0, nil, err
		}
		if len(line) <= 2 {
			break
		}
		if len(line) > len(length) && equalFold(line[:len(length)], length) {
			n = 0
			for _, d := range line[len(length):] {
				if d >= '0' && d <= '9' {
					n = 10*n + int(d-'0')
				}
			}
		}
	}
	if n < 0 || n > sdkproto.MaxBodyBytes {
		return 0, nil, fmt.Errorf("an answer of %d bytes", n)
	}
	if cap(c.body) < n {
		c.body = make([]byte, n)
	}
	c.body = c.body[:n]
	_, err = io.ReadFull(c.in, c.body)
	return status, c.body, err
}

func equalFold(line []byte, lower string) bool {
	for i := range lower {
		if line[i]|0x20 != lower[i] && line[i] != lower[i] {
			return false
		}
	}
	return true
}

// greet registers a phone and returns its token.
func (c *poster) greet(ctx context.Context, p *phone) (token string, err error) {
	body, err := proto.Marshal(p.hello())
	if err != nil {
		return "", err
	}
	status, answer, err := c.ask(ctx, sdkproto.PathInstall, p, body)
	if err != nil {
		return "", err
	}
	var reply sdkpb.BatchReply
	if err := proto.Unmarshal(answer, &reply); err != nil {
		return "", fmt.Errorf("status %d: %w", status, err)
	}
	if token = reply.GetHelloOk().GetNewDeviceToken(); status != http.StatusOK || token == "" {
		return "", fmt.Errorf("status %d: %v", status, reply.GetError())
	}
	p.apply(&reply)
	return token, nil
}

// batch POSTs a batch whose items must all be taken.
func (c *poster) batch(ctx context.Context, p *phone, b *sdkpb.Batch) error {
	body, err := proto.Marshal(p.posted(b))
	if err != nil {
		return err
	}
	status, answer, err := c.ask(ctx, sdkproto.PathBatch, p, body)
	if err != nil {
		return err
	}
	return p.taken(status, answer)
}

// taken is nil when a BatchReply acknowledges all items. What else is in it takes effect;
// most have nothing else, and are not decoded.
func (p *phone) taken(status int, reply []byte) error {
	if status != http.StatusOK {
		var r sdkpb.BatchReply
		_ = proto.Unmarshal(reply, &r) // without it the status tells enough
		return fmt.Errorf("status %d: %d %s", status, r.GetError().GetCode(), r.GetError().GetReason())
	}
	ack, found := field(reply, 1)
	if !found {
		return errors.New("an answer without an ack")
	}
	if len(reply) > len(ack)+8 { // more than the tag, and the length
		var r sdkpb.BatchReply
		if err := proto.Unmarshal(reply, &r); err != nil {
			return err
		}
		p.apply(&r)
	}
	return clean(ack)
}

// apply does what an SDK does with what an answer brings: it registers regions, which the
// next POST says, and keeps cursor and etag. Called with the phone's lock.
func (p *phone) apply(r *sdkpb.BatchReply) {
	if r.Regions != nil {
		p.heard = installed(r.Regions)
	}
	if r.Inbox != nil {
		p.cursor = r.Inbox.GetCursor()
	}
	if r.Config != nil {
		p.config = r.Config.GetEtag()
	}
}

// installed is the word of an OS that takes all regions.
func installed(r *sdkpb.Regions) *sdkpb.RegionsAck {
	ack := &sdkpb.RegionsAck{Etag: r.GetEtag(), Installed: make([]string, 0, len(r.GetRegions())+1)}
	for _, x := range r.GetRegions() {
		ack.Installed = append(ack.Installed, x.GetId())
	}
	if r.Bubble != nil {
		ack.Installed = append(ack.Installed, r.Bubble.GetId())
	}
	return ack
}

// posted fills in what a POST says beside its items.
func (p *phone) posted(b *sdkpb.Batch) *sdkpb.Batch {
	b.RegionsAck, b.ConfigEtag, b.InboxCursor = p.heard, new(p.config), new(p.cursor)
	p.heard = nil
	return b
}

// clean is nil for an ack that rejects nothing.
func clean(ack []byte) error {
	reject, found := field(ack, 3)
	if !found {
		return nil
	}
	var r sdkpb.Reject
	_ = proto.Unmarshal(reject, &r) // it is for the message
	return fmt.Errorf("rejected: %v", &r)
}

// field is the first field of that number, of length-delimited type.
func field(b []byte, number protowire.Number) (value []byte, found bool) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, false
		}
		b = b[n:]
		n = protowire.ConsumeFieldValue(num, typ, b)
		if n < 0 {
			return nil, false
		}
		if num == number && typ == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(b)
			return v, true
		}
		b = b[n:]
	}
	return nil, false
}

func (c *poster) close() {
	if c.conn != nil {
		_ = c.conn.Close() // nothing is under way
		c.conn = nil
	}
}

// job is a fix that is due.
type job struct {
	phone *phone
	due   time.Time
}

// post has fixes POSTed, each on the connection that is free first.
func (l *Load) post(ctx context.Context, begin time.Time, due []time.Duration) (late []time.Duration, err error) {
	jobs := make(chan job, len(due)) // it takes all, so that the schedule is kept
	var wg sync.WaitGroup
	for _, c := range l.posters {
		wg.Go(func() {
			for j := range jobs {
				if l.err() == nil && ctx.Err() == nil {
					c.fix(ctx, j)
				}
			}
		})
	}
	late, err = l.schedule(ctx, begin, due, func(n int, at time.Time) error {
		jobs <- job{l.phones[n%len(l.phones)], at}
		return nil
	})
	close(jobs)
	wg.Wait()
	return late, err
}

// fix POSTs a phone's next fix.
func (c *poster) fix(ctx context.Context, j job) {
	p := j.phone
	p.mu.Lock()
	defer p.mu.Unlock()
	b, place := p.fix()
	body, err := proto.Marshal(p.posted(b))
	if err != nil {
		c.l.fail(err)
		return
	}
	c.l.expect(p, place, j.due)
	status, answer, err := c.ask(ctx, sdkproto.PathBatch, p, body)
	if err != nil {
		c.close()
		c.l.fail(fmt.Errorf("a POST: %w", err)) // whether it was taken nobody knows
		return
	}
	c.l.answered(p, place, j.due, p.taken(status, answer) == nil)
}
