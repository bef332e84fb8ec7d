// Package cluster holds what makes nodes out of the parts, and clusters out of
// nodes:
//
//	node       one node, assembled from configuration, log, ledger, services
//	local      several of them as processes of one machine
//	local.sh   the same from a shell
//
// The tests of this package run whole clusters of real processes: kills, lost
// majorities, full disks, foreign data.
package cluster
