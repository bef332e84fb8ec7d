// Package web serves a ledger over plain HTTP: the C2SP tlog-tiles read path, liveness, readiness
// and metrics.
//
//	GET /checkpoint                       the newest sealed checkpoint, a signed note
//	GET /tile/<level>/<index>[.p/<width>] a tile of the Merkle tree
//	GET /tile/entries/<index>[.p/<width>] a bundle of entries
//	GET /livez                            200 while the process works, else 503 and why
//	GET /readyz                           200 while the node can serve reads, else 503 and why
//	GET /metrics                          Prometheus
//
// What it guarantees: only what the sealed checkpoint covers is served, so that every tile belongs
// to a published size; a tile is immutable and says so to caches; a path that names nothing that
// may exist is 400, one that names something that does not exist yet is 404. Partial tiles are
// served for every width up to what the checkpoint covers, also when the tile is full by now.
//
// What it assumes: nothing about its clients. What it serves proves itself, so there is no
// authentication; requests and the memory they hold are limited. package cluster/node runs it.
package web
