package main

import (
	"context"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
)

// electionPatience is how long a status waits for an election that goes on: several of the longest
// election timeouts that are usual.
const electionPatience = 3 * time.Second

// settled asks for the nodes' state until a node leads, none can be elected, or electionPatience is
// over.
func settled(ctx context.Context, ask func() ([]nodeStatus, error)) ([]nodeStatus, error) {
	for begin := time.Now(); ; {
		all, err := ask()
		if err != nil || !electing(all) {
			return all, err
		}
		if time.Since(begin) > electionPatience || wait(ctx, 50*time.Millisecond) != nil {
			for i := range all {
				all[i].Electing = all[i].Role != ""
			}
			return all, nil
		}
	}
}

// electing says that no node leads, though enough of them answer to elect one. A node may still
// name the leader that has gone.
func electing(all []nodeStatus) bool {
	answers, leads := answering(all)
	return !leads && answers > len(all)/2
}

// answering counts the nodes that answer. leads says that one of them leads, or that they follow
// one that was not asked.
func answering(all []nodeStatus) (answers int, leads bool) {
	asked := map[string]bool{}
	for _, s := range all {
		asked[s.Node] = true
	}
	for _, s := range all {
		if s.Role == "" {
			continue
		}
		answers++
		leads = leads || s.Role == "leader" || s.Leader != "" && !asked[s.Leader]
	}
	return answers, leads
}

// noLeader is the error of a cluster that no node leads.
func noLeader(all []nodeStatus) error {
	answers, leads := answering(all)
	switch {
	case leads:
		return nil
	case electing(all):
		return failf(exitUnavailable, "try again in a moment; if it stays so, look at the nodes' logs", "no node leads: an election goes on")
	}
	return failf(exitUnavailable, "see that a majority of the nodes runs (`cairn cluster status`, their logs)",
		"no node leads: %d of %d nodes answer, %d are needed", answers, len(all), len(all)/2+1)
}

// statusError says in one line why a node gave no status.
func statusError(err error) string {
	var called *client.Error
	if errors.As(err, &called) && called.Node == "" {
		return called.Message
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}
