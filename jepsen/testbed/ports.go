package testbed

import (
	"math/rand/v2"
	"net"
	"strconv"

	"github.com/cockroachdb/errors"
)

// A proxy closes its port while its target is dead and opens it again later. Ports
// below 32768 are not given to outgoing connections meanwhile.
const firstPort, lastPort = 20000, 32000

// listenLow listens at a free loopback port below the ephemeral ones, but at none of
// the addresses to avoid: nodes that have not started yet will need those.
func listenLow(avoid map[string]bool) (net.Listener, error) {
	start := rand.IntN(lastPort - firstPort)
	for i := range lastPort - firstPort {
		port := firstPort + (start+i)%(lastPort-firstPort)
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if avoid[addr] {
			continue
		}
		ln, err := net.Listen("tcp", addr)
		if err == nil {
			return ln, nil
		}
	}
	return nil, errors.Newf("find a free port between %d and %d", firstPort, lastPort)
}
