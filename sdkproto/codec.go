package sdkproto

import (
	"bytes"
	"encoding/binary"
	"mime"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// Codec is one encoding of the protocol: Protobuf or JSON. The zero values of
// both are ready; they hold no state.
type Codec interface {
	// Subprotocol is its name in the websocket handshake.
	Subprotocol() string
	// ContentType is its name on the POSTs.
	ContentType() string
	// Binary reports whether its websocket messages are binary ones.
	Binary() bool
	// AppendFrame adds a frame to a websocket message, which may hold several:
	// each with a varint length before it in protobuf, one per line in JSON.
	AppendFrame(msg []byte, f *sdkpb.Frame) ([]byte, error)
	// DecodeFrames reads a websocket message of at most limit bytes (0 means
	// MaxFrameBytes). Unknown fields are ignored. The error is an *Error with
	// code ErrTooLarge or ErrMalformed; frames before the faulty one are
	// returned with it. Counts are checked before memory is spent on them.
	DecodeFrames(msg []byte, limit int) ([]*sdkpb.Frame, error)
	// Marshal encodes the body of a POST or of its answer.
	Marshal(m proto.Message) ([]byte, error)
	// Unmarshal reads one, with the errors of DecodeFrames. The caller has
	// limited its size, see ReadBody.
	Unmarshal(body []byte, m proto.Message) error
}

// Protobuf is the binary codec.
type Protobuf struct{}

// JSON is its twin by protojson: camelCase names, 64-bit numbers as strings.
type JSON struct{}

// EncodeFrame is one frame as a websocket message.
func EncodeFrame(c Codec, f *sdkpb.Frame) ([]byte, error) { return c.AppendFrame(nil, f) }

// CodecFor finds the codec of a subprotocol, of a list of them as offered in a
// handshake (the first known one wins) or of a content type; nil means none.
func CodecFor(names ...string) Codec {
	for _, n := range names {
		if t, _, err := mime.ParseMediaType(n); err == nil {
			n = t
		}
		switch strings.TrimSpace(n) {
		case SubprotocolPB, ContentTypePB, "application/protobuf":
			return Protobuf{}
		case SubprotocolJSON, ContentTypeJSON:
			return JSON{}
		}
	}
	return nil
}

// CheckFrame reports a frame that has not exactly one body: ErrMalformed for
// two, ErrUnknownFrame for none that this version knows (the connection stays).
func CheckFrame(f *sdkpb.Frame) error {
	n := 0
	for _, set := range [...]bool{
		f.Hello != nil, f.HelloOk != nil, f.Batch != nil, f.Ack != nil, f.Regions != nil,
		f.RegionsAck != nil, f.Message != nil, f.Claim != nil, f.Grant != nil,
		f.Error != nil, f.Ping != nil, f.Pong != nil, f.InboxSync != nil, f.Inbox != nil,
		f.Config != nil, f.TokenRefresh != nil, f.NewToken != nil, f.Goaway != nil,
	} {
		if set {
			n++
		}
	}
	switch n {
	case 0:
		return Errorf(ErrUnknownFrame, "", "no body that this version knows")
	case 1:
		return nil
	}
	return Errorf(ErrMalformed, "", "%d bodies, must be one", n)
}

// Subprotocol implements Codec.
func (Protobuf) Subprotocol() string { return SubprotocolPB }

// ContentType implements Codec.
func (Protobuf) ContentType() string { return ContentTypePB }

// Binary implements Codec.
func (Protobuf) Binary() bool { return true }

// AppendFrame implements Codec.
func (Protobuf) AppendFrame(msg []byte, f *sdkpb.Frame) ([]byte, error) {
	if longer, done := appendAck(msg, f); done {
		return longer, nil
	}
	msg = binary.AppendUvarint(msg, uint64(proto.Size(f)))
	return proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(msg, f)
}

// DecodeFrames implements Codec.
func (Protobuf) DecodeFrames(msg []byte, limit int) ([]*sdkpb.Frame, error) {
	if err := checkLen(msg, limit); err != nil {
		return nil, err
	}
	var out []*sdkpb.Frame
	for len(msg) > 0 {
		if len(out) == MaxFramesPerWSMsg {
			return out, Errorf(ErrTooLarge, "", "more than %d frames in one message", MaxFramesPerWSMsg)
		}
		n, k := binary.Uvarint(msg)
		if k <= 0 || n > uint64(len(msg)-k) {
			return out, Errorf(ErrMalformed, "", "frame %d is cut short", len(out))
		}
		raw := msg[k : k+int(n)]
		msg = msg[k+int(n):]
		if f := decodeSingle(raw); f != nil {
			out = append(out, f)
			continue
		}
		if err := checkItemCount(raw, frameBatch, batchItems); err != nil {
			return out, err
		}
		f := new(sdkpb.Frame)
		if err := pbOptions.Unmarshal(raw, f); err != nil {
			return out, Errorf(ErrMalformed, "", "frame %d is not a protobuf Frame", len(out))
		}
		out = append(out, f)
	}
	return out, nil
}

// Marshal implements Codec.
func (Protobuf) Marshal(m proto.Message) ([]byte, error) { return proto.Marshal(m) }

// Unmarshal implements Codec.
func (Protobuf) Unmarshal(body []byte, m proto.Message) error {
	if _, ok := m.(*sdkpb.Batch); ok {
		if err := checkItemCount(body, batchItems); err != nil {
			return err
		}
	}
	if err := pbOptions.Unmarshal(body, m); err != nil {
		return Errorf(ErrMalformed, "", "not a protobuf %s", m.ProtoReflect().Descriptor().Name())
	}
	return nil
}

// What a later version says is not kept: nobody here could tell whether the person
// agreed to it, such as to another way to give a position.
var pbOptions = proto.UnmarshalOptions{DiscardUnknown: true}

// Field numbers on the way to the items of a batch.
const (
	frameBatch protowire.Number = 12
	batchItems protowire.Number = 5
)

// checkItemCount counts the items below path without allocating, so that two
// bytes of an empty item cannot buy a hundred of memory. Broken bytes are left
// to the decoder.
func checkItemCount(b []byte, path ...protowire.Number) error {
	n := 0
	countAt(b, path, &n)
	if n > MaxBatchItems {
		return Errorf(ErrTooLarge, "batch.items", "more than %d items", MaxBatchItems)
	}
	return nil
}

func countAt(b []byte, path []protowire.Number, n *int) {
	for len(b) > 0 && *n <= MaxBatchItems {
		num, typ, k := protowire.ConsumeTag(b)
		if k < 0 {
			return
		}
		b = b[k:]
		k = protowire.ConsumeFieldValue(num, typ, b)
		if k < 0 {
			return
		}
		if num == path[0] && typ == protowire.BytesType {
			if len(path) == 1 {
				*n++
			} else if v, m := protowire.ConsumeBytes(b); m >= 0 {
				countAt(v, path[1:], n)
			}
		}
		b = b[k:]
	}
}

// Subprotocol implements Codec.
func (JSON) Subprotocol() string { return SubprotocolJSON }

// ContentType implements Codec.
func (JSON) ContentType() string { return ContentTypeJSON }

// Binary implements Codec.
func (JSON) Binary() bool { return false }

// AppendFrame implements Codec.
func (JSON) AppendFrame(msg []byte, f *sdkpb.Frame) ([]byte, error) {
	if len(msg) > 0 {
		msg = append(msg, '\n')
	}
	return protojson.MarshalOptions{}.MarshalAppend(msg, f)
}

// DecodeFrames implements Codec.
func (JSON) DecodeFrames(msg []byte, limit int) ([]*sdkpb.Frame, error) {
	if err := checkLen(msg, limit); err != nil {
		return nil, err
	}
	if err := checkJSONShape(msg); err != nil {
		return nil, err
	}
	var out []*sdkpb.Frame
	for len(msg) > 0 {
		var line []byte
		line, msg, _ = bytes.Cut(msg, []byte{'\n'})
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if len(out) == MaxFramesPerWSMsg {
			return out, Errorf(ErrTooLarge, "", "more than %d frames in one message", MaxFramesPerWSMsg)
		}
		f := new(sdkpb.Frame)
		if err := jsonOptions.Unmarshal(line, f); err != nil {
			return out, Errorf(ErrMalformed, "", "frame %d is not a JSON Frame", len(out))
		}
		if len(f.GetBatch().GetItems()) > MaxBatchItems {
			return out, Errorf(ErrTooLarge, "batch.items", "more than %d items", MaxBatchItems)
		}
		out = append(out, f)
	}
	return out, nil
}

// Marshal implements Codec.
func (JSON) Marshal(m proto.Message) ([]byte, error) { return protojson.Marshal(m) }

// Unmarshal implements Codec.
func (JSON) Unmarshal(body []byte, m proto.Message) error {
	if err := checkJSONShape(body); err != nil {
		return err
	}
	if err := jsonOptions.Unmarshal(body, m); err != nil {
		return Errorf(ErrMalformed, "", "not a JSON %s", m.ProtoReflect().Descriptor().Name())
	}
	if b, ok := m.(*sdkpb.Batch); ok && len(b.Items) > MaxBatchItems {
		return Errorf(ErrTooLarge, "batch.items", "more than %d items", MaxBatchItems)
	}
	return nil
}

var jsonOptions = protojson.UnmarshalOptions{DiscardUnknown: true}

func checkLen(msg []byte, limit int) error {
	if limit <= 0 {
		limit = MaxFrameBytes
	}
	if len(msg) > limit {
		return Errorf(ErrTooLarge, "", "%d bytes, at most %d", len(msg), limit)
	}
	return nil
}

// Bounds of a JSON message before it is parsed: an item has at most four
// objects of its own, and no message of the protocol nests deeper than six.
const (
	maxJSONObjects = 4*MaxBatchItems + 4*MaxFramesPerWSMsg
	maxJSONDepth   = 32
)

func checkJSONShape(b []byte) error {
	objects, depth := jsonShape(b)
	if objects > maxJSONObjects {
		return Errorf(ErrTooLarge, "", "more than %d JSON objects", maxJSONObjects)
	}
	if depth > maxJSONDepth {
		return Errorf(ErrMalformed, "", "nested deeper than %d", maxJSONDepth)
	}
	return nil
}

// jsonShape counts the objects of a JSON text and its deepest nesting, without
// parsing it; what it says of a text that is not JSON means nothing.
func jsonShape(b []byte) (objects, depth int) {
	level, inString := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if c == '{' {
				objects++
			}
			level++
			depth = max(depth, level)
		case c == '}' || c == ']':
			level--
		}
	}
	return objects, depth
}
