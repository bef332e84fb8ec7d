// Package merkle is the Merkle tree of a ledger: RFC 6962 hashing, the tiles
// that store it, and the proofs that are computed from the tiles.
//
// # Guarantees
//
// Hashes, inclusion proofs and consistency proofs are those of RFC 6962,
// section 2.1, with SHA-256. Tile contents and paths, and entry bundles, are
// those of C2SP tlog-tiles, with tiles of height 8. Verification never panics
// and accepts a proof only when it has exactly the length that its sizes
// demand, so there is one proof for each statement and no other bytes verify.
//
// # Assumptions
//
// A [TileReader] is trusted to return the tree's own hashes: a proof computed
// from wrong tiles is a proof that does not verify, never a false one that
// does. Sizes are at most [MaxSize].
//
// # Use
//
// The ledger appends leaf hashes to a [Tree], stores the tiles that it fills,
// and serves proofs from them:
//
//	full := tree.Append(merkle.LeafHashes(leaves))
//	store(full)
//	root := tree.Root()
//	proof, err := merkle.InclusionProof(store, index, tree.Size())
//
// A verifier holds a leaf, a proof and a root that it has from elsewhere:
//
//	err := merkle.VerifyInclusion(index, size, merkle.LeafHash(leaf), proof, root)
package merkle
