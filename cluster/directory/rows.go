package directory

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
)

// A ledger's record lies in rows of ledger.MaxStateValue bytes and one shorter one: the largest
// genesis does not fit into a single row. The key of a row is prefixLedger ‖ origin ‖ 0x00 ‖ number.
// No origin has a zero byte, so the rows of one ledger are neighbours.
const (
	prefixLedger = 'l'

	recordVersion    = 1
	recordHeaderSize = 1 + 8 + 8 + 8 + 2
)

// keyNewest is the row with the group of the newest ledger.
var keyNewest = []byte{'n'}

func row(origin string, n byte) []byte {
	return append(append(append([]byte{prefixLedger}, origin...), 0), n)
}

// rowsOf returns the range of a ledger's rows.
func rowsOf(origin string) (from, to []byte) {
	from, to = row(origin, 0), row(origin, 0)
	to = to[:len(to)-1]
	to[len(to)-1] = 1
	return from, to
}

// parseRow returns the origin and the number in the key of a row.
func parseRow(key []byte) (origin string, number int, ok bool) {
	end := len(key) - 2
	if end < 2 || key[0] != prefixLedger || key[end] != 0 {
		return "", 0, false
	}
	return string(key[1:end]), int(key[end+1]), true
}

// Ledger is a ledger that the cluster keeps.
type Ledger struct {
	Genesis *ledger.Genesis // may share memory with that of other ledgers; for reading alone
	Group   uint64          // Raft group
	Creator string          // principal of the command that created it
	Time    int64           // of that command: ledger time of the directory, µs since the Unix epoch
	Index   uint64          // of that command's entry in the directory
}

// Block returns the block that every member begins the ledger with. Its time is that of the
// directory's entry.
func (l *Ledger) Block() ([]byte, error) { return ledger.EncodeGenesis(l.Genesis, l.Creator, l.Time) }

func encodeRecord(group uint64, in *ledger.Input, genesis []byte) []byte {
	b := make([]byte, 0, recordHeaderSize+len(in.Principal)+len(genesis))
	b = append(b, recordVersion)
	b = binary.BigEndian.AppendUint64(b, group)
	b = binary.BigEndian.AppendUint64(b, in.Index)
	b = binary.BigEndian.AppendUint64(b, uint64(in.Time))
	b = binary.BigEndian.AppendUint16(b, uint16(len(in.Principal)))
	return append(append(b, in.Principal...), genesis...)
}

// parseRecord parses the record of an origin. Every byte string either is refused or encodes back
// to itself.
func parseRecord(origin string, b []byte) (*Ledger, error) {
	bad := func(err error) (*Ledger, error) {
		return nil, errors.Wrapf(err, "the directory's record of %q", origin)
	}
	if len(b) < recordHeaderSize || b[0] != recordVersion {
		return bad(errors.Newf("%d bytes", len(b)))
	}
	l := &Ledger{
		Group: binary.BigEndian.Uint64(b[1:]),
		Index: binary.BigEndian.Uint64(b[9:]),
		Time:  int64(binary.BigEndian.Uint64(b[17:])),
	}
	n := int(binary.BigEndian.Uint16(b[25:]))
	if b = b[recordHeaderSize:]; n == 0 || n > ledger.MaxPrincipalSize || n > len(b) || l.Group <= Group {
		return bad(errors.Newf("group %d with a creator of %d bytes", l.Group, n))
	}
	l.Creator = string(b[:n])
	var err error
	if l.Genesis, err = ledger.ParseGenesis(b[n:]); err != nil {
		return bad(err)
	}
	if l.Genesis.Origin != origin {
		return bad(errors.Newf("it is that of %q", l.Genesis.Origin))
	}
	return l, nil
}

// Find returns the ledger with an origin, nil when there is none. Its errors are those of
// ledger.State, and a *ledger.CorruptError.
func Find(s ledger.State, origin string) (*Ledger, error) {
	if CheckOrigin(origin) != nil {
		return nil, nil
	}
	from, to := rowsOf(origin)
	all, err := read(s, from, to)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

// Count returns how many ledgers there are, the directory not counted. Its errors are those of
// ledger.State.
func Count(s ledger.State) (int, error) {
	value, found, err := s.Get(keyNewest)
	if err != nil || !found {
		return 0, err
	}
	return int(binary.BigEndian.Uint64(value) - Group), nil // groups are given out in order
}

// List returns all ledgers in ascending order of their groups. Its errors are those of Find.
func List(s ledger.State) ([]Ledger, error) {
	all, err := read(s, []byte{prefixLedger}, []byte{prefixLedger + 1})
	slices.SortFunc(all, func(a, b Ledger) int { return cmp.Compare(a.Group, b.Group) })
	return all, err
}

// read returns the ledgers whose rows lie in [from, to), in the order of their origins.
func read(s ledger.State, from, to []byte) (all []Ledger, err error) {
	var origin string // "" before the first row
	var record []byte // of origin, as far as it was read
	parse := func() error {
		if origin == "" {
			return nil
		}
		l, err := parseRecord(origin, record)
		if err != nil {
			return err
		}
		if n := len(all); n > 0 && slices.Equal(all[n-1].Genesis.Members, l.Genesis.Members) {
			l.Genesis.Members = all[n-1].Genesis.Members // most of a genesis, and the same in nearly all
		}
		all, record = append(all, *l), record[:0]
		return nil
	}
	var bad error
	err = s.Range(from, to, func(key, value []byte) bool {
		of, part, ok := parseRow(key)
		switch {
		case ok && part == 0:
			bad, origin = parse(), of
		case !ok || of != origin || len(record) != part*ledger.MaxStateValue:
			bad = errors.Newf("a row with the key %q", key)
		}
		record = append(record, value...)
		return bad == nil
	})
	if err == nil && bad == nil {
		bad = parse()
	}
	switch {
	case err != nil:
		return nil, err
	case bad != nil:
		return nil, &ledger.CorruptError{What: "row of the directory", Index: s.Size(), Err: bad}
	}
	return all, nil
}

// CreatedBy returns the ledger that an entry of the directory created, nil when it created none.
// It is what List tells of that ledger.
func CreatedBy(index uint64, leaf []byte) (*Ledger, error) {
	e, err := ledger.ParseLeaf(leaf)
	if err != nil {
		return nil, &ledger.CorruptError{What: "leaf", Index: index, Err: err}
	}
	if e.Kind != ledger.KindCommand {
		return nil, nil
	}
	o, err := ParseOutcome(e.Outcome)
	if err != nil {
		return nil, errors.Wrapf(err, "entry %d", index)
	}
	if o.Status != Created {
		return nil, nil
	}
	g, err := ParseCreate(e.Body)
	if err != nil {
		return nil, errors.Wrapf(err, "entry %d", index)
	}
	return &Ledger{Genesis: g, Group: o.ID, Creator: e.Principal, Time: e.Time, Index: index}, nil
}
