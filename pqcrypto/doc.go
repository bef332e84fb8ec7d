// Package pqcrypto wraps the post-quantum primitives of Cairn behind small types: ML-DSA (FIPS
// 204), ML-KEM (FIPS 203) and X-Wing.
//
// It and the packages below it (pki, lpa, seal) are the only importers of CIRCL. Everything else in
// the program signs, verifies, encapsulates and stores keys through the types here.
//
// What it guarantees:
//
//   - A private key is its seed. Keys are generated from, stored as and loaded from seeds; an
//     expanded key on its own is refused.
//   - Signing is hedged (FIPS 204, 3.4): fresh randomness goes into every signature.
//   - A signature of our own carries a context from the table in context.go, so it can never be
//     replayed as another kind of statement. The empty context is for formats whose standard
//     demands it (X.509, C2SP) and has methods of its own, [SigningKey.SignStandard] and
//     [VerifyingKey.VerifyStandard].
//   - Public keys are parsed strictly; a parsed ML-DSA key is expanded once, when it first verifies
//     something, and shared through a bounded cache.
//   - DER is strict (RFC 9881, RFC 9935): parameters absent, no trailing bytes, a key that holds
//     both seed and expanded form must be consistent.
//   - Key files are written with mode 0600, exclusively, and synced; files that others can read are
//     refused.
//   - Private keys print as a redaction.
//
// What it does not: CIRCL is not a validated module, and neither it nor Go erases keys from memory.
//
// All key types are immutable and safe for concurrent use. The smallest use:
//
//	key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA65)
//	sig, err := key.Sign(pqcrypto.ContextLPAClientAuth, transcript)
//	ok := key.Public().Verify(pqcrypto.ContextLPAClientAuth, transcript, sig)
package pqcrypto
