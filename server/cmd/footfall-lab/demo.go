package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/footfall-engage/footfall/channels/apns/apnssim"
	"github.com/footfall-engage/footfall/channels/fcm/fcmsim"
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/lab"
)

// Bounds of the demo's flags.
const (
	minShops, maxShops   = 1, 500
	minPeople, maxPeople = 1, 20_000
	maxSpeed             = 200
)

// demoOptions are the demo's flags.
type demoOptions struct {
	Port     int
	Seed     uint64
	People   int
	Shops    int
	Speed    float64 // simulated seconds of walking in a real one
	Data     string  // folder; empty means a temporary one
	Duration time.Duration
	JSON     bool
	Sabotage sabotage
	EventLog string // URL of NATS servers; empty means as the environment says
	NATS     bool   // run one of our own
	Kill     killing
	Record   string // file of the tape; empty means none
}

func (c *cli) demo() *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use: "demo", Short: "Run the server with a synthetic town", Args: noArgs,
		Long: `Run the real server in this process, with its embedded log and store, simulated
FCM, APNs and weather, a receiver of webhooks that verifies their signatures, and a
synthetic town whose people carry phones that speak
the real protocol. Places, apps and two campaigns are created through the HTTP
API: "rainy-day" (an umbrella offer for people who like fashion, in or within
300 m of a shop, 10 % held out) and "welcome-back". A day of their caps lasts two
minutes here.

Without --duration it goes on until it is interrupted; the live page's address is
printed on standard error. With --duration people stop walking after that time,
everything under way is waited for, and an audit compares what the phones sent
and showed with what the simulators and the store saw. --json prints its result
as one JSON object on standard output.

The same seed gives the same town, people and walks. --speed scales the walking,
not the server's clock. --sabotage breaks things on purpose, to show that the
audit finds them: lose=5,double=3 takes 5 acknowledged items out of the log and
has phones show 3 messages twice. People walk on, for up to a minute more, until
that much has happened.

The event log is embedded unless --event-log or FOOTFALL_EVENT_LOG_URL names NATS
servers; --nats starts one. Documents are in SQLite unless FOOTFALL_STORE_MONGODB_URI
names a MongoDB. All FOOTFALL_EVENT_LOG_* and FOOTFALL_STORE_* and
FOOTFALL_DURABILITY count, as for the server; without --data the run gets a prefix and a database of its own there and
removes them at its end. --kill nats,server kills the NATS process of --nats and
the server, which is a process of its own then, with kill -9 in turn until people
stop; the audit is the same.

--record keeps the run as a tape, for 'footfall-lab replay': every record of the
partitions' streams, the configuration, and what came of them.

Exit codes: 0 all is well, 1 something was lost or doubled or a visit cannot be,
2 wrong usage.`,
		Example: `  footfall-lab demo
  footfall-lab demo --people 500 --speed 20 --seed 7
  footfall-lab demo --duration 30s --json --port 0
  footfall-lab demo --duration 30s --json --port 0 --sabotage lose=5,double=3
  footfall-lab demo --duration 30s --json --port 0 --nats --kill nats,server
  footfall-lab demo --duration 30s --port 0 --record demo.tape && footfall-lab replay demo.tape`,
	}
	f := cmd.Flags()
	f.IntVar(&o.Port, "port", 8080, "port of the server on the loopback; 0 lets the system choose")
	f.Uint64Var(&o.Seed, "seed", 1, "of the town: the same seed gives the same town")
	f.IntVar(&o.People, "people", lab.DefaultPeople, fmt.Sprintf("people in the town, %d to %d", minPeople, maxPeople))
	f.IntVar(&o.Shops, "shops", lab.DefaultShops, fmt.Sprintf("shops in the town, %d to %d", minShops, maxShops))
	f.Float64Var(&o.Speed, "speed", defaultSpeed, fmt.Sprintf("how many times faster than in life people walk, up to %d", maxSpeed))
	f.StringVar(&o.Data, "data", "", "folder of the server's log and store, kept afterwards (default: a temporary one)")
	f.DurationVar(&o.Duration, "duration", 0, "how long people walk, such as 30s, before the audit (default: until interrupted, without audit)")
	f.BoolVar(&o.JSON, "json", false, "print the result as one JSON object on standard output; needs --duration")
	f.Var(&o.Sabotage, "sabotage", "what to break on purpose; needs --duration")
	f.StringVar(&o.EventLog, "event-log", "", "NATS servers for the event log, such as nats://127.0.0.1:4222 (default: FOOTFALL_EVENT_LOG_URL, else embedded)")
	f.BoolVar(&o.NATS, "nats", false, "run a NATS server for the event log, as a process of its own")
	f.Var(&o.Kill, "kill", "whom to kill -9 in turn; needs --duration, for nats also --nats")
	f.StringVar(&o.Record, "record", "", "file for the tape of the run")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.validate(); err != nil {
			return usageError{err}
		}
		d := &demo{o: o, env: c.env, progress: c.errs, log: warnings(c.errs)}
		r, err := d.run(cmd.Context())
		if err != nil || r == nil {
			return err
		}
		write := r.writeText
		if o.JSON {
			write = r.writeJSON
		}
		if err := write(c.out); err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
		if r.Lost > 0 || r.Duplicates > 0 {
			return fmt.Errorf("the audit found %d lost and %d duplicates", r.Lost, r.Duplicates)
		}
		if r.Audit.VisitFaults > 0 {
			return fmt.Errorf("the audit found %d visits that cannot be", r.Audit.VisitFaults)
		}
		return nil
	}
	return cmd
}

// defaultSpeed has somebody in the town enter a shop every second or so.
const defaultSpeed = 15

func (o *demoOptions) validate() error {
	switch {
	case o.Port < 0 || o.Port > 65535:
		return fmt.Errorf("--port must be 0 to 65535, is %d", o.Port)
	case o.People < minPeople || o.People > maxPeople:
		return fmt.Errorf("--people must be %d to %d, is %d", minPeople, maxPeople, o.People)
	case o.Shops < minShops || o.Shops > maxShops:
		return fmt.Errorf("--shops must be %d to %d, is %d", minShops, maxShops, o.Shops)
	case !(o.Speed > 0 && o.Speed <= maxSpeed):
		return fmt.Errorf("--speed must be above 0, at most %d, is %v", maxSpeed, o.Speed)
	case o.Duration < 0:
		return fmt.Errorf("--duration must not be negative, is %v", o.Duration)
	case o.JSON && o.Duration == 0:
		return errors.New("--json needs --duration: without one there is no end to report")
	case o.Sabotage != (sabotage{}) && o.Duration == 0:
		return errors.New("--sabotage needs --duration: without one nothing is audited")
	case len(o.Kill) > 0 && o.Duration == 0:
		return errors.New("--kill needs --duration: without one nothing is audited")
	case o.Kill.has(killNATS) && !o.NATS:
		return errors.New("--kill nats needs --nats: only a NATS server of our own can be killed")
	case o.Kill.has(killServer) && o.Sabotage.Lose > 0:
		return errors.New("--kill server and --sabotage lose do not go together: items are taken out within this process")
	case o.NATS && o.EventLog != "":
		return errors.New("--nats and --event-log do not go together")
	}
	return nil
}

// warnings is a logger of what went wrong.
func warnings(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// demo is one run.
type demo struct {
	o        demoOptions
	env      func(string) string
	progress io.Writer
	log      *slog.Logger

	town      *lab.Town
	world     *world
	conf      config.Config
	options   app.Options
	thief     *thief
	child     *process // the server while people walk, if it is to be killed; else nil
	killer    *killer  // nil when nobody is to be killed
	url       string   // of the server
	key       engage.Secret
	server    *app.App     // in this process; nil while child is the server
	served    chan error   // gets what ended server
	stop      func() error // ends server
	workspace string
	api       *marketer
	crowd     *lab.Crowd
}

// How long the parts of the end may take.
const (
	startWithin = 60 * time.Second
	drainWithin = 45 * time.Second
	// sabotageWithin is how much longer people walk at most for the sabotage to come
	// about: how many items and messages there are by the end of --duration depends on
	// how busy the machine is.
	sabotageWithin = time.Minute
	sabotageEvery  = 200 * time.Millisecond // that is looked at
)

// run is the whole demo. The report is nil when nothing was to be audited.
func (d *demo) run(ctx context.Context) (_ *report, err error) {
	where, err := newPlace(d.env, d.o.Data, d.o.EventLog, "demo")
	if err != nil {
		return nil, err
	}
	// Whatever is started below ends before this does.
	defer func() { err = errors.Join(err, where.close()) }()
	said, err := os.Create(filepath.Join(where.dir, "processes.log"))
	if err != nil {
		return nil, fmt.Errorf("make a log: %w", err)
	}
	defer func() {
		if err != nil {
			d.quote(said.Name())
		}
		err = errors.Join(err, said.Close())
	}()
	if d.town, err = lab.NewTown(lab.TownOptions{
		Seed: d.o.Seed, People: d.o.People, Shops: d.o.Shops, TimeZone: "Europe/Amsterdam",
	}); err != nil {
		return nil, err
	}
	if d.world, err = newWorld(where.dir, d.o.Seed, d.town.Center, 0); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.world.close()) }()

	var victims []*process
	if d.o.NATS {
		nats, url, err := startNATS(ctx, filepath.Join(where.dir, "nats"), where.conf.Durability, said)
		if err != nil {
			return nil, err
		}
		defer nats.kill()
		where.conf.EventLog.URL, where.ownNATS = url, true
		if d.o.Kill.has(killNATS) {
			victims = append(victims, nats)
		}
	}
	d.conf = where.conf
	d.conf.Limits.RegistrationsPerS = max(d.conf.Limits.RegistrationsPerS, d.o.People) // all from one address
	d.conf.Listen = net.JoinHostPort("127.0.0.1", strconv.Itoa(d.o.Port))
	d.world.configure(&d.conf)
	d.workspace = d.conf.Workspace
	d.stop = func() error { return nil }
	defer func() { err = errors.Join(err, d.stop()) }()
	d.options.Logger, d.options.Version = d.log, "demo"
	if d.o.Sabotage.Lose > 0 {
		d.thief = newThief(d.o.Sabotage.Lose)
		d.options.FaultyLog = d.thief.take
	}
	if d.o.Record != "" {
		tape, err := os.OpenFile(d.o.Record, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return nil, fmt.Errorf("record: %w", err)
		}
		d.options.Tape = tape
		d.stop = tape.Close // once the server, which is put before it, has ended
	}
	if d.o.Kill.has(killServer) {
		if err := d.startChild(ctx, said); err != nil {
			return nil, err
		}
		defer d.child.kill()
		victims = append(victims, d.child)
	} else if up, err := d.serve(ctx); err != nil || !up {
		return nil, err
	}
	if len(victims) > 0 {
		slices.SortStableFunc(victims, func(a, b *process) int {
			return slices.Index(d.o.Kill, a.name) - slices.Index(d.o.Kill, b.name)
		})
		d.killer = newKiller(d.o.Seed, victims...)
	}
	prefix, keys, proof, err := d.setUp(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, nil
		}
		return nil, err
	}
	r, err := d.live(ctx, prefix, keys, proof)
	if r != nil {
		r.On = where.names()
	}
	return r, err
}

// setUp does what people at the retailer do before phones come: apps, places,
// campaigns.
func (d *demo) setUp(ctx context.Context) (prefix string, keys map[sdkpb.Platform]string, proof func(sdkpb.Platform, string) string, err error) {
	d.api = newMarketer(d.url, d.key.Reveal())
	android, ios, err := d.api.apps(ctx, d.world)
	if err != nil {
		return "", nil, nil, err
	}
	if err := d.api.places(ctx, d.town, d.o.Speed); err != nil {
		return "", nil, nil, err
	}
	if err := d.api.campaigns(ctx, shortDay); err != nil {
		return "", nil, nil, err
	}
	if err := d.api.webhook(ctx, d.world.receiver); err != nil {
		return "", nil, nil, err
	}
	_, port, err := net.SplitHostPort(strings.TrimPrefix(d.url, "http://"))
	if err != nil {
		return "", nil, nil, fmt.Errorf("address of the server: %w", err)
	}
	fmt.Fprintf(d.progress, "live page: http://localhost:%s/#key=%s\n", port, d.key.Reveal())
	keys = map[sdkpb.Platform]string{
		sdkpb.Platform_PLATFORM_ANDROID: android.Key, sdkpb.Platform_PLATFORM_IOS: ios.Key,
	}
	proof = func(p sdkpb.Platform, user string) string {
		if p == sdkpb.Platform_PLATFORM_IOS {
			return ios.proof(user)
		}
		return android.proof(user)
	}
	// Another run on the same folder is other installs of the same people.
	return "demo" + strings.TrimPrefix(android.ID, "android"), keys, proof, nil
}

// dayS is how long a day of the campaigns' caps lasts in the demo, in seconds: who
// looks on for some minutes sees people capped, and offered something again.
const dayS = 120

// shortDay shortens the window of a campaign's cap.
func shortDay(_ string, campaign map[string]any) {
	if limits, ok := campaign["limits"].(map[string]any); ok && limits["cap_window_s"] != nil {
		limits["cap_window_s"] = dayS
	}
}

// target is a person's push token. It says by its name what the simulator makes of
// it: those of the careless are dead, a few come in an outage that passes.
func (w *world) target(prefix string, p *lab.Person) *sdkpb.PushTarget {
	kind, name := w.ordinary, prefix+"-"+p.ID
	switch {
	case p.DeadToken:
		kind = "unregistered"
	case strings.HasSuffix(p.ID, "7"):
		kind = "outage-1"
	}
	if p.Platform == sdkpb.Platform_PLATFORM_IOS {
		return &sdkpb.PushTarget{Provider: sdkpb.PushTarget_PROVIDER_APNS, Token: apnssim.Token(kind, name), Topic: bundleID}
	}
	return &sdkpb.PushTarget{Provider: sdkpb.PushTarget_PROVIDER_FCM, Token: fcmsim.Token(kind, name)}
}

// people makes a crowd whose pushes come from the world's simulators.
func people(t *lab.Town, w *world, o lab.CrowdOptions) (*lab.Crowd, error) {
	o.PushToken = func(p *lab.Person) *sdkpb.PushTarget { return w.target(o.InstallPrefix, p) }
	crowd, err := lab.NewCrowd(t, o)
	if err != nil {
		return nil, err
	}
	phones := map[string]*lab.Phone{}
	for _, p := range crowd.Phones() {
		token := w.target(o.InstallPrefix, p.Person()).GetToken()
		phones[token] = p
	}
	w.deliverTo(func(token, message, via string) {
		if p := phones[token]; p != nil {
			p.Push(message, via)
		}
	})
	return crowd, nil
}

// live is the town's day: people walk, then the audit.
func (d *demo) live(ctx context.Context, prefix string, keys map[sdkpb.Platform]string, proof func(sdkpb.Platform, string) string) (_ *report, err error) {
	o := lab.CrowdOptions{
		Endpoint: d.url, AppKeys: keys, InstallPrefix: prefix, IdentityProof: proof,
		Speed: d.o.Speed, Double: d.o.Sabotage.Double, Logger: d.log,
	}
	if d.killer != nil {
		o.BackoffMin, o.BackoffMax = 50*time.Millisecond, 500*time.Millisecond // the dead come back soon
	}
	if d.crowd, err = people(d.town, d.world, o); err != nil {
		return nil, err
	}
	defer d.world.deliverTo(nil)
	crowdCtx, stopCrowd := context.WithCancel(context.WithoutCancel(ctx))
	walked := make(chan error, 1)
	go func() { walked <- d.crowd.Run(crowdCtx) }()
	defer func() {
		stopCrowd()
		err = errors.Join(err, <-walked)
	}()
	began := time.Now()
	if ended, err := d.day(ctx, began); err != nil || !ended {
		return nil, err
	}
	ran := time.Since(began)
	if d.child != nil {
		// The last server on the folder and at the address is this process, so that it
		// can be asked.
		d.killer.kill(d.child)
		if up, err := d.serve(ctx); err != nil || !up {
			return nil, err
		}
	}
	bounded, cancel := context.WithTimeout(ctx, drainWithin)
	defer cancel()
	if err := d.drain(bounded, openFor); err != nil {
		return nil, fmt.Errorf("drain: %w", err)
	}
	r, err := d.audit(bounded, prefix)
	if err != nil {
		return nil, err
	}
	r.Town = townSize{d.o.Seed, d.o.People, len(d.town.Shops), d.o.Speed, float64(ran.Round(time.Millisecond)) / float64(time.Second)}
	if d.killer != nil {
		r.Kills = d.killer.counts()
	}
	if d.o.Sabotage != (sabotage{}) {
		done := d.sabotaged()
		if r.Sabotage = &done; done != d.wanted() {
			fmt.Fprintf(d.progress, "sabotage came to lose=%d,double=%d: for more let it run longer or with more people\n", r.Sabotage.Lost, r.Sabotage.Doubled)
		}
	}
	return r, nil
}

// sabotaged is what was broken on purpose so far.
func (d *demo) sabotaged() sabotaged {
	s := sabotaged{Doubled: d.crowd.Report().Doubled}
	if d.thief != nil {
		s.Lost = d.thief.taken()
	}
	return s
}

// wanted is what is to be broken on purpose.
func (d *demo) wanted() sabotaged {
	return sabotaged{Lost: d.o.Sabotage.Lose, Doubled: d.o.Sabotage.Double}
}

// day lasts until people have walked long enough and what is to be broken is, and
// meanwhile kills whom it is to kill; false when ctx ends first.
func (d *demo) day(ctx context.Context, began time.Time) (_ bool, err error) {
	end := time.NewTimer(cmp.Or(d.o.Duration, math.MaxInt64))
	defer end.Stop()
	var killed chan error // gets what ended the killer
	if d.killer != nil {
		killCtx, cease := context.WithCancel(ctx)
		killed = make(chan error, 1)
		go func() { killed <- d.killer.run(killCtx) }()
		defer func() {
			cease()
			err = errors.Join(err, <-killed)
		}()
	}
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.line(time.Since(began))
		case err := <-d.served:
			d.served <- nil
			return false, fmt.Errorf("the server stopped: %w", err)
		case err := <-killed:
			killed <- nil
			return false, err
		case <-ctx.Done():
			return false, nil
		case <-end.C:
			if d.sabotaged() == d.wanted() || time.Since(began) > d.o.Duration+sabotageWithin {
				return true, nil
			}
			end.Reset(sabotageEvery)
		}
	}
}

// line says how it goes.
func (d *demo) line(after time.Duration) {
	s := d.crowd.Snapshot()
	shown := 0
	for _, n := range s.Totals.Shown {
		shown += n
	}
	fmt.Fprintf(d.progress, "%4.0f s: %d phones connected, %d fixes, %d region events, %d pushes, %d messages seen\n",
		after.Seconds(), s.Connected, s.Totals.Acked[sdkproto.KindLocation], s.Totals.Acked[sdkproto.KindRegionEvent], d.world.count.Load(), shown)
}

// openFor is how long drain waits for offers, attempts and retries to end. Longer
// than that takes only what a phone was granted and did not confirm, which ends in
// its inbox within a minute and is pending, with a due time, until then.
const openFor = 10 * time.Second

// drain stops the walking and waits until nothing is under way any more: phones
// have said everything, the server has applied it, every offer is answered, every
// push is with its phone, and the receipts that all this made have arrived. What
// waits for a person, in an inbox, goes on waiting.
func (d *demo) drain(ctx context.Context, patience time.Duration) error {
	until := time.Now().Add(patience)
	for quiet := 0; quiet < 2; {
		if err := d.crowd.Drain(ctx); err != nil {
			return err
		}
		if err := d.server.Settle(ctx); err != nil {
			return fmt.Errorf("the server does not settle: %w", err)
		}
		if err := d.server.Flush(ctx); err != nil {
			return fmt.Errorf("save the states: %w", err)
		}
		open := 0
		err := d.server.Decisions(ctx, d.workspace, func(dec engage.Decision) error {
			if dec.State == engage.Pending && dec.Channel != string(engage.Inbox) {
				open++
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read decisions: %w", err)
		}
		quiet++
		if !d.world.idle() || open > 0 && time.Now().Before(until) {
			quiet = 0
		}
		pause := time.NewTimer(100 * time.Millisecond)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return fmt.Errorf("%d decisions are open: %w", open, ctx.Err())
		}
	}
	return nil
}

// audit gathers the evidence and judges it.
func (d *demo) audit(ctx context.Context, prefix string) (*report, error) {
	r := &report{Rejected: map[string]int{}}
	said := d.crowd.Report()
	r.Fixes, r.RegionEvents = said.Totals.Acked[sdkproto.KindLocation], said.Totals.Acked[sdkproto.KindRegionEvent]
	maps.Copy(r.Rejected, said.Totals.RefusedBy)
	e := evidence{Phones: testify(&said), Pushes: d.world.seen(), At: time.Now()}
	if err := ask(ctx, d.server, d.workspace, prefix, &e); err != nil {
		return nil, err
	}
	err := d.server.Timeline(ctx, d.workspace, func(t engage.TimelineEntry) error {
		c, is := crossingOf(&t)
		if is == "" || !strings.HasPrefix(t.Install, prefix+"-") {
			return nil
		}
		r.Transitions++
		if is != engage.Pass { // which is of no visit
			e.Crossings = append(e.Crossings, c)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read timelines: %w", err)
	}
	if r.Audit.Quarantined, err = d.api.quarantined(ctx); err != nil {
		return nil, err
	}
	if r.Webhooks, err = d.hearOut(ctx, openFor); err != nil {
		return nil, err
	}
	r.tally(e.Decisions)
	r.judge(audit(e), e)
	r.judgeVisits(e)
	return r, nil
}

// testify puts down what the phones say.
func testify(said *lab.Report) []witness {
	out := make([]witness, 0, len(said.Phones))
	for i := range said.Phones {
		p := &said.Phones[i]
		w := witness{Install: p.Install, Shown: make(map[string]sight, len(p.Shown))}
		for seq := range p.Acked() {
			w.Acked = append(w.Acked, seq)
		}
		for _, s := range p.Shown {
			w.Shown[s.MessageID] = sight{Times: s.Times, At: s.At, InApp: s.Via == "in_app"}
		}
		for _, ev := range p.Evidence {
			w.Written = append(w.Written, written{At: ev.Written, Post: ev.Post})
		}
		slices.SortStableFunc(w.Written, func(a, b written) int { return a.At.Compare(b.At) })
		out = append(out, w)
	}
	return out
}

// ask adds what the server's store holds of the phones of a run. Flush first.
func ask(ctx context.Context, server *app.App, workspace, prefix string, e *evidence) error {
	for i := range e.Phones {
		w := &e.Phones[i]
		var err error
		if w.Accepted, err = server.Accepted(ctx, workspace, w.Install); err != nil {
			return fmt.Errorf("read install %s: %w", w.Install, err)
		}
	}
	err := server.Decisions(ctx, workspace, func(d engage.Decision) error {
		if strings.HasPrefix(d.Trigger.Install, prefix+"-") {
			e.Decisions = append(e.Decisions, d)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read decisions: %w", err)
	}
	err = server.Visits(ctx, workspace, func(v engage.Visit) error {
		if strings.HasPrefix(v.Install, prefix+"-") {
			e.Visits = append(e.Visits, v)
		} else {
			e.Earlier = append(e.Earlier, v)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read visits: %w", err)
	}
	return nil
}
