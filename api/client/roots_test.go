package client_test

import (
	"slices"
	"testing"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
)

// TestCompareRoots: a node with another ledger of the same size, or of a larger one, is named.
func TestCompareRoots(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 3)
	other, oc := start(t, 1)
	for _, x := range []struct {
		c       *fakecluster.Cluster
		cl      *client.Client
		payload string
	}{{cluster, c, "a"}, {other, oc, "b"}} {
		for range 3 {
			mustAppend(t, x.cl, entry("", x.payload))
		}
		x.c.SealNow()
	}
	compare := func() client.RootComparison {
		t.Helper()
		answers := map[string]*cairnv1.StatusResponse{}
		for _, name := range c.Nodes() {
			st, err := c.Status(within(t), name)
			if err != nil {
				t.Fatal(err)
			}
			answers[name] = st
		}
		return c.CompareRoots(within(t), answers)
	}
	want := cluster.Nodes[0].Ledger().Head().Root
	if cmp := compare(); cmp.Size != 3 || len(cmp.Roots) != 3 || cmp.Root != want || len(cmp.Differing) != 0 {
		t.Errorf("three equal replicas: %+v", cmp)
	}
	cluster.Nodes[2].Replica = other.Nodes[0].Ledger()
	if cmp := compare(); cmp.Size != 3 || cmp.Root != want || !slices.Equal(cmp.Differing, []string{"n3"}) {
		t.Errorf("n3 has another ledger of the same size: %+v", cmp)
	}
	// The other ledger grows: the roots are compared at the size that all have sealed.
	mustAppend(t, oc, entry("", "b"))
	other.SealNow()
	if cmp := compare(); cmp.Size != 3 || len(cmp.Roots) != 3 || !slices.Equal(cmp.Differing, []string{"n3"}) {
		t.Errorf("n3 has another ledger that is larger: %+v", cmp)
	}
	// Nobody can say which of two is right.
	cluster.Nodes[1].Kill()
	two := map[string]*cairnv1.StatusResponse{}
	for _, name := range []string{"n1", "n3"} {
		st, err := c.Status(within(t), name)
		if err != nil {
			t.Fatal(err)
		}
		two[name] = st
	}
	if cmp := c.CompareRoots(within(t), two); !slices.Equal(cmp.Differing, []string{"n1", "n3"}) {
		t.Errorf("one against one: %+v", cmp)
	}
}
