package node

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestLogFileIsBounded: no file exceeds the bound, the newest lines are kept in order, and a file
// that was renamed from outside is continued in a new one after reopen.
func TestLogFileIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	l, err := openLogFile(path, 1000, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		if _, err := fmt.Fprintf(l, "line %d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	var text string
	for _, name := range []string{path + ".3", path + ".2", path + ".1", path} {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) > 1000 {
			t.Errorf("%s has %d bytes", name, len(raw))
		}
		text += string(raw)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, line := range lines {
		if want := fmt.Sprintf("line %d", 1000-len(lines)+i); line != want {
			t.Fatalf("%q stands where %q should", line, want)
		}
	}
	if _, err := os.Stat(path + ".4"); err == nil {
		t.Error("a fourth former file is kept")
	}
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := l.reopen(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(l, "after")
	if raw, err := os.ReadFile(path); err != nil || string(raw) != "after\n" {
		t.Errorf("after a rename: %q, %v", raw, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := openLogFile(t.TempDir(), 1000, 3); err == nil {
		t.Error("a directory was taken")
	}
}

// TestLogFileThatIsThere: the lines of former runs are kept, and count for the bound.
func TestLogFileThatIsThere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	former := strings.Repeat("x", 89) + "\n"
	if err := os.WriteFile(path, []byte(former), 0o640); err != nil {
		t.Fatal(err)
	}
	l, err := openLogFile(path, 100, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, line := range []string{"123456789\n", "next\n"} {
		if _, err := io.WriteString(l, line); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{path + ".1": former + "123456789\n", path: "next\n"} {
		if raw, err := os.ReadFile(name); err != nil || string(raw) != want {
			t.Errorf("%s holds %q, %v; want %q", name, raw, err, want)
		}
	}
	// Whoever renames the file and sends SIGHUP may have put another one in its place.
	if err := os.WriteFile(path, []byte(former), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := l.reopen(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(l, "more than ten bytes\n"); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != "more than ten bytes\n" {
		t.Errorf("after reopen %s holds %q, %v", path, raw, err)
	}
}

// TestLogLevels: log_level and log_format decide what a node writes about itself; who was refused
// has its line at every level, and successes only if they were asked for.
func TestLogLevels(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		level, format, access string
		want                  []string
	}{
		{"debug", "text", "refused", []string{"msg=d", "msg=i", "msg=w", "msg=e", "msg=refused"}},
		{"info", "text", "all", []string{"msg=i", "msg=w", "msg=e", "msg=refused", "msg=access"}},
		{"warn", "json", "refused", []string{`"msg":"w"`, `"msg":"e"`, `"msg":"refused"`}},
		{"error", "json", "all", []string{`"msg":"e"`, `"msg":"refused"`, `"msg":"access"`}},
	} {
		c := validConfig()
		c.LogLevel, c.LogFormat, c.AccessLog, c.LogFile = x.level, x.format, x.access, filepath.Join(t.TempDir(), "log")
		l, err := openLogs(&c)
		if err != nil {
			t.Fatal(err)
		}
		l.log.Debug("d")
		l.log.Info("i")
		l.log.Warn("w")
		l.log.Error("e")
		l.access.note(access{port: "api", remote: tcp("192.0.2.1:1"), reason: "denied"})
		l.access.note(access{port: "api", remote: tcp("192.0.2.1:1"), method: "Get"})
		if err := l.file.Close(); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(c.LogFile)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
		same := len(lines) == len(x.want)
		for i := range min(len(lines), len(x.want)) {
			same = same && strings.Contains(lines[i], x.want[i]) && (x.format == "json") == json.Valid([]byte(lines[i]))
		}
		if !same {
			t.Errorf("%s, %s, %s: the log is\n%swant lines with %q", x.level, x.format, x.access, raw, x.want)
		}
	}
}

// TestLogFileApart: the log never goes into a file or directory that the node needs otherwise.
func TestLogFileApart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"data", "logs"} {
		if err := os.Mkdir(at(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(at("node.key"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"link.key": "node.key", "link": "data", "here": "."} {
		if err := os.Symlink(target, at(link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(at("node.key"), at("hard.key")); err != nil {
		t.Fatal(err)
	}
	load := func(log string) (Config, error) {
		c := validConfig()
		c.Keys.Deny, c.LogFile = "deny", log
		if err := c.Write(at("node.yaml")); err != nil {
			t.Fatal(err)
		}
		return LoadConfig(at("node.yaml"))
	}
	c := validConfig()
	bad := []string{
		"node.yaml", "here/node.yaml", at("node.yaml"), "deny", "data", "data/", "data/log", "data/new/log", "./logs/../node.key", at("node.key"),
		"here/node.key", "here/policy", "link.key", "hard.key", "link", "link/log", "link/new/log", "policy/log", "logs", ".", "..", "log.key.sealed",
	}
	for i, keys := 0, reflect.ValueOf(c.Keys); i < keys.NumField(); i++ {
		if name := keys.Field(i).String(); name != "" {
			bad = append(bad, name)
		}
	}
	bad = append(bad, c.Policy, c.DataDir)
	for _, log := range bad {
		got, err := load(log)
		if err == nil || !strings.Contains(err.Error(), "log_file: ") {
			t.Errorf("log_file: %s: %v, want a refusal", log, err)
		}
		// A configuration from elsewhere is checked by Check and Run, too.
		if err := got.Validate(); err == nil || !strings.HasPrefix(err.Error(), "log_file: ") {
			t.Errorf("log_file: %s: Validate says %v, want a refusal", log, err)
		}
	}
	if raw, err := os.ReadFile(at("node.key")); err != nil || string(raw) != "secret" {
		t.Errorf("node.key holds %q, %v", raw, err)
	}
	if err := os.WriteFile(at("old"), nil, 0o640); err != nil {
		t.Fatal(err)
	}
	for _, log := range []string{"log", "old", "logs/log", "new/log", "data.log", "node.key.log", "data2/log", "node.log", "..log"} {
		if _, err := load(log); err != nil {
			t.Errorf("log_file: %s is refused: %v", log, err)
		}
	}
	// Rotation would rename the log over these.
	for name, want := range map[string]bool{"log.1": false, "log.4": false, "log.5": true, "log.0": true, "log.01": true, "log.x": true} {
		c := validConfig()
		c.LogFile, c.Policy = at("log"), at(name)
		if err := c.Validate(); (err == nil) != want {
			t.Errorf("policy: %s beside log_file: log: %v", name, err)
		}
	}
}
