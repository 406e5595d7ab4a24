package ingest

import (
	"bytes"
	"testing"

	"github.com/gorilla/websocket"
)

func TestALengthIsWrittenInOneOfThreeWays(t *testing.T) {
	for _, c := range []struct {
		n    int
		want []byte
	}{
		{1, []byte{0x82, 1}},
		{125, []byte{0x82, 125}},
		{126, []byte{0x82, 126, 0, 126}},
		{65_535, []byte{0x82, 126, 0xff, 0xff}},
		{65_536, []byte{0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
	} {
		b := make([]byte, 10)
		if got := b[putHeader(b, websocket.BinaryMessage, c.n):]; !bytes.Equal(got, c.want) {
			t.Errorf("%d: % x, want % x", c.n, got, c.want)
		}
	}
	if got := appendControl([]byte("x"), websocket.PingMessage, nil); !bytes.Equal(got, []byte{'x', 0x89, 0}) {
		t.Errorf("a ping is % x", got)
	}
	if got := appendControl(nil, websocket.CloseMessage, make([]byte, 200)); len(got) != 127 || got[0] != 0x88 || got[1] != 125 {
		t.Errorf("a close frame of too much text is % x", got)
	}
}
