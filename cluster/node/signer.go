package node

import (
	"context"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/signer"
)

const (
	// signerInterval is how often the node looks at its signer.
	signerInterval = time.Second
	// signerHandover is how often a node without a signer gives away the ledgers that it leads.
	signerHandover = 15 * time.Second
)

// checkSigner refuses a signer that has another key. One that does not answer yet stops nothing: the
// node votes and stores, and cosigns as soon as the signer is there.
func (n *node) checkSigner() error {
	if n.keys.signer == nil {
		return nil
	}
	for _, c := range n.keys.cosigners {
		err := c.(*signer.Client).Check()
		if err != nil && !errors.Is(err, signer.ErrUnavailable) {
			return errors.Mark(errors.Wrap(err, "keys.signer"), ErrConfig)
		}
	}
	return nil
}

// watchSigner says in the log when the signer stops and begins to answer. While it does not, the
// node cosigns nothing and what it leads is not sealed, so it hands its ledgers over, to nodes that
// may have the same trouble: therefore not more often than every signerHandover.
func (n *node) watchSigner(quit <-chan struct{}) {
	var failing bool
	var handed time.Time
	for {
		select {
		case <-quit:
			return
		case <-time.After(signerInterval):
		}
		if failing {
			_ = n.keys.signer.Check() // an idle ledger asks for no signature
		}
		since, err := n.keys.signer.Failing()
		switch {
		case err == nil && failing:
			n.log.Info("the signer answers again")
		case err != nil && !failing:
			n.log.Error("the signer does not answer: this node cosigns no checkpoint", "reason", err.Error(), "since", since.UTC().Format(time.RFC3339))
		}
		failing = err != nil
		if failing && time.Since(handed) >= signerHandover {
			handed = time.Now()
			n.hosting.handOver()
		}
	}
}

// handOver gives away the leadership of all ledgers that this node leads, if somebody takes it.
func (h *hosting) handOver() {
	ctx, cancel := context.WithTimeout(context.Background(), signerHandover/3)
	defer cancel()
	for _, l := range h.all() {
		if l.State().Leader != h.node.cfg.Self().ID {
			continue
		}
		if err := l.raft.TransferLeadership(ctx, 0); err != nil {
			h.node.log.Warn("no other node takes over the ledger", "ledger", l.origin, "reason", err.Error())
		}
	}
}
