package lpa

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/cairnledger/cairn/pqcrypto/pki"
)

func TestHandshakeAuthenticatesBothEnds(t *testing.T) {
	t.Parallel()
	bothSuites(t, func(t *testing.T, w *world) {
		cc, sc, cerr, serr := shake(t, w.config(w.client), nodeOne, w.config(w.n1))
		if cerr != nil || serr != nil {
			t.Fatalf("client: %v, server: %v", cerr, serr)
		}
		if got := sc.Peer(); got.ID != service || got.Roles != pki.RoleWriter {
			t.Errorf("server sees %s with roles %s, want %s with writer", got.ID, got.Roles, service)
		}
		if got := cc.Peer(); got.ID != nodeOne || got.Roles != pki.RolePeer || got.IsKEM {
			t.Errorf("client sees %s with roles %s (KEM certificate: %v), want the identity of %s with peer", got.ID, got.Roles, got.IsKEM, nodeOne)
		}
		if cc.ChannelID() != sc.ChannelID() || cc.ChannelID() == [32]byte{} {
			t.Errorf("channel ids are %x and %x, want the same one on both ends", cc.ChannelID(), sc.ChannelID())
		}
		for _, pair := range [][2]*Conn{{cc, sc}, {sc, cc}} {
			sent := bytes.Repeat([]byte("entry "), 20000)
			go func() { _, _ = pair[0].Write(sent) }()
			got := make([]byte, len(sent))
			if _, err := io.ReadFull(pair[1], got); err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("application bytes did not arrive: %v", err)
			}
		}
		other, _, cerr, serr := shake(t, w.config(w.client), nodeOne, w.config(w.n1))
		if cerr != nil || serr != nil {
			t.Fatalf("client: %v, server: %v", cerr, serr)
		}
		if other.ChannelID() == cc.ChannelID() {
			t.Error("two connections have the same channel id")
		}
	})
}

func TestNodesDialEachOther(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	_, sc, cerr, serr := shake(t, w.config(w.n2), nodeOne, w.config(w.n1))
	if cerr != nil || serr != nil {
		t.Fatalf("client: %v, server: %v", cerr, serr)
	}
	if sc.Peer().ID != nodeTwo || !sc.Peer().Roles.Has(pki.RolePeer) {
		t.Errorf("server sees %s with %s, want %s with peer", sc.Peer().ID, sc.Peer().Roles, nodeTwo)
	}
}

func TestLeavesDirectlyBelowTheRoot(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	server := w.config(w.node(w.root, nodeOne, time.Time{}, time.Hour))
	client := w.config(w.principal(w.root, service, w.suite.sig, time.Time{}, time.Hour))
	if _, _, cerr, serr := shake(t, client, nodeOne, server); cerr != nil || serr != nil {
		t.Fatalf("client: %v, server: %v", cerr, serr)
	}
}

func TestRootInAChainFileIsNotSent(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	with := *w.n1
	with.Chain = append(append([]*pki.Certificate(nil), with.Chain...), w.root.Certificate())
	with.KEMChain = append(append([]*pki.Certificate(nil), with.KEMChain...), w.root.Certificate())
	l, err := w.config(&with).prepare()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := w.config(w.n1).prepare()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(l.m1, plain.m1) || len(l.chain) != 2 {
		t.Errorf("M1 has %d bytes and the chain %d certificates, want %d and 2", len(l.m1), len(l.chain), len(plain.m1))
	}
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	w, other := worldOf(Suite768), worldOf(Suite1024)
	twoIssuers := *w.n1
	twoIssuers.KEMChain, twoIssuers.KEMKey = w.companion(w.root, w.n1.Leaf(), w.suite.kem, time.Time{}, time.Hour)
	foreign := *w.n1
	foreign.KEMChain, foreign.KEMKey = w.n2.KEMChain, w.n2.KEMKey
	otherKEM := *w.n1
	otherKEM.KEMChain, otherKEM.KEMKey = w.companion(w.issuing, w.n1.Leaf(), Suite1024.kem, time.Time{}, time.Hour)
	for name, cfg := range map[string]*Config{
		"no suite":                         {Identity: w.n1, Roots: w.pool},
		"no roots":                         {Suite: Suite768, Identity: w.n1},
		"no identity":                      {Suite: Suite768, Roots: w.pool},
		"identity of the other suite":      {Suite: Suite768, Identity: other.n1, Roots: w.pool},
		"KEM key of the other suite":       {Suite: Suite768, Identity: &otherKEM, Roots: w.pool},
		"KEM half of another node":         {Suite: Suite768, Identity: &foreign, Roots: w.pool},
		"two certificates, two issuers":    {Suite: Suite768, Identity: &twoIssuers, Roots: w.pool},
		"KEM key without certificate":      {Suite: Suite768, Identity: &pki.Identity{Chain: w.n1.Chain, Key: w.n1.Key, KEMKey: w.n1.KEMKey}, Roots: w.pool},
		"identity key without certificate": {Suite: Suite768, Identity: &pki.Identity{Key: w.n1.Key}, Roots: w.pool},
	} {
		t.Run(name, func(t *testing.T) {
			wantReason(t, cfg.Validate(), ReasonConfig)
			craw, sraw := tcpPair(t)
			conn, err := cfg.Server(context.Background(), sraw)
			if conn != nil {
				t.Fatal("a broken configuration accepted a connection")
			}
			wantReason(t, err, ReasonConfig)
			wantClosed(t, craw)
		})
	}
	t.Run("client without KEM half accepts", func(t *testing.T) {
		_, sraw := tcpPair(t)
		_, err := w.config(w.client).Server(context.Background(), sraw)
		wantReason(t, err, ReasonConfig)
	})
}

func TestObserveSeesEveryOutcome(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	var mu sync.Mutex
	var events []Event
	observe := func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, e)
	}
	client, server := w.config(w.client), w.config(w.n1)
	client.Observe, server.Observe = observe, observe
	shake(t, client, nodeOne, server)
	shake(t, client, nodeTwo, server)
	type outcome struct {
		side   Side
		reason string
		peer   pki.ID
	}
	got := map[outcome]int{}
	for _, e := range events {
		got[outcome{e.Side, e.Reason, e.Peer}]++
		if e.Suite != Suite768 || e.Remote == nil || e.Duration <= 0 {
			t.Errorf("event %+v lacks suite, address or duration", e)
		}
	}
	for _, want := range []outcome{
		{SideClient, "", nodeOne}, {SideServer, "", service},
		{SideClient, ReasonIdentity, nodeOne}, {SideServer, ReasonClosed, ""},
	} {
		if got[want] != 1 {
			t.Errorf("outcome %+v was reported %d times, want once; all: %v", want, got[want], got)
		}
	}
}

func TestReasonWordsAreStable(t *testing.T) {
	t.Parallel()
	// Metrics and alerts of operators match on these words: adding one is fine, changing one is
	// not.
	for got, want := range map[string]string{
		ReasonConfig: "config", ReasonTimeout: "timeout", ReasonCanceled: "canceled", ReasonClosed: "closed", ReasonTLS: "tls",
		ReasonDowngrade: "downgrade", ReasonFrame: "frame", ReasonCertificate: "certificate", ReasonExpired: "expired",
		ReasonIdentity: "identity", ReasonRelated: "related", ReasonSuite: "suite", ReasonDenied: "denied", ReasonProof: "proof",
		ReasonSignature: "signature", ReasonFinished: "finished", ReasonRefused: "refused",
	} {
		if got != want {
			t.Errorf("reason word is %q, want %q", got, want)
		}
		e := &HandshakeError{Reason: got}
		if temporary := got == ReasonTimeout || got == ReasonCanceled || got == ReasonClosed; e.Temporary() != temporary {
			t.Errorf("reason %q: Temporary() = %v, want %v", got, e.Temporary(), temporary)
		}
	}
}
