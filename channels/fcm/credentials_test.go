package fcm_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/fcm"
	"github.com/footfall-engage/footfall/channels/fcm/fcmsim"
)

func TestCredentialsComeFromAFileOrAFolder(t *testing.T) {
	sim := start(t, fcmsim.Options{Projects: []string{"shoes"}})
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	one := write("hats.json", sim.Credentials())
	c := fcm.Credentials{}
	if err := c.AddFile(one); err != nil || !slices.Equal(slices.Collect(maps.Keys(c)), []string{"footfall-sim"}) {
		t.Error(err, c)
	}
	write("shoes.json", sim.CredentialsOf("shoes"))
	write("README", []byte("not read"))
	c = fcm.Credentials{}
	if err := c.AddFile(dir); err != nil || !slices.Equal(slices.Sorted(maps.Keys(c)), []string{"footfall-sim", "shoes"}) {
		t.Fatal(err, c)
	}
	for _, said := range []string{fmt.Sprint(c), fmt.Sprintf("%+v %#v", c, c)} {
		if strings.Contains(said, "PRIVATE KEY") || !strings.Contains(said, "shoes") {
			t.Error(said)
		}
	}
	s := sender(t, sim, func(o *fcm.Options) { o.CredentialsJSON = c["shoes"] })
	if out, err := s.Send(t.Context(), message("a")); err != nil || out.Kind != channels.Accepted {
		t.Error(out, err)
	}

	write("again.json", sim.CredentialsOf("shoes"))
	for name, err := range map[string]error{
		"twice":     (fcm.Credentials{}).AddFile(dir),
		"no file":   (fcm.Credentials{}).AddFile(filepath.Join(dir, "none.json")),
		"empty":     (fcm.Credentials{}).AddFile(t.TempDir()),
		"not a key": (fcm.Credentials{}).AddFile(write("x.json", []byte(`{"type":"service_account","private_key":"hunter2"`))),
		"too long":  (fcm.Credentials{}).AddFile(write("y.json", append(sim.Credentials(), make([]byte, 64<<10)...))),
	} {
		var oe *fcm.OptionError
		if err == nil || strings.Contains(err.Error(), "hunter2") || !errors.As(err, &oe) && !errors.Is(err, fs.ErrNotExist) && name != "empty" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
