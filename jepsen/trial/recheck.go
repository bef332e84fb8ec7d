package trial

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/jepsen/history"
)

// Recheck gives the verdict about a trial again, from its files: the history, the
// final ledger and the evidence. What only the run itself could see, such as a
// node that crashed or a fault without effect, is taken from results.json. It
// writes results.json and the report anew.
func Recheck(dir string) (*Result, error) {
	raw, err := os.ReadFile(filepath.Join(dir, resultsFile))
	if err != nil {
		return nil, errors.Wrap(err, "read results")
	}
	var s results
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, errors.Wrapf(err, "parse %s", resultsFile)
	}
	r := &Result{
		Dir: dir, Run: s.Run, Broken: s.Broken, Invalid: s.Invalid, Phases: s.Phases, Asked: s.Asked, Proofs: s.Proofs, Skipped: s.Skipped, own: s.Own, Kinds: s.Kinds, Bank: s.Bank,
	}
	if r.policy, err = os.ReadFile(filepath.Join(dir, policyFile)); err != nil {
		return nil, errors.Wrap(err, "read policy")
	}
	f, err := os.Open(filepath.Join(dir, historyFile))
	if err != nil {
		return nil, errors.Wrap(err, "open history")
	}
	defer f.Close()
	if r.Run.Ops, err = history.Load(f); err != nil {
		return nil, err
	}
	// Without a final ledger the trial stays as invalid as it was.
	if r.Run.Final, err = loadFinal(filepath.Join(dir, finalFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	} else if err != nil {
		r.Run.Final = nil
	}
	if r.evidence, err = loadEvidence(filepath.Join(dir, evidenceFile)); err != nil {
		return nil, err
	}
	if err := r.judge(); err != nil {
		return nil, err
	}
	if err := r.saveResults(); err != nil {
		return nil, err
	}
	return r, r.page()
}
