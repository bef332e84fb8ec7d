// Package jepsen tests that a Cairn cluster keeps its promises while everything
// around it fails.
//
// Its parts, from the bottom up:
//
//	history    what clients asked, what they were told, and when
//	check      exact verdicts about a history: linear time, never "unknown"
//	sim        whole clusters of the product's state machines, in virtual time
//	testbed    real clusters: links, disks and clocks that can be taken away
//	nemesis    what is taken away from a real cluster, and how that is seen
//	workload   clients of a real cluster, which write down what they are told
//	trial      one test of a real cluster, from its start to the verdict
//	report     the verdict as a page for people
//	damage     files of stopped nodes that are damaged, and nodes that come back
//	zoo        deliberate bugs, each of which has to be caught
//
// Command cairn-jepsen runs them.
//
// It imports the product; nothing of the product imports it.
package jepsen
