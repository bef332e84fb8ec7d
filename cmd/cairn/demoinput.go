package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cockroachdb/errors"
)

// input is where the demonstration takes its lines from.
type input struct {
	name string
	r    io.Reader
	file *os.File
}

// defaultInputs are real logs that most machines have; the first that can be
// read and is not empty is taken.
var defaultInputs = []string{"/var/log/dpkg.log", "/var/log/syslog"}

// madeUpLines is how many events stand in for a real log.
const madeUpLines = 5000

func openInput(path string) (*input, error) {
	if path != "" {
		f, err := os.Open(path)
		if err != nil {
			return nil, errors.Wrap(err, "open input")
		}
		return &input{name: path, r: f, file: f}, nil
	}
	for _, path := range defaultInputs {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() && st.Size() > 0 {
			return &input{name: path, r: f, file: f}, nil
		}
		_ = f.Close()
	}
	var b bytes.Buffer
	for i := range uint64(madeUpLines) {
		b.Write(madeUpEvent(i))
		b.WriteByte('\n')
	}
	return &input{name: "made-up audit events", r: &b}, nil
}

func (i *input) lines(ctx context.Context) <-chan line { return readLines(ctx, i.r, i.name) }

func (i *input) close() {
	if i.file != nil {
		_ = i.file.Close()
	}
}

// madeUpEvent looks like what a service would write to an audit log.
func madeUpEvent(n uint64) []byte {
	actors := []string{"alice", "bob", "deploy-bot", "billing", "carol"}
	actions := []string{"login", "read", "update", "grant", "export", "logout"}
	return fmt.Appendf(nil, `{"time":%q,"actor":%q,"action":%q,"object":"account/%d","request":"%08x"}`,
		time.Now().UTC().Format(time.RFC3339Nano), actors[n%5], actions[n%6], 1000+n*7919%9000, n*2654435761)
}
