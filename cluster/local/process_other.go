//go:build !linux

package local

import (
	"os/exec"
	"strconv"
	"strings"

	"github.com/cockroachdb/errors"
)

// inspectProcess asks ps(1), whose start time is exact to the second.
func inspectProcess(pid int) (start string, state procState, err error) {
	out, err := exec.Command("ps", "-o", "state=,lstart=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return "", procGone, errors.Wrap(err, "inspect process")
	}
	st, start, ok := strings.Cut(strings.TrimSpace(string(out)), " ")
	if !ok || st == "" {
		return "", procGone, errors.New("inspect process: malformed answer of ps")
	}
	switch st[0] {
	case 'Z':
		state = procGone
	case 'T':
		state = procPaused
	default:
		state = procRunning
	}
	return strings.TrimSpace(start), state, nil
}

// bootID is empty: lstart holds the date, which does not repeat.
func bootID() string { return "" }
