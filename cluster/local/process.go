package local

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/internal/wholefile"
)

// ErrNotRunning says that a node has no process.
var ErrNotRunning = errors.New("node is not running")

// ErrRunning says that a node has a process already.
var ErrRunning = errors.New("node is already running")

// ErrPaused says that a node has a process that is stopped where it is.
var ErrPaused = errors.New("node is paused")

// pidFile is what is kept about a process that this package started. The
// number alone would not do: after the process is gone the kernel gives its
// number to another one.
type pidFile struct {
	PID int `json:"pid"`
	// Start is the process's start time in the words of the operating system:
	// clock ticks since boot on Linux, the output of ps elsewhere.
	Start string `json:"start"`
	// Boot tells one run of the machine from the next, where Start repeats.
	Boot string `json:"boot,omitempty"`
}

// procState is what the operating system says about a process.
type procState uint8

const (
	procGone procState = iota
	procRunning
	procPaused
)

// process is one daemon: where its pid file and its output go.
type process struct {
	pidPath, logPath string
}

// start runs argv in a session of its own, with its output appended to the log,
// and writes the pid file. With a lifeline the process reads standard input
// from it and is expected to end when it closes. The returned channel is closed
// once the process ended and was reaped, which only its parent can wait for.
func (p process) start(argv, env []string, dir string, lifeline *os.File) (<-chan struct{}, error) {
	switch f, err := p.find(); {
	case err == nil:
		_ = f.handle.Release()
		return nil, ErrRunning
	case !errors.Is(err, ErrNotRunning):
		return nil, err
	}
	log, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, errors.Wrap(err, "open node log")
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = log, log
	if lifeline != nil {
		cmd.Stdin = lifeline
	}
	cmd.Env = env
	cmd.SysProcAttr = ownSession()
	if err := cmd.Start(); err != nil {
		return nil, errors.Wrap(err, "start node process")
	}
	// Not reaped before it is recorded: a process that ends at once would be gone.
	if err := p.record(cmd.Process.Pid); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	return ended, nil
}

func (p process) record(pid int) error {
	start, _, err := inspectProcess(pid)
	if err != nil {
		return errors.Wrap(err, "read start time of the node process")
	}
	raw, err := json.Marshal(pidFile{PID: pid, Start: start, Boot: bootID()})
	if err != nil {
		return errors.Wrap(err, "encode pid file")
	}
	return errors.Wrap(wholefile.Write(p.pidPath, append(raw, '\n'), 0o644), "write pid file")
}

// read returns the pid file, or ErrNotRunning if there is none or it is from
// before the machine's last start.
func (p process) read() (pidFile, error) {
	raw, err := os.ReadFile(p.pidPath)
	if errors.Is(err, os.ErrNotExist) {
		return pidFile{}, ErrNotRunning
	}
	if err != nil {
		return pidFile{}, errors.Wrap(err, "read pid file")
	}
	var f pidFile
	if err := json.Unmarshal(raw, &f); err != nil || f.PID <= 1 || f.Start == "" {
		return pidFile{}, errors.Newf("pid file %s is damaged: look for the process yourself, then delete the file", p.pidPath)
	}
	if f.Boot != bootID() {
		return pidFile{}, ErrNotRunning
	}
	return f, nil
}

// found is a live process that is known to be ours.
type found struct {
	handle *os.Process
	id     pidFile
	state  procState
}

// find returns the process of the pid file, or ErrNotRunning. The handle is
// opened before the start time is compared, so (with process descriptors, as on
// Linux) a signal through it reaches that very process or none.
func (p process) find() (found, error) {
	id, err := p.read()
	if err != nil {
		return found{}, err
	}
	handle, err := os.FindProcess(id.PID)
	if err != nil {
		return found{}, ErrNotRunning
	}
	start, state, err := inspectProcess(id.PID)
	if err != nil || state == procGone || start != id.Start {
		_ = handle.Release()
		return found{}, ErrNotRunning
	}
	return found{handle: handle, id: id, state: state}, nil
}

// signal sends sig to the process, if it is ours, and says which one it was.
func (p process) signal(sig syscall.Signal) (pidFile, error) {
	f, err := p.find()
	if err != nil {
		return pidFile{}, err
	}
	defer f.handle.Release()
	if err := f.handle.Signal(sig); err != nil {
		if errors.Is(err, os.ErrProcessDone) {
			return pidFile{}, ErrNotRunning
		}
		return pidFile{}, errors.Wrapf(err, "signal process %d", f.id.PID)
	}
	return f.id, nil
}

// wait returns when the process has ended, and removes its pid file unless
// that names another process by then.
func (p process) wait(ctx context.Context, id pidFile) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		start, state, err := inspectProcess(id.PID)
		if err != nil || state == procGone || start != id.Start {
			break
		}
		select {
		case <-ctx.Done():
			return errors.Wrapf(ctx.Err(), "wait for process %d to end", id.PID)
		case <-time.After(pause):
		}
	}
	if now, err := p.read(); err == nil && now == id {
		if err := os.Remove(p.pidPath); err != nil && !errors.Is(err, os.ErrNotExist) {
			return errors.Wrap(err, "remove pid file")
		}
	}
	return nil
}

// tail returns up to max bytes of the end of the log, whole lines only.
func (p process) tail(max int64) string {
	f, err := os.Open(p.logPath)
	if err != nil {
		return ""
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return ""
	}
	from := st.Size() - max
	if from < 0 {
		from = 0
	}
	buf := make([]byte, st.Size()-from)
	n, _ := f.ReadAt(buf, from)
	buf = buf[:n]
	if from > 0 {
		for i, b := range buf {
			if b == '\n' {
				buf = buf[i+1:]
				break
			}
		}
	}
	return string(buf)
}

// installExecutable copies the binary into dir, so that the nodes can be
// started again when the original (of `go run`, say) is gone.
func installExecutable(exe, dir string) (string, error) {
	to := filepath.Join(dir, "cairn")
	if same, err := sameFile(exe, to); err != nil || same {
		return to, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", errors.Wrap(err, "create directory for the binary")
	}
	// The old file may be running: it is replaced, not written into.
	tmp := fmt.Sprintf("%s.%d", to, os.Getpid())
	if err := copyFile(exe, tmp, 0o755); err != nil {
		_ = os.Remove(tmp)
		return "", err
	}
	return to, errors.Wrap(os.Rename(tmp, to), "install the binary")
}
