package badgerstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/errors"
	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
)

// DamagedError says which file of the store cannot be trusted. The store's contents can be rebuilt
// from the blocks of a peer.
type DamagedError struct {
	File   string // empty when Badger did not say
	Reason string
	Remedy string // what helps; empty if nothing does
}

func (e *DamagedError) Error() string {
	text := "damaged store: " + e.Reason
	if e.File != "" {
		text = fmt.Sprintf("damaged store file %s: %s", e.File, e.Reason)
	}
	if e.Remedy != "" {
		text += ": " + e.Remedy
	}
	return text
}

// verifyFiles checks the KEYREGISTRY, the MANIFEST and every block of the tables that the MANIFEST
// names. Other table files are left from a crash; Badger removes them.
func verifyFiles(dir string) error {
	if err := verifyKeyRegistry(dir); err != nil {
		return err
	}
	ids, err := manifestTables(dir)
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(2)
	for _, id := range ids {
		g.Go(func() error { return verifyTable(table.NewFilename(id, dir)) })
	}
	return g.Wait()
}

// verifyKeyRegistry checks the file in which Badger would keep the keys of an encrypted store: 16
// random bytes and a text that says whether the key is right. Ours has no keys.
func verifyKeyRegistry(dir string) error {
	name := filepath.Join(dir, badger.KeyRegistryFileName)
	b, err := os.ReadFile(name)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return errors.Wrap(err, "read key registry")
	}
	if text := []byte("Hello Badger"); len(b) != 16+len(text) || !bytes.Equal(b[16:], text) {
		return &DamagedError{File: name, Reason: "not the registry of a store without encryption", Remedy: "remove it, it holds nothing that is needed"}
	}
	return nil
}

func manifestTables(dir string) ([]uint64, error) {
	name := filepath.Join(dir, badger.ManifestFilename)
	f, err := os.Open(name)
	if os.IsNotExist(err) {
		// Badger would begin an empty store and remove the tables.
		if tables, _ := filepath.Glob(filepath.Join(dir, "*.sst")); len(tables) > 0 {
			return nil, &DamagedError{File: name, Reason: "it is gone"}
		}
		return nil, nil
	}
	if err != nil {
		return nil, errors.Wrap(err, "open manifest")
	}
	defer f.Close()
	m, _, err := replayManifest(f)
	if err != nil {
		return nil, &DamagedError{File: name, Reason: err.Error()}
	}
	ids := make([]uint64, 0, len(m.Tables))
	for id, t := range m.Tables {
		// Written by nobody but us, and no other values are: Badger would end the process over
		// them.
		if t.Compression != options.None || t.KeyID != 0 || t.Level >= 7 || id > 1<<31 {
			return nil, &DamagedError{File: name, Reason: fmt.Sprintf("table %d with compression %d, key %d, level %d", id, t.Compression, t.KeyID, t.Level)}
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

func replayManifest(f *os.File) (m badger.Manifest, end int64, err error) {
	defer recoverInto(&err, "read manifest")
	return badger.ReplayManifestFile(f, 1, badger.DefaultOptions("").WithLogger(logger{}))
}

// verifyTable checks one table: blocks ‖ index ‖ index length (4) ‖ checksum ‖ checksum length (4),
// all lengths big endian; a block ends with its entry offsets, their number (4), checksum and
// checksum length (4).
func verifyTable(name string) (err error) {
	damaged := func(format string, args ...any) error {
		return &DamagedError{File: name, Reason: fmt.Sprintf(format, args...)}
	}
	defer func() {
		if r := recover(); r != nil {
			err = damaged("index cannot be read: %v", r)
		}
	}()
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return damaged("it is gone")
	}
	if err != nil {
		return errors.Wrap(err, "open table")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return errors.Wrap(err, "open table")
	}
	size := info.Size()
	if size < 16 || size > 1<<30 {
		return damaged("%d bytes", size)
	}
	data, unmap, err := mapFile(f, int(size))
	if err != nil {
		return errors.Wrapf(err, "map table %s", name)
	}
	defer unmap()

	sum, rest, err := cutChecksum(data)
	if err != nil {
		return damaged("footer: %v", err)
	}
	indexLen, rest, ok := cutLength(rest)
	if !ok {
		return damaged("index length")
	}
	index := rest[len(rest)-indexLen:]
	if err := y.VerifyChecksum(index, sum); err != nil {
		return damaged("index: checksum mismatch")
	}
	root := fb.GetRootAsTableIndex(index, 0)
	n := root.OffsetsLength()
	if n == 0 {
		return damaged("index without blocks")
	}
	var bo fb.BlockOffset
	for i := range n {
		root.Offsets(&bo, i)
		from, to := int64(bo.Offset()), int64(bo.Offset())+int64(bo.Len())
		if to > int64(len(rest)-indexLen) || from >= to {
			return damaged("block %d lies outside the file", i)
		}
		if err := verifyBlock(data[from:to]); err != nil {
			return damaged("block %d at offset %d: %v", i, from, err)
		}
	}
	return nil
}

func verifyBlock(b []byte) error {
	sum, rest, err := cutChecksum(b)
	if err != nil {
		return err
	}
	if err := y.VerifyChecksum(rest, sum); err != nil {
		return errors.New("checksum mismatch")
	}
	if len(rest) < 4 || int64(binary.BigEndian.Uint32(rest[len(rest)-4:]))*4 > int64(len(rest)-4) {
		return errors.New("entry offsets exceed the block")
	}
	return nil
}

// cutChecksum takes checksum and checksum length off the end.
func cutChecksum(b []byte) (*pb.Checksum, []byte, error) {
	n, rest, ok := cutLength(b)
	if !ok {
		return nil, nil, errors.New("checksum length exceeds the data")
	}
	sum := &pb.Checksum{}
	if err := proto.Unmarshal(rest[len(rest)-n:], sum); err != nil {
		return nil, nil, errors.New("checksum cannot be parsed")
	}
	// The only other one that Badger knows is written with other options; an unknown one makes it
	// panic.
	if sum.Algo != pb.Checksum_CRC32C {
		return nil, nil, errors.Newf("checksum algorithm %d", sum.Algo)
	}
	return sum, rest[:len(rest)-n], nil
}

// cutLength takes a length off the end and checks that so many bytes stand before it.
func cutLength(b []byte) (n int, rest []byte, ok bool) {
	if len(b) < 4 {
		return 0, nil, false
	}
	rest = b[:len(b)-4]
	length := binary.BigEndian.Uint32(b[len(b)-4:])
	if int64(length) > int64(len(rest)) {
		return 0, nil, false
	}
	return int(length), rest, true
}
