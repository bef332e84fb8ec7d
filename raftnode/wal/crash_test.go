package wal

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// history is what a workload has done so far.
type history struct {
	states []*model // states[n] is the state after n Appends
	synced int      // the first so many Appends are known to be durable
}

// run appends steps times and returns the first error.
func (h *history) run(l *Log, w *workload, steps int) error {
	if len(h.states) == 0 {
		h.states = append(h.states, w.m.clone())
	}
	for range steps {
		records, sync := w.next()
		h.states = append(h.states, w.m.clone())
		if err := l.Append(records, sync); err != nil {
			return err
		}
		if sync {
			h.synced = len(h.states) - 1
		}
	}
	return nil
}

// match returns how many Appends the log holds: the highest n >= h.synced whose
// state it equals.
func (h *history) match(l *Log) (int, error) {
	var err error
	for n := len(h.states) - 1; n >= h.synced; n-- {
		d := h.states[n].diff(l)
		if d == nil {
			return n, nil
		}
		err = errors.CombineErrors(errors.Wrapf(d, "after %d appends", n), err)
	}
	return 0, errors.Wrapf(err, "the log equals no state from %d on", h.synced)
}

// TestCrashAtEveryPoint cuts the power before every operation that changes the
// file system, with nothing, half and all of the unsynced data kept.
func TestCrashAtEveryPoint(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 2; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			mem := vfs.NewCrashableMem()
			rng := rand.New(rand.NewPCG(seed, 2))
			w := newWorkload(seed, 2)
			h := &history{states: []*model{w.m.clone()}}
			points, kept, torn := 0, 0, 0
			crash := func(op errorfs.Op) error {
				if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
					return nil
				}
				points++
				percents := []int{0, 50, 100}
				if torn == 0 { // which a draw in a hundred brings, and no seed decides: the file system draws for its files in any order
					percents = append(percents, 50, 50, 50, 50)
				}
				for _, percent := range percents {
					clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
					where := fmt.Sprintf("crash before operation %d (%v %s), %d%% kept", points, op.Kind, op.Path, percent)
					o := testOptions(clone)
					o.Logf = func(f string, args ...any) {
						if f == "wal: %s" {
							torn++
						}
					}
					if points%5 == 0 {
						crashRecovery(t, where, clone, h, rng)
					}
					n := recoverAndGoOn(t, where, o, h, seed+uint64(points))
					if n > h.synced {
						kept++
					}
				}
				return nil
			}
			l := mustOpen(t, testOptions(errorfs.Wrap(mem, errorfs.InjectorFunc(crash))))
			if err := h.run(l, w, 60); err != nil {
				t.Fatal(err)
			}
			if s := l.Stats(); s.Rotations == 0 || s.Removed == 0 {
				t.Errorf("workload is too short: %+v", s)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if kept == 0 || torn == 0 {
				t.Errorf("of %d crashes, %d kept unsynced appends and %d had a torn tail; want some of each", points, kept, torn)
			}
		})
	}
}

// recoverAndGoOn opens the log, compares it, appends, closes and compares again.
// It works on the file system it is given.
func recoverAndGoOn(t *testing.T, where string, o Options, h *history, seed uint64) int {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatalf("%s: open: %v", where, err)
	}
	n, err := h.match(l)
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	w := newWorkload(seed, 2)
	w.m = h.states[n].clone()
	for id, g := range w.m.groups {
		w.commit[id] = max(g.hs.GetCommit(), g.markIndex())
	}
	h2 := &history{states: []*model{w.m.clone()}}
	if err := h2.run(l, w, 5); err != nil {
		t.Fatalf("%s: append after recovery: %v", where, err)
	}
	if err := l.Close(); err != nil {
		t.Fatalf("%s: close after recovery: %v", where, err)
	}
	r, err := Verify(o.FS, o.Dir)
	if err != nil || r.Torn != nil {
		t.Fatalf("%s: verify after close: %+v, %v", where, r.Torn, err)
	}
	l = mustOpen(t, o)
	defer l.Close()
	if err := w.m.diff(l); err != nil {
		t.Fatalf("%s: after going on: %v", where, err)
	}
	return n
}

// crashRecovery crashes the recovery itself at every point. It leaves fs alone.
func crashRecovery(t *testing.T, where string, fs *vfs.MemFS, h *history, rng *rand.Rand) {
	t.Helper()
	base := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng})
	op := 0
	inj := errorfs.InjectorFunc(func(o errorfs.Op) error {
		if o.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		op++
		clone := base.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
		l, err := Open(testOptions(clone))
		if err != nil {
			t.Fatalf("%s, again before operation %d of recovery: %v", where, op, err)
		}
		defer l.Close()
		if _, err := h.match(l); err != nil {
			t.Fatalf("%s, again before operation %d of recovery: %v", where, op, err)
		}
		return nil
	})
	l := mustOpen(t, testOptions(errorfs.Wrap(base, inj)))
	_ = l.Close()
}

// killThenPowerCut opens the log as a process does that follows a killed one, with
// everything still in the page cache, appends, and cuts the power: what Open found
// and what was synced since are durable.
func killThenPowerCut(t *testing.T, where string, mem *vfs.MemFS, h *history) {
	t.Helper()
	l, err := Open(testOptions(mem))
	if err != nil {
		t.Fatalf("%s: open in the same system: %v", where, err)
	}
	n, err := h.match(l)
	if err != nil {
		t.Fatalf("%s: open in the same system: %v", where, err)
	}
	found := mem.CrashClone(vfs.CrashCloneCfg{})
	m, more := h.states[n].clone(), []Record{{Group: 1, Note: &Note{Slot: 77, Data: []byte("more")}}}
	if err := l.Append(more, true); err != nil {
		t.Fatalf("%s: append in the same system: %v", where, err)
	}
	appended := mem.CrashClone(vfs.CrashCloneCfg{})
	_ = l.Close()
	for _, fs := range []*vfs.MemFS{found, appended} {
		l = mustOpen(t, testOptions(fs))
		if err := m.diff(l); err != nil {
			t.Fatalf("%s: open found %d appends, a power cut lost some: %v", where, n, err)
		}
		_ = l.Close()
		m.apply(more)
	}
}

// TestEveryOperationFails makes each operation that changes the file system fail
// once: the error is final, and everything acknowledged is there afterwards.
func TestEveryOperationFails(t *testing.T) {
	t.Parallel()
	kinds := map[errorfs.OpKind]int{}
	for fail := 1; ; fail++ {
		mem := vfs.NewCrashableMem()
		w := newWorkload(7, 2)
		h := &history{states: []*model{w.m.clone()}}
		op := 0
		var failed *errorfs.Op
		inj := errorfs.InjectorFunc(func(o errorfs.Op) error {
			if o.Kind.ReadOrWrite() != errorfs.OpIsWrite {
				return nil
			}
			if op++; op == fail {
				failed = &o
				return errorfs.ErrInjected
			}
			return nil
		})
		where := func() string { return fmt.Sprintf("operation %d (%v) fails", fail, failed) }
		l, err := Open(testOptions(errorfs.Wrap(mem, inj)))
		if err == nil {
			err = h.run(l, w, 60)
			if failed != nil {
				if !errors.Is(err, ErrFatal) || !errors.Is(err, errorfs.ErrInjected) || errors.Is(err, ErrNoSpace) {
					t.Fatalf("%s: append says %v", where(), err)
				}
				for range 2 {
					if err := l.Append([]Record{{Group: 1, Note: &Note{Data: []byte("x")}}}, true); !errors.Is(err, ErrFatal) {
						t.Fatalf("%s: append afterwards says %v", where(), err)
					}
				}
				if err := l.Sync(); !errors.Is(err, ErrFatal) {
					t.Fatalf("%s: sync afterwards says %v", where(), err)
				}
			}
			if cerr := l.Close(); failed != nil && !errors.Is(cerr, errorfs.ErrInjected) {
				t.Fatalf("%s: close says %v", where(), cerr)
			}
		}
		if failed == nil {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		kinds[failed.Kind]++
		for _, percent := range []int{0, 100} {
			clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(1, 1))})
			recoverAndGoOn(t, fmt.Sprintf("%s, %d%% kept", where(), percent), testOptions(clone), h, 1)
		}
		killThenPowerCut(t, where(), mem, h)
	}
	for _, k := range []errorfs.OpKind{errorfs.OpCreate, errorfs.OpRename, errorfs.OpRemove, errorfs.OpFileWrite,
		errorfs.OpFileWriteAt, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpMkdirAll, errorfs.OpLock} {
		if kinds[k] == 0 {
			t.Errorf("operation kind %d never failed: %v", k, kinds)
		}
	}
}
