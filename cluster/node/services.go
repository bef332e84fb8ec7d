package node

import (
	"context"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/api/web"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// services are what clients reach: gRPC over LPA/1, and plain HTTP.
type services struct {
	node  *node
	grpc  *server.Server
	http  *http.Server
	probe *http.Server // nil without listen.probe
	wg    sync.WaitGroup
	quit  chan struct{}
	once  sync.Once
}

// serve starts the services on their listeners.
func (n *node) serve(l *listeners) (*services, error) {
	s := &services{node: n, quit: make(chan struct{})}
	var err error
	s.grpc, err = server.New(server.Config{
		Ledger: n.hosting.backend, Ledgers: n.hosting.backends, Learning: n.hosting.learning, Halted: n.hosting.halted, Directory: n.hosting, Members: memberAdmin{n}, Policy: n.policy, Member: n.peers.isMember,
		Limits:        server.Limits{BlocksBytes: int(n.cfg.Storage.ServeBytes)},
		Credentials:   n.channel.Credentials(func(string) (pki.ID, bool) { return "", false }),
		PageKey:       pageKey(n.keys.log),
		ConnectionAge: connectionAge(n.keys.identity.Leaf().Validity()),
		Stages:        n.stages,
		Metrics:       n.metrics.registry, Access: n.logs.access.call, Logf: n.logf("api"),
	})
	if err != nil {
		return nil, err
	}
	s.run("serve API", func() error { return s.grpc.Serve(l.api) })
	serveHTTP := func(h http.Handler, ln net.Listener) *http.Server {
		server := web.NewServer(h)
		server.ErrorLog = log.New(n.logs.access, "", 0)
		server.ConnState = func(c net.Conn, state http.ConnState) {
			if v := visitorOf(c); v != nil {
				v.busy.Store(state == http.StateActive)
			}
		}
		s.run("serve HTTP", func() error {
			if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
		return server
	}
	pages := web.Config{
		Ledger: n.hosting.page, Learning: n.hosting.learning, Ledgers: n.hosting.pages,
		Ready: s.ready, Metrics: n.metrics.registry, Access: n.logs.access.request,
	}
	s.http = serveHTTP(web.Handler(pages), l.http)
	if l.probe != nil {
		s.probe = serveHTTP(web.Probes(pages), l.probe)
	}
	if n.keys.signer != nil {
		s.wg.Go(func() { n.watchSigner(s.quit) })
	}
	s.wg.Go(func() { n.followMembers(s.quit) })
	s.wg.Add(5)
	go func() {
		defer s.wg.Done()
		n.hosting.scrub(s.quit)
	}()
	go func() {
		defer s.wg.Done()
		n.members.remind(s.quit)
	}()
	go func() {
		defer s.wg.Done()
		n.hosting.keepMarks(s.quit)
	}()
	go func() {
		defer s.wg.Done()
		measureStore(n.dir.sub(ledgerDir), &n.storeBytes, s.quit)
	}()
	go func() {
		defer s.wg.Done()
		s.follow()
	}()
	return s, nil
}

func (s *services) run(what string, f func() error) {
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		if err := f(); err != nil {
			s.node.fail(errors.Wrap(err, what))
		}
	}()
}

// readyTimeout bounds one answer to a readiness probe. It is shorter than the second
// that probes commonly wait: an answer tells more than none.
const readyTimeout = 700 * time.Millisecond

// ready says whether the node can serve: all members have met, its ledgers have leaders, and it can
// confirm a read with a quorum. What is missing is said at once, instead of waited for.
func (s *services) ready() error {
	select {
	case <-s.quit:
		return server.ErrStopped
	default:
	}
	if err := s.node.members.obstacle(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	return s.node.hosting.obstacle(ctx)
}

// follow keeps grpc.health.v1 in step with readiness.
func (s *services) follow() {
	serving := false
	for {
		if now := s.ready() == nil; now != serving {
			serving = now
			s.grpc.SetServing(now)
		}
		wait := 2 * time.Second
		if !serving {
			wait = 50 * time.Millisecond
		}
		select {
		case <-s.quit:
			return
		case <-time.After(wait):
		}
	}
}

// drain tells health checks that the node is going.
func (s *services) drain() {
	s.once.Do(func() { close(s.quit) })
	s.grpc.SetServing(false)
}

// stop ends all calls and waits for them.
func (s *services) stop(ctx context.Context) error {
	s.drain()
	s.grpc.Stop(ctx)
	var err error
	for _, server := range []*http.Server{s.http, s.probe} {
		if server != nil && server.Shutdown(ctx) != nil {
			err = errors.CombineErrors(err, server.Close())
		}
	}
	s.wg.Wait()
	return err
}
