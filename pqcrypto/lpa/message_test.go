package lpa

import (
	"bytes"
	"testing"
)

func TestCertificateListRefusals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, in string }{
		{"nothing", ""},
		{"too few", "\x00"},
		{"too many", "\x04\x00\x00\x01a\x00\x00\x01b\x00\x00\x01c\x00\x00\x01d"},
		{"no length", "\x01"},
		{"truncated length", "\x01\x00\x00"},
		{"empty certificate", "\x01\x00\x00\x00"},
		{"truncated certificate", "\x01\x00\x00\x02a"},
		{"second is missing", "\x02\x00\x00\x01a"},
		{"length of 16 MiB", "\x01\xff\xff\xffa"},
	} {
		if certs, _, err := parseCertificates([]byte(tc.in), 1, 3); err == nil {
			t.Errorf("%s: parseCertificates(%q) = %q, want an error", tc.name, tc.in, certs)
		}
	}
}

func TestMessageRefusals(t *testing.T) {
	t.Parallel()
	list := appendCertificates(nil, [][]byte{{1}, {2}})
	if _, err := parseServerIdentity(list); err != nil {
		t.Errorf("smallest M1 was refused: %v", err)
	}
	if _, err := parseServerIdentity(append(bytes.Clone(list), 0)); err == nil {
		t.Error("M1 with a trailing byte was accepted")
	}
	if _, err := parseServerIdentity(appendCertificates(nil, [][]byte{{1}})); err == nil {
		t.Error("M1 with one certificate was accepted")
	}
	if _, err := parseServerIdentity(appendCertificates(nil, [][]byte{{1}, {2}, {3}, {4}})); err == nil {
		t.Error("M1 with two issuers was accepted")
	}
	for _, n := range []int{0, 1, 48, 50, 1024} {
		if _, err := parseServerFinished(make([]byte, n)); err == nil {
			t.Errorf("M3 of %d bytes was accepted", n)
		}
	}
	for _, s := range []*Suite{Suite768, Suite1024} {
		if _, _, err := splitClientProof(s, make([]byte, s.ctSize+1+3+1+s.sigSize+gcmTag-1)); err == nil {
			t.Errorf("%s: an M2 that cannot hold a proof was accepted", s)
		}
		one := appendCertificates(nil, [][]byte{{1}})
		for _, n := range []int{0, 1, s.sigSize - 1, s.sigSize + 1, 2 * s.sigSize} {
			if _, err := parseClientProof(s, append(bytes.Clone(one), make([]byte, n)...)); err == nil {
				t.Errorf("%s: a signature of %d bytes was accepted", s, n)
			}
		}
	}
}

func TestEveryStatusHasItsReasonAndBack(t *testing.T) {
	t.Parallel()
	for s := statusAccepted + 1; s < statusEnd; s++ {
		if got, ok := statusOf(statusReasons[s]); !ok || got != s {
			t.Errorf("statusOf(%q) = %d, %v, want %d", statusReasons[s], got, ok, s)
		}
	}
	for _, reason := range []string{"", ReasonProof, ReasonFrame, ReasonConfig} {
		if s, ok := statusOf(reason); ok {
			t.Errorf("statusOf(%q) = %d: this reason must never be told to a peer", reason, s)
		}
	}
}

func FuzzServerIdentity(f *testing.F) {
	f.Add(appendCertificates(nil, [][]byte{{1}, {2}}))
	f.Add(appendCertificates(nil, [][]byte{{1}, {2, 3}, {4}}))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := parseServerIdentity(body)
		if err != nil {
			return
		}
		if got := m.marshal(); !bytes.Equal(got, body) {
			t.Fatalf("M1 %x parses and marshals to %x", body, got)
		}
	})
}

func FuzzServerFinished(f *testing.F) {
	f.Add(make([]byte, 49))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := parseServerFinished(body)
		if err != nil {
			return
		}
		if got := m.marshal(); !bytes.Equal(got, body) {
			t.Fatalf("M3 %x parses and marshals to %x", body, got)
		}
	})
}

func FuzzClientProof(f *testing.F) {
	f.Add(append(appendCertificates(nil, [][]byte{{1}}), make([]byte, Suite768.sigSize)...), false)
	f.Add(append(appendCertificates(nil, [][]byte{{1}, {2}}), make([]byte, Suite1024.sigSize)...), true)
	f.Fuzz(func(t *testing.T, plaintext []byte, cat5 bool) {
		s := Suite768
		if cat5 {
			s = Suite1024
		}
		m, err := parseClientProof(s, plaintext)
		if err != nil {
			return
		}
		if got := appendCertificates(nil, m.chain); !bytes.Equal(got, m.encoded) {
			t.Fatalf("the signed bytes %x are not the encoding %x of what was parsed", m.encoded, got)
		}
		if got := append(bytes.Clone(m.encoded), m.signature...); !bytes.Equal(got, plaintext) {
			t.Fatalf("proof %x parses to %x", plaintext, got)
		}
	})
}
