package decide_test

import (
	"testing"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
)

// A file binds what nobody has bound; an app's word of its user goes before it, and the
// phones of the file follow.
func TestWhatAFileHasBoundYieldsToAnApp(t *testing.T) {
	w := newWorld(t)
	binding := engage.IdentifierKey(ws, "user_id:ada")
	file := engage.Identify{Identifier: "user_id:ada", Profile: "file", Install: "imported-1", Proven: true, Imported: true}
	app := engage.Identify{Identifier: "user_id:ada", Profile: "app", Install: "phone-1", Proven: true}
	device := func(profile, install string) {
		w.apply(entry(engage.KindDevice, person(profile), 0, engage.Device{Install: install, SeenAt: t0}))
	}
	device("file", "imported-1")
	device("file", "imported-2")
	for range 2 { // twice is once
		w.apply(entry(engage.KindIdentify, binding, sec, file))
		w.echo()
	}
	if b := w.State(binding).(*decide.Binding); b.Profile != "file" || !b.Imported {
		t.Fatalf("bound to %+v", b)
	}
	w.apply(entry(engage.KindIdentify, binding, 2*sec, app))
	kinds := map[engage.Kind]string{}
	for _, e := range w.echo() {
		kinds[e.Kind] = e.Key
	}
	if kinds[engage.KindBound] != person("app") || kinds[engage.KindYield] != person("file") || len(kinds) != 2 {
		t.Fatalf("told %v", kinds)
	}
	if b := w.State(binding).(*decide.Binding); b.Profile != "app" || b.Imported {
		t.Errorf("bound to %+v", b)
	}
	if ids := w.person("file").Identifiers; len(ids) != 0 {
		t.Errorf("the file's has %v still", ids)
	}
	given := map[string]bool{}
	for _, o := range w.Take() {
		if o.To == "in" && o.Entry.Kind == engage.KindGiveInstall {
			var g engage.GiveInstall
			if err := o.Into(&g); err != nil || g.From != "file" || g.To != "app" {
				t.Errorf("%+v %v", g, err)
			}
			given[o.Entry.Key] = true
		}
	}
	if !given[engage.InstallKey(ws, "imported-1")] || !given[engage.InstallKey(ws, "imported-2")] || len(given) != 2 {
		t.Errorf("given: %v", given)
	}
	// Now it is an app's: neither a file nor another app takes it.
	file.Profile = "file-2"
	for _, id := range []engage.Identify{file, {Identifier: "user_id:ada", Profile: "other", Install: "phone-2", Proven: true}} {
		w.apply(entry(engage.KindIdentify, binding, 3*sec, id))
		if es := w.echo(); len(es) != 1 || es[0].Kind != engage.KindBindRefused {
			t.Errorf("%s: %+v", id.Profile, es)
		}
	}
	// An app that has the profile of the file keeps it.
	w.apply(entry(engage.KindIdentify, engage.IdentifierKey(ws, "user_id:bob"), sec, engage.Identify{Identifier: "user_id:bob", Profile: "bob", Proven: true, Imported: true}))
	w.apply(entry(engage.KindIdentify, engage.IdentifierKey(ws, "user_id:bob"), sec, engage.Identify{Identifier: "user_id:bob", Profile: "bob", Proven: true}))
	if b := w.State(engage.IdentifierKey(ws, "user_id:bob")).(*decide.Binding); b.Imported || b.Profile != "bob" {
		t.Errorf("Bob: %+v", b)
	}
}
