package raftnode

import (
	"testing"
	"time"

	"github.com/cairnledger/cairn/raftnode/wal"
)

// TestDefaults are those that the comments name. A value that was given stays.
func TestDefaults(t *testing.T) {
	t.Parallel()
	needed := Config{ID: 1, Log: &wal.Log{}, Transport: still{}, Machine: still{}}
	c, err := needed.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if c.TickInterval != 10*time.Millisecond || c.HeartbeatTicks != 5 || c.ElectionTicks != 30 || c.MaxBlockBytes != 1<<20 || c.MaxInflightBlocks != 8 ||
		c.budgets == nil || c.QueueRequests != 1<<20 || c.StallTimeout != 600*time.Millisecond {
		t.Errorf("defaults %+v", c)
	}
	given := needed
	given.TickInterval, given.HeartbeatTicks, given.ElectionTicks, given.MaxBlockBytes, given.MaxInflightBlocks = 1, 2, 3, 4, 5
	given.QueueRequests = 7
	if c, err = given.withDefaults(); err != nil || c.TickInterval != 1 || c.HeartbeatTicks != 2 || c.ElectionTicks != 3 || c.MaxBlockBytes != 4 ||
		c.MaxInflightBlocks != 5 || c.QueueRequests != 7 || c.StallTimeout != 6 {
		t.Errorf("values that were given became %+v, %v", c, err)
	}
	core := CoreConfig{}.withDefaults()
	if core.HeartbeatTicks != 5 || core.ElectionTicks != 30 || core.ResolveTicks != 60 || core.ReadTimeoutTicks != 300 || core.MaxInflightBlocks != 8 {
		t.Errorf("defaults of a core %+v", core)
	}
	for name, change := range map[string]func(*Config){
		"no id":                   func(c *Config) { c.ID = 0 },
		"no log":                  func(c *Config) { c.Log = nil },
		"no transport":            func(c *Config) { c.Transport = nil },
		"no machine":              func(c *Config) { c.Machine = nil },
		"election within a beat":  func(c *Config) { c.HeartbeatTicks, c.ElectionTicks = 10, 10 },
		"blocks beyond a request": func(c *Config) { c.MaxBlockBytes = MaxRequestSize + 1 },
	} {
		bad := needed
		change(&bad)
		if _, err := bad.withDefaults(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
