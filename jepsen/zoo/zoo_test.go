package zoo

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var (
	flagZoo    = flag.String("zoo", "", "bugs to run: names separated by commas, or all; empty: a sample")
	flagSearch = flag.Bool("search", false, "ignore the seeds that found the bugs last time")
	flagSlack  = flag.Float64("slack", 1, "multiplies the time budgets")
)

// sample is what every go test runs: one bug for each kind of detector.
var sample = []string{"ack-before-sync", "cosigned-without-computing"}

// TestBugsApply: every bug fits the product as it is. A bug that does not has to be
// written anew for what the product has become.
func TestBugsApply(t *testing.T) {
	t.Parallel()
	bugs, err := Bugs()
	if err != nil {
		t.Fatal(err)
	}
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bugs {
		changed, err := b.Apply(root)
		if err != nil {
			t.Error(err)
		}
		for file, text := range changed {
			old, err := os.ReadFile(root + "/" + file)
			if err != nil || string(old) == string(text) {
				t.Errorf("%s leaves %s as it is, %v", b.Name, file, err)
			}
			if strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "jepsen/") {
				t.Errorf("%s changes %s, which is not the product", b.Name, file)
			}
		}
	}
}

// TestZoo: every bug is caught by a checker that is meant to.
func TestZoo(t *testing.T) {
	o := Options{Search: *flagSearch, Slack: *flagSlack, Done: func(r Outcome) { t.Log(describe(r)) }}
	switch *flagZoo {
	case "":
		if testing.Short() {
			t.Skip("builds the product once for every bug")
		}
		o.Names = sample
	case "all":
	default:
		o.Names = strings.Split(*flagZoo, ",")
	}
	outcomes, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range outcomes {
		switch {
		case r.Err != nil:
			t.Errorf("%s: %v", r.Bug.Name, r.Err)
		case !r.Caught:
			t.Errorf("%s escapes %s (%d runs, %.0f s); other violations: %q", r.Bug.Name, r.Bug.Detector, r.Runs, r.Seconds, r.Also)
		}
	}
}

func describe(r Outcome) string {
	verdict := "ESCAPED"
	if r.Err != nil {
		verdict = "ERROR"
	}
	if r.Caught {
		verdict = r.By
	}
	return fmt.Sprintf("%-32s %-12s seed %3d, %3d runs, %5.1f s + build %4.1f s  %.150s %q", r.Bug.Name, verdict, r.Seed, r.Runs, r.Seconds, r.BuildSeconds, r.Evidence, r.Also)
}
