package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/tokens"
)

// ImportTokens implements api.Push.
func (w *world) ImportTokens(_ context.Context, workspace string, all []engage.TokenImport) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.imported == nil {
		w.imported = map[string][]engage.TokenImport{}
	}
	w.imported[workspace] = append(w.imported[workspace], all...)
	return w.broken
}

// pushApp gives a workspace an app that has a credential of FCM.
func (s *site) pushApp() {
	s.t.Helper()
	a := &catalog.App{
		ID: "push-app", Workspace: alpha, Name: "Push", Platform: "android", Key: catalog.NewAppKey(),
		FCM: &catalog.FCM{ProjectID: "project-1", ServiceAccount: s.sealer.Seal("{}")},
	}
	if err := s.catalog.PutApp(s.t.Context(), "system", a, 0); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) importTokens(query, typ, body string, accept ...string) answer {
	s.t.Helper()
	head := map[string]string{"Content-Type": typ}
	if len(accept) > 0 {
		head["Accept"] = accept[0]
	}
	return s.do(request{method: "POST", path: "/api/v1/apps/push-app/push-tokens" + query, body: body, role: catalog.Admin, header: head})
}

func TestTokensAreImportedForWhoeverTheyAre(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	s.pushApp()
	file := "user_id,install,token,last_seen\nada,,tok-1,2026-03-01\nbob,,tok-2,2026-01-01\n,install-7,tok-3,2025-01-01\n,,tok-4,2026-03-01\n"
	var r tokens.Report
	s.importTokens("?dry_run=true&old=refuse_expired", "text/csv", file).want(200, &r)
	if n := len(s.world.imported[alpha]); n != 0 || !r.DryRun || r.Taken != 2 {
		t.Errorf("a dry run: %d imported, %+v", n, r)
	}
	r = tokens.Report{}
	s.importTokens("?old=refuse_expired", "text/csv", file).want(200, &r)
	if r.Read != 4 || r.Taken != 2 || r.Refused != 2 || r.Warned != 1 || r.Stale != 2 || len(r.Rows) != 3 || r.More != 0 ||
		r.Rows[0].Row != 3 || r.Rows[0].Outcome != tokens.Taken || r.Rows[1].Error.Code != tokens.TooOld || r.Rows[2].Row != 5 || r.Rows[2].Error.Field != "user_id" {
		t.Errorf("report %+v", r)
	}
	got := s.world.imported[alpha]
	if len(got) != 2 {
		t.Fatalf("imported %+v", got)
	}
	ada, bob := got[0], got[1]
	if ada.Identifier != "user_id:ada" || ada.App != "push-app" || ada.Platform != "android" ||
		ada.Install != engage.ImportedInstall(alpha, "push-app", "fcm", "tok-1") || ada.Push.Token.Reveal() != "tok-1" {
		t.Errorf("Ada, who is known: %+v", ada)
	}
	if bob.Identifier != "user_id:bob" {
		t.Errorf("Bob, who is not: %+v", bob)
	}
	raw := s.importTokens("", "application/x-ndjson", `{"install":"install-7","token":"tok-3","last_seen":"2025-01-01"}`+"\n"+`{"token":"t"}`, "application/x-ndjson").want(200).body
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	var row tokens.RowReport
	var last tokens.Report
	if len(lines) != 3 || json.Unmarshal([]byte(lines[1]), &row) != nil || row.Row != 2 || row.Error == nil || json.Unmarshal([]byte(lines[2]), &last) != nil || last.Taken != 1 {
		t.Errorf("by rows: %s", raw)
	}
	if got := s.world.imported[alpha]; got[2].Install != "install-7" || got[2].Identifier != "" {
		t.Errorf("imported %+v", got[2])
	}
	if strings.Contains(s.log.String()+string(raw), "tok-") {
		t.Error("a token is logged or told")
	}
}

func TestATokenThatStandsTwiceIsToldWithBothRows(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	s.pushApp()
	var r tokens.Report
	s.importTokens("", "text/csv", "user_id,token,last_seen\nada,tok-1,2026-03-01\n,tok-2,2026-03-01\nbob,tok-2,2026-03-01\nbob,tok-1,2026-03-01\nada,tok-1,2026-03-01\n").want(200, &r)
	var told []string
	for _, row := range r.Rows {
		for _, w := range row.Warnings {
			told = append(told, fmt.Sprintf("%d %s %s", row.Row, w.Field, w.Reason))
		}
	}
	// Row 3 is refused, since nobody has it, and row 4 is the first that is taken.
	want := "5 token stands twice: rows 2 and 5 have it, and one phone has a token\n6 token stands twice: rows 2 and 6 have it, and one phone has a token"
	if strings.Join(told, "\n") != want || r.Taken != 4 || r.Warned != 2 || r.Refused != 1 {
		t.Errorf("told %q of %+v", told, r)
	}
}

func TestAnImportOfTokensThatIsWrongIsRefused(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	s.pushApp()
	s.importTokens("", "text/csv", "user_id,last_seen\n").wantProblem(422, engage.Invalid, "header")
	s.importTokens("", "text/csv", "user_id,token,last_seen\n").wantProblem(422, engage.Invalid, "row")
	s.importTokens("?old=ignore", "text/csv", "user_id,token,last_seen\n").wantProblem(422, engage.Invalid, "old")
	s.importTokens("", "application/json", "{}").wantProblem(415, "media_type", "Content-Type")
	s.do(request{method: "POST", path: "/api/v1/apps/none/push-tokens", body: "x", role: catalog.Admin, header: map[string]string{"Content-Type": "text/csv"}}).wantProblem(404, engage.NotFound, "id")
	// The app of furnish has no credential, so nothing could be sent to any of them.
	var r tokens.Report
	s.do(request{
		method: "POST", path: "/api/v1/apps/app/push-tokens", body: "user_id,token,last_seen\nada,t,2026-03-01\n", role: catalog.Admin,
		header: map[string]string{"Content-Type": "text/csv"},
	}).want(200, &r)
	if r.Refused != 1 || r.Rows[0].Error.Field != "provider" {
		t.Errorf("without a credential: %+v", r)
	}
}

func TestManyTokensAreImportedInBatches(t *testing.T) {
	s := newSite(t)
	s.pushApp()
	var file strings.Builder
	file.WriteString("user_id,token,last_seen\n")
	const n = 1234
	for i := range n {
		fmt.Fprintf(&file, "user-%d,token-%d,%s\n", i, i, []string{"2026-03-01", "never"}[i/1200])
	}
	var r tokens.Report
	s.importTokens("", "text/csv", file.String()).want(200, &r)
	if got := s.world.imported[alpha]; len(got) != 1200 || got[1199].Identifier != "user_id:user-1199" || r.Refused != n-1200 || len(r.Rows) != n-1200 {
		t.Errorf("%d imported, %+v", len(got), r)
	}
	s.world.mu.Lock()
	s.world.broken = engage.Errorf(engage.Unavailable, "", "the log is away")
	s.world.mu.Unlock()
	s.importTokens("", "text/csv", file.String()).wantProblem(503, engage.Unavailable, "")
	var _ api.Push = s.world
}
