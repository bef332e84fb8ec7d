package cluster_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/ledger"
	ledgerseal "github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/lpa"
	"github.com/cairnledger/cairn/pqcrypto/pki"
	"github.com/cairnledger/cairn/pqcrypto/seal"
)

// threats holds, for every row of the table of stolen keys in docs/threat-model.md, the tests that
// try what the row says with the stolen thing in hand. A test is a package of this module and a
// name.
var threats = map[string][]string{
	"one node's cosigner key": {
		"cluster TestThreatForgedCheckpoints", "ledger/seal TestOneStolenKeyStopsNobody", "ledger/seal TestTwoSealedTrees", "ledger/seal TestRestored",
	},
	"cosigner keys of a quorum **and** the log key": {"cluster TestThreatForgedCheckpoints", "api/client TestFork", "api/client TestForkBehind"},
	"the log key alone":                             {"cluster TestThreatForgedCheckpoints"},
	"a whole node: its cosigner, log and identity keys": {
		"ledger/seal TestTwoSealedTrees", "ledger/seal TestEquivocation", "ledger/seal TestNoSignatureWithoutTheRequesters", "cluster/node TestLiarForks",
	},
	"one node's ML-DSA identity key": {
		"cluster TestThreatIdentityKey", "pqcrypto/lpa TestSignaturesOfOtherKinds", "pqcrypto/lpa TestRelayByMemberWithItsOwnCertificate",
		"pqcrypto/lpa TestMemberAnswersForAnother", "ledger/seal TestForgeries",
	},
	"one node's ML-KEM key":             {"pqcrypto/lpa TestThiefOfKEMKey"},
	"a writer's key":                    {"cluster TestThreatClientKeys", "api/server TestAppendPrincipalComesFromTheChannel"},
	"an admin's key":                    {"cluster TestThreatClientKeys", "cluster TestThreatNoCallRewrites"},
	"a participant's key":               {"cluster TestThreatParticipantKey", "api/server TestParticipantReadsNoEntries"},
	"an operator's key":                 {"cluster TestThreatOperatorKey", "cluster TestThreatNoCallRewrites"},
	"an issuing authority's key":        {"pqcrypto/pki TestBadIdentityPaths", "pqcrypto/pki TestRevocations", "cluster/enrolment TestGrants"},
	"a request or an answer on its way": {"cluster/enrolment TestRequestsRefused", "cluster/founding TestFounding"},
	"access to a signer's socket":       {"cluster/signer TestNeverTwoRoots", "cluster/signer TestOverTheSocket"},
	"the root key":                      {"cluster TestThreatForgedCheckpoints"},
	"a node's disk":                     {"ledger TestEveryReadIsProved", "ledger TestTilesOfEveryLevelAreProved", "api/client TestHostileServer"},
	"a node's disk, with write access":  {"ledger TestBadgerCorruption", "ledger TestStoredCheckpointWithAnotherRoot", "api/client TestLies", "raftnode TestDamagedLogStopsTheNode"},
	"the network": {
		"pqcrypto/lpa TestReplayOnAnotherConnection", "pqcrypto/lpa TestReplayedFinished", "pqcrypto/lpa TestTerminatingMITM",
		"pqcrypto/lpa TestFlippedBytesOnTheWire", "pqcrypto/lpa TestWrongServerIdentity",
	},
}

// TestThreatTable holds the page to the tests: a row without a test, or a test without a row, is a
// fault.
func TestThreatTable(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "docs", "threat-model.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(page), "| stolen |")
	if !ok {
		t.Fatal("docs/threat-model.md has no table of stolen keys")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	rows := map[string]bool{}
	for _, line := range strings.Split(table, "\n")[2:] {
		if row, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " |"); ok {
			rows[row] = true
		}
	}
	for row := range rows {
		if len(threats[row]) == 0 {
			t.Errorf("no test tries what docs/threat-model.md says of %q", row)
		}
	}
	for row, tests := range threats {
		if !rows[row] {
			t.Errorf("docs/threat-model.md has no row %q", row)
		}
		for _, test := range tests {
			folder, name, _ := strings.Cut(test, " ")
			if !hasTest(t, filepath.Join("..", filepath.FromSlash(folder)), name) {
				t.Errorf("%q: package %s has no test %s", row, folder, name)
			}
		}
	}
}

func hasTest(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?m)^func ` + name + `\(t \*testing\.T\)`)
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return declared.Match(text)
	})
}

// loot is what can be stolen from a cluster that was made and not started.
type loot struct {
	cluster *local.Cluster
	policy  *tlog.Policy
}

func makeLoot(t *testing.T, quorum int) *loot {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c, err := local.Create(local.Options{Dir: filepath.Join(t.TempDir(), "c"), Nodes: 3, SealQuorum: quorum, Executable: exe})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(c.PolicyPath())
	if err != nil {
		t.Fatal(err)
	}
	policy, err := tlog.ParsePolicy(text)
	if err != nil {
		t.Fatal(err)
	}
	return &loot{cluster: c, policy: policy}
}

func (l *loot) signingKey(t *testing.T, path ...string) *pqcrypto.SigningKey {
	t.Helper()
	key, err := pqcrypto.ReadKeyFile(filepath.Join(append([]string{l.cluster.Dir()}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return key.(*pqcrypto.SigningKey)
}

// logKey opens the log key with what lies on a node's disk.
func (l *loot) logKey(t *testing.T) *pqcrypto.SigningKey {
	t.Helper()
	sealing, err := seal.ReadKeyFile(filepath.Join(l.cluster.NodeDir("n1"), "sealing.key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := seal.OpenKeyFile(sealing, node.LogKeyLabel(l.cluster.Directory()), filepath.Join(l.cluster.NodeDir("n1"), "log.key.sealed"))
	if err != nil {
		t.Fatal(err)
	}
	return key.(*pqcrypto.SigningKey)
}

// TestThreatForgedCheckpoints tries to make a checkpoint that verifies, with the keys of a real
// cluster.
func TestThreatForgedCheckpoints(t *testing.T) {
	t.Parallel()
	for _, quorum := range []int{2, 3} {
		l := makeLoot(t, quorum)
		origin := l.cluster.Origin()
		cp := tlog.Checkpoint{Origin: origin, Size: 1000, Root: merkle.LeafHash([]byte("forged"))}
		line := func(name string, key *pqcrypto.SigningKey) tlog.Signature {
			t.Helper()
			c, err := tlog.NewCosigner(name, key)
			if err != nil {
				t.Fatal(err)
			}
			sig, err := c.Cosign(cp, 1)
			if err != nil {
				t.Fatal(err)
			}
			return sig
		}
		var cosigned []tlog.Signature
		for _, name := range l.cluster.Names() {
			cosigned = append(cosigned, line(origin+"/"+name, l.signingKey(t, name, "cosigner.key")))
		}
		log := line(origin, l.logKey(t))
		// Another key in place of the trusted one, with that one's name and id, and with as many
		// bytes.
		as := func(trusted tlog.Signature, key *pqcrypto.SigningKey) tlog.Signature {
			raw, err := key.SignStandard([]byte(cp.Text()))
			if err != nil {
				t.Fatal(err)
			}
			data := make([]byte, len(trusted.Data))
			copy(data[8:], raw)
			return tlog.Signature{Name: trusted.Name, KeyID: trusted.KeyID, Data: data}
		}
		// n1's cosigner key signs what another cosigner, or the log, would sign.
		first := l.signingKey(t, "n1", "cosigner.key")
		under := func(trusted tlog.Signature) tlog.Signature {
			return tlog.Signature{Name: trusted.Name, KeyID: trusted.KeyID, Data: line(trusted.Name, first).Data}
		}
		root, identity := l.signingKey(t, "pki", "root.key"), l.signingKey(t, "n2", "node.key")
		for name, x := range map[string]struct {
			sigs []tlog.Signature
			want error
		}{
			"one cosigner key":                          {cosigned[:1], tlog.ErrNoLogSignature},
			"one cosigner key and the log key":          {[]tlog.Signature{log, cosigned[0]}, tlog.ErrQuorum},
			"one cosigner key, three times":             {[]tlog.Signature{log, cosigned[0], cosigned[0], cosigned[0]}, tlog.ErrQuorum},
			"the log key alone":                         {[]tlog.Signature{log}, tlog.ErrQuorum},
			"one key fewer than the quorum":             {append([]tlog.Signature{log}, cosigned[:quorum-1]...), tlog.ErrQuorum},
			"all cosigner keys without the log key":     {cosigned, tlog.ErrNoLogSignature},
			"the root key as the log":                   {append([]tlog.Signature{as(log, root)}, cosigned...), tlog.ErrBadSignature},
			"the root key as a cosigner":                {append([]tlog.Signature{log, as(cosigned[quorum-1], root)}, cosigned[:quorum-1]...), tlog.ErrBadSignature},
			"an identity key as a cosigner":             {append([]tlog.Signature{log, as(cosigned[quorum-1], identity)}, cosigned[:quorum-1]...), tlog.ErrBadSignature},
			"one cosigner key as another cosigner":      {append([]tlog.Signature{log, under(cosigned[quorum-1])}, cosigned[:quorum-1]...), tlog.ErrBadSignature},
			"a cosigner key as the log":                 {append([]tlog.Signature{under(log)}, cosigned...), tlog.ErrBadSignature},
			"a quorum of cosigner keys and the log key": {append([]tlog.Signature{log}, cosigned[:quorum]...), nil},
		} {
			note := tlog.Note{Text: cp.Text(), Signatures: x.sigs}
			if _, err := l.policy.Verify(note.Marshal()); !errors.Is(err, x.want) || x.want == nil && err != nil {
				t.Errorf("%d of 3 seal, %s: %v, want %v", quorum, name, err, x.want)
			}
		}
	}
}

// TestThreatIdentityKey: with a node's identity the API gives nothing, and the name on the
// certificate stays the node's.
func TestThreatIdentityKey(t *testing.T) {
	c := startCluster(t, 1)
	p, err := client.LoadProfile(c.Profile("writer"))
	if err != nil {
		t.Fatal(err)
	}
	p.State, p.Certificate, p.Key = "", filepath.Join(c.NodeDir("n1"), "node.crt"), filepath.Join(c.NodeDir("n1"), "node.key")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cl, err := client.Dial(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := cl.Append(ctx, client.Entry{Payload: []byte("x")}); err == nil || !strings.Contains(err.Error(), "role") {
		t.Errorf("a node's identity appends: %v, want a refusal that names the role", err)
	}
	if _, err := cl.Get(ctx, 0); err == nil || !strings.Contains(err.Error(), "role") {
		t.Errorf("a node's identity reads: %v, want a refusal that names the role", err)
	}
	// A client's certificate with the node's key. A thief's program does not check that they belong
	// together; the node does.
	thief := channelOf(t, c, "writer")
	key, err := pqcrypto.ReadKeyFile(p.Key)
	if err != nil {
		t.Fatal(err)
	}
	thief.Identity = &pki.Identity{Chain: thief.Identity.Chain, Key: key.(*pqcrypto.SigningKey)}
	raw, err := net.Dial("tcp", c.Nodes()[0].API)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := thief.Client(ctx, raw, pki.NodeID(local.TrustDomain, clusterOf(t, c), "n1")); err == nil || !strings.Contains(err.Error(), lpa.ReasonSignature) {
		t.Errorf("a node's key opens a writer's session: %v, want a refusal because of the signature", err)
	}
	if h, err := dial(t, c, "reader").Head(ctx); err != nil || h.Size != 1 {
		t.Errorf("afterwards the ledger has %d entries, %v; want the genesis alone", h.Size, err)
	}
}

// dialAs connects under a name of its own, which the cluster's authority certifies with these
// roles.
func dialAs(t *testing.T, c *local.Cluster, name string, roles pki.Role) *client.Client {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	authority, err := pki.LoadAuthority(filepath.Join(c.Dir(), "pki", "root.crt"), filepath.Join(c.Dir(), "pki", "root.key"))
	must(err)
	key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA65)
	must(err)
	cert, err := authority.IssueIdentity(pki.IssueRequest{
		ID: pki.ServiceID(local.TrustDomain, name), Roles: roles, PublicKey: key.Public(), Validity: time.Hour})
	must(err)
	p, err := client.LoadProfile(c.Profile("writer"))
	must(err)
	dir := t.TempDir()
	p.State, p.Certificate, p.Key = "", filepath.Join(dir, "c.crt"), filepath.Join(dir, "c.key")
	must(os.WriteFile(p.Certificate, pki.MarshalPEM(cert), 0o600))
	must(pqcrypto.WriteKeyFile(p.Key, key))
	cl, err := client.Dial(t.Context(), p)
	must(err)
	t.Cleanup(func() { cl.Close() })
	return cl
}

// TestThreatClientKeys: a writer's key appends as that writer only, and an admin's key changes
// nothing that is there.
func TestThreatClientKeys(t *testing.T) {
	c := startCluster(t, 1)
	writer, admin, reader := dial(t, c, "writer"), dial(t, c, "admin"), dial(t, c, "reader")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	append := func(cl *client.Client, payload string) (client.Appended, error) {
		return cl.Append(ctx, client.Entry{Key: []byte("invoice-17"), Payload: []byte(payload)})
	}
	first, err := append(admin, "the admin's")
	if err != nil {
		t.Fatal(err)
	}
	// The same idempotency key under another principal is another key: it neither reads nor
	// replaces the entry.
	second, err := append(writer, "the writer's")
	if err != nil || second.Index == first.Index {
		t.Fatalf("the writer's append with the admin's key: %+v, %v; want an entry of its own", second, err)
	}
	for _, x := range []struct {
		index              uint64
		principal, payload string
	}{{first.Index, "/svc/admin", "the admin's"}, {second.Index, "/svc/writer", "the writer's"}} {
		e, err := reader.Get(ctx, x.index)
		if err != nil || !strings.HasSuffix(e.Principal, x.principal) || string(e.Payload) != x.payload {
			t.Errorf("entry %d is %q by %s, %v; want %q by …%s", x.index, e.Payload, e.Principal, err, x.payload, x.principal)
		}
	}
	// Names of one length are different names.
	third, err := append(dialAs(t, c, "writes", pki.RoleWriter), "another writer's")
	if err != nil || third.Index == second.Index || third.Duplicate {
		t.Errorf("the append of a writer whose name is as long: %+v, %v; want an entry of its own", third, err)
	}
	if _, err := append(admin, "rewritten"); err == nil || !client.IsDefinite(err) {
		t.Errorf("the admin replaces a payload: %v, want a definite refusal", err)
	}
	if e, err := reader.Get(ctx, first.Index); err != nil || string(e.Payload) != "the admin's" {
		t.Errorf("entry %d is now %q, %v", first.Index, e.Payload, err)
	}
	for name, cl := range map[string]*client.Client{"writer": writer, "reader": reader} {
		if _, err := cl.TransferLeadership(ctx, "n1"); err == nil || !strings.Contains(err.Error(), "role") {
			t.Errorf("a %s moves leadership: %v, want a refusal that names the role", name, err)
		}
	}
}

// denials tries calls and wants each to be refused, definitely, because of the role.
func denials(t *testing.T, who string, calls map[string]error) {
	t.Helper()
	for call, err := range calls {
		if err == nil || !client.IsDefinite(err) || !strings.Contains(err.Error(), "needs the role") {
			t.Errorf("%s: %s: %v, want a definite refusal that names the role", who, call, err)
		}
	}
}

// TestThreatParticipantKey: a participant's key reads no entry of a ledger but the genesis, and
// appends, creates and moves nothing.
func TestThreatParticipantKey(t *testing.T) {
	c := startCluster(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	secret, err := dial(t, c, "writer").Append(ctx, client.Entry{Payload: []byte("secret")}, client.Sealed())
	if err != nil {
		t.Fatal(err)
	}
	p := dial(t, c, "participant")
	_, got := p.Get(ctx, secret.Index)
	_, receipt := p.Receipt(ctx, secret.Index)
	_, ranged := p.Range(ctx, 0, 0, func(client.StoredEntry) error { return errors.New("an entry") })
	_, proof := p.InclusionProof(ctx, secret.Index, 0)
	_, append := p.Append(ctx, client.Entry{Payload: []byte("x")})
	_, _, create := p.CreateLedger(ctx, "example.org/thief", "log")
	_, list := p.Ledgers(ctx)
	_, move := p.TransferLeadership(ctx, "")
	denials(t, "a participant", map[string]error{
		"get": got, "receipt": receipt, "range": ranged, "proof": proof, "append": append, "create": create, "list": list, "move": move,
		"watch": p.Watch(ctx, 0, func(client.StoredEntry) error { return errors.New("an entry") }),
	})
	if g, err := p.Get(ctx, 0); err != nil || g.Kind != ledger.KindRecord {
		t.Errorf("the genesis: %+v, %v", g, err)
	}
	if cp, err := p.Checkpoint(ctx); err != nil || cp.Size <= secret.Index {
		t.Errorf("the checkpoint: %+v, %v", cp, err)
	}
}

// TestThreatOperatorKey: an operator's key reads, and appends no payload, creates no ledger and
// moves no leadership.
func TestThreatOperatorKey(t *testing.T) {
	c := startCluster(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := dial(t, c, "writer").Append(ctx, client.Entry{Payload: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	o := dialAs(t, c, "operator", pki.RoleOperator)
	if e, err := o.Get(ctx, 1); err != nil || string(e.Payload) != "x" {
		t.Errorf("an operator reads %+v, %v", e, err)
	}
	_, append := o.Append(ctx, client.Entry{Payload: []byte("x")})
	_, _, create := o.CreateLedger(ctx, "example.org/thief", "log")
	_, move := o.TransferLeadership(ctx, "")
	denials(t, "an operator", map[string]error{"append": append, "create": create, "move": move})
}

// TestThreatNoCallRewrites: the API has no call that changes or removes what is there. A new call
// is judged here first.
func TestThreatNoCallRewrites(t *testing.T) {
	t.Parallel()
	harmless := map[string]string{
		"Append": "adds", "AppendStream": "adds", "TransferLeadership": "moves leadership", "RotateCosigner": "adds",
		"AddMember": "adds", "PromoteMember": "adds", "RemoveMember": "adds", "ListMembers": "reads",
		"Get": "reads", "Range": "reads", "Watch": "reads", "Head": "reads", "Checkpoint": "reads", "Receipt": "reads",
		"InclusionProof": "reads", "ConsistencyProof": "reads", "Verify": "reads", "Policies": "reads", "Status": "reads",
		"CreateLedger": "adds", "ListLedgers": "reads", "GetLedger": "reads",
		"Execute": "adds", "ExecuteStream": "adds", "GetAccount": "reads", "ListAccounts": "reads", "ListAssets": "reads", "GetTransfer": "reads", "ListTransfers": "reads", "GetOutcome": "reads",
		"ListHolds": "reads", "Statement": "reads", "GetInstruction": "reads", "ListInstructions": "reads", "ProveAccount": "reads", "ProveTransfer": "reads", "ProveInstruction": "reads",
		"Blocks": "reads", "Sealed": "reads",
	}
	for _, service := range []grpc.ServiceDesc{
		cairnv1.Ledger_ServiceDesc, cairnv1.Admin_ServiceDesc, cairnv1.Directory_ServiceDesc, cairnv1.Settlement_ServiceDesc, cairnv1.Replica_ServiceDesc,
	} {
		var names []string
		for _, m := range service.Methods {
			names = append(names, m.MethodName)
		}
		for _, s := range service.Streams {
			names = append(names, s.StreamName)
		}
		for _, name := range names {
			if harmless[name] == "" {
				t.Errorf("%s has a call %s: does it add, read, or change what is there?", service.ServiceName, name)
			}
		}
	}
}

// TestThreatQuorumTable computes the table of quorums in docs/threat-model.md by trying every way
// in which honest replicas can be divided between two trees.
func TestThreatQuorumTable(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "docs", "threat-model.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| (\d+) \| (\d+)( \(majority\))? \| (\d+) stolen keys? \| (\d+) \| (\d+) \|$`).FindAllSubmatch(page, -1)
	if len(rows) != 13 {
		t.Fatalf("docs/threat-model.md has %d rows of quorums, want 13", len(rows))
	}
	number := func(b []byte) int {
		n, err := strconv.Atoi(string(b))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, row := range rows {
		n, q := number(row[1]), number(row[2])
		stolen := n
		for f := n; f >= 0; f-- {
			for one := 0; one <= n-f; one++ { // honest replicas on the first tree
				if one+f >= q && n-f-one+f >= q {
					stolen = f
				}
			}
		}
		least, most := ledgerseal.QuorumRange(n)
		if q < least || q > most || (len(row[3]) > 0) != (q == least && n > 2) {
			t.Errorf("%s: the quorum is not one of %d to %d, or the word majority is wrong", row[0], least, most)
		}
		if got := number(row[4]); got != stolen {
			t.Errorf("%s: two sealed trees need %d stolen keys", row[0], stolen)
		}
		if got := number(row[5]); got != n-q {
			t.Errorf("%s: sealing goes on with %d nodes down", row[0], n-q)
		}
		if got := number(row[6]); got != n-least {
			t.Errorf("%s: appends go on with %d nodes down", row[0], n-least)
		}
	}
}
