package app_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/config"
)

func TestCheckFilesNamesTheSettingOfEveryFileThatIsNoGood(t *testing.T) {
	folder := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	absent := filepath.Join(folder, "absent")
	other := file("other", "hunter2")
	key := file("key", base64.StdEncoding.EncodeToString(make([]byte, config.KeyBytes))+"\n")
	uri := file("uri", "mongodb://somebody:hunter2@a/?replicaSet=rs0\n")
	remote := func(c *config.Config) {
		c.EventLog.URL, c.EventLog.Replicas, c.EventLog.Prefix = "nats://127.0.0.1:4222", 1, ""
	}

	for name, tc := range map[string]struct {
		set  func(*config.Config)
		want []string // parts of the error; none: it is good
	}{
		"nothing named":                       {set: func(*config.Config) {}},
		"files that are good":                 {set: func(c *config.Config) { c.Secrets.KeyFile, c.Store.MongoDB.URIFile = key, uri }},
		"a key that the start writes":         {set: func(c *config.Config) { c.Secrets.KeyFile = absent }},
		"a key in no folder":                  {func(c *config.Config) { c.Secrets.KeyFile = filepath.Join(absent, "key") }, []string{"secrets.key_file: ", "its folder is not there"}},
		"a key that is none":                  {func(c *config.Config) { c.Secrets.KeyFile = other }, []string{"secrets.key_file"}},
		"a key that is a folder":              {func(c *config.Config) { c.Secrets.KeyFile = folder }, []string{"secrets.key_file: cannot be read: "}},
		"a connection string that is absent":  {func(c *config.Config) { c.Store.MongoDB.URIFile = absent }, []string{"store.mongodb.uri_file: cannot be read: open " + absent}},
		"a connection string that is none":    {func(c *config.Config) { c.Store.MongoDB.URIFile = other }, []string{"store.mongodb.uri_file: ", "must begin with mongodb://"}},
		"Apple's authorities, absent":         {func(c *config.Config) { c.Providers.APNs.RootCAFile = absent }, []string{"providers.apns.root_ca_file: cannot be read: open " + absent}},
		"Apple's authorities, no certificate": {func(c *config.Config) { c.Providers.APNs.RootCAFile = other }, []string{"providers.apns.root_ca_file: " + other + " holds no PEM certificate"}},
		"webhooks' authorities":               {func(c *config.Config) { c.Webhooks.RootCAFile = absent }, []string{"webhooks.root_ca_file: cannot be read"}},
		"service accounts, absent":            {func(c *config.Config) { c.Providers.FCM.CredentialsFile = absent }, []string{"providers.fcm.credentials_file: cannot be used: ", absent}},
		"service accounts, none":              {func(c *config.Config) { c.Providers.FCM.CredentialsFile = other }, []string{"providers.fcm.credentials_file: cannot be used: "}},
		"the log's authorities": {func(c *config.Config) { remote(c); c.EventLog.TLS.RootCAFile = absent }, []string{
			"event_log.tls.root_ca_file: ", absent,
		}},
		"all at once": {func(c *config.Config) {
			remote(c)
			c.EventLog.CredentialsFile, c.Webhooks.RootCAFile, c.Providers.APNs.RootCAFile = absent, absent, absent
		}, []string{"event_log.credentials_file: ", "webhooks.root_ca_file: ", "providers.apns.root_ca_file: "}},
	} {
		t.Run(name, func(t *testing.T) {
			c := config.Default()
			c.DataDir = filepath.Join(folder, "data")
			tc.set(&c)
			err := app.CheckFiles(&c)
			if (err == nil) != (len(tc.want) == 0) {
				t.Fatalf("error: %v", err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("what a file holds is told: %v", err)
			}
			if _, err := os.Stat(c.DataDir); err == nil {
				t.Error("something was written")
			}
		})
	}
}
