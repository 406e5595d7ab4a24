package mongo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/footfall-engage/footfall/server/engage"
)

const (
	// selectionPatience is how long a server is looked for, unless the URI says.
	selectionPatience = 10 * time.Second
	// patience is how long the outcome of a write is waited for. A server ends a
	// transaction after 60 s by default.
	patience = 40 * time.Second
)

func majority() *writeconcern.WriteConcern {
	journal := true
	return &writeconcern.WriteConcern{W: writeconcern.WCMajority, Journal: &journal}
}

// badURI never quotes the URI: whatever a parser takes for a host may be a part
// of a password with a slash in it.
func badURI(msg string) error { return engage.Errorf(engage.Invalid, "uri", "%s", msg) }

// connect makes the client. It reaches for no server yet.
func (s *Store) connect(o Options) error {
	raw := o.URI.Reveal()
	switch {
	case raw == "":
		return badURI("is required")
	case !strings.HasPrefix(raw, "mongodb://") && !strings.HasPrefix(raw, "mongodb+srv://"):
		return badURI("must begin with mongodb:// or mongodb+srv://")
	}
	s.secrets = secretsOf(raw)
	c := options.Client().ApplyURI(raw)
	if err := c.Validate(); err != nil {
		return badURI(unreadable(raw, err))
	}
	if err := weaker(c); err != nil {
		return err
	}
	if c.ServerSelectionTimeout == nil {
		c.SetServerSelectionTimeout(selectionPatience)
	}
	if c.AppName == nil {
		c.SetAppName("footfall")
	}
	c.SetWriteConcern(majority()).SetReadConcern(readconcern.Majority()).SetReadPreference(readpref.Primary())
	c.SetRetryReads(true).SetRetryWrites(!o.Serial) // without sessions the driver has no retryable writes
	c.SetMonitor(o.monitor)
	var err error
	if s.client, err = driver.Connect(c); err != nil {
		return s.newError("connect", err)
	}
	return nil
}

// unreadable says what is wrong with a URI without quoting more of it than the
// name of an option or of a file.
func unreadable(uri string, err error) string {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "names a host for mongodb+srv:// that DNS does not know, or DNS does not answer"
	}
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Sprintf("names the file %s, which cannot be read", file.Path)
	}
	_, query, _ := strings.Cut(uri, "?")
	for option := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(option, "=")
		if isOption(name) && strings.Contains(strings.ToLower(err.Error()), strings.ToLower(name)) {
			return fmt.Sprintf("gives the option %s a value that it cannot have", name)
		}
	}
	return "cannot be read: is an option misspelt, or a character of the password (:/?#[]@%) not percent-encoded? " +
		"It is not shown, for it may hold a password"
}

// isOption: what looks like the name of one may be shown.
func isOption(s string) bool {
	return len(s) >= 3 && len(s) <= 40 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// weaker refuses a URI that asks for less than the store promises. Silently
// giving more than was asked for would hide what the operator believes.
func weaker(c *options.ClientOptions) error {
	if wc := c.WriteConcern; wc != nil {
		if wc.W != nil && wc.W != writeconcern.WCMajority {
			return badURI("asks for w other than majority: what one server has acknowledged is lost when another takes over")
		}
		if wc.Journal != nil && !*wc.Journal {
			return badURI("asks for journal=false: what is acknowledged must survive a crash of the servers")
		}
	}
	if rc := c.ReadConcern; rc != nil && rc.Level != "" && rc.Level != readconcern.Majority().Level {
		return badURI("asks for a readConcernLevel other than majority, which is what the store's promises are made of")
	}
	if rp := c.ReadPreference; rp != nil && rp.Mode() != readpref.PrimaryMode {
		return badURI("asks for a readPreference other than primary: a secondary may not have what was just written")
	}
	if c.RetryWrites != nil && !*c.RetryWrites {
		return badURI("asks for retryWrites=false: every change of the primary would fail writes")
	}
	if c.RetryReads != nil && !*c.RetryReads {
		return badURI("asks for retryReads=false: every change of the primary would fail reads")
	}
	return nil
}

// secretsOf are the password, as it is written and as it is meant, and what
// stands before the host as a whole. The user's name alone is no secret, and short
// ones are parts of other words.
func secretsOf(uri string) []string {
	_, rest, _ := strings.Cut(uri, "://")
	rest, _, _ = strings.Cut(rest, "?")
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return nil
	}
	info := rest[:at]
	_, password, _ := strings.Cut(info, ":")
	if password == "" {
		return nil
	}
	secrets := []string{info}
	if decoded, err := url.PathUnescape(password); err == nil && decoded != password {
		secrets = append(secrets, decoded)
	}
	return append(secrets, password)
}

// hello is what a server says of itself.
type hello struct {
	SetName  string `bson:"setName"`
	Msg      string `bson:"msg"` // "isdbgrid" is a router's
	Writable bool   `bson:"isWritablePrimary"`
}

// checkServer asks the server whether it is one that keeps our promises.
func (s *Store) checkServer(ctx context.Context, durability string) error {
	var h hello
	if err := s.admin(ctx, "hello", &h); err != nil {
		return s.unreachable(ctx, err)
	}
	switch {
	case s.serial:
	case h.SetName == "" && h.Msg != "isdbgrid":
		return errors.New("transactions need a replica set: the server stands alone. Start it with --replSet NAME " +
			"(or replication.replSetName in its configuration) and run rs.initiate() once; a set of one member will do for a trial")
	case !h.Writable && h.Msg != "isdbgrid":
		return errors.New("the server is not the primary of its replica set: leave directConnection out of the URI, or name the primary")
	}
	if durability != DurabilityPower || s.serial {
		return nil
	}
	return s.checkPower(ctx)
}

func (s *Store) admin(ctx context.Context, command string, answer any) error {
	return s.client.Database("admin").RunCommand(ctx, bson.D{{Key: command, Value: 1}}).Decode(answer)
}

// unreachable says what an operator can do about a server that does not answer.
func (s *Store) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	what := "reach the server (is it running, is the address right, does a firewall stand between?)"
	text := err.Error()
	switch {
	case strings.Contains(text, "reports wire version"): // the driver's own least is 4.4
		what = "use the server, which is older than MongoDB 4.4 (update it)"
	// The driver wraps what authentication and TLS say in words only.
	case hasCode(err, codeAuthenticationFailed) || strings.Contains(text, "auth error") || strings.Contains(text, "AuthenticationFailed"):
		what = "authenticate (are user, password and authSource in the URI right?)"
	case isTLS(err) || strings.Contains(text, "tls: ") || strings.Contains(text, "x509: "):
		what = "agree on TLS (does the server want it, and is its certificate one that tlsCAFile or the system trusts?)"
	}
	return s.newError(what, err)
}

func isTLS(err error) bool {
	return errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(tls.RecordHeaderError)) ||
		errors.As(err, new(x509.UnknownAuthorityError)) || errors.As(err, new(x509.HostnameError))
}

// checkPower asks what a power cut would do to what the servers acknowledge.
func (s *Store) checkPower(ctx context.Context) error {
	var set struct {
		Config struct {
			MajorityJournal *bool `bson:"writeConcernMajorityJournalDefault"`
		} `bson:"config"`
	}
	switch err := s.admin(ctx, "replSetGetConfig", &set); {
	case err != nil && !answered(err):
		return s.newError("replSetGetConfig", err)
	case err != nil:
		s.log.Warn("durability power: the replica set's configuration may not be seen; "+
			"not checked: writeConcernMajorityJournalDefault", "error", s.newError("replSetGetConfig", err))
	case set.Config.MajorityJournal != nil && !*set.Config.MajorityJournal:
		return errors.New("durability power: the replica set has writeConcernMajorityJournalDefault false, " +
			"so that a majority may acknowledge what is on no disk: set it to true (rs.reconfig)")
	}
	var status struct {
		Engine struct {
			Name       string `bson:"name"`
			Persistent *bool  `bson:"persistent"`
		} `bson:"storageEngine"`
	}
	switch err := s.admin(ctx, "serverStatus", &status); {
	case err != nil && !answered(err):
		return s.newError("serverStatus", err)
	case err != nil:
		s.log.Warn("durability power: the server's status may not be seen; not checked: the storage engine",
			"error", s.newError("serverStatus", err))
	case status.Engine.Name == "":
		s.log.Warn("durability power: the server does not tell; not checked: the storage engine")
	case status.Engine.Name == "inMemory" || status.Engine.Persistent != nil && !*status.Engine.Persistent:
		return fmt.Errorf("durability power: the storage engine %s keeps nothing through a power cut: use wiredTiger", status.Engine.Name)
	}
	return nil
}

// answered: the server said no, rather than nothing.
func answered(err error) bool {
	codes := driver.ErrorCodes(err)
	return len(codes) > 0 && codes[0] != 0
}
