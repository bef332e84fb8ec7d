// Package proofs verifies proofs of settlement ledgers with verify.py, which was written from the
// documents and shares no line with this project's verifier.
package proofs
