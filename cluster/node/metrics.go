package node

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/cairnledger/cairn/pqcrypto/lpa"
	"github.com/cairnledger/cairn/raftnode"
)

// metrics are the node's own figures; docs/operations.md lists them. They never
// hold names of principals or contents of entries.
type metrics struct {
	registry      *prometheus.Registry
	appendSeconds prometheus.Histogram
	seals         prometheus.Counter
	sealProblems  prometheus.Counter
	fillProblems  prometheus.Counter
	handshakes    *prometheus.CounterVec
	refused       *prometheus.CounterVec
	// incarnationRefused counts connections, by member.
	incarnationRefused *prometheus.CounterVec
	displaced          *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		appendSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "cairn_append_seconds", Help: "From a batch's arrival in the queue until it is applied on the leader.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 2, 16),
		}),
		seals: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "cairn_sealed_checkpoints_total", Help: "Sealed checkpoints that this node has stored.",
		}),
		fillProblems: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "cairn_fill_problems_total", Help: "Answers of other members about blocks that were of no use.",
		}),
		sealProblems: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "cairn_seal_problems_total", Help: "Signatures and messages that did not verify, roots that did not match, and sizes that could not be signed.",
		}),
		handshakes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cairn_lpa_handshakes_total", Help: "LPA/1 handshakes by side and outcome.",
		}, []string{"side", "outcome"}),
	}
	m.refused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cairn_raft_refused_messages_total", Help: "Messages of members that no honest member sends, by sender and reason.",
	}, []string{"member", "reason"})
	m.incarnationRefused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cairn_peer_incarnation_refused_total", Help: "Connections with members whose data directory is not the one that is remembered, by member.",
	}, []string{"member"})
	m.displaced = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cairn_strangers_displaced_total", Help: "Connections of strangers that were closed because others waited.",
	}, []string{"port"})
	for _, port := range []string{"api", "peer", "http", "probe"} {
		m.displaced.WithLabelValues(port)
	}
	m.registry.MustRegister(m.appendSeconds, m.seals, m.sealProblems, m.fillProblems, m.handshakes, m.refused, m.incarnationRefused, m.displaced,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// observeHandshake counts and notes the outcome of a handshake.
func (n *node) observeHandshake(e lpa.Event) {
	outcome := e.Reason
	if outcome == "" {
		outcome = "ok"
	}
	n.metrics.handshakes.WithLabelValues(e.Side.String(), outcome).Inc()
	v := visitorOf(e.Raw)
	if v == nil {
		return // this node dialled
	}
	if e.Err == nil {
		v.known()
	}
	n.logs.access.handshake(v.crowd.port, v.heard.Load(), e)
}

// displaced counts and notes a connection that had to go for another one.
func (n *node) displaced(v *visitor) {
	n.metrics.displaced.WithLabelValues(v.crowd.port).Inc()
	if v.heard.Load() {
		n.logs.access.note(access{port: v.crowd.port, remote: v.RemoteAddr(), reason: "displaced", detail: "too many connections of strangers"})
	}
}

// gauge registers a figure that is read when somebody asks.
func (m *metrics) gauge(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// flag registers a figure that is 1 or 0.
func (m *metrics) flag(name, help string, read func() bool) {
	m.gauge(name, help, func() float64 {
		if read() {
			return 1
		}
		return 0
	})
}

// counter registers a figure that only grows and is read when somebody asks.
func (m *metrics) counter(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, read))
}

// register adds the figures of a running node.
func (n *node) registerMetrics() {
	m := n.metrics
	for _, p := range n.cfg.Members {
		m.incarnationRefused.WithLabelValues(p.Name) // shown as 0 from the start
	}
	m.flag("cairn_members_met", "1 when all members have met, so that this node takes part in Raft.", n.members.Formed)
	for _, member := range n.cfg.Members {
		if member.Name != n.cfg.Name {
			m.refused.WithLabelValues(member.Name, string(raftnode.ReasonTerm)) // 0 is a figure, too
		}
	}
	m.registry.MustRegister(&ledgerMetrics{n.hosting.all, ledgerFigures}, stageMetrics{n.stages})
	r := n.hosting.directory
	m.gauge("cairn_ledgers", "Ledgers that this node hosts, the directory among them.", func() float64 { return float64(len(n.hosting.all())) })
	m.gauge("cairn_ledgers_not_hosted", "Ledgers that the directory lists and this node cannot host; its log says why.",
		func() float64 { return float64(n.hosting.strangers.Load()) })
	m.gauge("cairn_clock_offset_seconds", "How far this node's clock is ahead of the median of the members' clocks; negative when it is behind.",
		func() float64 { return r.ClockAhead().Seconds() })
	m.flag("cairn_clock_unfit", "1 while this node does not lead because its clock is too far from those of a majority.",
		func() bool { return r.Unfit() != nil })
	m.gauge("cairn_wal_bytes", "Raft log on disk, bytes.", func() float64 { return float64(n.wal.Stats().Bytes) })
	m.counter("cairn_wal_syncs_total", "Syncs of the Raft log.", func() float64 { return float64(n.wal.Stats().Syncs) })
	m.counter("cairn_wal_written_bytes_total", "Bytes written to the Raft log.", func() float64 { return float64(n.wal.Stats().BytesWritten) })
	m.gauge("cairn_store_bytes", "Ledger store on disk, bytes.", func() float64 { return float64(n.storeBytes.Load()) })
	m.gauge("cairn_disk_free_bytes", "Free space of the data directory's file system, bytes.", func() float64 {
		free, err := n.dir.freeBytes()
		if err != nil {
			return -1
		}
		return float64(free)
	})
	m.flag("cairn_signer_up", "0 while the process that holds the cosigner key does not answer.", func() bool {
		if n.keys.signer == nil {
			return true
		}
		_, err := n.keys.signer.Failing()
		return err == nil
	})
	for _, kind := range expiryKinds {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "cairn_certificate_left_seconds", Help: "Seconds until the first certificate of a kind expires, negative afterwards.",
			ConstLabels: prometheus.Labels{"certificate": kind},
		}, func() float64 { return n.left(kind) }))
	}
	m.gauge("cairn_certificate_expiry_seconds", "Unix time at which the node's certificate expires.", func() float64 {
		return float64(n.channel.Current().Leaf().NotAfter.Unix())
	})
}
