// Package accountmap is the authenticated map of a program's accounts: one hash, the map root,
// commits to the record of every account, and a proof of some 700 bytes shows the record of one
// account below a root, or that the root has no such account.
//
// The map is a path-compressed binary trie over keys of 256 bits with SHA-256.
// docs/format-map.md specifies keys, hashes and proofs; testdata/vectors.json has examples.
//
// # Guarantees
//
// The root depends on the accounts and their records alone, not on the order in which they came.
// For one root and one key at most one statement has a proof that verifies, whoever built the tree:
// one record, or absence. A proof has one encoding. Parsing and verification never panic and never
// allocate more than the input's size.
//
// # Assumptions
//
// A root does not say how many accounts the map has, nor which ledger or which size it belongs to.
// Whoever publishes a root publishes that beside it. Accounts are never removed.
//
// # Use
//
// The owner of a ledger's state keeps a [Tree]:
//
//	key := accountmap.KeyOf(origin, id)
//	tree.Update([]accountmap.Leaf{{Key: key, Record: sha256.Sum256(record)}})
//	root, proof := tree.Root(), tree.Prove(key)
//
// A verifier holds a root that it has from elsewhere:
//
//	proof, err := accountmap.ParseProof(encoded)
//	record, present, err := proof.Verify(root, accountmap.KeyOf(origin, id))
package accountmap
