package server

import (
	"context"
	"testing"
	"time"
)

// TestAllowance: what is granted adds up over all callers, and one who gives up does not wait.
func TestAllowance(t *testing.T) {
	a := allowance{rate: 1000}
	if err := a.spend(t.Context(), 3_600_000); err != nil { // an hour's worth, at once: nothing was used before
		t.Fatal(err)
	}
	if wait := time.Until(a.next); wait < 59*time.Minute {
		t.Errorf("the next caller waits for %v, want an hour", wait)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.spend(ctx, 1); err == nil {
		t.Error("the next caller has not waited")
	}
}
