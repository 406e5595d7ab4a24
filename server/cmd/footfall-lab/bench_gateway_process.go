package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"runtime/trace"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/lab/gatewaybench"
)

// The processes of `bench gateway` are hidden commands below bench. Each prints
// a line of JSON when it is up, then one per order that it reads, a line of JSON,
// from its standard input; it ends when that does.

// serverOrder is what gateway-server and gateway-bare are told.
type serverOrder struct {
	Do   string `json:"do"`
	Dir  string `json:"dir,omitempty"`  // of profiles
	File string `json:"file,omitempty"` // of a trace
}

// loadOrder is what gateway-load is told.
type loadOrder struct {
	Do      string               `json:"do"`
	Connect gatewaybench.Options `json:"connect,omitzero"`
	Phones  int                  `json:"phones,omitempty"`
	Rate    float64              `json:"rate,omitempty"`
	For     time.Duration        `json:"for,omitempty"`
}

func (o loadOrder) lasts() time.Duration { return o.For }

// The orders.
const (
	serverMemory   = "memory"
	serverHeap     = "heap"
	serverProfile  = "profile"
	serverProfiled = "profiled"
	serverTrace    = "trace"
	serverTraced   = "traced"

	loadConnect   = "connect"
	loadKeep      = "keep"
	loadTelemetry = "telemetry"
	loadSaturate  = "saturate"
)

// gatewayMade is what the import prints, gatewayAt what a server prints.
type (
	gatewayMade struct {
		AppKey string `json:"app_key"`
	}
	gatewayAt struct {
		URL string `json:"url"`
	}
)

// memoryNow is what the process itself knows of its memory, in bytes, after a
// collection that has given free memory back; RSS is read from outside right then.
type memoryNow struct {
	Live   int64 `json:"live"` // heap
	Stacks int64 `json:"stacks"`
	Spare  int64 `json:"spare"` // of the heap's spans, beside what lives in them
	Rest   int64 `json:"rest"`  // of the runtime
	RSS    int64 `json:"-"`
}

// lines is a writer for several writers of whole lines.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// told is a process that is told what to do.
type told struct {
	name    string
	cmd     *exec.Cmd
	orders  io.WriteCloser
	answers *bufio.Reader
}

// startTold starts one of the hidden commands and reads what it says when it is up.
func startTold(ctx context.Context, errs io.Writer, into any, args ...string) (*told, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	p := &told{name: args[0], cmd: exec.CommandContext(ctx, path, append([]string{"bench"}, args...)...)}
	p.cmd.Stderr = errs
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { // the defaults are measured
		return strings.HasPrefix(kv, "FOOTFALL_") && !strings.HasPrefix(kv, "FOOTFALL_TEST_")
	})
	if p.orders, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	p.answers = bufio.NewReader(out)
	if err := p.answer(gatewaySpare, into); err != nil {
		return nil, errors.Join(err, p.end())
	}
	return p, nil
}

// ask gives an order and reads the answer.
func (p *told) ask(_ context.Context, order, into any) error {
	b, err := json.Marshal(order)
	if err != nil {
		return err
	}
	if _, err := p.orders.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("tell %s: %w", p.name, err)
	}
	patience := gatewaySpare
	if o, is := order.(interface{ lasts() time.Duration }); is {
		patience += o.lasts()
	}
	return p.answer(patience, into)
}

// reply is a line that a process prints.
type reply struct {
	Error string          `json:"error,omitempty"`
	Is    json.RawMessage `json:"is,omitempty"`
}

// answer reads a line. A process that says nothing for too long is killed.
func (p *told) answer(within time.Duration, into any) error {
	t := time.AfterFunc(within, func() { _ = p.cmd.Process.Kill() }) // it may have ended
	line, err := p.answers.ReadBytes('\n')
	t.Stop()
	if err != nil {
		return fmt.Errorf("%s says nothing: %w", p.name, err)
	}
	var r reply
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("what %s says: %w", p.name, err)
	}
	if r.Error != "" {
		return fmt.Errorf("%s: %s", p.name, r.Error)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(r.Is, into)
}

// end lets the process end, and waits for it.
func (p *told) end() error {
	_ = p.orders.Close()                                                  // it ends with it
	t := time.AfterFunc(time.Minute, func() { _ = p.cmd.Process.Kill() }) // it may have ended
	defer t.Stop()
	_, _ = io.Copy(io.Discard, p.answers) // until it has
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

// memory has the server collect its garbage and reads what it takes then.
func (p *told) memory(ctx context.Context) (m memoryNow, err error) {
	if err := p.ask(ctx, serverOrder{Do: serverMemory}, &m); err != nil {
		return m, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return m, fmt.Errorf("memory of %s: %w", p.name, err)
	}
	field := strings.Fields(string(text)) // pages: all, resident, …
	if len(field) < 2 {
		return m, fmt.Errorf("memory of %s: %q", p.name, text)
	}
	pages, err := strconv.ParseInt(field[1], 10, 64)
	if err != nil {
		return m, fmt.Errorf("memory of %s: %w", p.name, err)
	}
	m.RSS = pages * int64(os.Getpagesize())
	return m, nil
}

// cpu is the user and system time of the process, in steps of a hundredth of a
// second.
func (p *told) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("CPU time of %s: %w", p.name, err)
	}
	// After the name, which may hold spaces and brackets, utime and stime are the
	// 12th and 13th (proc_pid_stat(5)); USER_HZ is 100 on every Linux.
	field := strings.Fields(string(text)[strings.LastIndexByte(string(text), ')')+1:])
	if len(field) < 13 {
		return 0, fmt.Errorf("CPU time of %s: %q", p.name, text)
	}
	user, err := strconv.ParseInt(field[11], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("CPU time of %s: %w", p.name, err)
	}
	system, err := strconv.ParseInt(field[12], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("CPU time of %s: %w", p.name, err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond, nil
}

// machineTime is the CPU time of the whole machine since it was started, in jiffies.
type machineTime struct{ all, stolen int64 }

func machineNow() (machineTime, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return machineTime{}, fmt.Errorf("CPU time of the machine: %w", err)
	}
	return parseMachineTime(string(text))
}

// parseMachineTime reads the first line of /proc/stat: user, nice, system, idle, iowait,
// irq, softirq and steal, of which guests' time, behind them, is a part (proc_stat(5)).
func parseMachineTime(stat string) (m machineTime, err error) {
	line, _, _ := strings.Cut(stat, "\n")
	field := strings.Fields(line)
	if len(field) < 9 || field[0] != "cpu" {
		return m, fmt.Errorf("CPU time of the machine: %q", line)
	}
	for _, f := range field[1:9] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return m, fmt.Errorf("CPU time of the machine: %w", err)
		}
		m.all, m.stolen = m.all+n, n // steal is the last
	}
	return m, nil
}

// hostTook is the share of the machine's time since then that its host gave to others;
// 0 where there is no host.
func (m machineTime) hostTook() (float64, error) {
	now, err := machineNow()
	if err != nil {
		return 0, err
	}
	return float64(now.stolen-m.stolen) / float64(max(1, now.all-m.all)), nil
}

// enoughFiles raises the limit of open files, which children inherit.
func enoughFiles(n uint64) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	if l.Cur < n {
		l.Cur = min(max(n, 20_000), l.Max)
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
			return fmt.Errorf("raise the limit of open files: %w", err)
		}
	}
	if l.Cur < n {
		return fmt.Errorf("%d open files are needed and %d allowed: raise the hard limit (ulimit -Hn), or measure fewer connections", n, l.Max)
	}
	return nil
}

// obey answers orders until the standard input ends.
func obey(cmd *cobra.Command, up any, do func(order []byte) (any, error)) error {
	say := func(is any, err error) error {
		r := reply{}
		if err != nil {
			r.Error = err.Error()
		} else if r.Is, err = json.Marshal(is); err != nil {
			return err
		}
		return json.NewEncoder(cmd.OutOrStdout()).Encode(r)
	}
	if err := say(up, nil); err != nil {
		return err
	}
	in := bufio.NewScanner(cmd.InOrStdin())
	for in.Scan() {
		if err := say(do(in.Bytes())); err != nil {
			return err
		}
	}
	return in.Err()
}

// serverDoes is what both servers can be told.
func serverDoes(order []byte) (any, error) {
	var o serverOrder
	if err := json.Unmarshal(order, &o); err != nil {
		return nil, err
	}
	switch o.Do {
	case serverMemory:
		runtime.GC()
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return memoryNow{
			Live: int64(m.HeapAlloc), Stacks: int64(m.StackInuse), Spare: int64(m.HeapSys - m.HeapReleased - m.HeapAlloc),
			Rest: int64(m.Sys - m.HeapSys - m.StackSys),
		}, nil
	case serverHeap:
		return struct{}{}, keepProfile("heap", o.Dir, "heap")
	case serverProfile:
		// What was taken before, the arrival of the phones above all, is to be left out:
		// go tool pprof -base allocs-before.pprof allocs.pprof. A profile is as of the last
		// collection.
		runtime.GC()
		if err := keepProfile("allocs", o.Dir, "allocs-before"); err != nil {
			return nil, err
		}
		f, err := os.Create(filepath.Join(o.Dir, "cpu.pprof"))
		if err != nil {
			return nil, err
		}
		return struct{}{}, pprof.StartCPUProfile(f) // the file is closed with the process
	case serverProfiled:
		pprof.StopCPUProfile()
		runtime.GC()
		return struct{}{}, keepProfile("allocs", o.Dir, "allocs")
	case serverTrace:
		f, err := os.Create(o.File)
		if err != nil {
			return nil, err
		}
		return struct{}{}, trace.Start(f) // the file is closed with the process
	case serverTraced:
		trace.Stop()
		return struct{}{}, nil
	}
	return nil, fmt.Errorf("%q is not known", o.Do)
}

// keepProfile writes a profile of package runtime/pprof to a file of the folder.
func keepProfile(profile, dir, file string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return writeProfile(profile, filepath.Join(dir, file+".pprof"))
}

// benchGatewayServer is the hidden command that is the server under test.
func benchGatewayServer() *cobra.Command {
	var dir string
	var fences int
	cmd := &cobra.Command{Use: "gateway-server", Short: "The server of bench gateway", Args: noArgs, Hidden: true}
	cmd.Flags().StringVar(&dir, "dir", "", "its data folder")
	cmd.Flags().IntVar(&fences, "import", 0, "make an app and so many geofences, and end")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s := benchServer{
			dir:      dir,
			settings: func(c *config.Config) { c.Limits.RegistrationsPerS = 1_000_000 }, // all phones have one address
			up:       func(a *app.App, _ *config.Config) any { return gatewayAt{a.URL()} },
		}
		if !cmd.Flags().Changed("import") {
			return s.serve(cmd)
		}
		a, conf, err := s.open(cmd.Context(), cmd)
		if err != nil {
			return err
		}
		key, err := importFences(cmd.Context(), a, conf.Workspace, fences)
		if err = errors.Join(err, a.Close()); err != nil {
			return err
		}
		return obey(cmd, gatewayMade{key}, serverDoes)
	}
	return cmd
}

// importFences makes a place of each fence, and an app whose key it returns.
func importFences(ctx context.Context, a *app.App, workspace string, n int) (key string, err error) {
	app := &catalog.App{ID: "bench", Workspace: workspace, Name: "Bench", Platform: "android", Key: catalog.NewAppKey()}
	if err := a.Catalog().PutApp(ctx, benchActor, app, 0); err != nil {
		return "", err
	}
	places := make([]*engage.Place, n)
	for i, f := range gatewaybench.Fences(n) {
		places[i] = placeOf(workspace, f.ID, f.Circle)
	}
	err = importPlaces(ctx, a, workspace, places)
	a.Catalog().Announce()
	return app.Key, err
}

// benchActor is who makes what a measurement needs.
const benchActor = "footfall-lab"

// importPlaces makes places, many at a time.
func importPlaces(ctx context.Context, a *app.App, workspace string, all []*engage.Place) error {
	for some := range slices.Chunk(all, 1000) {
		edits := make([]catalog.PlaceEdit, len(some))
		for i, p := range some {
			edits[i].Place = p
		}
		outcomes, err := a.Catalog().PutPlaces(ctx, benchActor, workspace, edits)
		if err != nil {
			return err
		}
		for _, o := range outcomes {
			if o.Err != nil {
				return o.Err
			}
		}
	}
	return nil
}

// placeOf is a place with one geofence of the same id.
func placeOf(workspace, id string, c geo.Circle, tags ...string) *engage.Place {
	return &engage.Place{
		ID: id, Workspace: workspace, Name: "Shop " + id, TimeZone: "UTC", Location: c.Around, Tags: tags,
		Geofences: []engage.Geofence{{ID: id, Ring: engage.Inside, Shape: c, DwellS: 120}},
	}
}

// benchBareServer is the hidden command that is the bare server.
func benchBareServer() *cobra.Command {
	cmd := &cobra.Command{Use: "gateway-bare", Short: "The bare server of bench gateway", Args: noArgs, Hidden: true}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := context.WithCancel(cmd.Context())
		defer cancel()
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		served := make(chan error, 1)
		go func() { served <- gatewaybench.Bare(ctx, l) }()
		err = obey(cmd, gatewayAt{"http://" + l.Addr().String()}, serverDoes)
		cancel()
		return errors.Join(err, <-served)
	}
	return cmd
}

// loadMemory is what the load may take before it collects its garbage in a run.
const loadMemory = 2 << 30

// benchLoad is the hidden command that is the load.
func benchLoad() *cobra.Command {
	cmd := &cobra.Command{Use: "gateway-load", Short: "The phones of bench gateway", Args: noArgs, Hidden: true}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		// A collection of the generator's garbage takes the processors from the server,
		// idle ones too, for tenths of a second: it is done between the runs.
		debug.SetGCPercent(-1)
		debug.SetMemoryLimit(loadMemory)
		ctx := cmd.Context()
		var load *gatewaybench.Load
		defer func() {
			if load != nil {
				load.Close()
			}
		}()
		return obey(cmd, struct{}{}, func(order []byte) (any, error) {
			var o loadOrder
			if err := json.Unmarshal(order, &o); err != nil {
				return nil, err
			}
			switch {
			case o.Do == loadConnect:
				var err error
				load, err = gatewaybench.Connect(ctx, o.Connect)
				return struct{}{}, err
			case load == nil:
				return nil, errors.New("nobody is connected")
			case o.Do == loadKeep:
				load.Keep(o.Phones)
				return struct{}{}, nil
			case o.Do == loadTelemetry:
				runtime.GC()
				return load.Telemetry(ctx, o.Rate, o.For)
			case o.Do == loadSaturate:
				runtime.GC()
				return load.Saturate(ctx, o.For)
			}
			return nil, fmt.Errorf("%q is not known", o.Do)
		})
	}
	return cmd
}
