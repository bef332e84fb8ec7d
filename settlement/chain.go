package settlement

import (
	"encoding/binary"

	"github.com/cairnledger/cairn/ledger"
)

// chain is a list of instructions in rows, in the order in which they joined it. Rows are never
// deleted, so a plain range of rows would have to pass every instruction that has left. In a chain
// each member names its neighbours: to join and to leave reads and writes at most four rows,
// however many there are or were.
//
// The row of the head has the key name and the value: id of the first member, id of the last one;
// empty when there is none. The row of a member has the key name ‖ id and the value: 8 index of the
// entry at which it joined; optional id of the member before; optional id of the one behind. It is
// empty once the member has left.
type chain struct {
	view ledger.View
	// name is what the keys of the chain's rows begin with. The name of no chain begins with that of
	// another one.
	name []byte
}

// link is the row of a member.
type link struct {
	since         uint64 // index of the entry at which it joined
	before, after string // "": none
}

func (c chain) key(id string) []byte {
	return append(append(make([]byte, 0, len(c.name)+len(id)), c.name...), id...)
}

func (c chain) ends() (first, last string) {
	b, _ := c.view.Get(c.name)
	return parseEnds(b)
}

func parseEnds(b []byte) (first, last string) {
	if len(b) == 0 {
		return "", ""
	}
	r := readerOf(b)
	return r.id(), r.id()
}

func (c chain) putEnds(first, last string) {
	if first == "" {
		c.view.Put(c.name, nil)
		return
	}
	c.view.Put(c.name, appendID(appendID(nil, first), last))
}

func (c chain) link(id string) link {
	b, _ := c.view.Get(c.key(id))
	return parseLink(b)
}

func parseLink(b []byte) link {
	r := readerOf(b)
	return link{r.u64(), r.optionalID(), r.optionalID()}
}

func (c chain) putLink(id string, l link) {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 8+2+len(l.before)+len(l.after)), l.since)
	c.view.Put(c.key(id), appendID(appendID(b, l.before), l.after))
}

// first returns the member that joined first, "" when there is none.
func (c chain) first() string {
	first, _ := c.ends()
	return first
}

// after returns the member behind a member, "" when it is the last one.
func (c chain) after(id string) string { return c.link(id).after }

// join adds an instruction that is no member, behind all others.
func (c chain) join(id string, index uint64) {
	first, last := c.ends()
	if first == "" {
		first = id
	} else {
		l := c.link(last)
		l.after = id
		c.putLink(last, l)
	}
	c.putLink(id, link{index, last, ""})
	c.putEnds(first, id)
}

// leave removes a member.
func (c chain) leave(id string) {
	gone := c.link(id)
	first, last := c.ends()
	if gone.before == "" {
		first = gone.after
	} else {
		l := c.link(gone.before)
		l.after = gone.after
		c.putLink(gone.before, l)
	}
	if gone.after == "" {
		last = gone.before
	} else {
		l := c.link(gone.after)
		l.before = gone.before
		c.putLink(gone.after, l)
	}
	if gone.before == "" || gone.after == "" {
		c.putEnds(first, last)
	}
	c.view.Put(c.key(id), nil)
}
