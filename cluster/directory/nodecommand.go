package directory

import (
	"encoding/binary"
	"regexp"
	"strings"

	"github.com/cockroachdb/errors"
)

// Limits of what the directory remembers of a node, in bytes.
const (
	maxNodeName     = 63
	maxNodeCosigner = 4 << 10
	maxNodeAddress  = 300
)

// The operations on nodes. Each is a NodeChange with the fields that it uses; the others are zero.
const (
	// AddNode adds a node: Name, Cosigner, Peer, API, HTTP. With Replaces it removes that node, which
	// stays in each ledger until the new one votes there.
	AddNode Op = 2
	// PromoteNode has a learner vote in every ledger: ID.
	PromoteNode Op = 3
	// RemoveNode has a node leave every ledger, and then the cluster: ID.
	RemoveNode Op = 4
	// MoveNode gives a node other addresses: ID, Peer, API, HTTP.
	MoveNode Op = 5
	// JoinNode binds a node that was added to its data directory: ID, Incarnation. A node of the
	// cluster proposes it, when it meets the new one.
	JoinNode Op = 6
)

// Op is what a NodeChange does.
type Op uint8

// NodeChange is a command about a node of the cluster.
type NodeChange struct {
	Op       Op
	ID       uint64
	Name     string
	Cosigner string // C2SP vkey
	// Where the other nodes, clients and readers reach the node, host:port.
	Peer, API, HTTP string
	Incarnation     [16]byte // of the node's data directory, not zero
	Replaces        uint64   // id, 0 for none
	// Voter: the node that is added is promoted as soon as it has caught up.
	Voter bool
	// Force: fewer failures than before may be survivable after a removal.
	Force bool
}

const (
	flagVoter = 1
	flagForce = 2
)

var nodeNamePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Marshal returns the command, the body of an entry of KindCommand, or says what is wrong with it.
func (c *NodeChange) Marshal() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	return c.encode(), nil
}

func (c *NodeChange) encode() []byte {
	var flags byte
	if c.Voter {
		flags |= flagVoter
	}
	if c.Force {
		flags |= flagForce
	}
	b := binary.BigEndian.AppendUint64([]byte{byte(c.Op), commandVersion, flags}, c.ID)
	b = append(binary.BigEndian.AppendUint64(b, c.Replaces), c.Incarnation[:]...)
	for _, text := range []string{c.Name, c.Cosigner, c.Peer, c.API, c.HTTP} {
		b = appendText(b, text)
	}
	return b
}

func appendText(b []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(text))), text...)
}

// cutText takes a text off the front.
func cutText(b []byte) (text string, rest []byte, ok bool) {
	if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
		return "", nil, false
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	return string(b[2:n]), b[n:], true
}

// ParseNodeChange is the opposite of Marshal. Every byte string either is refused or encodes back to
// itself.
func ParseNodeChange(b []byte) (*NodeChange, error) {
	if !isNodeChange(b) {
		return nil, errors.Newf("no command about a node: %d bytes that begin with %x", len(b), b[:min(len(b), commandHeader)])
	}
	const fixed = commandHeader + 1 + 8 + 8 + 16
	if len(b) < fixed || b[2]&^(flagVoter|flagForce) != 0 {
		return nil, errors.Newf("a command about a node of %d bytes", len(b))
	}
	c := &NodeChange{
		Op: Op(b[0]), Voter: b[2]&flagVoter != 0, Force: b[2]&flagForce != 0,
		ID: binary.BigEndian.Uint64(b[3:]), Replaces: binary.BigEndian.Uint64(b[11:]), Incarnation: [16]byte(b[19:]),
	}
	rest, ok := b[fixed:], true
	for _, text := range []*string{&c.Name, &c.Cosigner, &c.Peer, &c.API, &c.HTTP} {
		if *text, rest, ok = cutText(rest); !ok {
			return nil, errors.Newf("a command about a node of %d bytes ends too early", len(b))
		}
	}
	if len(rest) > 0 {
		return nil, errors.Newf("a command about a node with %d bytes behind its end", len(rest))
	}
	return c, c.check()
}

func isNodeChange(b []byte) bool {
	return len(b) >= commandHeader && b[0] >= byte(AddNode) && b[0] <= byte(JoinNode) && b[1] == commandVersion
}

// check says what is wrong with the command in itself.
func (c *NodeChange) check() error {
	add, move, join := c.Op == AddNode, c.Op == MoveNode, c.Op == JoinNode
	switch {
	case c.Op < AddNode || c.Op > JoinNode:
		return errors.Newf("the operation %d is unknown", c.Op)
	case add != (c.ID == 0):
		return errors.New("the directory gives a new node its id; every other command names one")
	case add && !nodeNamePattern.MatchString(c.Name):
		return errors.Newf("%q is not a node name: 1 to %d lower-case letters, digits and dashes", c.Name, maxNodeName)
	case add && (len(c.Cosigner) == 0 || len(c.Cosigner) > maxNodeCosigner):
		return errors.Newf("a cosigner key of %d bytes, want 1 to %d", len(c.Cosigner), maxNodeCosigner)
	case !add && (c.Name != "" || c.Cosigner != "" || c.Replaces != 0 || c.Voter):
		return errors.New("a command about a node that exists has another name, key or role")
	case join != (c.Incarnation != [16]byte{}):
		return errors.New("a data directory is of a node that joins, and of no other")
	case c.Force && c.Op != RemoveNode && c.Replaces == 0:
		return errors.New("nothing is to be forced")
	}
	for _, a := range []string{c.Peer, c.API, c.HTTP} {
		if (add || move) != (a != "") || len(a) > maxNodeAddress || strings.ContainsFunc(a, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return errors.Newf("the address %q: want 1 to %d bytes of printable ASCII for a node that is added or moved", a, maxNodeAddress)
		}
	}
	return nil
}
