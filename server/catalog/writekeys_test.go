package catalog_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog/eventlogtest"
)

func TestAWriteKeyIsFoundByItsTokenAlone(t *testing.T) {
	memory := new(eventlogtest.Memory)
	c := open(t, memory.Open())
	seed(t, c)
	site, siteToken := catalog.NewWriteKey("acme", "the website", catalog.WritePublic, "")
	till, tillToken := catalog.NewWriteKey("acme", "tills", catalog.WriteServer, "till")
	other, otherToken := catalog.NewWriteKey("rival", "server", catalog.WriteServer, "")
	for _, k := range []*catalog.WriteKey{site, till, other} {
		must(t, c.PutWriteKey(t.Context(), by, k, 0))
	}
	taken := *other
	taken.Workspace = "acme"
	if err := c.PutWriteKey(t.Context(), by, &taken, 0); engage.CodeOf(err) != engage.Conflict {
		t.Errorf("an id of another workspace: %v", err)
	}
	revoked := *site
	revoked.RevokedAt = t0
	must(t, c.PutWriteKey(t.Context(), by, &revoked, 1))

	c = open(t, memory.Open())
	now := c.Now()
	for token, want := range map[string]*catalog.WriteKey{
		siteToken.Reveal(): site, tillToken.Reveal(): till, otherToken.Reveal(): other,
	} {
		got := now.WriteKeyByToken(token)
		if got == nil || got.ID != want.ID || got.Workspace != want.Workspace || got.Kind != want.Kind || got.Source != want.Source {
			t.Errorf("of %s it is %+v", want.Name, got)
		}
		for _, bad := range []string{token + "0", token[:len(token)-1], "ffk" + token[3:], strings.ToUpper(token), "", "ffw_", "ffs_" + want.ID + "_"} {
			if now.WriteKeyByToken(bad) != nil {
				t.Errorf("%q opens %s", bad, want.Name)
			}
		}
		if swapped := strings.NewReplacer("ffs_", "ffw_", "ffw_", "ffs_").Replace(token); now.WriteKeyByToken(swapped) != nil {
			t.Errorf("%s is found as the other kind", want.Name)
		}
	}
	if k := now.WriteKey("acme", site.ID); k == nil || !k.Revoked() || k.Version != 2 || k.Token != siteToken.Reveal() {
		t.Errorf("the revoked one is %+v", k)
	}
	if k := now.WriteKey("acme", till.ID); k.Token != "" || strings.Contains(k.Hash, tillToken.Reveal()) || k.Revoked() {
		t.Errorf("a server's token is kept: %+v", k)
	}
	if n := len(now.WriteKeys("acme")); n != 2 || now.WriteKey("acme", other.ID) != nil {
		t.Errorf("acme has %d keys, and sees rival's: %v", n, now.WriteKey("acme", other.ID) != nil)
	}
	must(t, c.DeleteWriteKey(t.Context(), by, "acme", site.ID, 2))
	if c.Now().WriteKeyByToken(siteToken.Reveal()) != nil {
		t.Error("a removed key is known")
	}
	if now.WriteKeyByToken(siteToken.Reveal()) == nil {
		t.Error("a snapshot has changed")
	}
	for i := range catalog.MaxWriteKeys - 1 {
		k, _ := catalog.NewWriteKey("acme", fmt.Sprint("key ", i), catalog.WritePublic, "")
		must(t, c.PutWriteKey(t.Context(), by, k, 0))
	}
	k, _ := catalog.NewWriteKey("acme", "one more", catalog.WritePublic, "")
	if err := c.PutWriteKey(t.Context(), by, k, 0); engage.CodeOf(err) != engage.TooLarge {
		t.Errorf("one too many: %v", err)
	}
}

func TestAWriteKeyThatCannotBeIsRefused(t *testing.T) {
	c := fresh(t)
	for field, change := range map[string]func(public, server *catalog.WriteKey) *catalog.WriteKey{
		"id":     func(k, _ *catalog.WriteKey) *catalog.WriteKey { k.ID = "a/b"; return k },
		"name":   func(k, _ *catalog.WriteKey) *catalog.WriteKey { k.Name = ""; return k },
		"kind":   func(k, _ *catalog.WriteKey) *catalog.WriteKey { k.Kind = "admin"; return k },
		"source": func(k, _ *catalog.WriteKey) *catalog.WriteKey { k.Source = "till"; return k },
		"token":  func(k, _ *catalog.WriteKey) *catalog.WriteKey { k.Token = "ffw_0000_1111"; return k },
		"hash":   func(k, s *catalog.WriteKey) *catalog.WriteKey { s.Token = k.Token; return s },
	} {
		public, _ := catalog.NewWriteKey("acme", "web", catalog.WritePublic, "")
		server, _ := catalog.NewWriteKey("acme", "crm", catalog.WriteServer, "")
		err := c.PutWriteKey(t.Context(), by, change(public, server), 0)
		if e, ok := err.(*engage.Error); !ok || e.Field != field { //nolint:errorlint // it is not wrapped
			t.Errorf("%s: %v", field, err)
		}
	}
	if n := len(c.Now().WriteKeys("acme")); n != 0 {
		t.Errorf("%d were made", n)
	}
}
