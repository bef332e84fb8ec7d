package wal

import (
	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Defaults of Options, in bytes.
const (
	DefaultSegmentSize = 64 << 20
	DefaultRetainBytes = 1 << 30
	DefaultCacheBytes  = 32 << 20
)

// Options says where a log lives, whose it is and how large it may grow.
// Zero values mean the defaults; Dir is required.
type Options struct {
	// FS is the file system, vfs.Default when nil.
	FS vfs.FS
	// Dir is the log's own directory; it is created when missing, and no
	// other program may put files in it.
	Dir string
	// SegmentSize is how many bytes are appended to a segment before a new one is
	// started. One Append is never split, so a single large one can exceed it; the
	// state repeated at a segment's head comes on top.
	SegmentSize int64
	// RetainBytes is how much log stays on disk, for followers that lag, even
	// when every entry in it lies at or below its group's Mark. Negative keeps
	// no more than the segment being written.
	RetainBytes int64
	// CacheBytes bounds the memory held by recent entries, over all groups.
	// Negative switches the cache off.
	CacheBytes int64
	// Cluster and Node are the owner's identity. They are written into every
	// segment header, and opening somebody else's log is an *IdentityError.
	Cluster, Node uint64
	// Logf, when not nil, is told of what recovery cut and what was removed.
	Logf func(format string, args ...any)

	// salt draws the random salt of a new segment; tests make it predictable.
	salt func() (uint64, error)
	// fillStep overrides zeroFillStep in tests.
	fillStep int64
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("wal: Options.Dir is empty")
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.SegmentSize <= 0 {
		o.SegmentSize = DefaultSegmentSize
	}
	if o.SegmentSize > maxSegmentSize/2 {
		return o, errors.Newf("wal: segment size %d is above %d", o.SegmentSize, int64(maxSegmentSize/2))
	}
	if o.RetainBytes == 0 {
		o.RetainBytes = DefaultRetainBytes
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if o.salt == nil {
		o.salt = randomSalt
	}
	if o.fillStep <= 0 {
		o.fillStep = zeroFillStep
	}
	return o, nil
}
