package raftnode

// Change is a request whose block changes the members of the group. It has a block of its own.
type Change struct {
	Request Request
	// To are the members after it. They differ from those before by at most one voter.
	To *Members
	// Check, when not nil, says why the change must not be proposed now, as the leader sees the
	// members. It is called from a turn; must be quick.
	Check func(State, []Progress) error
}

// proposeChanges proposes the change that waits, when the core takes one. Of several that wait at the
// same time one is proposed.
func (d *Driver) proposeChanges() {
	for len(d.turn.changes) > 0 {
		c := d.turn.changes[0]
		err := d.core.CanChange()
		switch st := d.core.State(); {
		case st.Role != RoleLeader:
			err = &NotLeaderError{Leader: st.Leader}
		case err == ErrNotServing || err == ErrInflight:
			return // the next turn that can comes by itself
		case err == nil && c.Check != nil:
			var list []Progress
			d.core.Progress(func(p Progress) { list = append(list, p) })
			err = c.Check(st, list)
		}
		d.turn.changes = d.turn.changes[1:]
		if err != nil {
			d.failChanges([]Change{c}, err)
			continue
		}
		d.proposeBlock([]Request{c.Request}, d.cfg.Stages.Now(), func(tag uint64, block []byte) error {
			return d.core.ProposeChange(tag, block, c.To)
		})
	}
}

func (d *Driver) failChanges(list []Change, err error) {
	for _, c := range list {
		d.failRequests([]Request{c.Request}, err)
	}
}
