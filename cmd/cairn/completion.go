package main

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
)

// flagValues are the values that a flag completes to, by the flag's name. Every flag that takes a
// value stands in one of the three tables: see TestEveryFlagCompletes.
var flagValues = map[string][]string{
	"output":  {"text", "json"},
	"mode":    {"unary", "stream"},
	"op":      ops,
	"suite":   {"default", "cat5"},
	"roles":   {"reader", "writer", "admin", "participant", "operator", "reader,writer", "writer,operator"},
	"program": {"log", "settlement"},
	"status":  {"unmatched", "matched", "held", "queued", "partly_settled"},
}

// flagFiles are the flags whose value is a file (false) or a directory (true).
var flagFiles = map[string]bool{
	"profile": false, "policy": false, "chain": false, "config": false, "lines": false, "out": false, "html": false, "state": false, "payload": false, "mapping": false, "options": false, "file": false,
	"input": false, "roots": false, "renew": false, "dir": true, "in": true, "save": true, "ca": true, "socket": false, "list": false, "revoked": false,
}

// flagFree are the flags whose value the user makes up.
var flagFree = map[string]bool{
	"timeout": true, "key": true, "expected-size": true, "from": true, "last": true, "limit": true, "origin": true, "node": true,
	"cluster": true, "service": true, "validity": true, "trust-domain": true, "name": true, "clients": true, "peer": true, "api": true, "http": true, "authority": true, "serial": true, "new-cluster": true, "connections": true,
	"batch": true, "seal-quorum": true, "size": true, "in-flight": true, "duration": true, "interval": true, "warmup": true, "fill": true, "rate": true, "nodes": true, "first-id": true, "count": true, "local": true, "ledgers": true, "param": true, "group": true,
	"request": true, "common-ref": true, "party": true, "counterparty": true, "date": true, "trade-date": true, "deliver": true,
	"deliver-asset": true, "receive": true, "receive-asset": true, "expires": true, "expires-in": true, "priority": true, "account": true, "append": true,
	"pattern": true, "statement-account": true, "tolerance": true, "window": true,
	"participant": true, "rail": true, "other": true, "map": true, "business-date": true, "cut-off": true, "max-age": true, "still": true, "poll": true, "keep": true, "reserve-for": true,
	"accounts": true, "pack": true, "id": true, "to": true, "amount": true, "asset": true, "scale": true, "owner": true, "ref": true, "within": true, "to-size": true, "at": true, "at-time": true,
}

// argumentValues are what the arguments of a command complete to, by the command's path. A command
// that is not here takes files, or no argument.
func (a *app) argumentValues() map[string]func(*cobra.Command) []string {
	nodes := func(cmd *cobra.Command) []string {
		c, err := local.Open(cmd.Flag("dir").Value.String())
		if err != nil {
			return nil
		}
		return append(c.Names(), "leader")
	}
	values := map[string]func(*cobra.Command) []string{
		"cairn policy rotate": func(*cobra.Command) []string { return a.profileNodes() },
		"cairn move-leader":   func(*cobra.Command) []string { return a.profileNodes() },
		"cairn cluster up":    func(*cobra.Command) []string { return []string{"1", "3", "5"} },
		"cairn audit":         func(*cobra.Command) []string { return strings.Fields(os.Getenv("CAIRN_HTTP")) },
		"cairn ledger show":   func(*cobra.Command) []string { return a.profileLedgerNames() },
		"cairn ledger create": nil,
		"cairn get":           nil,
		"cairn receipt":       nil,
		"cairn log":           nil,
	}
	for _, verb := range []string{"promote", "replace", "remove"} {
		values["cairn member "+verb] = func(*cobra.Command) []string { return a.profileNodes() }
	}
	for _, verb := range []string{"kill", "stop", "start", "pause", "resume", "logs", "replace", "remove"} {
		values["cairn cluster "+verb] = nodes
	}
	return values
}

// profileNodes are the names of the profile's nodes; none without a profile.
func (a *app) profileNodes() []string {
	p, err := client.LoadProfile(a.profilePath)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range p.Endpoints {
		names = append(names, e.Name)
	}
	return names
}

// profileLedgerNames is the origin of the profile's ledger; none without a profile.
func (a *app) profileLedgerNames() []string {
	names, _ := a.profileLedgers(nil, nil, "")
	return names
}

// profileLedgers is the origin of the profile's ledger; none without a profile.
func (a *app) profileLedgers(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	p, err := client.LoadProfile(a.profilePath)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{p.Origin}, cobra.ShellCompDirectiveNoFileComp
}

// completeValues makes the shell complete the values of every flag and argument.
func (a *app) completeValues(root *cobra.Command) {
	arguments := a.argumentValues()
	eachCommand(root, func(cmd *cobra.Command) {
		if f, ok := arguments[cmd.CommandPath()]; ok {
			cmd.ValidArgsFunction = func(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
				directive := cobra.ShellCompDirectiveNoFileComp
				if cmd.CommandPath() == "cairn audit" {
					directive = cobra.ShellCompDirectiveDefault // a directory is as good as a URL
				}
				if f == nil {
					return nil, directive
				}
				return without(f(cmd), given), directive
			}
		}
		for name, values := range flagValues {
			if cmd.LocalFlags().Lookup(name) != nil {
				_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
			}
		}
		for name, isDir := range flagFiles {
			switch {
			case cmd.LocalFlags().Lookup(name) == nil:
			case isDir:
				_ = cmd.MarkFlagDirname(name)
			default:
				_ = cmd.MarkFlagFilename(name)
			}
		}
		for name := range flagFree {
			if cmd.LocalFlags().Lookup(name) != nil {
				_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
			}
		}
		if cmd.LocalFlags().Lookup("ledger") != nil {
			_ = cmd.RegisterFlagCompletionFunc("ledger", a.profileLedgers)
		}
	})
}

// without returns the values that are not given yet.
func without(values, given []string) []string {
	var rest []string
	for _, v := range values {
		if !slices.Contains(given, v) {
			rest = append(rest, v)
		}
	}
	return rest
}

// eachCommand visits a command and all below it.
func eachCommand(cmd *cobra.Command, f func(*cobra.Command)) {
	f(cmd)
	for _, sub := range cmd.Commands() {
		eachCommand(sub, f)
	}
}
