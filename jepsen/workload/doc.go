// Package workload is the clients of a real cluster: they ask for everything that
// the API offers, also for what makes no sense, and record what they were told.
//
// Most clients speak to one node at a time over the bare API and repeat nothing,
// so that every outcome in the history is what the node said about it: definite,
// indefinite, or silence, which is indefinite unless the request certainly never
// left. Some are pinned to a node, whatever it says about the leader; the others
// follow the leader's hints. A few use the client library instead, which repeats
// appends by itself: those are marked as retried. Watchers subscribe to the whole
// ledger and resume where they were, on whatever node.
//
// A client is one process of the history at a time; after an unknown outcome it
// goes on under a new number. Payloads are unique. Batches of several entries are
// repeated as a whole or not at all, as check.Linear assumes.
//
// Receipts and checkpoints that the clients get are collected, to be verified
// offline when everything is over. What is wrong in a single answer, without
// anything to compare it with, is noted at once: see Workload.Violations.
package workload
