// Package lpa is the authenticated channel between all parts of Cairn: LPA/1, mutual post-quantum
// authentication inside TLS 1.3. docs/protocol-lpa.md specifies it byte by byte.
//
// TLS 1.3 of the standard library, with exactly one hybrid group, gives confidentiality, integrity
// and forward secrecy. Inside it, and bound to its exporter, the server proves itself by
// decapsulating a secret that was encapsulated to its certified ML-KEM key, and the client by an
// ML-DSA signature that only the named server can read. ML-DSA signs what must convince others
// later; ML-KEM proves that a server is present now. Take either away and authentication fails.
//
// What it guarantees when Client or Server returns without error:
//
//   - The peer holds the private keys of certificates that chain to Config.Roots, are valid now,
//     carry the suite's parameter sets and at least one role, and that Config.Deny did not refuse.
//     A client has reached the identity that it dialled, no other.
//   - Nobody is in between: a TLS-terminating proxy or a relay, even one run by a legitimate
//     member, has another exporter.
//   - No application byte was read, written or accepted before that.
//   - The connection closes itself when the first of the peer's certificates expires, and Recheck
//     closes those that Deny refuses.
//
// What it assumes: the roots are honest, the clock is right to within the certificates' validity,
// and crypto/tls, CIRCL and the random source are correct. What it is not: it is built from parts
// that have been analysed, but the composition has no published proof, and it has not been
// validated by any body. Its TLS records are those of crypto/tls, usually AES-128-GCM.
//
// Callers: the Raft transport uses Client and Server on raw streams, the gRPC services use
// Credentials; it is one implementation. A listener should bound how many handshakes run at once;
// each one costs at most 32 KiB of frames, one decapsulation for a stranger, and
// Config.HandshakeTimeout.
//
// [Config.Client] and [Config.Server] authenticate a net.Conn; the example shows the smallest use.
package lpa
