package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/api/cairnv1"
)

// TestStagesOfANode: the table and the objects show every stage of every node with its own numbers,
// since the start or of the last minute. A stage that has not been passed has no latencies.
func TestStagesOfANode(t *testing.T) {
	t.Parallel()
	r := &cairnv1.StatusResponse{Stages: []*cairnv1.StageLatency{
		{Stage: "queue", SinceStart: &cairnv1.Latency{Count: 1234, P50: 21_000, P99: 1_310_000, P999: 20_500_000, Max: 3_000_000_000}, Recent: &cairnv1.Latency{Count: 7, P50: 1000, P99: 2000, P999: 3000, Max: 4000}},
		{Stage: "proof", SinceStart: &cairnv1.Latency{}, Recent: &cairnv1.Latency{}},
	}}
	for _, x := range []struct {
		recent bool
		text   string
		lines  []string
	}{
		{false, `
node  stage        since the start    p50      p99    p99.9     max
n1    queue                  1,234  21 µs  1.31 ms  20.5 ms  3.00 s
      proof                      0      -        -        -       -
n2    (no answer)                -      -        -        -       -
n2 is down
`, []string{
			`{"node":"n1","stage":"queue","count":1234,"p50_ns":21000,"p99_ns":1310000,"p999_ns":20500000,"max_ns":3000000000}`,
			`{"node":"n1","stage":"proof","count":0}`,
			`{"node":"n2","error":"n2 is down"}`,
		}},
		{true, `
node  stage        in the last minute   p50   p99  p99.9   max
n1    queue                         7  1 µs  2 µs   3 µs  4 µs
      proof                         0     -     -      -     -
n2    (no answer)                   -     -     -      -     -
n2 is down
`, []string{
			`{"node":"n1","stage":"queue","count":7,"p50_ns":1000,"p99_ns":2000,"p999_ns":3000,"max_ns":4000}`,
			`{"node":"n1","stage":"proof","count":0}`,
			`{"node":"n2","error":"n2 is down"}`,
		}},
	} {
		all := append(stagesOf("n1", r, x.recent), stageStatus{Node: "n2", Error: "n2 is down"})
		for _, json := range []bool{false, true} {
			want := strings.TrimPrefix(x.text, "\n")
			if json {
				want = strings.Join(x.lines, "\n") + "\n"
			}
			var out bytes.Buffer
			a := &app{streams: streams{out: &out, err: &bytes.Buffer{}}, json: json}
			if err := a.printStages(all, x.recent); err != nil {
				t.Error(err)
			}
			if out.String() != want {
				t.Errorf("got\n%swant\n%s", out.String(), want)
			}
		}
	}
	a := &app{streams: streams{out: &bytes.Buffer{}, err: &bytes.Buffer{}}}
	if err := a.printStages([]stageStatus{{Node: "n2", Error: "n2 is down"}}, false); err == nil {
		t.Error("no node answers, and the command succeeds")
	}
}
