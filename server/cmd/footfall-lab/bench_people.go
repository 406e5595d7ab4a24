package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// peopleFlags of `bench people`.
type peopleFlags struct {
	benchFlags
	profiles int
	events   int
	keep     bool
	data     string
}

func benchPeopleCommand() *cobra.Command {
	var f peopleFlags
	cmd := &cobra.Command{
		Use:   "people",
		Short: "Measure people at size: uploads, events until they are in profiles, profiles by any id",
		Long: `Runs the real server (embedded log, SQLite, default settings) in a process of its own,
in a temporary folder, under these, one after the other, all by its HTTP API:

  people   a table of --profiles customers is uploaded: a user id, an e-mail address and
           20 attributes each. import_rows_per_s is rows by the time from when the file
           is whole until all profiles are in the store, the two ids of each being one
           person; the sending of the bytes is left out.
           bytes_per_profile is by how much the store's files have grown then, by profile:
           the person, what leads there from the address, and what the timeline says of
           the upload. The event log is not in it (log_bytes has that).
  events   a table of --events for each profile is uploaded, in an order that jumps from
           person to person: import_events_per_s likewise.
  live     4 senders POST batches of 250 track calls with a server's write key to
           /v1/batch, for --duration: persons at random, some of them watched.
           events_per_s is what was answered as taken, by the time from the first batch
           until the profiles have all of it. cpu_us_per_event is user and system time of
           the server's process. Afterwards the timelines of 50 watched persons must have
           as many events as were sent, else the run fails.
  reads    one client asks for GET /api/v1/people/{id}, a person at random among all, by
           user id, e-mail address and profile id in turn, for --duration:
           profile_p50_ms and profile_p99_ms, from right before the request until the
           answer is read. Each look is noted before it is answered, as always.

"In the store" and "have" mean: everything that was logged is applied, and the states are
saved, so that the API shows them. import_peak_rss_bytes is the most that the process had
resident until people and events were uploaded, peak_rss_bytes until the end. Generator and
server share the machine.

With --keep the folder stays, and --data measures live and reads of such a folder again.`,
		Example: "  footfall-lab bench people --json\n  footfall-lab bench people --profiles 20000 --events 5 --duration 10s",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.profiles < 100 || f.profiles > 5_000_000 || f.events < 0 || f.events > 1000 {
				return usageError{errors.New("--profiles must be 100 to 5000000, --events 0 to 1000")}
			}
			if err := f.checkDuration(); err != nil {
				return err
			}
			return benchPeople(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), f)
		},
	}
	flags := cmd.Flags()
	f.add(cmd, "CPU and allocation profiles of the server, by step")
	f.addDuration(cmd, 10*time.Second, "the live events, and of the reads")
	f.addTrace(cmd, "the live events")
	flags.IntVar(&f.profiles, "profiles", 100_000, "persons")
	flags.IntVar(&f.events, "events", 1, "events of each that are uploaded")
	flags.BoolVar(&f.keep, "keep", false, "leave the data folder, and say where it is")
	flags.StringVar(&f.data, "data", "", "a data folder that an earlier run has kept: nothing is uploaded, and it stays")
	return cmd
}

// peopleReport is what --json prints.
type peopleReport struct {
	Profiles         int     `json:"profiles"`
	EventsPerS       float64 `json:"events_per_s"`
	ProfileP50MS     float64 `json:"profile_p50_ms"`
	ProfileP99MS     float64 `json:"profile_p99_ms"`
	BytesPerProfile  float64 `json:"bytes_per_profile"`
	ImportRowsPerS   float64 `json:"import_rows_per_s"`
	ImportEventsPerS float64 `json:"import_events_per_s"` // 0: none were uploaded
	CPUUSPerRow      float64 `json:"cpu_us_per_import_row"`
	CPUUSPerEvent    float64 `json:"cpu_us_per_event"`
	Reads            int     `json:"reads"`
	ImportPeakRSS    int64   `json:"import_peak_rss_bytes"`
	PeakRSS          int64   `json:"peak_rss_bytes"`
	LogBytes         int64   `json:"log_bytes"`  // at the end
	DiskBytes        int64   `json:"disk_bytes"` // of the whole data folder, at the end
}

// peopleKept is what a kept folder says of itself.
type peopleKept struct {
	Profiles  int     `json:"profiles"`
	Events    int     `json:"events"` // of each
	Key       string  `json:"key"`
	WriteKey  string  `json:"write_key"`
	RowsPerS  float64 `json:"rows_per_s"`
	EventsPS  float64 `json:"events_per_s"`
	Bytes     float64 `json:"bytes_per_profile"`
	ImportRSS int64   `json:"import_rss"`
	CPURow    float64 `json:"cpu_row"`
}

const peopleKeptFile = "bench-people.json"

// peopleBench is one run.
//
// # Where the time goes
//
// Of a live event at 1,000,000 persons, of whom 97 % are not in memory (CPU profile of the
// server, `--profile`, in parts of the whole): SQLite writes the person and the entry of
// the timeline 24 %, and moves them from the WAL into the file 6 %; the tracking API takes
// the event 12 %; SQLite reads the person 10 %, decoding is 10 %, encoding 10 %; garbage
// collection 9 %; the step itself 7 %. A person's row and an entry of the timeline's index
// are each a page of their own, written twice: some 19 KB of writing for an event.
type peopleBench struct {
	peopleFlags
	errs   io.Writer
	home   string // the server's data folder
	server *told
	api    peopleAPI
	kept   peopleKept
	report peopleReport
}

func (b *peopleBench) say(format string, args ...any) {
	fmt.Fprintf(b.errs, "bench people: "+format+"\n", args...)
}

func benchPeople(ctx context.Context, w, errs io.Writer, f peopleFlags) (err error) {
	b := &peopleBench{peopleFlags: f, errs: &lines{w: errs}, home: f.data}
	if f.data == "" {
		dir, err := os.MkdirTemp(f.dir, "footfall-bench-people-")
		if err != nil {
			return fmt.Errorf("temporary folder: %w", err)
		}
		b.home = filepath.Join(dir, "data")
		defer func() {
			if f.keep && err == nil {
				b.say("kept: %s", b.home)
				return
			}
			err = errors.Join(err, os.RemoveAll(dir))
		}()
	} else if err := b.reopen(); err != nil {
		return err
	}
	var at peopleAt
	if b.server, err = startTold(ctx, b.errs, &at, "people-server", "--dir", b.home); err != nil {
		return err
	}
	if err := errors.Join(b.run(ctx, &at), b.server.end()); err != nil {
		return err
	}
	if f.json {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(b.report)
	}
	return printPeople(w, &b.report)
}

// reopen reads what a kept folder says of itself.
func (b *peopleBench) reopen() error {
	text, err := os.ReadFile(filepath.Join(b.data, peopleKeptFile))
	if err != nil {
		return usageError{fmt.Errorf("--data must be a folder that --keep has left: %w", err)}
	}
	if err := json.Unmarshal(text, &b.kept); err != nil {
		return fmt.Errorf("read %s: %w", peopleKeptFile, err)
	}
	b.profiles, b.events = b.kept.Profiles, b.kept.Events
	return nil
}

func (b *peopleBench) run(ctx context.Context, at *peopleAt) error {
	b.api = peopleAPI{url: at.URL, key: at.Key, workspace: at.Workspace}
	if b.data != "" {
		b.api.key, b.api.writeKey = b.kept.Key, b.kept.WriteKey
	} else if err := b.fill(ctx); err != nil {
		return err
	}
	r, k := &b.report, &b.kept
	r.Profiles, r.ImportRowsPerS, r.ImportEventsPerS, r.BytesPerProfile = k.Profiles, k.RowsPerS, k.EventsPS, k.Bytes
	r.ImportPeakRSS, r.CPUUSPerRow = k.ImportRSS, k.CPURow
	if err := b.live(ctx); err != nil {
		return err
	}
	if err := b.reads(ctx); err != nil {
		return err
	}
	var err error
	if r.PeakRSS, err = b.server.peakRSS(); err != nil {
		return err
	}
	if r.LogBytes, err = filesBelow(filepath.Join(b.home, "log")); err != nil {
		return err
	}
	r.DiskBytes, err = filesBelow(b.home)
	b.say("log %d MB, all %d MB, peak RSS %d MB", r.LogBytes>>20, r.DiskBytes>>20, r.PeakRSS>>20)
	return err
}

// fill uploads people and events.
func (b *peopleBench) fill(ctx context.Context) (err error) {
	if b.api.writeKey, err = b.api.makeWriteKey(ctx); err != nil {
		return err
	}
	b.kept = peopleKept{Profiles: b.profiles, Events: b.events, Key: b.api.key, WriteKey: b.api.writeKey}
	before, err := b.storeBytes()
	if err != nil {
		return err
	}
	took, cpu, err := b.upload(ctx, "people", b.profiles, func(w io.Writer) error { return writePeople(w, b.profiles) })
	if err != nil {
		return err
	}
	after, err := b.storeBytes()
	if err != nil {
		return err
	}
	k := &b.kept
	k.RowsPerS, k.CPURow = float64(b.profiles)/took.Seconds(), float64(cpu.Microseconds())/float64(b.profiles)
	k.Bytes = float64(after-before) / float64(b.profiles)
	if err := b.api.checkPeople(ctx, b.profiles); err != nil {
		return err
	}
	if rows := b.profiles * b.events; rows > 0 {
		if took, _, err = b.upload(ctx, "events", rows, func(w io.Writer) error { return writeEvents(w, b.profiles, b.events) }); err != nil {
			return err
		}
		k.EventsPS = float64(rows) / took.Seconds()
	}
	if k.ImportRSS, err = b.server.peakRSS(); err != nil {
		return err
	}
	if !b.keep {
		return nil
	}
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.home, peopleKeptFile), text, 0o600)
}

// upload sends a table and waits until the profiles have all of it. took begins when the
// file is whole; cpu is the server's since then.
func (b *peopleBench) upload(ctx context.Context, kind string, rows int, write func(io.Writer) error) (took, cpu time.Duration, err error) {
	id, err := b.api.send(ctx, kind, write)
	if err != nil {
		return 0, 0, err
	}
	if err := b.profiling(ctx, kind, serverProfile); err != nil {
		return 0, 0, err
	}
	before, err := b.server.cpu()
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := b.api.finish(ctx, id); err != nil {
		return 0, 0, err
	}
	told := began
	for {
		u, err := b.api.upload(ctx, id)
		if err != nil {
			return 0, 0, err
		}
		if u.State == "done" {
			if u.Taken != rows {
				return 0, 0, fmt.Errorf("of %d rows %d were taken: this measures nothing", rows, u.Taken)
			}
			break
		}
		if u.State == "failed" || u.State == "cancelled" {
			return 0, 0, fmt.Errorf("the upload of %s is %s", kind, u.State)
		}
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			b.say("%s: %d of %d rows after %v, %.0f/s", kind, u.Read, rows, time.Since(began).Round(time.Second), u.RowsPerS)
		}
		if err := pauseFor(ctx, 20*time.Millisecond); err != nil {
			return 0, 0, err
		}
	}
	if err := b.settled(ctx); err != nil {
		return 0, 0, err
	}
	took = time.Since(began)
	after, err := b.server.cpu()
	if err != nil {
		return 0, 0, err
	}
	rss, err := b.server.peakRSS()
	if err != nil {
		return 0, 0, err
	}
	b.say("%s: %d rows in %v, %.0f/s, %.0f µs of CPU each; peak RSS %d MB", kind, rows, took.Round(time.Millisecond),
		float64(rows)/took.Seconds(), float64((after-before).Microseconds())/float64(rows), rss>>20)
	return took, after - before, b.profiling(ctx, kind, serverProfiled)
}

// live sends events by the tracking API, and waits until the profiles have them.
func (b *peopleBench) live(ctx context.Context) error {
	s := &eventSenders{api: &b.api, profiles: b.profiles, run: time.Now().UnixNano()}
	had, err := s.countWatched(ctx)
	if err != nil {
		return err
	}
	if err := b.profiling(ctx, "live", serverProfile); err != nil {
		return err
	}
	if b.trace != "" {
		if err := b.server.ask(ctx, serverOrder{Do: serverTrace, File: b.trace}, nil); err != nil {
			return err
		}
	}
	before, err := b.server.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := s.send(ctx, b.duration); err != nil {
		return err
	}
	sent := time.Since(began)
	if err := b.settled(ctx); err != nil {
		return err
	}
	took := time.Since(began)
	after, err := b.server.cpu()
	if err != nil {
		return err
	}
	if b.trace != "" {
		if err := b.server.ask(ctx, serverOrder{Do: serverTraced}, nil); err != nil {
			return err
		}
	}
	if err := b.profiling(ctx, "live", serverProfiled); err != nil {
		return err
	}
	events := int(s.events.Load())
	b.report.EventsPerS = float64(events) / took.Seconds()
	b.report.CPUUSPerEvent = float64((after - before).Microseconds()) / float64(max(events, 1))
	b.say("live: %d events answered in %v, in the profiles after %v, %.0f/s, %.0f µs of CPU each; %d batches were told to wait", events,
		sent.Round(time.Millisecond), took.Round(time.Millisecond), b.report.EventsPerS, b.report.CPUUSPerEvent, s.held.Load())
	has, err := s.countWatched(ctx)
	if err != nil {
		return err
	}
	for i := range has {
		if want := had[i] + int(s.watched[i].Load()); has[i] != want {
			return fmt.Errorf("a watched person has %d events in the timeline, and was to have %d: this measures nothing", has[i], want)
		}
	}
	return nil
}

// reads asks for people.
func (b *peopleBench) reads(ctx context.Context) error {
	var took []time.Duration
	x := uint64(1)
	for began := time.Now(); time.Since(began) < b.duration || len(took) < 100; {
		x = shuffled(x)
		i := int(x % uint64(b.profiles))
		id := []string{userOf(i), emailOf(i), b.api.profileOf(i)}[len(took)%3]
		start := time.Now()
		p, err := b.api.person(ctx, id)
		if err != nil {
			return err
		}
		took = append(took, time.Since(start))
		if err := p.is(i); err != nil {
			return err
		}
	}
	slices.Sort(took)
	b.report.Reads = len(took)
	b.report.ProfileP50MS, b.report.ProfileP99MS = ms(took[len(took)/2]), ms(took[len(took)*99/100])
	b.say("reads: %d, p50 %.2f ms, p99 %.2f ms", len(took), b.report.ProfileP50MS, b.report.ProfileP99MS)
	return nil
}

// settled waits until everything that was logged is in the store.
func (b *peopleBench) settled(ctx context.Context) error {
	for {
		var done bool
		if err := b.server.ask(ctx, serverOrder{Do: peopleSettle}, &done); err != nil || done {
			return err
		}
	}
}

// profiling begins or ends the profiles of a step, where they are wanted.
func (b *peopleBench) profiling(ctx context.Context, step, do string) error {
	if b.profile == "" {
		return nil
	}
	return b.server.ask(ctx, serverOrder{Do: do, Dir: filepath.Join(b.profile, step)}, nil)
}

// storeBytes is the size of the store's files.
func (b *peopleBench) storeBytes() (n int64, err error) {
	files, err := filepath.Glob(filepath.Join(b.home, "*.db*"))
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return 0, err
		}
		n += info.Size()
	}
	return n, err
}

// filesBelow is the size of all files below a folder; those that go meanwhile do not count.
func filesBelow(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return ignoreGone(err)
		}
		info, err := e.Info()
		if err == nil {
			n += info.Size()
		}
		return ignoreGone(err)
	})
	return n, err
}

func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func printPeople(w io.Writer, r *peopleReport) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "profiles\trows/s\tuploaded events/s\tevents/s\tCPU µs\tprofile p50 ms\tp99\tB/profile\tlog MB\tdisk MB\tRSS MB\t")
	fmt.Fprintf(t, "%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\t%.2f\t%.0f\t%d\t%d\t%d\t\n", r.Profiles, r.ImportRowsPerS, r.ImportEventsPerS, r.EventsPerS,
		r.CPUUSPerEvent, r.ProfileP50MS, r.ProfileP99MS, r.BytesPerProfile, r.LogBytes>>20, r.DiskBytes>>20, r.PeakRSS>>20)
	return t.Flush()
}
