// Package programs lists the programs that the ledgers of a cluster run, with what a node has to
// know of each besides ledger.Program: which parameters a genesis may have, and what they mean to
// the node.
//
// A program gets a row in All, and nothing else in the cluster names it. The row is not part of the
// program: two nodes decide entries alike whatever their rows say.
package programs

import (
	"strconv"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/settlement"
)

// PublicReads is the parameter of a genesis that says whether nodes serve the ledger on the HTTP
// read path, where nobody is asked for a certificate: "true" or "false". Every program has it. Who
// may read over gRPC does not depend on it.
const PublicReads = "public-reads"

// Kind is a program that a ledger can run.
type Kind struct {
	Program ledger.Program
	// CheckParameters says what is wrong with the parameters of the program itself: those of a
	// genesis without the ones that every program has. The names ascend. Nil: there are none.
	CheckParameters func([]ledger.Parameter) error
	// PublicReads is what the parameter of that name means when it is absent.
	PublicReads bool
	// Internal programs run the cluster's own ledgers. Nobody creates a ledger with one.
	Internal bool
}

// All returns the programs of this binary, by name. The caller owns the map.
func All() map[string]Kind {
	all := map[string]Kind{}
	for _, k := range []Kind{
		{Program: ledger.Log{}, PublicReads: true},
		{Program: directory.Program{}, PublicReads: true, Internal: true},
		{Program: settlement.Program{}},
	} {
		all[k.Program.Name()] = k
	}
	return all
}

// Check says what is wrong with the parameters of a genesis. Their names ascend.
func (k Kind) Check(parameters []ledger.Parameter) error {
	var own []ledger.Parameter
	for i, p := range parameters {
		switch {
		case i > 0 && parameters[i-1].Name == p.Name:
			return errors.Newf("the parameter %q is given twice", p.Name)
		case p.Name != PublicReads:
			own = append(own, p)
		case p.Value != "true" && p.Value != "false":
			return errors.Newf("the parameter %s has the value %q: want true or false", PublicReads, p.Value)
		}
	}
	switch {
	case len(own) == 0 && k.CheckParameters == nil:
		return nil
	case k.CheckParameters == nil:
		return errors.Newf("the program %s has no parameter %q", k.Program.Name(), own[0].Name)
	}
	return errors.Wrapf(k.CheckParameters(own), "the program %s", k.Program.Name())
}

// Normalise returns the parameters that a new genesis has: those given without the ones that say
// what their absence says. So a ledger that is created twice is the same ledger, whether the second
// caller spelled the default out or not. The parameters have passed Check.
func (k Kind) Normalise(parameters []ledger.Parameter) []ledger.Parameter {
	var out []ledger.Parameter
	for _, p := range parameters {
		if p.Name != PublicReads || p.Value != strconv.FormatBool(k.PublicReads) {
			out = append(out, p)
		}
	}
	return out
}

// Public reports whether nodes serve a ledger with these parameters on the HTTP read path. What is
// neither "true" nor "false" is not public.
func (k Kind) Public(parameters []ledger.Parameter) bool {
	for _, p := range parameters {
		if p.Name == PublicReads {
			return p.Value == "true"
		}
	}
	return k.PublicReads
}
