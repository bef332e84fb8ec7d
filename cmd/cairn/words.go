package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/settlement"
)

// told is what a part of an entry says: a record, a command or an outcome.
type told struct {
	// line says it in one line.
	line string
	// head says it above the lines of more, which are name, value pairs. "" means line.
	head string
	more []string
	// object says it as JSON.
	object any
}

// pairs are the lines of a text, the first of which has the name.
func (t told) pairs(name string) []string {
	head := t.head
	if head == "" {
		head = t.line
	}
	return append([]string{name, head}, t.more...)
}

// interpreter reads what the entries of one program say. Its functions refuse bytes that the
// program did not write. Strings from the entry pass through printable.
type interpreter struct {
	command func(body []byte) (told, error)
	// outcome reads the outcome of a command with this body.
	outcome func(body, outcome []byte) (told, error)
}

// interpreters are those of the programs whose entries this binary can read, by the program's name.
var interpreters = map[string]interpreter{
	directory.Program{}.Name(): {createTold, createdTold},
	settlement.ProgramName:     {settlementTold, settledTold},
}

// interpretation is what a command and its outcome say, and to which program.
type interpretation struct {
	program          string
	command, outcome told
}

// interpret reads a command and its outcome. A program of "" is not known, as in a receipt, which
// does not name it: what one program alone can read is then that program's.
func interpret(program string, e *ledger.Entry) (*interpretation, error) {
	return interpretBy(interpreters, program, e)
}

func interpretBy(interpreters map[string]interpreter, program string, e *ledger.Entry) (*interpretation, error) {
	if program != "" {
		i, ok := interpreters[program]
		if !ok {
			return nil, errors.Newf("this binary cannot read commands of the program %s", program)
		}
		return i.read(program, e)
	}
	var found *interpretation
	for _, name := range slices.Sorted(maps.Keys(interpreters)) {
		read, err := interpreters[name].read(name, e)
		switch {
		case err != nil:
		case found != nil:
			return nil, errors.Newf("the programs %s and %s could both have written it", found.program, name)
		default:
			found = read
		}
	}
	if found == nil {
		return nil, errors.New("no known program could have written it")
	}
	return found, nil
}

func (i interpreter) read(program string, e *ledger.Entry) (*interpretation, error) {
	command, err := i.command(e.Body)
	if err != nil {
		return nil, err
	}
	outcome, err := i.outcome(e.Body, e.Outcome)
	if err != nil {
		return nil, err
	}
	return &interpretation{program, command, outcome}, nil
}

// mapRootInfo is the root of the map of accounts that a record publishes.
type mapRootInfo struct {
	Root     string `json:"root"`
	Accounts uint64 `json:"accounts"`
	Previous uint64 `json:"previous"` // index of the record before; 0: this is the first
}

// recordTold says what a record of a ledger itself means. Its object is a *genesisInfo, a
// *mapRootInfo, a *policyInfo, a *handoverInfo or a feature level, uint32.
func recordTold(index uint64, e *ledger.Entry) (told, error) {
	if level, err := ledger.ParseLevel(e.Body); err == nil {
		return told{line: fmt.Sprintf("the feature level rises to %d", level), object: level}, nil
	}
	if r, err := ledger.ParseMapRoot(index, e); err == nil {
		return told{
			line: "the map of " + plural(r.Accounts, "account", "accounts") + " has the root " + r.Root.String(),
			head: "the map of accounts", more: []string{"  root", r.Root.String(), "  accounts", strconv.FormatUint(r.Accounts, 10), "  record before", strconv.FormatUint(r.Previous, 10)},
			object: &mapRootInfo{r.Root.String(), r.Accounts, r.Previous},
		}, nil
	}
	if c, err := ledger.ParsePolicyChange(e.Body); err == nil {
		return policyTold(c), nil
	}
	if h, err := ledger.ParseHandover(e.Body); err == nil {
		return handoverTold(h), nil
	}
	g, err := ledger.ParseGenesis(e.Body)
	if err != nil {
		return told{}, err
	}
	info := newGenesisInfo(g)
	return told{line: "genesis of " + genesisWords(g), head: "the ledger " + printable(g.Origin) + " begins", more: info.pairs(), object: info}, nil
}

// createTold is what a command of the directory asks for.
func createTold(body []byte) (told, error) {
	if c, err := directory.ParseNodeChange(body); err == nil {
		return nodeChangeTold(c), nil
	}
	g, err := directory.ParseCreate(body)
	if err != nil {
		return told{}, err
	}
	info := newGenesisInfo(g)
	return told{
		line: "create " + genesisWords(g), head: "create the ledger " + printable(g.Origin), more: info.pairs(),
		object: struct {
			Create *genesisInfo `json:"create"`
		}{info},
	}, nil
}

// createdTold is what the directory made of a command.
func createdTold(_, outcome []byte) (told, error) {
	o, err := directory.ParseOutcome(outcome)
	if err != nil {
		return told{}, err
	}
	if o.Status >= directory.NodeChanged {
		return told{line: fmt.Sprintf("%s, node %d", o.Status, o.ID), object: struct {
			Status string `json:"status"`
			Node   uint64 `json:"node"`
		}{o.Status.String(), o.ID}}, nil
	}
	return told{line: fmt.Sprintf("%s, group %d", o.Status, o.ID), object: struct {
		Status string `json:"status"`
		Group  uint64 `json:"group"`
	}{o.Status.String(), o.ID}}, nil
}

// nodeChangeTold is what a command about a node asks for.
func nodeChangeTold(c *directory.NodeChange) told {
	var words string
	var more []string
	switch c.Op {
	case directory.AddNode:
		words = "add the node " + printable(c.Name)
		if c.Replaces != 0 {
			words += fmt.Sprintf(" in place of node %d", c.Replaces)
		}
		name, _, _ := strings.Cut(c.Cosigner, "+")
		more = append(more, "  signs as", printable(name))
	case directory.PromoteNode:
		words = fmt.Sprintf("promote node %d", c.ID)
	case directory.RemoveNode:
		words = fmt.Sprintf("remove node %d", c.ID)
	case directory.MoveNode:
		words = fmt.Sprintf("move node %d", c.ID)
	case directory.JoinNode:
		words = fmt.Sprintf("node %d joins with the data directory %x", c.ID, c.Incarnation)
	}
	if c.Peer != "" {
		more = append(more, "  peer", c.Peer, "  api", c.API, "  http", c.HTTP)
	}
	return told{line: words, head: words, more: more, object: struct {
		Change string `json:"change"`
		Node   uint64 `json:"node,omitempty"`
		Name   string `json:"name,omitempty"`
	}{strings.Fields(words)[0], c.ID, c.Name}}
}

// genesisWords says what a genesis says, but for the keys.
func genesisWords(g *ledger.Genesis) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: program %s version %d", printable(g.Origin), printable(g.Program), g.ProgramVersion)
	for _, p := range g.Parameters {
		fmt.Fprintf(&b, ", %s=%s", printable(p.Name), printable(p.Value))
	}
	var names []string
	for _, m := range g.Members {
		names = append(names, fmt.Sprintf("%d %s", m.ID, printable(m.Name)))
	}
	fmt.Fprintf(&b, "; members %s; %d cosignatures seal; feature level %d", strings.Join(names, ", "), g.SealQuorum, g.FeatureLevel)
	return b.String()
}

// programFinder finds out which program a client's ledger runs, once, and only when a command is to
// be printed: from the genesis, which says it.
type programFinder struct {
	c     *client.Client
	known bool
	name  string // "" while it is not known, or when no node told
}

// of returns the program for an entry of the ledger. The genesis itself needs no question.
func (p *programFinder) of(ctx context.Context, e client.StoredEntry) string {
	if !p.known && e.Index == 0 {
		p.learn(e.Leaf)
	}
	if p.known || e.Kind != ledger.KindCommand {
		return p.name
	}
	p.known = true // nodes that do not tell now are not asked for every entry
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	if first, err := p.c.Get(ctx, 0, client.Local()); err == nil {
		p.learn(first.Leaf)
	}
	return p.name
}

func (p *programFinder) learn(leaf []byte) {
	if g, err := ledger.GenesisOf(leaf); err == nil {
		p.name, p.known = g.Program, true
	}
}
