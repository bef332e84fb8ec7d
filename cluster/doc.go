// Package cluster holds what makes nodes out of the parts, and clusters out of
// nodes:
//
//	replica    one ledger on one node: Raft group, ledger and sealer
//	directory  the program of the cluster's own ledger, which lists all others
//	formation  with which data directories the members take part
//	node       one node with its ledgers, assembled from configuration, log, store, services
//	local      several nodes as processes of one machine
//	local.sh   the same from a shell
//
// The tests of this package run whole clusters of real processes: kills, lost
// majorities, full disks, foreign data, creations of ledgers that are interrupted.
package cluster
