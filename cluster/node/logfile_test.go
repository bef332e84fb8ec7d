package node

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
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
