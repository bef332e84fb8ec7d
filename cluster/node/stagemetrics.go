package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cairnledger/cairn/internal/stages"
)

// stageMetrics implements prometheus.Collector for the stages of a node. There is one histogram a
// stage, of all ledgers together, so the number of time series is fixed.
type stageMetrics struct{ set *stages.Set }

var stageDesc = prometheus.NewDesc("cairn_stage_seconds",
	"How long the stages of appends and reads take, of all ledgers of the node together.", []string{"stage"}, nil)

// Describe implements prometheus.Collector.
func (m stageMetrics) Describe(to chan<- *prometheus.Desc) { to <- stageDesc }

// Collect implements prometheus.Collector.
func (m stageMetrics) Collect(to chan<- prometheus.Metric) {
	for s := range stages.Count {
		d := m.set.Total(s)
		to <- prometheus.MustNewConstHistogram(stageDesc, d.Count, float64(d.Sum)/1e9, d.Cumulative(), s.String())
	}
}
