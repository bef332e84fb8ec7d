package node

import (
	"log/slog"
	"time"

	"github.com/cairnledger/cairn/cluster/formation"
	"github.com/cairnledger/cairn/raftnode/transport"
)

// SetClock gives the node of a configuration another wall clock; nil is that of the machine.
func SetClock(c *Config, now func() time.Time) { c.now = now }

// SetFeatureLevel makes the node of a configuration one whose program knows this feature level.
func SetFeatureLevel(c *Config, level uint32) { c.featureLevel = level }

// ImpostorTransport returns a transport that speaks for a node, with that node's real keys and
// certificate, for a test that plays the node.
func ImpostorTransport(c Config, now func() time.Time) (*transport.Transport, error) {
	n, err := prepare(c, &logs{log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	id, err := n.cfg.identity()
	if err != nil {
		return nil, err
	}
	state := formation.New(id.cluster, id.node, transport.Incarnation{1}, n.cfg.formationMembers())
	return transport.New(transport.Config{
		Self: n.cfg.Self().ID, Peers: n.nodes().addresses(), Dial: n.peers.dial, Accept: n.peers.accept, Now: now,
		Membership: newMembership(n, state, func([]byte) error { return nil }),
	}), nil
}

// Prepared is a node that has read its configuration and its keys, and does not run.
type Prepared struct{ node *node }

// Prepare reads what a configuration names.
func Prepare(c Config) (*Prepared, error) {
	n, err := prepare(c, nil)
	return &Prepared{n}, err
}

// Reload is what SIGHUP does.
func (p *Prepared) Reload() error { return p.node.tryReload() }

// InForce is what a reload can change.
type InForce struct {
	Serial    string // of the node's certificate
	Denied    int
	Level     string
	AllAccess bool
}

// InForce returns what the node goes by now.
func (p *Prepared) InForce() InForce {
	return InForce{
		Serial: serialOf(p.node.channel.Current().Leaf()), Denied: p.node.deny.list.Load().size(),
		Level: p.node.logs.level.Level().String(), AllAccess: p.node.logs.access.all.Load(),
	}
}
