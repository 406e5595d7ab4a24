package engage_test

import (
	"archive/zip"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

// machineZone puts a zone into this machine's database that no other has.
func machineZone(t *testing.T, name string) {
	t.Helper()
	archive, err := zip.OpenReader("zoneinfo.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = archive.Close() }()
	f, err := archive.Open("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ZONEINFO", dir)
	if _, err := time.LoadLocation(name); err != nil {
		t.Skip("the machine's zones were looked for before this test")
	}
}

func TestZonesAreTheProgramsOwn(t *testing.T) {
	machineZone(t, "Machine")
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
	machineZone(t, "Machine")
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
