package lpa

import (
	"bytes"
	"crypto/hmac"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// The two halves of the handshake are stepped with whole frames and do no I/O of their own: no
// socket, no clock, no deadline. Client and Server in dial.go feed them.

// remote is what a half knows about its peer once it believed it.
type remote struct {
	svid *pki.Certificate
	kem  *pki.Certificate // nil on the listening side
	// expires is the earliest end of validity among everything that the peer presented.
	expires time.Time

	roots              *pki.Pool // what the chains were verified with
	svidChain, kemDERs [][]byte  // the certificates as presented, leaf first; kemDERs is nil on the listening side
}

// verify checks the peer's certificates against other trust anchors.
func (r *remote) verify(roots *pki.Pool, now time.Time) error {
	svid, err := roots.VerifyIdentity(r.svidChain, now)
	if err != nil || r.kemDERs == nil {
		return err
	}
	_, err = roots.VerifyKEM(r.kemDERs, svid, now)
	return err
}

// clientHalf is the dialling side: M1 in, M2 out, M3 in.
type clientHalf struct {
	cfg    *Config
	local  *local
	ekm    []byte
	now    time.Time
	server pki.ID
	// encapsulate and sign are the two random steps; a known-answer test fixes them.
	encapsulate func(*pqcrypto.EncapsulationKey) (ct, ss []byte, err error)
	sign        func(context string, message []byte) ([]byte, error)

	keys *schedule
	m2   []byte
	peer remote
}

func newClientHalf(cfg *Config, l *local, ekm []byte, now time.Time, server pki.ID) *clientHalf {
	return &clientHalf{
		cfg: cfg, local: l, ekm: ekm, now: now, server: server,
		encapsulate: (*pqcrypto.EncapsulationKey).Encapsulate,
		sign:        l.identity.Key.Sign,
	}
}

// serverIdentity checks M1 and answers with M2.
func (h *clientHalf) serverIdentity(m1 []byte) (m2 []byte, err error) {
	msg, err := parseServerIdentity(m1[frameHeader:])
	if err != nil {
		return nil, err
	}
	ek, err := h.checkServer(msg)
	if err != nil {
		return nil, err
	}
	ct, ss, err := h.encapsulate(ek)
	if err != nil {
		return nil, fail(ReasonCertificate, errors.Wrap(err, "encapsulate to the server's key"))
	}
	if h.keys, err = newSchedule(h.cfg.Suite, h.ekm, ss, m1, ct); err != nil {
		return nil, fail(ReasonConfig, err)
	}
	proof := appendCertificates(nil, h.local.chain)
	sig, err := h.sign(pqcrypto.ContextLPAClientAuth, h.keys.toBeSigned(proof))
	if err != nil {
		return nil, fail(ReasonConfig, errors.Wrap(err, "sign the client proof"))
	}
	proof = append(proof, sig...)
	h.m2, err = newFrame(typeClientProof, maxProofFrame, append(bytes.Clone(ct), h.keys.seal(proof)...))
	return h.m2, err
}

// checkServer decides whether M1 names the server that was dialled, and returns the key to
// encapsulate to.
func (h *clientHalf) checkServer(msg *serverIdentity) (*pqcrypto.EncapsulationKey, error) {
	svid, err := h.local.roots.VerifyIdentity(msg.chain(msg.svid), h.now)
	if err != nil {
		return nil, failVerify(errors.Wrap(err, "verify the server's identity certificate"), msg.svid)
	}
	refuse := func(reason string, err error) error {
		e := fail(reason, err)
		e.Peer, e.cert = svid.ID, svid
		return e
	}
	if svid.ID != h.server {
		return nil, refuse(ReasonIdentity, errors.Newf("dialled %s, but the server's identity certificate names %s", h.server, svid.ID))
	}
	// This also checks that both certificates name the same identity, and the hash of RFC 9763.
	kem, err := h.local.roots.VerifyKEM(msg.chain(msg.kem), svid, h.now)
	if err != nil {
		return nil, failVerify(errors.Wrap(err, "verify the server's KEM certificate"), msg.svid)
	}
	if got, want := svid.VerifyingKey().Params(), h.cfg.Suite.sig; got != want {
		return nil, refuse(ReasonSuite, errors.Newf("the server's identity key is %s, suite %s needs %s", got, h.cfg.Suite, want))
	}
	ek := kem.EncapsulationKey()
	if got, want := ek.Params(), h.cfg.Suite.kem; got != want {
		return nil, refuse(ReasonSuite, errors.Newf("the server's KEM key is %s, suite %s needs %s", got, h.cfg.Suite, want))
	}
	expires, err := earliestEnd(msg.issuers, svid, kem)
	if err != nil {
		return nil, refuse(ReasonCertificate, err)
	}
	h.peer = remote{svid: svid, kem: kem, expires: expires,
		roots: h.local.roots, svidChain: msg.chain(msg.svid), kemDERs: msg.chain(msg.kem)}
	if err := h.cfg.deniedPeer(&h.peer); err != nil {
		return nil, refuse(ReasonDenied, err)
	}
	return ek, nil
}

// serverFinished checks M3. A nil error is the moment from which application bytes may flow.
func (h *clientHalf) serverFinished(m3 []byte) error {
	msg, err := parseServerFinished(m3[frameHeader:])
	if err != nil {
		return err
	}
	if !hmac.Equal(msg.mac, h.keys.finishedMAC(h.m2, msg.status)) {
		return fail(ReasonFinished, errors.New("the server's MAC does not verify"))
	}
	if msg.status == statusAccepted {
		return nil
	}
	if msg.status >= statusEnd {
		return fail(ReasonFrame, errors.Newf("the server answered with the unknown status %d", msg.status))
	}
	e := fail(ReasonRefused, errors.Newf("server %s refused the certificate %s", h.server, h.local.identity.Chain[0].ID))
	e.Refusal, e.Peer = statusReasons[msg.status], h.server
	return e
}

// serverHalf is the listening side: M1 out, M2 in, M3 out.
type serverHalf struct {
	cfg   *Config
	local *local
	ekm   []byte
	now   time.Time

	keys *schedule
	peer remote
}

// clientProof checks M2 and answers with M3. With an error there may still be an M3: the
// authenticated refusal, to be sent before the connection is closed. There is none when the proof
// does not open, because then no secret is shared with anybody.
func (h *serverHalf) clientProof(m2 []byte) (m3 []byte, err error) {
	ct, sealed, err := splitClientProof(h.cfg.Suite, m2[frameHeader:])
	if err != nil {
		return nil, err
	}
	ss, err := h.local.identity.KEMKey.Decapsulate(ct)
	if err != nil {
		return nil, fail(ReasonProof, errors.Wrap(err, "decapsulate"))
	}
	if h.keys, err = newSchedule(h.cfg.Suite, h.ekm, ss, h.local.m1, ct); err != nil {
		return nil, fail(ReasonConfig, err)
	}
	// A relayed, replayed or intercepted proof ends here, before any signature is looked at: ML-KEM
	// rejects implicitly, so a foreign ciphertext gives another secret, and a foreign connection
	// gives another exporter.
	plaintext, err := h.keys.open(sealed)
	if err != nil {
		return nil, fail(ReasonProof, errors.Wrap(err, "open the client's proof"))
	}
	proof, err := parseClientProof(h.cfg.Suite, plaintext)
	if err != nil {
		return nil, err
	}
	verdict := statusAccepted
	refusal := h.checkClient(proof)
	if refusal != nil {
		told, ok := statusOf(refusal.Reason)
		if !ok {
			return nil, refusal
		}
		verdict = told
	}
	finished := serverFinished{status: verdict, mac: h.keys.finishedMAC(m2, verdict)}
	if m3, err = newFrame(typeServerFinished, maxFinishedFrame, finished.marshal()); err != nil {
		return nil, err
	}
	if refusal != nil {
		return m3, refusal
	}
	return m3, nil
}

// checkClient decides whether the proof's owner may in. The signature is verified before Deny is
// asked, so that only the holder of a key learns what this server thinks of it. That the identity
// has a role is part of its certificate's profile (package pki).
func (h *serverHalf) checkClient(proof *clientProof) *HandshakeError {
	svid, err := h.local.roots.VerifyIdentity(proof.chain, h.now)
	if err != nil {
		return failVerify(errors.Wrap(err, "verify the client's certificate"), proof.chain[0])
	}
	refuse := func(reason string, err error) *HandshakeError {
		e := fail(reason, err)
		e.Peer, e.cert = svid.ID, svid
		return e
	}
	key := svid.VerifyingKey()
	if got, want := key.Params(), h.cfg.Suite.sig; got != want {
		return refuse(ReasonSuite, errors.Newf("the key of %s is %s, suite %s needs %s", svid.ID, got, h.cfg.Suite, want))
	}
	if !key.Verify(pqcrypto.ContextLPAClientAuth, h.keys.toBeSigned(proof.encoded), proof.signature) {
		return refuse(ReasonSignature, errors.Newf("the signature of %s does not verify", svid.ID))
	}
	if err := h.cfg.denied(svid); err != nil {
		return refuse(ReasonDenied, err)
	}
	expires, err := earliestEnd(proof.chain[1:], svid)
	if err != nil {
		return refuse(ReasonCertificate, err)
	}
	h.peer = remote{svid: svid, expires: expires, roots: h.local.roots, svidChain: proof.chain}
	return nil
}

// failVerify gives a refusal of package pki its reason. leaf is the certificate that the refusal is
// about: it is kept for logs.
func failVerify(err error, leaf []byte) *HandshakeError {
	reason := ReasonCertificate
	switch pki.ReasonOf(err) {
	case pki.ReasonExpired, pki.ReasonNotYetValid:
		reason = ReasonExpired
	case pki.ReasonRelated:
		reason = ReasonRelated
	}
	e := fail(reason, err)
	if cert, err := pki.ParseCertificate(leaf); err == nil {
		e.cert = cert
	}
	return e
}

// earliestEnd returns when the first of the certificates stops being valid.
func earliestEnd(issuers [][]byte, leaves ...*pki.Certificate) (time.Time, error) {
	end := leaves[0].NotAfter
	for _, c := range leaves[1:] {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	for _, der := range issuers {
		c, err := pki.ParseCertificate(der)
		if err != nil {
			return time.Time{}, errors.Wrap(err, "parse issuer")
		}
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end, nil
}
