package server

import (
	"context"
	"maps"
	"slices"

	"github.com/cairnledger/cairn/api/cairnv1"
)

// Methods returns every method that is served.
func Methods() []string { return slices.Sorted(maps.Keys(grants)) }

// Receipts is what a service gets for entries that it proposed.
func Receipts(s *Server, ctx context.Context, b Backend, indexes []uint64, known uint64) ([]*cairnv1.ProvedLeaf, *cairnv1.SealedCheckpoint) {
	return s.receipts(ctx, b, indexes, known)
}
