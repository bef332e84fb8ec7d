// Package tlog holds a ledger's tiles, checkpoints, cosignatures, policies and
// receipts against verifiers that others wrote: Tessera's fsck, torchwood, and
// the note verifier of transparency-dev/formats. It is a module of its own, so
// that the product does not depend on them. Nothing imports it; its command
// fsck checks a ledger that is being served.
package tlog
