package pki

import (
	"strings"
	"testing"
)

func TestParseID(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"spiffe://ledger.example/node/n1", "spiffe://a/b", "spiffe://a_b-c.d/X/y.z/_-.1", "spiffe://1/...",
		"spiffe://" + strings.Repeat("a", 255) + "/" + strings.Repeat("b", 1783),
	} {
		id, err := ParseID(s)
		if err != nil || string(id) != s {
			t.Errorf("ParseID(%.60q) = %.60q, %v; want it taken", s, id, err)
		}
		if got := idScheme + id.TrustDomain() + id.Path(); got != s {
			t.Errorf("trust domain and path give %.60q, want %.60q", got, s)
		}
	}
	for _, s := range []string{
		"", "spiffe:", "spiffe://", "spiffe:///x", "spiffe://a", "spiffe://a/", "spiffe://a//b", "spiffe://a/b/", "spiffe://a/./b", "spiffe://a/../b",
		"SPIFFE://a/b", "https://a/b", "spiffe://A/b", "spiffe://a:1/b", "spiffe://u@a/b", "spiffe://a/b?c", "spiffe://a/b#c", "spiffe://a/b%20c", "spiffe://a/b c",
		"spiffe://a/ü", "spiffe://a/b\x00", "spiffe://ü/b", " spiffe://a/b", "spiffe://a/b\n",
		"spiffe://" + strings.Repeat("a", 256) + "/b", "spiffe://a/" + strings.Repeat("b", 2048),
	} {
		if id, err := ParseID(s); err == nil || id != "" {
			t.Errorf("ParseID(%.60q) = %.60q, want a refusal", s, id)
		}
	}
	if got, want := NodeID("td", 0xab, "n1"), ID("spiffe://td/cluster/00000000000000ab/node/n1"); got != want {
		t.Errorf("NodeID is %s, want %s", got, want)
	}
	if got, want := ServiceID("td", "app"), ID("spiffe://td/svc/app"); got != want {
		t.Errorf("ServiceID is %s, want %s", got, want)
	}
}

// TestIsNode: an ID is a node's exactly when NodeID gives it.
func TestIsNode(t *testing.T) {
	t.Parallel()
	for _, id := range []ID{NodeID("td", 0xab, "n1"), NodeID("ledger.example", 1<<63, "node"), "spiffe://td/cluster/00000000000000ab/node/cluster"} {
		if !id.IsNode() {
			t.Errorf("%s is not taken for a node", id)
		}
	}
	for _, id := range []ID{
		"", "spiffe://td", ServiceID("td", "app"), "spiffe://td/node/n1", "spiffe://td/cluster/00000000000000ab", "spiffe://td/cluster/00000000000000ab/node/",
		"spiffe://td/cluster/00000000000000AB/node/n1", "spiffe://td/cluster/ab/node/n1", "spiffe://td/cluster/0000000000000000/node/n1",
		"spiffe://td/cluster/00000000000000ab/node/n1/x", "spiffe://td/cluster/00000000000000ab/svc/n1", "spiffe://td/svc/cluster/00000000000000ab/node/n1",
		"td/cluster/00000000000000ab/node/n1", "spiffe://td/cluster/00000000000000ab/x/node/n1", "spiffe://td/cluster/00000000000000ab/node/n1/node/n1",
	} {
		if id.IsNode() {
			t.Errorf("%q is taken for a node", id)
		}
	}
}

func TestClusterID(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"00000000000000ab", "ffffffffffffffff", "0123456789abcdef"} {
		id, err := ParseClusterID(s)
		if err != nil || id.String() != s {
			t.Errorf("ParseClusterID(%q) = %s, %v; want it taken", s, id, err)
		}
	}
	if id, err := ParseClusterID("0123456789ABCDEF"); err != nil || id.String() != "0123456789abcdef" {
		t.Errorf("capitals give %s, %v; want the same cluster in lower case", id, err)
	}
	for _, s := range []string{"", "ab", "0000000000000000", "00000000000000ag", "+000000000000001", "0x00000000000001", "00000000000000ab0", " 00000000000000ab"} {
		if id, err := ParseClusterID(s); err == nil || id != 0 {
			t.Errorf("ParseClusterID(%q) = %s, want a refusal", s, id)
		}
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		has, want Role
		ok        bool
	}{
		{RoleAdmin, RoleWriter, true}, {RoleAdmin, RoleReader, true}, {RoleAdmin, RolePeer, false}, {RoleWriter, RoleReader, true},
		{RoleWriter, RoleAdmin, false}, {RoleReader, RoleWriter, false}, {RolePeer, RoleReader, false}, {RolePeer | RoleReader, RolePeer | RoleReader, true},
		{RolePeer, RolePeer | RoleReader, false}, {0, RoleReader, false},
		{RoleAdmin, RoleOperator, true}, {RoleAdmin, RoleParticipant, true}, {RoleOperator, RoleParticipant, true}, {RoleOperator, RoleReader, true},
		{RoleOperator, RoleWriter, false}, {RoleOperator, RoleAdmin, false}, {RoleParticipant, RoleReader, false}, {RoleParticipant, RoleOperator, false},
		{RoleWriter, RoleParticipant, false}, {RoleWriter, RoleOperator, false}, {RoleReader, RoleParticipant, false}, {RolePeer, RoleParticipant, false},
	} {
		if got := c.has.Has(c.want); got != c.ok {
			t.Errorf("%q has %q: %v, want %v", c.has, c.want, got, c.ok)
		}
		if got := c.has.HasAny(c.want); c.want&(c.want-1) == 0 && got != c.ok {
			t.Errorf("%q has any of %q: %v, want %v", c.has, c.want, got, c.ok)
		}
	}
	for want, ok := range map[Role]bool{RoleReader | RoleParticipant: true, RoleParticipant | RoleAdmin: true, RoleReader | RoleAdmin: false, 0: false} {
		if got := RoleParticipant.HasAny(want); got != ok {
			t.Errorf("a participant has any of %q: %v, want %v", want, got, ok)
		}
	}
	for r := Role(1); r <= allRoles; r++ {
		back, err := ParseRoles(r.String())
		if err != nil || back != r {
			t.Errorf("ParseRoles(%q) = %q, %v", r, back, err)
		}
	}
	if r, err := ParseRoles(" writer , reader"); err != nil || r != RoleWriter|RoleReader {
		t.Errorf("spaces around roles give %q, %v", r, err)
	}
	for _, s := range []string{"", ",", "writer,", "root", "Writer", "writer reader"} {
		if r, err := ParseRoles(s); err == nil || r != 0 {
			t.Errorf("ParseRoles(%q) = %q, want a refusal", s, r)
		}
	}
}
