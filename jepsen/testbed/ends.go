package testbed

import (
	"context"
	"time"
)

// Harm is what is done to a node's disk, for a while: it takes from the node what
// its promises rest on.
type Harm uint8

// The harms. Whatever it is, a process may end because of it.
const (
	// NoSpace: the disk is full.
	NoSpace Harm = iota + 1
	// NoPower: reads and writes fail.
	NoPower
	// Damaged: files are not what the node has written.
	Damaged
)

// unreadable: the node cannot be blamed for not reading what it holds.
func (h Harm) unreadable() bool { return h == NoPower || h == Damaged }

// life is what is known about a node: its process, and what is done to its disk.
type life struct {
	up    bool // a process runs, as far as anybody has looked
	asked bool // it was told to end
	harm  Harm
	// readable is since when the node can read its disk; zero: always.
	readable time.Time
	scarred  bool // its files were damaged at some time
}

// End is the end of a process that nobody had asked for.
type End struct {
	Node int
	At   time.Time // when it was noticed
	Log  string    // the end of the node's output
}

// look notes the processes that have ended although nobody told them to, with a disk
// that nobody harms. Whoever starts or ends a process or harms a disk looks first: so
// no end goes unnoticed, however soon another process takes the place.
func (t *Testbed) look(nodes ...int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, i := range nodes {
		l := &t.lives[i]
		if !l.up || t.Running(i) {
			continue
		}
		l.up = false
		if !l.asked && l.harm == 0 {
			t.ends = append(t.ends, End{Node: i, At: time.Now(), Log: t.LogTail(i, 400)})
		}
	}
}

// Unasked returns the ends that nobody had asked for, each once.
func (t *Testbed) Unasked() (ends []End) {
	t.look(t.all()...)
	t.mu.Lock()
	defer t.mu.Unlock()
	ends, t.ends = t.ends, nil
	return ends
}

// begin starts nodes and remembers whose process is new.
func (t *Testbed) begin(ctx context.Context, nodes []int) error {
	t.look(nodes...)
	before := t.recorded(nodes)
	err := t.Cluster.Start(ctx, t.Names(nodes)...)
	after := t.recorded(nodes)
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, i := range nodes {
		if after[k] != 0 && after[k] != before[k] {
			t.lives[i].up, t.lives[i].asked = true, false
		}
	}
	return err
}

// recorded returns the numbers of the newest processes, which may have ended.
func (t *Testbed) recorded(nodes []int) (pids []int) {
	for _, i := range nodes {
		pids = append(pids, t.lastPID(i))
	}
	return pids
}

// ask notes that somebody is about to end nodes.
func (t *Testbed) ask(nodes []int) {
	t.look(nodes...)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, i := range nodes {
		t.lives[i].asked = true
	}
}

// Harm notes what is about to be done to a node's disk, until Mend. What this testbed
// does to a disk it notes by itself: see CutPower and FillDisk.
func (t *Testbed) Harm(i int, h Harm) {
	t.look(i)
	t.mu.Lock()
	defer t.mu.Unlock()
	l := &t.lives[i]
	l.harm, l.scarred = h, l.scarred || h == Damaged
}

// Mend notes that the harm is undone, and its consequences with it.
func (t *Testbed) Mend(i int, h Harm) {
	t.look(i)
	t.mu.Lock()
	defer t.mu.Unlock()
	l := &t.lives[i]
	if l.harm != h {
		return
	}
	if l.harm = 0; h.unreadable() {
		l.readable = time.Now()
	}
}

// Readable says whether a node could read its disk all the time since a moment. If
// not, it may have said that it cannot.
func (t *Testbed) Readable(i int, since time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := &t.lives[i]
	return !l.harm.unreadable() && !since.Before(l.readable)
}

// Scarred says whether somebody has damaged files of a node, at any time.
func (t *Testbed) Scarred(i int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lives[i].scarred
}

// CutPower takes the power from a node's disk, until RestorePower.
func (t *Testbed) CutPower(i int) error {
	t.Harm(i, NoPower)
	return t.disks[i].CutPower()
}

// RestorePower brings a disk back to what was synced. Nobody may use it.
func (t *Testbed) RestorePower(i int) error {
	err := t.disks[i].Restore()
	if err == nil {
		t.Mend(i, NoPower)
	}
	return err
}

// FillDisk leaves a node at most so many bytes of free space, until EmptyDisk.
func (t *Testbed) FillDisk(i int, leave int64) error {
	t.Harm(i, NoSpace)
	return t.disks[i].Fill(leave)
}

// EmptyDisk gives the space back.
func (t *Testbed) EmptyDisk(i int) error {
	err := t.disks[i].Empty()
	if err == nil {
		t.Mend(i, NoSpace)
	}
	return err
}

// all returns every node.
func (t *Testbed) all() (nodes []int) {
	for i := range t.names {
		nodes = append(nodes, i)
	}
	return nodes
}
