package wal

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"
)

// TestGolden runs the scripts in testdata. They pin the format: a changed offset
// in them is a changed format.
//
//	open | close          of the log
//	append [sync]         one record a line: g=G followed by any of
//	                      entry=INDEX/TERM/DATA hs=TERM/VOTE/COMMIT mark=INDEX/TERM note=SLOT/DATA
//	rotate                makes the next append start a segment
//	crash keep=PERCENT    of the unsynced data
//	flip segment=N offset=N
//	dump | hex segment=N offset=N size=N | verify
func TestGolden(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		mem := vfs.NewCrashableMem()
		var l *Log
		var out bytes.Buffer
		o := testOptions(nil)
		o.SegmentSize = 1 << 20
		o.Logf = func(f string, args ...any) { fmt.Fprintf(&out, f+"\n", args...) }
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out.Reset()
			var err error
			switch d.Cmd {
			case "open":
				o.FS = mem
				l, err = Open(o)
			case "close":
				err = l.Close()
			case "rotate":
				l.opts.SegmentSize = 1
			case "append":
				err = l.Append(parseRecords(t, d.Input), d.HasArg("sync"))
				l.opts.SegmentSize = 1 << 20
			case "crash":
				var keep int
				d.ScanArgs(t, "keep", &keep)
				mem = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: rand.New(rand.NewPCG(1, 1))})
			case "flip":
				path, b := pickSegment(t, mem, d)
				var offset int
				d.ScanArgs(t, "offset", &offset)
				b[offset] ^= 1
				f, ferr := mem.Create(path, writeCategory)
				if ferr != nil {
					t.Fatal(ferr)
				}
				_, _ = f.Write(b)
				_ = f.Sync()
			case "hex":
				_, b := pickSegment(t, mem, d)
				var offset, size int
				d.ScanArgs(t, "offset", &offset)
				d.ScanArgs(t, "size", &size)
				for ; size > 0; offset, size = offset+8, size-8 {
					fmt.Fprintf(&out, "%4d  % x\n", offset, b[offset:offset+min(8, size)])
				}
			case "dump":
				err = Dump(&out, mem, o.Dir)
				if err != nil {
					return out.String()
				}
			case "verify":
				var r Report
				if r, err = Verify(mem, o.Dir); err == nil {
					fmt.Fprintf(&out, "%d segments, %d frames, %d entries, %d bytes\n", r.Segments, r.Frames, r.Entries, r.Bytes)
					for _, g := range r.Groups {
						fmt.Fprintf(&out, "group %d: entries [%d, %d], last term %d, hard state %d/%d/%d, mark %d, %d notes\n",
							g.Group, g.First, g.Last, g.LastTerm, g.Term, g.Vote, g.Commit, g.Mark.Index, g.Notes)
					}
				}
			default:
				t.Fatalf("unknown command %s", d.Cmd)
			}
			if err != nil {
				fmt.Fprintf(&out, "error: %v\n", err)
			}
			if out.Len() == 0 {
				return "ok\n"
			}
			return out.String()
		})
	})
}

func pickSegment(t *testing.T, fs vfs.FS, d *datadriven.TestData) (string, []byte) {
	t.Helper()
	var n int
	d.ScanArgs(t, "segment", &n)
	files := readFiles(t, fs, "data/wal")
	path := slices.Sorted(maps.Keys(files))[n-1]
	return path, files[path]
}

func parseRecords(t *testing.T, input string) (out []Record) {
	t.Helper()
	for line := range strings.Lines(input) {
		var r Record
		for _, field := range strings.Fields(line) {
			key, value, _ := strings.Cut(field, "=")
			var a, b, c uint64
			var data string
			var err error
			switch key {
			case "g":
				_, err = fmt.Sscanf(value, "%d", &r.Group)
			case "entry":
				_, err = fmt.Sscanf(value, "%d/%d/%s", &a, &b, &data)
				r.Entries = append(r.Entries, entry(a, b, data))
			case "hs":
				_, err = fmt.Sscanf(value, "%d/%d/%d", &a, &b, &c)
				r.HardState = hardStateOf(a, b, c)
			case "mark":
				_, err = fmt.Sscanf(value, "%d/%d", &a, &b)
				r.Mark = &Mark{Index: a, Term: b, Meta: []byte("sum"), ConfState: &raftpb.ConfState{Voters: []uint64{1, 2, 3}}}
			case "note":
				_, err = fmt.Sscanf(value, "%d/%s", &a, &data)
				r.Note = &Note{Slot: uint8(a), Data: []byte(data)}
			default:
				t.Fatalf("unknown field %s", field)
			}
			if err != nil {
				t.Fatalf("%s: %v", field, err)
			}
		}
		out = append(out, r)
	}
	return out
}
