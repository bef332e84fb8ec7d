package pki

import (
	"bytes"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

func issueList(t testing.TB, a *Authority, number uint64, revoked ...*Certificate) *RevocationList {
	t.Helper()
	r := RevocationRequest{Number: number, Validity: time.Hour, Now: testNow}
	for _, c := range revoked {
		r.Serials = append(r.Serials, c.SerialNumber)
	}
	l, err := a.IssueRevocationList(r)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestRevocations: a path is refused when the list of a certificate's issuer names it, at any place
// below the root, and for nothing else.
func TestRevocations(t *testing.T) {
	t.Parallel()
	p := getPKI(t)
	issuing := p.issuing.Certificate()
	for _, c := range []struct {
		name        string
		lists       []*RevocationList
		svid, below Reason // of the root's leaf, and of the issuing authority's
		kem         Reason
	}{
		{name: "empty lists", lists: []*RevocationList{issueList(t, p.root, 1), issueList(t, p.issuing, 1)}},
		{name: "the root's leaf", lists: []*RevocationList{issueList(t, p.root, 1, p.svid)}, svid: ReasonRevoked},
		{name: "the issuing authority's leaf", lists: []*RevocationList{issueList(t, p.issuing, 1, p.svidBelow)}, below: ReasonRevoked},
		{name: "the issuing authority", lists: []*RevocationList{issueList(t, p.root, 7, issuing)}, below: ReasonRevoked},
		{name: "a KEM certificate", lists: []*RevocationList{issueList(t, p.root, 1, p.kem)}, kem: ReasonRevoked},
		{name: "the serial number of another authority's leaf", lists: []*RevocationList{issueList(t, p.root, 1, p.svidBelow), issueList(t, p.issuing, 1, p.svid)}},
		{name: "several", lists: []*RevocationList{issueList(t, p.root, 2, p.kem, p.svid, p.svid), issueList(t, p.issuing, 3, p.svidBelow)}, svid: ReasonRevoked, below: ReasonRevoked, kem: ReasonRevoked},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := &Revocations{Lists: c.lists, Authorities: []*Certificate{issuing, p.root.Certificate()}}
			read, err := ParseRevocationsPEM(file.MarshalPEM())
			if err != nil {
				t.Fatal(err)
			}
			pool, err := p.pool.WithRevocations(read)
			if err != nil {
				t.Fatal(err)
			}
			_, err = pool.VerifyIdentity(raws(p.svid), testNow)
			wantReason(t, err, c.svid)
			_, err = pool.VerifyIdentity(raws(p.svidBelow, issuing), testNow)
			wantReason(t, err, c.below)
			_, err = pool.VerifyKEM(raws(p.kem), p.svid, testNow)
			wantReason(t, err, c.kem)
		})
	}
	// The list that has ended is in force, and so is the one of an authority that has ended.
	pool, err := p.pool.WithRevocations(&Revocations{Lists: []*RevocationList{issueList(t, p.root, 1, p.svid)}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = pool.VerifyIdentity(raws(p.svid), testNow.Add(50*time.Hour))
	wantReason(t, err, ReasonRevoked)
}

// TestRevocationListsRefused: a list that is not signed by an authority of the pool, or not what it
// seems, is refused.
func TestRevocationListsRefused(t *testing.T) {
	t.Parallel()
	p := getPKI(t)
	other, err := newRoot("test root", testTD, p.root.key.Params(), testNow, 1000*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	good := issueList(t, p.root, 5, p.svid)
	below := issueList(t, p.issuing, 5, p.svidBelow)
	// The issuing authority's key under the root's name: the signature does not verify.
	impostor := &Authority{chain: p.root.chain, key: p.issuing.key}
	if _, err := impostor.IssueRevocationList(RevocationRequest{Number: 1, Validity: time.Hour, Now: testNow}); ReasonOf(err) != ReasonAlgorithm {
		t.Errorf("a list that another key signed: %v", err)
	}
	leaf := &Authority{chain: []*Certificate{p.svid}, key: p.key}
	_, err = leaf.IssueRevocationList(RevocationRequest{Number: 1, Validity: time.Hour, Now: testNow})
	wantReason(t, err, ReasonKeyUsage)
	for name, r := range map[string]RevocationRequest{
		"number 0": {Validity: time.Hour}, "no validity": {Number: 1}, "a huge number": {Number: 1 << 63, Validity: time.Hour},
	} {
		if _, err := p.root.IssueRevocationList(r); ReasonOf(err) != ReasonIssueRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Who has another key than the root's makes an authority in the root's name.
	forger := &Authority{chain: p.root.chain, key: other.key}
	forged, err := ParseCertificate(forger.forge(t, authorityTemplate("forged", testTD, p.key.Public(), 0), nil))
	if err != nil {
		t.Fatal(err)
	}
	byForged := issueList(t, &Authority{chain: []*Certificate{forged}, key: p.key}, 1)
	for name, c := range map[string]struct {
		file Revocations
		want Reason
	}{
		"another root of the same name":         {Revocations{Lists: []*RevocationList{issueList(t, other, 1)}}, ReasonUnknownRoot},
		"the same, its certificate beside it":   {Revocations{Lists: []*RevocationList{issueList(t, other, 1)}, Authorities: []*Certificate{other.Certificate()}}, ReasonUnknownRoot},
		"an issuing authority that is not here": {Revocations{Lists: []*RevocationList{below}}, ReasonUnknownRoot},
		"a forged authority":                    {Revocations{Lists: []*RevocationList{byForged}, Authorities: []*Certificate{forged}}, ReasonSignature},
		"two lists of one authority":            {Revocations{Lists: []*RevocationList{good, issueList(t, p.root, 6)}}, ReasonMalformed},
	} {
		_, err := p.pool.WithRevocations(&c.file)
		if got := ReasonOf(err); got != c.want {
			t.Errorf("%s: %v, want the reason %q", name, err, c.want)
		}
	}
	// Every byte counts: what parses does not verify.
	for i := 0; i < len(good.Raw); i += 1 + len(good.Raw)/400 {
		der := bytes.Clone(good.Raw)
		der[i] ^= 1
		l, err := ParseRevocationList(der)
		if err != nil {
			continue
		}
		if _, err := p.pool.WithRevocations(&Revocations{Lists: []*RevocationList{l}}); err == nil {
			t.Errorf("a flipped bit of byte %d is accepted", i)
		}
	}
	if _, err := ParseRevocationList(append(bytes.Clone(good.Raw), 0)); err == nil {
		t.Error("a trailing byte is accepted")
	}
	for name, text := range map[string]string{
		"nothing": "", "certificates alone": string(MarshalPEM(p.root.Certificate())), "a leaf": string(MarshalPEM(p.svid)) + string((&Revocations{Lists: []*RevocationList{good}}).MarshalPEM()),
		"a key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY"})) + string((&Revocations{Lists: []*RevocationList{good}}).MarshalPEM()),
	} {
		if _, err := ParseRevocationsPEM([]byte(text)); err == nil {
			t.Errorf("%s: accepted as a file of lists", name)
		}
	}
}

// TestCheckNotOlder: a pool takes the place of another only with the same lists or newer ones.
func TestCheckNotOlder(t *testing.T) {
	t.Parallel()
	p := getPKI(t)
	pool := func(lists ...*RevocationList) *Pool {
		out, err := p.pool.WithRevocations(&Revocations{Lists: lists, Authorities: []*Certificate{p.issuing.Certificate()}})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	five, six, again := issueList(t, p.root, 5, p.svid), issueList(t, p.root, 6), issueList(t, p.root, 5)
	below := issueList(t, p.issuing, 1)
	for name, c := range map[string]struct {
		now, next *Pool
		says      string
	}{
		"none then one":          {p.pool, pool(five), ""},
		"the same":               {pool(five), pool(five), ""},
		"newer":                  {pool(five), pool(six), ""},
		"one more":               {pool(five), pool(five, below), ""},
		"older":                  {pool(six), pool(five), "has the number 5, the one in force has 6"},
		"another of this number": {pool(five), pool(again), "number 5"},
		"gone":                   {pool(five), p.pool, "missing now"},
		"one of two gone":        {pool(five, below), pool(six), "missing now"},
	} {
		err := c.now.CheckNotOlder(c.next)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

func FuzzParseRevocationList(f *testing.F) {
	p := getPKI(f)
	f.Add(issueList(f, p.root, 1, p.svid, p.kem).Raw)
	f.Add(issueList(f, p.issuing, 1<<40).Raw)
	f.Fuzz(func(t *testing.T, der []byte) {
		l, err := ParseRevocationList(der)
		if err != nil {
			return
		}
		if l.Number == 0 || l.NextUpdate.Before(l.ThisUpdate) || !bytes.Equal(l.Raw, der) {
			t.Errorf("accepted: %+v", l)
		}
		for i, serial := range l.Serials {
			if i > 0 && l.Serials[i-1].Cmp(serial) >= 0 || serial.Cmp(new(big.Int)) == 0 && i > 0 {
				t.Errorf("serial numbers are not ascending: %v", l.Serials)
			}
		}
	})
}
