package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// keys is how many keys there are to put and get.
const keys = 10_000

// etcdCluster is three etcd processes on loopback.
type etcdCluster struct {
	nodes     []*exec.Cmd
	endpoints []string
}

func startEtcd(ctx context.Context, bin, dir string) (*etcdCluster, error) {
	const n = 3
	ports, err := freePorts(2 * n)
	if err != nil {
		return nil, err
	}
	c := &etcdCluster{}
	var initial []string
	for i := range n {
		c.endpoints = append(c.endpoints, fmt.Sprintf("http://127.0.0.1:%d", ports[2*i]))
		initial = append(initial, fmt.Sprintf("n%d=http://127.0.0.1:%d", i, ports[2*i+1]))
	}
	for i := range n {
		peer := strings.SplitN(initial[i], "=", 2)[1]
		cmd := exec.CommandContext(ctx, bin, "--name", fmt.Sprint("n", i), "--data-dir", filepath.Join(dir, fmt.Sprint("n", i)),
			"--listen-client-urls", c.endpoints[i], "--advertise-client-urls", c.endpoints[i],
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", strings.Join(initial, ","), "--log-level", "panic", "--quota-backend-bytes", "8589934592")
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			c.stop()
			return nil, fmt.Errorf("start etcd: %w", err)
		}
		c.nodes = append(c.nodes, cmd)
	}
	return c, nil
}

// stop ends the nodes and returns the processor time that they took.
func (c *etcdCluster) stop() (cpu time.Duration) {
	for _, n := range c.nodes {
		_ = n.Process.Signal(syscall.SIGTERM)
	}
	for _, n := range c.nodes {
		_ = n.Wait() // it ends by the signal
		cpu += n.ProcessState.UserTime() + n.ProcessState.SystemTime()
	}
	return cpu
}

func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// runEtcd measures one load on a cluster that is made for it.
func runEtcd(ctx context.Context, dir string, b binaries, l load, duration time.Duration, size int) (f figures, err error) {
	data, err := os.MkdirTemp(dir, "etcd-")
	if err != nil {
		return f, err
	}
	defer os.RemoveAll(data)
	own := selfCPU()
	cluster, err := startEtcd(ctx, b.etcd, data)
	if err != nil {
		return f, err
	}
	var total *hdrhistogram.Histogram
	var failed int64
	total, failed, err = loadEtcd(ctx, cluster.endpoints, l, duration, size)
	cpu := cluster.stop() + selfCPU() - own
	if err != nil {
		return f, err
	}
	n := total.TotalCount()
	if n == 0 {
		return f, errors.New("etcd answered nothing")
	}
	ms := func(us int64) float64 { return float64(us) / 1000 }
	return figures{System: "etcd", Rate: float64(n) / duration.Seconds(), P50: ms(total.ValueAtPercentile(50)), P99: ms(total.ValueAtPercentile(99)),
		P999: ms(total.ValueAtPercentile(99.9)), Max: ms(total.Max()), CPU: cpu.Seconds() / float64(n) * 1e6, Errors: failed}, nil
}

func selfCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func loadEtcd(ctx context.Context, endpoints []string, l load, duration time.Duration, size int) (*hdrhistogram.Histogram, int64, error) {
	var conns []*clientv3.Client
	for range l.connections {
		c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
		if err != nil {
			return nil, 0, fmt.Errorf("connect to etcd: %w", err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	// Puts go to the leader, as those of a client that knows it, and reads to every node.
	if err := waitForLeader(ctx, conns, l.op == "put"); err != nil {
		return nil, 0, err
	}
	if l.op != "put" {
		for k := range keys {
			if _, err := conns[0].Put(ctx, key(k), value(size)); err != nil {
				return nil, 0, fmt.Errorf("put what is to be read: %w", err)
			}
		}
	}
	begin := time.Now().Add(2 * time.Second)
	end := begin.Add(duration)
	var wg sync.WaitGroup
	histograms := make([]*hdrhistogram.Histogram, l.clients)
	failures := make([]int64, l.clients)
	for i := range l.clients {
		h := hdrhistogram.New(1, time.Minute.Microseconds(), 3)
		histograms[i] = h
		c := conns[i%len(conns)]
		wg.Go(func() {
			v := value(size)
			for ctx.Err() == nil {
				start := time.Now()
				if start.After(end) {
					return
				}
				var err error
				switch k := key(mathrand.IntN(keys)); l.op {
				case "put":
					_, err = c.Put(ctx, k, v)
				case "get":
					_, err = c.Get(ctx, k)
				case "stale":
					_, err = c.Get(ctx, k, clientv3.WithSerializable())
				}
				now := time.Now()
				switch {
				case err != nil:
					failures[i]++
				case now.After(begin) && now.Before(end):
					_ = h.RecordValue(max(1, now.Sub(start).Microseconds()))
				}
			}
		})
	}
	wg.Wait()
	total := hdrhistogram.New(1, time.Minute.Microseconds(), 3)
	var failed int64
	for i := range histograms {
		total.Merge(histograms[i])
		failed += failures[i]
	}
	return total, failed, ctx.Err()
}

// waitForLeader waits until the cluster answers, and lets the connections end at the leader if they
// are to.
func waitForLeader(ctx context.Context, conns []*clientv3.Client, only bool) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		for _, endpoint := range conns[0].Endpoints() {
			s, err := conns[0].Status(ctx, endpoint)
			if err != nil || s.Leader == 0 || s.Leader != s.Header.MemberId {
				continue
			}
			if only {
				for _, c := range conns {
					c.SetEndpoints(endpoint)
				}
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("etcd has no leader after 30 s")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func key(k int) string { return fmt.Sprintf("key-%016d", k) }

func value(size int) string {
	b := make([]byte, size)
	var seed [32]byte
	_, _ = rand.Read(seed[:]) // it never fails
	r := mathrand.NewChaCha8(seed)
	for at := 0; at+8 <= size; at += 8 {
		binary.LittleEndian.PutUint64(b[at:], r.Uint64())
	}
	return string(b)
}
