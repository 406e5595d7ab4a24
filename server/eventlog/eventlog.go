// Package eventlog is the ordered, durable log between the stages: NATS
// JetStream, embedded in the process by default (OpenEmbedded). A stream belongs
// to one partition, so its sequences have no holes for its reader.
//
// A stage appends through a Writer, which is the group commit: while one append
// of a stream is under way, what arrives for it waits and goes into the next
// record. It reads through Stream.Read, which is cheap when each call goes on
// where the one before ended.
//
// The contract that another implementation must keep is eventlogtest.Run.
//
// # Figures
//
// Two shared, busy cores, 200-byte entries, file storage, bench_test.go; power
// is fsync per append on a disk whose median fsync is about 0.1 ms. Trust the
// order of things, not the second digit.
//
//	                                        process        power
//	Stream.Append, one at a time, p50       20-35 µs       0.11-0.18 ms
//	Writer.Append, one at a time, p50       25-49 µs       0.17-0.21 ms
//	Writer, 64 producers, 1 workspace       200,000/s      17,000-29,000/s
//	Writer, 64 producers, 10 workspaces     83,000-98,000/s  6,000-7,000/s
//	Read in sequence                        65,000-130,000 messages/s
//	Append, then Read of it, p50            33-60 µs
//	Read elsewhere (a new reader), p50      2.6-5 ms
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
