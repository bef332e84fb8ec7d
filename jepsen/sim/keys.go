package sim

import (
	"fmt"
	"sync"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
)

// origin is the name of every simulated ledger.
const origin = "sim.example/ledger"

// cosigners are the log's and the nodes' keys, the same in every run: making
// them costs more than many a run.
type cosigners struct {
	log   *tlog.Cosigner
	nodes [maxNodes + 1]*tlog.Cosigner
}

var simKeys = sync.OnceValue(func() *cosigners {
	k := &cosigners{}
	for i := range k.nodes {
		seed := make([]byte, 32)
		seed[0], seed[1] = 's', byte(i)
		key, err := pqcrypto.NewSigningKey(pqcrypto.MLDSA44, seed)
		if err != nil {
			panic(err)
		}
		name := fmt.Sprintf("%s/node%d", origin, i)
		if i == 0 {
			name = origin
		}
		c, err := tlog.NewCosigner(name, key)
		if err != nil {
			panic(err)
		}
		k.nodes[i] = c
	}
	k.log = k.nodes[0]
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

// genesis is the block that a ledger of n nodes begins with. A nil program is the log.
func (k *cosigners) genesis(n int, p ledger.Program) []byte {
	if p == nil {
		p = ledger.Log{}
	}
	g := &ledger.Genesis{
		FeatureLevel: ledger.FeatureLevel, Origin: origin, Program: p.Name(), ProgramVersion: p.Version(),
		LogKeys: []string{k.log.Key().String()}, SealQuorum: uint32(n/2 + 1),
	}
	for id := 1; id <= n; id++ {
		g.Members = append(g.Members, ledger.Member{ID: uint64(id), Name: fmt.Sprintf("node%d", id), Cosigner: k.nodes[id].Key().String()})
	}
	block, err := ledger.EncodeGenesis(g, "spiffe://sim.example/operator", 0)
	if err != nil {
		panic(err)
	}
	return block
}

// policy is what a verifier demands: the log and a majority of n nodes.
func (k *cosigners) policy(n int) (*tlog.Policy, error) {
	var keys []*tlog.VerifierKey
	for id := 1; id <= n; id++ {
		keys = append(keys, k.nodes[id].Key())
	}
	return tlog.NewPolicy([]*tlog.VerifierKey{k.log.Key()}, keys, n/2+1)
}
