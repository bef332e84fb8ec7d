package node

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/replica"
	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/badgerstore"
)

// Values of storage.rebuild.
const (
	rebuildAuto  = "auto"
	rebuildNever = "never"
)

const (
	// condemnedFile, in the directory of the store, says that the store is damaged beyond repair in
	// place: the name of the directory that it is to be moved to, and why, a line each.
	condemnedFile = "CONDEMNED"
	// asidePrefix begins the names of the directories, in that of the store, that hold a store which
	// was moved aside. Nothing opens them.
	asidePrefix = "damaged-"
	// rebuildAgain is how long a node must have run before a store that is damaged again is rebuilt
	// without an end of the process in between.
	rebuildAgain = time.Minute
)

// A store that is damaged beyond repair in place is rebuilt with these steps, each of which a start
// repeats after a crash:
//
//  1. condemn writes condemnedFile, and the node stops. In the same process, or the next one:
//  2. replaceCondemned moves the files of the store into a directory of their own beside them. A
//     store whose own rebuild had not ended is removed instead: what is worth keeping was moved
//     before.
//  3. The Raft log notes that the store is empty (replica.LoseStore).
//  4. condemnedFile goes. The store is opened, empty, and the replicas rebuild their ledgers
//     (package replica says why they may vote meanwhile).
//
// One damaged store is kept, until the operator removes it or the next one takes its place.

// storeDamage says whether a failure means that the store cannot be trusted any more, or not be
// opened. What the environment refuses, and a divergence from other members, is none.
func storeDamage(err error) bool {
	var damaged *badgerstore.DamagedError
	var corrupt *ledger.CorruptError
	var diverged *ledger.DivergenceError
	switch {
	case errors.IsAny(err, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, fs.ErrPermission, replica.ErrRaftLogLost):
		return false
	case errors.As(err, &diverged):
		return diverged.Replay
	}
	return errors.As(err, &damaged) || errors.As(err, &corrupt) || errors.Is(err, ledger.ErrValueLost)
}

// condemn notes that the store has to be rebuilt, when that is why the node stops; false when it is
// not, or cannot be noted.
func (n *node) condemn(reason error) bool {
	if n.dir == nil || n.wal == nil || !storeDamage(reason) {
		return false
	}
	file := filepath.Join(n.dir.sub(ledgerDir), condemnedFile)
	text := fmt.Sprintf("%s%s\n%s\n", asidePrefix, time.Now().UTC().Format("20060102T150405.000Z"), strings.ReplaceAll(reason.Error(), "\n", " "))
	if _, err := os.Stat(file); err == nil {
		return true // noted before
	}
	if err := wholefile.WriteSync(file, []byte(text), 0o600); err != nil {
		n.log.Error("the store is damaged, which cannot be noted", "reason", reason.Error(), "problem", err.Error())
		return false
	}
	n.log.Error("the store is damaged beyond repair in place", "reason", reason.Error())
	return true
}

// replaceCondemned moves a store that was condemned aside. The Raft log is open, the store is not.
func (n *node) replaceCondemned() error {
	dir := n.dir.sub(ledgerDir)
	raw, err := wholefile.Read(filepath.Join(dir, condemnedFile), maxConfigBytes)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return errors.Wrap(err, "read why the store was condemned")
	}
	name, reason, _ := strings.Cut(string(raw), "\n")
	if !strings.HasPrefix(name, asidePrefix) || name != filepath.Base(name) { // damaged itself
		name, reason = asidePrefix+"unknown", "unknown"
	}
	reason = strings.TrimSpace(reason)
	if n.cfg.Storage.Rebuild == rebuildNever {
		return errors.Newf("the store is damaged (%s), and storage.rebuild is %s: set it to %s and start the node again", reason, rebuildNever, rebuildAuto)
	}
	if err := replica.CanRebuild(n.wal, n.cfg.Self().ID); err != nil {
		return errors.Wrapf(err, "the store is damaged (%s): put the newest copy of %s back, the whole directory, and start the node again", reason, n.dir.path)
	}
	keep := !replica.Unfinished(n.wal)
	if err := moveAside(dir, name, keep); err != nil {
		return errors.Wrap(err, "move the damaged store aside")
	}
	if err := replica.LoseStore(n.wal); err != nil {
		return err
	}
	if err := errors.CombineErrors(os.Remove(filepath.Join(dir, condemnedFile)), wholefile.SyncDir(dir)); err != nil {
		return errors.Wrap(err, "move the damaged store aside")
	}
	kept := "nothing, it was being rebuilt"
	if keep {
		kept = filepath.Join(dir, name)
	}
	n.log.Warn("the damaged store is moved aside, and the node rebuilds it from its Raft log and from the other members; it votes meanwhile, and does not lead",
		"reason", reason, "kept", kept)
	return nil
}

// moveAside moves the files of a store into a directory beside them and removes former ones, or
// removes the files. It can be repeated.
func moveAside(dir, name string, keep bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	aside := filepath.Join(dir, name)
	if keep {
		if err := os.MkdirAll(aside, 0o700); err != nil {
			return err
		}
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.Name() == condemnedFile || e.Name() == name:
			continue
		case strings.HasPrefix(e.Name(), asidePrefix) && !keep:
			continue // the store that the rebuild replaces
		case strings.HasPrefix(e.Name(), asidePrefix) || !keep:
			err = os.RemoveAll(path)
		default:
			err = os.Rename(path, filepath.Join(aside, e.Name()))
		}
		if err != nil {
			return err
		}
	}
	if keep {
		if err := wholefile.SyncDir(aside); err != nil {
			return err
		}
	}
	return wholefile.SyncDir(dir)
}

// aside returns the damaged stores that were moved aside.
func (d *dataDir) aside() (paths []string) {
	paths, _ = filepath.Glob(filepath.Join(d.sub(ledgerDir), asidePrefix+"*"))
	return paths
}

// rebuilding says how far the rebuild of the ledgers is; nil when none is under way.
func (h *hosting) rebuilding() error {
	for _, l := range h.all() {
		if l.Rebuilding() {
			f := l.Filling()
			return errors.Newf("the store is being rebuilt: %d of %d entries of %s", f.Have, f.Size, l.origin)
		}
	}
	return nil
}
