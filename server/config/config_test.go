package config

import (
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
)

var update = flag.Bool("update", false, "rewrite deploy/footfall.example.yaml")

const exampleFile = "../../deploy/footfall.example.yaml"

var testKey = base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))

// from is an environment.
func from(m map[string]string) func(string) string {
	return func(name string) string { return m[name] }
}

// write puts a configuration file into a folder of the test.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "footfall.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// each returns the engage.Errors that err joins.
func each(t *testing.T, err error) []*engage.Error {
	t.Helper()
	var all problems
	all.add(err)
	out := make([]*engage.Error, len(all))
	for i, e := range all {
		if !errors.As(e, &out[i]) {
			t.Fatalf("%v (%T) is no engage.Error", e, e)
		}
	}
	return out
}

func TestDefaultIsValidAndAnswersOnlyToThisMachine(t *testing.T) {
	c, err := Load("", from(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:8080" || c.Weather.Enabled() {
		t.Errorf("listen %q, weather enabled %v", c.Listen, c.Weather.Enabled())
	}
	if got := c.KeyFile(); got != filepath.Join("data", "secret.key") {
		t.Errorf("key file %q", got)
	}
}

func TestExampleIsTheFileInDeployAndSaysTheDefaults(t *testing.T) {
	if *update {
		if err := os.WriteFile(exampleFile, []byte(Example()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	onDisk, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(onDisk) != Example() {
		t.Fatalf("%s differs from Example(); run this test with -update", exampleFile)
	}
	// From another beginning, so that a line that is missing shows.
	c := Default()
	for _, b := range c.bindings() {
		if !b.secret() {
			if err := b.set("7"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.apply(exampleFile, onDisk); err != nil {
		t.Fatal(err)
	}
	if want := Default(); !reflect.DeepEqual(c, want) {
		t.Errorf("the example gives\n%+v, the defaults are\n%+v", c, want)
	}
}

func TestEveryFieldCanBeSet(t *testing.T) {
	c := Default()
	bound := map[any]bool{}
	for _, b := range c.bindings() {
		bound[b.target] = true
	}
	var walk func(v reflect.Value, name string)
	walk = func(v reflect.Value, name string) {
		for i := range v.NumField() {
			f, fieldName := v.Field(i), name+"."+v.Type().Field(i).Name
			if f.Kind() == reflect.Struct {
				walk(f, fieldName)
			} else if !bound[f.Addr().Interface()] {
				t.Errorf("%s is in no binding", fieldName)
			}
		}
	}
	walk(reflect.ValueOf(&c).Elem(), "Config")
}

func TestNamesOfVariablesAndFlagsAreUnique(t *testing.T) {
	seen := map[string]string{}
	for _, s := range Settings() {
		for _, name := range []string{s.Path, s.Env, s.Flag} {
			if name == "" {
				continue
			}
			if other, ok := seen[name]; ok && other != s.Path {
				t.Errorf("%q names %s and %s", name, other, s.Path)
			}
			seen[name] = s.Path
		}
		if s.Help == "" || s.Type == "" {
			t.Errorf("%s: help %q, type %q", s.Path, s.Help, s.Type)
		}
		c := Default()
		if err := c.Set(s.Path, s.Default); err != nil || !reflect.DeepEqual(c, Default()) {
			t.Errorf("%s: its default %q does not set its default: %v", s.Path, s.Default, err)
		}
	}
	if seen["log-level"] != "log.level" || seen["FOOTFALL_PROVIDERS_APNS_ROOT_CA_FILE"] != "providers.apns.root_ca_file" {
		t.Error("the names are not those of the documentation")
	}
}

func TestNoFlagCarriesASecret(t *testing.T) {
	for _, s := range Settings() {
		if s.Path == "secrets.key" && s.Flag != "" {
			t.Errorf("flag %q", s.Flag)
		}
	}
}

func TestLaterSourcesOverrideEarlierOnes(t *testing.T) {
	path := write(t, "listen: ':1'\npartitions: 3\nlog: {level: warn, format: json}\n")
	c, err := Load(path, from(map[string]string{"FOOTFALL_PARTITIONS": "4", "FOOTFALL_LOG_LEVEL": "error", "FOOTFALL_WORKSPACE": ""}))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Set("log.level", "debug"); err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Listen, want.Partitions, want.Log = ":1", 4, Log{Level: "debug", Format: "json"}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got\n%+v, want\n%+v", c, want)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestFileIsReadStrictly(t *testing.T) {
	tests := []struct {
		name, yaml string
		code       engage.Code
		field      string
		line       int
		says       string
	}{
		{"misspelt key", "listen: ':1'\nweather:\n  contcat: a@b.c\n", engage.NotFound, "weather.contcat", 3, "did you mean weather.contact?"},
		{"misspelt section", "wether:\n  contact: a@b.c\n", engage.NotFound, "wether", 1, "did you mean weather?"},
		{"swapped letters", "parttiions: 1\n", engage.NotFound, "parttiions", 1, "did you mean partitions?"},
		{"key outside its section", "\nlevel: debug\n", engage.NotFound, "level", 2, "did you mean log.level?"},
		{"key of another age", "zookeeper: a\n", engage.NotFound, "zookeeper", 1, "no such setting"},
		{"dotted key", "log.level: debug\n", engage.NotFound, "log.level", 1, "did you mean log.level?"},
		{"credential", "fcm_password: x\n", engage.NotFound, "fcm_password", 1, "entered through its API"},
		{"inline secret", "secrets:\n  key: hunter2\n", engage.Forbidden, "secrets.key", 2, "FOOTFALL_SECRETS_KEY"},
		{"word for a number", "partitions: many\n", engage.Invalid, "partitions", 1, "whole number"},
		{"fraction", "partitions: 1.5\n", engage.Invalid, "partitions", 1, "whole number"},
		{"huge number", "partitions: 99999999999999999999\n", engage.Invalid, "partitions", 1, "whole number"},
		{"value for a section", "log: debug\n", engage.Invalid, "log", 1, "section"},
		{"section for a value", "listen:\n  host: a\n", engage.Invalid, "listen", 2, "one value"},
		{"list for a value", "listen: [a]\n", engage.Invalid, "listen", 1, "not a list"},
		{"list for a section", "log: [a]\n", engage.Invalid, "log", 1, "not a list"},
		{"no value", "listen:\n", engage.Invalid, "listen", 1, "leave the line out"},
		{"alias", "data_dir: &a x\nlisten: *a\n", engage.Invalid, "data_dir", 1, "no plain value"},
		{"text at the top", "footfall\n", engage.Invalid, "", 1, "section"},
		{"list at the top", "- a\n", engage.Invalid, "", 1, "not a list"},
		{"key twice", "listen: a\nlisten: b\n", engage.Invalid, "", 2, "already defined"},
		{"broken", "listen: 'a\n", engage.Invalid, "", 1, "no valid YAML"},
		{"second document", "listen: ':1'\n---\nlisten: ':2'\n", engage.Invalid, "", 3, "second YAML document"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, tt.yaml)
			_, err := Load(path, from(nil))
			if err == nil {
				t.Fatal("accepted")
			}
			e := each(t, err)[0]
			if e.Code != tt.code || e.Field != tt.field || !strings.Contains(e.Msg, tt.says) || !strings.HasPrefix(e.Msg, fmt.Sprintf("%s:%d: ", path, tt.line)) {
				t.Errorf("got %q, want %s of %q at line %d saying %q", e, tt.code, tt.field, tt.line, tt.says)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the secret is shown: %v", err)
			}
		})
	}
}

func TestEmptyFilesSayNothing(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "---\n# nothing\n", "\n\n"} {
		c, err := Load(write(t, text), from(nil))
		if err != nil || !reflect.DeepEqual(c, Default()) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAllProblemsOfAFileAndTheEnvironmentAreReportedAtOnce(t *testing.T) {
	path := write(t, "lisen: a\npartitions: x\nsecrets: {key: hunter2}\n")
	_, err := Load(path, from(map[string]string{"FOOTFALL_RETENTION_DAYS": "week"}))
	fields := map[string]string{}
	for _, e := range each(t, err) {
		fields[e.Field] = e.Msg
	}
	if got := slices.Sorted(maps.Keys(fields)); !slices.Equal(got, []string{"lisen", "partitions", "retention_days", "secrets.key"}) {
		t.Fatalf("got %v: %v", got, err)
	}
	if !strings.HasPrefix(fields["retention_days"], "FOOTFALL_RETENTION_DAYS: ") {
		t.Errorf("the variable is not named: %q", fields["retention_days"])
	}
}

func TestUnreadableFileGivesTheReason(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml"), from(nil)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Load(t.TempDir(), from(nil)); err == nil {
		t.Error("a folder was read")
	}
	if _, err := Load(write(t, strings.Repeat("#", MaxFileBytes+1)), from(nil)); engage.CodeOf(err) != engage.TooLarge {
		t.Errorf("too large a file: %v", err)
	}
}

func TestDeepNestingIsRefusedNotFatal(t *testing.T) {
	for _, unit := range []string{"[", "{a: ", "- ", "? "} {
		if _, err := Load(write(t, strings.Repeat(unit, MaxFileBytes/len(unit))), from(nil)); err == nil {
			t.Errorf("%q repeated is accepted", unit)
		}
	}
}

func TestSetRefusesUnknownPaths(t *testing.T) {
	c := Default()
	err := c.Set("log.lvel", "debug")
	if engage.CodeOf(err) != engage.NotFound || !strings.Contains(err.Error(), "did you mean log.level?") {
		t.Errorf("got %v", err)
	}
}

func TestMisspeltVariablesAreFound(t *testing.T) {
	err := CheckEnviron([]string{
		"HOME=/root", "FOOTFALL_LISTEN=:1", "FOOTFALL_TEST_MONGODB_URI=x", "FOOTFALL_SERVER=x",
		"FOOTFALL_LOG_LVEL=hunter2", "FOOTFALL_XYZ=",
	}, "FOOTFALL_SERVER")
	got := each(t, err)
	if len(got) != 2 || got[0].Field != "FOOTFALL_LOG_LVEL" || !strings.Contains(got[0].Msg, "did you mean FOOTFALL_LOG_LEVEL?") || got[1].Field != "FOOTFALL_XYZ" {
		t.Errorf("got %v", err)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the value is shown: %v", err)
	}
	if err := CheckEnviron([]string{"FOOTFALL_SECRETS_KEY=" + testKey}); err != nil {
		t.Error(err)
	}
}

func TestValidateNamesTheSettingAndTheReason(t *testing.T) {
	tests := []struct {
		path, value string // set on the defaults
		says        string // empty: valid
	}{
		{"data_dir", " ", "required"},
		{"listen", "8080", "host:port"},
		{"listen", "", "host:port"},
		{"listen", ":65536", "0 to 65535"},
		{"listen", ":-1", "0 to 65535"},
		{"listen", ":http", "0 to 65535"},
		{"listen", "http://a:1", "host:port"},
		{"listen", "a/b:1", "name or an address"},
		{"listen", ":0", ""},
		{"listen", "[::1]:8080", ""},
		{"public_url", "engage.example.com", "http://"},
		{"public_url", "ftp://engage.example.com", "http://"},
		{"public_url", "https://", "http://"},
		{"public_url", "https://u:hunter2@engage.example.com", "user or password"},
		{"public_url", "https://engage.example.com?a=b", "query"},
		{"public_url", "https://engage.example.com/x", "path"},
		{"public_url", "https://engage.example.com/", ""},
		{"durability", "powr", `did you mean power?`},
		{"durability", "power", ""},
		{"partitions", "-1", "0 to 64"},
		{"partitions", "65", "0 to 64"},
		{"partitions", "64", ""},
		{"workspace", "", "1 to 100"},
		{"workspace", "a b", "1 to 100"},
		{"retention_days", "0", "1 to 365"},
		{"retention_days", "366", "1 to 365"},
		{"log.level", "warning", `did you mean warn?`},
		{"log.format", "xml", `"text" or "json"`},
		{"event_log.url", "nats://a:4222, tls://b:4222", ""},
		{"event_log.url", "a:4222", "nats://host:4222"},
		{"event_log.url", "http://a:4222", "nats://host:4222"},
		{"event_log.url", ",", "no server"},
		{"event_log.url", "nats://u:hunter2@a:4222", "user or password"},
		{"event_log.url", "nats://a:4222/x", "path"},
		{"event_log.replicas", "2", "1, 3 or 5"},
		{"event_log.replicas", "5", ""},
		{"event_log.prefix", "SHOP_1", ""},
		{"event_log.prefix", "shop", "A-Z"},
		{"event_log.user", "ada", "go together"},
		{"event_log.token", "hunter2", ""},
		{"event_log.tls.cert_file", "x.pem", "go together"},
		{"event_log.monitor_url", "http://a:8222,b", "http://"},
		{"event_log.monitor_url", "http://a:8222,http://b:8222", ""},
		{"store.mongodb.uri", "mongodb://ada:hunter2@a,b/?replicaSet=rs0", ""},
		{"store.mongodb.uri", "ada:hunter2@a", "mongodb://"},
		{"store.mongodb.database", "a.b", "database name"},
		{"store.mongodb.database", "", "database name"},
		{"store.mongodb.database", "admin", "belongs to MongoDB"},
		{"weather.provider", "met.n", "did you mean met.no?"},
		{"weather.contact", "nobody", "e-mail"},
		{"weather.contact", "Ada <ada@example.com>", "e-mail"},
		{"weather.contact", "ada@example.com", ""},
		{"weather.contact", "https://example.com/contact", ""},
		{"weather.base_url", "met", "http://"},
		{"weather.base_url", "http://127.0.0.1:1/x", ""},
		{"live.max_age_s", "59", "60 to 86400"},
		{"live.max_age_s", "86400", ""},
		{"live.heat_min", "2", "3 to 10000"},
		{"media.check", "on", ""},
		{"media.check", "yes", `"on" or "off"`},
		{"media.max_image_kb", "0", "1 to 10240"},
		{"media.timeout_s", "31", "1 to 30"},
		{"media.host", "true", `"on" or "off"`},
		{"media.host", "on", "needs public_url"},
		{"media.host_mb", "0", "1 to 1000000"},
		{"media.grace_days", "0", "1 to 3650"},
		{"uploads.max_mb", "0", "1 to 65536"},
		{"uploads.waiting_mb", "4095", "4096 to 1048576"},
		{"uploads.open", "0", "1 to 1000"},
		{"uploads.rows_per_s", "99", "0, or 100 to 1000000"},
		{"uploads.report_days", "366", "1 to 365"},
		{"media.allow_networks", "10.0.0.0/8, ::1", ""},
		{"media.allow_networks", "shop.example.com", "10.1.0.0/16"},
		{"live.heat_min", "3", ""},
		{"limits.sessions", "0", "1 to 10000000"},
		{"limits.sessions", "10000001", "1 to 10000000"},
		{"limits.sessions", "-9223372036854775808", "1 to 10000000"},
		{"limits.sessions", "10000000", ""},
		{"limits.posts", "0", "1 to 100000"},
		{"limits.posts", "100001", "1 to 100000"},
		{"limits.posts", "1", ""},
		{"limits.install_items_per_s", "49", "50 to 1000000"},
		{"limits.install_items_per_s", "1000001", "50 to 1000000"},
		{"limits.install_items_per_s", "50", ""},
		{"limits.app_items_per_s", "99", "100 to 100000000"},
		{"limits.app_items_per_s", "100000001", "100 to 100000000"},
		{"limits.app_items_per_s", "100", ""},
		{"secrets.key", "hunter2", "base64 of 32 bytes"},
		{"secrets.key", testKey, ""},
		{"secrets.key", strings.TrimRight(testKey, "="), ""},
		{"providers.fcm.endpoint", "localhost:1", "http://"},
		{"providers.fcm.endpoint", "http://localhost:1/v1", ""},
		{"providers.apns.production_url", "x", "http://"},
		{"providers.apns.sandbox_url", "x", "http://"},
	}
	for _, tt := range tests {
		t.Run(tt.path+"="+tt.value, func(t *testing.T) {
			c := Default()
			if err := c.Set(tt.path, tt.value); err != nil {
				t.Fatal(err)
			}
			err := c.Validate()
			if tt.says == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			got := each(t, err)
			if len(got) != 1 || got[0].Code != engage.Invalid || !strings.HasPrefix(got[0].Field, tt.path) || !strings.Contains(got[0].Msg, tt.says) {
				t.Errorf("got %v, want one about %s saying %q", err, tt.path, tt.says)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the secret is shown: %v", err)
			}
		})
	}
}

func TestValidateReportsAllProblemsAtOnce(t *testing.T) {
	var c Config
	if got := each(t, c.Validate()); len(got) < 9 {
		t.Errorf("the zero configuration has only %d problems", len(got))
	}
}

func TestTheKeyIsNotGivenTwice(t *testing.T) {
	c, err := Load("", from(map[string]string{"FOOTFALL_SECRETS_KEY": testKey, "FOOTFALL_SECRETS_KEY_FILE": "x"}))
	if err != nil {
		t.Fatal(err)
	}
	if got := each(t, c.Validate()); len(got) != 1 || got[0].Field != "secrets.key_file" {
		t.Errorf("got %v", got)
	}
	key, err := ParseKey(c.Secrets.Key)
	if err != nil || len(key) != KeyBytes {
		t.Errorf("%d bytes, %v", len(key), err)
	}
	if text := fmt.Sprintf("%v %+v", c, c); strings.Contains(text, testKey) {
		t.Error("printing the configuration shows the key")
	}
}

func TestOneWayInAndOneConnectionString(t *testing.T) {
	c := Default()
	c.EventLog.URL, c.EventLog.CredentialsFile, c.EventLog.Token = "nats://a", "a.creds", "hunter2"
	c.Store.MongoDB.URIFile, c.Store.MongoDB.URI = "uri", "mongodb://hunter2@a"
	err := c.Validate()
	got := each(t, err)
	if len(got) != 2 || got[0].Field != "event_log" || got[1].Field != "store.mongodb.uri_file" || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func TestWarningsNameWhatIsProbablyNotMeant(t *testing.T) {
	c := Default()
	if got := c.Warnings(); len(got) != 1 || !strings.Contains(got[0], "weather_unknown") {
		t.Errorf("defaults: %q", got)
	}
	c.Weather.Contact = "ada@example.com"
	if got := c.Warnings(); len(got) != 0 {
		t.Errorf("with a contact: %q", got)
	}
	c.Listen = ":8080"
	if got := c.Warnings(); len(got) != 1 || !strings.Contains(got[0], "in the clear") {
		t.Errorf("open: %q", got)
	}
	c.PublicURL = "https://engage.example.com"
	if got := c.Warnings(); len(got) != 0 {
		t.Errorf("open behind TLS: %q", got)
	}
	c.EventLog.URL, c.Durability, c.Store.MongoDB.URIFile = "nats://a", Power, "uri"
	if got := c.Warnings(); len(got) != 2 || !strings.Contains(got[0], "one server") || !strings.Contains(got[1], "not checked") {
		t.Errorf("a log elsewhere: %q", got)
	}
	c.EventLog.URL = ""
	if got := c.Warnings(); len(got) != 1 || !strings.Contains(got[0], "of no use") {
		t.Errorf("only the store elsewhere: %q", got)
	}
	c.Store.MongoDB.URIFile = ""
	c.Providers.FCM.Endpoint = "http://localhost:1"
	if got := c.Warnings(); len(got) != 1 || !strings.Contains(got[0], "not to Google") {
		t.Errorf("other providers: %q", got)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(Example(), "log.level", "debug")
	f.Add("listen: ':1'\nlog: {level: warn}\npartitions: [10]\n", "partitions", "9")
	f.Add("secrets: {key: x}\n---\n- a\n", "listen", ":1")
	f.Add("a: &a {b: *a}\n<<: *a\n? [x]\n: !!str |\n  y\n", "x", "")
	f.Fuzz(func(t *testing.T, yaml, path, value string) {
		c := Default()
		if err := c.apply("fuzz.yaml", []byte(yaml)); err != nil {
			for _, e := range each(t, err) {
				if !strings.HasPrefix(e.Msg, "fuzz.yaml") {
					t.Errorf("does not say where: %q", e)
				}
			}
		}
		if c.Secrets.Key != "" {
			t.Error("a secret came from the file")
		}
		if err := c.Set(path, value); err != nil {
			each(t, err)
		}
		if err := c.Validate(); err != nil {
			for _, e := range each(t, err) {
				if e.Field == "" {
					t.Errorf("names no setting: %q", e)
				}
			}
		}
		c.Warnings()
	})
}

func TestHostedImagesNeedAnAddressThatPhonesLoad(t *testing.T) {
	for _, tt := range []struct {
		public string
		maxKB  int
		field  string // empty: valid
	}{
		{"https://engage.example.com", 1024, ""},
		{"https://engage.example.com/", 8192, ""},
		{"http://127.0.0.1:8080", 1024, ""}, // for trials on the machine itself
		{"http://localhost:8080", 1024, ""},
		{"", 1024, "media.host"},
		{"http://engage.example.com", 1024, "media.host"},
		{"https://engage.example.com/x", 1024, "public_url"},
		{"https://engage.example.com", 8193, "media.max_image_kb"},
	} {
		c := Default()
		c.PublicURL, c.Media.Host, c.Media.MaxImageKB = tt.public, On, tt.maxKB
		err := c.Validate()
		if e, _ := errors.AsType[*engage.Error](err); tt.field == "" && err != nil || tt.field != "" && (e == nil || e.Field != tt.field) {
			t.Errorf("%q, %d KB: got %v, want a problem of %q", tt.public, tt.maxKB, err, tt.field)
		}
		if !c.Media.Checked() {
			t.Error("hosted images are not looked at")
		}
	}
}
