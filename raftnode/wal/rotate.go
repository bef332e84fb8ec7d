package wal

// newSegment creates the segment that h describes, with the identity of the log,
// a fresh salt and the present state of all groups.
func (l *Log) newSegment(h segmentHeader) (*segment, error) {
	salt, err := l.opts.salt()
	if err != nil {
		return nil, wrapIO(err, "draw a salt")
	}
	h.cluster, h.node, h.salt = l.opts.Cluster, l.opts.Node, salt
	return createSegment(l.opts, l.dir, h, sortedGroups(l.groups))
}

// headSize returns how far createSegment filled a new segment's file.
func (l *Log) headSize(seg *segment) int64 { return roundUp(seg.end, l.opts.fillStep) }

// rotate seals the active segment and starts the next one. The sealed one is
// durable before the next exists: only the last segment can have a torn tail, and
// a synced offset never has to name a segment. The caller holds writer.
func (l *Log) rotate() error {
	if l.end > l.synced {
		if err := l.active.file.SyncData(); err != nil {
			return wrapIO(err, "sync %s", l.active.path)
		}
		l.synced = l.end
		l.stats.syncs.Add(1)
	}
	seg, err := l.newSegment(segmentHeader{number: l.active.number + 1, prevEnd: uint64(l.end), prevSalt: l.active.salt})
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.segments = append(l.segments, seg)
	l.active = seg
	l.mu.Unlock()
	l.end, l.synced, l.recorded, l.lastData = seg.end, seg.end, seg.end, seg.end
	l.filled = l.headSize(seg)
	l.stats.rotations.Add(1)
	return l.removeOld()
}

// removeOld removes the oldest segments as far as nobody needs them: every entry
// lies at or below its group's mark, and RetainBytes stay. It is called when all
// marks are durable, and removes one file after the other, so that the ones left
// are consecutive whenever the power fails. The caller holds writer.
func (l *Log) removeOld() error {
	total := int64(0)
	for _, seg := range l.segments {
		total += seg.end
	}
	for len(l.segments) > 1 {
		seg := l.segments[0]
		if total-seg.end < l.opts.RetainBytes || !l.covered(seg) {
			return nil
		}
		total -= seg.end
		l.mu.Lock()
		for _, g := range l.groups {
			g.dropSegment(seg)
		}
		l.segments = append([]*segment(nil), l.segments[1:]...)
		l.mu.Unlock()
		if err := seg.release(); err != nil {
			return wrapIO(err, "close %s", seg.path)
		}
		if err := l.opts.FS.Remove(seg.path); err != nil {
			return wrapIO(err, "remove %s", seg.path)
		}
		if err := l.dir.Sync(); err != nil {
			return wrapIO(err, "sync directory %s", l.opts.Dir)
		}
		l.stats.removed.Add(1)
		l.opts.Logf("wal: removed %s, %d bytes", seg.path, seg.end)
	}
	return nil
}

// covered says whether every entry in seg lies at or below its group's mark.
func (l *Log) covered(seg *segment) bool {
	for id, index := range seg.maxIndex {
		if g := l.groups[id]; g == nil || index > g.mark.Index {
			return false
		}
	}
	return true
}
