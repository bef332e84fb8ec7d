package lpa

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"

	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// wiretap keeps everything that passes over a connection, in both directions.
type wiretap struct {
	net.Conn
	mu   sync.Mutex
	seen []byte
}

func (w *wiretap) keep(b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, b...)
}

func (w *wiretap) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	w.keep(b[:n])
	return n, err
}

func (w *wiretap) Write(b []byte) (int, error) {
	w.keep(b)
	return w.Conn.Write(b)
}

// TestThiefOfKEMKey holds a node's ML-KEM key and its public certificates, and no other key of the
// node's. The thief can pose as that server. He cannot pose as the node where it is the client, nor
// read what was recorded: the handshake that the stolen key takes part in is itself inside TLS,
// whose keys do not depend on the stolen key.
func TestThiefOfKEMKey(t *testing.T) {
	t.Parallel()
	bothSuites(t, func(t *testing.T, w *world) {
		honest, err := w.config(w.n1).prepare()
		if err != nil {
			t.Fatal(err)
		}
		// A server's side uses no signing key.
		posing := w.config(w.n1)
		loot := *honest
		loot.identity = &pki.Identity{Chain: w.n1.Chain, KEMChain: w.n1.KEMChain, KEMKey: w.n1.KEMKey}
		posing.prepared.Store(&loot)
		cc, _, cerr, serr := shake(t, w.config(w.client), nodeOne, posing)
		if cerr != nil || serr != nil || cc.Peer().ID != nodeOne {
			t.Errorf("the thief does not pass as the server, docs/threat-model.md says that he does: %v, %v", cerr, serr)
		}

		own := must(pqcrypto.GenerateSigningKey(w.suite.sig))
		dialling := *honest
		dialling.identity = &pki.Identity{Chain: w.n1.Chain, Key: own, KEMChain: w.n1.KEMChain, KEMKey: w.n1.KEMKey}
		evil := &evilClient{cfg: w.config(w.n1), local: &dialling, server: nodeTwo}
		wantReason(t, attackServer(t, w.config(w.n2), evil.attack(t)), ReasonSignature)

		craw, sraw := tcpPair(t)
		tap := &wiretap{Conn: craw}
		accepted := make(chan *Conn, 1)
		go func() {
			conn, err := w.config(w.n1).Server(context.Background(), sraw)
			if err != nil {
				t.Errorf("the recorded handshake failed: %v", err)
			}
			accepted <- conn
		}()
		conn, err := w.config(w.client).Client(context.Background(), tap, nodeOne)
		server := <-accepted
		if err != nil || server == nil {
			t.Fatalf("the recorded handshake failed: %v", err)
		}
		secret := []byte("a payload that nobody else may read")
		if _, err := conn.Write(secret); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(secret))
		if _, err := server.Read(got); err != nil || !bytes.Equal(got, secret) {
			t.Fatalf("read %q, %v", got, err)
		}
		_ = conn.Close()
		_ = server.Close()
		tap.mu.Lock()
		defer tap.mu.Unlock()
		for what, b := range map[string][]byte{
			"the payload":                      secret,
			"the server's certificates":        w.n1.KEMChain[0].Raw[:64],
			"the client's certificate":         w.client.Chain[0].Raw[:64],
			"the first frame of the handshake": honest.m1[:64],
		} {
			if bytes.Contains(tap.seen, b) {
				t.Errorf("%s can be read in what was recorded", what)
			}
		}
	})
}
