package bank

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
	settleclient "github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/jepsen/settle/load"
	"github.com/cairnledger/cairn/settlement"
)

// Options say how much of what. Zero values mean the defaults.
type Options struct {
	Seed uint64
	// Tellers is how many clients there are; default 4.
	Tellers int
	// Rate is how many commands a second all tellers together ask for; 0: as many as they can.
	Rate float64
	// Timeout bounds one request with its repetitions; default 5 s.
	Timeout time.Duration
}

// Bank is all tellers of one ledger.
type Bank struct {
	opt     Options
	cluster *local.Cluster
	origin  string
	clients []*client.Client
	stop    context.CancelFunc
	ctx     context.Context
	tellers sync.WaitGroup

	mu    sync.Mutex
	load  load.Load
	asked map[string]*asked // by the encoded command
}

// asked is what became of the requests for one command.
type asked struct {
	bare             string
	refused, unknown int // requests
	answers          []answer
}

type answer struct {
	index   uint64
	results []settlement.Result
}

// roles are the profiles of the tellers, in turns: operator, participant.
var roles = []string{"writer", "participant"}

// Open creates a settlement ledger beside the cluster's first one and lets the tellers go.
func Open(ctx context.Context, c *local.Cluster, o Options) (_ *Bank, err error) {
	if o.Tellers <= 0 {
		o.Tellers = 4
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	b := &Bank{opt: o, cluster: c, origin: c.Origin() + "/bank", asked: map[string]*asked{}}
	b.ctx, b.stop = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	if err := b.create(ctx); err != nil {
		return nil, err
	}
	for i := range o.Tellers {
		api, err := b.dial(ctx, roles[i%len(roles)])
		if err != nil {
			return nil, err
		}
		b.clients = append(b.clients, api)
		b.load.Owners = append(b.load.Owners, api.Principal())
	}
	slices.Sort(b.load.Owners)
	b.load.Owners = slices.Compact(b.load.Owners)
	b.load.Timeout, b.load.Grain, b.load.Unmatched = 4_000_000, 1, true
	b.load.Now = func() int64 { return time.Now().UnixMicro() }
	for i, api := range b.clients {
		b.tellers.Go(func() { b.teller(settleclient.New(api), rand.New(rand.NewPCG(o.Seed, uint64(i)))) })
	}
	return b, nil
}

// create creates the ledger, and waits until a command is decided.
func (b *Bank) create(ctx context.Context) error {
	api, err := b.cluster.Dial(ctx, "admin")
	if err != nil {
		return err
	}
	defer api.Close()
	if _, _, err := api.CreateLedger(ctx, b.origin, settlement.ProgramName); err != nil {
		return errors.Wrap(err, "create the bank's ledger")
	}
	return nil
}

func (b *Bank) dial(ctx context.Context, role string) (*client.Client, error) {
	p, err := client.LoadProfile(b.cluster.Profile(role))
	if err != nil {
		return nil, err
	}
	p.State = ""
	return client.Dial(ctx, p.ForLedger(b.origin), client.WithTimeout(b.opt.Timeout))
}

// teller asks for one thing after the other until the end.
func (b *Bank) teller(api *settleclient.Client, rng *rand.Rand) {
	var unknown []settlement.Action // of late, whose fate is not known
	for b.ctx.Err() == nil {
		var some []settlement.Action
		if n := len(unknown); n > 0 && rng.IntN(3) == 0 {
			some, unknown = unknown[n-1:], unknown[:n-1] // once more: it must not happen twice
		} else {
			b.mu.Lock()
			for range 1 + max(0, rng.IntN(8)-5) {
				some = append(some, b.load.Next(rng).Action)
			}
			b.mu.Unlock()
		}
		some = slices.DeleteFunc(some, func(a settlement.Action) bool { _, own := a.(*settlement.Advance); return own })
		if len(some) > 0 && !b.ask(api, rng, some) {
			unknown = append(unknown, some...)
			unknown = unknown[max(0, len(unknown)-8):]
		}
		if b.opt.Rate > 0 {
			select {
			case <-b.ctx.Done():
			case <-time.After(time.Duration(rng.ExpFloat64() * float64(b.opt.Tellers) / b.opt.Rate * float64(time.Second))):
			}
		}
	}
}

// ask asks for actions and notes what was told. It returns false if their fate is not known.
func (b *Bank) ask(api *settleclient.Client, rng *rand.Rand, some []settlement.Action) (known bool) {
	var opts []settleclient.Option
	if rng.IntN(6) == 0 {
		opts = append(opts, settleclient.Sealed())
	}
	b.note(some, func(a *asked, _ int) { a.unknown++ })
	ctx, cancel := context.WithTimeout(context.Background(), 2*b.opt.Timeout)
	defer cancel()
	outcomes, err := api.Execute(ctx, some, opts...)
	var e *client.Error
	switch {
	case len(outcomes) == len(some): // perhaps with an error about their receipts
		b.note(some, func(a *asked, i int) {
			a.unknown--
			a.answers = append(a.answers, answer{outcomes[i].Index, outcomes[i].Results})
		})
		return true
	case errors.As(err, &e) && e.Definite:
		b.note(some, func(a *asked, _ int) { a.unknown--; a.refused++ })
		return true
	}
	return false
}

func (b *Bank) note(some []settlement.Action, f func(a *asked, i int)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, action := range some {
		name := nameOf(action)
		a := b.asked[name]
		if a == nil {
			a = &asked{bare: bare(action)}
			b.asked[name] = a
		}
		f(a, i)
	}
}

// bare names an action without the message that it was decoded from, which decides nothing.
func bare(a settlement.Action) string {
	if submit, ok := a.(*settlement.Submit); ok {
		without := *submit
		without.Source = settlement.Source{}
		a = &without
	}
	return nameOf(a)
}

// nameOf names an action by all that it asks for. A node makes the key of an account that is opened.
func nameOf(a settlement.Action) string {
	if open, ok := a.(*settlement.OpenAccount); ok {
		without := *open
		without.Key = settlement.Key{}
		a = &without
	}
	body, err := (&settlement.Command{Action: a}).Marshal()
	if err != nil {
		panic(err) // the load makes none that cannot be encoded
	}
	return string(body)
}

// Stop lets the tellers finish what they are doing and waits for them.
func (b *Bank) Stop() {
	b.stop()
	b.tellers.Wait()
}

// Close ends everything.
func (b *Bank) Close() {
	b.Stop()
	for _, c := range b.clients {
		_ = c.Close()
	}
	b.clients = nil
}
