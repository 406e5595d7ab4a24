package server_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/footfall-engage/footfall"

// A rule of who may import whom, held for direct and indirect imports unless
// direct is set. Packages are named below the module; "x/..." is x and
// everything below it. Imports of test files are free: tests may use simulators.
type rule struct {
	name   string
	from   []string
	deny   []string
	except []string // imports that deny does not mean
	exempt []string // packages that from does not mean
	direct bool     // only what the package's own files import
	why    string
}

var stages = []string{
	"server/ingest/...", "server/collect/...", "server/situate/...", "server/decide/...",
	"server/deliver/...", "server/measure/...", "server/journey/...", "server/webhook/...",
}

var simulators = []string{
	"channels/fcm/fcmsim/...", "channels/apns/apnssim/...",
	"server/weather/weathersim/...", "server/lab/...",
}

var rules = []rule{
	{
		name: "libraries know nothing of the server",
		from: []string{"geo/...", "sdkproto/...", "channels/..."}, deny: []string{"server/..."},
		why: "an app, another server or a test uses them without ours",
	},
	{
		name: "geo stands alone",
		from: []string{"geo/..."}, deny: []string{"..."}, except: []string{"geo/..."},
		why: "it is geometry: nothing of ours is below it",
	},
	{
		name: "the vocabulary imports only geo",
		from: []string{"server/engage"}, deny: []string{"..."}, except: []string{"geo/...", "server/engage"},
		why: "everybody shares it, so whatever it imports everybody imports",
	},
	{
		name: "pure libraries import only vocabulary",
		from: []string{"server/rules/...", "server/hours/...", "server/template/...", "server/profile/...", "server/identity"}, deny: []string{"..."},
		except: []string{"geo/...", "server/engage", "server/rules/...", "server/hours/...", "server/template/...", "server/profile/..."},
		why:    "the same records must give the same decisions, in rehearsal and in the browser of an operator",
	},
	{
		name: "stages do not import each other",
		from: stages, deny: append(slices.Clone(stages), "server/api/...", "server/console/..."),
		why: "the chain is joined by the event log and by app: a stage can be read, tested and moved to another process alone",
	},
	{
		name: "stages declare what they need",
		from: append(slices.Clone(stages), "server/api/...", "server/profile/..."), direct: true,
		deny: []string{"server/store/...", "server/eventlog/...", "channels/fcm/...", "channels/apns/..."},
		why:  "two or three methods beside their use, supplied by app, can be faked and exchanged",
	},
	{
		name: "only commands import app",
		from: []string{"..."}, exempt: []string{"server/cmd/...", "server/app/..."}, deny: []string{"server/app/..."},
		why: "app is the only package that imports everything; whoever imports it does too",
	},
	{
		name: "the lab sees what a phone sees",
		from: []string{"server/lab/..."}, deny: []string{"server/...", "channels/..."}, except: []string{"server/lab/..."},
		why: "a load generator that knows the server's insides proves nothing about the protocol",
	},
	{
		name: "the production binary links no simulator",
		from: []string{"server/app/...", "server/cmd/footfall"}, deny: simulators,
		why: "nothing that pretends may be reachable in production",
	},
}

// agreed are the packages of the layout that other parts of the project rely on:
// one that disappears or is renamed fails the test, for a rule about a package
// that is not there holds nothing.
var agreed = []string{
	"geo",
	"sdkproto", "sdkproto/sdkpb", "sdkproto/client",
	"channels", "channels/fcm", "channels/fcm/fcmsim", "channels/apns", "channels/apns/apnssim", "channels/webhook",
	"server/cmd/footfall", "server/cmd/footfall-lab",
	"server/app", "server/config", "server/engage", "server/rules", "server/hours", "server/template", "server/profile", "server/identity",
	"server/ingest", "server/collect", "server/situate", "server/decide", "server/deliver", "server/measure", "server/webhook",
	"server/catalog", "server/places", "server/table", "server/uploads", "server/partition", "server/eventlog", "server/store", "server/store/sqlite", "server/store/mongo",
	"server/lockfile",
	"server/weather", "server/weather/weathersim", "server/media", "server/api", "server/lab",
}

// underConstruction lets packages of agreed be missing. The test fails as soon as
// all are there and this is still true.
const underConstruction = false

// later are packages that rules name and that come with their issues.
var later = []string{"server/journey", "server/console"}

// matches reports whether the package p (below the module) is meant by pattern.
func matches(pattern, p string) bool {
	if pattern == "..." {
		return true
	}
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return p == base || strings.HasPrefix(p, base+"/")
	}
	return p == pattern
}

func anyMatches(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(pattern, p) })
}

// imports maps every package of the module to the packages of the module that it
// imports, both named below the module, without those of tests.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	lookAround(t)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	graph := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		p := strings.TrimPrefix(fields[0], module+"/")
		graph[p] = nil
		for _, imp := range fields[1:] {
			if rest, ok := strings.CutPrefix(imp, module+"/"); ok {
				graph[p] = append(graph[p], rest)
			}
		}
	}
	return graph
}

// violations lists the ways in which the graph breaks the rule, each as the chain
// of imports from the package to what it must not reach.
func (r rule) violations(graph map[string][]string) [][]string {
	var out [][]string
	for from := range graph {
		if !anyMatches(r.from, from) || anyMatches(r.exempt, from) {
			continue
		}
		own := selfOf(r.from, from)
		seen := map[string]bool{from: true}
		queue := [][]string{{from}}
		for len(queue) > 0 {
			chain := queue[0]
			queue = queue[1:]
			for _, imp := range graph[chain[len(chain)-1]] {
				if seen[imp] {
					continue
				}
				seen[imp] = true
				next := append(slices.Clone(chain), imp)
				// A stage may import its own sub-packages.
				if anyMatches(r.deny, imp) && !anyMatches(r.except, imp) && (own == "" || !matches(own, imp)) {
					out = append(out, next)
					continue
				}
				if !r.direct {
					queue = append(queue, next)
				}
			}
		}
	}
	slices.SortFunc(out, slices.Compare[[]string])
	return out
}

// selfOf is the narrowest pattern of from that p is part of; empty when that is
// everything.
func selfOf(from []string, p string) string {
	for _, pattern := range from {
		if pattern != "..." && matches(pattern, p) {
			return pattern
		}
	}
	return ""
}

func TestWhoMayImportWhom(t *testing.T) {
	graph := imports(t)
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, chain := range r.violations(graph) {
				t.Errorf("%s\n\tbecause %s", strings.Join(chain, " → "), r.why)
			}
		})
	}
}

func TestRulesBite(t *testing.T) {
	graph := map[string][]string{
		"geo":                     {},
		"channels/fcm":            {"geo", "server/engage"},
		"channels/fcm/fcmsim":     {"channels/fcm"},
		"server/engage":           {"geo", "server/store"},
		"server/store":            {},
		"server/situate":          {"server/engage", "server/weather", "server/situate/visit"},
		"server/situate/visit":    {},
		"server/weather":          {"server/decide"},
		"server/decide":           {"server/store"},
		"server/lab":              {"sdkproto/client", "server/lab/town"},
		"server/lab/town":         {},
		"sdkproto/client":         {"server/engage"},
		"server/app":              {"server/decide", "channels/fcm", "server/helper"},
		"server/helper":           {"channels/fcm/fcmsim"},
		"server/api":              {"server/app"},
		"server/cmd/footfall":     {"server/app"},
		"server/cmd/footfall-lab": {"server/app", "server/lab", "channels/fcm/fcmsim"},
		"server/rules":            {"server/template"},
		"server/template":         {"server/catalog"},
		"server/catalog":          {},
	}
	want := map[string]string{
		"libraries know nothing of the server":     "channels/fcm → server/engage",
		"geo stands alone":                         "",
		"the vocabulary imports only geo":          "server/engage → server/store",
		"pure libraries import only vocabulary":    "server/rules → server/template → server/catalog",
		"stages do not import each other":          "server/situate → server/weather → server/decide",
		"stages declare what they need":            "server/decide → server/store",
		"only commands import app":                 "server/api → server/app",
		"the lab sees what a phone sees":           "server/lab → sdkproto/client → server/engage",
		"the production binary links no simulator": "server/cmd/footfall → server/app → server/helper → channels/fcm/fcmsim",
	}
	for _, r := range rules {
		var got []string
		for _, chain := range r.violations(graph) {
			got = append(got, strings.Join(chain, " → "))
		}
		if w, ok := want[r.name]; !ok || w == "" && len(got) > 0 || w != "" && !slices.Contains(got, w) {
			t.Errorf("%s: got %q, want %q", r.name, got, w)
		}
		for _, chain := range got {
			if strings.HasSuffix(chain, "server/situate/visit") || strings.HasSuffix(chain, "server/lab/town") {
				t.Errorf("%s refuses a package's own part: %s", r.name, chain)
			}
		}
	}
}

func TestAgreedPackagesAreThere(t *testing.T) {
	graph := imports(t)
	var missing []string
	for _, p := range agreed {
		if _, ok := graph[p]; !ok {
			missing = append(missing, p)
		}
	}
	switch {
	case underConstruction && len(missing) == 0:
		t.Error("every agreed package is there: set underConstruction to false, so that none can disappear")
	case underConstruction:
		t.Logf("not there yet: %s", strings.Join(missing, ", "))
	case len(missing) > 0:
		t.Errorf("gone: %s", strings.Join(missing, ", "))
	}
	named := slices.Clone(later)
	named = append(named, agreed...)
	for _, r := range rules {
		for _, pattern := range slices.Concat(r.from, r.deny, r.except, r.exempt) {
			base := strings.TrimSuffix(strings.TrimSuffix(pattern, "..."), "/")
			if base != "" && base != "server" && base != "server/cmd" && !slices.Contains(named, base) {
				t.Errorf("rule %q names %s, which is neither agreed nor later", r.name, pattern)
			}
		}
	}
}

// root is the folder of the module.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// lookAround reads every folder of the project, so that the cache of go test,
// which sees what a test opens but not what go list and git open, knows that a
// new file makes these tests new.
func lookAround(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(root(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		switch d.Name() {
		case ".git", ".tools", "bin", "data", "dist", "node_modules":
			return filepath.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// files lists what git tracks, and what it would track if it were added, by path
// from the root.
func files(t *testing.T) []string {
	t.Helper()
	lookAround(t)
	if _, err := os.Stat(filepath.Join(root(t), ".git")); errors.Is(err, fs.ErrNotExist) {
		t.Skip("not a git checkout, so the files of the project cannot be told from others")
	}
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	var list []string
	for name := range strings.SplitSeq(string(out), "\x00") {
		if name == "" {
			continue
		}
		if _, err := os.Lstat(filepath.Join(root(t), name)); err == nil { // not one that is deleted and not committed
			list = append(list, name)
		}
	}
	return list
}

func TestTopLevelIsTheAgreedOne(t *testing.T) {
	want := []string{"LICENSE", "Makefile", "README.md", "channels", "deploy", "geo", "go.mod", "go.sum", "mobile-sample", "sdkproto", "server"}
	seen := map[string]bool{}
	for _, name := range files(t) {
		top, _, _ := strings.Cut(name, "/")
		if !strings.HasPrefix(top, ".") {
			seen[top] = true
		}
	}
	for _, top := range want {
		if !seen[top] {
			t.Errorf("%s is missing", top)
		}
		delete(seen, top)
	}
	for top := range seen {
		t.Errorf("%s is not agreed: it belongs below one of the others", top)
	}
}

// A registry or a machine's path in the project works on one machine only. The
// patterns are put together so that this file does not match them.
var (
	registry    = regexp.MustCompile(`:` + `//(?:proxy|registry|deb|index)\.[\w.-]+`)
	machinePath = regexp.MustCompile(`(?:^|[^\w.~$}/-])/(?:(?:home|Users)/\w|(?:root|work)` + `/\w)`)
	// reserved are the names that RFC 2606 keeps for examples.
	reserved = regexp.MustCompile(`(?:^|[/.])(?:example(?:\.(?:com|net|org))?|test|invalid)$`)
)

// notPortable is what in the line belongs to one machine; empty if nothing does.
func notPortable(line []byte) string {
	if m := registry.Find(line); m != nil && !reserved.Match(m) {
		return string(m)
	}
	return string(machinePath.Find(line))
}

// suspicious is a quick look for what notPortable might find.
func suspicious(data []byte) bool {
	for _, sign := range []string{":/" + "/", "/home/", "/Users/", "/root" + "/", "/work" + "/"} {
		if bytes.Contains(data, []byte(sign)) {
			return true
		}
	}
	return false
}

func TestNoFileNamesARegistryOrAMachinesPath(t *testing.T) {
	for _, name := range files(t) {
		switch filepath.Base(name) {
		case "go.sum", "package-lock.json": // written by tools
			continue
		}
		data, err := os.ReadFile(filepath.Join(root(t), name))
		if err != nil {
			t.Error(err)
			continue
		}
		if bytes.IndexByte(data[:min(len(data), 8000)], 0) >= 0 {
			continue // no text
		}
		if !suspicious(data) {
			continue
		}
		for i, line := range bytes.Split(data, []byte("\n")) {
			if what := notPortable(line); what != "" {
				t.Errorf("%s:%d names %q", name, i+1, what)
			}
		}
	}
}

func TestNotPortableFindsWhatItShould(t *testing.T) {
	for text, want := range map[string]bool{
		"GOPROXY=https:" + "//proxy.mirror.io": true,
		"https:" + "//proxy.example.com":       false,
		"https:" + "//registry.example":        false,
		"see /" + "home/ada/x":                 true,
		`"/` + `work/main"`:                    true,
		"/" + "root/go":                        true,
		"https://example.com/home/page":        false,
		"GET /homepage":                        false,
		"the index: https://example.com":       false,
		"$HOME/" + "work/x":                    false,
		"/api/v1/people":                       false,
	} {
		if got := notPortable([]byte(text)); (got != "") != want || want && !suspicious([]byte(text)) {
			t.Errorf("%q: found %q, want something: %v", text, got, want)
		}
	}
}
