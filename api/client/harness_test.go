package client_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
)

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// profile names the cluster's nodes; state is a file name in a folder of the test, "" = none.
func profile(t testing.TB, c *fakecluster.Cluster, state string) client.Profile {
	t.Helper()
	p := client.Profile{Origin: fakecluster.Origin, Policy: c.WritePolicy()}
	if state != "" {
		p.State = filepath.Join(t.TempDir(), state)
	}
	for _, n := range c.Nodes {
		p.Endpoints = append(p.Endpoints, client.Endpoint{Name: n.Name, Address: n.Address})
	}
	return p
}

func connect(t testing.TB, p client.Profile, opts ...client.Option) *client.Client {
	t.Helper()
	opts = append([]client.Option{client.WithCredentials(fakecluster.Principal, fakecluster.Insecure)}, opts...)
	c, err := client.Dial(t.Context(), p, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

func start(t testing.TB, n int, opts ...client.Option) (*fakecluster.Cluster, *client.Client) {
	t.Helper()
	cluster := fakecluster.New(t, n, fakecluster.Options{})
	return cluster, connect(t, profile(t, cluster, ""), opts...)
}

func entry(key, payload string) client.Entry {
	return client.Entry{Key: []byte(key), Payload: []byte(payload)}
}

func mustAppend(t testing.TB, c *client.Client, e client.Entry, opts ...client.AppendOption) client.Appended {
	t.Helper()
	a, err := c.Append(within(t), e, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// fill appends entries "0" to "n-1" and returns when they are there.
func fill(t testing.TB, c *client.Client, n int) {
	t.Helper()
	var entries []client.Entry
	for i := range n {
		entries = append(entries, client.Entry{Payload: fmt.Append(nil, i)})
	}
	if _, err := c.AppendBatch(within(t), entries); err != nil {
		t.Fatal(err)
	}
}

func wantError(t testing.TB, err error, reason string, definite bool) *client.Error {
	t.Helper()
	var e *client.Error
	if !errors.As(err, &e) || e.Reason != reason || client.IsDefinite(err) != definite {
		t.Fatalf("got error %v, want reason %s, definite = %v", err, reason, definite)
	}
	return e
}

// justNow reports whether a time is of this test.
func justNow(at time.Time) bool { return time.Since(at).Abs() < 10*time.Minute }

func size(t testing.TB, n *fakecluster.Node) uint64 {
	t.Helper()
	return n.Ledger().Head().Size
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never happened that %s", what)
		}
	}
}
