//go:build unix

package cluster_test

import (
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairnledger/cairn/cluster/node"
)

// TestPipesAreRefused: a pipe in the place of any file that the configuration names, and of
// node.yaml itself, is refused. Whoever opened it would wait for a writer, at a start and, worse,
// at a reload.
func TestPipesAreRefused(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	refuses := func(what string, read func() error) {
		t.Helper()
		done := make(chan error, 1)
		go func() { done <- read() }()
		select {
		case err := <-done:
			if err == nil || !strings.Contains(err.Error(), "not a regular file") {
				t.Errorf("%s: %v, want that it is not a regular file", what, err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: whoever reads it waits", what)
		}
	}
	refuses("node.yaml", func() error { _, err := node.LoadConfig(pipe); return err })
	cluster := startCluster(t, 1)
	name := cluster.Names()[0]
	keys := reflect.TypeFor[node.Keys]()
	for i := range keys.NumField() {
		c := nodeConfig(t, cluster, name)
		field := reflect.ValueOf(&c.Keys).Elem().Field(i)
		if field.Kind() != reflect.String || strings.HasPrefix(keys.Field(i).Name, "Signer") { // a socket, which nobody opens, and its keys
			continue
		}
		field.SetString(pipe)
		refuses("keys."+keys.Field(i).Name, func() error { return node.Check(c) })
	}
	c := nodeConfig(t, cluster, name)
	c.Policy = pipe
	refuses("policy", func() error { return node.Check(c) })
}
