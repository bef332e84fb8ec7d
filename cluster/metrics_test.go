package cluster_test

import (
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/cairnledger/cairn/api/client"
)

// TestMetricsAreDocumented: docs/operations.md lists what a node measures, all of it and nothing else.
func TestMetricsAreDocumented(t *testing.T) {
	c := startCluster(t, 1)
	if _, err := dial(t, c, "writer").Append(t.Context(), client.Entry{Payload: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(c.Nodes()[0].HTTPURL() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	told, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	names := func(text []byte, pattern string) []string {
		all := map[string]bool{}
		for _, m := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
			all[string(m[1])] = true
		}
		return slices.Sorted(maps.Keys(all))
	}
	measured := names(told, `(?m)^# TYPE (cairn_\w+) `)
	documented := names(readFile(t, filepath.Join("..", "docs", "operations.md")), "`(cairn_\\w+)")
	if len(measured) == 0 || !slices.Equal(measured, documented) {
		t.Errorf("measured\n%q\ndocumented\n%q", measured, documented)
	}
}
