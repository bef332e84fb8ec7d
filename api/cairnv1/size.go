package cairnv1

// SizeHeader is an HTTP response header: the size of the node's ledger, in decimal. A node without
// a checkpoint sends it with the answer that it has none, so that a client can tell an empty
// ledger, where nothing can be signed yet, from an address where there is no ledger. It is the
// node's word and proves nothing.
const SizeHeader = "Cairn-Size"
