package lpa_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"time"

	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/lpa"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// A client says hello to node n1 over an authenticated connection.
func Example() {
	root, _ := pki.NewRoot("example root", "ledger.example", pqcrypto.MLDSA87, 24*time.Hour)
	pool, _ := pki.NewPool(root.Certificate())
	node := pki.NodeID("ledger.example", 0xc1, "n1")

	server := &lpa.Config{Suite: lpa.Suite768, Roots: pool, Identity: issue(root, node, pki.RolePeer, true)}
	client := &lpa.Config{Suite: lpa.Suite768, Roots: pool, Identity: issue(root, pki.ServiceID("ledger.example", "billing"), pki.RoleWriter, false)}

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		raw, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			fmt.Println(err)
			return
		}
		conn, err := client.Client(context.Background(), raw, node)
		if err != nil {
			fmt.Println(err)
			return
		}
		_, _ = fmt.Fprintln(conn, "hello", conn.Peer().ID)
		_ = conn.Close()
	}()

	raw, err := ln.Accept()
	if err != nil {
		fmt.Println(err)
		return
	}
	conn, err := server.Server(context.Background(), raw)
	if err != nil {
		fmt.Println(err)
		return
	}
	line, _ := bufio.NewReader(conn).ReadString('\n')
	fmt.Printf("%s (%s): %s", conn.Peer().ID, conn.Peer().Roles, line)
	_ = conn.Close()
	// Output: spiffe://ledger.example/svc/billing (writer): hello spiffe://ledger.example/cluster/00000000000000c1/node/n1
}

// issue makes the certificates and keys of one principal; a node needs the KEM half.
func issue(root *pki.Authority, id pki.ID, roles pki.Role, node bool) *pki.Identity {
	key, _ := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA65)
	svid, _ := root.IssueIdentity(pki.IssueRequest{ID: id, Roles: roles, PublicKey: key.Public(), Validity: time.Hour})
	identity := &pki.Identity{Chain: []*pki.Certificate{svid}, Key: key}
	if node {
		identity.KEMKey, _ = pqcrypto.GenerateDecapsulationKey(pqcrypto.MLKEM768)
		kem, _ := root.IssueKEM(pki.KEMRequest{SVID: svid, PublicKey: identity.KEMKey.Public(), Validity: time.Hour})
		identity.KEMChain = []*pki.Certificate{kem}
	}
	return identity
}
