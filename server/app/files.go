package app

import (
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/footfall-engage/footfall/channels/fcm"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
)

// CheckFiles reads every file that the configuration names, as a start would, and
// writes none. The error joins every problem, each an engage.Error with the path of
// the setting; it shows nothing of what a file holds.
func CheckFiles(c *config.Config) error {
	var errs []error
	add := func(err error) { errs = append(errs, err) }
	if !c.EventLog.Embedded() {
		add(below("event_log", remoteOptions(c, nil).Validate()))
	}
	uri, err := connectionString(c.Store.MongoDB)
	if text := uri.Reveal(); err == nil && c.Store.MongoDB.URIFile != "" && !strings.HasPrefix(text, "mongodb://") && !strings.HasPrefix(text, "mongodb+srv://") {
		err = engage.Errorf(engage.Invalid, "store.mongodb.uri_file", "what %s holds must begin with mongodb:// or mongodb+srv://", c.Store.MongoDB.URIFile)
	}
	add(err)
	add(checkKeyFile(c))
	_, err = serviceAccounts(c.Providers.FCM)
	add(err)
	_, err = authorities("providers.apns.root_ca_file", c.Providers.APNs.RootCAFile, nil)
	add(err)
	_, err = authorities("webhooks.root_ca_file", c.Webhooks.RootCAFile, nil)
	add(err)
	return errors.Join(errs...)
}

// checkKeyFile looks at the key that encrypts secrets in the store. One that is not
// there is written by the first start, but not its folder, except for the data folder.
func checkKeyFile(c *config.Config) error {
	const field = "secrets.key_file"
	if c.Secrets.Key != "" {
		return nil
	}
	path := c.KeyFile()
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if c.Secrets.KeyFile == "" {
			return nil
		}
		if folder, err := os.Stat(filepath.Dir(path)); err != nil || !folder.IsDir() {
			return engage.Errorf(engage.Invalid, field, "%s is not there, and could not be written: its folder is not there, either", path)
		}
		return nil
	case err != nil:
		return unreadable(field, err)
	}
	if _, err := config.ParseKey(engage.Secret(text)); err != nil {
		return engage.At(field, err)
	}
	return nil
}

// serviceAccounts are those of FCM that the configuration names.
func serviceAccounts(c config.FCM) (fcm.Credentials, error) {
	all := fcm.Credentials{}
	if c.CredentialsFile != "" {
		if err := all.AddFile(c.CredentialsFile); err != nil {
			return nil, engage.Errorf(engage.Invalid, "providers.fcm.credentials_file", "cannot be used: %v", err)
		}
	}
	if text := c.Credentials.Reveal(); text != "" {
		if err := all.Add([]byte(text)); err != nil {
			return nil, engage.At("providers.fcm.credentials", err)
		}
	}
	return all, nil
}

// authorities are those of a PEM file, besides those of besides if that is not nil;
// without a file besides itself.
func authorities(field, file string, besides *x509.CertPool) (*x509.CertPool, error) {
	if file == "" {
		return besides, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, unreadable(field, err)
	}
	pool := besides
	if pool == nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, engage.Errorf(engage.Invalid, field, "%s holds no PEM certificate", file)
	}
	return pool, nil
}

// unreadable says that the file of a setting cannot be read; err names it.
func unreadable(field string, err error) error {
	return engage.Errorf(engage.Invalid, field, "cannot be read: %v", err)
}

// remoteOptions are those of an event log on other machines.
func remoteOptions(c *config.Config, log *slog.Logger) eventlog.RemoteOptions {
	l := c.EventLog
	return eventlog.RemoteOptions{
		URLs: l.URLs(), Replicas: l.Replicas, Prefix: l.Prefix, CredentialsFile: l.CredentialsFile, NKeyFile: l.NKeyFile,
		User: l.User, Password: l.Password, Token: l.Token, TLS: eventlog.TLSOptions(l.TLS),
		MonitorURLs: l.MonitorURLs(), Durability: eventlog.Durability(c.Durability), Logger: log,
	}
}
