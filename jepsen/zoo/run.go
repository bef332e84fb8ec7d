package zoo

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/jepsen/testbed"
	"github.com/cairnledger/cairn/jepsen/zoo/hunt"
)

// Options say which bugs to run, and how.
type Options struct {
	// Root is the module's directory; "" looks for it from the working directory up.
	Root string
	// Names of bugs; none means all.
	Names []string
	// Search ignores the seeds that found the bugs last time.
	Search bool
	// Slack multiplies the time budgets, for a busy machine; 0 means 1.
	Slack float64
	// Done, when not nil, gets every outcome as soon as it is known.
	Done func(Outcome)
}

// Outcome is what became of one bug.
type Outcome struct {
	Bug    *Bug
	Caught bool
	// By is the kind of the violation, or the text in the test's output; Evidence
	// is its text.
	By, Evidence string
	// Seed found it, 0 for a test; Runs counts seeds, or repetitions of the test.
	Seed uint64
	Runs int
	// Seconds of the detector, and before that of building it.
	Seconds, BuildSeconds float64
	// Also are kinds of violations that do not count but showed on the way.
	Also []string
	// Err says why there was no verdict: the bug does not apply or not build.
	Err error
}

// Run builds and runs bugs one after the other. The error says why it could not go
// on; that a bug was not caught is in its outcome.
func Run(ctx context.Context, o Options) ([]Outcome, error) {
	bugs, err := Bugs()
	if err != nil {
		return nil, err
	}
	if len(o.Names) > 0 {
		for _, name := range o.Names {
			if _, err := Find(name); err != nil {
				return nil, err
			}
		}
		bugs = slices.DeleteFunc(bugs, func(b *Bug) bool { return !slices.Contains(o.Names, b.Name) })
	}
	if o.Root == "" {
		if o.Root, err = moduleRoot(); err != nil {
			return nil, err
		}
	}
	if o.Slack == 0 {
		o.Slack = 1
	}
	var out []Outcome
	for _, b := range bugs {
		res, err := runOne(ctx, o, b)
		if err != nil {
			return out, err
		}
		out = append(out, res)
		if o.Done != nil {
			o.Done(res)
		}
	}
	return out, nil
}

// moduleRoot returns the directory of the module around the working directory.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", errors.Wrap(err, "look for the module")
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("look for the module: no go.mod around; bugs are built from source")
		}
		dir = up
	}
}

func runOne(ctx context.Context, o Options, b *Bug) (Outcome, error) {
	res := Outcome{Bug: b}
	dir, err := os.MkdirTemp("", "zoo-"+b.Name+"-")
	if err != nil {
		return res, errors.Wrap(err, "make a directory for a bug")
	}
	defer func() { _ = os.RemoveAll(dir) }()
	overlay := filepath.Join(dir, "overlay.json")
	changed, err := b.Overlay(o.Root, dir)
	if err == nil {
		err = testbed.WriteOverlay(overlay, changed)
	}
	if err != nil {
		res.Err = err
		return res, nil
	}
	bin := filepath.Join(dir, "detector")
	build := []string{"build", "-p", "2", "-ldflags=-s -w", "-overlay", overlay, "-o", bin}
	if b.Detector.Sim == nil {
		build = []string{"test", "-p", "2", "-vet=off", "-ldflags=-s -w", "-overlay", overlay, "-c", "-o", bin, b.Detector.Package}
	} else {
		build = append(build, "./jepsen/zoo/detector")
	}
	start := time.Now()
	cmd := exec.CommandContext(ctx, "go", build...)
	cmd.Dir = o.Root
	text, err := cmd.CombinedOutput()
	res.BuildSeconds = time.Since(start).Seconds()
	if ctx.Err() != nil {
		return res, ctx.Err()
	}
	if err != nil {
		res.Err = errors.Newf("build %s: %v\n%s", b.Name, err, text)
		return res, nil
	}
	limit := time.Duration(float64(b.Time) * o.Slack)
	start = time.Now()
	if b.Detector.Sim != nil {
		runSim(ctx, o, bin, limit, &res)
	} else {
		runTest(ctx, o, bin, limit, &res)
		res.Seconds = time.Since(start).Seconds()
	}
	return res, ctx.Err()
}

// runSim lets the detector look for a seed.
func runSim(ctx context.Context, o Options, bin string, limit time.Duration, res *Outcome) {
	b := res.Bug
	order := hunt.Order{Options: strings.TrimPrefix(b.Detector.String(), "sim"), Kinds: b.CaughtBy, Seeds: b.Seeds, Time: limit}
	if !o.Search {
		order.First = b.First
	}
	in, err := json.Marshal(order)
	if err != nil {
		res.Err = errors.Wrap(err, "encode order")
		return
	}
	// A bug may keep a run from ending. That is not how it is to be caught.
	ctx, cancel := context.WithTimeout(ctx, 2*limit+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin)
	cmd.Stdin = bytes.NewReader(in)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	var c hunt.Catch
	if err == nil {
		err = json.Unmarshal(stdout.Bytes(), &c)
	}
	if err == nil && c.Err != "" {
		err = errors.New(c.Err)
	}
	if err != nil {
		res.Err = errors.Newf("run the detector of %s: %v\n%s", b.Name, err, tail(stderr.String()))
		return
	}
	res.Caught, res.By, res.Evidence, res.Seed, res.Runs, res.Seconds, res.Also = c.Caught, c.Kind, c.Text, c.Seed, c.Runs, c.Seconds, c.Also
}

// runTest runs one test until it fails, which it must. Most fail at once; those in
// which time or chance plays a part are repeated.
func runTest(ctx context.Context, o Options, bin string, limit time.Duration, res *Outcome) {
	b := res.Bug
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for ctx.Err() == nil {
		cmd := exec.CommandContext(ctx, bin, "-test.run", "^("+b.Detector.Test+")$", "-test.count=1")
		cmd.Dir = filepath.Join(o.Root, filepath.FromSlash(b.Detector.Package))
		cmd.WaitDelay = time.Second
		raw, err := cmd.CombinedOutput()
		text := string(raw)
		res.Runs++
		switch {
		case ctx.Err() != nil:
			return
		case strings.Contains(text, "no tests to run"):
			res.Err = errors.Newf("%s has no test %s", b.Detector.Package, b.Detector.Test)
			return
		case err == nil:
			continue
		}
		for _, want := range b.CaughtBy {
			if at := strings.Index(text, want); at >= 0 {
				res.Caught, res.By = true, want
				res.Evidence, _, _ = strings.Cut(text[at:], "\n")
				return
			}
		}
		res.Err = errors.Newf("the test of %s failed, but does not say %q:\n%s", b.Name, b.CaughtBy, tail(text))
		return
	}
}

func tail(s string) string { return s[max(0, len(s)-4000):] }
