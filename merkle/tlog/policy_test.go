package tlog

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
)

// testKeys returns a log key and witness keys as text, for policies.
func testKeys(t testing.TB) map[string]string {
	keys := map[string]string{"LOG": testCosigner(t, testOrigin, 1).Key().String()}
	for i := range 6 {
		name := fmt.Sprintf("W%d", i+1)
		keys[name] = testCosigner(t, testOrigin+"/n"+fmt.Sprint(i+1), byte(10+i)).Key().String()
	}
	log, _ := ed25519Key(t, testOrigin, Ed25519, 5)
	cosigner, _ := ed25519Key(t, "w.example", Ed25519Cosignature, 6)
	keys["EDLOG"], keys["EDCOSIGNER"] = log.String(), cosigner.String()
	keys["W1AGAIN"] = testCosigner(t, "another.example/name", 10).Key().String()
	return keys
}

// expand replaces $NAME with the key of that name.
func expand(text string, keys map[string]string) string {
	for name, key := range keys {
		text = strings.ReplaceAll(text, "$"+name+"$", key)
	}
	return text
}

func TestPolicySyntax(t *testing.T) {
	t.Parallel()
	keys := testKeys(t)
	const w12 = "witness a $W1$\nwitness b $W2$\n"
	for _, tt := range []struct{ name, text, want string }{
		{"smallest", "witness a $W1$\nquorum a\n", ""},
		{"no witness", "log $LOG$\nquorum none\n", ""},
		{"all of it", "# comment\n\n \t \n  # another\nlog $LOG$ https://log.example/\nlog\t$EDLOG$  \n" +
			"witness a $W1$ https://a.example/\n witness b\t$W2$\nwitness c $EDCOSIGNER$\ngroup g 1 a b\ngroup h any c\ngroup all all g h\nquorum all\n", ""},
		{"order of logs and witnesses", "witness a $W1$\nquorum a\nlog $LOG$\nwitness b $W2$\n", ""},
		{"opaque names", "witness \xff\xfe+é $W1$\nquorum \xff\xfe+é\n", ""},
		{"keywords as names", w12 + "group group all a b\nquorum group\n", ""},

		{"empty", "", "no quorum line"},
		{"no quorum", "log $LOG$\n" + w12, "no quorum line"},
		{"two quorums", w12 + "quorum a\nquorum a\n", "line 4: more than one quorum"},
		{"truncated", w12 + "quorum a", "line 3 lacks its newline"},
		{"unknown keyword", "wittness a $W1$\nquorum a\n", `line 1: unknown keyword "wittness"`},
		{"carriage returns", "witness a $W1$\r\nquorum a\r\n", "line 1: control character 0x0d"},
		{"delete character", "# \x7f\nquorum none\n", "line 1: control character 0x7f"},
		{"NUL", "quorum none\n\x00\n", "line 2: control character 0x00"},
		{"comment after a definition", "witness a $W1$ # comment\nquorum a\n", "witness line has 4 items"},
		{"log without key", "log\nquorum none\n", "log line has 0 items"},
		{"log with too much", "log $LOG$ u v\nquorum none\n", "log line has 3 items"},
		{"bad log key", "log x\nquorum none\n", "parse verifier key"},
		{"cosignature key for a log", "log $EDCOSIGNER$\nquorum none\n", "key for Ed25519 cosignature"},
		{"log twice", "log $LOG$\nlog $LOG$\nquorum none\n", "same public key"},
		{"witness without name", "witness $W1$\nquorum none\n", "witness line has 1 items"},
		{"bad witness key", "witness a b\nquorum none\n", "parse verifier key"},
		{"note key for a witness", "witness a $EDLOG$\nquorum a\n", "key for Ed25519, want"},
		{"witness twice", "witness a $W1$\nwitness b $W1AGAIN$\nquorum a\n", "witness b has the same public key as witness a"},
		{"name twice", "witness a $W1$\nwitness a $W2$\nquorum a\n", "name a is defined twice"},
		{"group with the name of a witness", w12 + "group a any b\nquorum a\n", "name a is defined twice"},
		{"witness none", "witness none $W1$\nquorum none\n", "predefined"},
		{"group none", w12 + "group none any a\nquorum none\n", "predefined"},
		{"member none", w12 + "group g any none\nquorum g\n", "member none of group g is not defined"},
		{"group of nobody", w12 + "group g all\nquorum g\n", "group line has 2 items"},
		{"member defined later", "witness a $W1$\ngroup g all a b\nwitness b $W2$\nquorum g\n", "line 2: member b of group g is not defined"},
		{"group in itself", w12 + "group g all a g\nquorum g\n", "member g of group g is not defined"},
		{"member twice", w12 + "group g 2 a a\nquorum g\n", "member a of group g is a member of a group already"},
		{"member of two groups", w12 + "group g all a b\ngroup h any a\nquorum g\n", "member a of group h is a member of a group already"},
		{"threshold 0", w12 + "group g 0 a b\nquorum g\n", "threshold of group g is 0"},
		{"threshold too large", w12 + "group g 3 a b\nquorum g\n", "threshold of group g is 3, want 1 to its 2"},
		{"threshold with zero", w12 + "group g 01 a b\nquorum g\n", "leading zero"},
		{"negative threshold", w12 + "group g -1 a b\nquorum g\n", "neither all, any nor a number"},
		{"threshold in upper case", w12 + "group g ALL a b\nquorum g\n", "neither all, any nor a number"},
		{"quorum of two", w12 + "quorum a b\n", "quorum line has 2 items"},
		{"quorum without name", w12 + "quorum\n", "quorum line has 0 items"},
		{"quorum undefined", w12 + "quorum c\n", "quorum c is not defined"},
		{"quorum defined later", "witness a $W1$\nquorum g\ngroup g any a\n", "line 2: quorum g is not defined"},
		{"too large", strings.Repeat("#\n", MaxPolicySize), "larger than"},
	} {
		p, err := ParsePolicy([]byte(expand(tt.text, keys)))
		wantError(t, tt.name, err, tt.want)
		if err != nil {
			continue
		}
		again, err := ParsePolicy(p.Marshal())
		if err != nil || again.String() != p.String() {
			t.Errorf("%s: policy does not survive: %v\n%s", tt.name, err, p)
		}
	}
}

func TestPolicyLimits(t *testing.T) {
	t.Parallel()
	var logs, witnesses, groups strings.Builder
	for i := range 200 {
		log, _ := ed25519Key(t, fmt.Sprintf("log%d", i), Ed25519, byte(i))
		fmt.Fprintf(&logs, "log %s\n", log)
	}
	for i := range 32 {
		k, _ := ed25519Key(t, fmt.Sprintf("w%d", i), Ed25519Cosignature, byte(i))
		fmt.Fprintf(&witnesses, "witness w%d %s\n", i, k)
		fmt.Fprintf(&groups, "group g%d any w%d\n", i, i)
	}
	// C2SP strongly recommends 32 of each.
	logLines := strings.SplitAfter(logs.String(), "\n")
	if _, err := ParsePolicy([]byte(strings.Join(logLines[:32], "") + witnesses.String() + groups.String() + "quorum g31\n")); err != nil {
		t.Error(err)
	}
	_, err := ParsePolicy([]byte(logs.String() + "quorum none\n"))
	wantError(t, "200 logs", err, "more than 64 logs")
}

func TestNewPolicy(t *testing.T) {
	t.Parallel()
	l := newTestLedger(t, 3)
	p := l.policy(t, 2)
	want := expand("log $LOG$\nwitness ORIGIN/n1 $W1$\nwitness ORIGIN/n2 $W2$\nwitness ORIGIN/n3 $W3$\n"+
		"group cosigners 2 ORIGIN/n1 ORIGIN/n2 ORIGIN/n3\nquorum cosigners\n", testKeys(t))
	want = strings.ReplaceAll(want, "ORIGIN", testOrigin)
	if got := p.String(); got != want {
		t.Errorf("policy\n%s\nwant\n%s", got, want)
	}
	if len(p.Logs()) != 1 || p.Logs()[0].String() != l.log.Key().String() || len(p.Cosigners()) != 3 {
		t.Errorf("policy with %d logs and %d cosigners", len(p.Logs()), len(p.Cosigners()))
	}
	log := []*VerifierKey{l.log.Key()}
	nodes := p.Cosigners()
	ed, _ := ed25519Key(t, "w.example", Ed25519, 6)
	delete := testCosigner(t, "a\x7fb", 77).Key()
	for _, tt := range []struct {
		name      string
		logs      []*VerifierKey
		cosigners []*VerifierKey
		k         int
		want      string
	}{
		{"no logs", nil, nodes, 2, "no logs"},
		{"no cosigners", log, nil, 0, "quorum of 0 out of 0"},
		{"no quorum", log, nodes, 0, "quorum of 0 out of 3"},
		{"negative quorum", log, nodes, -1, "quorum of -1"},
		{"quorum too large", log, nodes, 4, "quorum of 4 out of 3"},
		{"log twice", append(log, log...), nodes, 2, "same public key"},
		{"cosigner twice", log, append(nodes, nodes[0]), 2, "same public key"},
		{"cosigner that cannot cosign", log, append(nodes, ed), 2, "key for Ed25519"},
		{"cosigner named like the group", log, []*VerifierKey{testCosigner(t, "cosigners", 50).Key()}, 1, "defined twice"},
		{"name that a policy cannot hold", log, []*VerifierKey{delete}, 1, "0x7f"},
	} {
		_, err := NewPolicy(tt.logs, tt.cosigners, tt.k)
		wantError(t, tt.name, err, tt.want)
	}
}

// TestQuorum has checkpoints with all combinations of three cosignatures
// judged by policies of every threshold, and by the rule.
func TestQuorum(t *testing.T) {
	t.Parallel()
	l := newTestLedger(t, 3)
	for k := 1; k <= 3; k++ {
		p := l.policy(t, k)
		for set := range 8 {
			signers := []*Cosigner{l.log}
			var names []string
			for i, n := range l.nodes {
				if set>>i&1 == 1 {
					signers = append(signers, n)
					names = append(names, n.Key().Name())
				}
			}
			v, err := p.Verify(l.note(t, signers...))
			if len(names) < k {
				if !errors.Is(err, ErrQuorum) {
					t.Errorf("%d of 3 with %v: error %v, want ErrQuorum", k, names, err)
				}
				wantError(t, fmt.Sprint(names), err, fmt.Sprintf("%d of %d cosignatures that group cosigners needs; missing: ", len(names), k))
				continue
			}
			if err != nil {
				t.Errorf("%d of 3 with %v: %v", k, names, err)
				continue
			}
			if v.Checkpoint != l.checkpoint() || v.LogKey.String() != l.log.Key().String() {
				t.Errorf("verified %+v by %s", v.Checkpoint, v.LogKey.Name())
			}
			var got []string
			for i, c := range v.Cosigners {
				got = append(got, c.Name)
				if c.Time.Unix() != int64(1_700_000_001+i) {
					t.Errorf("cosignature %d of time %s", i, c.Time)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(names) {
				t.Errorf("cosigners %v, want %v", got, names)
			}
		}
	}
}

// TestNestedQuorum is the example of C2SP tlog-policy: two of the X and any of
// the Y.
func TestNestedQuorum(t *testing.T) {
	t.Parallel()
	l := newTestLedger(t, 6)
	p, err := ParsePolicy([]byte(expand("log $LOG$\nwitness X1 $W1$\nwitness X2 $W2$\nwitness X3 $W3$\ngroup X-witnesses 2 X1 X2 X3\n"+
		"witness Y1 $W4$\nwitness Y2 $W5$\nwitness Y3 $W6$\ngroup Y-witnesses any Y1 Y2 Y3\n"+
		"group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n", testKeys(t))))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		nodes []int
		want  string
	}{
		{[]int{0, 1, 3}, ""},
		{[]int{2, 0, 5}, ""},
		{[]int{0, 1, 2, 3, 4, 5}, ""},
		{[]int{0, 1, 2}, "1 of 2 cosignatures that group X-and-Y needs; missing: group Y-witnesses"},
		{[]int{0, 3, 4, 5}, "1 of 2 cosignatures that group X-and-Y needs; missing: group X-witnesses"},
		{nil, "0 of 2 cosignatures that group X-and-Y needs; missing: group X-witnesses, group Y-witnesses"},
	} {
		signers := []*Cosigner{l.log}
		for _, i := range tt.nodes {
			signers = append(signers, l.nodes[i])
		}
		_, err := p.Verify(l.note(t, signers...))
		wantError(t, fmt.Sprint(tt.nodes), err, tt.want)
	}
	single, err := ParsePolicy([]byte(expand("log $LOG$\nwitness X1 $W1$\nquorum X1\n", testKeys(t))))
	if err != nil {
		t.Fatal(err)
	}
	_, err = single.Verify(l.note(t, l.log, l.nodes[1]))
	wantError(t, "single witness", err, "quorum is not reached: no cosignature by X1 ("+testOrigin+"/n1)")
}

func TestPolicyVerdicts(t *testing.T) {
	t.Parallel()
	l := newTestLedger(t, 3)
	keys := testKeys(t)
	p := l.policy(t, 2)
	good := l.note(t, l.log, l.nodes[0], l.nodes[1])
	parse := func(text string) *Policy {
		p, err := ParsePolicy([]byte(expand(text, keys)))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	edit := func(f func(*Note)) []byte {
		n, err := ParseNote(good)
		if err != nil {
			t.Fatal(err)
		}
		f(n)
		return n.Marshal()
	}
	edLog, edSign := ed25519Key(t, testOrigin, Ed25519, 5)
	otherLog := testCosigner(t, "other.example", 60)
	otherPolicy, err := NewPolicy([]*VerifierKey{otherLog.Key()}, p.Cosigners(), 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		policy *Policy
		note   []byte
		is     error
		want   string
	}{
		{"good", p, good, nil, ""},
		{"zero policy", &Policy{}, good, ErrPolicy, "lists no log"},
		{"policy without logs", parse("witness a $W1$\nquorum a\n"), good, ErrPolicy, "lists no log"},
		{"policy without quorum", parse("log $LOG$\nwitness a $W1$\nquorum none\n"), good, ErrPolicy, "has no quorum"},
		// A log of the policy that signs the checkpoint of another origin does not vouch for it.
		{"another log", otherPolicy, l.note(t, otherLog, l.nodes[0], l.nodes[1]), ErrUnknownLog, "the policy lists other.example"},
		{"no signature of the log", p, l.note(t, l.nodes...), ErrNoLogSignature, "no line by a key of"},
		{"unknown lines are ignored", p, edit(func(n *Note) {
			n.Signatures = append([]Signature{{Name: "stranger", KeyID: 1, Data: []byte{1}}, {Name: testOrigin, KeyID: 1, Data: []byte{1}},
				{Name: "stranger", KeyID: l.log.Key().KeyID(), Data: []byte{1}}}, n.Signatures...)
		}), nil, ""},
		{"16 lines", p, edit(func(n *Note) {
			for len(n.Signatures) < 16 {
				n.Signatures = append(n.Signatures, Signature{Name: "stranger", KeyID: 1, Data: make([]byte, 5000)})
			}
		}), nil, ""},
		{"repeated lines count once", p, edit(func(n *Note) { n.Signatures[2] = n.Signatures[1] }), ErrQuorum, "1 of 2 cosignatures"},
		{"bad line of the log", p, edit(func(n *Note) { n.Signatures[0].Data[100] ^= 1 }), ErrBadSignature, "line by " + testOrigin + " "},
		{"bad line of a node", p, edit(func(n *Note) { n.Signatures[2].Data[100] ^= 1 }), ErrBadSignature, "line by " + testOrigin + "/n2 "},
		{"bad line beside a good one of the same node", p, edit(func(n *Note) {
			bad := n.Signatures[1]
			bad.Data = append([]byte(nil), bad.Data...)
			bad.Data[9] ^= 1
			n.Signatures = append(n.Signatures, bad)
		}), ErrBadSignature, testOrigin + "/n1"},
		{"bad line of a node that the quorum does not need", p, edit(func(n *Note) {
			n.Signatures = append(n.Signatures, Signature{Name: l.nodes[2].Key().Name(), KeyID: l.nodes[2].Key().KeyID(), Data: []byte{1}})
		}), ErrBadSignature, testOrigin + "/n3"},
		{"another size", p, edit(func(n *Note) { n.Text = strings.Replace(n.Text, "\n37\n", "\n38\n", 1) }), ErrBadSignature, "size 38"},
		{"another origin", p, edit(func(n *Note) { n.Text = "x" + n.Text }), ErrUnknownLog, `origin is "xledger.example/audit", the policy lists ledger.example/audit`},
		{"not a note", p, []byte("x"), nil, "parse note"},
		{"not a checkpoint", p, edit(func(n *Note) { n.Text = "text\n" }), nil, "parse checkpoint"},
		{"extension line", p, edit(func(n *Note) { n.Text += "extension\n" }), nil, "extension lines"},
		{"Ed25519 line of the log", parse("log $EDLOG$\nwitness a $W1$\nquorum a\n"),
			edit(func(n *Note) { n.Signatures = append(n.Signatures, edSign(l.checkpoint(), 0)) }), nil, ""},
		{"either log key", parse("log $EDLOG$\nlog $LOG$\nwitness a $W1$\nquorum a\n"), good, nil, ""},
	} {
		v, err := tt.policy.Verify(tt.note)
		wantError(t, tt.name, err, tt.want)
		if tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s: error %v is not %v", tt.name, err, tt.is)
		}
		if (err == nil) != (v != nil) {
			t.Errorf("%s: checkpoint %v with error %v", tt.name, v, err)
		}
	}
	v, err := parse("log $LOG$\nlog $EDLOG$\nwitness a $W1$\nquorum a\n").Verify(edit(func(n *Note) {
		n.Signatures[0] = edSign(l.checkpoint(), 0)
	}))
	if err != nil || v.LogKey.String() != edLog.String() {
		t.Errorf("log key %v, %v; want the Ed25519 key", v, err)
	}
}

// TestLoadPolicy: a policy file is read as far as a policy can go, and an error names the file.
func TestLoadPolicy(t *testing.T) {
	good := newTestLedger(t, 3).policy(t, 2).Marshal()
	path := filepath.Join(t.TempDir(), "policy")
	load := func(content []byte, size int64) (*Policy, error) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, max(size, int64(len(content)))); err != nil {
			t.Fatal(err)
		}
		return LoadPolicy(path)
	}
	if p, err := load(good, 0); err != nil || !bytes.Equal(p.Marshal(), good) {
		t.Errorf("the policy as it was written: %v", err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := load(good, 256<<20)
	runtime.ReadMemStats(&after)
	if read := after.TotalAlloc - before.TotalAlloc; err == nil || !strings.Contains(err.Error(), "larger than") || read > 32<<20 {
		t.Errorf("a file of 256 MiB: %v, after %d bytes of memory", err, read)
	}
	_, malformed := load([]byte("log nonsense\n"), 0)
	_, absent := LoadPolicy(path + ".none")
	for what, err := range map[string]error{"too large": err, "malformed": malformed, "absent": absent} {
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("a file that is %s: %v, want an error that names it", what, err)
		}
	}
	if !errors.Is(absent, fs.ErrNotExist) {
		t.Errorf("an absent file: %v, want one that matches fs.ErrNotExist", absent)
	}
}
