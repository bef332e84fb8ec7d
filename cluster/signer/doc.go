// Package signer keeps a node's cosigner key in a process of its own, which signs checkpoints on a
// Unix socket and never two that contradict each other.
//
// What it guarantees: under one directory the signer never signs two roots for one size of a
// ledger, nor a smaller size after a larger one, whoever asks and however often the node or the
// signer is killed or restored. It remembers the newest checkpoint of each ledger durably before a
// signature leaves. The node has the same rule (package ledger/seal) and a memory of its own: an
// older copy of the node's data directory gets no signature that contradicts a former one.
//
// What it does not guarantee: that a root is right. The node computes roots; the signer sees none of
// the entries. Whoever can connect to the socket can have any root signed for a size above the
// remembered one, which the other replicas would object to. An older copy of the signer's own
// directory forgets; only the node's memory is left then.
//
// The protocol is HTTP with JSON: GET /v1/key, and POST /v1/cosign. Access is a matter of the
// socket's mode, which is 0660.
//
// Callers: the command `cairn signer` serves, package cluster/node is the [Client]. The smallest use:
//
//	s, err := signer.Open(dir)
//	listener, err := signer.Listen(socket)
//	err = s.Serve(ctx, listener)
package signer
