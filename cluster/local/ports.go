package local

import (
	"net"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/cockroachdb/errors"
)

// Ports are drawn from below 32768, where Linux and macOS do not take ports for
// outgoing connections: otherwise a stopped node might find its port in use.
const (
	firstPort = 20000
	lastPort  = 32000
)

// blockPorts keeps processes that look for ports at the same time apart: each
// starts at a place of its own, so that they do not pick the same ones before
// their nodes listen.
const blockPorts = 64

// drawn counts the ports that this process has tried.
var drawn atomic.Uint64

func nextPort() int {
	n := uint64(os.Getpid())*blockPorts + drawn.Add(1)
	return firstPort + int(n%(lastPort-firstPort))
}

// freePorts returns n loopback addresses nobody listens on, and does not return
// one twice before it has tried all.
func freePorts(n int) ([]string, error) {
	var addrs []string
	for tries := 0; len(addrs) < n; tries++ {
		if tries > lastPort-firstPort {
			return nil, errors.Newf("find %d free ports between %d and %d", n, firstPort, lastPort)
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(nextPort()))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return nil, errors.Wrap(err, "look for free ports")
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}
