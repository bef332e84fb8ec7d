package server

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/status"
)

// metrics of the API. Label values come from the table of methods and from gRPC's codes, never from
// clients.
type metrics struct {
	seconds *prometheus.HistogramVec
	calls   *prometheus.CounterVec
	entries prometheus.Counter
	panics  prometheus.Counter
	stalled prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "cairn_api_call_seconds", Help: "Duration of finished calls, streams included.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 14),
		}, []string{"method"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cairn_api_calls_total", Help: "Finished and refused calls by gRPC code.",
		}, []string{"method", "code"}),
		entries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "cairn_api_appended_entries_total", Help: "Entries in appends that were answered with success, duplicates included.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "cairn_api_panics_total", Help: "Panics of handlers; any is a bug.",
		}),
		stalled: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "cairn_api_stalled_streams_total", Help: "Streams that were ended because the client did not read.",
		}),
	}
	if r != nil {
		r.MustRegister(m.seconds, m.calls, m.entries, m.panics, m.stalled)
	}
	return m
}

func (m *metrics) done(method string, err error, d time.Duration) {
	m.seconds.WithLabelValues(methodLabel(method)).Observe(d.Seconds())
	m.refused(method, err)
}

func (m *metrics) refused(method string, err error) {
	m.calls.WithLabelValues(methodLabel(method), status.Code(err).String()).Inc()
}

func methodLabel(method string) string {
	if _, ok := grants[method]; !ok {
		return "unknown"
	}
	return method[strings.LastIndexByte(method, '/')+1:]
}
