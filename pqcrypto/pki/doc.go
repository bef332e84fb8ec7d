// Package pki issues, parses and validates the certificates of a cluster: X.509 with ML-DSA (RFC
// 9881) and ML-KEM (RFC 9935) keys and SPIFFE IDs.
//
// There are three kinds, and a certificate that is not exactly one of them is refused when it is
// parsed:
//
//	            authority                  identity                       KEM
//	key         ML-DSA                     ML-DSA                         ML-KEM
//	key usage   keyCertSign [, cRLSign]    digitalSignature               keyEncipherment
//	extended    none                       serverAuth, clientAuth, roles  KEM authentication
//	URI name    spiffe://TD                spiffe://TD/PATH               spiffe://TD/PATH
//	more        basicConstraints, cA       an X509-SVID                   relatedCertificate
//
// Key usage and an authority's basicConstraints are critical. relatedCertificate is RFC 9763.
//
// A server has an identity and a KEM certificate with the same SPIFFE ID; the KEM certificate names
// the identity certificate by its hash, because an X509-SVID must have digitalSignature and an
// ML-KEM key must not.
//
// What it guarantees: [Pool.VerifyIdentity] and [Pool.VerifyKEM] accept a chain only when every
// certificate in it has its kind's exact profile, is within its validity, lies in the trust domain
// of a root of the pool, is signed by the next with the parameter set of the signer's key, and the
// path lengths hold. Signatures are verified from the root down, so that a stranger's certificate
// costs no work on the stranger's key. ML-DSA-44 is refused everywhere: it is for C2SP cosignatures
// only.
//
// A pool may have revocation lists ([Pool.WithRevocations], RFC 5280, section 5): it refuses every
// path with a certificate that its issuer's list names.
//
// What it assumes: the caller's clock.
//
// Callers: package lpa for the channel, the commands that set up a cluster for issuing. The
// smallest use:
//
//	root, err := pki.NewRoot("example root", "ledger.example", pqcrypto.MLDSA87, 10*365*24*time.Hour)
//	svid, err := root.IssueIdentity(pki.IssueRequest{
//		ID: pki.NodeID("ledger.example", cluster, "n1"), Roles: pki.RolePeer,
//		PublicKey: key.Public(), Validity: 720 * time.Hour,
//	})
//	pool, err := pki.NewPool(root.Certificate())
//	peer, err := pool.VerifyIdentity([][]byte{svid.Raw}, time.Now())
package pki
