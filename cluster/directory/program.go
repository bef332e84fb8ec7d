package directory

import (
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
)

// Group is the Raft group of the directory itself.
const Group = 1

// Program implements ledger.Program. It takes no payloads.
type Program struct{}

// Name implements ledger.Program.
func (Program) Name() string { return "directory" }

// Version implements ledger.Program.
func (Program) Version() uint32 { return 1 }

// MaxOutcome implements ledger.Program.
func (Program) MaxOutcome(kind ledger.Kind, body []byte) (int, error) {
	if kind != ledger.KindCommand {
		return 0, errors.Newf("the program directory takes commands alone, not a %s", kind)
	}
	if isNodeChange(body) {
		_, err := ParseNodeChange(body)
		return outcomeSize, err
	}
	_, err := ParseCreate(body)
	return outcomeSize, err
}

// Decide implements ledger.Program.
func (Program) Decide(view ledger.View, in *ledger.Input) []byte {
	if isNodeChange(in.Body) {
		c, err := ParseNodeChange(in.Body)
		if err != nil {
			panic(err)
		}
		return decideNode(view, in, c).Marshal()
	}
	g, err := ParseCreate(in.Body)
	if err != nil {
		panic(err)
	}
	if in.Genesis != nil && in.Genesis.Origin == g.Origin {
		return Outcome{Conflict, Group}.Marshal()
	}
	var record []byte
	for _, part := range view.Range(rowsOf(g.Origin)) {
		record = append(record, part...)
	}
	if len(record) > 0 {
		old, err := parseRecord(g.Origin, record)
		if err != nil {
			panic(err)
		}
		return Outcome{compare(old.Genesis, g), old.Group}.Marshal()
	}
	group := uint64(Group)
	if value, found := view.Get(keyNewest); found {
		group = binary.BigEndian.Uint64(value)
	}
	group++
	view.Put(keyNewest, binary.BigEndian.AppendUint64(nil, group))
	record = encodeRecord(group, in, in.Body[commandHeader:])
	for n := byte(0); len(record) > 0; n++ {
		size := min(len(record), ledger.MaxStateValue)
		view.Put(row(g.Origin, n), record[:size])
		record = record[size:]
	}
	return Outcome{Created, group}.Marshal()
}

// compare says what a command for the origin of an existing ledger comes to.
func compare(old, g *ledger.Genesis) Status {
	if old.Program == g.Program && old.ProgramVersion == g.ProgramVersion && slices.Equal(old.Parameters, g.Parameters) {
		return Exists
	}
	return Conflict
}
