package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/settlement"
)

func (a *app) benchCommand() *cobra.Command {
	var o benchOptions
	var nodes int
	var out, html, ledgerName string
	var force bool
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure appends or reads: throughput and latency",
		Long: `Append random entries from several clients and measure. The latency is that of a
request (a batch), from the call to its acknowledgement, verification included.
With --op it is reads: get (an entry, linearizable), proof (a receipt of any
node, verified), head (linearizable), or range (--batch entries of any node).
They read from --fill random entries, or from what the ledger of --ledger has.

Each client sends its next request when the last one is answered. With --rate n
requests are due each second whether answers come or not, and a latency begins
when the request was due: what a slow answer holds up counts as slow.

The ledger is that of a cluster of three nodes, or of --local N, which is made
for the measurement and deleted afterwards. With --ledgers N that cluster has N
ledgers: the clients are spread over them evenly, and the result is the total.
The random entries go into the ledger of the profile only if --ledger spells out
its origin: they stay in that ledger for ever.`,
		Example: `  cairn bench --clients 16 --batch 500 --size 256
  cairn bench --local 5 --clients 1 --batch 1 --duration 10s
  cairn bench --ledgers 100 --clients 200
  cairn bench --op proof --clients 64
  cairn bench --rate 2000 --clients 256 --html bench.html
  cairn bench --ledger example.org/test --count 1000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := o.validate(); err != nil {
				return err
			}
			if cmd.Flags().Changed("ledger") {
				for _, other := range []string{"local", "ledgers"} {
					if cmd.Flags().Changed(other) {
						return usagef("--%s and --ledger exclude each other", other)
					}
				}
				if err := a.mayFill(ledgerName); err != nil {
					return err
				}
				nodes = 0
			}
			var file *target
			if out != "" {
				if file, err = a.openTarget("--out", out, force); err != nil {
					return err
				}
			}
			var page *target
			if html != "" {
				if page, err = a.openTarget("--html", html, force); err != nil {
					return err
				}
			}
			var profiles []client.Profile // of the ledgers
			if nodes == 0 {
				p, err := a.profile()
				if err != nil {
					return err
				}
				profiles = []client.Profile{p}
			} else {
				t, err := newThrowaway("", nodes)
				if err != nil {
					return err
				}
				defer func() {
					if closeErr := t.close(false); err == nil {
						err = closeErr
					}
				}()
				ctx, cancel := context.WithTimeout(cmd.Context(), a.timeout)
				defer cancel()
				if err := t.Start(ctx); err != nil {
					return err
				}
				if profiles, err = t.ledgers(ctx, o.Ledgers, o.Program); err != nil {
					return err
				}
			}
			if o.Program == settlement.ProgramName {
				if err := a.prepareBench(cmd.Context(), profiles, o); err != nil {
					return err
				}
			}
			if o.reads() && nodes > 0 {
				if err := a.fillBench(cmd.Context(), profiles, o); err != nil {
					return err
				}
			}
			r, err := a.bench(cmd.Context(), profiles, o)
			if err != nil {
				return err
			}
			r.LocalNodes = nodes
			a.did(effect{text: "the measurement is over", next: "measure again"})
			if err := a.printBench(r, file); err != nil {
				return err
			}
			if page != nil {
				raw, err := benchPage(r)
				if err != nil {
					return err
				}
				if err := page.write(raw); err != nil {
					return err
				}
			}
			if r.Errors > 0 {
				return failf(exitFailed, "", "%s failed; the first: %s", plural(r.Errors, "request", "requests"), r.FirstError)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Op, "op", opAppend, "what is measured: append, get, proof, head or range")
	numberFlag(f, &o.Fill, "fill", "", 10_000, 1, 100_000_000, "with --op: a throw-away ledger has `n` entries that are read")
	numberFlag(f, &o.Rate, "rate", "", 0, 0, 10_000_000, "`n` requests of all clients are due each second (0: each as soon as it can)")
	numberFlag(f, &o.Clients, "clients", "", 16, 1, 10000, "`n` clients append or read at the same time")
	numberFlag(f, &o.Ledgers, "ledgers", "", 1, 1, 1000, "they share `n` ledgers of the throw-away cluster")
	numberFlag(f, &o.Connections, "connections", "", 0, 0, 10000, "they share `n` connections (0: one each, at most 8, or one a ledger)")
	numberFlag(f, &o.Batch, "batch", "", 1, 1, 8192, "`n` entries a request")
	numberFlag(f, &o.Size, "size", "", 256, 0, ledger.MaxLeafSize-200, "`bytes` an entry")
	f.StringVar(&o.Program, "program", ledger.Log{}.Name(), "`program` of the ledgers: log, or settlement: the entries are transfers then")
	numberFlag(f, &o.Accounts, "accounts", "", 10_000, 2, 10_000_000, "with --program settlement: between `n` accounts, at random")
	numberFlag(f, &o.Pack, "pack", "", 1, 1, 128, "with --program settlement: `n` transfers an entry")
	f.BoolVar(&o.Messages, "messages", false, "with --program settlement: as pacs.008 messages, --pack transfers each, until pacs.002 answers")
	f.StringVar(&o.Mode, "mode", "unary", "unary, or stream (pipelined)")
	numberFlag(f, &o.InFlight, "in-flight", "", 16, 1, 64, "with --mode stream: `n` requests of each client on their way")
	f.BoolVar(&o.Sealed, "sealed", false, "wait for the cosigned checkpoint and receipts")
	f.BoolVar(&o.Keys, "keys", false, "give every entry an idempotency key")
	f.BoolVar(&o.NoVerify, "no-verify", false, "with --sealed: do not verify receipts in the clients")
	numberFlag(f, &o.Duration, "duration", "", 10*time.Second, 0, maxWait, "measure for this long")
	numberFlag(f, &o.Warmup, "warmup", "", 2*time.Second, 0, maxWait, "append for this long before")
	numberFlag(f, &o.Count, "count", "", 0, 0, math.MaxInt64, "stop after `n` entries (0: after --duration)")
	numberFlag(f, &nodes, "local", "", defaultNodes, 1, local.MaxNodes, "measure a throw-away cluster of `n` nodes on this machine")
	f.StringVar(&ledgerName, "ledger", "", "fill the profile's ledger instead, whose `origin` this is: the entries stay for ever")
	f.StringVarP(&out, "out", "o", "", "also write the result to this new `file`, as JSON; - is standard output, and then it is all that is written there")
	f.StringVar(&html, "html", "", "also write a page with plots to this new `file`, which needs nothing else")
	f.BoolVar(&force, "force", false, "with --out and --html: replace the file if it exists")
	return cmd
}

// mayFill makes sure that whoever wants random entries in the profile's ledger has named that
// ledger.
func (a *app) mayFill(origin string) error {
	p, err := a.profile()
	if err != nil {
		return err
	}
	if origin != p.Origin {
		return failf(exitUsage, "without --ledger a throw-away cluster is measured", "--ledger names %s, the profile's ledger is %s: nothing was appended",
			printable(origin), printable(p.Origin))
	}
	return nil
}

// benchOptions are part of the result, so that a number never stands alone.
type benchOptions struct {
	Op          string        `json:"op"`
	Fill        int           `json:"fill,omitempty"`
	Rate        int           `json:"rate,omitempty"` // requests a second; 0 for a closed loop
	Program     string        `json:"program"`
	Accounts    int           `json:"accounts,omitempty"`
	Pack        int           `json:"pack,omitempty"`
	Messages    bool          `json:"messages,omitempty"`
	Clients     int           `json:"clients"`
	Ledgers     int           `json:"ledgers"`
	Connections int           `json:"connections"`
	Batch       int           `json:"batch"`
	Size        int           `json:"entry_bytes"`
	Mode        string        `json:"mode"`
	InFlight    int           `json:"in_flight,omitempty"`
	Sealed      bool          `json:"sealed"`
	Keys        bool          `json:"keys"`
	NoVerify    bool          `json:"no_verify,omitempty"`
	Duration    time.Duration `json:"duration_ns"`
	Warmup      time.Duration `json:"warmup_ns"`
	Count       int64         `json:"count,omitempty"`
}

func (o *benchOptions) validate() error {
	switch {
	case o.Batch*(o.Size+100) > ledger.MaxBatchSize:
		return usagef("--batch %d of --size %d does not fit into one request (1 MiB)", o.Batch, o.Size)
	case o.Mode != "unary" && o.Mode != "stream":
		return usagef("--mode must be unary or stream, not %q", o.Mode)
	case o.Duration <= 0 && o.Count <= 0:
		return usagef("--duration or --count must be positive")
	case !slices.Contains(ops, o.Op):
		return usagef("--op must be one of %s, not %q", strings.Join(ops, ", "), o.Op)
	case o.Rate > 0 && o.Mode == "stream":
		return usagef("--rate and --mode stream exclude each other")
	case o.reads() && (o.Mode == "stream" || o.Sealed || o.Keys || o.Program != ledger.Log{}.Name()):
		return usagef("--mode, --sealed, --keys and --program are about appends, not about --op %s", o.Op)
	}
	if !o.reads() {
		o.Fill = 0
	}
	switch o.Program {
	case ledger.Log{}.Name():
		if o.Messages {
			return usagef("--messages needs --program settlement")
		}
		o.Accounts, o.Pack = 0, 0
	case settlement.ProgramName:
		if o.Messages && o.Sealed {
			return usagef("--messages and --sealed exclude each other: an answer waits for no checkpoint")
		}
		if o.Mode != "unary" || o.Keys || o.Ledgers > 1 {
			return usagef("--program settlement measures unary requests to one ledger; the ids of transfers are their keys")
		}
		o.Size = 0
	default:
		return usagef("--program must be log or settlement, not %q", o.Program)
	}
	if o.Mode != "stream" {
		o.InFlight = 0
	}
	if o.Connections <= 0 {
		o.Connections = min(o.Clients, max(8, o.Ledgers))
	}
	if o.Connections < o.Ledgers {
		return usagef("%d ledgers need at least as many clients and connections", o.Ledgers)
	}
	return nil
}

// benchResult is what a measurement found.
type benchResult struct {
	Options    benchOptions   `json:"options"`
	LocalNodes int            `json:"local_nodes,omitempty"`
	Version    string         `json:"version"`
	CPUs       int            `json:"cpus"`
	Seconds    float64        `json:"seconds"`
	Entries    int64          `json:"entries"`
	Requests   int64          `json:"requests"`
	Errors     int64          `json:"errors"`
	FirstError string         `json:"first_error,omitempty"`
	EntryRate  float64        `json:"entries_per_second"`
	ByteRate   float64        `json:"bytes_per_second"`
	Latency    latencySummary `json:"latency"`
	// Histogram has the latencies in classes, Timeline the measured time in slots of slotLength.
	Histogram []latencyBar `json:"histogram"`
	Timeline  timeline     `json:"timeline"`
	quantiles []quantile
}

// printBench prints a result and writes it to the file of --out.
func (a *app) printBench(r *benchResult, file *target) error {
	if file != nil && (file.file() || !a.json) {
		raw, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return errors.Wrap(err, "encode result")
		}
		if err := file.write(append(raw, '\n')); err != nil || file.stdout() {
			return err
		}
	}
	return a.emit(r, r.text)
}

// bench measures the ledgers that the profiles name.
func (a *app) bench(ctx context.Context, profiles []client.Profile, o benchOptions) (*benchResult, error) {
	b := &bench{opts: o, clients: make([][]*client.Client, len(profiles))}
	for i := range o.Connections {
		ledger := i % len(profiles)
		c, err := a.dialBench(ctx, profiles[ledger], o)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		b.clients[ledger] = append(b.clients[ledger], c)
	}
	total := int64((o.Warmup + o.Duration) / slotLength)
	if o.Count > 0 {
		total = o.Count
	}
	bar := a.progress(total, "measure", "")
	stop := make(chan struct{})
	ticked := make(chan struct{})
	go func() {
		defer close(ticked)
		t := time.NewTicker(slotLength)
		defer t.Stop()
		var seen [11]int64 // entries at the newest ticks, a second of them
		for tick := int64(1); ; tick++ {
			select {
			case <-t.C:
				copy(seen[1:], seen[:])
				seen[0] = b.acked.Load()
				at := tick
				if o.Count > 0 {
					at = seen[0]
				}
				bar.at(at, count(seen[0]-seen[10])+" entries/s")
			case <-stop:
				return
			}
		}
	}()
	r, err := b.run(ctx)
	close(stop)
	<-ticked
	bar.done()
	return r, err
}

// prepareBench opens the accounts between which transfers are measured.
func (a *app) prepareBench(ctx context.Context, profiles []client.Profile, o benchOptions) error {
	for _, p := range profiles {
		c, err := a.dialBench(ctx, p, o)
		if err != nil {
			return err
		}
		err = openBenchAccounts(ctx, c, o.Accounts)
		if err = errors.CombineErrors(err, c.Close()); err != nil {
			return err
		}
	}
	return nil
}

// dialBench connects without a state file: the clients of a measurement share
// one profile and would only race to write it.
func (a *app) dialBench(ctx context.Context, p client.Profile, o benchOptions) (*client.Client, error) {
	p.State = ""
	opts := []client.Option{client.WithTimeout(a.timeout)}
	if o.NoVerify {
		opts = append(opts, client.WithoutVerification())
	}
	return client.Dial(ctx, p, opts...)
}

func (r *benchResult) text(w *page) {
	r.summary(w)
	fmt.Fprintln(w)
	drawHistogram(w, r.Histogram)
}

// summary is the result in words.
func (r *benchResult) summary(w *page) {
	o := r.Options
	what := []string{fmt.Sprintf("%s of %d × %d bytes", o.Mode, o.Batch, o.Size), "committed", "without keys"}
	if o.reads() {
		what = []string{o.Op}
		if o.Op == opRange {
			what[0] = fmt.Sprintf("%s of %d entries", o.Op, o.Batch)
		}
	}
	if o.Program == settlement.ProgramName {
		what = []string{fmt.Sprintf("%s of %d transfers between %d accounts", o.Mode, o.Batch, o.Accounts), "committed", fmt.Sprintf("%d an entry", o.Pack)}
		if o.Messages {
			what[2] = fmt.Sprintf("%d a pacs.008", o.Pack)
		}
	}
	if o.Sealed {
		what[1] = "sealed"
	}
	if o.Keys {
		what[2] = "with keys"
	}
	where := "the profile's ledger"
	if r.LocalNodes > 0 {
		where = plural(o.Ledgers, "ledger", "ledgers") + " of " + plural(r.LocalNodes, "local node", "local nodes")
	}
	title := "appends"
	if o.reads() {
		title = "reads"
	}
	if o.Rate > 0 {
		what = append(what, count(float64(o.Rate))+" due each second")
	}
	throughput := fmt.Sprintf("%s entries/s, %s/s, %s requests/s", count(r.EntryRate), bytesString(uint64(r.ByteRate)), count(float64(r.Requests)/r.Seconds))
	if o.reads() {
		throughput = fmt.Sprintf("%s requests/s", count(float64(r.Requests)/r.Seconds))
		if o.Op == opRange {
			throughput = count(r.EntryRate) + " entries/s, " + throughput
		}
	}
	l := r.Latency
	us := func(v int64) string { return latencyString(time.Duration(v) * time.Microsecond) }
	fields(w,
		title, strings.Join(what, ", "),
		"from", fmt.Sprintf("%s over %s, to %s, %d CPUs", plural(o.Clients, "client", "clients"), plural(o.Connections, "connection", "connections"), where, r.CPUs),
		"throughput", throughput,
		"latency", fmt.Sprintf("p50 %s   p90 %s   p99 %s   p99.9 %s   max %s", us(l.P50), us(l.P90), us(l.P99), us(l.P999), us(l.Max)),
		"stalls", r.Timeline.stalls(),
		"measured", fmt.Sprintf("%s entries in %.1f s, %s", count(r.Entries), r.Seconds, plural(r.Errors, "error", "errors")))
}

func cpus() int { return runtime.NumCPU() }
