// Package testbed runs a cluster of real processes on one machine, with every
// part that can fail within reach: the processes, the connections between them,
// their disks, their files and their clocks.
//
// What is possible depends on the machine, and Level says it: every link between
// two nodes always passes through a proxy that can hold, delay or refuse it, one
// for each direction; as root each node also has a file system of its own in a
// loop device, whose power can be cut, which can be frozen and filled.
//
// # What it does to a network
//
// A proxy works on streams. A cut link holds what one side sends, as the kernel
// does when packets are lost, and delivers it once the link is whole: nobody is
// told. A lossy link stalls now and then for as long as a retransmission takes, or
// breaks. Each connection is delayed by itself, so messages of the control and of
// the bulk connection overtake one another; within one connection TCP keeps the
// order, and no fault can change that. A one-way cut is truly one-way: with
// packets it would not be, since the acknowledgements would be missing.
//
// # What it notices
//
// It knows which processes somebody told to end, and whose disk is harmed, so that it
// can tell which have ended by themselves: see Unasked.
//
// # What it cleans up
//
// Close heals everything, ends the processes that the testbed started, unmounts
// and deletes. When the harness dies without Close: the nodes end by themselves,
// since their standard input ends; with Private, mounts and loop devices go with
// the last process.
//
// Its callers are jepsen/nemesis, which breaks things, and jepsen/trial.
package testbed
