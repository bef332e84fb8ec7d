package trial

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/jepsen/bank"
	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/jepsen/report"
	"github.com/cairnledger/cairn/merkle"
)

// The files of a trial.
const (
	historyFile  = "history.jsonl"
	finalFile    = "final.jsonl"
	evidenceFile = "evidence.jsonl"
	policyFile   = "policy"
	nemesisFile  = "nemesis.jsonl"
	resultsFile  = "results.json"
	logsDir      = "logs"
)

// results is results.json. What Recheck cannot compute again is taken from it.
type results struct {
	Verdict    report.Verdict
	Reasons    []string `json:",omitempty"`
	Title      string
	Params     report.Params
	Seconds    float64
	Rate       float64 // operations a second
	Figures    report.Figures
	Faults     map[string]int // observed, by name
	Skipped    int
	Phases     phases
	Asked      int64
	Proofs     proofs
	Sessions   int
	Deliveries int
	Evidence   check.EvidenceCounts
	Kinds      []string      `json:",omitempty"`
	Bank       *bank.Verdict `json:",omitempty"`
	Checking   float64       // seconds
	Violations []check.Violation

	// Broken, Invalid and Own are what the run itself saw.
	Broken, Invalid []string          `json:",omitempty"`
	Own             []check.Violation `json:",omitempty"`
	Run             report.Run        // without history and ledger
}

// Rate returns operations of all outcomes a second.
func (r *Result) Rate() float64 {
	f := report.Measure(r.Run)
	return float64(f.Ops) / max(f.Duration.Seconds(), 1e-3)
}

func (r *Result) saveResults() error {
	f := report.Measure(r.Run)
	s := results{
		Verdict: r.Run.Verdict, Reasons: r.Run.Reasons, Title: r.Run.Title, Params: r.Run.Params,
		Seconds: f.Duration.Seconds(), Rate: r.Rate(), Figures: f, Faults: map[string]int{}, Skipped: r.Skipped,
		Phases: r.Phases, Asked: r.Asked, Proofs: r.Proofs, Sessions: r.Sessions, Deliveries: r.Deliveries, Evidence: r.Evidence, Kinds: r.Kinds, Bank: r.Bank,
		Checking: r.Checking.Seconds(), Violations: r.Run.Violations, Broken: r.Broken, Invalid: r.Invalid, Own: r.own, Run: r.Run,
	}
	s.Run.Ops, s.Run.Final, s.Run.Violations = nil, nil, nil
	for _, fault := range r.Run.Faults {
		if fault.Observed != "" {
			s.Faults[fault.Name]++
		}
	}
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return errors.Wrap(err, "encode results")
	}
	return errors.Wrap(os.WriteFile(filepath.Join(r.Dir, resultsFile), append(raw, '\n'), 0o644), "write results")
}

// save writes everything but the history and the faults, which are written while
// they happen.
func (r *Result) save() error {
	var err error
	if r.Run.Final != nil {
		err = writeFile(filepath.Join(r.Dir, finalFile), func(w *bufio.Writer) error { return writeFinal(w, r.Run.Final) })
	}
	err = errors.CombineErrors(err, writeFile(filepath.Join(r.Dir, evidenceFile), func(w *bufio.Writer) error { return writeEvidence(w, r.evidence) }))
	err = errors.CombineErrors(err, errors.Wrap(os.WriteFile(filepath.Join(r.Dir, policyFile), r.policy, 0o644), "write policy"))
	return errors.CombineErrors(err, r.saveResults())
}

// page writes index.html.
func (r *Result) page() error { return report.Write(r.Dir, r.Run) }

func writeLine(w io.Writer, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(raw, '\n'))
	return err
}

func writeFile(path string, fill func(*bufio.Writer) error) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return errors.Wrap(err, "create file")
	}
	defer func() { err = errors.Wrapf(errors.CombineErrors(err, f.Close()), "write %s", path) }()
	w := bufio.NewWriterSize(f, 1<<20)
	if err := fill(w); err != nil {
		return err
	}
	return w.Flush()
}

// finalLine is one entry of the final ledger; its place is its index.
type finalLine struct {
	Key  string `json:"k"`
	Body string `json:"b"`
	Leaf string `json:"leaf"`
	// Genesis is check.FinalEntry's.
	Genesis bool `json:"genesis"`
}

// writeFinal writes by hand what finalLine reads: there may be millions.
func writeFinal(w *bufio.Writer, final []check.FinalEntry) error {
	var b []byte
	for i := range final {
		e := &final[i]
		b = append(strconv.AppendInt(append(b[:0], `{"i":`...), int64(i), 10), `,"k":"`...)
		b = append(hex.AppendEncode(b, e.Key[:]), `","b":"`...)
		b = append(hex.AppendEncode(b, e.Body[:]), `","leaf":"`...)
		b = append(hex.AppendEncode(b, e.Leaf[:]), '"')
		if e.Genesis {
			b = append(b, `,"genesis":true`...)
		}
		b = append(b, "}\n"...)
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

func loadFinal(path string) (final []check.FinalEntry, err error) {
	final = []check.FinalEntry{} // an empty ledger is one
	err = eachLine(path, func(raw []byte) error {
		var l finalLine
		if err := json.Unmarshal(raw, &l); err != nil {
			return err
		}
		e := check.FinalEntry{Genesis: l.Genesis}
		if err := errors.CombineErrors(digest(&e.Key, l.Key), digest(&e.Body, l.Body)); err != nil {
			return err
		}
		if e.Leaf, err = merkle.ParseHash(l.Leaf); err != nil {
			return err
		}
		final = append(final, e)
		return nil
	})
	return final, err
}

func digest(d *history.Digest, s string) error {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(d) {
		return errors.Newf("%q is not a digest", s)
	}
	copy(d[:], b)
	return nil
}

// evidenceLine is one of three things. Notes are numbered as they appear.
type evidenceLine struct {
	Note    []byte       `json:"note,omitempty"`
	Receipt *receiptLine `json:"receipt,omitempty"`
	Root    *rootLine    `json:"root,omitempty"`
}

// receiptLine is a check.Receipt. Proof is the hashes, one after the other.
type receiptLine struct {
	Index       uint64
	Leaf, Proof []byte
	Note        int
}

type rootLine struct {
	Size uint64
	Root []byte
}

func writeEvidence(w *bufio.Writer, e *check.Evidence) error {
	enc := json.NewEncoder(w)
	for _, n := range e.Notes {
		if err := enc.Encode(evidenceLine{Note: n}); err != nil {
			return err
		}
	}
	for i := range e.Receipts {
		r := &e.Receipts[i]
		l := receiptLine{Index: r.Index, Leaf: r.Leaf, Note: r.Note}
		for k := range r.Proof {
			l.Proof = append(l.Proof, r.Proof[k][:]...)
		}
		if err := enc.Encode(evidenceLine{Receipt: &l}); err != nil {
			return err
		}
	}
	for size, root := range e.Roots {
		if err := enc.Encode(evidenceLine{Root: &rootLine{size, root[:]}}); err != nil {
			return err
		}
	}
	return nil
}

func loadEvidence(path string) (*check.Evidence, error) {
	e := &check.Evidence{Roots: map[uint64]merkle.Hash{}}
	err := eachLine(path, func(raw []byte) error {
		var l evidenceLine
		if err := json.Unmarshal(raw, &l); err != nil {
			return err
		}
		switch {
		case l.Note != nil:
			e.Notes = append(e.Notes, l.Note)
		case l.Receipt != nil:
			r := check.Receipt{Index: l.Receipt.Index, Leaf: l.Receipt.Leaf, Note: l.Receipt.Note}
			p := l.Receipt.Proof
			if len(p)%merkle.HashSize != 0 {
				return errors.Newf("a proof of %d bytes", len(p))
			}
			for ; len(p) > 0; p = p[merkle.HashSize:] {
				r.Proof = append(r.Proof, merkle.Hash(p[:merkle.HashSize]))
			}
			e.Receipts = append(e.Receipts, r)
		case l.Root != nil:
			if len(l.Root.Root) != merkle.HashSize {
				return errors.Newf("a root of %d bytes", len(l.Root.Root))
			}
			e.Roots[l.Root.Size] = merkle.Hash(l.Root.Root)
		default:
			return errors.New("neither a checkpoint nor a receipt nor a root")
		}
		return nil
	})
	return e, err
}

// eachLine calls f for every line of a file.
func eachLine(path string, f func([]byte) error) error {
	in, err := os.Open(path)
	if err != nil {
		return errors.Wrap(err, "open file")
	}
	defer in.Close()
	r := bufio.NewReaderSize(in, 1<<20)
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil {
			return errors.Wrapf(err, "read %s line %d", path, n)
		}
		if err := f(line); err != nil {
			return errors.Wrapf(err, "%s line %d", path, n)
		}
	}
}
