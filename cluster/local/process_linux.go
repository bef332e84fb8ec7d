package local

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/errors"
)

// inspectProcess reads start time and state from proc(5).
func inspectProcess(pid int) (start string, state procState, err error) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", procGone, errors.Wrap(err, "inspect process")
	}
	return parseStat(raw)
}

// parseStat takes fields 3 (state) and 22 (start time) of /proc/PID/stat. The
// second field is the program's name in parentheses and may hold anything, so
// the fields are counted from the last closing parenthesis.
func parseStat(raw []byte) (start string, state procState, err error) {
	i := bytes.LastIndexByte(raw, ')')
	if i < 0 {
		return "", procGone, errors.New("inspect process: malformed stat line")
	}
	fields := strings.Fields(string(raw[i+1:]))
	if len(fields) < 20 {
		return "", procGone, errors.New("inspect process: short stat line")
	}
	switch fields[0] {
	case "Z", "X", "x":
		state = procGone
	case "T", "t":
		state = procPaused
	default:
		state = procRunning
	}
	return fields[19], state, nil
}

var bootID = sync.OnceValue(func() string {
	raw, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(raw))
})
