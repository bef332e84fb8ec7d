package local

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
)

// TestLocalScript takes local.sh through the life of a cluster, as the README begins: from the
// sources, in the directory that it chooses by itself.
func TestLocalScript(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and starts a cluster")
	}
	t.Parallel()
	script, err := filepath.Abs("../local.sh")
	if err != nil {
		t.Fatal(err)
	}
	wd := t.TempDir()
	run := func(argv ...string) (string, int) {
		t.Helper()
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir = wd
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	t.Cleanup(func() { run(script, "destroy") }) // a second time, unless the test failed
	for _, step := range []struct {
		argv []string
		code int
		says string
	}{
		{[]string{script}, 0, "local.sh up [N]"},
		{[]string{script, "status"}, 4, "no cluster in .cairn"},
		{[]string{script, "up", "1"}, 0, "cluster of 1 node is ready"},
		{[]string{script, "status"}, 0, "leader"},
		{[]string{"sh", "-c", `. ./.cairn/env && export PATH=$PWD/.cairn/bin:$PATH && echo x | cairn append - && cairn receipt 0 -o r && cairn verify r`}, 0, "verified r"},
		{[]string{script, "kill", "leader"}, 0, "killed n1"},
		{[]string{script, "up", "--dir", filepath.Join(wd, ".cairn")}, 0, "cluster of 1 node is ready"},
		{[]string{script, "logs", "n1"}, 0, "node is up"},
		{[]string{script, "down", "--dir=.cairn"}, 0, "stopped the cluster"},
		{[]string{script, "destroy"}, 0, "deleted the cluster"},
	} {
		if out, code := run(step.argv...); code != step.code || !strings.Contains(out, step.says) {
			t.Fatalf("%s: exit code %d, want %d and %q; output:\n%s", strings.Join(step.argv, " "), code, step.code, step.says, out)
		}
	}
	if _, err := os.Stat(filepath.Join(wd, ".cairn")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the cluster's directory after destroy: %v, want it gone", err)
	}
}
