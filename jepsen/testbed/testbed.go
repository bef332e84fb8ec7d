package testbed

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/cluster/node"
)

// Options describe a testbed.
type Options struct {
	// Dir is where everything is kept; absent or empty.
	Dir   string
	Nodes int
	Seed  uint64
	// Executable is the program that the nodes run.
	Executable string
	// Lifeline makes the nodes end with this process; the program must know
	// --lifeline.
	Lifeline bool
	// Clocks says that the program was built with clocks that can be moved.
	Clocks bool
	// Disks gives each node a file system of DiskBytes of its own, if the machine
	// allows it.
	Disks     bool
	DiskBytes int64
	// Change, when not nil, changes a node's configuration.
	Change func(*node.Config)
	Logf   func(string, ...any)
}

// Level is what a testbed can do to its nodes.
type Level struct {
	Disks, Clocks bool
	// NoDisks says why there are none.
	NoDisks string
}

func (l Level) String() string {
	s := "loopback proxies between the nodes"
	if l.Disks {
		s += ", a disk (ext4 in a loop device) for each node"
	} else {
		s += ", no disks (" + l.NoDisks + ")"
	}
	if l.Clocks {
		return s + ", clocks that can be moved"
	}
	return s + ", true clocks"
}

// Testbed is a cluster of processes whose surroundings can fail. Nodes count from
// 0. Its methods may be called from several goroutines, but what one does to a
// node is its own business only while it holds the node: see Claim.
type Testbed struct {
	Cluster *local.Cluster
	Net     *Network
	Monitor *Monitor
	Level   Level

	opt      Options
	names    []string
	disks    []*Disk
	clocks   []clock
	lifeline *os.File

	mu      sync.Mutex
	claimed []string // by node: who does something to it, "" nobody
	lives   []life   // by node
	ends    []End    // that nobody had asked for
}

// New makes a testbed and starts nothing. Close it in any case but an error.
func New(o Options) (_ *Testbed, err error) {
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	t := &Testbed{opt: o}
	defer func() {
		if err != nil {
			err = errors.CombineErrors(err, t.Close())
		}
	}()
	lo := local.Options{Dir: filepath.Join(o.Dir, "cluster"), Nodes: o.Nodes, Executable: o.Executable}
	if o.Lifeline {
		var r *os.File
		if r, t.lifeline, err = os.Pipe(); err != nil {
			return t, errors.Wrap(err, "make pipe")
		}
		lo.Lifeline = r
	}
	if t.Cluster, err = local.Create(lo); err != nil {
		return t, err
	}
	t.names = t.Cluster.Names()
	t.claimed, t.lives = make([]string, len(t.names)), make([]life, len(t.names))
	if t.Net, err = newNetwork(t.Cluster.Nodes(), o.Seed, o.Logf); err != nil {
		return t, err
	}
	t.Level.NoDisks = "not asked for"
	if o.Disks {
		if err := t.makeDisks(); err != nil {
			return t, err
		}
	}
	for i := range t.names {
		if err := t.configure(i); err != nil {
			return t, errors.Wrapf(err, "configure %s", t.names[i])
		}
	}
	t.Monitor, err = newMonitor(t.Cluster)
	return t, err
}

func (t *Testbed) makeDisks() error {
	if err := disksPossible(); err != nil {
		t.Level.NoDisks = err.Error()
		return nil
	}
	for _, name := range t.names {
		dir := filepath.Join(t.opt.Dir, "disks")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return errors.Wrap(err, "make disks")
		}
		d, err := newDisk(filepath.Join(dir, name+".image"), filepath.Join(dir, name), t.opt.DiskBytes)
		if err != nil {
			return err
		}
		t.disks = append(t.disks, d)
	}
	t.Level.Disks, t.Level.NoDisks = true, ""
	return nil
}

// configure lets a node find its peers through the proxies, and its data on its disk.
func (t *Testbed) configure(i int) error {
	name := t.names[i]
	path := filepath.Join(t.Cluster.NodeDir(name), "node.yaml")
	c, err := node.LoadConfig(path)
	if err != nil {
		return err
	}
	for j := range c.Members {
		if j != i {
			c.Members[j].Peer = t.Net.address(i, j)
		}
	}
	if t.Level.Disks {
		c.DataDir = t.DataDir(i)
	}
	if t.opt.Clocks {
		clock, err := newClock(t.Cluster.NodeDir(name))
		if err != nil {
			return err
		}
		t.clocks, t.Level.Clocks = append(t.clocks, clock), true
	}
	if t.opt.Change != nil {
		t.opt.Change(&c)
	}
	if err := c.Write(path); err != nil || !t.Level.Disks {
		return err
	}
	if c, err = node.LoadConfig(path); err != nil {
		return err
	}
	return node.Init(context.Background(), c)
}

// Size returns the number of nodes.
func (t *Testbed) Size() int { return len(t.names) }

// Name returns the name of a node.
func (t *Testbed) Name(i int) string { return t.names[i] }

// Names returns the names of nodes, for messages.
func (t *Testbed) Names(nodes []int) (names []string) {
	for _, i := range nodes {
		names = append(names, t.names[i])
	}
	return names
}

// Minority returns how many nodes a cluster survives to lose.
func (t *Testbed) Minority() int { return (len(t.names) - 1) / 2 }

// DataDir returns where a node keeps its data.
func (t *Testbed) DataDir(i int) string {
	if t.Level.Disks {
		return filepath.Join(t.disks[i].dir, "data")
	}
	return t.Cluster.DataDir(t.names[i])
}

// Disk returns a node's disk; nil without.
func (t *Testbed) Disk(i int) *Disk {
	if !t.Level.Disks {
		return nil
	}
	return t.disks[i]
}

// SetClock moves a node's wall clock away from the true time.
func (t *Testbed) SetClock(i int, offset time.Duration) error {
	if !t.Level.Clocks {
		return errors.New("the clocks of this testbed cannot be moved")
	}
	return t.clocks[i].set(offset)
}

// Claim reserves nodes for who, all or none: two faults that kill and continue
// one process at a time would only undo one another.
func (t *Testbed) Claim(who string, nodes ...int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, i := range nodes {
		if t.claimed[i] != "" {
			return false
		}
	}
	for _, i := range nodes {
		t.claimed[i] = who
	}
	return true
}

// Release ends a claim.
func (t *Testbed) Release(nodes ...int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, i := range nodes {
		t.claimed[i] = ""
	}
}

// Heal makes the network whole, thaws and empties the disks, restores power, sets
// the clocks right, continues what is paused and starts what has ended.
func (t *Testbed) Heal(ctx context.Context) error {
	t.Net.Heal()
	var first error
	note := func(i int, what string, err error) {
		if err != nil && first == nil {
			first = errors.Wrapf(err, "%s %s", what, t.names[i])
		}
	}
	for i := range t.names {
		if d := t.Disk(i); d != nil {
			note(i, "heal the disk of", errors.CombineErrors(d.Thaw(), t.EmptyDisk(i)))
		}
		if t.Level.Clocks {
			note(i, "heal the clock of", t.SetClock(i, 0))
		}
		if t.Running(i) {
			note(i, "continue", t.Resume(i))
		}
	}
	for i := range t.names {
		if d := t.Disk(i); d != nil && d.Dead() {
			if t.Running(i) {
				note(i, "kill", t.Kill(i))
			}
			note(i, "restore the disk of", t.RestorePower(i))
		}
	}
	return errors.CombineErrors(first, t.Start(ctx))
}

// Close ends every process and gives everything back. What the nodes wrote stays
// on disks only as long as those: see Keep.
func (t *Testbed) Close() (err error) {
	if t.Monitor != nil {
		t.Monitor.close()
	}
	for _, d := range t.disks { // a frozen disk holds its process
		err = errors.CombineErrors(err, d.Thaw())
	}
	if t.Cluster != nil {
		for i := range t.names {
			if e := t.Kill(i); e != nil && !errors.Is(e, local.ErrNotRunning) {
				err = errors.CombineErrors(err, e)
			}
		}
	}
	if t.Net != nil {
		t.Net.close()
	}
	for i, d := range t.disks {
		err = errors.CombineErrors(err, d.close())
		err = errors.CombineErrors(err, os.Remove(filepath.Join(t.opt.Dir, "disks", t.names[i]+".image")))
		_ = os.Remove(filepath.Join(t.opt.Dir, "disks", t.names[i])) // where it was mounted
	}
	if t.lifeline != nil {
		err = errors.CombineErrors(err, t.lifeline.Close())
	}
	return errors.Wrap(err, "close testbed")
}

// LogTail returns the end of a node's output.
func (t *Testbed) LogTail(i int, most int64) string {
	f, err := os.Open(t.Cluster.LogPath(t.names[i]))
	if err != nil {
		return fmt.Sprintf("(%v)", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fmt.Sprintf("(%v)", err)
	}
	b := make([]byte, min(st.Size(), most))
	n, _ := f.ReadAt(b, max(0, st.Size()-most))
	return string(b[:n])
}
