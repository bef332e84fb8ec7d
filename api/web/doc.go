// Package web serves a node's ledgers over plain HTTP: for each the C2SP tlog-tiles read path under
// its origin, their listing, liveness, readiness and metrics.
//
//	GET /                                          the ledgers, as JSON, sorted by origin
//	GET /<origin>/checkpoint                       the newest sealed checkpoint, a signed note
//	GET /<origin>/tile/<level>/<index>[.p/<width>] a tile of the Merkle tree
//	GET /<origin>/tile/entries/<index>[.p/<width>] a bundle of entries
//	GET /livez                                     200 while the process works, else 503 and why
//	GET /readyz                                    200 while the node can serve reads, else 503 and why
//	GET /metrics                                   Prometheus
//
// The listing is an array of objects with the members origin, program, size (entries applied here),
// sealed_size (entries that the newest checkpoint covers) and base (the path of the ledger's files:
// a slash and the origin).
//
// What it guarantees: of a ledger only what its sealed checkpoint covers is served, so that every
// tile belongs to a published size; a tile is immutable and says so to caches; a path that names
// nothing that may exist is 400, one that names something that does not exist yet is 404. A file of a
// ledger that the node does not know is 503 with Retry-After as long as the node may come to host it.
// Partial tiles are served for every width up to what the checkpoint covers, also when the tile is full by
// now.
//
// What it assumes: nothing about its clients. What it serves proves itself, so there is no
// authentication; requests and the memory they hold are limited. package cluster/node runs it.
package web
