package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// policyInfo is a policy change in a result.
type policyInfo struct {
	Epoch    uint32         `json:"epoch"`
	Reason   string         `json:"reason"`
	Quorum   uint32         `json:"quorum"`
	Members  []policyMember `json:"members"`
	LogKeys  []string       `json:"log_keys"`
	Restored *restoredInfo  `json:"restored,omitempty"`
}

type policyMember struct {
	ledgerMember
	Role string `json:"role"`
}

// restoredInfo is the head that a restored ledger continues.
type restoredInfo struct {
	Size uint64 `json:"size"`
	Root string `json:"root"`
}

func newPolicyInfo(c *ledger.PolicyChange) *policyInfo {
	i := &policyInfo{Epoch: c.Policy.Epoch, Reason: c.Reason.String(), Quorum: c.Policy.Quorum, LogKeys: c.Policy.LogKeys}
	for _, m := range c.Policy.Members {
		role := "voter"
		if m.Learner {
			role = "learner"
		}
		i.Members = append(i.Members, policyMember{ledgerMember{m.ID, m.Name, m.Cosigner}, role})
	}
	if c.Reason == ledger.PolicyRestore {
		i.Restored = &restoredInfo{c.Restored.Size, c.Restored.Root.String()}
	}
	return i
}

// policyTold is what a policy change asks for.
func policyTold(c *ledger.PolicyChange) told {
	head := fmt.Sprintf("policy of epoch %d (%s), sealed by %d of %d voters", c.Policy.Epoch, c.Reason, c.Policy.Quorum, len(c.Policy.Voters()))
	info := newPolicyInfo(c)
	var more []string
	for _, m := range info.Members {
		name, _, _ := strings.Cut(m.Cosigner, "+")
		more = append(more, "  "+m.Role, fmt.Sprintf("%s (%d), signs as %s", printable(m.Name), m.ID, printable(name)))
	}
	if info.Restored != nil {
		more = append(more, "  continues", "size "+strconv.FormatUint(info.Restored.Size, 10), "  with root", info.Restored.Root)
	}
	return told{line: head, head: head, more: more, object: info}
}

// handoverInfo is the end of a hand-over in a result.
type handoverInfo struct {
	Epoch      uint32   `json:"epoch"`
	Size       uint64   `json:"size"`
	Root       string   `json:"root"`
	Signatures []string `json:"signatures"` // name and id of each key
}

// handoverTold is what a record shows that ends a hand-over. Its checkpoint parses.
func handoverTold(h ledger.Handover) told {
	cp, note, _ := tlog.ParseCheckpoint(h.Note)
	info := &handoverInfo{Epoch: h.Epoch, Size: cp.Size, Root: cp.Root.String()}
	var more []string
	for _, s := range note.Signatures {
		key := fmt.Sprintf("%s+%08x", printable(s.Name), s.KeyID)
		info.Signatures = append(info.Signatures, key)
		more = append(more, "  signed by", key)
	}
	return told{
		line: fmt.Sprintf("the policy of epoch %d has taken over: %s on size %d", h.Epoch, plural(len(note.Signatures), "signature", "signatures"), cp.Size),
		more: more, object: info,
	}
}
