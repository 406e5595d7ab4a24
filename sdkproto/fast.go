package sdkproto

import (
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// What follows is a short way for what a server reads and writes most: a frame with a
// batch of one position, and its ack. Whatever is not exactly that is left to the
// general way, which decides: a field that is not known here, or comes twice, or is of
// another type, text that is not UTF-8, numbers that do not end.

// single is a frame of one position, in one piece of memory.
type single struct {
	frame sdkpb.Frame
	batch sdkpb.Batch
	one   oneItem
	items [1]*sdkpb.Item
}

// oneItem is an item that is a position.
type oneItem struct {
	item     sdkpb.Item
	location sdkpb.Location
	given    [3]float64 // speed, bearing, altitude
}

// Field numbers of what the short way knows.
const (
	frameID, frameRe, frameSeq, frameDownAck protowire.Number = 1, 2, 3, 4
	frameAck                                 protowire.Number = 13

	batchID, batchAttempt, batchSentMs, batchSentMonoMs, batchBootID protowire.Number = 1, 2, 3, 4, 6

	itemID, itemSeq, itemOccurredMs, itemMonoMs, itemBootID, itemLocation protowire.Number = 1, 2, 3, 4, 5, 10

	locationLat, locationLng, locationAccuracyM, locationSpeedMPS, locationBearing, locationAltitudeM, locationMocked protowire.Number = 1, 2, 3, 4, 5, 6, 7

	ackBatchID, ackThroughSeq, ackCredit, ackServerMs, ackRetryAfterMs protowire.Number = 1, 2, 4, 5, 6
)

// field is one of a message; its bytes are n of value, in raw.
type field struct {
	num    protowire.Number
	typ    protowire.Type
	number uint64 // of a varint, or the bits of a double
	from   int    // of bytes: where they begin, and end, in raw
	to     int
}

// next reads the field at a place and gives that of the one after it; below 0 where the
// general way must decide.
func (f *field) next(raw string, at, end int) (after int) {
	var tag uint64
	if tag, at = varint(raw, at, end); at < 0 || tag>>3 == 0 || tag>>3 > 100 {
		return -1
	}
	f.num, f.typ = protowire.Number(tag>>3), protowire.Type(tag&7)
	switch f.typ {
	case protowire.VarintType:
		f.number, at = varint(raw, at, end)
		return at
	case protowire.Fixed64Type:
		if end-at < 8 {
			return -1
		}
		b := raw[at : at+8]
		f.number = uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
			uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
		return at + 8
	case protowire.BytesType:
		n, at := varint(raw, at, end)
		if at < 0 || n > uint64(end-at) {
			return -1
		}
		f.from, f.to = at, at+int(n)
		return f.to
	}
	return -1
}

// varint of at most nine bytes; of the few numbers that need ten, the general way
// knows what they may be. After is below 0 where there is none.
func varint(raw string, at, end int) (v uint64, after int) {
	if at < end && raw[at] < 0x80 { // most are of one byte
		return uint64(raw[at]), at + 1
	}
	return longVarint(raw, at, end)
}

func longVarint(raw string, at, end int) (v uint64, after int) {
	for shift := 0; shift < 63 && at < end; shift += 7 {
		b := raw[at]
		at++
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, at
		}
	}
	return 0, -1
}

// text takes the bytes of a field as it, if it is.
func (f *field) text(raw string, into *string) bool {
	s := raw[f.from:f.to]
	if f.typ != protowire.BytesType || !utf8.ValidString(s) {
		return false
	}
	*into = s
	return true
}

func (f *field) int(into *int64) bool {
	*into = int64(f.number)
	return f.typ == protowire.VarintType
}

func (f *field) uint(into *uint64) bool {
	*into = f.number
	return f.typ == protowire.VarintType
}

func (f *field) double(into *float64) bool {
	*into = math.Float64frombits(f.number)
	return f.typ == protowire.Fixed64Type
}

// maxSingle bounds what the short way looks at, so that a large item, or a frame of many,
// does not pay for it.
const maxSingle = 512

// decodeSingle reads a frame with a batch of one position; nil for any other.
func decodeSingle(b []byte) *sdkpb.Frame {
	if len(b) > maxSingle {
		return nil
	}
	if s := (&single{}); s.decode(b) {
		return &s.frame
	}
	return nil
}

// decode reads a frame with a batch of one position into s, which is as good as new;
// false for any other, and then s is not. The texts share one copy of b.
func (s *single) decode(b []byte) bool {
	raw := string(b)
	var f field
	var ok bool
	for at := 0; at < len(raw); {
		if at = f.next(raw, at, len(raw)); at < 0 {
			return false
		}
		switch f.num {
		case frameID:
			ok = f.uint(&s.frame.Id)
		case frameRe:
			ok = f.uint(&s.frame.Re)
		case frameSeq:
			ok = f.uint(&s.frame.Seq)
		case frameDownAck:
			ok = f.uint(&s.frame.DownAck)
		case frameBatch:
			ok = f.typ == protowire.BytesType && s.frame.Batch == nil && s.decodeBatch(raw, f.from, f.to)
			s.frame.Batch = &s.batch
		default:
			ok = false
		}
		if !ok {
			return false
		}
	}
	return s.frame.Batch != nil
}

// Decoder decodes the messages of one phone after the other into memory that it uses
// again. The zero value is ready; it is for one goroutine at a time.
type Decoder struct {
	single single
	frames [1]*sdkpb.Frame
	// used: single is of an earlier message.
	used bool
}

// DecodeFrames is that of the codec, but the frames, and all that hangs on them save
// their texts, are the caller's only until the next call.
func (d *Decoder) DecodeFrames(c Codec, msg []byte, limit int) ([]*sdkpb.Frame, error) {
	if _, binary := c.(Protobuf); binary && len(msg) <= maxSingle && (limit <= 0 || len(msg) <= limit) {
		if raw, only := onlyFrame(msg); only {
			if d.used {
				d.single = single{}
			}
			d.used = true
			if d.single.decode(raw) {
				d.frames[0] = &d.single.frame
				return d.frames[:], nil
			}
		}
	}
	return c.DecodeFrames(msg, limit)
}

// onlyFrame is the frame of a message that has no other.
func onlyFrame(msg []byte) (raw []byte, ok bool) {
	n, k := protowire.ConsumeVarint(msg)
	if k <= 0 || n != uint64(len(msg)-k) {
		return nil, false
	}
	return msg[k:], true
}

func (s *single) decodeBatch(raw string, at, end int) bool {
	var f field
	var ok bool
	for at < end {
		if at = f.next(raw, at, end); at < 0 {
			return false
		}
		switch f.num {
		case batchID:
			ok = f.text(raw, &s.batch.BatchId)
		case batchAttempt:
			s.batch.Attempt = uint32(f.number)
			ok = f.typ == protowire.VarintType
		case batchSentMs:
			ok = f.int(&s.batch.SentMs)
		case batchSentMonoMs:
			ok = f.int(&s.batch.SentMonoMs)
		case batchItems:
			ok = f.typ == protowire.BytesType && s.batch.Items == nil && s.one.decode(raw, f.from, f.to)
			s.items[0] = &s.one.item
			s.batch.Items = s.items[:]
		case batchBootID:
			ok = f.text(raw, &s.batch.BootId)
		default:
			ok = false
		}
		if !ok {
			return false
		}
	}
	return s.batch.Items != nil
}

func (o *oneItem) decode(raw string, at, end int) bool {
	var f field
	var ok bool
	for at < end {
		if at = f.next(raw, at, end); at < 0 {
			return false
		}
		switch f.num {
		case itemID:
			ok = f.text(raw, &o.item.ItemId)
		case itemSeq:
			ok = f.uint(&o.item.Seq)
		case itemOccurredMs:
			ok = f.int(&o.item.OccurredMs)
		case itemMonoMs:
			ok = f.int(&o.item.MonoMs)
		case itemBootID:
			ok = f.text(raw, &o.item.BootId)
		case itemLocation:
			ok = f.typ == protowire.BytesType && o.item.Location == nil && o.decodeLocation(raw, f.from, f.to)
			o.item.Location = &o.location
		default:
			ok = false
		}
		if !ok {
			return false
		}
	}
	return o.item.Location != nil
}

func (o *oneItem) decodeLocation(raw string, at, end int) bool {
	l := &o.location
	var f field
	var ok bool
	for at < end {
		if at = f.next(raw, at, end); at < 0 {
			return false
		}
		switch f.num {
		case locationLat:
			ok = f.double(&l.Lat)
		case locationLng:
			ok = f.double(&l.Lng)
		case locationAccuracyM:
			ok = f.double(&l.AccuracyM)
		case locationSpeedMPS:
			ok = f.double(&o.given[0])
			l.SpeedMps = &o.given[0]
		case locationBearing:
			ok = f.double(&o.given[1])
			l.BearingDeg = &o.given[1]
		case locationAltitudeM:
			ok = f.double(&o.given[2])
			l.AltitudeM = &o.given[2]
		case locationMocked:
			l.Mocked = f.number != 0
			ok = f.typ == protowire.VarintType
		default:
			ok = false
		}
		if !ok {
			return false
		}
	}
	return true
}

// UnmarshalItem decodes an item. The error is that of package proto.
func UnmarshalItem(b []byte) (*sdkpb.Item, error) {
	if len(b) <= maxSingle {
		if o := (&oneItem{}); o.decode(string(b), 0, len(b)) {
			return &o.item, nil
		}
	}
	item := &sdkpb.Item{}
	return item, proto.Unmarshal(b, item)
}

// AppendItem adds an item as package proto encodes it, whose error it gives.
func AppendItem(b []byte, item *sdkpb.Item) ([]byte, error) {
	if longer, done := appendFix(b, item); done {
		return longer, nil
	}
	return proto.MarshalOptions{}.MarshalAppend(b, item)
}

// appendFix adds an item that is a position; false for any other, of which nothing is
// added.
func appendFix(b []byte, item *sdkpb.Item) ([]byte, bool) {
	l := item.GetLocation()
	if !onlyLocation(item) || !utf8.ValidString(item.ItemId) || !utf8.ValidString(item.BootId) ||
		len(item.ProtoReflect().GetUnknown()) > 0 || len(l.ProtoReflect().GetUnknown()) > 0 {
		return b, false
	}
	b = appendText(b, itemID, item.ItemId)
	b = appendNumber(b, itemSeq, item.Seq)
	b = appendNumber(b, itemOccurredMs, uint64(item.OccurredMs))
	b = appendNumber(b, itemMonoMs, uint64(item.MonoMs))
	b = appendText(b, itemBootID, item.BootId)

	var body [64]byte // six doubles and a truth
	at := body[:0]
	for _, f := range [...]struct {
		num protowire.Number
		v   float64
	}{{locationLat, l.Lat}, {locationLng, l.Lng}, {locationAccuracyM, l.AccuracyM}} {
		if bits := math.Float64bits(f.v); bits != 0 { // -0 is said
			at = protowire.AppendFixed64(protowire.AppendTag(at, f.num, protowire.Fixed64Type), bits)
		}
	}
	for _, f := range [...]struct {
		num protowire.Number
		v   *float64
	}{{locationSpeedMPS, l.SpeedMps}, {locationBearing, l.BearingDeg}, {locationAltitudeM, l.AltitudeM}} {
		if f.v != nil {
			at = protowire.AppendFixed64(protowire.AppendTag(at, f.num, protowire.Fixed64Type), math.Float64bits(*f.v))
		}
	}
	at = appendNumber(at, locationMocked, protowire.EncodeBool(l.Mocked))
	return protowire.AppendBytes(protowire.AppendTag(b, itemLocation, protowire.BytesType), at), true
}

// appendNumber adds a number that is not 0.
func appendNumber(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

// appendText adds a text that is not empty.
func appendText(b []byte, num protowire.Number, v string) []byte {
	if v == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), v)
}

// appendAck adds a frame that only acknowledges, with its length before it; false for
// any other, of which nothing is added.
func appendAck(msg []byte, f *sdkpb.Frame) ([]byte, bool) {
	a := f.Ack
	if a == nil || len(a.Rejects) > 0 || !utf8.ValidString(a.BatchId) || CheckFrame(f) != nil ||
		len(f.ProtoReflect().GetUnknown()) > 0 || len(a.ProtoReflect().GetUnknown()) > 0 {
		return msg, false
	}
	var body [256]byte // more than an ack is, without its batch_id
	ack := appendText(body[:0], ackBatchID, a.BatchId)
	ack = appendNumber(ack, ackThroughSeq, a.ThroughSeq)
	if a.Credit != nil { // 0 says something
		ack = protowire.AppendVarint(protowire.AppendTag(ack, ackCredit, protowire.VarintType), uint64(*a.Credit))
	}
	ack = appendNumber(ack, ackServerMs, uint64(a.ServerMs))
	ack = appendNumber(ack, ackRetryAfterMs, uint64(a.RetryAfterMs))

	var head [64]byte
	b := appendNumber(head[:0], frameID, f.Id)
	b = appendNumber(b, frameRe, f.Re)
	b = appendNumber(b, frameSeq, f.Seq)
	b = appendNumber(b, frameDownAck, f.DownAck)
	b = protowire.AppendVarint(protowire.AppendTag(b, frameAck, protowire.BytesType), uint64(len(ack)))
	msg = protowire.AppendVarint(msg, uint64(len(b)+len(ack)))
	return append(append(msg, b...), ack...), true
}
