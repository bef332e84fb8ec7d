package main

import (
	"testing"

	"github.com/cairnledger/cairn/api/client"
)

// TestWorkersAreSpreadEvenly: over the ledgers, and within a ledger over its connections.
func TestWorkersAreSpreadEvenly(t *testing.T) {
	for _, c := range []struct{ ledgers, connections, workers int }{{1, 1, 1}, {1, 8, 20}, {3, 3, 10}, {3, 8, 16}, {5, 7, 7}} {
		b := &bench{clients: make([][]*client.Client, c.ledgers)}
		ledger := map[*client.Client]int{}
		for i := range c.connections {
			k := i % c.ledgers
			b.clients[k] = append(b.clients[k], &client.Client{})
			ledger[b.clients[k][i/c.ledgers]] = k
		}
		onLedger, onClient := make([]int, c.ledgers), map[*client.Client]int{}
		for i := range c.workers {
			own := b.clientOf(i)
			onLedger[ledger[own]]++
			onClient[own]++
		}
		for k, n := range onLedger {
			if n < c.workers/c.ledgers || n > (c.workers+c.ledgers-1)/c.ledgers {
				t.Errorf("%+v: %d workers on ledger %d", c, n, k)
			}
			for _, x := range b.clients[k] {
				if m := onClient[x]; m < n/len(b.clients[k]) || m > (n+len(b.clients[k])-1)/len(b.clients[k]) {
					t.Errorf("%+v: %d of the %d workers on ledger %d share one of its %d connections", c, m, n, k, len(b.clients[k]))
				}
			}
		}
	}
}
