package engage

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"io"
	"sync"
	"time"
)

// zoneinfo is the IANA time zone database 2025c, in the public domain, as Go 1.26.8
// ships it (lib/time/zoneinfo.zip). It is our own copy, so that a decision about
// local time is the same on every machine, whatever its system or its version of
// Go says of a zone; a newer one changes decisions, and so belongs into a release.
//
//go:embed zoneinfo.zip
var zoneinfo []byte

// zones are the zones of zoneinfo by name, each compiled when it is first asked for.
var zones = sync.OnceValue(func() map[string]func() *time.Location {
	out := map[string]func() *time.Location{}
	archive, err := zip.NewReader(bytes.NewReader(zoneinfo), int64(len(zoneinfo)))
	if err != nil {
		return out
	}
	for _, f := range archive.File {
		out[f.Name] = sync.OnceValue(func() *time.Location { return compileZone(f) })
	}
	return out
})

// compileZone gives nil for what is no zone, such as a folder.
func compileZone(f *zip.File) *time.Location {
	r, err := f.Open()
	if err != nil {
		return nil
	}
	data, err := io.ReadAll(r)
	if err != nil || r.Close() != nil {
		return nil
	}
	zone, err := time.LoadLocationFromTZData(f.Name, data)
	if err != nil {
		return nil
	}
	return zone
}

// Zone is the IANA time zone of a name, "Europe/Amsterdam"; false if there is none
// in the database that is part of the program. The empty name and "Local" are none.
// It is pure: it looks at nothing of the machine.
func Zone(name string) (*time.Location, bool) {
	compiled, known := zones()[name]
	if !known {
		return nil, false
	}
	zone := compiled()
	return zone, zone != nil
}
