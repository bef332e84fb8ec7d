package node

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"time"
)

// logs are where a node writes, and how much.
type logs struct {
	file   *logFile // nil: standard error
	level  *slog.LevelVar
	log    *slog.Logger
	access *accessLog
}

// openLogs opens the log that the configuration names.
func openLogs(c *Config) (*logs, error) {
	l := &logs{level: new(slog.LevelVar)}
	var w io.Writer = os.Stderr
	if c.LogFile != "" {
		var err error
		if l.file, err = openLogFile(c.LogFile, c.LogFileBytes, c.LogFiles); err != nil {
			return nil, err
		}
		w = l.file
	}
	l.log = newLogger(c, w, l.level)
	// Who was refused is logged at every level.
	l.access = newAccessLog(newLogger(c, w, slog.Level(math.MinInt)).With("part", "access"))
	l.set(c)
	return l, nil
}

// set takes over what of the configuration may change while the node runs.
func (l *logs) set(c *Config) {
	l.level.Set(c.level())
	l.access.all.Store(c.AccessLog == "all")
}

func newLogger(c *Config, w io.Writer, level slog.Leveler) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o)).With("node", c.Name)
	}
	return slog.New(slog.NewTextHandler(w, o)).With("node", c.Name)
}

func (c *Config) level() (level slog.Level) {
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		panic("node: configuration was not validated")
	}
	return level
}

// logf adapts the printf-style loggers of the parts.
func (n *node) logf(part string) func(string, ...any) {
	log := n.log.With("part", part)
	return func(format string, args ...any) { log.Info(fmt.Sprintf(format, args...)) }
}

// logf is the node's, about one ledger.
func (h *hosted) logf(part string) func(string, ...any) {
	log := h.node.log.With("part", part, "ledger", h.origin)
	return func(format string, args ...any) { log.Info(fmt.Sprintf(format, args...)) }
}

// debugf is logf for what is of use only when somebody looks for a fault.
func (n *node) debugf(part string) func(string, ...any) {
	log := n.log.With("part", part)
	return func(format string, args ...any) { log.Debug(fmt.Sprintf(format, args...)) }
}

// logUp writes the line of a start: what an operator needs to know about a node that has come up.
func (n *node) logUp() {
	leaf := n.channel.Current().Leaf()
	n.log.Info("node is up", "version", Version, "directory", n.cfg.Directory, "cluster", n.cfg.ClusterID, "id", n.cfg.Self().ID,
		"ledgers", len(n.hosting.all()), "api", n.cfg.Listen.API, "peer", n.cfg.Listen.Peer, "http", n.cfg.Listen.HTTP, "probe", n.cfg.Listen.Probe,
		"certificate", serialOf(leaf), "expires", leaf.NotAfter.UTC().Format(time.RFC3339),
		"denied", n.deny.list.Load().size(), "took", time.Since(n.started).Round(time.Millisecond).String())
}
