package local

import (
	"path/filepath"
	"strings"
)

// Environment is what DIR/env exports for the shell and the CLI.
type Environment struct {
	Profile string   // CAIRN_PROFILE: the writer's profile, which is also an operator's
	Admin   string   // CAIRN_ADMIN_PROFILE: for the commands that need the role admin
	Policy  string   // CAIRN_POLICY: the tlog-policy file
	LogVKey string   // CAIRN_LOG_VKEY: file with the log's verifier key
	Ledger  string   // CAIRN_LEDGER: the origin of the ledger that commands mean
	HTTP    []string // CAIRN_HTTP: base URLs of the profile's ledger, without a trailing slash
}

// Environment returns the variables of this cluster, with absolute paths.
func (c *Cluster) Environment() Environment {
	e := Environment{
		Profile: c.Profile("writer"),
		Admin:   c.Profile("admin"),
		Policy:  c.PolicyPath(),
		LogVKey: filepath.Join(c.dir, "log.vkey"),
		Ledger:  c.Origin(),
	}
	for _, n := range c.state.Nodes {
		e.HTTP = append(e.HTTP, c.LedgerURL(n))
	}
	return e
}

// Variables returns NAME, value pairs in the order of the file.
func (e Environment) Variables() [][2]string {
	return [][2]string{
		{"CAIRN_PROFILE", e.Profile},
		{"CAIRN_ADMIN_PROFILE", e.Admin},
		{"CAIRN_POLICY", e.Policy},
		{"CAIRN_LOG_VKEY", e.LogVKey},
		{"CAIRN_LEDGER", e.Ledger},
		{"CAIRN_HTTP", strings.Join(e.HTTP, " ")},
	}
}

// Shell returns the file's text: one export a line, each value quoted for a
// POSIX shell.
func (e Environment) Shell() string {
	var b strings.Builder
	for _, v := range e.Variables() {
		b.WriteString("export " + v[0] + "=" + quote(v[1]) + "\n")
	}
	return b.String()
}

// quote makes one word of s for a POSIX shell, whatever s holds.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
