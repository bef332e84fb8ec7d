package local

import (
	"math/rand/v2"
	"net"
	"strconv"

	"github.com/cockroachdb/errors"
)

// Ports are drawn from below 32768, where Linux and macOS do not take ports for
// outgoing connections: otherwise a stopped node might find its port in use.
const (
	firstPort = 20000
	lastPort  = 32000
)

// freePorts returns n loopback addresses nobody listens on. All stay open until
// all are found, so that they differ.
func freePorts(n int) ([]string, error) {
	var (
		open  []net.Listener
		addrs []string
	)
	defer func() {
		for _, l := range open {
			_ = l.Close()
		}
	}()
	for tries := 0; len(addrs) < n; tries++ {
		if tries > 100*n+1000 {
			return nil, errors.Newf("find %d free ports between %d and %d", n, firstPort, lastPort)
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort)))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		open, addrs = append(open, l), append(addrs, addr)
	}
	return addrs, nil
}
