package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cairnledger/cairn/cluster/enrolment"
	"github.com/cairnledger/cairn/cluster/local"
)

// everyCommand calls f for every command that can be run, with the words that call it.
func everyCommand(f func(cmd *cobra.Command, words []string)) {
	var walk func(*cobra.Command, []string)
	walk = func(c *cobra.Command, words []string) {
		if c.Runnable() {
			f(c, words)
		}
		for _, sub := range c.Commands() {
			walk(sub, append(slices.Clone(words), sub.Name()))
		}
	}
	root := (&app{}).rootCommand()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	walk(root, nil)
}

// try runs a command line and returns its exit code and what it wrote to standard error.
func try(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var errs bytes.Buffer
	code := execute(t.Context(), args, streams{in: strings.NewReader("x"), out: &bytes.Buffer{}, err: &errs})
	return code, errs.String()
}

// TestEmptyValues: in every command, an empty value of any flag is a usage error, and so is an
// empty argument.
func TestEmptyValues(t *testing.T) {
	t.Parallel()
	n := 0
	everyCommand(func(cmd *cobra.Command, words []string) {
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		flags.AddFlagSet(cmd.NonInheritedFlags())
		flags.AddFlagSet(cmd.InheritedFlags())
		flags.VisitAll(func(f *pflag.Flag) {
			if f.Value.Type() == "bool" {
				return
			}
			n++
			args := append(append(slices.Clone(words), arguments(cmd)...), "--"+f.Name+"=")
			if code, says := try(t, args...); code != exitUsage || !strings.Contains(says, f.Name) {
				t.Errorf("%v: exit code %d, %s", args, code, says)
			}
		})
		if given := arguments(cmd); len(given) > 0 {
			n++
			given[len(given)-1] = ""
			args := append(slices.Clone(words), given...)
			if code, says := try(t, args...); code != exitUsage || !strings.Contains(says, "is empty") {
				t.Errorf("%q: exit code %d, %s", args, code, says)
			}
		}
	})
	if n < 200 {
		t.Errorf("only %d values were tried", n)
	}
}

// arguments are as many arguments as a command takes.
func arguments(cmd *cobra.Command) []string {
	var args []string
	for _, word := range strings.Fields(cmd.Use)[1:] {
		word = strings.Trim(word, "[]().|")
		if strings.HasPrefix(word, "-") {
			break // a flag, and its value
		}
		if word == "" || word != strings.ToUpper(word) {
			continue
		}
		args = append(args, "1")
		if cmd.Args != nil && cmd.Args(cmd, append(slices.Clone(args), "1")) != nil {
			break
		}
	}
	return args
}

// downProfile returns the profile of a cluster of which no node runs, and its directory.
func downProfile(t *testing.T) (profile, dir string) {
	t.Helper()
	exe, err := os.Executable()
	check(t, err)
	c, err := local.Create(local.Options{Dir: filepath.Join(t.TempDir(), "c"), Nodes: 3, Executable: exe})
	check(t, err)
	return c.Profile("admin"), c.Dir()
}

// TestTimeoutIsKept runs every command that talks to a ledger with no node there: each ends when
// --timeout says so, and with the code for it. A command that is not listed is one that does not
// talk to a ledger.
func TestTimeoutIsKept(t *testing.T) {
	t.Parallel()
	profile, dir := downProfile(t)
	entry, batch := filepath.Join(dir, "policy"), filepath.Join(dir, "batch")
	check(t, os.WriteFile(batch, []byte(`{"id":"t-1","from":"a","to":"b","amount":"1"}`), 0o644))
	table, mapping := filepath.Join(dir, "bank.csv"), filepath.Join(dir, "bank.yaml")
	check(t, os.WriteFile(table, []byte("day,amount\n2027-03-01,5\n"), 0o644))
	check(t, os.WriteFile(mapping, []byte("account: a\ncurrency: EUR\ncolumns:\n  booked: day\n  amount: amount\n"), 0o644))
	message := filepath.Join("..", "..", "settlement", "iso20022", "testdata", "valid", "pacs008-single.xml")
	waiting := filepath.Join(dir, "messages")
	check(t, os.Mkdir(waiting, 0o755))
	raw, err := os.ReadFile(message)
	check(t, err)
	check(t, os.WriteFile(filepath.Join(waiting, "m.xml"), raw, 0o644))
	joining, err := enrolment.Make(enrolment.Wanted{Kind: enrolment.Node, Name: "n4", Suite: "default", Cluster: 1,
		Peer: "127.0.0.1:1", API: "127.0.0.1:2", HTTP: "127.0.0.1:3"})
	check(t, err)
	request := filepath.Join(dir, "n4.request")
	check(t, os.WriteFile(request, joining.Request, 0o644))
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // a server that never answers
	check(t, err)
	defer deaf.Close()
	network := map[string][]string{
		"append":        {entry},
		"get":           {"0"},
		"log":           nil,
		"head":          nil,
		"receipt":       {"0"},
		"audit":         nil,
		"consistency":   {"1", "2"},
		"status":        nil,
		"move-leader":   {"n1"},
		"ledger create": {"example.org/x"},
		"ledger list":   nil,
		"ledger show":   {"example.org/x"},
		"policy export": nil,
		"policy chain":  nil,
		"policy rotate": {"n1"},
		"top":           {"--once"},

		"backup":         {filepath.Join(dir, "backup")},
		"member add":     {request, "--dir", filepath.Join(dir, "out")},
		"member list":    nil,
		"member promote": {"n3"},
		"member remove":  {"n3"},
		"member replace": {"n3", request, "--dir", filepath.Join(dir, "out")},

		"settle account change": {"a", "--freeze"},
		"settle account list":   nil,
		"settle account open":   {"a", "--asset", "EUR"},
		"settle asset create":   {"EUR"},
		"settle asset list":     nil,
		"settle balance":        {"a"},
		"settle batch":          {batch},
		"settle cancel":         {"i-1"},
		"settle hold":           {"i-1"},
		"settle holds":          nil,
		"settle instruct":       {"i-1", "--party", "A", "--counterparty", "B", "--deliver", "1", "--from", "a", "--date", "2027-01-02"},
		"settle instructions":   nil,
		"settle gateway":        {"--in", waiting, "--out", filepath.Join(dir, "replies"), "--participant", "A", "--once", "--still", "1ms"},
		"settle iso audit":      nil,
		"settle iso status":     {"M-1", "T-1", "--participant", "A"},
		"settle iso submit":     {message, "--participant", "A"},
		"settle post":           {"t-1"},
		"settle reconcile":      {table, "--mapping", mapping, "--account", "a"},
		"settle proof account":  {"a"},
		"settle proof transfer": {"t-1"},

		"settle iso statement":   {"a"},
		"settle proof statement": {"a"},

		"settle proof instruction": {"i-1"},
		"settle release":           {"i-1"},
		"settle return":            {"t-1", "--id", "t-2"},
		"settle show":              {"t-1"},
		"settle outcome":           {"1"},
		"settle statement":         {"a"},
		"settle transfers":         {"t-"},
		"settle transfer":          {"--id", "t-1", "--from", "a", "--to", "b", "--amount", "1"},
		"settle void":              {"t-1"},

		"cluster status": {"--dir", dir},
		"cluster logs":   {"leader", "--dir", dir},
		"cluster kill":   {"leader", "--dir", dir},
		"cluster stop":   {"leader", "--dir", dir},
		"cluster start":  {"leader", "--dir", dir},
		"cluster pause":  {"leader", "--dir", dir},
		"cluster resume": {"leader", "--dir", dir},
	}
	more := map[string][]string{ // other ways through the same commands
		"settle transfer --id t-1 --from a --to b --amount 1 --pending --expires-in 1h": nil,
		"append --lines " + entry:                     nil,
		"append --sealed " + entry:                    nil,
		"append --expected-size 0 " + entry:           nil,
		"log --last 3":                                nil,
		"log --last 3 --follow":                       nil,
		"log --local":                                 nil,
		"log --limit 2 --output json":                 nil,
		"head --local":                                nil,
		"audit --save " + filepath.Join(dir, "saved"): nil,
		"audit http://" + deaf.Addr().String():        nil,
		"cluster logs leader --follow --dir " + dir:   nil,
	}
	others := []string{ // no ledger, or a limit of their own
		"", "bench", "cluster", "cluster destroy", "cluster down", "cluster up", "completion", "completion bash", "completion fish",
		"completion powershell", "completion zsh", "demo", "demo settlement", "evidence", "exit-codes", "help", "inspect", "inspect ledger", "inspect ledger dump", "inspect ledger list", "inspect ledger verify", "inspect wal", "inspect wal dump", "inspect wal verify", "ledger", "man", "node", "node init", "pki", "pki init",
		"pki inspect", "pki issue", "pki show", "policy", "policy show", "settle", "settle account", "settle asset", "settle iso", "settle iso lint", "settle proof", "verify", "version",
		"backup dump", "backup verify", "member", "restore", "cluster add", "cluster remove", "cluster replace",
		"inspect verify", "node keys", "pki request", "pki revoke", "pki sign", "signer", "signer init",
	}
	run := func(t *testing.T, words []string) {
		t.Helper()
		args := append(words, "--timeout", "300ms", "--profile", profile)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var errs bytes.Buffer
		code := execute(ctx, args, streams{in: strings.NewReader("x"), out: &bytes.Buffer{}, err: &errs})
		if ctx.Err() != nil {
			t.Errorf("%v has not ended after %v", words, time.Since(start))
		}
		// Nothing was sent to a node, so nothing is unknown.
		if code != exitUnavailable {
			t.Errorf("%v: exit code %d, want %d: %s", words, code, exitUnavailable, errs.String())
		}
	}
	found := map[string]bool{}
	everyCommand(func(_ *cobra.Command, words []string) {
		name := strings.Join(words, " ")
		args, ok := network[name]
		if found[name] = ok; !ok {
			if !slices.Contains(others, name) {
				t.Errorf("does %q talk to a ledger? Add it to this test", name)
			}
			return
		}
		t.Run(name, func(t *testing.T) { run(t, append(words, args...)) })
	})
	for name := range network {
		if !found[name] {
			t.Errorf("there is no command %q", name)
		}
	}
	for line := range more {
		t.Run(line, func(t *testing.T) { run(t, strings.Fields(line)) })
	}
}

// TestFollowSaysForWhom: log --follow has no end, and says what it waits for.
func TestFollowSaysForWhom(t *testing.T) {
	t.Parallel()
	profile, _ := downProfile(t)
	ctx, cancel := context.WithCancel(t.Context())
	errs := &signalling{text: make(chan string, 100)}
	done := make(chan int, 1)
	go func() {
		done <- execute(ctx, []string{"log", "--follow", "--from", "7", "--timeout", "200ms", "--profile", profile}, streams{out: &bytes.Buffer{}, err: errs})
	}()
	var said string
	late := time.After(time.Minute)
	for !strings.Contains(said, "still waiting") {
		select {
		case <-late:
			t.Fatalf("it says only %q", said)
		case text := <-errs.text:
			said += text
		case code := <-done:
			t.Fatalf("it ended with %d: %s", code, said)
		}
	}
	for _, part := range []string{"waiting for entry 7", "n1", "n2", "n3", "until interrupted"} {
		if !strings.Contains(said, part) {
			t.Errorf("%q does not say %q", said, part)
		}
	}
	cancel()
	if code := <-done; code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
}

// signalling passes on what is written.
type signalling struct{ text chan string }

func (s *signalling) Write(p []byte) (int, error) {
	select {
	case s.text <- string(p):
	default:
	}
	return len(p), nil
}

// TestKeysOfLines: with --lines a key may have 108 bytes, because the number of the line is added.
// A longer one is refused before anything is tried.
func TestKeysOfLines(t *testing.T) {
	t.Parallel()
	profile, dir := downProfile(t)
	lines := filepath.Join(dir, "lines")
	check(t, os.WriteFile(lines, []byte("a\nb\n"), 0o644))
	for size, want := range map[int]int{1: exitUnavailable, 108: exitUnavailable, 109: exitUsage, 128: exitUsage} {
		var errs bytes.Buffer
		args := []string{"append", "--lines", lines, "--key", strings.Repeat("k", size), "--profile", profile, "--timeout", "200ms"}
		if code := execute(t.Context(), args, streams{out: &bytes.Buffer{}, err: &errs}); code != want {
			t.Errorf("a key of %d bytes: exit code %d, want %d; %s", size, code, want, errs.String())
		}
	}
}
