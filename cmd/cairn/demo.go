package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/merkle/tlog"
)

func (a *app) demoCommand() *cobra.Command {
	var input, dir string
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show three nodes, receipts, a killed leader, and proofs",
		Long: `Start three nodes on this machine, append every line of a real log, get a
receipt and verify it offline, kill the leader under load, bring it back, prove
that nothing acknowledged is lost and that all replicas have the same root, and
show that a receipt with one flipped byte is refused. Exits with 0 only if every
one of these held. Nothing stays behind: no process, no file.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			src, err := openInput(input)
			if err != nil {
				return err
			}
			defer src.close()
			t, err := newThrowaway(dir, 3)
			if err != nil {
				return err
			}
			d := &demo{demoSteps: newDemoSteps(a), cluster: t, input: src, acked: newAcked()}
			defer func() {
				d.close()
				if closeErr := t.close(keep); err == nil {
					err = closeErr
				}
			}()
			if err := d.run(cmd.Context()); err != nil {
				return err
			}
			return d.verdict()
		},
	}
	f := cmd.Flags()
	f.StringVar(&input, "input", "", "`file` whose lines are appended (default: /var/log/dpkg.log, /var/log/syslog, or made-up audit events)")
	f.StringVar(&dir, "dir", "", "`directory` for the cluster (default: a temporary one)")
	f.BoolVar(&keep, "keep", false, "stop the nodes at the end, but keep the directory")
	cmd.AddCommand(a.demoSettlementCommand())
	return cmd
}

// demo is one demonstration in progress. A step that does not hold is an error;
// there is no step that is merely reported.
type demo struct {
	demoSteps
	cluster *throwaway
	input   *input

	client *client.Client
	policy *tlog.Policy
	acked  *acked

	// receipts were given before the leader was killed.
	receipts []*tlog.Receipt
	killed   string
}

func (d *demo) run(ctx context.Context) error {
	if !d.json {
		fmt.Fprintf(d.out, "Cairn: three nodes, one ledger, one leader to be killed\n\n")
	}
	return d.all(ctx, d.startCluster, d.appendInput, d.showReceipt, d.killLeader, d.restart, d.proveNothingLost, d.tamper)
}

func (d *demo) close() {
	if d.client != nil {
		_ = d.client.Close()
	}
}

func (d *demo) startCluster(ctx context.Context) error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	if err := d.cluster.Start(ctx); err != nil {
		return err
	}
	leader, err := d.cluster.Leader(ctx)
	if err != nil {
		return err
	}
	took := time.Since(start)
	if d.policy, err = readPolicy(d.cluster.PolicyPath()); err != nil {
		return err
	}
	if d.client, err = d.cluster.Dial(ctx, "writer", client.WithTimeout(d.timeout)); err != nil {
		return errors.Wrap(err, "prepare client")
	}
	return d.step("cluster", map[string]any{"nodes": d.cluster.Names(), "leader": leader, "seconds": took.Seconds(), "dir": d.cluster.Dir(), "origin": d.cluster.Origin()},
		fmt.Sprintf("%s, ready in %s; %s leads", strings.Join(d.cluster.Names(), ", "), latencyString(took), leader),
		"ledger "+d.cluster.Origin()+" in "+d.cluster.Dir(),
		"every connection: X25519MLKEM768 inside, ML-KEM-768 and ML-DSA-65 to prove who is who")
}

// appendInput appends every line, and then some entries one at a time.
func (d *demo) appendInput(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start := time.Now()
	entries, bytes := 0, 0
	var last time.Time = start
	perRequest := newLatencies()
	err := appendAll(ctx, d.client, d.input.lines(ctx), linesOptions{
		key: randomKey(), timeout: d.timeout,
		acked: func(lines []line, sent []client.Entry, results []client.Appended) error {
			now := time.Now()
			perRequest.record(now.Sub(last))
			last = now
			for i, r := range results {
				entries++
				bytes += len(lines[i].text)
				if err := d.acked.add(r.Index, sent[i]); err != nil {
					return err
				}
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	took := time.Since(start)
	single := newLatencies()
	for i := range 200 {
		e := client.Entry{Key: []byte(randomKey()), Payload: madeUpEvent(uint64(i))}
		begin := time.Now()
		x, err := d.client.Append(ctx, e)
		if err != nil {
			return changeError(errors.Wrap(err, "append"), "")
		}
		single.record(time.Since(begin))
		if err := d.acked.add(x.Index, e); err != nil {
			return err
		}
	}
	rate := float64(entries) / took.Seconds()
	return d.step("append", map[string]any{
		"input": d.input.name, "entries": entries, "bytes": bytes, "seconds": took.Seconds(), "entries_per_second": rate,
		"request_latency": perRequest.summary(), "single_latency": single.summary(),
	}, fmt.Sprintf("%s of %s in %s: %s entries/s", plural(entries, "line", "lines"), d.input.name, latencyString(took), count(rate)),
		fmt.Sprintf("one at a time: p50 %s, p99 %s until durable on a quorum", latencyString(single.at(50)), latencyString(single.at(99))))
}

// showReceipt gets receipts and verifies them with nothing but the policy file.
func (d *demo) showReceipt(ctx context.Context) error {
	e := client.Entry{Key: []byte(randomKey()), Payload: []byte(`{"event":"demo","note":"this entry gets its receipt in the write's response"}`)}
	begin := time.Now()
	x, err := d.client.Append(ctx, e, client.Sealed())
	if err != nil {
		return changeError(errors.Wrap(err, "append with receipt"), "")
	}
	sealedIn := time.Since(begin)
	if err := d.acked.add(x.Index, e); err != nil {
		return err
	}
	for _, index := range []uint64{0, x.Index / 2} {
		r, err := d.client.Receipt(ctx, index)
		if err != nil {
			return errors.Wrapf(err, "get receipt of entry %d", index)
		}
		d.receipts = append(d.receipts, r.Receipt)
	}
	d.receipts = append(d.receipts, x.Receipt.Receipt)
	raw := x.Receipt.Marshal()
	begin = time.Now()
	v, err := verifyReceipt(&verifier{Policy: d.policy}, "receipt", raw)
	if err != nil {
		return errors.Wrap(err, "verify the receipt offline")
	}
	took := time.Since(begin)
	var names []string
	for _, c := range v.Cosigners {
		names = append(names, strings.TrimPrefix(c.Name, v.Origin+"/"))
	}
	return d.step("receipt", map[string]any{
		"index": x.Index, "sealed_in_us": sealedIn.Microseconds(), "verify_us": took.Microseconds(), "bytes": len(raw), "receipt": string(raw), "verdict": v,
	}, fmt.Sprintf("entry %d, committed and cosigned in %s; a .tlog-proof of %s", x.Index, latencyString(sealedIn), bytesString(uint64(len(raw)))),
		excerpt(string(raw)),
		fmt.Sprintf("verified offline in %s: in the tree of size %d, cosigned by %s", latencyString(took), v.Size, strings.Join(names, " and ")))
}

// excerpt shortens the long lines of a receipt and the middle of its proof.
func excerpt(receipt string) string {
	var out []string
	hashes := 0
	flush := func() {
		if hashes > 2 {
			out = append(out, fmt.Sprintf("| (%d more hashes)", hashes-2))
		}
		hashes = 0
	}
	for _, l := range strings.Split(strings.TrimRight(receipt, "\n"), "\n") {
		if len(l) == 44 && strings.HasSuffix(l, "=") {
			if hashes++; hashes > 2 {
				continue
			}
		} else {
			flush()
		}
		if r := []rune(l); len(r) > 64 {
			l = string(r[:60]) + " ..."
		}
		out = append(out, "| "+l)
	}
	flush()
	return strings.Join(out, "\n")
}

// tamper flips one byte in a copy of a receipt: every position must be refused
// that is tried.
func (d *demo) tamper(context.Context) error {
	raw := d.receipts[len(d.receipts)-1].Marshal()
	if _, err := verifyReceipt(&verifier{Policy: d.policy}, "receipt", raw); err != nil {
		return errors.Wrap(err, "the receipt itself does not verify")
	}
	offset := strings.Index(string(raw), "extra ") + len("extra ") + 24
	copied := append([]byte(nil), raw...)
	copied[offset] ^= 1
	_, err := verifyReceipt(&verifier{Policy: d.policy}, "copy", copied)
	if err == nil {
		return failf(exitRefused, "", "a receipt with a flipped byte at offset %d was accepted", offset)
	}
	return d.step("tamper", map[string]any{"offset": offset, "refused": true, "reason": err.Error()},
		fmt.Sprintf("one flipped bit in byte %d of a copy of the receipt: refused", offset), "because "+err.Error())
}
