package main

import (
	"context"
	"testing"
)

// TestNothingIsNoPass: a command line that would test nothing, or what there is not, does not pass.
func TestNothingIsNoPass(t *testing.T) {
	for name, x := range map[string]struct {
		args []string
		want int
	}{
		"one seed":            {[]string{"sim", "--seed", "1", "--ops", "20", "--duration", "1s", "--faults", "none"}, 0},
		"no time":             {[]string{"sim", "--seed", "1", "--ops", "20", "--duration", "1s", "--faults", "none", "--limit", "1ns"}, 0},
		"no seed":             {[]string{"sim", "--seeds", "0"}, exitUsage},
		"too many nodes":      {[]string{"sim", "--nodes", "99"}, exitFail},
		"a negative duration": {[]string{"sim", "--duration", "-1s"}, exitFail},
		"no such fault":       {[]string{"sim", "--faults", "flood"}, exitUsage},
		"no slack":            {[]string{"zoo", "--slack", "0"}, exitUsage},
		"no such command":     {[]string{"play"}, exitUsage},
	} {
		if got := execute(context.Background(), x.args); got != x.want {
			t.Errorf("%s: exit code %d, want %d", name, got, x.want)
		}
	}
}
