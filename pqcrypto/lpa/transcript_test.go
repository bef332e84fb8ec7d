package lpa

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/mlkem"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/internal/kat"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

var update = flag.Bool("update", false, "write new transcripts to testdata")

type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }
func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// transcript is one complete handshake. The names are those of docs/protocol-lpa.md.
type transcript struct {
	Comment string    `json:"comment"`
	Suite   string    `json:"suite"`
	ALPN    string    `json:"alpn"`
	Server  string    `json:"server"`
	Client  string    `json:"client"`
	Now     time.Time `json:"now"`

	Root         hexBytes `json:"root_certificate"`
	KEMCert      hexBytes `json:"kem_certificate"`
	ServerCert   hexBytes `json:"server_identity_certificate"`
	ClientCert   hexBytes `json:"client_identity_certificate"`
	IssuerCert   hexBytes `json:"issuer_certificate"`
	KEMSeed      hexBytes `json:"kem_seed_d_z"`
	ClientSeed   hexBytes `json:"client_ml_dsa_seed"`
	Encapsulated hexBytes `json:"encapsulation_randomness"`
	EKM          hexBytes `json:"EKM"`

	M1     hexBytes `json:"M1"`
	CT     hexBytes `json:"ct"`
	SS     hexBytes `json:"ss"`
	PRK    hexBytes `json:"PRK"`
	TH1    hexBytes `json:"TH1"`
	KC     hexBytes `json:"k_c"`
	IVC    hexBytes `json:"iv_c"`
	KFS    hexBytes `json:"k_fs"`
	CID    hexBytes `json:"cid"`
	ChainC hexBytes `json:"chain_C"`
	TBSC   hexBytes `json:"TBS_C"`
	SigC   hexBytes `json:"sig_C"`
	M2     hexBytes `json:"M2"`
	MacS   hexBytes `json:"mac_S"`
	M3     hexBytes `json:"M3"`
}

// The specification once more, from its text and the standard library only. Nothing in this part
// calls the implementation.

func specH(parts ...[]byte) []byte {
	var in []byte
	for _, p := range parts {
		in = append(in, byte(len(p)>>24), byte(len(p)>>16), byte(len(p)>>8), byte(len(p)))
		in = append(in, p...)
	}
	sum := sha512.Sum384(in)
	return sum[:]
}

func specExpand(prk, th1 []byte, label string, n int) []byte {
	l := "lpa1 " + label
	return must(hkdf.Expand(sha512.New384, prk, string([]byte{byte(n >> 8), byte(n), byte(len(l))})+l+string(th1), n))
}

func specFrame(typ byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	return append([]byte{typ, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

func specList(certs ...[]byte) []byte {
	out := []byte{byte(len(certs))}
	for _, c := range certs {
		out = append(append(out, byte(len(c)>>16), byte(len(c)>>8), byte(len(c))), c...)
	}
	return out
}

func specDecapsulate(suite string, seed, ct []byte) []byte {
	if suite == "cat5" {
		return must(must(mlkem.NewDecapsulationKey1024(seed)).Decapsulate(ct))
	}
	return must(must(mlkem.NewDecapsulationKey768(seed)).Decapsulate(ct))
}

// recompute derives everything below "M1" again from what is above it, ct and sig_C.
func (v *transcript) recompute() *transcript {
	o := *v
	pro := []byte("ledger LPA v1|" + v.ALPN)
	o.M1 = specFrame(1, specList(v.KEMCert, v.ServerCert, v.IssuerCert))
	o.SS = specDecapsulate(v.Suite, v.KEMSeed, v.CT)
	o.PRK = must(hkdf.Extract(sha512.New384, o.SS, v.EKM))
	o.TH1 = specH(pro, o.M1, v.CT)
	o.KC = specExpand(o.PRK, o.TH1, "c auth key", 32)
	o.IVC = specExpand(o.PRK, o.TH1, "c auth iv", 12)
	o.KFS = specExpand(o.PRK, o.TH1, "s finished", 48)
	o.CID = specExpand(o.PRK, o.TH1, "channel id", 32)
	o.ChainC = specList(v.ClientCert, v.IssuerCert)
	o.TBSC = specH(pro, o.M1, o.TH1, o.ChainC, o.CID)
	gcm := must(cipher.NewGCM(must(aes.NewCipher(o.KC))))
	o.M2 = specFrame(2, v.CT, gcm.Seal(nil, o.IVC, append(bytes.Clone(o.ChainC), v.SigC...), o.TH1))
	mac := hmac.New(sha512.New384, o.KFS)
	mac.Write(specH(pro, o.M1, o.M2, []byte{0}))
	o.MacS = mac.Sum(nil)
	o.M3 = specFrame(3, []byte{0}, o.MacS)
	return &o
}

func (v *transcript) file() string { return filepath.Join("testdata", "transcript-"+v.Suite+".json") }

// newTranscript makes the inputs; everything else follows.
func newTranscript(t *testing.T, s *Suite) *transcript {
	t.Helper()
	seed := func(n int, what string) []byte {
		return must(hkdf.Key(sha512.New384, []byte("LPA/1 known answer"), nil, s.alpn+" "+what, n))
	}
	w := &world{suite: s}
	w.root = must(pki.NewRoot("known answer root", testDomain, pqcrypto.MLDSA87, 20*365*24*time.Hour))
	w.issuing = must(w.root.NewIssuing("known answer issuing", s.sig, 10*365*24*time.Hour))
	v := &transcript{
		Comment: "One LPA/1 handshake with fixed keys, exporter and randomness; sig_C is deterministic (FIPS 204, rnd = 0). Regenerate: go test ./pqcrypto/lpa -run TestTranscript -update",
		Suite:   s.name, ALPN: s.alpn, Server: string(nodeOne), Client: string(service),
		Now:     time.Now().UTC().Truncate(time.Second),
		KEMSeed: seed(64, "kem"), ClientSeed: seed(32, "client"), Encapsulated: seed(32, "encapsulation"), EKM: seed(48, "exporter"),
	}
	node := w.node(w.issuing, nodeOne, time.Time{}, 365*24*time.Hour)
	dk := must(pqcrypto.NewDecapsulationKey(s.kem, v.KEMSeed))
	kem := must(w.issuing.IssueKEM(pki.KEMRequest{SVID: node.Leaf(), PublicKey: dk.Public(), Validity: 365 * 24 * time.Hour}))
	key := must(pqcrypto.NewSigningKey(s.sig, v.ClientSeed))
	client := must(w.issuing.IssueIdentity(pki.IssueRequest{ID: service, Roles: pki.RoleWriter, PublicKey: key.Public(), Validity: 365 * 24 * time.Hour}))
	v.Root, v.KEMCert, v.ServerCert = w.root.Certificate().Raw, kem.Raw, node.Leaf().Raw
	v.ClientCert, v.IssuerCert = client.Raw, w.issuing.Certificate().Raw
	v.CT, _, _ = dk.Public().EncapsulateDeterministic(v.Encapsulated)
	half := v.recompute() // TBS_C does not depend on sig_C
	v.SigC = must(kat.Sign(key, []byte("ledger-lpa1 client auth"), half.TBSC))
	return v.recompute()
}

// TestTranscript compares the recorded handshake with the specification, computed independently,
// and with the implementation.
func TestTranscript(t *testing.T) {
	t.Parallel()
	for _, s := range []*Suite{Suite768, Suite1024} {
		t.Run(s.String(), func(t *testing.T) {
			v := &transcript{Suite: s.name}
			if *update {
				v = newTranscript(t, s)
				if err := os.WriteFile(v.file(), append(must(json.MarshalIndent(v, "", "  ")), '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := json.Unmarshal(must(os.ReadFile(v.file())), v); err != nil {
				t.Fatal(err)
			}
			want, got := must(json.Marshal(v)), must(json.Marshal(v.recompute()))
			if !bytes.Equal(want, got) {
				t.Fatalf("%s does not follow from the specification:\nrecorded   %s\nrecomputed %s", v.file(), want, got)
			}

			pool := must(pki.NewPool(must(pki.ParseCertificate(v.Root))))
			key := must(pqcrypto.NewSigningKey(s.sig, v.ClientSeed))
			issuer := must(pki.ParseCertificate(v.IssuerCert))
			clientCert := must(pki.ParseCertificate(v.ClientCert))
			if !clientCert.VerifyingKey().Verify(pqcrypto.ContextLPAClientAuth, v.TBSC, v.SigC) {
				t.Error("sig_C does not verify")
			}
			client := &Config{Suite: s, Roots: pool, Identity: must(pki.NewIdentity([]*pki.Certificate{clientCert, issuer}, key, nil, nil))}
			serverKey := must(pqcrypto.GenerateSigningKey(s.sig)) // the server never signs
			server := &Config{Suite: s, Roots: pool, Identity: &pki.Identity{
				Chain: []*pki.Certificate{must(pki.ParseCertificate(v.ServerCert)), issuer}, Key: serverKey,
				KEMChain: []*pki.Certificate{must(pki.ParseCertificate(v.KEMCert)), issuer}, KEMKey: must(pqcrypto.NewDecapsulationKey(s.kem, v.KEMSeed)),
			}}
			sl := must(server.prepare())
			equal(t, "M1", sl.m1, v.M1)
			ch := newClientHalf(client, must(client.prepare()), v.EKM, v.Now, pki.ID(v.Server))
			ch.encapsulate = func(ek *pqcrypto.EncapsulationKey) (ct, ss []byte, err error) {
				return ek.EncapsulateDeterministic(v.Encapsulated)
			}
			ch.sign = func(context string, m []byte) ([]byte, error) { return kat.Sign(key, []byte(context), m) }
			equal(t, "M2", must(ch.serverIdentity(sl.m1)), v.M2)
			sh := &serverHalf{cfg: server, local: sl, ekm: v.EKM, now: v.Now}
			equal(t, "M3", must(sh.clientProof(v.M2)), v.M3)
			if err := ch.serverFinished(v.M3); err != nil {
				t.Errorf("client: %v", err)
			}
			equal(t, "client's channel id", ch.keys.channelID[:], v.CID)
			equal(t, "server's channel id", sh.keys.channelID[:], v.CID)
			equal(t, "k_fs", ch.keys.finished, v.KFS)
			if sh.peer.svid.ID != pki.ID(v.Client) {
				t.Errorf("server sees %s, want %s", sh.peer.svid.ID, v.Client)
			}
		})
	}
}

func equal(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s = %x, want %x", what, got, want)
	}
}

// FuzzClientProofOpener feeds the opener of M2 with frames, and with plaintexts that it seals
// correctly, so that the fuzzer gets behind the AEAD.
func FuzzClientProofOpener(f *testing.F) {
	w := worldOf(Suite768)
	r := record(f, w)
	ct, sealed, _ := splitClientProof(w.suite, r.m2[frameHeader:])
	honest := must(r.clientHalf.keys.open(sealed))
	f.Add(r.m2[frameHeader:], false)
	f.Add(honest, true)
	f.Add(honest[:len(honest)-1], true)
	f.Add([]byte{1, 0, 0, 1, 0x30}, true)
	f.Fuzz(func(t *testing.T, in []byte, seal bool) {
		body := in
		if seal {
			body = append(bytes.Clone(ct), r.clientHalf.keys.seal(in)...)
		}
		if len(body) == 0 || len(body) > maxProofFrame {
			return
		}
		m3, err := r.serverHalf().clientProof(must(newFrame(typeClientProof, maxProofFrame, body)))
		accepted := seal && bytes.Equal(in, honest) || !seal && bytes.Equal(in, r.m2[frameHeader:])
		if accepted != (err == nil) {
			t.Fatalf("accepted: %v, want %v (%v)", err == nil, accepted, err)
		}
		if err != nil && m3 != nil && m3[frameHeader] == byte(statusAccepted) {
			t.Fatalf("failed with %v, but told the client that it is accepted", err)
		}
	})
}
