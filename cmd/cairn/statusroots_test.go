package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/merkle"
)

// TestStatusMarksAnotherRoot: the table marks the node with another root, and the command ends
// with exit code 3.
func TestStatusMarksAnotherRoot(t *testing.T) {
	one, two := merkle.LeafHash([]byte("one")), merkle.LeafHash([]byte("two"))
	nodes := func() []nodeStatus {
		return []nodeStatus{
			{Node: "n1", Role: "leader", Leader: "n1", figures: &figures{}}, {Node: "n2", Role: "follower", figures: &figures{}},
			{Node: "n3", Role: "follower", figures: &figures{}}, {Node: "n4"},
		}
	}
	show := func(cmp client.RootComparison) (string, error) {
		all := nodes()
		markRoots(all, cmp)
		return rendered(0, func(p *page) { statusTable(p, all) }), rootsDiffer(all)
	}
	roots := map[string]merkle.Hash{"n1": one, "n2": one, "n3": one}
	out, err := show(client.RootComparison{Size: 5, Roots: roots, Root: one})
	if err != nil || strings.Count(out, "same") != 3 || strings.Contains(out, "DIFFERS") {
		t.Errorf("three equal roots: %v\n%s", err, out)
	}
	roots["n3"] = two
	out, err = show(client.RootComparison{Size: 5, Roots: roots, Root: one, Differing: []string{"n3"}})
	var f *failure
	if !errors.As(err, &f) || f.code != exitRefused || !strings.Contains(err.Error(), "size 5 n3 has "+two.String()) {
		t.Errorf("the error is %v, want one with exit code %d that names n3", err, exitRefused)
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, "DIFFERS") != strings.HasPrefix(line, "n3") {
			t.Errorf("a wrong row is marked:\n%s", out)
		}
	}
}
