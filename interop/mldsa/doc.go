// Package mldsa checks package pqcrypto against code and vectors that others wrote:
// filippo.io/mldsa, an independent ML-DSA, and the Wycheproof vectors for ML-DSA and ML-KEM. It is
// a module of its own so that the product depends on neither.
package mldsa
