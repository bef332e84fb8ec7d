package history

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

// Recorder writes a history while it happens, so that a harness that dies leaves
// every operation that it had issued: one line of JSON when an operation is
// called, one when it is completed, each written before the caller goes on. An
// operation without a second line has an unknown outcome. Safe for concurrent use.
type Recorder struct {
	next atomic.Int64 // id of the next operation
	mu   sync.Mutex   // one line at a time; guards what follows
	file *os.File
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
	id := r.next.Add(1) - 1
	return id, r.write(id, "invoke", op.Call, op)
}

// Complete records the outcome of an operation.
func (r *Recorder) Complete(id int64, op *Op) error {
	return r.write(id, op.Outcome.String(), op.Return, op)
}

// buffers hold lines while they are made.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

func (r *Recorder) write(id int64, typ string, at int64, op *Op) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	*buf = appendLine((*buf)[:0], id, typ, at, op)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		_, err := r.file.Write(*buf)
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
