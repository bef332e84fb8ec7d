package sim

import (
	"fmt"
	"sync"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// cosigners are the log's and the nodes' keys, the same in every run: making
// them costs more than many a run.
type cosigners struct {
	logs  [maxLedgers]*tlog.Cosigner // one key, under each ledger's origin
	nodes [maxNodes + 1]*tlog.Cosigner
	next  [maxNodes + 1]*tlog.Cosigner // the other key of each node
}

// originOf is the name of a ledger.
func originOf(id uint64) string { return fmt.Sprintf("sim.example/ledger%d", id) }

// principalOf is what a node calls itself in entries of its own.
func principalOf(id uint64) string {
	return string(pki.NodeID("sim.example", clusterID, fmt.Sprintf("node%d", id)))
}

var simKeys = sync.OnceValue(func() *cosigners {
	cosigner := func(key int, name string) *tlog.Cosigner {
		seed := make([]byte, 32)
		seed[0], seed[1] = 's', byte(key)
		signer, err := pqcrypto.NewSigningKey(pqcrypto.MLDSA44, seed)
		if err != nil {
			panic(err)
		}
		c, err := tlog.NewCosigner(name, signer)
		if err != nil {
			panic(err)
		}
		return c
	}
	k := &cosigners{}
	for i := range k.logs {
		k.logs[i] = cosigner(0, originOf(uint64(i+1)))
	}
	for id := 1; id <= maxNodes; id++ {
		k.nodes[id] = cosigner(id, fmt.Sprintf("sim.example/node%d", id))
		k.next[id] = cosigner(100+id, fmt.Sprintf("sim.example/node%d/2", id))
	}
	return k
})

// voters returns the nodes' keys by id.
func (k *cosigners) voters(n int) map[uint64]*tlog.VerifierKey {
	voters := map[uint64]*tlog.VerifierKey{}
	for id := 1; id <= n; id++ {
		voters[uint64(id)] = k.nodes[id].Key()
	}
	return voters
}

// genesis is that of a ledger of n nodes, sealed by a majority of them. A nil program is the log.
func (k *cosigners) genesis(ledgerID uint64, n int, p ledger.Program) *ledger.Genesis {
	if p == nil {
		p = ledger.Log{}
	}
	g := &ledger.Genesis{
		FeatureLevel: ledger.FeatureLevel, Origin: originOf(ledgerID), Program: p.Name(), ProgramVersion: p.Version(),
		LogKeys: []string{k.logs[ledgerID-1].Key().String()}, SealQuorum: uint32(n/2 + 1),
	}
	for id := 1; id <= n; id++ {
		g.Members = append(g.Members, ledger.Member{ID: uint64(id), Name: fmt.Sprintf("node%d", id), Cosigner: k.nodes[id].Key().String()})
	}
	return g
}
