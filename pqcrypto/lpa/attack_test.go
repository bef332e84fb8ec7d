package lpa

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"testing"

	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/internal/kat"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

func TestWrongServerIdentity(t *testing.T) {
	t.Parallel()
	bothSuites(t, func(t *testing.T, w *world) {
		cc, sc, cerr, serr := shake(t, w.config(w.client), nodeTwo, w.config(w.n1))
		if cc != nil || sc != nil {
			t.Fatal("a connection to the wrong server came up")
		}
		if h := wantReason(t, cerr, ReasonIdentity); h.Peer != nodeOne {
			t.Errorf("the error names %q, want %s", h.Peer, nodeOne)
		}
		wantReason(t, serr, ReasonClosed)
	})
}

// TestTerminatingMITM puts a TLS-terminating proxy, which forwards the frames unchanged, between an
// honest client and an honest server.
func TestTerminatingMITM(t *testing.T) {
	t.Parallel()
	bothSuites(t, func(t *testing.T, w *world) {
		victim, left := tcpPair(t)
		right, server := tcpPair(t)
		go func() {
			down, _, err := w.suite.outerServer(left)
			if err != nil {
				t.Errorf("mitm: %v", err)
				return
			}
			up, _, err := w.suite.outerClient(right)
			if err != nil {
				t.Errorf("mitm: %v", err)
				return
			}
			go func() { _, _ = io.Copy(up, down); _ = up.Close() }()
			_, _ = io.Copy(down, up)
			_ = down.Close()
		}()
		failed := make(chan error, 1)
		go func() {
			_, err := w.config(w.n1).Server(context.Background(), server)
			failed <- err
		}()
		conn, err := w.config(w.client).Client(context.Background(), victim, nodeOne)
		if conn != nil {
			t.Fatal("the client accepted a server behind a man in the middle")
		}
		wantReason(t, err, ReasonClosed)
		wantReason(t, <-failed, ReasonProof)
	})
}

// TestRelayByMemberWithItsOwnCertificate lets the client dial a legitimate node n2, which opens the
// proof with its own key and passes the client's chain and signature on to n1, resealed so that n1
// can open it.
func TestRelayByMemberWithItsOwnCertificate(t *testing.T) {
	t.Parallel()
	bothSuites(t, func(t *testing.T, w *world) {
		victim, left := tcpPair(t)
		stolen := make(chan *clientProof, 1)
		go func() {
			stream, ekm, err := w.suite.outerServer(left)
			if err != nil {
				t.Errorf("member: %v", err)
				return
			}
			l, _ := w.config(w.n2).prepare()
			_, _ = stream.Write(l.m1)
			m2, err := readFrame(stream, typeClientProof, maxProofFrame)
			if err != nil {
				t.Errorf("member: %v", err)
				return
			}
			ct, sealed, _ := splitClientProof(w.suite, m2[frameHeader:])
			ss, _ := l.identity.KEMKey.Decapsulate(ct)
			keys, _ := newSchedule(w.suite, ekm, ss, l.m1, ct)
			plaintext, err := keys.open(sealed)
			if err != nil {
				t.Errorf("member: the proof made for it does not open: %v", err)
				return
			}
			proof, _ := parseClientProof(w.suite, plaintext)
			stolen <- proof
			_ = stream.Close()
		}()
		if _, err := w.config(w.client).Client(context.Background(), victim, nodeTwo); err == nil {
			t.Fatal("the client accepted a server that never answered")
		}
		proof := <-stolen
		evil := &evilClient{cfg: w.config(w.n2), server: nodeOne, m2: func(h *clientHalf, m1, m2 []byte) []byte {
			ct, _, _ := splitClientProof(w.suite, m2[frameHeader:])
			resealed := h.keys.seal(append(bytes.Clone(proof.encoded), proof.signature...))
			return must(newFrame(typeClientProof, maxProofFrame, append(bytes.Clone(ct), resealed...)))
		}}
		h := wantReason(t, attackServer(t, w.config(w.n1), evil.attack(t)), ReasonSignature)
		if h.Peer != service {
			t.Errorf("the refusal is about %q, want the relayed %s", h.Peer, service)
		}
	})
}

// TestMemberAnswersForAnother lets n2 forward n1's M1 while holding only its own key.
func TestMemberAnswersForAnother(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	n1, err := w.config(w.n1).prepare()
	if err != nil {
		t.Fatal(err)
	}
	evil := func(raw net.Conn) *tls.Conn {
		stream, ekm, err := w.suite.outerServer(raw)
		if err != nil {
			t.Errorf("attacker: %v", err)
			return nil
		}
		_, _ = stream.Write(n1.m1)
		m2, err := readFrame(stream, typeClientProof, maxProofFrame)
		if err != nil {
			t.Errorf("attacker: %v", err)
			return stream
		}
		// It cannot open the proof, so all it can do is to guess: the keys that its own
		// decapsulation gives.
		ct, _, _ := splitClientProof(w.suite, m2[frameHeader:])
		ss, _ := w.n2.KEMKey.Decapsulate(ct)
		keys, _ := newSchedule(w.suite, ekm, ss, n1.m1, ct)
		m3 := serverFinished{status: statusAccepted, mac: keys.finishedMAC(m2, statusAccepted)}
		_, _ = stream.Write(must(newFrame(typeServerFinished, maxFinishedFrame, m3.marshal())))
		return stream
	}
	wantReason(t, attackClient(t, w.config(w.client), nodeOne, evil), ReasonFinished)
}

func TestReplayOnAnotherConnection(t *testing.T) {
	t.Parallel()
	bothSuites(t, func(t *testing.T, w *world) {
		var m2 []byte
		record := &evilClient{cfg: w.config(w.client), server: nodeOne,
			m2: func(_ *clientHalf, _, frame []byte) []byte { m2 = bytes.Clone(frame); return frame },
		}
		craw, sraw := tcpPair(t)
		recorded := make(chan struct{})
		go func() { defer close(recorded); record.attack(t)(craw) }()
		conn, err := w.config(w.n1).Server(context.Background(), sraw)
		if err != nil {
			t.Fatalf("the recorded handshake failed: %v", err)
		}
		defer func() { _ = conn.Close() }()
		<-recorded

		replay := &evilClient{cfg: w.config(w.client), server: nodeOne, m2: func(*clientHalf, []byte, []byte) []byte { return m2 }}
		wantReason(t, attackServer(t, w.config(w.n1), replay.attack(t)), ReasonProof)

		ctOnly := &evilClient{cfg: w.config(w.client), server: nodeOne, m2: func(_ *clientHalf, _, fresh []byte) []byte {
			return append(bytes.Clone(m2[:frameHeader+w.suite.ctSize]), fresh[frameHeader+w.suite.ctSize:]...)
		}}
		wantReason(t, attackServer(t, w.config(w.n1), ctOnly.attack(t)), ReasonProof)
	})
}

func TestReplayedFinished(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	var old []byte
	record := &evilServer{cfg: w.config(w.n1), m3: func(_ *serverHalf, _, m3 []byte) []byte {
		old = bytes.Clone(m3)
		m3[len(m3)-1] ^= 1
		return m3
	}}
	wantReason(t, attackClient(t, w.config(w.client), nodeOne, record.attack(t)), ReasonFinished)
	replay := &evilServer{cfg: w.config(w.n1), m3: func(*serverHalf, []byte, []byte) []byte { return old }}
	wantReason(t, attackClient(t, w.config(w.client), nodeOne, replay.attack(t)), ReasonFinished)
}

func TestCiphertexts(t *testing.T) {
	t.Parallel()
	bothSuites(t, func(t *testing.T, w *world) {
		n := w.suite.ctSize
		for name, edit := range map[string]func(body []byte) []byte{
			"all zero":        func(b []byte) []byte { clear(b[:n]); return b },
			"all ones":        func(b []byte) []byte { copy(b, bytes.Repeat([]byte{0xff}, n)); return b },
			"one byte less":   func(b []byte) []byte { return b[1:] },
			"one byte more":   func(b []byte) []byte { return append([]byte{0}, b...) },
			"ciphertext only": func(b []byte) []byte { return b[:n] },
			"half of it":      func(b []byte) []byte { return b[:n/2] },
		} {
			t.Run(name, func(t *testing.T) {
				evil := &evilClient{cfg: w.config(w.client), server: nodeOne, m2: func(_ *clientHalf, _, m2 []byte) []byte {
					return must(newFrame(typeClientProof, maxProofFrame, edit(bytes.Clone(m2[frameHeader:]))))
				}}
				wantReason(t, attackServer(t, w.config(w.n1), evil.attack(t)), ReasonProof, ReasonFrame)
			})
		}
	})
}

// TestSignaturesOfOtherKinds replaces sig_C by signatures that the same key made, or could have
// made, for something else.
func TestSignaturesOfOtherKinds(t *testing.T) {
	t.Parallel()
	bothSuites(t, func(t *testing.T, w *world) {
		key := w.client.Key
		note := []byte("ledger.example/log\n42\n" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + "\n")
		for name, sign := range map[string]func(tbs []byte) []byte{
			"empty context, as in X.509": func(tbs []byte) []byte { return must(key.SignStandard(tbs)) },
			"context of the server":      func(tbs []byte) []byte { return must(kat.Sign(key, []byte(pqcrypto.ContextLPAServerAuth), tbs)) },
			"context of another version": func(tbs []byte) []byte { return must(kat.Sign(key, []byte("ledger-lpa2 client auth"), tbs)) },
			"signature of a checkpoint":  func([]byte) []byte { return must(key.SignStandard(note)) },
			"another transcript":         func(tbs []byte) []byte { return must(key.Sign(pqcrypto.ContextLPAClientAuth, tbs[1:])) },
			"key of another client": func(tbs []byte) []byte {
				return must(w.n2.Key.Sign(pqcrypto.ContextLPAClientAuth, tbs))
			},
			"all zero": func([]byte) []byte { return make([]byte, w.suite.sigSize) },
		} {
			t.Run(name, func(t *testing.T) {
				evil := &evilClient{cfg: w.config(w.client), server: nodeOne, bend: func(h *clientHalf) {
					h.sign = func(_ string, tbs []byte) ([]byte, error) { return sign(tbs), nil }
				}}
				wantReason(t, attackServer(t, w.config(w.n1), evil.attack(t)), ReasonSignature)
			})
		}
	})
}

// TestProofOfAnotherChain signs for one chain and sends another, both of the same client.
func TestProofOfAnotherChain(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	renewed := must(w.issuing.IssueIdentity(pki.IssueRequest{ID: service, Roles: pki.RoleAdmin, PublicKey: w.client.Key.Public(), Validity: 3600e9}))
	evil := &evilClient{cfg: w.config(w.client), server: nodeOne, m2: func(h *clientHalf, _, m2 []byte) []byte {
		ct, sealed, _ := splitClientProof(w.suite, m2[frameHeader:])
		proof, _ := parseClientProof(w.suite, must(h.keys.open(sealed)))
		other := appendCertificates(nil, [][]byte{renewed.Raw, proof.chain[1]})
		return must(newFrame(typeClientProof, maxProofFrame, append(bytes.Clone(ct), h.keys.seal(append(other, proof.signature...))...)))
	}}
	wantReason(t, attackServer(t, w.config(w.n1), evil.attack(t)), ReasonSignature)
}

func TestRefusalCannotBeTurnedIntoAcceptance(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	for s := range 256 {
		evil := &evilServer{cfg: w.config(w.n1), m3: func(_ *serverHalf, _, m3 []byte) []byte {
			m3[frameHeader] = byte(s)
			return m3
		}}
		if s == int(statusAccepted) || s > 8 && s%50 != 0 {
			continue
		}
		wantReason(t, attackClient(t, w.config(w.client), nodeOne, evil.attack(t)), ReasonFinished)
	}
	unknown := &evilServer{cfg: w.config(w.n1), m3: func(h *serverHalf, m2, _ []byte) []byte {
		m3 := serverFinished{status: statusEnd, mac: h.keys.finishedMAC(m2, statusEnd)}
		return must(newFrame(typeServerFinished, maxFinishedFrame, m3.marshal()))
	}}
	wantReason(t, attackClient(t, w.config(w.client), nodeOne, unknown.attack(t)), ReasonFrame)
}
