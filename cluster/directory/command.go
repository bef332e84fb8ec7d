package directory

import (
	"encoding/binary"
	"regexp"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
)

const (
	opCreate       = 1
	commandVersion = 1
	commandHeader  = 2

	outcomeVersion = 1
	outcomeSize    = 1 + 1 + 8

	maxOrigin = 200
)

var originPattern = regexp.MustCompile(`^[A-Za-z0-9_~-][A-Za-z0-9._~-]*(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$`)

// CheckOrigin says what is wrong with the name of a ledger. A name has 1 to 200 bytes: segments of
// letters, digits and "._~-" with a slash between two of them. No segment begins with a dot.
func CheckOrigin(origin string) error {
	if len(origin) == 0 || len(origin) > maxOrigin {
		return errors.Newf("an origin of %d bytes, want 1 to %d", len(origin), maxOrigin)
	}
	if !originPattern.MatchString(origin) {
		return errors.Newf("origin %q: want segments of letters, digits and ._~- that do not begin with a dot, with single slashes between them", origin)
	}
	return nil
}

// Create returns the command that creates a ledger with this genesis: the body of an entry of
// KindCommand.
func Create(g *ledger.Genesis) (command []byte, err error) {
	if err := CheckOrigin(g.Origin); err != nil {
		return nil, errors.Wrap(err, "create a ledger")
	}
	genesis, err := g.Marshal()
	if err != nil {
		return nil, errors.Wrap(err, "create a ledger")
	}
	return append([]byte{opCreate, commandVersion}, genesis...), nil
}

// ParseCreate returns the genesis that a command carries, the opposite of Create. Every byte string
// either is refused or encodes back to itself.
func ParseCreate(b []byte) (*ledger.Genesis, error) {
	if len(b) < commandHeader || b[0] != opCreate || b[1] != commandVersion {
		return nil, errors.Newf("no command of the directory: %d bytes that begin with %x", len(b), b[:min(len(b), commandHeader)])
	}
	g, err := ledger.ParseGenesis(b[commandHeader:])
	if err != nil {
		return nil, err
	}
	return g, CheckOrigin(g.Origin)
}

// Status says what came of a command.
type Status uint8

// The statuses.
const (
	// Created: the ledger was created.
	Created Status = 1
	// Exists: the origin has a ledger with the same program, version and parameters. Nothing was
	// created.
	Exists Status = 2
	// Conflict: the origin has another ledger, or is that of the directory. Nothing was created.
	Conflict Status = 3

	// NodeChanged: the node was added or changed. This and the following statuses come with the id of a
	// node.
	NodeChanged Status = 4
	// NodeSame: the node is as the command wants it already.
	NodeSame Status = 5
	// NodeTaken: the name belongs to another node, which may have been removed; or the data directory
	// is not that with which the node was met first. Nothing was changed, as with all that follow.
	NodeTaken Status = 6
	// NodeUnknown: no node has the id.
	NodeUnknown Status = 7
	// NodeGone: the node was removed. It never comes back.
	NodeGone Status = 8
	// NodeMany: the cluster has as many nodes as it may have, whose number is given instead of an id.
	NodeMany Status = 9
	// NodeLast: no other node would vote.
	NodeLast Status = 10
)

// String returns the status in one word.
func (s Status) String() string {
	if int(s) >= len(statuses) || s == 0 {
		return "unknown"
	}
	return statuses[s]
}

var statuses = [...]string{
	Created: "created", Exists: "exists", Conflict: "conflict",
	NodeChanged: "changed", NodeSame: "unchanged", NodeTaken: "taken", NodeUnknown: "unknown node", NodeGone: "removed node",
	NodeMany: "too many nodes", NodeLast: "last voter",
}

// Outcome is what came of a command.
type Outcome struct {
	Status Status
	// ID is the group of the ledger that has the origin, the new one or the one before; or the id of the
	// node.
	ID uint64
}

// Marshal returns the outcome's encoding.
func (o Outcome) Marshal() []byte {
	return binary.BigEndian.AppendUint64([]byte{outcomeVersion, byte(o.Status)}, o.ID)
}

// ParseOutcome parses an outcome. Every byte string either is refused or encodes back to itself.
func ParseOutcome(b []byte) (Outcome, error) {
	if len(b) != outcomeSize || b[0] != outcomeVersion {
		return Outcome{}, errors.Newf("no outcome of the directory: %x", b[:min(len(b), outcomeSize)])
	}
	o := Outcome{Status(b[1]), binary.BigEndian.Uint64(b[2:])}
	if o.Status < Created || o.Status > NodeLast || o.ID == 0 || o.ID == Group && o.Status < Conflict {
		return Outcome{}, errors.Newf("outcome of the directory: status %d with %d", o.Status, o.ID)
	}
	return o, nil
}
