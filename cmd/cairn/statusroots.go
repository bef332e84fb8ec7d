package main

import (
	"strings"

	"github.com/cairnledger/cairn/api/client"
)

// markRoots notes on every node how its root compares with those of the others.
func markRoots(all []nodeStatus, cmp client.RootComparison) {
	for i := range all {
		s := &all[i]
		if root, ok := cmp.Roots[s.Node]; ok {
			s.ComparedSize, s.ComparedRoot = cmp.Size, root.String()
		}
		for _, name := range cmp.Differing {
			s.Differs = s.Differs || name == s.Node
		}
	}
}

// rootMark says in a word how the node's root compares with those of the others.
func (s *nodeStatus) rootMark() string {
	switch {
	case s.Differs:
		return bad("DIFFERS")
	case s.ComparedSize > 0:
		return "same"
	}
	return "-"
}

// rootsDiffer is the error of a ledger whose replicas have different roots.
func rootsDiffer(all []nodeStatus) error {
	var differing []string
	var size uint64
	for _, s := range all {
		if s.Differs {
			differing, size = append(differing, s.Node+" has "+s.ComparedRoot), s.ComparedSize
		}
	}
	if len(differing) == 0 {
		return nil
	}
	return failf(exitRefused, "the row DIFFERS in docs/operations.md says what to do; do not append before it is known which copy is right",
		"the nodes do not have one ledger: at size %d %s", size, strings.Join(differing, ", "))
}
