package ledger

import (
	"encoding/binary"

	"github.com/cockroachdb/errors"
)

const (
	// FeatureLevel is the newest feature level that this program knows. Formats and programs change
	// only with a ledger's feature level: its genesis says the first one, and a record raises it
	// when every member's program knows the new one.
	FeatureLevel = 1

	recordLevel      = 2
	levelVersion     = 1
	levelSize        = 1 + 1 + 4
	firstLevel       = 1 // of a ledger without a genesis
	storedLevelBytes = 4
)

// ErrNewerLevel says that a ledger has a feature level that this program does not know.
var ErrNewerLevel = errors.New("a newer feature level: upgrade this node")

// LevelBatch returns the batch that raises a ledger's feature level. It is for the leader, who is
// the principal: callers cannot hand in records.
func LevelBatch(principal string, level uint32) Batch {
	body := binary.BigEndian.AppendUint32([]byte{recordLevel, levelVersion}, level)
	return Batch{Principal: principal, Entries: []NewEntry{{Kind: KindRecord, Body: body}}}
}

// ParseLevel parses the body of a record that raises the feature level.
func ParseLevel(body []byte) (level uint32, err error) {
	if len(body) != levelSize || body[0] != recordLevel || body[1] != levelVersion {
		return 0, errors.Newf("a record of %d bytes that raises no feature level", len(body))
	}
	return binary.BigEndian.Uint32(body[2:]), nil
}

// NewestLevel returns the newest feature level that the records of an encoded block ask for, 0 when
// it has none. It reads no more than the flags of a block without records. What does not parse asks
// for nothing.
func NewestLevel(raw []byte) (level uint32) {
	if len(raw) < blockPrefixSize || raw[5]&blockHasRecords == 0 {
		return 0
	}
	b, err := ParseBlock(raw)
	if err != nil {
		return 0
	}
	for i := range b.Batches {
		for j := range b.Batches[i].Entries {
			if e := &b.Batches[i].Entries[j]; e.Kind == KindRecord {
				if l, err := ParseLevel(e.Body); err == nil {
					level = max(level, l)
				}
			}
		}
	}
	return level
}

// Level returns the ledger's feature level.
func (l *Ledger) Level() uint32 { return l.level.Load() }

// KnownLevel returns the newest feature level that the ledger's owner knows: Config.KnownLevel.
func (l *Ledger) KnownLevel() uint32 { return l.cfg.KnownLevel }

// loadLevel reads the feature level as of the ledger's size.
func (l *Ledger) loadLevel() error {
	level, err := l.levelAt(l.cfg.Start.Size)
	if err != nil {
		return err
	}
	return l.setLevel(level)
}

// levelAt returns the feature level as of a size.
func (l *Ledger) levelAt(size uint64) (uint32, error) {
	if size == 0 {
		return firstLevel, nil
	}
	p, err := l.store.SeekLast(l.keys.level(size-1), l.keys.prefix(kindLevel, 0))
	switch {
	case errors.Is(err, ErrKeyNotFound):
		return firstLevel, nil
	case err != nil:
		return 0, errors.Wrap(err, "read the feature level")
	case len(p.Value) != storedLevelBytes:
		return 0, &CorruptError{What: "feature level", Index: size, Err: errors.Newf("%d bytes", len(p.Value))}
	}
	return binary.BigEndian.Uint32(p.Value), nil
}

func (l *Ledger) setLevel(level uint32) error {
	if level > l.cfg.KnownLevel {
		return errors.Wrapf(ErrNewerLevel, "the ledger %s has level %d, this program knows %d", l.cfg.Origin, level, l.cfg.KnownLevel)
	}
	l.level.Store(level)
	return nil
}

// acceptRecord says whether a batch that begins with a record is one that the ledger takes there:
// the genesis as entry 0, and behind it a higher feature level, a policy change or the end of a
// hand-over. stop is ErrNewerLevel when only a newer program can go on, or the store's error.
func (l *Ledger) acceptRecord(entries []*BlockEntry, first uint64, alone bool) (refused, stop error) {
	if len(entries) > 1 {
		return errors.New("a record stands alone in its batch"), nil
	}
	var level uint32
	var err error
	if body := entries[0].Body; first > 0 && (isPolicyChange(body) || isHandover(body)) {
		return l.acceptPolicy(body, first, alone)
	}
	if first == 0 {
		level, err = l.acceptGenesis(entries[0])
	} else if level, err = ParseLevel(entries[0].Body); err == nil && level <= l.Level() {
		err = errors.Newf("the feature level is %d already", l.Level())
	}
	if err != nil {
		return err, nil
	}
	a := &l.applier.applierState
	a.pairs = append(a.pairs, Pair{l.keys.level(first), binary.BigEndian.AppendUint32(nil, level)})
	return nil, l.setLevel(level)
}
