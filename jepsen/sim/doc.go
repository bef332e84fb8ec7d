// Package sim runs a whole Cairn cluster in one goroutine, on virtual time, with
// every fault that a correct cluster must survive and no other: ring 1 of the
// test suite. A seed decides everything, so a failure is repeated with one
// command, and shrunk to the few faults and operations that it takes.
//
// # What is real
//
// raftnode.Driver (etcd/raft inside), raftnode/wal on a simulated disk, ledger and
// ledger/seal are the production code, with real signatures. So the order of
// sending, writing, applying and answering, and group commit, are those of
// production: tasks.go runs the driver's three tasks as events where production
// has goroutines. ledger/memstore stands in for Badger: the two share a
// conformance test, and memstore forgets what Badger may forget. member.go
// follows cluster/node's replica and sealer. Messages are copied field by field,
// as the wire format does it.
//
// A node hosts one ledger, or in two of five seeds two or three. They share its
// log, with raftnode.GroupCommit to make one write of what all have, its store, and
// its link to each other node. Every ledger begins with its genesis, has clients and
// checkers of its own, and may be idle while another one is busy. Members that have nothing to do are
// quiet, as in production: over many runs, members take no turn for two of three ticks.
//
// # What happens to it
//
// Messages are delayed, lost, repeated and overtaken; links fail one way or
// both, in several shapes. Processes are killed, paused, stopped cleanly; power
// fails for one node or for all, and takes any subset of the blocks and names
// that were not synced, torn ones included, and of the commits of the store that
// were not flushed. Syncs are slow or fail. Clocks jump and run at different
// speeds. Bits flip in the log or the store of a minority: such a node must
// refuse to start, naming the file, or never give a wrong answer. Leaders hand
// over, and nodes are told, rightly or wrongly, that a peer is dead.
//
// # What is checked
//
// For each ledger: check.Linear, check.Sessions and check.Watches on everything that
// clients saw, also across crashes; check.Raft on everything that members did; that all
// nodes end with one ledger that begins with its genesis; that no size has two sealed
// roots and no voter signs backwards; that checkpoints and receipts verify with the keys
// of the genesis; that after all faults have ended the group elects, commits, converges
// and seals within a bound of virtual time. A panic of the product is a violation too.
//
// The trace hash of a run covers every message sent and delivered and every
// write, sync and change of names on every disk, in order: equal seeds give equal
// hashes.
//
//	res := sim.Run(sim.Options{Seed: 7})
//	if res.Failed() {
//		o, small := sim.Shrink(sim.Options{Seed: 7}, res)
//		fmt.Println(sim.Command(o), small.Violations[0])
//	}
//
// While it runs, Run replaces crypto/rand.Reader for the whole process, because
// that is where election timeouts, salts and signatures get their randomness:
// runs exclude each other, and nothing else in the process should need
// randomness meanwhile. To use more cores start more processes.
package sim
