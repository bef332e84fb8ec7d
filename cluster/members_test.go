package cluster_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMembersComeAndGo: while entries are appended, a fourth node joins and votes, a founder is killed and
// replaced by a new node, and the fourth is removed. No acknowledged entry is lost, what was removed never
// comes back, and all that are left come back from a stop.
func TestMembersComeAndGo(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	l := startLoad(t, c, 2)
	l.waitFor(t, 20)

	added, err := c.Add(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if added.Name != "n4" || added.ID != 4 {
		t.Errorf("the new node is %s (%d), want n4 (4)", added.Name, added.ID)
	}
	l.waitFor(t, 20)
	replaced, err := c.Add(ctx, "n2")
	if err != nil {
		t.Fatal(err)
	}
	if replaced.Name != "n5" || replaced.ID != 5 {
		t.Errorf("the node in the place of n2 is %s (%d), want n5 (5)", replaced.Name, replaced.ID)
	}
	if _, err := os.Stat(c.NodeDir("n2")); !os.IsNotExist(err) {
		t.Errorf("the directory of n2 is there: %v", err)
	}
	l.waitFor(t, 20)
	if err := c.Remove(ctx, "n4", false); err != nil {
		t.Fatal(err)
	}
	l.waitFor(t, 20)
	admin := dial(t, c, "admin")
	if _, err := admin.RemoveMember(ctx, "n3", false); err == nil || !strings.Contains(err.Error(), "survives 0 failures") {
		t.Errorf("one of the last three is removed: %v, want a refusal that says what is survived", err)
	}
	if _, err := admin.RemoveMember(ctx, "n2", true); err == nil || !strings.Contains(err.Error(), "never comes back") {
		t.Errorf("a removed node is removed again: %v", err)
	}
	l.stop()

	if err := c.Down(ctx); err != nil {
		t.Fatal(err)
	}
	start(t, c)
	l.receipts = nil // the client verified each under the policy of its size; verify knows the first policy
	l.verify(t, c)
	if got := strings.Join(c.Names(), " "); got != "n1 n3 n5" {
		t.Errorf("the nodes are %s", got)
	}
	members, err := dial(t, c, "reader").Members(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range members {
		got = append(got, fmt.Sprintf("%d %s", m.Id, m.Role))
		for _, x := range m.Ledgers {
			if !x.Settled {
				t.Errorf("%s is not what it is to be in %s: %s", m.Name, x.Origin, x.Role)
			}
		}
	}
	if want := "1 voter, 2 removed, 3 voter, 4 removed, 5 voter"; strings.Join(got, ", ") != want {
		t.Errorf("the members are %q, want %q", got, want)
	}
}
