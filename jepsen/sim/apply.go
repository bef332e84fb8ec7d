package sim

import (
	"github.com/cairnledger/cairn/jepsen/check"
)

func (p *process) kickApply() {
	if !p.applying && len(p.applies) > 0 {
		p.applying = true
		it := p.applies[0]
		p.applies = p.applies[1:]
		p.applyFrom(it, 0)
	}
}

// applyFrom applies the entries of a work one after the other.
func (p *process) applyFrom(it applyItem, i int) {
	if i == len(it.work.Entries) {
		p.mail.applied = append(p.mail.applied, it.work)
		p.applying = false
		p.wake()
		p.kickApply()
		return
	}
	p.after(exp(p.n.rng, p.w.cfg.applyMean), func() {
		e := &it.work.Entries[i]
		p.w.raft.Applied(p.n.id, check.RaftEntry{Index: e.Index, Term: e.Term, Hash: hashOf(e.Data)})
		if err := p.apply(e.Index, e.Term, e.Data, it.reqs[i]); err != nil {
			p.fatal(err)
			return
		}
		p.applied = e.Index
		p.advance()
		p.applyFrom(it, i+1)
	})
}

// waitApplied calls do when index is applied.
func (p *process) waitApplied(index uint64, do func()) {
	if index <= p.applied {
		do()
		return
	}
	p.waiters = append(p.waiters, waiter{index, do})
}

func (p *process) advance() {
	release(&p.waiters, p.applied)
	release(&p.behind, p.ledger.Head().Size)
}

// release lets those go on that wait for no more than what is reached. They may wait anew.
func release(waiters *[]waiter, reached uint64) {
	var left []waiter
	waiting := *waiters
	*waiters = nil
	for _, w := range waiting {
		if w.index <= reached {
			w.do()
		} else {
			left = append(left, w)
		}
	}
	*waiters = append(left, *waiters...)
}
