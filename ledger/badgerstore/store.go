package badgerstore

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/errors"
	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/cairnledger/cairn/ledger"
)

// Options of Open.
type Options struct {
	Dir string
	// MemTableSize is the size of a memtable in bytes, 0 for 16 MiB. It bounds what is replayed
	// after a power failure and what a busy store holds in memory (three of them). Tests use less;
	// a commit of ledger.MaxCommitSize needs at least the default.
	MemTableSize int64
	// SyncBytes bounds what is committed and not known to be durable, when Flushed is called now
	// and then; 0 for 64 MiB.
	SyncBytes int64
	// ValueThreshold and ValueLogSize are for tests: 0 for 24 KiB and 256 MiB.
	ValueThreshold, ValueLogSize int64
	// Logf receives Badger's warnings and errors; nil drops them.
	Logf func(format string, args ...any)
}

const (
	defaultMemTableSize = 16 << 20
	// valueThreshold is the size in bytes above which a value goes to the value log: written once,
	// never moved. Blocks under load do, and would otherwise be rewritten by one compaction after
	// the other. Hash tiles and sealed checkpoints, which are replaced or deleted, stay below it:
	// the value log is never collected.
	valueThreshold = 24 << 10
	// syncBytes is four memtables: what fills memtables becomes durable by their flushes.
	syncBytes = 64 << 20
	// valueLogSize is the size in bytes of a value log file; twice as much is mapped.
	valueLogSize = 256 << 20
)

// Store implements ledger.Store. Safe for concurrent use.
type Store struct {
	dir       string
	db        *badger.DB
	syncBytes int64
	// syncFile makes the contents of a file durable, syncDir the names in a directory. Tests put a
	// simulated disk in their place.
	syncFile, syncDir func(name string) error
	// inspection ends an inspection after Badger was closed; nil for a store that is open for
	// writing.
	inspection func() error
	// opening is the lower part of every version that this process gives to Badger (versionOf).
	// Invariant: it is larger than that of every earlier process that committed here.
	opening uint64

	// open is read-locked by everything that reads Badger: Close unmaps the files, and a read of
	// memory that is not mapped any more ends the process.
	open struct {
		sync.RWMutex
		closed bool
	}
	mu struct {
		sync.Mutex
		err     error        // the first failed commit; final
		discard uint64       // newest of Badger's versions given to SetDiscardTs
		flushed ledger.Token // newest that is known to be durable
		syncs   uint32       // how many syncs of memtable files have begun
		// unknown is how many bytes were committed since flushed last grew. It may be too low by
		// what was committed and not yet flushed then.
		unknown int64
	}
	// syncing serialises Flushed, which waits for the disk.
	syncing struct {
		sync.Mutex
		valueLog uint64 // every value log file below this number is synced and written no more
	}
}

// Open opens or creates the store in a directory. Its errors: *DamagedError, or those of the
// environment.
func Open(o Options) (s *Store, err error) {
	o.setDefaults()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, errors.Wrap(err, "open ledger store")
	}
	var damaged *DamagedError
	if err := verifyKeyRegistry(o.Dir); errors.As(err, &damaged) { // Badger makes another one
		if err := os.Remove(damaged.File); err != nil {
			return nil, errors.Wrap(err, "open ledger store")
		}
	}
	if err := verifyFiles(o.Dir); err != nil {
		return nil, errors.Wrap(err, "open ledger store")
	}
	if err := finishLogs(o.Dir); err != nil {
		return nil, errors.Wrap(err, "open ledger store")
	}
	if err := writeValuesAgain(o.Dir); err != nil {
		return nil, errors.Wrap(err, "open ledger store")
	}
	defer recoverInto(&err, "open ledger store")
	db, err := badger.OpenManaged(badgerOptions(o))
	if err != nil {
		return nil, errors.Wrap(refusal(err), "open ledger store")
	}
	s = &Store{dir: o.Dir, db: db, syncBytes: o.SyncBytes, syncFile: syncFile, syncDir: syncDir}
	if s.opening, err = newOpening(o.Dir, syncDir); err != nil {
		return nil, errors.CombineErrors(errors.Wrap(err, "open ledger store"), db.Close())
	}
	s.discardBelow(db.MaxVersion())
	return s, nil
}

// refusals are what the environment answers, whatever the files hold. EAGAIN: another process has
// the directory open.
var refusals = []syscall.Errno{
	syscall.EAGAIN, syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT,
	syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EINTR,
}

// refusal makes a *DamagedError of Badger's refusal to open a store, unless the environment is to
// blame. Badger keeps only the text of an error.
func refusal(err error) error {
	for _, errno := range refusals {
		if strings.Contains(err.Error(), errno.Error()) {
			return err
		}
	}
	return &DamagedError{Reason: err.Error()}
}

// openingBits is the size in bits of the part of Badger's versions that tells openings of the store
// apart. It leaves 44 bits for the version.
const openingBits = 20

// versionOf is the version that Badger gets for a commit. Of two values that one key has at one
// version, Badger does not return the newer one: a compaction within level 0 puts the tables there
// into the order of their keys. A replay after a power failure writes a lost value again, at the
// version of the key that survived. So versions of one process lie above the same versions of
// earlier ones.
func (s *Store) versionOf(version uint64) (uint64, error) {
	if version == 0 || version >= 1<<(64-openingBits) {
		return 0, errors.Newf("commit to the store: version %d is not between 1 and 2^%d", version, 64-openingBits)
	}
	return version<<openingBits | s.opening, nil
}

// newOpening returns a number that no earlier opening of the store had, not even one before a power
// failure: that of the value log file which Badger creates whenever it is opened for writing. The
// directory is synced, so that the name of the file survives.
func newOpening(dir string, syncDir func(string) error) (uint64, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.vlog"))
	if err != nil || len(files) == 0 {
		return 0, errors.Newf("find the newest value log file: %v", err)
	}
	newest := uint64(0)
	for _, file := range files {
		n, err := valueLogNumber(file)
		if err != nil {
			return 0, err
		}
		newest = max(newest, n)
	}
	if newest >= 1<<openingBits {
		return 0, errors.Newf("value log file %d: there can be no more than %d", newest, 1<<openingBits)
	}
	return newest, syncDir(dir)
}

func (o *Options) setDefaults() {
	if o.MemTableSize == 0 {
		o.MemTableSize = defaultMemTableSize
	}
	if o.SyncBytes == 0 {
		o.SyncBytes = syncBytes
	}
	if o.ValueThreshold == 0 {
		o.ValueThreshold = valueThreshold
	}
	if o.ValueLogSize == 0 {
		o.ValueLogSize = valueLogSize
	}
}

func badgerOptions(o Options) badger.Options {
	return badger.DefaultOptions(o.Dir).
		WithSyncWrites(false).
		WithDetectConflicts(false).
		WithNumVersionsToKeep(1).
		WithCompression(options.None). // hashes and ciphertext do not shrink; without it no block cache is needed
		WithBlockCacheSize(0).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithMemTableSize(o.MemTableSize).
		WithValueThreshold(min(o.ValueThreshold, o.MemTableSize*15/100)).
		WithValueLogFileSize(o.ValueLogSize).
		WithVerifyValueChecksum(true).
		WithNumMemtables(2).
		WithNumCompactors(2).
		WithNumLevelZeroTables(4).
		WithNumLevelZeroTablesStall(8).
		WithCompactL0OnClose(false). // Close is on the way of a restart
		WithMetricsEnabled(false).
		WithExternalMagic(1).
		WithLogger(logger{o.Logf})
}

// Commit implements ledger.Store. It waits until readers see the pairs, not for the disk. A commit
// is limited to 15 % of the memtable.
func (s *Store) Commit(version uint64, pairs []ledger.Pair) (err error) {
	if s.inspection != nil {
		return errors.Wrap(ErrReadOnly, "commit to the store")
	}
	defer func() { err = s.remember(err) }()
	defer recoverInto(&err, "commit to the store")
	s.open.RLock()
	defer s.open.RUnlock()
	if s.open.closed {
		return errClosed
	}
	if err := s.failed(); err != nil {
		return err
	}
	txn := s.db.NewTransactionAt(math.MaxUint64, true)
	defer txn.Discard()
	bytes := 0
	entries := make([]badger.Entry, len(pairs))
	for i, p := range pairs {
		bytes += len(p.Key) + len(p.Value)
		if p.Value == nil {
			err = txn.Delete(p.Key)
		} else {
			entries[i] = badger.Entry{Key: p.Key, Value: p.Value}
			err = txn.SetEntry(&entries[i])
		}
		if err != nil {
			return errors.Wrap(err, "commit to the store")
		}
	}
	at, err := s.versionOf(version)
	if err != nil {
		return err
	}
	if err := txn.CommitAt(at, nil); err != nil {
		return errors.Wrap(err, "commit to the store")
	}
	s.mu.Lock()
	s.mu.unknown += int64(bytes)
	s.mu.Unlock()
	s.discardBelow(at)
	return nil
}

// discardBelow lets compactions drop all but the newest of Badger's versions up to this one.
func (s *Store) discardBelow(version uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if version > s.mu.discard {
		s.mu.discard = version
		s.db.SetDiscardTs(version)
	}
}

func (s *Store) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.err
}

// remember makes the first error final: Badger may show data of a commit that failed.
func (s *Store) remember(err error) error {
	if err == nil {
		return nil
	}
	s.mu.Lock()
	first := s.mu.err == nil
	if first {
		s.mu.err = err
	}
	s.mu.Unlock()
	if first && !errors.Is(err, ledger.ErrClosed) {
		noteFailedSync(s.dir)
	}
	return err
}

// A token has the number of a memtable file in its upper half, and how many syncs of memtable files
// had begun in the lower one. Invariant: both are at most those of every later token. A commit is
// durable when its memtable file was flushed, or when a sync began after it and has ended.
func tokenOf(memtable uint32, syncs uint32) ledger.Token {
	return ledger.Token(memtable)<<32 | ledger.Token(syncs)
}

// Token implements ledger.Store: the highest memtable file, and the syncs that have begun.
func (s *Store) Token() (ledger.Token, error) {
	s.mu.Lock()
	syncs := s.mu.syncs
	s.mu.Unlock()
	files, err := memtableFiles(s.dir)
	if err != nil || len(files) == 0 {
		return 0, err
	}
	return tokenOf(files[len(files)-1], syncs), nil
}

// Flushed implements ledger.Store: everything below the lowest memtable file, once the value log and
// the directory are synced, too, and after SyncBytes everything. It waits for the disk when there is
// something new; commits go on meanwhile.
func (s *Store) Flushed() (ledger.Token, error) { return s.flush(false) }

// Sync implements ledger.Store.
func (s *Store) Sync() error {
	_, err := s.flush(true)
	return err
}

// flush finds out what is durable; with all it makes everything so.
func (s *Store) flush(all bool) (ledger.Token, error) {
	if s.inspection != nil {
		return 0, errors.Wrap(ErrReadOnly, "sync the store")
	}
	s.syncing.Lock()
	defer s.syncing.Unlock()
	// A second sync of what could not be synced once may succeed: the kernel reports a failed write
	// only once and takes the pages for clean then. What was lost must never be called durable.
	if err := s.failed(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	flushed, syncs, overdue := s.mu.flushed, s.mu.syncs, all || s.mu.unknown >= s.syncBytes
	if overdue {
		s.mu.syncs++ // before the files are listed: what is committed from here on has another token
	}
	s.mu.Unlock()
	files, err := memtableFiles(s.dir)
	if err != nil || len(files) == 0 {
		return flushed, err
	}
	now := tokenOf(files[0]-1, math.MaxUint32)
	if overdue {
		now = max(now, tokenOf(files[len(files)-1], syncs))
	}
	if now <= flushed {
		return flushed, nil
	}
	// The values of these commits were written before their keys, so they are in files that exist by
	// now. Badger syncs neither them nor the directory entries of new files.
	if err := s.syncValueLog(); err != nil {
		return 0, s.remember(err)
	}
	if overdue {
		for _, n := range files {
			// One that is gone was flushed.
			if err := s.syncFile(memtableFile(s.dir, n)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return 0, s.remember(err)
			}
		}
	}
	if err := s.syncDir(s.dir); err != nil {
		return 0, s.remember(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.flushed, s.mu.unknown = now, 0
	return now, nil
}

// syncValueLog makes all values durable that have been written so far. Badger maps its files;
// syncing another descriptor of the same file writes the mapped pages as well, and does not hold
// Badger up.
func (s *Store) syncValueLog() error {
	files, err := filepath.Glob(filepath.Join(s.dir, "*.vlog"))
	if err != nil {
		return errors.Wrap(err, "list value log files")
	}
	newest := s.syncing.valueLog
	for _, file := range files {
		n, err := valueLogNumber(file)
		if err != nil {
			return err
		}
		if n < s.syncing.valueLog {
			continue
		}
		newest = max(newest, n)
		if err := s.syncFile(file); err != nil {
			return err
		}
	}
	s.syncing.valueLog = newest
	return nil
}

// valueLogNumber returns the number of a value log file.
func valueLogNumber(file string) (uint64, error) {
	n, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(file), ".vlog"), 10, 32)
	return n, errors.Wrapf(err, "list value log files: %q", file)
}

func syncFile(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return errors.Wrap(err, "sync the store")
	}
	return errors.Wrap(errors.CombineErrors(f.Sync(), f.Close()), "sync the store")
}

// memtableFile is the file of a memtable.
func memtableFile(dir string, n uint32) string { return filepath.Join(dir, fmt.Sprintf("%05d.mem", n)) }

// memtableFiles returns the numbers of the memtable files, ascending.
func memtableFiles(dir string) (files []uint32, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, errors.Wrap(err, "list memtable files")
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, errors.Wrap(err, "list memtable files")
	}
	for _, name := range names {
		stem, ok := strings.CutSuffix(name, ".mem")
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(stem, 10, 32)
		if err != nil {
			return nil, errors.Wrapf(err, "list memtable files: %q", name)
		}
		files = append(files, uint32(n))
	}
	slices.Sort(files)
	return files, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return errors.Wrap(err, "sync store directory")
	}
	defer d.Close()
	return errors.Wrap(d.Sync(), "sync store directory")
}

// errClosed is returned by everything that comes after Close.
var errClosed = errors.Wrap(ledger.ErrClosed, "use the ledger store")

// Close implements ledger.Store. It waits for reads that are under way; later ones get
// ledger.ErrClosed. After a commit or sync that failed it returns that error: Badger's own Close
// may succeed, and what was lost must not be called durable.
func (s *Store) Close() (err error) {
	defer recoverInto(&err, "close ledger store")
	s.open.Lock()
	defer s.open.Unlock()
	if s.open.closed {
		return errClosed
	}
	s.open.closed = true
	err = errors.CombineErrors(s.failed(), errors.Wrap(s.db.Close(), "close ledger store"))
	if s.inspection != nil {
		err = errors.CombineErrors(err, s.inspection())
	}
	return err
}

// Size returns the bytes of the store's tables and values.
func (s *Store) Size() (int64, error) {
	files, err := filepath.Glob(filepath.Join(s.dir, "*.sst"))
	if err != nil {
		return 0, errors.Wrap(err, "measure the store")
	}
	values, err := filepath.Glob(filepath.Join(s.dir, "*.vlog"))
	if err != nil {
		return 0, errors.Wrap(err, "measure the store")
	}
	files = append(files, values...)
	var total int64
	for _, f := range files {
		if info, err := os.Stat(f); err == nil { // a compaction may have removed it
			total += info.Size()
		}
	}
	return total, nil
}

// recoverInto turns a panic of Badger over damaged files into an error.
func recoverInto(err *error, doing string) {
	if r := recover(); r != nil {
		*err = &DamagedError{File: "", Reason: fmt.Sprintf("%s: %v", doing, r)}
	}
}

// logger passes Badger's warnings and errors on.
type logger struct{ logf func(string, ...any) }

func (l logger) Errorf(format string, args ...any)   { l.log("badger: error: "+format, args) }
func (l logger) Warningf(format string, args ...any) { l.log("badger: warning: "+format, args) }
func (logger) Infof(string, ...any)                  {}
func (logger) Debugf(string, ...any)                 {}

func (l logger) log(format string, args []any) {
	if l.logf != nil {
		l.logf("%s", bytes.TrimSpace(fmt.Appendf(nil, format, args...)))
	}
}
