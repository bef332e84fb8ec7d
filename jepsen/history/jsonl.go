package history

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"sync"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

// Recorder writes a history while it happens, so that a harness that dies leaves
// every operation that it had issued: one line of JSON when an operation is
// called, one when it is completed, each written before the caller goes on. An
// operation without a second line has an unknown outcome. Safe for concurrent use.
type Recorder struct {
	mu   sync.Mutex
	file *os.File
	next int64
	err  error
}

// Create starts a history in a new file.
func Create(path string) (*Recorder, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, errors.Wrap(err, "create history")
	}
	return &Recorder{file: f}, nil
}

// line is the JSON of one event. Fields with zero values are left out.
type line struct {
	ID          int64       `json:"id"`
	Type        string      `json:"type"` // invoke, ok, fail, info
	At          int64       `json:"t"`    // ns
	Process     uint32      `json:"p"`
	Kind        Kind        `json:"f,omitempty"`
	Reason      Reason      `json:"why,omitempty"`
	Keyless     bool        `json:"keyless,omitempty"`
	Retried     bool        `json:"retried,omitempty"`
	Conditional bool        `json:"if,omitempty"`
	First       uint64      `json:"first,omitempty"`
	Limit       uint64      `json:"limit,omitempty"`
	Size        uint64      `json:"size,omitempty"`
	Seen        uint64      `json:"seen,omitempty"`
	Root        string      `json:"root,omitempty"`
	Node        uint16      `json:"node,omitempty"`
	Entries     []entryLine `json:"e,omitempty"`
}

// entryLine is an Entry: key, body, index, duplicate.
type entryLine struct {
	Key   string `json:"k"`
	Body  string `json:"b"`
	Index uint64 `json:"i,omitempty"`
	Dup   bool   `json:"d,omitempty"`
}

// Invoke records that op was called at op.Call and returns its id.
func (r *Recorder) Invoke(op *Op) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := r.next
	r.next++
	return id, r.write(toLine(id, "invoke", op.Call, op))
}

// Complete records the outcome of an operation.
func (r *Recorder) Complete(id int64, op *Op) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.write(toLine(id, op.Outcome.String(), op.Return, op))
}

func (r *Recorder) write(l line) error {
	if r.err != nil {
		return r.err
	}
	b, err := json.Marshal(l)
	if err == nil {
		_, err = r.file.Write(append(b, '\n'))
	}
	if err != nil {
		r.err = errors.Wrap(err, "write history")
	}
	return r.err
}

// Close syncs and closes the file.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.CombineErrors(r.err, errors.CombineErrors(r.file.Sync(), r.file.Close()))
}

func toLine(id int64, typ string, at int64, op *Op) line {
	l := line{
		ID: id, Type: typ, At: at, Process: op.Process, Kind: op.Kind, Reason: op.Reason, Keyless: op.Keyless, Retried: op.Retried,
		Conditional: op.Conditional, First: op.First, Limit: op.Limit, Size: op.Size, Seen: op.Seen, Node: op.Node,
	}
	if op.Root != nil {
		l.Root = op.Root.String()
	}
	for _, e := range op.Entries {
		l.Entries = append(l.Entries, entryLine{hexOf(e.Key), hexOf(e.Body), e.Index, e.Duplicate})
	}
	return l
}

// Load reads a history. A last line that was cut short is ignored; any other
// malformed line is an error.
func Load(r io.Reader) ([]Op, error) {
	var ops []Op
	byID := map[int64]int{}
	in := bufio.NewReaderSize(r, 1<<20)
	for n := 1; ; n++ {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return ops, nil
		}
		if err != nil {
			return nil, errors.Wrap(err, "read history")
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, errors.Wrapf(err, "history line %d", n)
		}
		op, err := l.op()
		if err != nil {
			return nil, errors.Wrapf(err, "history line %d", n)
		}
		if l.Type == "invoke" {
			op.Call, op.Return = l.At, Never
			byID[l.ID] = len(ops)
			ops = append(ops, op)
			continue
		}
		i, ok := byID[l.ID]
		if !ok {
			return nil, errors.Newf("history line %d: completes operation %d, which was never invoked", n, l.ID)
		}
		delete(byID, l.ID)
		op.Call, op.Return = ops[i].Call, l.At
		switch l.Type {
		case "ok":
			op.Outcome = OK
		case "fail":
			op.Outcome = Fail
		case "info":
			op.Outcome, op.Return = Info, Never
		default:
			return nil, errors.Newf("history line %d: unknown type %q", n, l.Type)
		}
		ops[i] = op
	}
}

func (l *line) op() (Op, error) {
	op := Op{
		Process: l.Process, Kind: l.Kind, Reason: l.Reason, Keyless: l.Keyless, Retried: l.Retried, Conditional: l.Conditional,
		First: l.First, Limit: l.Limit, Size: l.Size, Seen: l.Seen, Node: l.Node,
	}
	if l.Root != "" {
		root, err := merkle.ParseHash(l.Root)
		if err != nil {
			return op, err
		}
		op.Root = &root
	}
	for _, e := range l.Entries {
		entry := Entry{Index: e.Index, Duplicate: e.Dup}
		if err := errors.CombineErrors(fromHex(&entry.Key, e.Key), fromHex(&entry.Body, e.Body)); err != nil {
			return op, err
		}
		op.Entries = append(op.Entries, entry)
	}
	return op, nil
}
