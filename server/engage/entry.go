package engage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"
)

// Slots is the number of slots that keys hash to. A partition is a range of slots.
const Slots = 256

// SystemWorkspace holds what belongs to no workspace: weather, configuration.
const SystemWorkspace = "_"

// Kind says what an entry's body is.
type Kind string

// Kinds of IN entries (key "<workspace>/i:<install>"), then of ACT entries (key
// "<workspace>/p:<profile>" or "<workspace>/d:<identifier>"), then of both.
const (
	KindSession    Kind = "session"     // sdkpb.Hello, without key and token, and the session's id
	KindSessionEnd Kind = "session_end" // JSON SessionEnd
	KindItem       Kind = "item"        // sdkpb.Item; an identify is one that was proven
	KindUnproven   Kind = "unproven"    // sdkpb.Item, an identify that nobody has proven
	KindTokenDead  Kind = "token_dead"  // JSON TokenDead
	KindTokenEnv   Kind = "token_env"   // JSON TokenEnvironment

	KindDevice      Kind = "device"       // JSON Device
	KindTrigger     Kind = "trigger"      // JSON Trigger
	KindPreferences Kind = "preferences"  // JSON map topic -> Attitude; "" forgets
	KindConsent     Kind = "consent"      // JSON map Purpose -> Consent
	KindReceipt     Kind = "receipt"      // JSON ReceiptItem
	KindIdentify    Kind = "identify"     // JSON Identify; at the identifier's key
	KindBound       Kind = "bound"        // JSON Identify; at the profile's key
	KindBindRefused Kind = "bind_refused" // JSON Identify; at the profile's key
	KindClaimed     Kind = "claimed"      // JSON Identify, unproven; at the profile's key
	KindDeviceGone  Kind = "device_gone"  // JSON DeviceGone
	KindTraits      Kind = "traits"       // JSON object of attributes
	KindOutcome     Kind = "outcome"      // JSON DeliveryOutcome
	KindCall        Kind = "call"         // JSON Trigger that names its campaign; at the profile's key
	KindTouch       Kind = "touch"        // JSON Touch; at the profile's key
	KindMerge       Kind = "merge"        // JSON Merge; at the key of either profile
	// KindShadow, at the key of a profile that a browser's identifier minted, whoever it is
	// by now: something trusted has said whose the browser is. JSON ShadowWord.
	KindShadow   Kind = "shadow"
	KindAbsorb   Kind = "absorb"   // a frozen person, as package decide writes it; at the survivor's key
	KindMergeNo  Kind = "merge_no" // JSON MergeRefused; at both profiles' keys
	KindForward  Kind = "forward"  // JSON Forward; at the survivor's key
	KindDecision Kind = "decision" // JSON Decision; at the key of the profile that made it
	KindErase    Kind = "erase"    // JSON Erase; at the key of a profile, an identifier or an install

	// Entries that leave the log.
	KindSend           Kind = "send"            // JSON Send; to "send"
	KindWeatherRequest Kind = "weather_request" // body: the cell; to "weather"

	KindWeather Kind = "weather" // JSON WeatherRecord; key "_/w:<cell>"
	// KindOccupancy is JSON Occupancy; key OccupancyKey, in every partition of IN.
	KindOccupancy Kind = "occupancy"
	KindAdopt     Kind = "adopt" // JSON revision; made and read by package partition
	KindTimer     Kind = "timer" // made by package partition, applied by the stage
)

// SessionEnd tells situate that a phone's socket has closed, after what it brought.
// A server that dies tells nobody: that a session has begun does not mean that it
// will end.
type SessionEnd struct {
	V int `json:"v"` // 1
	// Session is the id in the KindSession entry that began it: another session of
	// the install, opened since, goes on.
	Session string `json:"session"`
}

// TokenDead tells situate that a provider called a token dead.
type TokenDead struct {
	Install string    `json:"install"`
	Token   Secret    `json:"token"`
	Reason  string    `json:"reason"`
	Since   time.Time `json:"since,omitzero"` // as the provider says; a token given later lives
}

// TokenEnvironment tells situate in which of a provider's environments a token was
// found to live, other than the one that is kept of it.
type TokenEnvironment struct {
	Install     string `json:"install"`
	Token       Secret `json:"token"`
	Environment string `json:"environment"` // "production", "sandbox"
}

// ReceiptItem is what a phone says of a message.
type ReceiptItem struct {
	Message string `json:"message"`
	State   string `json:"state"`
	Via     string `json:"via,omitempty"`
	Install string `json:"install"`
	Action  string `json:"action,omitempty"` // of ReceiptAction: the id of the button
}

// Identify binds an identifier to a profile.
type Identify struct {
	Identifier string `json:"identifier"` // "user_id:ada"
	Profile    string `json:"profile"`
	Install    string `json:"install"`
	Proven     bool   `json:"proven"`
	Code       Code   `json:"code,omitempty"` // why it was refused
}

// DeviceGone tells a profile that an install is another person's from now on.
type DeviceGone struct {
	Install string `json:"install"`
	Reason  string `json:"reason"` // "logout", TokenMoved, "imported"
}

// Source says which record made an entry, so that it takes effect once however
// often it is published. The zero Source is the outside world.
type Source struct {
	Partition   string // "in/0"; empty means the outside
	Incarnation uint32
	Seq         uint64
	Index       uint32
}

// Outside reports whether the entry came from the outside world.
func (s Source) Outside() bool { return s.Partition == "" }

// After reports whether s is above the mark, both of one partition.
func (s Source) After(mark Source) bool {
	if s.Incarnation != mark.Incarnation {
		return s.Incarnation > mark.Incarnation
	}
	if s.Seq != mark.Seq {
		return s.Seq > mark.Seq
	}
	return s.Index > mark.Index
}

// Entry is one thing that a partition applies. Several share one log record.
type Entry struct {
	Kind Kind
	Key  string // "<workspace>/<id>": the state that it concerns, and its slot
	// At is the log time: stamped once when the entry, or the one that caused
	// it, first entered the log.
	At time.Time
	// Occurred is when it happened in the world, by the corrected device clock;
	// zero means At.
	Occurred time.Time
	From     Source
	Body     []byte
}

// Workspace of the entry's key.
func (e Entry) Workspace() string { return WorkspaceOf(e.Key) }

// WorkspaceOf is the workspace in a key.
func WorkspaceOf(key string) string {
	ws, _, _ := strings.Cut(key, "/")
	return ws
}

// IDOf is the id in a key, with its one-letter kind: "p:1f…".
func IDOf(key string) string {
	_, id, _ := strings.Cut(key, "/")
	return id
}

// InstallKey is the key of an install's state.
func InstallKey(workspace, install string) string { return workspace + "/i:" + install }

// ProfileKey is the key of a profile's state.
func ProfileKey(workspace, profile string) string { return workspace + "/p:" + profile }

// IdentifierKey is the key of an identifier's binding.
func IdentifierKey(workspace, identifier string) string { return workspace + "/d:" + identifier }

// WeatherKey is the key of a cell's weather.
func WeatherKey(cell string) string { return SystemWorkspace + "/w:" + cell }

// SlotOf is the slot of a key, 0 to Slots-1.
func SlotOf(key string) int {
	h := fnv.New32a()
	h.Write([]byte(key))
	// FNV-1a mixes its last bytes poorly into the low bits: fold.
	s := h.Sum32()
	s ^= s >> 16
	s *= 0x85ebca6b
	s ^= s >> 13
	return int(s % Slots)
}

// PartitionOf is the partition of n that owns a key's slot.
func PartitionOf(key string, n int) int { return SlotOf(key) * n / Slots }

const recordV1 = 1

// minEntryBytes is the least that an encoded entry takes: six empty fields.
const minEntryBytes = 6

// ErrRecord says that the bytes are not a record that this version can read.
var ErrRecord = errors.New("not a readable log record")

// EncodeRecord is the log message that carries entries, in a versioned envelope:
// one version byte, then the entries, each field length-prefixed.
func EncodeRecord(entries []Entry) []byte {
	n := 1 + binary.MaxVarintLen64
	for i := range entries {
		n += len(entries[i].Body) + len(entries[i].Key) + 64
	}
	return AppendRecord(make([]byte, 0, n), entries)
}

// AppendRecord appends what EncodeRecord gives.
func AppendRecord(b []byte, entries []Entry) []byte {
	b = append(b, recordV1)
	b = binary.AppendUvarint(b, uint64(len(entries)))
	for i := range entries {
		b = appendEntry(b, &entries[i])
	}
	return b
}

func appendEntry(b []byte, e *Entry) []byte {
	b = appendString(b, string(e.Kind))
	b = appendString(b, e.Key)
	b = binary.AppendVarint(b, nanos(e.At))
	b = binary.AppendVarint(b, nanos(e.Occurred))
	b = appendString(b, e.From.Partition)
	if e.From.Partition != "" {
		b = binary.AppendUvarint(b, uint64(e.From.Incarnation))
		b = binary.AppendUvarint(b, e.From.Seq)
		b = binary.AppendUvarint(b, uint64(e.From.Index))
	}
	b = binary.AppendUvarint(b, uint64(len(e.Body)))
	return append(b, e.Body...)
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// DecodeRecord reads a record of any version so far. Bodies share data's memory.
func DecodeRecord(data []byte) ([]Entry, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("%w: empty", ErrRecord)
	}
	if data[0] != recordV1 {
		return nil, fmt.Errorf("%w: version %d", ErrRecord, data[0])
	}
	d := decoder{b: data[1:]}
	n := d.uvarint()
	if n > uint64(len(d.b))/minEntryBytes {
		return nil, fmt.Errorf("%w: %d entries in %d bytes", ErrRecord, n, len(d.b))
	}
	entries := make([]Entry, n)
	for i := range entries {
		e := &entries[i]
		e.Kind = Kind(d.bytes())
		e.Key = string(d.bytes())
		e.At = fromNanos(d.varint())
		e.Occurred = fromNanos(d.varint())
		e.From.Partition = string(d.bytes())
		if e.From.Partition != "" {
			e.From.Incarnation = uint32(d.uvarint())
			e.From.Seq = d.uvarint()
			e.From.Index = uint32(d.uvarint())
		}
		e.Body = d.bytes()
	}
	if d.bad || len(d.b) != 0 {
		return nil, fmt.Errorf("%w: truncated or trailing bytes", ErrRecord)
	}
	return entries, nil
}

type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}
