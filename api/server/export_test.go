package server

import (
	"maps"
	"slices"
)

// Methods returns every method that is served.
func Methods() []string { return slices.Sorted(maps.Keys(grants)) }
