package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/iso20022"
)

// Gateway carries out messages. It is safe for concurrent use.
type Gateway struct {
	ledger  Ledger
	options Options
}

// New returns a gateway to a ledger. An error says what is wrong with the options.
func New(l Ledger, o Options) (*Gateway, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	return &Gateway{l, o}, nil
}

// Incoming is a message that came.
type Incoming struct {
	Raw []byte
	// Received is when it came. It stands in the answer to a message that the ledger was not asked
	// about, and dates are compared with it if the options say so.
	Received time.Time
	// Oversize says that the message is larger than the gateway reads; Raw is its beginning.
	Oversize bool
}

// Answer is the answer to a message.
type Answer struct {
	// Reply is an ISO 20022 message of Definition, or a text for a person where Definition is "": when
	// the message cannot be named, or when it is itself an answer of a gateway.
	Reply      []byte
	Definition string // as in "pacs.002.001.10"
	// ReplyID identifies the answer, and stands in it. The same message gets the same one.
	ReplyID string
	// Message and ID are definition and identification of the message that is answered, "" if unknown.
	Message, ID string
	// Rejected says that nothing of what the message asks for was carried out, now or before.
	Rejected bool
	// Follow is the id of the instruction that a sese.023 gave, "" when it gave none: Gateway.Follow
	// tells what becomes of it.
	Follow string
	// State is what the answer says of an instruction that waits, for Followed.State; "" of others.
	State    string
	Items    []Item // one for each transaction that the answer is about
	Findings []iso20022.Finding
}

// Item is what the answer says about one transaction.
type Item struct {
	Transaction string // identification in the message, as in "TxId=T-1"
	ID          string // of the transfer in the ledger, "" when it is not known
	// Code is the status of ISO 20022, as in ACSC, "" when the answer gives none. Of an instruction it
	// is Umtchd, Pdg, Rjctd or Canc as in sese.024, or Settled.
	Code     string
	Reason   string // reason code of ISO 20022, "" for none
	Name     string // the reason as a stable word, "" for none
	Text     string // what the reason means and what to do
	Index    uint64 // of the entry that decided it; it counts when Decided
	Decided  bool
	Repeated bool // the ledger had decided it before this message came
}

// step is what a message needs next: reads and actions, which are independent of one another, and
// what follows from the ledger's answers. The last step has an answer and nothing else.
type step struct {
	reads        []string // ids of transfers
	prefixes     []string // beginnings of ids of transfers that are read
	instructions []string // ids of instructions that are read
	actions      []settlement.Action
	then         func(*facts) step
	answer       *Answer
}

// onlyActs says that the step asks for actions and reads nothing.
func (s *step) onlyActs() bool {
	return len(s.actions) > 0 && len(s.reads) == 0 && len(s.prefixes) == 0 && len(s.instructions) == 0
}

// facts are the ledger's answers to a step.
type facts struct {
	transfers    map[string]*Transfer    // by id; none for a transfer that is not known
	listed       map[string][]*Transfer  // by prefix
	instructions map[string]*Instruction // in the same way
	decisions    []Decision              // in the order of the actions
}

// Answer carries out a message and returns the answer. An error is one of the ledger: the message is
// to be given again, whatever part of it was carried out.
func (g *Gateway) Answer(ctx context.Context, in Incoming) (*Answer, error) {
	answers, err := g.AnswerAll(ctx, []Incoming{in})
	if err != nil {
		return nil, err
	}
	return answers[0], nil
}

// maxTogether is how many bytes of messages are asked for in one request: their commands are at most
// about twice as large.
const maxTogether = 256 << 10

// AnswerAll carries out messages in their order. Payments that follow one another are asked for
// together. After an error the answers that are not nil are complete, and the other messages are to
// be given again.
func (g *Gateway) AnswerAll(ctx context.Context, in []Incoming) ([]*Answer, error) {
	answers := make([]*Answer, len(in))
	var waiting []int // messages whose first step is not done, all of them with actions alone
	steps := make([]step, len(in))
	size := 0
	flush := func() error {
		err := g.together(ctx, waiting, steps, answers)
		waiting, size = nil, 0
		return err
	}
	for i := range in {
		steps[i] = g.begin(in[i])
		if !steps[i].onlyActs() || size+len(in[i].Raw) > maxTogether {
			if err := flush(); err != nil {
				return answers, err
			}
		}
		if steps[i].onlyActs() {
			waiting, size = append(waiting, i), size+len(in[i].Raw)
			continue
		}
		var err error
		if answers[i], err = g.run(ctx, steps[i]); err != nil {
			return answers, err
		}
	}
	return answers, flush()
}

// together executes the first steps of several messages as one, and then the rest of each.
func (g *Gateway) together(ctx context.Context, messages []int, steps []step, answers []*Answer) error {
	var actions []settlement.Action
	for _, i := range messages {
		actions = append(actions, steps[i].actions...)
	}
	decisions, err := g.execute(ctx, actions)
	if err != nil {
		return err
	}
	for _, i := range messages {
		n := len(steps[i].actions)
		next := steps[i].then(&facts{decisions: decisions[:n]})
		decisions = decisions[n:]
		if answers[i], err = g.run(ctx, next); err != nil {
			return err
		}
	}
	return nil
}

// run takes a message from a step to its answer.
func (g *Gateway) run(ctx context.Context, s step) (*Answer, error) {
	for s.answer == nil {
		f := &facts{instructions: make(map[string]*Instruction), listed: make(map[string][]*Transfer)}
		var err error
		for _, prefix := range s.prefixes {
			if f.listed[prefix], err = g.ledger.Transfers(ctx, prefix); err != nil {
				return nil, err
			}
		}
		for _, id := range s.instructions {
			if f.instructions[id], err = g.ledger.Instruction(ctx, id); err != nil {
				return nil, err
			}
		}
		if f.transfers, err = g.read(ctx, s.reads); err != nil {
			return nil, err
		}
		if f.decisions, err = g.execute(ctx, s.actions); err != nil {
			return nil, err
		}
		s = s.then(f)
	}
	return s.answer, nil
}

const (
	// maxActions and maxActionBytes bound one request to the ledger.
	maxActions     = 512
	maxActionBytes = 512 << 10
	// readers is how many transfers are read at the same time.
	readers = 8
)

// execute asks for actions in requests that the ledger takes. Where the ledger refuses a request,
// each of its actions is asked for by itself, and the decision of an action that is refused says so.
func (g *Gateway) execute(ctx context.Context, actions []settlement.Action) ([]Decision, error) {
	var all []Decision
	for len(actions) > 0 {
		n, size := 0, 0
		for n < len(actions) && n < maxActions && (n == 0 || size+sizeOf(actions[n]) <= maxActionBytes) {
			size += sizeOf(actions[n])
			n++
		}
		decisions, err := g.ask(ctx, actions[:n])
		if err != nil {
			return nil, err
		}
		all, actions = append(all, decisions...), actions[n:]
	}
	return all, nil
}

func (g *Gateway) ask(ctx context.Context, actions []settlement.Action) ([]Decision, error) {
	decisions, err := g.ledger.Execute(ctx, actions)
	switch {
	case errors.Is(err, ErrRefused) && len(actions) == 1:
		return []Decision{{refused: err}}, nil
	case errors.Is(err, ErrRefused):
		decisions = nil
		for i := range actions {
			d, err := g.ask(ctx, actions[i:i+1])
			if err != nil {
				return nil, err
			}
			decisions = append(decisions, d...)
		}
		return decisions, nil
	case err != nil:
		return nil, err
	case len(decisions) != len(actions):
		return nil, errors.Newf("the ledger gave %d outcomes of %d commands", len(decisions), len(actions))
	}
	return decisions, nil
}

// sizeOf returns the encoded size of an action, in bytes.
func sizeOf(a settlement.Action) int {
	b, err := (&settlement.Command{Action: a}).Marshal()
	if err != nil {
		return 0 // the ledger says what is wrong with it
	}
	return len(b)
}

// read reads transfers, several at a time.
func (g *Gateway) read(ctx context.Context, ids []string) (map[string]*Transfer, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var mu sync.Mutex
	found := make(map[string]*Transfer, len(ids))
	var failed error
	next := make(chan string)
	var wg sync.WaitGroup
	for range min(readers, len(ids)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for id := range next {
				t, err := g.ledger.Transfer(ctx, id)
				mu.Lock()
				if err != nil && failed == nil {
					failed = err
				}
				if t != nil {
					found[id] = t
				}
				mu.Unlock()
			}
		}()
	}
	for _, id := range ids {
		mu.Lock()
		stop := failed != nil
		mu.Unlock()
		if stop {
			break
		}
		next <- id
	}
	close(next)
	wg.Wait()
	return found, failed
}
