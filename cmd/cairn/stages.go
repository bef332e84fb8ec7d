package main

import (
	"context"
	"time"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client"
)

// stageStatus is one stage on one node as it is printed.
type stageStatus struct {
	Node  string  `json:"node"`
	Error string  `json:"error,omitempty"` // instead of the rest: the node does not answer
	Stage string  `json:"stage,omitempty"`
	Count *uint64 `json:"count,omitempty"`
	*stageLatency
}

// stageLatency are durations in nanoseconds. They are absent when the stage has not been passed.
type stageLatency struct {
	P50  int64 `json:"p50_ns"`
	P99  int64 `json:"p99_ns"`
	P999 int64 `json:"p999_ns"`
	Max  int64 `json:"max_ns"`
}

// askStages asks all nodes for the latencies of their stages.
func askStages(ctx context.Context, c *client.Client, nodes []client.Endpoint, recent bool) []stageStatus {
	perNode := make([][]stageStatus, len(nodes))
	eachNode(nodes, func(i int, e client.Endpoint) {
		ctx, cancel := context.WithTimeout(ctx, statusTimeout)
		defer cancel()
		r, err := c.StatusWith(ctx, e.Name, &cairnv1.StatusRequest{Stages: true})
		if err != nil {
			perNode[i] = []stageStatus{{Node: e.Name, Error: statusError(err)}}
			return
		}
		perNode[i] = stagesOf(e.Name, r, recent)
	})
	var all []stageStatus
	for _, s := range perNode {
		all = append(all, s...)
	}
	return all
}

func stagesOf(node string, r *cairnv1.StatusResponse, recent bool) (all []stageStatus) {
	for _, s := range r.Stages {
		l := s.SinceStart
		if recent {
			l = s.Recent
		}
		one := stageStatus{Node: node, Stage: s.Stage, Count: new(l.GetCount())}
		if l.GetCount() > 0 {
			one.stageLatency = &stageLatency{P50: l.P50, P99: l.P99, P999: l.P999, Max: l.Max}
		}
		all = append(all, one)
	}
	return all
}

// printStages prints a table, or one object for each stage of each node.
func (a *app) printStages(all []stageStatus, recent bool) error {
	if a.json {
		for _, s := range all {
			if err := a.emit(s, nil); err != nil {
				return err
			}
		}
	} else if err := a.emit(nil, func(w *page) { stageTable(w, all, recent) }); err != nil {
		return err
	}
	for _, s := range all {
		if s.Error == "" {
			return nil
		}
	}
	return failf(exitUnavailable, "", "no node answers")
}

func stageTable(w *page, all []stageStatus, recent bool) {
	since := "since the start"
	if recent {
		since = "in the last minute"
	}
	t := newTable("node", "stage", since, "p50", "p99", "p99.9", "max").alignRight(2, 3, 4, 5, 6)
	last := ""
	for _, s := range all {
		if s.Error != "" {
			t.row(s.Node, "(no answer)", "-", "-", "-", "-", "-")
			continue
		}
		name := s.Node
		if name == last {
			name = ""
		}
		last = s.Node
		row := []string{name, s.Stage, count(*s.Count), "-", "-", "-", "-"}
		if l := s.stageLatency; l != nil {
			for i, d := range []int64{l.P50, l.P99, l.P999, l.Max} {
				row[3+i] = latencyString(time.Duration(d))
			}
		}
		t.row(row...)
	}
	t.write(w)
	for _, s := range all {
		if s.Error != "" {
			w.hang("", s.Error)
		}
	}
}
