package ledger

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

const (
	recordGenesis  = 1
	genesisVersion = 1

	maxGenesisKeys       = 8
	maxGenesisKey        = 8192
	maxGenesisMembers    = 32
	maxGenesisParameters = 64
	maxParameterName     = 64
	maxParameterValue    = 1024
)

// Genesis is entry 0 of a ledger: what it is, who keeps it, and whose signatures seal it. The
// entry's principal is who created the ledger and its time is when, 0 for the cluster's own ledger,
// which begins before any clock counts.
type Genesis struct {
	FeatureLevel   uint32
	Origin         string
	Program        string
	ProgramVersion uint32
	// Parameters are those of the program, with names in ascending order.
	Parameters []Parameter
	// LogKeys are the keys of the log's own line in a checkpoint, C2SP vkeys.
	LogKeys []string
	// Members keep the ledger, with ids in ascending order.
	Members []Member
	// SealQuorum is how many cosignatures of members seal a checkpoint.
	SealQuorum uint32
}

// Parameter is one that a ledger's program was created with.
type Parameter struct{ Name, Value string }

// Member is a node that keeps a replica of a ledger.
type Member struct {
	ID       uint64 // Raft id
	Name     string
	Cosigner string // C2SP vkey of its cosignatures
}

// Normalise sorts parameters and members. It is for who makes a Genesis; ParseGenesis refuses what
// is out of order.
func (g *Genesis) Normalise() {
	slices.SortFunc(g.Parameters, func(a, b Parameter) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(g.Members, func(a, b Member) int { return int(int64(a.ID) - int64(b.ID)) })
}

// Marshal returns the body of the entry, or says what is wrong with the genesis.
func (g *Genesis) Marshal() ([]byte, error) {
	if err := g.check(); err != nil {
		return nil, err
	}
	b := []byte{recordGenesis, genesisVersion}
	b = binary.BigEndian.AppendUint32(b, g.FeatureLevel)
	b = appendText(b, g.Origin)
	b = appendText(b, g.Program)
	b = binary.BigEndian.AppendUint32(b, g.ProgramVersion)
	b = append(b, byte(len(g.Parameters)))
	for _, p := range g.Parameters {
		b = appendText(appendText(b, p.Name), p.Value)
	}
	b = append(b, byte(len(g.LogKeys)))
	for _, k := range g.LogKeys {
		b = appendText(b, k)
	}
	b = append(b, byte(len(g.Members)))
	for _, m := range g.Members {
		b = binary.BigEndian.AppendUint64(b, m.ID)
		b = appendText(appendText(b, m.Name), m.Cosigner)
	}
	return binary.BigEndian.AppendUint32(b, g.SealQuorum), nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// check says what is wrong. Whatever it accepts, Marshal encodes so that ParseGenesis gives it
// back.
func (g *Genesis) check() error {
	switch {
	case g.FeatureLevel == 0:
		return errors.New("genesis: feature level 0")
	case len(g.Origin) == 0 || len(g.Origin) > maxOriginSize:
		return errors.Newf("genesis: origin of %d bytes, want 1 to %d", len(g.Origin), maxOriginSize)
	case len(g.Program) == 0 || len(g.Program) > maxProgramName:
		return errors.Newf("genesis: a program with a name of %d bytes, want 1 to %d", len(g.Program), maxProgramName)
	case len(g.Parameters) > maxGenesisParameters:
		return errors.Newf("genesis: %d parameters, at most %d", len(g.Parameters), maxGenesisParameters)
	case len(g.LogKeys) == 0 || len(g.LogKeys) > maxGenesisKeys:
		return errors.Newf("genesis: %d log keys, want 1 to %d", len(g.LogKeys), maxGenesisKeys)
	case len(g.Members) == 0 || len(g.Members) > maxGenesisMembers:
		return errors.Newf("genesis: %d members, want 1 to %d", len(g.Members), maxGenesisMembers)
	case g.SealQuorum == 0 || int(g.SealQuorum) > len(g.Members):
		return errors.Newf("genesis: a seal quorum of %d of %d members", g.SealQuorum, len(g.Members))
	}
	for i, p := range g.Parameters {
		switch {
		case len(p.Name) == 0 || len(p.Name) > maxParameterName || len(p.Value) > maxParameterValue:
			return errors.Newf("genesis: a parameter whose name has %d bytes and whose value has %d; want 1 to %d, and at most %d",
				len(p.Name), len(p.Value), maxParameterName, maxParameterValue)
		case i > 0 && p.Name <= g.Parameters[i-1].Name:
			return errors.Newf("genesis: parameter %q stands behind %q", p.Name, g.Parameters[i-1].Name)
		}
	}
	for _, k := range g.LogKeys {
		if len(k) == 0 || len(k) > maxGenesisKey {
			return errors.Newf("genesis: a log key of %d bytes, want 1 to %d", len(k), maxGenesisKey)
		}
	}
	for i, m := range g.Members {
		switch {
		case m.ID == 0 || i > 0 && m.ID <= g.Members[i-1].ID:
			return errors.Newf("genesis: member %d: ids start at 1 and ascend", m.ID)
		case len(m.Name) == 0 || len(m.Name) > maxParameterName:
			return errors.Newf("genesis: a member whose name has %d bytes, want 1 to %d", len(m.Name), maxParameterName)
		case len(m.Cosigner) == 0 || len(m.Cosigner) > maxGenesisKey:
			return errors.Newf("genesis: a cosigner key of %d bytes, want 1 to %d", len(m.Cosigner), maxGenesisKey)
		}
	}
	return nil
}

// ErrNoGenesis says that a ledger's entry 0 is no genesis.
var ErrNoGenesis = errors.New("entry 0 is no genesis")

// ParseGenesis parses the body of a record. Every byte string either is refused or encodes back to
// itself.
func ParseGenesis(body []byte) (*Genesis, error) {
	r := reader{rest: body}
	if kind, version := r.byte(), r.byte(); r.failed || kind != recordGenesis || version != genesisVersion {
		return nil, errors.Newf("a record of %d bytes that is no genesis of version %d", len(body), genesisVersion)
	}
	g := &Genesis{FeatureLevel: r.uint32(), Origin: r.text(), Program: r.text(), ProgramVersion: r.uint32()}
	for range r.byte() {
		g.Parameters = append(g.Parameters, Parameter{r.text(), r.text()})
	}
	for range r.byte() {
		g.LogKeys = append(g.LogKeys, r.text())
	}
	for range r.byte() {
		g.Members = append(g.Members, Member{ID: r.uint64(), Name: r.text(), Cosigner: r.text()})
	}
	g.SealQuorum = r.uint32()
	if r.failed || len(r.rest) > 0 {
		return nil, errors.Newf("genesis: %d bytes that end too early, or too late", len(body))
	}
	return g, g.check()
}

// reader takes fields off an encoded record. After it has failed it returns zeros.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) take(n int) []byte {
	if r.failed || n > len(r.rest) {
		r.failed, r.rest = true, nil
		return make([]byte, min(n, 8))
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte     { return r.take(1)[0] }
func (r *reader) uint32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *reader) text() string {
	n := int(binary.BigEndian.Uint16(r.take(2)))
	return string(r.take(n))
}

// EncodeGenesis returns the block that begins a ledger: the genesis is its only entry. All members
// must make the same block.
func EncodeGenesis(g *Genesis, creator string, time int64) ([]byte, error) {
	body, err := g.Marshal()
	if err != nil {
		return nil, err
	}
	if len(creator) == 0 || len(creator) > MaxPrincipalSize || len(body) > MaxBody(creator, 0) {
		return nil, errors.Newf("genesis: %d bytes by a creator of %d bytes do not fit into an entry", len(body), len(creator))
	}
	batch := Batch{Principal: creator, Entries: []NewEntry{{Kind: KindRecord, Body: body}}}
	return EncodeBlock(Anchor{Root: merkle.EmptyRoot()}, time, []Batch{batch})
}

// acceptGenesis says whether an entry at index 0 is the genesis of this ledger: for this origin and
// this program. It returns the feature level.
func (l *Ledger) acceptGenesis(e *BlockEntry) (level uint32, err error) {
	g, err := ParseGenesis(e.Body)
	if err != nil {
		return 0, err
	}
	if g.Origin != l.cfg.Origin {
		return 0, errors.Newf("the genesis is that of %q, this is %q", g.Origin, l.cfg.Origin)
	}
	if name, version := l.program.Name(), l.program.Version(); g.Program != name || g.ProgramVersion != version {
		return 0, errors.Newf("the genesis wants the program %s in version %d, this one is %s in version %d", g.Program, g.ProgramVersion, name, version)
	}
	if !l.isLog {
		l.applier.genesis = g
	}
	return g.FeatureLevel, nil
}

// loadGenesis reads the genesis for the program, when the ledger has entries.
func (l *Ledger) loadGenesis() error {
	if l.isLog || l.Head().Size == 0 {
		return nil
	}
	g, err := l.Genesis()
	if err != nil && !errors.Is(err, ErrNoGenesis) {
		return err
	}
	l.applier.genesis = g
	c, index, err := l.Restored()
	if c != nil {
		l.applier.restored = c.restoration(index)
	}
	return err
}

// Genesis returns the ledger's genesis, or ErrNoGenesis.
func (l *Ledger) Genesis() (*Genesis, error) {
	leaf, err := l.Leaf(0)
	if err != nil {
		return nil, errors.Wrap(err, "read the genesis")
	}
	return GenesisOf(leaf)
}

// GenesisOf returns the genesis that entry 0, given as its leaf, holds. Errors match ErrNoGenesis.
func GenesisOf(leaf []byte) (*Genesis, error) {
	e, err := ParseLeaf(leaf)
	if err == nil && e.Kind != KindRecord {
		err = errors.Newf("it is a %s", e.Kind)
	}
	var g *Genesis
	if err == nil {
		g, err = ParseGenesis(e.Body)
	}
	if err != nil {
		return nil, errors.Mark(errors.Wrap(err, ErrNoGenesis.Error()), ErrNoGenesis)
	}
	return g, nil
}

// Diff says what differs between two genesis entries of one ledger, for an error; "" when nothing
// does.
func (g *Genesis) Diff(o *Genesis) string {
	a, errA := g.Marshal()
	b, errB := o.Marshal()
	switch {
	case errA == nil && errB == nil && bytes.Equal(a, b):
		return ""
	case g.Origin != o.Origin:
		return fmt.Sprintf("the origin %q is not %q", g.Origin, o.Origin)
	case g.Program != o.Program || g.ProgramVersion != o.ProgramVersion:
		return fmt.Sprintf("the program %s (version %d) is not %s (version %d)", g.Program, g.ProgramVersion, o.Program, o.ProgramVersion)
	case !slices.Equal(g.Parameters, o.Parameters):
		return fmt.Sprintf("the parameters %v are not %v", g.Parameters, o.Parameters)
	case g.SealQuorum != o.SealQuorum:
		return fmt.Sprintf("the seal quorum %d is not %d", g.SealQuorum, o.SealQuorum)
	case !slices.Equal(g.LogKeys, o.LogKeys):
		return "the log keys differ"
	case !slices.Equal(g.Members, o.Members):
		return "the members, or their cosigner keys, differ"
	}
	return fmt.Sprintf("the feature level %d is not %d", g.FeatureLevel, o.FeatureLevel)
}
