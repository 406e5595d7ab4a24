package engage_test

import (
	"archive/zip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

// TestMain puts a zone, "Machine", into this machine's database that no other has.
// Go looks for the database once, so that must be before any test.
func TestMain(m *testing.M) {
	dir, err := machineZone("Machine")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make a zone:", err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir) // of the machine's own temporary folder
	os.Exit(code)
}

func machineZone(name string) (dir string, err error) {
	archive, err := zip.OpenReader("zoneinfo.zip")
	if err != nil {
		return "", err
	}
	defer func() { _ = archive.Close() }()
	f, err := archive.Open("Asia/Tokyo")
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp("", "zones"); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		return "", err
	}
	if err := os.Setenv("ZONEINFO", dir); err != nil {
		return "", err
	}
	_, err = time.LoadLocation(name)
	return dir, err
}

func TestZonesAreTheProgramsOwn(t *testing.T) {
	summer := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for name, want := range map[string]string{
		"Europe/Amsterdam": "14:00", "Asia/Kathmandu": "17:45", "America/Argentina/Buenos_Aires": "09:00",
		"UTC": "12:00", "Etc/GMT+1": "11:00", "Pacific/Chatham": "00:45",
	} {
		z, ok := engage.Zone(name)
		if !ok || z.String() != name || summer.In(z).Format("15:04") != want {
			t.Errorf("%s: %v, %v", name, z, ok)
		}
		if again, _ := engage.Zone(name); again != z {
			t.Errorf("%s is compiled twice", name)
		}
	}
	for _, name := range []string{"", "Local", "Machine", "Europe", "Europe/", "europe/amsterdam", "Europe/Nowhere", "../../etc/passwd", "/etc/localtime"} {
		if z, ok := engage.Zone(name); ok || z != nil {
			t.Errorf("%q is a zone: %v", name, z)
		}
	}
}

func TestEveryZoneOfTheDatabaseCompiles(t *testing.T) {
	archive, err := zip.OpenReader("zoneinfo.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = archive.Close() }()
	if len(archive.File) < 590 {
		t.Errorf("only %d zones", len(archive.File))
	}
	for _, f := range archive.File {
		if _, ok := engage.Zone(f.Name); !ok {
			t.Errorf("no zone %s", f.Name)
		}
	}
}

func TestAPlaceIsInAZoneThatEveryMachineKnows(t *testing.T) {
	at := geo.Point{Lat: 52, Lng: 5}
	p := &engage.Place{ID: "cafe", Name: "Café", Location: at, Geofences: []engage.Geofence{
		{ID: "in", Ring: engage.Inside, Shape: geo.Circle{Around: at, RadiusM: 100}},
	}}
	for zone, ok := range map[string]bool{"": true, "Europe/Amsterdam": true, "Machine": false, "Local": false, "../UTC": false} {
		p.TimeZone = zone
		if err := p.Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", zone, err)
		}
	}
}
