package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cairnledger/cairn/cluster/local"
)

// TestMain makes the test binary answer to the name cairn: the scripts, and the
// nodes of the clusters that they start, are this very program.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cairn": func() { os.Exit(run()) }, "cairn-stubborn": stubborn})
}

// TestPlain runs the scripts that need no cluster, or make their own.
func TestPlain(t *testing.T) {
	t.Parallel()
	runScripts(t, testscript.Params{Dir: "testdata/plain"}, nil)
}

// TestCluster runs the other scripts against one cluster of three nodes: first,
// side by side, those that leave the nodes alone, then those that do not.
func TestCluster(t *testing.T) {
	t.Parallel()
	exe, err := exec.LookPath("cairn")
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	c, err := local.Create(local.Options{Dir: t.TempDir(), Nodes: 3, Executable: exe, Lifeline: r})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			for _, n := range c.Names() {
				raw, _ := os.ReadFile(c.LogPath(n))
				t.Logf("end of the log of %s:\n%s", n, raw[max(0, len(raw)-4000):])
			}
		}
		if err := c.Destroy(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Run("shared", func(t *testing.T) { runScripts(t, testscript.Params{Dir: "testdata/shared"}, c) })
	faults, err := filepath.Glob("testdata/faults/*.txtar")
	if err != nil || len(faults) == 0 {
		t.Fatalf("find scripts: %d, %v", len(faults), err)
	}
	for _, file := range faults {
		t.Run("faults", func(t *testing.T) { runScripts(t, testscript.Params{Files: []string{file}}, c) })
	}
}

func runScripts(t *testing.T, p testscript.Params, c *local.Cluster) {
	p.Setup = func(env *testscript.Env) error {
		if c == nil {
			return nil
		}
		e := c.Environment()
		for _, v := range e.Variables() {
			env.Setenv(v[0], v[1])
		}
		env.Setenv("CLUSTER", c.Dir())
		env.Setenv("ORIGIN", c.Origin())
		for i, url := range e.HTTP {
			env.Setenv(fmt.Sprintf("HTTP%d", i+1), url)
		}
		for _, role := range []string{"reader", "admin", "participant"} {
			env.Setenv(strings.ToUpper(role), c.Profile(role))
		}
		return nil
	}
	p.Cmds = scriptCmds
	testscript.Run(t, p)
}

// scriptCmds are the commands of our own; files of one platform add theirs.
var scriptCmds = map[string]func(*testscript.TestScript, bool, []string){
	"exits": cmdExits, "flip": cmdFlip, "field": cmdField, "jsonl": cmdJSONL, "repeat": cmdRepeat, "fits": cmdFits, "ports": cmdPorts,
}

// cmdExits runs a command and wants its exit code: exits 3 cairn verify FILE
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("run %s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// cmdFlip changes one bit of a file: flip FILE OFFSET; an offset below 0 counts
// from the end.
func cmdFlip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip FILE OFFSET")
	}
	path := ts.MkAbs(args[0])
	raw, err := os.ReadFile(path)
	ts.Check(err)
	offset, err := strconv.Atoi(args[1])
	ts.Check(err)
	if offset < 0 {
		offset += len(raw)
	}
	raw[offset] ^= 1
	ts.Check(os.WriteFile(path, raw, 0o644))
}

// cmdField puts a field of the last object on standard output into a variable:
// field VARIABLE NAME
func cmdField(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: field VARIABLE NAME")
	}
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stdout")), "\n")
	var v map[string]any
	ts.Check(json.Unmarshal([]byte(lines[len(lines)-1]), &v))
	value, ok := v[args[1]]
	if !ok {
		ts.Fatalf("no field %q in %s", args[1], lines[len(lines)-1])
	}
	text := fmt.Sprint(value)
	if n, ok := value.(float64); ok {
		text = strconv.FormatUint(uint64(n), 10)
	}
	ts.Setenv(args[0], text)
}

// cmdJSONL wants standard output to hold N objects, one a line, and the values
// of a field to be N consecutive numbers if one is named: jsonl N [FIELD]
func cmdJSONL(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: jsonl N [FIELD]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	n, last := 0, 0.0
	for _, l := range strings.Split(strings.TrimSuffix(ts.ReadFile("stdout"), "\n"), "\n") {
		var v map[string]any
		if err := json.Unmarshal([]byte(l), &v); err != nil {
			ts.Fatalf("line %d is not an object: %q", n+1, l)
		}
		if len(args) == 2 {
			value, ok := v[args[1]].(float64)
			if !ok || n > 0 && value != last+1 {
				ts.Fatalf("line %d: field %s is %v after %v", n+1, args[1], v[args[1]], last)
			}
			last = value
		}
		n++
	}
	if n != want {
		ts.Fatalf("%d objects, want %d", n, want)
	}
}

// cmdFits wants no line of the last command to be wider than N columns, except for one word that
// cannot be broken: fits N
func cmdFits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: fits N")
	}
	width, err := strconv.Atoi(args[0])
	ts.Check(err)
	for _, stream := range []string{"stdout", "stderr"} {
		for line := range strings.Lines(ts.ReadFile(stream)) {
			if line = strings.TrimSuffix(line, "\n"); tooWide(line, width) {
				ts.Fatalf("%s: a line of %d columns: %s", stream, columns(line), line)
			}
		}
	}
}

// cmdPorts puts free ports of the loopback interface into the variables PORT1 to PORTN: ports N
func cmdPorts(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ports N")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	for i := range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		defer l.Close() // all at the end, so that no two are the same
		_, port, err := net.SplitHostPort(l.Addr().String())
		ts.Check(err)
		ts.Setenv(fmt.Sprintf("PORT%d", i+1), port)
	}
}

// cmdRepeat writes a file with N numbered lines: repeat FILE N TEXT
func cmdRepeat(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: repeat FILE N TEXT")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s %d\n", args[2], i+1)
	}
	ts.Check(os.WriteFile(filepath.Clean(ts.MkAbs(args[0])), []byte(b.String()), 0o644))
}
