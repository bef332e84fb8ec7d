package server

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc/credentials/insecure"

	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// TestEveryMethodHasARole: a method that is registered without a row could be called by nobody, and
// a row without a method would be a promise about nothing.
func TestEveryMethodHasARole(t *testing.T) {
	s, err := New(Config{
		Ledger: func(string) (Backend, bool) { return nil, false }, Credentials: insecure.NewCredentials(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop(t.Context())
	served := map[string]bool{}
	for service, info := range s.grpc.GetServiceInfo() {
		for _, m := range info.Methods {
			method := "/" + service + "/" + m.Name
			served[method] = true
			if _, ok := grants[method]; !ok {
				t.Errorf("%s has no row in the table of roles", method)
			}
		}
	}
	for method := range grants {
		if !served[method] {
			t.Errorf("the table of roles has a row for %s, which is not served", method)
		}
	}
}

// TestRolesAreThoseOfTheProto: a method needs the roles that its comment in cairn.proto names.
func TestRolesAreThoseOfTheProto(t *testing.T) {
	raw, err := os.ReadFile("../proto/cairn/v1/cairn.proto")
	if err != nil {
		t.Fatal(err)
	}
	documented, comment, service := 0, "", ""
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		if m := regexp.MustCompile(`^service (\w+) `).FindStringSubmatch(line); m != nil {
			service = m[1]
		}
		m := regexp.MustCompile(`^rpc (\w+)\(`).FindStringSubmatch(line)
		if m == nil {
			text, more := strings.CutPrefix(line, "//")
			if !more {
				comment = ""
			} else {
				comment += text
			}
			continue
		}
		method := "/cairn.v1." + service + "/" + m[1]
		said := regexp.MustCompile(`\bRole: (\w+(?: or \w+)*)(?:; (\w+) for entry 0)?\.$`).FindStringSubmatch(comment)
		if said == nil {
			t.Errorf("the comment of %s does not end with its roles: %s", method, comment)
			continue
		}
		want := grant{}
		if want.roles, err = pki.ParseRoles(strings.ReplaceAll(said[1], " or ", ",")); err != nil {
			t.Errorf("%s: %v", method, err)
		}
		if said[2] != "" {
			if want.genesis, err = pki.ParseRoles(said[2]); err != nil {
				t.Errorf("%s: %v", method, err)
			}
		}
		if got := grants[method]; got != want {
			t.Errorf("%s needs %s, and %q for entry 0; want %q as its comment says", method, got.roles, got.genesis, said[0])
		}
		documented, comment = documented+1, ""
	}
	if documented < 16 {
		t.Errorf("found %d methods in cairn.proto, want all", documented)
	}
}

func TestAuthorise(t *testing.T) {
	const (
		read, write, admin = "/cairn.v1.Ledger/Range", "/cairn.v1.Ledger/Append", "/cairn.v1.Admin/TransferLeadership"
		head, get          = "/cairn.v1.Ledger/Head", "/cairn.v1.Ledger/Get"
	)
	cases := []struct {
		has     pki.Role
		allowed map[string]bool
	}{
		{0, map[string]bool{}},
		{pki.RolePeer, map[string]bool{}},
		{pki.RoleParticipant, map[string]bool{head: true, get: true}}, // what Get answers is for mayRead
		{pki.RoleReader, map[string]bool{head: true, get: true, read: true}},
		{pki.RoleOperator, map[string]bool{head: true, get: true, read: true}},
		{pki.RoleWriter, map[string]bool{head: true, get: true, read: true, write: true}},
		{pki.RoleAdmin, map[string]bool{head: true, get: true, read: true, write: true, admin: true}},
		{pki.RolePeer | pki.RoleReader, map[string]bool{head: true, get: true, read: true}},
	}
	for _, c := range cases {
		s := &Server{cfg: Config{Peer: func(context.Context) (Peer, bool) { return Peer{Principal: "p", Roles: c.has}, true }}}
		for _, method := range []string{head, get, read, write, admin, "/cairn.v1.Ledger/NoSuchMethod", ""} {
			_, err := s.authorise(t.Context(), method)
			if (err == nil) != c.allowed[method] {
				t.Errorf("role %q calls %q: got error %v, want allowed = %v", c.has, method, err, c.allowed[method])
			}
		}
	}
	// What a node proposes in its own name is its leader's work: no caller may have a node's name
	// there.
	node := string(pki.NodeID("example.org", 0xc1, "n1"))
	s := &Server{cfg: Config{Peer: func(context.Context) (Peer, bool) {
		return Peer{Principal: node, Roles: pki.RolePeer | pki.RoleAdmin}, true
	}}}
	for method, allowed := range map[string]bool{read: true, write: false, admin: false} {
		if _, err := s.authorise(t.Context(), method); (err == nil) != allowed {
			t.Errorf("a node that is an admin calls %q: got error %v, want allowed = %v", method, err, allowed)
		}
	}
	s = &Server{cfg: Config{Peer: func(context.Context) (Peer, bool) { return Peer{}, false }}}
	if _, err := s.authorise(t.Context(), read); err == nil {
		t.Error("a caller without identity was allowed")
	}
}
