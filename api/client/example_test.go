package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/cairnledger/cairn/api/client"
)

// Append an entry exactly once, wait for its receipt, and keep the receipt.
func ExampleClient_Append() {
	profile, options, stop := exampleLedger() // in a program: client.LoadProfile("writer.yaml"), and no options
	defer stop()
	ctx := context.Background()

	c, err := client.Dial(ctx, profile, options...)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	invoice := client.Entry{Key: []byte("invoice-17"), Payload: []byte("17: one cairn, 200 stones")}
	first, err := c.Append(ctx, invoice, client.Sealed())
	if err != nil {
		// Unless client.IsDefinite(err), the entry may be in the ledger: append it again with the
		// same key.
		log.Fatal(err)
	}
	again, err := c.Append(ctx, invoice)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("index", first.Index, "again", again.Index, "duplicate", again.Duplicate)

	file := filepath.Join(os.TempDir(), "invoice-17.tlog-proof")
	defer os.Remove(file)
	if err := os.WriteFile(file, first.Receipt.Marshal(), 0o644); err != nil {
		log.Fatal(err)
	}
	// Output: index 0 again 0 duplicate true
}

// Verify a receipt with nothing but the policy: no network, and no trust in a node.
func ExampleVerifyOffline() {
	receiptFile, policyFile, stop := exampleReceipt() // a .tlog-proof file, and the policy of the ledger
	defer stop()

	receipt, err := os.ReadFile(receiptFile)
	if err != nil {
		log.Fatal(err)
	}
	policy, err := client.LoadPolicy(policyFile)
	if err != nil {
		log.Fatal(err)
	}
	r, err := client.VerifyOffline(receipt, policy)
	if err != nil {
		log.Fatal(err) // do not accept it
	}
	e := r.Entry()
	fmt.Printf("entry %d of %s\n", e.Index, r.Sealed().Origin)
	fmt.Printf("by %s under the key %q: %s\n", e.Principal, e.Key, e.Payload)

	receipt[len(receipt)-10] ^= 1
	_, err = client.VerifyOffline(receipt, policy)
	var refused *client.VerificationError
	fmt.Println("changed and refused:", errors.As(err, &refused))
	// Output:
	// entry 0 of fake.example/ledger
	// by spiffe://fake.example/svc/writer under the key "invoice-17": 17: one cairn, 200 stones
	// changed and refused: true
}

// Follow a ledger from an index on, without gap or duplicate, also when nodes come and go.
func ExampleClient_Watch() {
	profile, options, stop := exampleLedger("first", "second", "third")
	defer stop()
	ctx := context.Background()

	c, err := client.Dial(ctx, profile, options...)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	enough := errors.New("enough")
	err = c.Watch(ctx, 1, func(e client.StoredEntry) error {
		fmt.Printf("%d %s\n", e.Index, e.Payload)
		if e.Index == 2 {
			return enough // otherwise it goes on until ctx ends
		}
		return nil
	})
	if !errors.Is(err, enough) {
		log.Fatal(err)
	}
	// Output:
	// 1 second
	// 2 third
}
