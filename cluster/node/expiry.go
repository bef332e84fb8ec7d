package node

import (
	"log/slog"
	"math"
	"strconv"
	"time"

	"github.com/cairnledger/cairn/pqcrypto/pki"
)

const (
	// warnBefore is how long before the end of a certificate the node begins to warn; of one that
	// is valid for less than three times as long, in the last third of its validity.
	warnBefore = 30 * 24 * time.Hour
	// expiryInterval is how often the node looks.
	expiryInterval = time.Minute
)

// expiry is the end of a certificate that the node depends on.
type expiry struct {
	kind     string // identity, kem, issuer, root, or revocations: a list
	subject  string // SPIFFE ID, or the name of an authority
	serial   string
	validity time.Duration
	end      time.Time
}

// soon reports whether the node warns.
func (e expiry) soon(now time.Time) bool {
	return e.end.Sub(now) <= min(warnBefore, e.validity/3)
}

// interval is how often the node repeats a warning.
func (e expiry) interval(now time.Time) time.Duration {
	if e.end.Sub(now) < 24*time.Hour {
		return time.Hour
	}
	return 24 * time.Hour
}

// expiries returns for each kind the certificate that ends first. A certificate of the identity's
// and the KEM key's path counts under issuer, a trust anchor under root, a revocation list that the
// authority has to replace under revocations.
func expiries(id *pki.Identity, roots *pki.Pool) []expiry {
	first := map[string]expiry{}
	add := func(kind string, c *pki.Certificate) {
		e := expiry{kind: kind, subject: string(c.ID), serial: serialOf(c), validity: c.NotAfter.Sub(c.NotBefore), end: c.NotAfter}
		if c.IsCA {
			e.subject = c.Subject
		}
		if known, ok := first[kind]; !ok || e.end.Before(known.end) {
			first[kind] = e
		}
	}
	for kind, chain := range map[string][]*pki.Certificate{"identity": id.Chain, "kem": id.KEMChain} {
		for i, c := range chain {
			if i > 0 {
				kind = "issuer"
			}
			add(kind, c)
		}
	}
	for _, c := range roots.Roots() {
		add("root", c)
	}
	for _, l := range roots.RevocationLists() {
		const kind = "revocations"
		if known, ok := first[kind]; !ok || l.NextUpdate.Before(known.end) {
			first[kind] = expiry{kind: kind, subject: l.Issuer, serial: "list " + strconv.FormatUint(l.Number, 10), validity: l.NextUpdate.Sub(l.ThisUpdate), end: l.NextUpdate}
		}
	}
	var all []expiry
	for _, kind := range expiryKinds {
		if e, ok := first[kind]; ok {
			all = append(all, e)
		}
	}
	return all
}

// expiryKinds are the labels of cairn_certificate_left_seconds.
var expiryKinds = []string{"identity", "kem", "issuer", "root", "revocations"}

// expiryWatch warns of certificates that end soon: each once a day, and once an hour on its last
// day and after its end.
type expiryWatch struct {
	log    *slog.Logger
	warned map[string]time.Time // by serial number
}

func (w *expiryWatch) look(now time.Time, all []expiry) {
	warned := map[string]time.Time{}
	for _, e := range all {
		at, before := w.warned[e.serial]
		if !e.soon(now) {
			continue
		}
		warned[e.serial] = at
		if before && now.Sub(at) < e.interval(now) {
			continue
		}
		warned[e.serial] = now
		message, left := "a certificate expires soon: renew it", e.end.Sub(now)
		if left <= 0 {
			message, left = "a certificate has expired: renew it", 0
		}
		w.log.Warn(message, "certificate", e.kind, "subject", e.subject, "serial", e.serial,
			"expires", e.end.UTC().Format(time.RFC3339), "left", left.Truncate(time.Second).String())
	}
	w.warned = warned
}

func (n *node) setExpiries(id *pki.Identity, roots *pki.Pool) {
	all := expiries(id, roots)
	n.expiries.Store(&all)
}

// left returns the seconds until the first certificate of a kind ends. Without one, such as an
// issuing authority, that is never.
func (n *node) left(kind string) float64 {
	for _, e := range *n.expiries.Load() {
		if e.kind == kind {
			return e.end.Sub(n.cfg.wallClock()()).Seconds()
		}
	}
	return math.Inf(1)
}

// connectionAge is how old a client's connection becomes before the client is asked to make another
// one. Every connection ends when a certificate that it was made with expires, and calls that are
// under way end with it. A connection that is renewed before then loses none, provided that the
// certificate was renewed a twelfth of its validity before its end.
func connectionAge(validity time.Duration) time.Duration {
	return max(time.Second, min(validity/12, time.Hour))
}
