package main

import (
	"context"
	"testing"
	"time"

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

// TestLateRequestsWereDue: with a rate, requests are due in equal distances, the workers in turns. One
// that comes late was due when it was due; one that comes early waits.
func TestLateRequestsWereDue(t *testing.T) {
	t.Parallel()
	b := &bench{opts: benchOptions{Rate: 1000, Clients: 2}, start: time.Now().Add(-time.Second)}
	for id := range 2 {
		w := &worker{b: b, id: id}
		for turn := range 3 {
			want := b.start.Add(time.Duration(id+2*turn) * time.Millisecond)
			if at := w.due(context.Background()); !at.Equal(want) {
				t.Errorf("request %d of worker %d was due %v after the start, want %v", turn, id, at.Sub(b.start), want.Sub(b.start))
			}
		}
	}
	b.start = time.Now().Add(20 * time.Millisecond)
	w := &worker{b: b}
	if at := w.due(context.Background()); !at.Equal(b.start) || time.Now().Before(at) {
		t.Errorf("an early request is sent %v after the start, due at %v", time.Since(b.start), at.Sub(b.start))
	}
}
