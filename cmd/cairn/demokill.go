package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cmd/cairn/audit"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

const (
	loadWriters  = 4
	loadBatch    = 20
	loadBefore   = 1500 * time.Millisecond // of load before the leader is killed
	loadAfter    = 1500 * time.Millisecond // after writes go on
	probeEvery   = 2 * time.Millisecond
	maxGap       = 15 * time.Second // a cluster that needs longer has not failed over
	replicaCatch = 20 * time.Second
)

// probe appends one entry every probeEvery, whether or not the earlier ones
// were acknowledged: a writer that waits would not see how long others wait.
type probe struct {
	c     *client.Client
	acked *acked

	mu    sync.Mutex
	acks  []time.Time // of acknowledgements, in order
	sends int
	err   error
}

// run probes until the context ends, and returns when everything sent has been
// answered or given up.
func (p *probe) run(ctx, calls context.Context) {
	t := time.NewTicker(probeEvery)
	defer t.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		p.sends++
		wg.Go(func() { p.once(calls) })
	}
}

func (p *probe) once(ctx context.Context) {
	e := client.Entry{Key: []byte(randomKey()), Payload: []byte("probe")}
	x, err := p.c.Append(ctx, e)
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.acks = append(p.acks, now)
		err = p.acked.add(x.Index, e)
	}
	if err != nil && p.err == nil && ctx.Err() == nil {
		p.err = err
	}
}

// ackedSince says whether an acknowledgement came after a moment.
func (p *probe) ackedSince(t time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.acks) > 0 && p.acks[len(p.acks)-1].After(t)
}

// gap returns the longest time around a moment and after in which nothing was
// acknowledged.
func (p *probe) gap(around time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return longestGap(p.acks, around)
}

func longestGap(acks []time.Time, around time.Time) time.Duration {
	longest := time.Duration(0)
	for i := 1; i < len(acks); i++ {
		if acks[i].After(around) {
			longest = max(longest, acks[i].Sub(acks[i-1]))
		}
	}
	return longest
}

// load appends batches until its context ends.
func (d *demo) load(ctx, calls context.Context, c *client.Client) error {
	for n := uint64(0); ctx.Err() == nil; n++ {
		entries := make([]client.Entry, loadBatch)
		for i := range entries {
			entries[i] = client.Entry{Key: []byte(randomKey()), Payload: madeUpEvent(n + uint64(i))}
		}
		results, err := c.AppendBatch(calls, entries)
		if calls.Err() != nil {
			return nil
		}
		if err != nil {
			return changeError(errors.Wrap(err, "append under load"), "")
		}
		for i, r := range results {
			if err := d.acked.add(r.Index, entries[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// killLeader kills the leader with SIGKILL while writers and a probe run.
func (d *demo) killLeader(parent context.Context) error {
	// Two contexts: loading ends first, calls on their way are then answered.
	calls, cancelCalls := context.WithCancel(parent)
	defer cancelCalls()
	loading, stopLoading := context.WithCancel(calls)
	defer stopLoading()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancelCalls()

	before := d.acked.count()
	begin := time.Now()
	failures := make(chan error, loadWriters)
	for range loadWriters {
		c, err := d.cluster.Dial(parent, "writer", client.WithTimeout(d.timeout))
		if err != nil {
			return err
		}
		defer func() { stopLoading(); cancelCalls(); wg.Wait(); _ = c.Close() }()
		wg.Go(func() {
			if err := d.load(loading, calls, c); err != nil {
				failures <- err
			}
		})
	}
	pc, err := d.cluster.Dial(parent, "writer", client.WithTimeout(d.timeout))
	if err != nil {
		return err
	}
	defer func() { stopLoading(); cancelCalls(); wg.Wait(); _ = pc.Close() }()
	p := &probe{c: pc, acked: d.acked}
	wg.Go(func() { p.run(loading, calls) })

	if err := wait(parent, loadBefore); err != nil {
		return err
	}
	leader, err := d.cluster.Leader(parent)
	if err != nil {
		return err
	}
	kill := time.Now()
	if err := d.cluster.Kill(parent, leader); err != nil {
		return err
	}
	d.killed = leader
	dead := time.Now()
	for !p.ackedSince(dead) {
		if time.Since(dead) > maxGap {
			return failf(exitUnavailable, "", "no append was acknowledged within %s after the leader %s was killed", maxGap, leader)
		}
		if err := wait(parent, time.Millisecond); err != nil {
			return err
		}
	}
	if err := wait(parent, loadAfter); err != nil {
		return err
	}
	stopLoading()
	wg.Wait()
	took := time.Since(begin)
	select {
	case err := <-failures:
		return err
	default:
	}
	if p.err != nil {
		return errors.Wrap(p.err, "probe")
	}
	gap := p.gap(kill)
	next, err := d.cluster.Leader(parent)
	if err != nil {
		return err
	}
	if next == leader {
		return failf(exitRefused, "", "%s was killed and still claims to lead", leader)
	}
	n := d.acked.count() - before
	return d.step("kill", map[string]any{
		"killed": leader, "leader": next, "write_gap_ms": float64(gap.Microseconds()) / 1000, "acknowledged": n, "probes": p.sends, "seconds": took.Seconds(),
	}, fmt.Sprintf("SIGKILL to the leader %s under load: writes go on after %.0f ms; %s leads", leader, float64(gap.Microseconds())/1000, next),
		fmt.Sprintf("write gap seen by a probe that appends every %s; %s entries acknowledged meanwhile, %s/s", latencyString(probeEvery), count(n), count(float64(n)/took.Seconds())))
}

func (d *demo) restart(ctx context.Context) error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	if err := d.cluster.Start(ctx, d.killed); err != nil {
		return err
	}
	took := time.Since(start)
	return d.step("restart", map[string]any{"node": d.killed, "seconds": took.Seconds()},
		fmt.Sprintf("%s is back and ready in %s", d.killed, latencyString(took)))
}

// proveNothingLost reads every replica whole and compares it with what was
// acknowledged, and with the other replicas.
func (d *demo) proveNothingLost(ctx context.Context) error {
	head, err := d.client.Head(ctx)
	if err != nil {
		return errors.Wrap(err, "read head")
	}
	want := d.acked.count()
	var lines []string
	replicas := []map[string]any{}
	for _, n := range d.cluster.Nodes() {
		src, done, err := openSource(d.cluster.LedgerURL(n), replicaCatch)
		if err != nil {
			return err
		}
		defer done()
		if err := d.waitSealed(ctx, n.Name, src, head.Size); err != nil {
			return err
		}
		check := d.acked.checker()
		r, err := audit.Run(ctx, src, audit.Options{Policy: d.policy, Leaf: check.leaf})
		if err != nil {
			return errors.Wrapf(err, "audit %s", n.Name)
		}
		switch {
		case !r.OK():
			return failf(exitRefused, "", "%s: %s", n.Name, r.Findings[0])
		case check.found != want:
			return failf(exitRefused, "", "%s has %d of %d acknowledged entries", n.Name, check.found, want)
		case r.Size != head.Size || r.Root != head.Root:
			return failf(exitRefused, "", "%s has size %d and root %s, the leader %d and %s", n.Name, r.Size, r.Root, head.Size, head.Root)
		}
		replicas = append(replicas, map[string]any{"node": n.Name, "size": r.Size, "root": r.Root.String(), "entries": r.Entries, "tiles": r.Tiles})
		lines = append(lines, fmt.Sprintf("%s  size %s  root %s...", n.Name, count(r.Size), r.Root.String()[:24]))
	}
	old, err := d.oldReceipts(ctx, head)
	if err != nil {
		return err
	}
	lines = append(lines, fmt.Sprintf("%s from before the kill still verify, and their trees are prefixes of today's", plural(old, "receipt", "receipts")))
	return d.step("proof", map[string]any{"acknowledged": want, "lost": 0, "replicas": replicas, "old_receipts": old},
		fmt.Sprintf("all %s acknowledged entries are there, once, on each of %s", count(want), strings.Join(d.cluster.Names(), ", ")), lines...)
}

// waitSealed waits until a replica serves a checkpoint of the given size: the
// load has ended, so none can be larger.
func (d *demo) waitSealed(ctx context.Context, name string, src audit.Source, size uint64) error {
	ctx, cancel := context.WithTimeout(ctx, replicaCatch)
	defer cancel()
	for {
		note, err := src.Checkpoint(ctx)
		if err == nil {
			cp, _, err := tlog.ParseCheckpoint(note)
			if err != nil {
				return errors.Wrapf(err, "parse checkpoint of %s", name)
			}
			if cp.Size >= size {
				return nil
			}
		}
		if wait(ctx, 10*time.Millisecond) != nil {
			return errors.Newf("%s has not sealed size %d within %s", name, size, replicaCatch)
		}
	}
}

// oldReceipts verifies the receipts of before the kill again, and that their
// trees are prefixes of the tree of now.
func (d *demo) oldReceipts(ctx context.Context, head client.Head) (int, error) {
	for _, r := range d.receipts {
		cp, err := d.policy.VerifyReceipt(r)
		if err != nil {
			return 0, fail(exitRefused, "", errors.Wrapf(err, "receipt of entry %d", r.Index))
		}
		p, err := d.client.ConsistencyProof(ctx, cp.Size, head.Size)
		if err != nil {
			return 0, errors.Wrap(err, "get consistency proof")
		}
		if err := merkle.VerifyConsistency(cp.Size, head.Size, p.Hashes, cp.Root, head.Root); err != nil {
			return 0, fail(exitRefused, "", errors.Wrapf(err, "receipt of entry %d", r.Index))
		}
	}
	return len(d.receipts), nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
