// Package eventlog is the ordered, durable log between the stages: NATS
// JetStream, embedded in the process by default (OpenEmbedded), a cluster by URL
// (Connect). A stream belongs to one partition, so its sequences have no holes
// for its reader.
//
// A stage appends through a Writer, which is the group commit: while one append
// of a stream is under way, what arrives for it waits and goes into the next
// record. It reads through Stream.Read, which is cheap when each call goes on
// where the one before ended.
//
// The contract that another implementation must keep is eventlogtest.Run; it runs
// on an embedded log, on a nats-server process and on a cluster of three with
// three replicas (natstest).
//
// # What an append survives
//
// DurabilityProcess: the end of every process by kill -9, that of the servers
// included. With three replicas also the loss of one server, its disk included.
// A power cut may take what was written within the servers' sync_interval
// (two minutes unless set) before it; if it takes that from several servers of a
// cluster, or from one while another is away, acknowledged records are lost
// although there were three copies.
//
// DurabilityPower: also a power cut, of everything at once. Embedded, every
// append waits for the disk. Servers by URL must each have
//
//	max_payload: 5MB
//	jetstream { store_dir: …, sync_interval: always }
//
// whatever the replicas and the power supplies: three unsynced copies are not a
// synced one, and whether supplies are separate nobody can check. Streams must be
// in files, not persist asynchronously, and have the configured replicas; that is
// checked where they are opened. Whether the servers sync is asked at their
// monitoring ports (RemoteOptions.MonitorURLs): one that does not is refused at
// the start, what could not be asked is named in one warning.
//
// # Servers that are away
//
// The connection is tried again for ever, with jitter, up to 2 s apart. A server
// that is silent is given up after 6 s. Meanwhile Stream.Append fails at once, a
// Writer keeps what it has taken and finds out what became of the record under
// way, its callers wait or are told ErrBusy, Read waits, Trim and Seal wait up to
// two minutes. When a stream's leader dies its cluster takes 5 to 7 s to elect
// another; appends and reads pause as long. A reader whose consumer's server
// dies goes on after 2 to 8 s: it is missed after two heartbeats of a second, and a
// new consumer needs the cluster's own leader, which may have to be elected.
//
// Bounds never tells what an outdated server says (bounds.go), and a stream that
// ends below what was seen of it is believed only after 15 s of that answer:
// a partition would seal it.
//
// # Figures
//
// Two shared, busy cores, 200-byte entries, file storage, bench_test.go; power
// is fsync per append on a disk whose median fsync is about 0.1 ms. Trust the
// order of things, not the second digit. The servers by URL are processes on the
// same machine: there is no network's delay in it, but the three of the cluster
// share the two cores and the disk with the test.
//
//	                                        process          power
//	Stream.Append, one at a time, p50
//	  embedded                              20-35 µs         0.11-0.18 ms
//	  one server by URL                     70 µs            0.18 ms
//	  three servers, three replicas         0.21 ms          0.61 ms
//	Writer.Append, one at a time, p50
//	  embedded                              25-49 µs         0.14-0.21 ms
//	  one server by URL                     74 µs            0.19 ms
//	  three servers, three replicas         0.46 ms          0.88 ms
//	Writer, 64 producers, 1 workspace, entries/s
//	  embedded                              200,000-290,000  17,000-29,000
//	  one server by URL                     113,000          33,000
//	  three servers, three replicas         25,000           16,000
//	Writer, 64 producers, 10 workspaces, entries/s
//	  embedded                              83,000-98,000    6,000-7,700
//	  one server by URL                     42,000           7,900
//	  three servers, three replicas         5,500            2,900
//
//	                                        embedded         server       cluster
//	Read in sequence, messages/s            57,000-130,000   67,000       56,000
//	Append, then Read of it, p50            33-60 µs         0.12 ms      0.79 ms
//	Read elsewhere (a new reader), p50      2.6-10 ms        5.7 ms       13 ms
//
// Append is a plain request over the connection: on the same machine at the
// same time its median was 17 µs, PublishMsgAsync's 19 and PublishMsg's 27. A
// record holds one workspace: with 64 callers who each wait for their answer, it
// carries 30 entries when they share one and 6 when they share ten.
package eventlog

import (
	"context"
	"errors"
)

// Errors of the log; test with errors.Is.
var (
	// ErrSealed: the stream takes no more appends.
	ErrSealed = errors.New("stream is sealed")
	// ErrSequence: the stream's last sequence is not the expected one.
	ErrSequence = errors.New("stream sequence differs")
	// ErrTooLarge: the message exceeds MaxMessageBytes. Nothing was appended.
	ErrTooLarge = errors.New("message too large")
	// ErrSubject: the subject is none that the stream was opened with. Nothing
	// was appended.
	ErrSubject = errors.New("subject is not of this stream")
	// ErrTrimmed: the sequence asked for is no longer kept.
	ErrTrimmed = errors.New("sequence no longer kept")
)

// MaxMessageBytes is the largest message that every implementation takes.
const MaxMessageBytes = 4 << 20

// Message is one appended message.
type Message struct {
	Seq     uint64 // from 1, without holes
	Subject string
	Data    []byte
}

// Log opens streams.
type Log interface {
	// Open opens the stream, creating it if it is not there. Name is
	// [A-Z0-9_]+; subjects are those that Append will use: "in.0.>".
	Open(ctx context.Context, name string, subjects ...string) (Stream, error)
	Close() error
}

// Stream is an append-only sequence of messages.
type Stream interface {
	Name() string
	// Append adds one message and returns its sequence when it is durable.
	// expectedLast, when >= 0, must be the stream's last sequence, otherwise
	// ErrSequence and nothing is appended: that is how an appender knows that it
	// is alone and that an append whose answer was lost did or did not land.
	// The message id makes no difference; the log does not deduplicate.
	Append(ctx context.Context, subject string, data []byte, expectedLast int64) (seq uint64, err error)
	// Bounds returns the first kept and the last appended sequence; last is 0
	// for a stream that never had a message, and first is last+1 when nothing
	// is kept.
	Bounds(ctx context.Context) (first, last uint64, err error)
	// Read returns up to limit messages with sequences from, from+1, ...,
	// without holes. It blocks until there is at least one or ctx ends.
	// ErrTrimmed when from is below the first kept.
	Read(ctx context.Context, from uint64, limit int) ([]Message, error)
	// Trim forgets all messages below before.
	Trim(ctx context.Context, before uint64) error
	// Seal makes every later Append fail with ErrSealed, also after a restart.
	// The stream can still be read and trimmed, and its subjects are free for
	// another stream.
	Seal(ctx context.Context) error
}
