package server_test

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
)

// metric returns a counter's value, or a histogram's count, for labels given as name and value.
func metric(t testing.TB, n *fakecluster.Node, name string, labels ...string) float64 {
	t.Helper()
	families, err := n.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	metrics:
		for _, m := range f.Metric {
			for i := 0; i < len(labels); i += 2 {
				for _, l := range m.Label {
					if l.GetName() == labels[i] && l.GetValue() != labels[i+1] {
						continue metrics
					}
				}
			}
			sum += m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// TestMetricsCount: the metrics of the API are what docs/operations.md says.
func TestMetricsCount(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{})
	n := c.Nodes[0]
	n.Before = func(_ context.Context, b ledger.Batch) error {
		switch string(b.Entries[0].Body) {
		case "bug":
			panic("bug")
		case "refused":
			return errors.New("refused")
		}
		return nil
	}
	mustAppend(t, a, keyed("k", "v"))
	mustAppend(t, a, batch("x", "y"))
	again := keyed("k", "v") // a duplicate, and a new entry
	again.Entries = append(again.Entries, &cairnv1.NewEntry{Payload: []byte("z")})
	mustAppend(t, a, again)
	for _, payload := range []string{"bug", "refused"} {
		if _, err := a.Append(within(t), batch(payload)); err == nil {
			t.Fatalf("%q was appended", payload)
		}
	}
	for range 3 { // not admitted
		_, err := a.Append(as(within(t), "spiffe://fake.example/svc/r", "reader"), batch("x"))
		demand(t, err, codes.PermissionDenied, server.ReasonPermissionDenied, sure)
	}
	for _, want := range []struct {
		value  float64
		name   string
		labels []string
	}{
		{5, "cairn_api_appended_entries_total", nil},
		{3, "cairn_api_calls_total", []string{"method", "Append", "code", "OK"}},
		{2, "cairn_api_calls_total", []string{"method", "Append", "code", "Internal"}},
		{3, "cairn_api_calls_total", []string{"method", "Append", "code", "PermissionDenied"}},
		{5, "cairn_api_call_seconds", []string{"method", "Append"}},
		{1, "cairn_api_panics_total", nil},
		{0, "cairn_api_stalled_streams_total", nil},
	} {
		eventually(t, want.name+" has counted all", func() bool { return metric(t, n, want.name, want.labels...) >= want.value })
		if got := metric(t, n, want.name, want.labels...); got != want.value {
			t.Errorf("%s%v is %v, want %v", want.name, want.labels, got, want.value)
		}
	}
}
