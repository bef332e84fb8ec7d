package local

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/ledger"
)

const (
	pollEvery    = 10 * time.Millisecond
	probeTimeout = 2 * time.Second
	logTailBytes = 2 << 10
)

// waitUp waits until the named nodes, which have just been started, are ready.
// Without a quorum of processes no node can get ready: then live is enough.
func (c *Cluster) waitUp(ctx context.Context, names []string) error {
	running := 0
	for _, n := range c.state.Nodes {
		if f, err := c.process(n.Name).find(); err == nil {
			_ = f.handle.Release()
			if f.state == procRunning {
				running++
			}
		}
	}
	path, quorum := "/readyz", running > len(c.state.Nodes)/2
	if !quorum {
		path = "/livez"
	}
	hc := newHTTPClient()
	defer hc.CloseIdleConnections()
	for _, name := range names {
		n, err := c.Node(name)
		if err != nil {
			return err
		}
		if err := c.waitHTTP(ctx, hc, n, path); err != nil {
			return err
		}
	}
	if !quorum {
		return nil
	}
	return c.found(ctx)
}

// found creates the ledger that the cluster is created with, unless the directory is known to list
// it. It can be repeated: a ledger is created once.
func (c *Cluster) found(ctx context.Context) error {
	c.mu.Lock()
	founded := c.mu.founded
	c.mu.Unlock()
	if founded {
		return nil
	}
	// The calls name the directory: there is no other ledger yet.
	cl, err := c.DialLedger(ctx, c.Directory(), "admin")
	if err != nil {
		return err
	}
	defer cl.Close()
	if _, _, err := cl.CreateLedger(ctx, c.Origin(), ledger.Log{}.Name()); err != nil {
		return errors.Wrapf(err, "create the ledger %s", c.Origin())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.founded = true
	s := c.state
	s.Founded = true
	return s.write(c.dir)
}

func newHTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{Proxy: nil, MaxIdleConnsPerHost: 1}}
}

// maxReason bounds what is read of the reason that a node gives for not being ready.
const maxReason = 1 << 10

// ask makes one request. status is the status line with the reason that the node gives, or "" if
// there was no answer in time.
func ask(ctx context.Context, hc *http.Client, url string, patience time.Duration) (ok bool, status string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, "", errors.Wrap(err, "make request")
	}
	resp, err := hc.Do(req)
	if err != nil {
		return false, "", nil
	}
	defer resp.Body.Close()
	why, _ := io.ReadAll(io.LimitReader(resp.Body, maxReason)) // what is read is enough
	return resp.StatusCode == http.StatusOK, strings.TrimSpace(resp.Status + ": " + string(why)), nil
}

// waitHTTP asks a node again and again until it answers a path with 200.
func (c *Cluster) waitHTTP(ctx context.Context, hc *http.Client, n NodeInfo, path string) error {
	last := "no answer"
	// A node that has just started may hold an early question until it knows a
	// leader, or lose it: ask anew after a short while, with growing patience.
	for patience := 200 * time.Millisecond; ; patience = min(2*patience, probeTimeout) {
		ok, status, err := ask(ctx, hc, n.HTTPURL()+path, patience)
		if err != nil {
			return err
		}
		if ok {
			return nil
		}
		if status != "" {
			last = status
		}
		if c.exited(n.Name) {
			return errors.Newf("%s ended while starting; the end of its log (%s):\n%s",
				n.Name, c.LogPath(n.Name), strings.TrimSpace(c.process(n.Name).tail(logTailBytes)))
		}
		select {
		case <-ctx.Done():
			return errors.Wrapf(ctx.Err(), "wait for %s (%s says %s; its log is %s)", n.Name, path, last, c.LogPath(n.Name))
		case <-time.After(pollEvery):
		}
	}
}

// NodeStatus is what is known about one node.
type NodeStatus struct {
	NodeInfo
	Process string // running, paused, stopped
	PID     int    // 0 if stopped
	// Status is the node's own word; nil if it did not answer, and then Err
	// says why.
	Status *cairnv1.StatusResponse
	Err    error
}

// Status asks every node that runs.
func (c *Cluster) Status(ctx context.Context) ([]NodeStatus, error) {
	all, _, err := c.ask(ctx, false)
	return all, err
}

// StatusAndRoots asks every node that runs, and compares the roots of those that answer.
func (c *Cluster) StatusAndRoots(ctx context.Context) ([]NodeStatus, client.RootComparison, error) {
	return c.ask(ctx, true)
}

func (c *Cluster) ask(ctx context.Context, roots bool) (_ []NodeStatus, cmp client.RootComparison, _ error) {
	var all []NodeStatus
	answering := false
	for _, n := range c.state.Nodes {
		s := NodeStatus{NodeInfo: n, Process: "stopped"}
		f, err := c.process(n.Name).find()
		switch {
		case errors.Is(err, ErrNotRunning):
		case err != nil:
			return nil, cmp, err
		default:
			_ = f.handle.Release()
			s.PID, s.Process = f.id.PID, "running"
			if f.state == procPaused {
				s.Process = "paused"
			}
		}
		answering = answering || s.Process == "running"
		all = append(all, s)
	}
	if !answering {
		return all, cmp, nil
	}
	cl, err := c.Dial(ctx, "admin")
	if err != nil {
		return nil, cmp, err
	}
	defer cl.Close()
	done := make(chan int, len(all))
	for i := range all {
		go func() {
			defer func() { done <- i }()
			if all[i].Process != "running" {
				return
			}
			ctx, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			st, err := cl.Status(ctx, all[i].Name)
			if err != nil {
				all[i].Err = err
				return
			}
			all[i].Status = st
		}()
	}
	for range all {
		<-done
	}
	if roots {
		answers := map[string]*cairnv1.StatusResponse{}
		for _, s := range all {
			if s.Status != nil {
				answers[s.Name] = s.Status
			}
		}
		cmp = cl.CompareRoots(ctx, answers)
	}
	return all, cmp, nil
}

// Dial returns a client of the ledger that the cluster is created with, with the named profile. It
// keeps no state file.
func (c *Cluster) Dial(ctx context.Context, role string, opts ...client.Option) (*client.Client, error) {
	return c.DialLedger(ctx, c.Origin(), role, opts...)
}

// DialLedger is Dial for any ledger of the cluster.
func (c *Cluster) DialLedger(ctx context.Context, origin, role string, opts ...client.Option) (*client.Client, error) {
	p, err := client.LoadProfile(c.Profile(role))
	if err != nil {
		return nil, err
	}
	p = p.ForLedger(origin)
	p.State = ""
	return client.Dial(ctx, p, opts...)
}

// ErrNoLeader says that no node that answers claims to lead.
var ErrNoLeader = errors.New("no leader")

// Leader returns the name of the node that leads: of those that claim it, the
// one with the highest term. It waits for an election to end, within ctx.
func (c *Cluster) Leader(ctx context.Context) (string, error) {
	for {
		all, err := c.Status(ctx)
		if err != nil {
			return "", err
		}
		leader, term := "", uint64(0)
		for _, s := range all {
			if s.Status != nil && s.Status.Role == "leader" && s.Status.Term > term {
				leader, term = s.Name, s.Status.Term
			}
		}
		if leader != "" {
			return leader, nil
		}
		select {
		case <-ctx.Done():
			return "", errors.Wrap(ErrNoLeader, fmt.Sprintf("among %s", strings.Join(c.Names(), ", ")))
		case <-time.After(pollEvery):
		}
	}
}
