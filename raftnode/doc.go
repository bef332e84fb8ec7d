// Package raftnode replicates opaque blocks with Raft and hands them, once
// committed, to a state machine of its caller. It knows no ledger.
//
// # What it guarantees
//
//   - Every node applies the same blocks in the same order (Raft's log). A block
//     is applied again after a restart, from the newest mark of the write-ahead
//     log on; the machine must recognise what it already holds.
//   - A request that Node.Submit accepted is answered exactly once: by
//     Machine.Apply, with the block that carries it, or by Machine.Fail. An error
//     given to Fail is definite (the request has no effect and never will have)
//     unless it is ErrIndefinite.
//   - A leader builds no block before it has applied an entry of its own term,
//     so a block is always based on everything that was committed before it.
//   - An index that Node.ReadIndex returns covers everything that was
//     acknowledged anywhere before the call (ReadOnlySafe; never leases).
//
// # What it assumes
//
// The write-ahead log keeps what it was asked to sync, or fails for good.
// Transport authenticates peers; their messages may be lost, repeated and
// reordered. A message that no honest member sends is refused (admit.go), so a lying
// peer cannot stop this node. It can cost elections, and as leader it can give
// different entries to different members: Raft does not exclude that, and the machine
// has to notice. Clocks are used for liveness only.
//
// # Layers
//
// Core is the pure part: it wraps raft.RawNode, binds proposals to log
// positions, batches linearizable reads and plans campaigns. It has no goroutine,
// no I/O, no clock and no lock. Its only source of randomness is the one inside
// RawNode: the election timeout is drawn with crypto/rand from [ElectionTicks,
// 2*ElectionTicks). A simulation that needs complete determinism drives elections
// with Campaign and keeps followers from timing out.
//
// Driver is everything around the Core that can be decided without waiting: the inbox, the queue of
// requests, blocks and the callers they belong to, the order of sending, writing, applying and
// answering, group commit, the watchdog over a stalled disk. It has no goroutine, no clock and no
// I/O; a Shell runs its three tasks. Host is the shell of production, for the members of all groups
// of a process, jepsen/sim that of the simulation. Node is one member that a Host runs.
//
//	            Tick (coalesced: at most one tick a turn)
//	               |
//	Submit ---> [queue] --+            +--> transport (MsgApp leaves before the local write)
//	peers  ---> [inbox] --+--> Turn ---+--> [write queue] --> NextWrite: all that waits, one write, one sync
//	               ^      owns Core    |                          |
//	               |                   +--> [apply queue] --> NextApply: all that waits, in order: Machine.Apply
//	               +------- Written, Applied (never block) -------+
//
// A turn never waits for a disk or for another queue, and writes and applies never wait for a turn:
// all queues between them are slices behind a mutex, bounded by Raft's own windows (in-flight
// messages, outstanding apply bytes), so that no cycle of waits can form.
//
// Under load the turns and the writes of a Host, and what its Transport writes, begin with a pause in
// which others add to what waits (package gather). A request that is alone meets no pause.
//
// A follower learns of a new commit index with the next block, or with the next tick, or when somebody
// calls Driver.Publish: type news says why nobody waits for it in between. What a finished write or
// apply brings back waits for the next turn unless something follows from it.
//
// A member that has nothing to do is quiet: it takes no turns. It notes the heartbeats and answers
// that change nothing, and its core gets the time that has passed when there is something to do
// again. The type quiet says why nobody can tell the difference, and what ends it.
//
// The smallest use:
//
//	log, err := wal.Open(wal.Options{FS: vfs.Default, Dir: dir, Cluster: 1, Node: 1})
//	tr := transport.New(transport.Config{Self: 1, Peers: peers, Dial: dial, Accept: accept})
//	host := raftnode.NewHost(raftnode.HostConfig{Log: log, Transport: tr})
//	node, err := host.Start(raftnode.Config{ID: 1, Group: 1, Machine: m})
//	tr.Start(listener)
//	...
//	node.Stop(ctx); host.Close(); tr.Close(); log.Close()
package raftnode
