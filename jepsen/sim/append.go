package sim

import (
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/raftnode/wal"
)

// push gives work to the log's writer: one write at a time, of everything that
// waits when it starts.
func (p *process) push(it appendItem) {
	p.appends = append(p.appends, it)
	p.kickAppend()
}

func (p *process) kickAppend() {
	if !p.appending && len(p.appends) > 0 {
		p.appending = true
		p.after(exp(p.n.rng, 10*time.Microsecond), p.write)
	}
}

func (p *process) write() {
	items := p.appends
	p.appends = nil
	var records []wal.Record
	sync := false
	for i := range items {
		r := wal.Record{Group: group}
		switch it := &items[i]; {
		case it.work != nil:
			r.Entries, r.HardState = it.work.Entries, it.work.HardState
			sync = sync || it.work.NeedsSync
		case it.mark != nil:
			r.Mark = it.mark
		case it.note != nil:
			r.Note = it.note
			sync = true
		}
		records = append(records, r)
	}
	err := p.log.Append(records, sync)
	d := exp(p.n.rng, 20*time.Microsecond)
	if sync {
		d += p.n.syncLatency()
		if strike := p.n.ambush; strike != nil {
			p.n.ambush = nil
			p.w.after(time.Duration(p.n.rng.Float64()*float64(d)), strike)
		}
	}
	p.after(d, func() { p.written(items, sync, err) })
}

// syncLatency draws how long a sync takes here and now.
func (n *node) syncLatency() time.Duration {
	c := &n.w.cfg
	d := c.syncMin + exp(n.rng, c.syncMean)
	if n.rng.Float64() < c.slowSync {
		d *= 20
	}
	if n.slow > 0 {
		d += exp(n.rng, 150*time.Millisecond)
	}
	return d
}

// written hands out the responses of finished work.
func (p *process) written(items []appendItem, synced bool, err error) {
	if err != nil {
		p.fatal(errors.Wrap(err, "write to the log"))
		return
	}
	p.n.disk.settle()
	for i := range items {
		if w := items[i].work; w != nil {
			p.unsynced = append(p.unsynced, w)
		}
	}
	if synced {
		for _, w := range p.unsynced {
			p.traceDurable(w)
		}
		p.unsynced = nil
	}
	for i := range items {
		it := &items[i]
		if it.work != nil {
			for _, m := range it.work.Remote {
				p.send(m)
			}
			p.mail.appended = append(p.mail.appended, it.work)
		}
		if it.done != nil {
			it.done()
		}
	}
	p.appending = false
	p.wake()
	p.kickAppend()
}
