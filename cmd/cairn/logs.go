package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/cluster/local"
)

// logPoll is how often logs --follow looks for more.
const logPoll = 100 * time.Millisecond

func (a *app) clusterLogsCommand(dir *string) *cobra.Command {
	var (
		follow bool
		last   int
	)
	cmd := &cobra.Command{
		Use:   "logs [NAME...]",
		Short: "Print what the nodes logged",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := openCluster(*dir)
			if err != nil {
				return err
			}
			names := c.Names()
			if len(args) > 0 {
				names = nil
				for _, arg := range args {
					name, err := a.resolveNow(cmd.Context(), *dir, c, arg)
					if err != nil {
						return err
					}
					names = append(names, name)
				}
				names = once(names)
			}
			var logs []*nodeLog
			for _, name := range names {
				l := &nodeLog{name: name, path: c.LogPath(name)}
				if len(names) > 1 {
					l.prefix = name + "  "
				}
				lines, err := l.read()
				if err != nil {
					return err
				}
				if last >= 0 {
					lines = lines[len(lines)-min(len(lines), last):]
				}
				if err := a.printNodeLog(l, lines); err != nil {
					return err
				}
				logs = append(logs, l)
			}
			if !follow {
				return nil
			}
			a.note("waiting for more from %s, until interrupted", strings.Join(names, ", "))
			return a.followLogs(cmd.Context(), logs)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "wait for more, until interrupted")
	numberFlag(cmd.Flags(), &last, "lines", "n", -1, -1, 1<<30, "only the last `n` lines of each (-1: all)")
	return cmd
}

// resolveNow is resolveNode within --timeout.
func (a *app) resolveNow(ctx context.Context, dir string, c *local.Cluster, arg string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	return resolveNode(ctx, dir, c, arg)
}

func (a *app) followLogs(ctx context.Context, logs []*nodeLog) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(logPoll):
		}
		for _, l := range logs {
			lines, err := l.read()
			if err != nil {
				return err
			}
			if err := a.printNodeLog(l, lines); err != nil {
				return err
			}
		}
	}
}

// nodeLog reads a growing file line by line.
type nodeLog struct {
	name, path, prefix string
	offset             int64
	file               os.FileInfo // what offset counts in
}

// read returns the complete lines that were written since the last call.
func (l *nodeLog) read() ([][]byte, error) {
	f, err := os.Open(l.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // never started
	}
	if err != nil {
		return nil, errors.Wrap(err, "open node log")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Wrap(err, "read node log")
	}
	var lines [][]byte
	if l.file != nil && !os.SameFile(info, l.file) {
		// The node has begun a new file. The rest of the former one comes first.
		if old, err := os.Open(l.path + ".1"); err == nil {
			defer old.Close()
			if was, err := old.Stat(); err == nil && os.SameFile(was, l.file) {
				if lines, err = l.lines(old); err != nil {
					return nil, err
				}
			}
		}
		l.offset = 0
	}
	l.file = info
	more, err := l.lines(f)
	return append(lines, more...), err
}

// lines returns the complete lines from the offset on, and moves it behind them.
func (l *nodeLog) lines(f *os.File) ([][]byte, error) {
	if _, err := f.Seek(l.offset, io.SeekStart); err != nil {
		return nil, errors.Wrap(err, "read node log")
	}
	var lines [][]byte
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return nil, errors.Wrap(err, "read node log")
		}
		l.offset += int64(len(line))
		lines = append(lines, bytes.TrimSuffix(line, []byte("\n")))
	}
}

func (a *app) printNodeLog(l *nodeLog, lines [][]byte) error {
	for _, line := range lines {
		v := struct {
			Node string          `json:"node"`
			Line string          `json:"line,omitempty"`
			Log  json.RawMessage `json:"log,omitempty"`
		}{Node: l.name}
		if json.Valid(line) && utf8.Valid(line) {
			v.Log = json.RawMessage(line)
		} else {
			v.Line = string(line)
		}
		if err := a.emit(v, func(w *page) { w.hang(l.prefix, string(line)) }); err != nil {
			return err
		}
	}
	return nil
}
