package testbed

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/errors"
)

// Build compiles a program of this module. overlay maps files to what is compiled
// in their place; nil for none.
func Build(ctx context.Context, pkg, out string, overlay map[string]string) error {
	args := []string{"build", "-o", out}
	if overlay != nil {
		path := out + ".overlay.json"
		if err := WriteOverlay(path, overlay); err != nil {
			return err
		}
		args = append(args, "-overlay", path)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	return errors.Wrapf(cmd.Run(), "build %s: %s", pkg, strings.TrimSpace(stderr.String()))
}

// WriteOverlay writes what go build -overlay reads: files, and what is compiled in
// their place.
func WriteOverlay(path string, overlay map[string]string) error {
	raw, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		return errors.Wrap(err, "encode overlay")
	}
	return errors.Wrap(os.WriteFile(path, raw, 0o644), "write overlay")
}

// skewedNow is what time.Now of a program with a clock file begins with, and
// what it calls: the wall clock is moved by the nanoseconds that the file holds,
// the monotonic clock is not.
const (
	nowBefore = "	sec, nsec, mono := runtimeNow()\n	if mono == 0 {\n"
	nowAfter  = "	sec, nsec, mono := runtimeNow()\n	sec, nsec = skew(sec, nsec)\n	if mono == 0 {\n"
	skewCode  = `
var skewed struct {
	once   sync.Once
	offset *int64
}

// skew moves the wall clock by what the clock file says. The file is mapped, so
// whoever writes it moves the clock at once.
func skew(sec int64, nsec int32) (int64, int32) {
	skewed.once.Do(func() {
		fd, err := syscall.Open("` + clockName + `", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return
		}
		defer syscall.Close(fd)
		if b, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED); err == nil {
			skewed.offset = (*int64)(unsafe.Pointer(&b[0]))
		}
	})
	if skewed.offset == nil {
		return sec, nsec
	}
	d := atomic.LoadInt64(skewed.offset)
	n := int64(nsec) + d%1e9
	sec += d / 1e9
	if n < 0 {
		n, sec = n+1e9, sec-1
	} else if n >= 1e9 {
		n, sec = n-1e9, sec+1
	}
	return sec, int32(n)
}
`
	importsBefore = "	_ \"unsafe\" // for go:linkname\n"
	importsAfter  = "	\"sync\"\n	\"sync/atomic\"\n	\"syscall\"\n	\"unsafe\"\n"
)

// clockName is the file in a node's working directory that holds its clock's
// offset: nanoseconds, int64, in the machine's byte order.
const clockName = "clock"

// skewOverlay writes, into dir, the file of the standard library that moves the
// clock, made from the one that is installed.
func skewOverlay(ctx context.Context, dir string) (map[string]string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, errors.Wrap(err, "find the standard library")
	}
	original := filepath.Join(strings.TrimSpace(string(out)), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		return nil, errors.Wrap(err, "read the standard library")
	}
	text := string(source)
	for _, change := range [][2]string{{nowBefore, nowAfter}, {importsBefore, importsAfter}} {
		if strings.Count(text, change[0]) != 1 {
			return nil, errors.Newf("%s does not look as expected: %q is not there once", original, change[0])
		}
		text = strings.Replace(text, change[0], change[1], 1)
	}
	replacement := filepath.Join(dir, "time.go")
	if err := os.WriteFile(replacement, []byte(text+skewCode), 0o644); err != nil {
		return nil, errors.Wrap(err, "write the changed standard library")
	}
	return map[string]string{original: replacement}, nil
}
