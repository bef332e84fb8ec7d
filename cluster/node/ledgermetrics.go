package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/raftnode"
)

// labelledLedgers is how many ledgers have figures of their own: the directory, and those that were
// created first. The others are added up under otherLedgers, so that the number of time series is
// bounded.
const (
	labelledLedgers = 100
	otherLedgers    = "(others)"
)

// ledgerFigure is one figure of a ledger. The figures of otherLedgers are sums.
type ledgerFigure struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	// reason is the value of the second label; "" when there is none.
	reason string
	read   func(*hosted) float64
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// raftFigures are those that a member of a Raft group tells in its status, by name.
var raftFigures = map[string]struct {
	help string
	read func(raftnode.Status) float64
}{
	"cairn_raft_leader":        {"1 on the leader, else 0.", func(s raftnode.Status) float64 { return oneIf(s.Serving) }},
	"cairn_raft_term":          {"Raft term.", func(s raftnode.Status) float64 { return float64(s.Term) }},
	"cairn_raft_applied_index": {"Newest applied Raft index.", func(s raftnode.Status) float64 { return float64(s.Applied) }},
	"cairn_raft_commit_index":  {"Newest committed Raft index.", func(s raftnode.Status) float64 { return float64(s.Commit) }},
	"cairn_raft_disk_stalled": {"1 while a write to the Raft log or the ledger's store takes longer than raft.stall.",
		func(s raftnode.Status) float64 { return oneIf(s.Stalled) }},
	"cairn_queue_bytes": {"Appends that wait for a block, bytes.", func(s raftnode.Status) float64 { return float64(s.QueuedBytes) }},
}

// ledgerFigures are all of them; docs/operations.md lists them.
var ledgerFigures = func() (all []ledgerFigure) {
	add := func(kind prometheus.ValueType, name, help string, read func(*hosted) float64) {
		all = append(all, ledgerFigure{prometheus.NewDesc(name, help, []string{"ledger"}, nil), kind, "", read})
	}
	gauge := func(name, help string, read func(*hosted) float64) { add(prometheus.GaugeValue, name, help, read) }
	gauge("cairn_ledger_size", "Entries applied by this replica.", func(h *hosted) float64 { return float64(h.Replica.Ledger().Head().Size) })
	gauge("cairn_sealed_size", "Size of the newest sealed checkpoint.", func(h *hosted) float64 {
		if s := h.Replica.Ledger().Sealed(); s != nil {
			return float64(s.Size)
		}
		return 0
	})
	for name, f := range raftFigures {
		gauge(name, f.help, func(h *hosted) float64 { return f.read(h.raft.Status()) })
	}
	gauge("cairn_raft_members_behind_log", "On the leader: members that need entries from before the retained Raft log.", func(h *hosted) float64 {
		ids, _ := h.membersBehind()
		return float64(len(ids))
	})
	gauge("cairn_fill_entries_missing", "Entries that this replica still takes from other members, because the Raft log begins behind it; 0 as a rule.", func(h *hosted) float64 {
		f := h.Filling()
		return float64(f.Size - min(f.Have, f.Size))
	})
	add(prometheus.CounterValue, "cairn_fill_bytes_total", "Bytes of blocks that this replica has taken from other members since the start.",
		func(h *hosted) float64 { return float64(h.Filling().Received) })
	gauge("cairn_ledger_halted", "1 when this node's replica of the ledger has stopped by itself while the node goes on; its log says why.",
		func(h *hosted) float64 { return oneIf(h.halted.Load() != nil) })
	gauge("cairn_store_durability_unknown", "1 while the ledger's store cannot say what is durable; the Raft log grows meanwhile.",
		func(h *hosted) float64 { return oneIf(h.Replica.Ledger().DurabilityProblem() != nil) })
	add(prometheus.CounterValue, "cairn_scrubbed_bytes_total", "Bytes of the store that were read again and checked, since the start.",
		func(h *hosted) float64 { return float64(h.scrubbing.bytes.Load()) })
	add(prometheus.CounterValue, "cairn_scrub_passes_total", "How often all of the ledger's part of the store was read again, since the start.",
		func(h *hosted) float64 { return float64(h.scrubbing.passes.Load()) })
	gauge("cairn_scrub_damaged", "Damaged places that the last pass through the store could not repair, or the present one if more.",
		func(h *hosted) float64 { return float64(h.scrubbing.damaged.Load()) })
	mended := prometheus.NewDesc("cairn_repairs_total",
		"Damaged parts of the store that were written again with proved bytes, since the start, by kind.", []string{"ledger", "kind"}, nil)
	for _, part := range ledger.Parts {
		all = append(all, ledgerFigure{mended, prometheus.CounterValue, part.String(),
			func(h *hosted) float64 { return float64(h.repaired[part].Load()) }})
	}
	blocks := prometheus.NewDesc("cairn_ledger_ignored_blocks_total",
		"Committed blocks without effect since the start, those of the replay included, by reason.", []string{"ledger", "reason"}, nil)
	for _, reason := range []ledger.IgnoreReason{ledger.IgnoredMalformed, ledger.IgnoredAnchor, ledger.IgnoredTime} {
		all = append(all, ledgerFigure{blocks, prometheus.CounterValue, string(reason),
			func(h *hosted) float64 { return float64(h.Replica.Ledger().Ignored(reason)) }})
	}
	batches := prometheus.NewDesc("cairn_ledger_ignored_batches_total",
		"Batches of good blocks that the ledger's program could not decide, without effect, since the start, those of the replay included, by reason.", []string{"ledger", "reason"}, nil)
	for _, reason := range ledger.RefuseReasons {
		all = append(all, ledgerFigure{batches, prometheus.CounterValue, string(reason),
			func(h *hosted) float64 { return float64(h.Replica.Ledger().Refused(reason)) }})
	}
	return all
}()

// ledgerMetrics implements prometheus.Collector for the ledgers of a node.
type ledgerMetrics struct {
	all     func() []*hosted
	figures []ledgerFigure
}

// Describe implements prometheus.Collector.
func (m *ledgerMetrics) Describe(to chan<- *prometheus.Desc) {
	var last *prometheus.Desc
	for _, f := range m.figures {
		if f.desc != last {
			to <- f.desc
		}
		last = f.desc
	}
}

// Collect implements prometheus.Collector.
func (m *ledgerMetrics) Collect(to chan<- prometheus.Metric) {
	all := m.all()
	for _, f := range m.figures {
		others := 0.0
		for i, h := range all {
			value := f.read(h)
			if i < labelledLedgers {
				to <- f.metric(value, h.origin)
			} else {
				others += value
			}
		}
		if len(all) > labelledLedgers {
			to <- f.metric(others, otherLedgers)
		}
	}
}

func (f *ledgerFigure) metric(value float64, origin string) prometheus.Metric {
	labels := []string{origin}
	if f.reason != "" {
		labels = append(labels, f.reason)
	}
	return prometheus.MustNewConstMetric(f.desc, f.kind, value, labels...)
}
