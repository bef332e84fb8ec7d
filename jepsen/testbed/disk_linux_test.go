package testbed

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func testDisk(t *testing.T) *Disk {
	t.Helper()
	if err := disksPossible(); err != nil {
		t.Skipf("no disks of our own: %v", err)
	}
	dir := t.TempDir()
	d, err := newDisk(filepath.Join(dir, "image"), filepath.Join(dir, "mnt"), 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// TestPowerFailure: what was synced survives, what was not does not.
func TestPowerFailure(t *testing.T) {
	d := testDisk(t)
	synced, err := os.Create(filepath.Join(d.dir, "synced"))
	if err != nil {
		t.Fatal(err)
	}
	defer synced.Close()
	write := func(f *os.File, s string) {
		t.Helper()
		if _, err := f.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	write(synced, "kept")
	if err := synced.Sync(); err != nil {
		t.Fatal(err)
	}
	write(synced, "lost")
	if err := os.WriteFile(filepath.Join(d.dir, "unsynced"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if d.Dead() {
		t.Fatal("a disk with power is dead")
	}
	if err := d.CutPower(); err != nil {
		t.Fatal(err)
	}
	if !d.Dead() {
		t.Error("a disk without power takes a write")
	}
	if err := synced.Sync(); err == nil {
		t.Error("a disk without power syncs")
	}
	_ = synced.Close()
	if err := d.Restore(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(d.dir, "synced")); err != nil || string(b) != "kept" {
		t.Errorf("synced file: %q, %v; want what was synced", b, err)
	}
	if _, err := os.Stat(filepath.Join(d.dir, "unsynced")); !os.IsNotExist(err) {
		t.Errorf("a file that was never synced: %v, want none", err)
	}
}

// TestFreeze: a frozen disk lets a write wait, and a thawed one lets it go.
func TestFreeze(t *testing.T) {
	d := testDisk(t)
	if err := d.Freeze(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- os.WriteFile(filepath.Join(d.dir, "f"), []byte("x"), 0o600) }()
	select {
	case err := <-done:
		t.Errorf("a write to a frozen disk returned: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if err := d.Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := d.Thaw(); err != nil {
		t.Errorf("thaw again: %v", err)
	}
}

// TestFill leaves as much space as it should, and gives the rest back.
func TestFill(t *testing.T) {
	d := testDisk(t)
	if err := d.Fill(1 << 20); err != nil {
		t.Fatal(err)
	}
	if free, err := d.Free(); err != nil || free > 1<<20 {
		t.Errorf("%d bytes are free, %v; want at most 1 MiB", free, err)
	}
	if err := os.WriteFile(filepath.Join(d.dir, "f"), make([]byte, 4<<20), 0o600); err == nil {
		t.Error("a full disk takes 4 MiB")
	}
	if err := d.Empty(); err != nil {
		t.Fatal(err)
	}
	if free, err := d.Free(); err != nil || free < 8<<20 {
		t.Errorf("%d bytes are free, %v; want most of the disk", free, err)
	}
}
