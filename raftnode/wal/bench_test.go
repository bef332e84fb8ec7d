package wal

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"
)

// BenchmarkAppend measures one group commit with one entry: on real files with
// fdatasync, and on a memory file system for the cost of encoding.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{300, 1 << 20} {
		for _, c := range []struct {
			name string
			fs   vfs.FS
			sync bool
		}{{"disk", vfs.Default, true}, {"disk-nosync", vfs.Default, false}, {"discard", discardFS{vfs.NewMem()}, true}} {
			b.Run(fmt.Sprintf("%s/%d", c.name, size), func(b *testing.B) {
				l, err := Open(Options{FS: c.fs, Dir: b.TempDir(), RetainBytes: 128 << 20})
				if err != nil {
					b.Fatal(err)
				}
				data := bytes.Repeat([]byte{1}, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for i := uint64(1); b.Loop(); i++ {
					r := Record{Group: 1, Entries: []*raftpb.Entry{{Index: new(i), Term: new(uint64(1)), Data: data}},
						HardState: &raftpb.HardState{Term: new(uint64(1)), Commit: new(i - 1)}}
					if i%64 == 0 {
						r.Mark = &Mark{Index: i - 32, Term: 1}
					}
					if err := l.Append([]Record{r}, c.sync); err != nil {
						b.Fatal(err)
					}
				}
				_ = l.Close()
			})
		}
	}
}

// BenchmarkOpen recovers 64 MiB in blocks of 64 KiB.
func BenchmarkOpen(b *testing.B) {
	o := Options{Dir: b.TempDir()}
	l, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	data := bytes.Repeat([]byte{1}, 64<<10)
	for i := range uint64(1024) {
		if err := l.Append([]Record{{Group: 1, Entries: []*raftpb.Entry{{Index: new(i + 1), Term: new(uint64(1)), Data: data}}}}, false); err != nil {
			b.Fatal(err)
		}
	}
	_ = l.Close()
	b.SetBytes(64 << 20)
	for b.Loop() {
		l, err := Open(o)
		if err != nil {
			b.Fatal(err)
		}
		_ = l.Close()
	}
}

// discardFS drops what is written behind a segment's head.
type discardFS struct{ vfs.FS }

type discardFile struct{ vfs.File }

func (d discardFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name, c, o...)
	return discardFile{f}, err
}

func (discardFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
