package client

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// A journal is a file "journal.<n>": journalMagic, then records. A record is the
// length of its body and the CRC-32C of it (4 bytes each, little endian), and the
// body: a byte that says of which kind it is, and what follows from that. It grows
// at its end. When most of it is of the past, the next journal is written beside
// it with what counts, is renamed into its place, and the old one is removed: so
// the highest n is the one that holds.
const (
	journalMagic  = "ffstore1"
	journalPrefix = "journal."
	journalPart   = ".part"  // one that is still being written
	recordHead    = 8        // length and checksum
	recordMost    = 64 << 20 // a length beyond this is not one
	compactAbove  = 256 << 10
	compactTimes  = 4 // a journal is rewritten when it has grown to so many times what counts
)

// The kinds of records.
const (
	recordItems   = 1 // items: each its length as a varint, and protobuf
	recordRemoved = 2 // seqs: varints, the first one itself, then the steps
	recordState   = 3 // a stateRecord as JSON
)

// stateRecord is a Change, or all of the state, as it is written.
type stateRecord struct {
	Tokens    *Tokens                `json:"tokens,omitempty"`
	NextSeq   uint64                 `json:"next_seq,omitempty"`
	Shown     []string               `json:"shown,omitempty"`
	Resume    []byte                 `json:"resume,omitempty"`
	Forget    bool                   `json:"forget,omitempty"` // what could be resumed
	Config    []byte                 `json:"config,omitempty"`
	Regions   []byte                 `json:"regions,omitempty"`
	Inbox     []byte                 `json:"inbox,omitempty"`
	Dismissed []string               `json:"dismissed,omitempty"`
	Tracking  *sdkpb.Tracking_Preset `json:"tracking,omitempty"`
	Waiting   string                 `json:"waiting,omitempty"`
	Install   *Install               `json:"install,omitempty"`
}

// FileStore is a Store in a folder of its own, which one process opens at a time.
// What it has taken survives the death of the process and of the power: it returns
// after fsync. A record that was being written then is as if it had never been.
type FileStore struct {
	dir string

	mu     sync.Mutex
	saved  Saved
	file   *os.File // nil: the journal must be written anew before anything is kept
	number uint64   // of the file, or of the last one that there was
	size   int64    // of the file up to its last whole record
	live   int64    // about what a journal of only what counts takes
	closed bool
}

var errStoreClosed = errors.New("client: the store is closed")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// OpenFileStore opens the store in dir, which it makes where there is none. Close
// it. The error says what cannot be read; a torn end is not an error.
func OpenFileStore(dir string) (*FileStore, error) {
	s := &FileStore{dir: dir}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("client: open store: %w", err)
	}
	return s, nil
}

func (s *FileStore) open() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil { // it holds the device token
		return err
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	var journals []uint64
	for _, e := range entries {
		name, ours := strings.CutPrefix(e.Name(), journalPrefix)
		if !ours {
			continue
		}
		if strings.HasSuffix(name, journalPart) {
			_ = os.Remove(filepath.Join(s.dir, e.Name())) // written again when it is needed
			continue
		}
		if n, err := strconv.ParseUint(name, 10, 64); err == nil {
			journals = append(journals, n)
		}
	}
	if len(journals) == 0 {
		return s.rewrite()
	}
	slices.SortFunc(journals, func(a, b uint64) int { return cmp.Compare(b, a) })
	if err := s.read(journals[0]); err != nil {
		return err
	}
	for _, n := range journals[1:] {
		_ = os.Remove(s.path(n)) // its successor holds all of it
	}
	return nil
}

func (s *FileStore) path(n uint64) string {
	return filepath.Join(s.dir, journalPrefix+strconv.FormatUint(n, 10))
}

// read takes over journal n and cuts off what is torn.
func (s *FileStore) read(n uint64) error {
	s.number = n
	b, err := os.ReadFile(s.path(n))
	if err != nil {
		return err
	}
	// It was renamed when it was whole: another beginning is another format.
	if !strings.HasPrefix(string(b), journalMagic) {
		return fmt.Errorf("%s is not a journal", s.path(n))
	}
	at := len(journalMagic)
	for {
		body := record(b[at:])
		if body == nil {
			break
		}
		if !s.replay(body) { // whole, and yet it says nothing: another version wrote it
			return fmt.Errorf("%s: a record of kind %d at byte %d cannot be read", s.path(n), body[0], at)
		}
		at += recordHead + len(body)
	}
	s.measure()
	f, err := os.OpenFile(s.path(n), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := f.Truncate(int64(at)); err != nil {
		_ = f.Close()
		return err
	}
	s.file, s.size = f, int64(at)
	return nil
}

// record is the body of the record with which b begins; nil means that there is no
// whole one.
func record(b []byte) []byte {
	if len(b) < recordHead {
		return nil
	}
	n, sum := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
	if n == 0 || n > recordMost || int(n) > len(b)-recordHead {
		return nil
	}
	body := b[recordHead : recordHead+int(n)]
	if crc32.Checksum(body, castagnoli) != sum {
		return nil
	}
	return body
}

// replay takes one record's effect. False means that it has none: it is of a kind
// that this version does not know, or not what its kind says.
func (s *FileStore) replay(body []byte) bool {
	kind, b := body[0], body[1:]
	switch kind {
	case recordItems:
		var items []*sdkpb.Item
		for len(b) > 0 {
			n, w := binary.Uvarint(b)
			if w <= 0 || n > uint64(len(b)-w) {
				return false
			}
			i := new(sdkpb.Item)
			if err := proto.Unmarshal(b[w:w+int(n)], i); err != nil {
				return false
			}
			items = append(items, i)
			b = b[w+int(n):]
		}
		s.saved.append(items)
	case recordRemoved:
		var seqs []uint64
		var last uint64
		for len(b) > 0 {
			step, w := binary.Uvarint(b)
			if w <= 0 {
				return false
			}
			last += step
			seqs = append(seqs, last)
			b = b[w:]
		}
		s.saved.remove(seqs)
	case recordState:
		var r stateRecord
		if err := json.Unmarshal(b, &r); err != nil {
			return false
		}
		return r.replay(&s.saved)
	default:
		return false
	}
	return true
}

func (r *stateRecord) replay(to *Saved) bool {
	x := Change{Tokens: r.Tokens, Tracking: r.Tracking, Waiting: r.Waiting, Install: r.Install}
	ok := true
	x.Config = decoded[sdkpb.Config](r.Config, &ok)
	x.Regions = decoded[sdkpb.Regions](r.Regions, &ok)
	x.Inbox = decoded[sdkpb.Inbox](r.Inbox, &ok)
	x.Resume = decoded[sdkpb.Resume](r.Resume, &ok)
	if r.Forget {
		x.Resume = new(sdkpb.Resume)
	}
	if !ok {
		return false
	}
	to.apply(x)
	for _, id := range r.Shown {
		to.apply(Change{Shown: id})
	}
	for _, id := range r.Dismissed {
		to.apply(Change{Dismissed: id})
	}
	to.NextSeq = max(to.NextSeq, r.NextSeq)
	return true
}

// decoded is the message in b; nil for none.
func decoded[T any, M interface {
	*T
	proto.Message
}](b []byte, ok *bool) M {
	if b == nil {
		return nil
	}
	m := M(new(T))
	if err := proto.Unmarshal(b, m); err != nil {
		*ok = false
	}
	return m
}

// encoded is m, never nil for one that is there.
func encoded(m proto.Message, there bool) ([]byte, error) {
	if !there {
		return nil, nil
	}
	b, err := proto.Marshal(m)
	if b == nil {
		b = []byte{}
	}
	return b, err
}

func (x *Change) record() (stateRecord, error) {
	r := stateRecord{Tokens: x.Tokens, Tracking: x.Tracking, Waiting: x.Waiting, Install: x.Install}
	var errs [4]error
	r.Config, errs[0] = encoded(x.Config, x.Config != nil)
	r.Regions, errs[1] = encoded(x.Regions, x.Regions != nil)
	r.Inbox, errs[2] = encoded(x.Inbox, x.Inbox != nil)
	r.Resume, errs[3] = encoded(x.Resume, x.Resume != nil)
	if x.Resume != nil && proto.Size(x.Resume) == 0 {
		r.Resume, r.Forget = nil, true
	}
	if x.Shown != "" {
		r.Shown = []string{x.Shown}
	}
	if x.Dismissed != "" {
		r.Dismissed = []string{x.Dismissed}
	}
	return r, errors.Join(errs[:]...)
}

// state is all of the state but the items, as one record.
func (s *Saved) state() (stateRecord, error) {
	x := Change{Tokens: &Tokens{s.Token, s.OldToken}, Resume: s.Resume, Config: s.Config, Regions: s.Regions, Waiting: s.Waiting}
	if s.Tracking != sdkpb.Tracking_PRESET_UNSPECIFIED {
		x.Tracking = &s.Tracking
	}
	if s.Install != (Install{}) {
		x.Install = &s.Install
	}
	if s.Inbox != nil {
		x.Inbox = &sdkpb.Inbox{Full: true, Messages: s.Inbox.Messages, Cursor: s.Inbox.Cursor}
	}
	r, err := x.record()
	r.NextSeq, r.Shown, r.Dismissed = s.NextSeq, s.Shown, s.Inbox.GetGone()
	return r, err
}

// Load implements Store.
func (s *FileStore) Load() (Saved, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Saved{}, errStoreClosed
	}
	c := s.saved
	c.Items = slices.Clone(c.Items)
	c.Shown = slices.Clone(c.Shown)
	return c, nil
}

// Append implements Store.
func (s *FileStore) Append(items ...*sdkpb.Item) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := appendItems(nil, items)
	if err != nil {
		return err
	}
	return s.keep(b, func() {
		s.saved.append(items)
		s.live += int64(len(b))
	})
}

// appendItems adds the record of items to b.
func appendItems(b []byte, items []*sdkpb.Item) ([]byte, error) {
	body := []byte{recordItems}
	for _, i := range items {
		one, err := proto.Marshal(i)
		if err != nil {
			return nil, fmt.Errorf("client: item %d: %w", i.Seq, err)
		}
		body = binary.AppendUvarint(body, uint64(len(one)))
		body = append(body, one...)
	}
	return appendRecord(b, body), nil
}

func appendRecord(b, body []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(body, castagnoli))
	return append(b, body...)
}

// Remove implements Store.
func (s *FileStore) Remove(seqs []uint64) error {
	if len(seqs) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sorted := slices.Sorted(slices.Values(seqs))
	body := []byte{recordRemoved}
	var last uint64
	for _, n := range sorted {
		body = binary.AppendUvarint(body, n-last)
		last = n
	}
	return s.keep(appendRecord(nil, body), func() {
		had := len(s.saved.Items)
		s.saved.remove(sorted)
		if had > 0 { // about the same size each
			s.live -= s.live * int64(had-len(s.saved.Items)) / int64(had)
		}
	})
}

// Apply implements Store.
func (s *FileStore) Apply(x Change) error {
	if x.empty() {
		return nil
	}
	r, err := x.record()
	if err != nil {
		return fmt.Errorf("client: keep state: %w", err)
	}
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("client: keep state: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keep(appendRecord(nil, append([]byte{recordState}, body...)), func() { s.saved.apply(x) })
}

// keep makes a record durable, and then has it take effect. Called with the lock.
func (s *FileStore) keep(rec []byte, effect func()) error {
	if s.closed {
		return errStoreClosed
	}
	if s.file == nil {
		if err := s.rewrite(); err != nil {
			return fmt.Errorf("client: store: %w", err)
		}
	}
	_, err := s.file.WriteAt(rec, s.size)
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		// How much of it is on the disk nobody knows, after a failed fsync not even
		// the kernel. The next call begins a journal of what counted before.
		_ = s.file.Close()
		s.file = nil
		return fmt.Errorf("client: store: %w", err)
	}
	s.size += int64(len(rec))
	effect()
	if s.size > compactAbove && s.size > compactTimes*s.live {
		if s.measure(); s.size > compactTimes*s.live {
			_ = s.rewrite() // the journal at hand is as good; it is tried again
		}
	}
	return nil
}

// measure takes what a journal of only what counts is long.
func (s *FileStore) measure() {
	s.live = 0
	for _, i := range s.saved.Items {
		s.live += int64(proto.Size(i)) + recordHead
	}
	for _, id := range s.saved.Shown {
		s.live += int64(len(id)) + 3
	}
	s.live += int64(len(s.saved.Waiting))
	s.live += int64(proto.Size(s.saved.Inbox)+proto.Size(s.saved.Config)+proto.Size(s.saved.Regions)) * 4 / 3
}

// rewrite begins the next journal with what counts. When it fails, what there was
// before still holds, and the next call tries again.
func (s *FileStore) rewrite() error {
	r, err := s.saved.state()
	if err != nil {
		return err
	}
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	b := appendRecord([]byte(journalMagic), append([]byte{recordState}, body...))
	for part := range slices.Chunk(s.saved.Items, 100) {
		if b, err = appendItems(b, part); err != nil {
			return err
		}
	}
	next := s.number + 1
	part := s.path(next) + journalPart
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(part, s.path(next))
	}
	if err != nil {
		_ = f.Close()
		_ = os.Remove(part)
		return err
	}
	// From here on the old one must not grow: whether the new one is there after a
	// loss of power is not known before the folder is synced.
	if s.file != nil {
		_ = s.file.Close() // all of it was synced
		s.file = nil
	}
	before := s.number
	s.number = next
	if err := syncDir(s.dir); err != nil {
		_ = f.Close()
		return err
	}
	if before > 0 {
		_ = os.Remove(s.path(before)) // else the next open does
	}
	s.file, s.size = f, int64(len(b))
	return nil
}

// syncDir makes a rename durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // it has no such call, and needs none
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}

// Close closes the file. All of it is durable already.
func (s *FileStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
