package client_test

import (
	"context"
	"log"
	"os"
	"path/filepath"
	"testing"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
)

// exampleTB is what the fake cluster needs of a test, for examples, which have none.
type exampleTB struct {
	testing.TB
	dir  string
	undo []func()
}

func (e *exampleTB) Helper()                  {}
func (e *exampleTB) TempDir() string          { return e.dir }
func (e *exampleTB) Cleanup(f func())         { e.undo = append(e.undo, f) }
func (e *exampleTB) Fatal(args ...any)        { log.Fatal(args...) }
func (e *exampleTB) Context() context.Context { return context.Background() }

func (e *exampleTB) stop() {
	for i := len(e.undo) - 1; i >= 0; i-- {
		e.undo[i]()
	}
	_ = os.RemoveAll(e.dir)
}

// exampleLedger starts a ledger with the given payloads.
func exampleLedger(payloads ...string) (client.Profile, []client.Option, func()) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	tb := &exampleTB{dir: dir}
	cluster := fakecluster.New(tb, 1, fakecluster.Options{})
	p, options := profile(tb, cluster, ""), []client.Option{client.WithCredentials(fakecluster.Principal, fakecluster.Insecure)}
	c, err := client.Dial(context.Background(), p, options...)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for _, payload := range payloads {
		if _, err := c.Append(context.Background(), client.Entry{Payload: []byte(payload)}); err != nil {
			log.Fatal(err)
		}
	}
	return p, options, tb.stop
}

// exampleReceipt makes the files of a receipt and of the policy.
func exampleReceipt() (receipt, policy string, stop func()) {
	p, options, stop := exampleLedger()
	c, err := client.Dial(context.Background(), p, options...)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	a, err := c.Append(context.Background(), client.Entry{Key: []byte("invoice-17"), Payload: []byte("17: one cairn, 200 stones")}, client.Sealed())
	if err != nil {
		log.Fatal(err)
	}
	receipt = filepath.Join(filepath.Dir(p.Policy), "invoice-17.tlog-proof")
	if err := os.WriteFile(receipt, a.Receipt.Marshal(), 0o600); err != nil {
		log.Fatal(err)
	}
	return receipt, p.Policy, stop
}
