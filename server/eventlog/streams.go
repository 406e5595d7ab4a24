package eventlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// errNotOurs: a stream of the name is there, but it is none that this log could
// keep its promises with.
var errNotOurs = errors.New("the stream that is there is not ours")

// codeNotClustered and codeNoPeers are refusals of a number of replicas
// (server/errors.json of nats-server).
const (
	codeNoPeers      = 10005 // too few servers, or too few with room
	codeNoMessage    = 10043 // no message found
	codeNotClustered = 10074 // more than one replica on a single server
)

func (l *JetStream) streamConfig(served string, subjects []string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        served,
		Subjects:    subjects,
		Retention:   jetstream.LimitsPolicy, // without limits: the owner trims
		Storage:     jetstream.FileStorage,
		Replicas:    l.replicas,
		MaxMsgSize:  -1,
		AllowDirect: true,
	}
}

// ensure makes the stream be there, with the configured replicas. What is there
// and unfit is refused.
func (l *JetStream) ensure(ctx context.Context, served string, subjects []string) error {
	for attempt := 1; ; attempt++ {
		info, err := l.ask(ctx, served)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			info, err = l.create(ctx, served, subjects)
		}
		// A server of a cluster that has just started does not know all its streams
		// yet; or another process was faster; or the answer was lost with its
		// connection, and nobody would say so before ctx ends; or the cluster's servers
		// have not all heard of each other.
		again := errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) || errors.Is(err, context.DeadlineExceeded)
		if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == codeNoPeers {
			again = true
		}
		if again && attempt < maxEnsure && l.pause(ctx, askAgain) {
			continue
		}
		if err != nil {
			return l.replicaErr(err)
		}
		return l.adopt(ctx, info.Config, subjects)
	}
}

func (l *JetStream) create(ctx context.Context, served string, subjects []string) (*jetstream.StreamInfo, error) {
	if !l.remote {
		// A server that is shut down while it makes a stream leaves that one running.
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, createFor)
	defer cancel()
	st, err := l.js.CreateStream(ctx, l.streamConfig(served, subjects))
	if err != nil {
		return nil, err
	}
	return st.CachedInfo(), nil
}

// createFor is how long the answer to a creation is waited for: a cluster elects
// the stream's leader first.
const createFor = 10 * time.Second

const maxEnsure = 20

func (l *JetStream) adopt(ctx context.Context, cfg jetstream.StreamConfig, subjects []string) error {
	sealed, change := isSealed(cfg), false
	if !sealed {
		if why := unfit(cfg); len(why) > 0 {
			return fmt.Errorf("%w: %s", errNotOurs, strings.Join(why, "; "))
		}
		if !slices.Equal(cfg.Subjects, subjects) {
			if l.remote { // somebody else's, or of another prefix
				return fmt.Errorf("%w: its subjects are %q, not %q", errNotOurs, cfg.Subjects, subjects)
			}
			cfg.Subjects, change = subjects, true
		}
	}
	if cfg.Replicas != l.replicas && !cfg.Sealed {
		l.log.Info("event log: replicas change", "stream", cfg.Name, "from", cfg.Replicas, "to", l.replicas)
		cfg.Replicas, change = l.replicas, true
	}
	if !change {
		return nil
	}
	if _, err := l.js.UpdateStream(ctx, cfg); err != nil {
		return l.replicaErr(err)
	}
	return nil
}

// unfit is why messages would be lost or could not be trimmed in a stream that
// was made elsewhere.
func unfit(cfg jetstream.StreamConfig) []string {
	var why []string
	say := func(bad bool, text string, args ...any) {
		if bad {
			why = append(why, fmt.Sprintf(text, args...))
		}
	}
	say(cfg.Storage != jetstream.FileStorage, "storage is %s, must be file", strings.ToLower(cfg.Storage.String()))
	say(cfg.Retention != jetstream.LimitsPolicy, "retention is %s, must be limits", strings.ToLower(cfg.Retention.String()))
	say(cfg.MaxAge > 0, "max_age %s drops messages", cfg.MaxAge.Round(time.Second))
	say(cfg.MaxMsgsPerSubject > 0, "max_msgs_per_subject %d drops messages", cfg.MaxMsgsPerSubject)
	drops := cfg.Discard == jetstream.DiscardOld
	say(drops && cfg.MaxMsgs > 0, "max_msgs %d with discard old drops messages", cfg.MaxMsgs)
	say(drops && cfg.MaxBytes > 0, "max_bytes %d with discard old drops messages", cfg.MaxBytes)
	say(cfg.MaxMsgSize > 0 && cfg.MaxMsgSize < MaxMessageBytes+maxHeaderBytes, "max_msg_size %d is below %d", cfg.MaxMsgSize, MaxMessageBytes+maxHeaderBytes)
	say(cfg.PersistMode == jetstream.AsyncPersistMode, "persist_mode async acknowledges before it has written")
	say(cfg.NoAck, "no_ack: appends would get no answer")
	say(cfg.DenyPurge, "deny_purge: it could not be trimmed")
	say(cfg.Mirror != nil || len(cfg.Sources) > 0, "it copies other streams")
	say(cfg.SubjectTransform != nil, "it changes subjects")
	return why
}

// replicaErr says what to do when the servers cannot hold the replicas.
func (l *JetStream) replicaErr(err error) error {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		switch api.ErrorCode {
		case codeNotClustered:
			return refuse("replicas", err, "%d replicas need a cluster of at least as many servers, this is a single one", l.replicas)
		case codeNoPeers:
			return refuse("replicas", err, "the cluster has no %d servers with room for a copy each", l.replicas)
		}
	}
	return err
}
