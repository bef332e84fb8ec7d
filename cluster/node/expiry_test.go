package node

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// TestExpiryWarnings: on a clock that runs for 400 days the node warns from 30 days before the end
// of its certificate, once a day and in the last 24 hours once an hour, and not after a renewal.
func TestExpiryWarnings(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := &expiryWatch{log: slog.New(slog.NewTextHandler(&out, nil))}
	begin := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	cert := expiry{kind: "identity", subject: "spiffe://x/y", serial: "a1", validity: 365 * 24 * time.Hour, end: begin.Add(365 * 24 * time.Hour)}
	lines := func(until time.Duration, from time.Duration, all ...expiry) int {
		out.Reset()
		for at := from; at < until; at += expiryInterval {
			w.look(begin.Add(at), all)
		}
		return strings.Count(out.String(), "\n")
	}
	const day = 24 * time.Hour
	if n := lines(335*day, 0, cert); n != 0 {
		t.Errorf("%d warnings more than 30 days before the end: %s", n, out.String())
	}
	if n := lines(364*day, 335*day, cert); n != 29 {
		t.Errorf("%d warnings in 29 days, want one a day", n)
	}
	for _, want := range []string{"level=WARN", "certificate=identity", "subject=spiffe://x/y", "serial=a1", "expires=2031-01-01T00:00:00Z", "left=720h0m0s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the warning lacks %q: %.300s", want, out.String())
		}
	}
	if n := lines(365*day, 364*day, cert); n < 23 || n > 25 {
		t.Errorf("%d warnings on the last day, want one an hour", n)
	}
	if n := lines(366*day, 365*day+time.Minute, cert); n < 23 || n > 25 || !strings.Contains(out.String(), "has expired") {
		t.Errorf("%d warnings on the day after, want one an hour that says so: %.300s", n, out.String())
	}
	renewed := cert
	renewed.serial, renewed.end = "a2", cert.end.Add(365*day)
	if n := lines(400*day, 366*day, renewed); n != 0 {
		t.Errorf("%d warnings after the renewal: %.300s", n, out.String())
	}
	// A certificate of a day is warned about in its last third.
	short := expiry{kind: "identity", serial: "b", validity: day, end: begin.Add(day)}
	if short.soon(begin.Add(15*time.Hour)) || !short.soon(begin.Add(17*time.Hour)) {
		t.Error("a certificate that is valid for a day is not warned about in its last third")
	}
}

// TestExpiries: of every kind the certificate that ends first counts, and there is one of a kind.
func TestExpiries(t *testing.T) {
	t.Parallel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := pki.NewRoot("root", "ledger.example", pqcrypto.MLDSA65, 1000*time.Hour)
	must(err)
	old, err := pki.NewRoot("old root", "ledger.example", pqcrypto.MLDSA65, 900*time.Hour)
	must(err)
	issuing, err := root.NewIssuing("issuing", pqcrypto.MLDSA65, 500*time.Hour)
	must(err)
	key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA65)
	must(err)
	kemKey, err := pqcrypto.GenerateDecapsulationKey(pqcrypto.MLKEM768)
	must(err)
	svid, err := issuing.IssueIdentity(pki.IssueRequest{ID: pki.NodeID("ledger.example", 1, "n1"), Roles: pki.RolePeer, PublicKey: key.Public(), Validity: 100 * time.Hour})
	must(err)
	kem, err := issuing.IssueKEM(pki.KEMRequest{SVID: svid, PublicKey: kemKey.Public(), Validity: 50 * time.Hour})
	must(err)
	id, err := pki.NewIdentity([]*pki.Certificate{svid, issuing.Certificate()}, key, []*pki.Certificate{kem, issuing.Certificate()}, kemKey)
	must(err)
	pool, err := pki.NewPool(root.Certificate(), old.Certificate())
	must(err)
	var got []string
	for _, e := range expiries(id, pool) {
		got = append(got, fmt.Sprintf("%s %s %v", e.kind, e.subject, time.Until(e.end).Round(time.Hour)))
	}
	want := "identity spiffe://ledger.example/cluster/0000000000000001/node/n1 100h0m0s," +
		"kem spiffe://ledger.example/cluster/0000000000000001/node/n1 50h0m0s,issuer CN=issuing 500h0m0s,root CN=old root 900h0m0s"
	if strings.Join(got, ",") != want {
		t.Errorf("got %s, want %s", strings.Join(got, ","), want)
	}
}
