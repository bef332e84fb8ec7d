package wal

import (
	"io"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Open recovers the log in o.Dir, or makes a new one. Errors: *CorruptionError,
// *IdentityError, *VersionError, each of which left the segments as they were;
// ErrNoSpace; whatever the file system says.
func Open(o Options) (*Log, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := o.FS.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, wrapIO(err, "create directory %s", o.Dir)
	}
	lock, err := o.FS.Lock(o.FS.PathJoin(o.Dir, lockName))
	if err != nil {
		return nil, wrapIO(err, "lock %s, is another process using it?", o.Dir)
	}
	l, err := open(o, lock)
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return l, nil
}

// syncPath makes every name on the way to dir durable. That the directory exists
// is no proof: whoever created it may have been killed before syncing its parent.
// Names above a mount point are not ours.
func syncPath(fs vfs.FS, dir string) error {
	own, err := fs.Stat(dir)
	if err != nil {
		return wrapIO(err, "stat %s", dir)
	}
	for d := fs.PathDir(dir); ; d = fs.PathDir(d) {
		info, err := fs.Stat(d)
		if err != nil {
			return wrapIO(err, "stat %s", d)
		}
		if info.DeviceID() != own.DeviceID() {
			return nil
		}
		err = syncDir(fs, d)
		if oserror.IsPermission(err) {
			return nil // not readable, so not created by us
		}
		if err != nil {
			return err
		}
		if fs.PathDir(d) == d {
			return nil
		}
	}
}

func syncDir(fs vfs.FS, dir string) error {
	f, err := fs.OpenDir(dir)
	if err != nil {
		return wrapIO(err, "open directory %s", dir)
	}
	err = f.Sync()
	return wrapIO(firstError(err, f.Close()), "sync directory %s", dir)
}

func open(o Options, lock io.Closer) (_ *Log, err error) {
	s := &scanner{fs: o.FS, dir: o.Dir, want: &segmentHeader{cluster: o.Cluster, node: o.Node}}
	l := &Log{opts: o, lock: lock}
	defer func() {
		if err != nil {
			s.segments = l.kept(s.segments)
			s.close()
			if l.dir != nil {
				_ = l.dir.Close()
			}
		}
	}()
	if err := s.scan(); err != nil {
		return nil, err
	}
	if l.dir, err = o.FS.OpenDir(o.Dir); err != nil {
		return nil, wrapIO(err, "open directory %s", o.Dir)
	}
	l.groups = s.groups
	l.commit = newCommit(func(id uint64) *groupState { return l.groups[id] }, true)

	for _, name := range s.leftovers {
		if err := o.FS.Remove(o.FS.PathJoin(o.Dir, name)); err != nil {
			return nil, wrapIO(err, "remove unfinished segment %s", name)
		}
	}
	// The names that were found may not be durable yet.
	if err := l.dir.Sync(); err != nil {
		return nil, wrapIO(err, "sync directory %s", o.Dir)
	}
	if len(s.segments) == 0 {
		if err := syncPath(o.FS, o.Dir); err != nil {
			return nil, err
		}
		if err := l.startSegment(segmentHeader{number: 1}, s); err != nil {
			return nil, err
		}
	} else if err := l.adoptTail(s); err != nil {
		return nil, err
	}
	l.segments = s.segments
	if err := l.removeOld(); err != nil {
		return nil, err
	}
	if err := l.confirm(); err != nil {
		return nil, err
	}
	return l, nil
}

// kept returns the segments that are still open when Open fails.
func (l *Log) kept(scanned []*segment) []*segment {
	if l.segments != nil {
		return l.segments
	}
	return scanned
}

// adoptTail makes the recovered end of the log durable and continues there.
func (l *Log) adoptTail(s *scanner) error {
	seg := s.segments[len(s.segments)-1]
	if err := seg.file.Close(); err != nil {
		seg.file = nil
		return wrapIO(err, "close %s", seg.path)
	}
	f, err := l.opts.FS.OpenReadWrite(seg.path, writeCategory)
	if err != nil {
		seg.file = nil
		return wrapIO(err, "open %s", seg.path)
	}
	seg.file = f
	// What no frame confirms may exist in the page cache only, and after a failed
	// sync the kernel may think that it is clean. Writing the same bytes in place
	// makes the sync below mean something, and no crash can harm them.
	if err := rewrite(seg, s.confirmed); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return wrapIO(err, "sync %s", seg.path)
	}
	if s.torn == nil {
		l.continueAt(seg, s)
		return nil
	}
	// The torn bytes stay where they are: were frames written over them, an old
	// one behind could become readable again. The new segment says where the
	// old one ends.
	l.opts.Logf("wal: %s", *s.torn)
	return l.startSegment(segmentHeader{number: seg.number + 1, prevEnd: uint64(seg.end), prevSalt: seg.salt}, s)
}

func rewrite(seg *segment, from int64) error {
	const chunk = 1 << 20
	win := window{f: seg.file, size: seg.end, chunk: chunk}
	for off := from; off < seg.end; off += chunk {
		b, err := win.at(off, int(min(chunk, seg.end-off)))
		if err != nil {
			return wrapIO(err, "read %s at offset %d", seg.path, off)
		}
		if _, err := seg.file.WriteAt(b, off); err != nil {
			return wrapIO(err, "write %s at offset %d", seg.path, off)
		}
	}
	return nil
}

// continueAt makes seg the active segment; everything in it is durable.
func (l *Log) continueAt(seg *segment, s *scanner) {
	l.active = seg
	l.end, l.synced, l.filled = seg.end, seg.end, max(s.size, seg.end)
	l.recorded, l.lastData = s.confirmed, s.lastData
}

// startSegment creates a segment during Open and makes it the active one.
func (l *Log) startSegment(h segmentHeader, s *scanner) error {
	seg, err := l.newSegment(h)
	if err != nil {
		return err
	}
	s.segments = append(s.segments, seg)
	s.size, s.confirmed, s.lastData = l.headSize(seg), seg.end, seg.end
	l.continueAt(seg, s)
	return nil
}
