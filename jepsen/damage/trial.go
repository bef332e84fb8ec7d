package damage

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/jepsen/testbed"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
)

// Options of Run.
type Options struct {
	Dir        string // of the cluster, absent or empty
	Executable string // of the nodes
	Kind       Kind
	Under      string // damage only files below this part of a node's directory; "" is all of it
	Trials     int
	// First is the number of the first trial: with Seed it makes the damage, so one trial can be
	// repeated alone.
	First   int
	Seed    uint64
	Entries int // before the first trial
	// Patience bounds a start and what is waited for after it.
	Patience time.Duration
	Progress func(string)
}

// Report is what came of the trials.
type Report struct {
	Trials   int
	Alone    int // nodes that came back without a hand
	Rebuilt  int // of these, with a store that was rebuilt
	Repaired int // of these, with parts that were repaired
	Told     int // nodes that said what to do, which helped
	Entries  int // that were acknowledged, and read again after each trial
}

func (r *Report) String() string {
	return fmt.Sprintf("%d trials: %d came back without a hand (%d rebuilt their store, %d repaired parts of it), %d said what to do, which helped; %d entries, none lost and none wrong",
		r.Trials, r.Alone, r.Rebuilt, r.Repaired, r.Told, r.Entries)
}

// advice are the sentences that say what to do, which Run then does: each of them is about putting
// files of the node back as they were when it stopped.
var advice = regexp.MustCompile(`put your cop(y|ies) of .* back|put the newest copy of .* back`)

// trials is a Run in progress.
type trials struct {
	Options
	c      *local.Cluster
	client *client.Client
	// want are the payloads that were acknowledged, by index.
	want   map[uint64][]byte
	size   uint64
	report Report
}

// Run damages one node after the other, and returns an error at the first that does not come back as
// it should; it names the trial.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	t := &trials{Options: o, want: map[uint64][]byte{}}
	t.c, err = local.Create(local.Options{Dir: o.Dir, Nodes: 3, Executable: o.Executable})
	if err != nil {
		return nil, err
	}
	defer func() {
		down, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.CombineErrors(err, t.c.Down(down))
	}()
	for _, name := range t.c.Names() {
		file := filepath.Join(t.c.NodeDir(name), "node.yaml")
		cfg, err := node.LoadConfig(file)
		if err == nil {
			cfg.Storage.ScrubInterval, cfg.Storage.ScrubBytes = 2*time.Second, 64<<20
			cfg.Storage.SegmentBytes, cfg.Storage.RetainBytes = 1<<20, 1<<20
			err = cfg.Write(file)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := t.start(ctx); err != nil {
		return nil, err
	}
	if t.client, err = t.c.Dial(ctx, "writer"); err != nil {
		return nil, err
	}
	defer t.client.Close()
	if err := t.append(ctx, rand.New(rand.NewPCG(o.Seed, 0)), o.Entries); err != nil {
		return nil, err
	}
	for i := range o.Trials {
		n := o.First + i
		said, err := t.trial(ctx, rand.New(rand.NewPCG(o.Seed, uint64(n)+1)))
		if err != nil {
			return nil, errors.Wrapf(err, "trial %d of seed %d, %s", n, o.Seed, said)
		}
		if o.Progress != nil {
			o.Progress(fmt.Sprintf("trial %d: %s", n, said))
		}
	}
	t.report.Trials, t.report.Entries = o.Trials, len(t.want)
	return &t.report, nil
}

func (t *trials) start(ctx context.Context, names ...string) error {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	return t.c.Start(ctx, names...)
}

// append appends entries of several sizes in small batches, and remembers them.
func (t *trials) append(ctx context.Context, rng *rand.Rand, n int) error {
	for n > 0 {
		batch := make([]client.Entry, min(n, 1+rng.IntN(40)))
		for i := range batch {
			size := rng.IntN(300)
			if rng.IntN(50) == 0 {
				size = 30_000 + rng.IntN(20_000)
			}
			payload := fmt.Appendf(nil, "%d ", rng.Uint64())
			payload = append(payload, bytes.Repeat([]byte{byte(rng.Uint32())}, size)...)
			batch[i] = client.Entry{Key: fmt.Appendf(nil, "%d", rng.Uint64()), Payload: payload}
		}
		done, err := t.client.AppendBatch(ctx, batch)
		if err != nil {
			return errors.Wrap(err, "append")
		}
		for i, a := range done {
			t.want[a.Index] = batch[i].Payload
			t.size = max(t.size, a.Index+1)
		}
		n -= len(batch)
	}
	return nil
}

// trial damages a node once. said is what was done and what came of it.
func (t *trials) trial(ctx context.Context, rng *rand.Rand) (said string, err error) {
	name := t.c.Names()[rng.IntN(3)]
	how, stop := "stopped", t.c.Stop
	if rng.IntN(2) == 0 {
		how, stop = "killed", t.c.Kill
	}
	if err := stop(ctx, name); err != nil {
		return name + " " + how, err
	}
	dir, saved := t.c.NodeDir(name), t.c.NodeDir(name)+".saved"
	if err := errors.CombineErrors(os.RemoveAll(saved), testbed.CopyTree(dir, saved)); err != nil {
		return name + " " + how, err
	}
	what, err := strike(rng, t.Kind, dir, t.Under)
	said = fmt.Sprintf("%s %s; %s", name, how, what)
	if err != nil {
		return said, err
	}
	if err := t.append(ctx, rng, 1+rng.IntN(60)); err != nil {
		return said, err
	}
	switch err := t.start(ctx, name); {
	case err == nil:
		t.report.Alone++
	case t.c.Running(name):
		return said, errors.Wrap(err, "the node runs and is not ready")
	default:
		lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
		last := lines[len(lines)-1]
		if !advice.MatchString(last) {
			return said, errors.Newf("the node stopped, and its log ends without saying what to do: %v", err)
		}
		if err := errors.CombineErrors(os.RemoveAll(dir), os.Rename(saved, dir)); err != nil {
			return said, err
		}
		if err := t.start(ctx, name); err != nil {
			return said, errors.Wrapf(err, "what it said did not help: %s", last)
		}
		t.report.Told++
		said += "; told what to do"
	}
	outcome, err := t.sound(ctx, name)
	return said + outcome, errors.CombineErrors(err, os.RemoveAll(saved))
}

// sound waits until the node has read all of its store again and found nothing that is damaged, and
// compares all entries that it serves.
func (t *trials) sound(ctx context.Context, name string) (outcome string, err error) {
	n, err := t.c.Node(name)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	figure := func(page, name string) (sum float64) {
		for _, m := range regexp.MustCompile(`(?m)^`+name+`\{[^}]*ledger="`+regexp.QuoteMeta(t.c.Origin())+`"[^}]*\} (\S+)$`).FindAllStringSubmatch(page, -1) {
			v, _ := strconv.ParseFloat(m[1], 64)
			sum += v
		}
		return sum
	}
	var page string
	for {
		raw, err := t.get(ctx, n.HTTPURL()+"/metrics")
		page = string(raw)
		if err == nil && figure(page, "cairn_scrub_passes_total") >= 1 && figure(page, "cairn_scrub_damaged") == 0 && figure(page, "cairn_ledger_size") >= float64(t.size) {
			break
		}
		select {
		case <-ctx.Done():
			return "", errors.Newf("%s is not sound: %v scrub passes, %v damaged places, size %v of %d, %v", name,
				figure(page, "cairn_scrub_passes_total"), figure(page, "cairn_scrub_damaged"), figure(page, "cairn_ledger_size"), t.size, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
	if repairs := figure(page, "cairn_repairs_total"); repairs > 0 {
		t.report.Repaired++
		outcome += fmt.Sprintf("; %v repairs", repairs)
	}
	if aside, _ := filepath.Glob(filepath.Join(t.c.DataDir(name), "ledger", "damaged-*")); len(aside) > 0 {
		t.report.Rebuilt++
		outcome += "; rebuilt"
		for _, dir := range aside {
			if err := os.RemoveAll(dir); err != nil {
				return outcome, err
			}
		}
	}
	return outcome, t.readAll(ctx, n)
}

// readAll reads every entry from the node and compares it.
func (t *trials) readAll(ctx context.Context, n local.NodeInfo) error {
	for first := uint64(0); first < t.size; first += merkle.EntryBundleWidth {
		width := int(min(merkle.EntryBundleWidth, t.size-first))
		url := t.c.LedgerURL(n) + "/" + merkle.EntriesPath(first/merkle.EntryBundleWidth, width)
		raw, err := t.get(ctx, url)
		for err != nil && ctx.Err() == nil && width < merkle.EntryBundleWidth { // until the newest entries are sealed
			time.Sleep(100 * time.Millisecond)
			raw, err = t.get(ctx, url)
		}
		if err != nil {
			return errors.Wrapf(err, "read entries from %d on", first)
		}
		leaves, err := merkle.ParseEntryBundle(raw, width)
		if err != nil {
			return errors.Wrapf(err, "entries from %d on", first)
		}
		for i, leaf := range leaves {
			want, ours := t.want[first+uint64(i)]
			if !ours { // a record of the ledger itself
				continue
			}
			e, err := ledger.ParseLeaf(leaf)
			if err != nil || !bytes.Equal(e.Body, want) {
				return errors.Newf("%s serves another entry %d than was acknowledged: %d bytes, want %d; %v", n.Name, first+uint64(i), len(leaf), len(want), err)
			}
		}
	}
	return nil
}

func (t *trials) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.Newf("%s: %s: %s", url, resp.Status, bytes.TrimSpace(b))
	}
	return b, err
}
