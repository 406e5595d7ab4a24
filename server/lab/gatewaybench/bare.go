package gatewaybench

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/footfall-engage/footfall/sdkproto"
)

// AckBytes is the size of the gateway's ack as a websocket message, and of what
// Bare answers.
const AckBytes = 24

// Bare serves websockets of the protocol's address until ctx ends, and answers every
// message with AckBytes of nothing.
func Bare(ctx context.Context, l net.Listener) error {
	u := websocket.Upgrader{
		ReadBufferSize: 512, WriteBufferSize: 1024, WriteBufferPool: &sync.Pool{},
		Subprotocols: []string{sdkproto.SubprotocolPB},
		CheckOrigin:  func(*http.Request) bool { return true },
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[*websocket.Conn]bool{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+sdkproto.PathWS, func(w http.ResponseWriter, r *http.Request) {
		conn, err := u.Upgrade(w, r, nil)
		if err != nil {
			return // it has been answered
		}
		mu.Lock()
		open[conn] = true
		mu.Unlock()
		// The handler returns: what the HTTP server holds for it is let go.
		wg.Go(func() {
			echo(conn)
			mu.Lock()
			delete(open, conn)
			mu.Unlock()
		})
	})
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = s.Close()
		if failure := <-ended; !errors.Is(failure, http.ErrServerClosed) {
			err = errors.Join(err, failure)
		}
	}
	mu.Lock()
	for conn := range open {
		_ = conn.Close() // nobody is told
	}
	mu.Unlock()
	wg.Wait()
	return err
}

// readBuffers as the gateway has them.
var readBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func echo(conn *websocket.Conn) {
	defer func() { _ = conn.Close() }() // it has ended
	answer := make([]byte, AckBytes)
	for {
		_, r, err := conn.NextReader()
		if err != nil {
			return
		}
		buf, _ := readBuffers.Get().(*bytes.Buffer)
		buf.Reset()
		_, err = buf.ReadFrom(r)
		readBuffers.Put(buf)
		if err != nil || conn.WriteMessage(websocket.BinaryMessage, answer) != nil {
			return
		}
	}
}
