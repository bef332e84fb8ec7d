package node

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/formation"
	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/raftnode/transport"
)

const (
	identityFile  = "IDENTITY"
	identityMagic = "cairn identity v1"
	membersFile   = "MEMBERS"
	lockFile      = "LOCK"
	walDir        = "wal"
	ledgerDir     = "ledger"
)

// ErrForeignData says that a data directory belongs to another node, another
// cluster or another ledger. Nothing in it was touched.
var ErrForeignData = errors.New("the data directory belongs to another node")

// ErrNotInitialised says that the data directory is not that of any node. A node never makes one by
// itself: a voter that came back with an empty directory would have forgotten its votes and the
// entries that it acknowledged.
var ErrNotInitialised = errors.New("the data directory has not been initialised")

// ErrInitialised says that the data directory is a node's already.
var ErrInitialised = errors.New("the data directory has been initialised already")

// ErrLocked says that another process uses the data directory.
var ErrLocked = errors.New("the data directory is in use by another process")

// dataDir is a node's directory on disk, locked for as long as it is open:
//
//	IDENTITY  whose data this is, and the directory's incarnation (text, checksummed)
//	MEMBERS   the incarnations of all members, see package formation (text, checksummed)
//	LOCK      flock(2) held by the running process
//	wal/      the Raft log
//	ledger/   the ledger's Badger store
type dataDir struct {
	path string
	lock *os.File
	// incarnation tells this directory from every other one that was ever made.
	incarnation transport.Incarnation
	// lost is why the identity had to be written again; nil as a rule.
	lost error
}

// identity is what a data directory belongs to, for ever.
type identity struct {
	cluster   uint64
	node      uint64
	name      string
	directory string // of the cluster
}

// openDataDir opens the directory of an initialised node, takes its lock and compares its identity.
// It returns ErrNotInitialised, ErrLocked or ErrForeignData, wrapped, without having changed
// anything, when the directory does not belong to this node.
func openDataDir(path string, id identity) (_ *dataDir, err error) {
	file := filepath.Join(path, identityFile)
	_, noIdentity := os.Stat(file)
	_, noMembers := os.Stat(filepath.Join(path, membersFile))
	if errors.Is(noIdentity, os.ErrNotExist) && errors.Is(noMembers, os.ErrNotExist) {
		if err := refuseLeftovers(path); err != nil {
			return nil, err
		}
		return nil, errors.Wrapf(ErrNotInitialised, "%s: a node of a new cluster is made with 'cairn node init'; "+
			"a node whose data was lost cannot be made again, the members that know it refuse it", path)
	}
	d, err := lockDataDir(path)
	if err != nil {
		return nil, err
	}
	raw, err := wholefile.Read(file, maxConfigBytes)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.CombineErrors(errors.Wrap(err, "read identity"), d.close())
	}
	var have identity
	var incarnation transport.Incarnation
	if err == nil {
		have, incarnation, err = parseIdentity(raw)
	}
	if err != nil {
		d.lost = errors.Wrapf(err, "read %s", file)
		if have, incarnation, err = d.identityFromMembers(id); err != nil {
			return nil, errors.CombineErrors(errors.Wrapf(err, "put your copy of %s back, that of this directory, and start the node again: %v", file, d.lost), d.close())
		}
		if err := wholefile.WriteSync(file, have.marshal(incarnation), 0o600); err != nil {
			return nil, errors.CombineErrors(errors.Wrap(err, "write identity"), d.close())
		}
	}
	if have != id {
		return nil, errors.CombineErrors(errors.Wrapf(ErrForeignData,
			"%s holds %s; this configuration is %s: correct data_dir or the configuration", path, have, id), d.close())
	}
	d.incarnation = incarnation
	return d, nil
}

// identityFromMembers returns the identity of a directory whose identity file is lost: MEMBERS holds
// cluster, node and incarnation, too. They have to be those of the configuration, which gives the
// names. The Raft log and the store are of the same cluster, node and directory, or do not open.
func (d *dataDir) identityFromMembers(want identity) (id identity, incarnation transport.Incarnation, err error) {
	raw, err := wholefile.Read(d.sub(membersFile), maxConfigBytes)
	if err != nil {
		return id, incarnation, err
	}
	state, err := formation.Parse(raw)
	if err != nil {
		return id, incarnation, errors.Wrapf(err, "read %s", d.sub(membersFile))
	}
	if cluster, node := state.Of(); cluster != want.cluster || node != want.node {
		return id, incarnation, errors.Wrapf(ErrForeignData, "%s is of node %d of cluster %016x; this configuration is %s", d.sub(membersFile), node, cluster, want)
	}
	return want, state.Knows(want.node), nil
}

// createDataDir makes the directory of a new node, draws its incarnation and takes its lock. The
// identity is written by adopt, last, so that an interrupted creation can be repeated.
func createDataDir(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, errors.Wrap(err, "create data directory")
	}
	// The other members remember this directory for ever, so its name must outlive a power failure.
	if err := wholefile.SyncDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	d, err := lockDataDir(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(d.sub(identityFile)); err == nil {
		return nil, errors.CombineErrors(errors.Wrap(ErrInitialised, path), d.close())
	}
	for _, sub := range []string{walDir, ledgerDir} {
		if err := os.MkdirAll(d.sub(sub), 0o700); err != nil {
			return nil, errors.CombineErrors(errors.Wrap(err, "create data directory"), d.close())
		}
	}
	_, _ = rand.Read(d.incarnation[:]) // never fails, says the package
	return d, nil
}

// adopt makes the directory the node's, durably, with what the node remembers of the members.
func (d *dataDir) adopt(id identity, members []byte) error {
	if err := wholefile.WriteSync(d.sub(membersFile), members, 0o600); err != nil {
		return errors.Wrap(err, "write members")
	}
	return errors.Wrap(wholefile.WriteSync(d.sub(identityFile), id.marshal(d.incarnation), 0o600), "write identity")
}

func lockDataDir(path string) (*dataDir, error) {
	lock, err := os.OpenFile(filepath.Join(path, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errors.Wrap(err, "open lock file")
	}
	if err := lockExclusive(lock); err != nil {
		lock.Close()
		if errors.Is(err, ErrLocked) {
			return nil, errors.Wrapf(err, "%s: stop that process first", path)
		}
		return nil, errors.Wrap(err, "lock data directory")
	}
	return &dataDir{path: path, lock: lock}, nil
}

// refuseLeftovers keeps a node from adopting data whose identity was lost.
func refuseLeftovers(path string) error {
	for _, sub := range []string{walDir, ledgerDir} {
		entries, err := os.ReadDir(filepath.Join(path, sub))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return errors.Wrap(err, "look into data directory")
		}
		if len(entries) > 0 {
			return errors.Wrapf(ErrForeignData, "%s holds data, but neither %s nor %s: put your copies of them back and start the node again", path, identityFile, membersFile)
		}
	}
	return nil
}

func (d *dataDir) close() error { return d.lock.Close() }

func (d *dataDir) sub(name string) string { return filepath.Join(d.path, name) }

// tightest returns the directory with the least free space, and what a user process can still
// write to its file system, in bytes. The Raft log and the ledger may lie on file systems of
// their own, as links or mounts: each counts.
func (d *dataDir) tightest() (path string, free int64, err error) {
	for _, p := range []string{d.path, d.sub(walDir), d.sub(ledgerDir)} {
		n, err := statFree(p)
		if p != d.path && errors.Is(err, os.ErrNotExist) {
			continue // the store and the log notice by themselves that their directory is gone
		}
		if err != nil {
			return "", 0, errors.Wrap(err, "read free disk space")
		}
		if path == "" || n < free {
			path, free = p, n
		}
	}
	return path, free, nil
}

// freeBytes returns the least free space of the file systems that hold the node's data.
func (d *dataDir) freeBytes() (int64, error) {
	_, free, err := d.tightest()
	return free, err
}

// statFree is freeSpace, or what a test says.
var statFree = freeSpace

func (id identity) String() string {
	return fmt.Sprintf("node %s (%d) of cluster %016x, directory %s", id.name, id.node, id.cluster, id.directory)
}

func (id identity) marshal(incarnation transport.Incarnation) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\ncluster %016x\nnode %d %s\ndirectory %s\nincarnation %s\n",
		identityMagic, id.cluster, id.node, id.name, id.directory, incarnation)
	fmt.Fprintf(&b, "crc32c %08x\n", crc32.Checksum(b.Bytes(), castagnoli))
	return b.Bytes()
}

// VerifyDataDir checks the small files of a stopped node's data directory, and that they are of the
// same node. It writes nothing.
func VerifyDataDir(path string) error {
	raw, err := wholefile.Read(filepath.Join(path, identityFile), maxConfigBytes)
	if err != nil {
		return errors.Wrap(err, "read IDENTITY")
	}
	id, incarnation, err := parseIdentity(raw)
	if err != nil {
		return errors.Wrap(err, filepath.Join(path, identityFile))
	}
	if raw, err = wholefile.Read(filepath.Join(path, membersFile), maxConfigBytes); err != nil {
		return errors.Wrap(err, "read MEMBERS")
	}
	state, err := formation.Parse(raw)
	if cluster, self := state.Of(); err == nil && (cluster != id.cluster || self != id.node || state.Knows(id.node) != incarnation) {
		err = errors.Newf("it is not of the node and the incarnation that IDENTITY names, %s", id)
	}
	return errors.Wrap(err, filepath.Join(path, membersFile))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func parseIdentity(raw []byte) (id identity, incarnation transport.Incarnation, err error) {
	body, sum, ok := strings.Cut(string(raw), "crc32c ")
	if !ok || sum != fmt.Sprintf("%08x\n", crc32.Checksum([]byte(body), castagnoli)) {
		return id, incarnation, errors.New("the checksum does not match: the file is damaged")
	}
	lines := strings.Split(body, "\n")
	if len(lines) != 6 || lines[0] != identityMagic {
		return id, incarnation, errors.Newf("the file does not start with %q", identityMagic)
	}
	if _, err := fmt.Sscanf(lines[1], "cluster %x", &id.cluster); err != nil {
		return id, incarnation, errors.Wrap(err, "parse the cluster line")
	}
	if _, err := fmt.Sscanf(lines[2], "node %d %s", &id.node, &id.name); err != nil {
		return id, incarnation, errors.Wrap(err, "parse the node line")
	}
	if _, err := fmt.Sscanf(lines[3], "directory %s", &id.directory); err != nil {
		return id, incarnation, errors.Wrap(err, "parse the directory line")
	}
	digits, ok := strings.CutPrefix(lines[4], "incarnation ")
	if !ok {
		return id, incarnation, errors.New("the file names no incarnation")
	}
	incarnation, err = formation.ParseIncarnation(digits)
	return id, incarnation, err
}
