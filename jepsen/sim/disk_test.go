package sim

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func testDisk(t *testing.T) *disk {
	t.Helper()
	d := newDisk(newTrace(func() int64 { return 0 }), 1)
	if err := d.MkdirAll(logDir, 0o700); err != nil {
		t.Fatal(err)
	}
	syncNames(t, d)
	d.settle()
	return d
}

func syncNames(t *testing.T, d *disk) {
	t.Helper()
	for _, name := range []string{"/", logDir} {
		f, err := d.OpenDir(name)
		if err == nil {
			err = f.Sync()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func create(t *testing.T, d *disk, name string, content []byte) vfs.File {
	t.Helper()
	f, err := d.Create(logDir+"/"+name, "")
	if err == nil {
		_, err = f.Write(content)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// createDurable makes a file that no crash takes away.
func createDurable(t *testing.T, d *disk, name, content string) vfs.File {
	t.Helper()
	f := create(t, d, name, []byte(content))
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	syncNames(t, d)
	d.settle()
	return f
}

func read(d *disk, name string) []byte {
	ino := d.files[name]
	if ino == nil {
		return nil
	}
	b := make([]byte, ino.size)
	ino.readAt(b, 0)
	return b
}

func TestDiskKeepsWhatIsSynced(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		d := testDisk(t)
		content := bytes.Repeat([]byte{7}, 3*blockSize+100)
		f := create(t, d, "a", content)
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		syncNames(t, d)
		d.settle()
		over := bytes.Repeat([]byte{9}, blockSize)
		if _, err := f.WriteAt(over, blockSize/2); err != nil {
			t.Fatal(err)
		}
		create(t, d, "b", content)
		d.crash(rng)
		d.powerLoss(rng, 50)
		got := read(d, "a")
		if len(got) != len(content) {
			t.Fatalf("seed %d: %d bytes, want %d", seed, len(got), len(content))
		}
		for i, c := range got {
			overwritten := i >= blockSize/2 && i < blockSize/2+blockSize
			if c != 7 && !(c == 9 && overwritten) {
				t.Fatalf("seed %d: byte %d is %d", seed, i, c)
			}
		}
		if _, err := f.Stat(); err == nil {
			if _, err := f.ReadAt(got, 0); err == nil {
				t.Fatal("a file of a crashed process can still be read")
			}
		}
	}
}

// TestDiskLosesWhatIsNot: over many crashes everything that may get lost does,
// and everything that may survive does.
func TestDiskLosesWhatIsNot(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 2))
		d := testDisk(t)
		f := create(t, d, "a", bytes.Repeat([]byte{1}, 2*blockSize))
		_ = f.Sync()
		syncNames(t, d)
		_ = d.Rename(logDir+"/a", logDir+"/c")
		_, _ = f.WriteAt(bytes.Repeat([]byte{2}, 2*blockSize), 0)
		create(t, d, "b", []byte("b"))
		d.settle()
		d.crash(rng)
		d.powerLoss(rng, 50)
		a, b, c := d.files["a"] != nil, d.files["b"] != nil, d.files["c"] != nil
		if a == c {
			t.Fatalf("seed %d: after a rename the old name exists: %t, the new one: %t", seed, a, c)
		}
		seen["renamed"] = seen["renamed"] || c
		seen["not renamed"] = seen["not renamed"] || a
		seen["created"] = seen["created"] || b
		seen["not created"] = seen["not created"] || !b
		got := append(read(d, "a"), read(d, "c")...)
		first, second := got[0], got[blockSize]
		seen["second without first"] = seen["second without first"] || first == 1 && second == 2
		seen["torn"] = seen["torn"] || d.stats.torn > 0
	}
	for _, what := range []string{"renamed", "not renamed", "created", "not created", "second without first", "torn"} {
		if !seen[what] {
			t.Errorf("never seen: %s", what)
		}
	}
}

// TestDiskCrashInTheMiddle: a crash leaves a prefix of what the process did since
// the last settle, and a sync among it counts.
func TestDiskCrashInTheMiddle(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 3))
		d := testDisk(t)
		f := createDurable(t, d, "a", "one")
		_, _ = f.WriteAt([]byte("two and more"), 0)
		_ = f.Sync()
		_, _ = f.WriteAt([]byte("six"), 0)
		_ = d.Remove(logDir + "/a")
		create(t, d, "b", bytes.Repeat([]byte{0}, 3*blockSize))
		_ = d.failing(f)
		d.crash(rng)
		state := string(read(d, "a"))
		if d.files["a"] == nil {
			state = "removed"
		}
		if d.files["b"] != nil && state != "removed" {
			t.Fatalf("seed %d: b was created and a not removed", seed)
		}
		seen[state] = true
		d.powerLoss(rng, 0)
		after := string(bytes.TrimRight(read(d, "a"), "\x00")) // the length may be newer than the bytes
		switch {
		case after == "one" && state == "one", after == "two and more" && state != "one":
		case after == "one" && state == "two and more": // written, not synced
		default:
			t.Fatalf("seed %d: %q before the power failed, %q after", seed, state, after)
		}
	}
	for _, want := range []string{"one", "two and more", "six and more", "removed"} {
		if !seen[want] {
			t.Errorf("never seen: %q, only %v", want, seen)
		}
	}
}

// failing makes one sync fail.
func (d *disk) failing(f vfs.File) error {
	d.failSyncs = 1
	return f.Sync()
}

// TestDiskForgetsWhatFailed: a sync that succeeds after one that failed has nothing to do; only
// what is written again is durable then.
func TestDiskForgetsWhatFailed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		again bool
		want  string
	}{"synced again": {false, "old\x00\x00"}, "written again": {true, "new!!"}} {
		d := testDisk(t)
		f := createDurable(t, d, "a", "old")
		_, _ = f.WriteAt([]byte("new!!"), 0)
		if err := d.failing(f); err == nil {
			t.Fatal("the sync did not fail")
		}
		if got := read(d, "a"); string(got) != "new!!" {
			t.Errorf("%s: the kernel shows %q after a failed sync", name, got)
		}
		if c.again {
			_, _ = f.WriteAt([]byte("new!!"), 0)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		d.settle()
		rng := rand.New(rand.NewPCG(1, 1))
		d.crash(rng)
		d.powerLoss(rng, 100)
		if got := read(d, "a"); string(got) != c.want {
			t.Errorf("%s: the device has %q, want %q", name, got, c.want)
		}
	}
}

func TestDiskFlipsOnlyWhatMustBeMissed(t *testing.T) {
	t.Parallel()
	d := testDisk(t)
	rng := rand.New(rand.NewPCG(1, 4))
	f := create(t, d, "a", bytes.Repeat([]byte{1}, 100))
	if _, ok := d.flippable(rng); ok {
		t.Error("unsynced bytes can be flipped")
	}
	_ = f.Sync()
	if _, ok := d.flippable(rng); ok {
		t.Error("bytes of the last sync can be flipped, which nothing confirms")
	}
	_, _ = f.WriteAt([]byte{2, 2, 2}, 100)
	_, _ = f.WriteAt([]byte{3, 3, 3}, 103)
	_ = f.Sync()
	for range 1000 {
		target, ok := d.flippable(rng)
		if !ok || target.name != "a" || target.offset >= 100 {
			t.Fatalf("flippable %+v, %t; want a byte below 100", target, ok)
		}
	}
	d.flip(flipTarget{"a", 5}, 0)
	if got := read(d, "a"); got[5] != 0 || got[4] != 1 {
		t.Errorf("after a flip: %v", got[:8])
	}
}

func TestEventsComeInOrder(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 5))
	var q eventQueue
	for i := range uint64(1000) {
		q.push(event{at: rng.Int64N(50), id: i})
	}
	last := event{at: -1}
	for len(q) > 0 {
		e := q.pop()
		if e.at < last.at || e.at == last.at && e.id < last.id {
			t.Fatalf("event %d at %d comes after event %d at %d", e.id, e.at, last.id, last.at)
		}
		last = e
	}
}
