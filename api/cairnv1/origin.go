package cairnv1

// OriginHeader is request metadata that names the ledger which the caller means. A node of another ledger refuses the call, so
// that a client cannot write into the wrong one where several share a certificate authority. A call without it means whatever
// ledger the node serves.
const OriginHeader = "cairn-origin"
