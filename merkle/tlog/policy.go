package tlog

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/internal/wholefile"
)

// Bounds on a policy. C2SP tlog-policy recommends that at least 32 logs,
// witnesses and groups are supported.
const (
	// MaxPolicySize is the size of the largest policy, in bytes.
	MaxPolicySize = 1 << 20
	maxPolicyLogs = 64
	maxWitnesses  = 256
	maxGroups     = 256
)

// noQuorum is the predefined name of the quorum that demands nothing.
const noQuorum = "none"

// A Policy says which keys a verifier trusts and how many of them must have
// signed a checkpoint: C2SP tlog-policy. It is immutable; the zero Policy
// trusts nobody.
type Policy struct {
	logs      []policyLog
	witnesses []witness
	groups    []group
	// byName finds witnesses and groups, which share one namespace.
	byName map[string]member
	// quorum is the name of a witness or a group, or "none".
	quorum string
}

type policyLog struct {
	key *VerifierKey
	url string // may be empty
}

// witness is a cosigner under the name by which the policy knows it.
type witness struct {
	name string
	key  *VerifierKey
	url  string // may be empty
}

// group witnesses a checkpoint when at least k of its members do.
type group struct {
	name string
	// threshold as written: "all", "any" or a number; k is what it means.
	threshold string
	k         int
	// members were all defined before the group, so groups cannot be circular,
	// and none is a member of another group, so each witness counts once.
	members []string
}

// member refers to a witness, or else a group, by position.
type member struct {
	isGroup  bool
	position int
}

// cosignersGroup is the name of the group in policies of NewPolicy.
const cosignersGroup = "cosigners"

// NewPolicy returns the policy that accepts checkpoints by any of the logs that
// at least k of the cosigners have cosigned, for 1 <= k <= len(cosigners).
// Cosigners are named after their keys.
func NewPolicy(logs []*VerifierKey, cosigners []*VerifierKey, k int) (*Policy, error) {
	b := newPolicyBuilder()
	fail := func(err error) (*Policy, error) { return nil, errors.Wrap(err, "make policy") }
	if len(logs) == 0 {
		return fail(errors.New("no logs"))
	}
	for _, key := range logs {
		if err := b.addLog(key, ""); err != nil {
			return fail(err)
		}
	}
	names := make([]string, 0, len(cosigners))
	for _, key := range cosigners {
		if err := b.addWitness(key.Name(), key, ""); err != nil {
			return fail(err)
		}
		names = append(names, key.Name())
	}
	if k < 1 || k > len(cosigners) {
		return fail(errors.Newf("quorum of %d out of %d cosigners, want 1 to %d", k, len(cosigners), len(cosigners)))
	}
	if err := b.addGroup(cosignersGroup, strconv.Itoa(k), names); err != nil {
		return fail(err)
	}
	if err := b.setQuorum(cosignersGroup); err != nil {
		return fail(err)
	}
	// What a key name allows and a policy does not: the delete character.
	if i := bytes.IndexByte(b.p.Marshal(), 0x7f); i >= 0 {
		return fail(errors.New("a key name holds control character 0x7f"))
	}
	return &b.p, nil
}

// For returns the policy for another ledger of the same cluster. The log key is one key of the
// cluster: under each origin it is that ledger's log line. A policy with logs named origin keeps
// those logs alone. Otherwise all its logs must have one name, and are renamed to origin: their key
// ids change, since a key id hashes the name, and their URLs, which lead to the other ledger, are
// dropped. Witnesses, groups and quorum stay as they are.
func (p *Policy) For(origin string) (*Policy, error) {
	q := *p
	q.logs = nil
	for _, l := range p.logs {
		if l.key.name == origin {
			q.logs = append(q.logs, l)
		}
	}
	if len(q.logs) > 0 {
		return &q, nil
	}
	fail := func(err error) (*Policy, error) {
		return nil, errors.Wrapf(err, "derive the policy for ledger %s", quoteShort(origin))
	}
	if len(p.logs) == 0 {
		return fail(errors.Newf("%w: it lists no log", ErrPolicy))
	}
	for _, l := range p.logs {
		if first := p.logs[0].key.name; l.key.name != first {
			return fail(errors.Newf("it lists logs of other names, %s and %s among them, so it does not say whose key signs this one: "+
				"use a policy with the logs of one ledger, or add a log line named %s", first, l.key.name, quoteShort(origin)))
		}
		key, err := l.key.named(origin)
		if err != nil {
			return fail(err)
		}
		q.logs = append(q.logs, policyLog{key: key})
	}
	return &q, nil
}

// Logs returns the keys of the logs, in order.
func (p *Policy) Logs() []*VerifierKey {
	keys := make([]*VerifierKey, len(p.logs))
	for i, l := range p.logs {
		keys[i] = l.key
	}
	return keys
}

// Cosigners returns the keys of the witnesses, in order.
func (p *Policy) Cosigners() []*VerifierKey {
	keys := make([]*VerifierKey, len(p.witnesses))
	for i, w := range p.witnesses {
		keys[i] = w.key
	}
	return keys
}

// Threshold says how many cosigners the policy needs, and of how many. Where the quorum is a group
// of groups, no single number says it, and needed is 0; of is then the number of all cosigners.
func (p *Policy) Threshold() (needed, of int) {
	if p.quorum == noQuorum {
		return 0, 0
	}
	m, ok := p.byName[p.quorum]
	switch {
	case !ok:
		return 0, len(p.witnesses)
	case !m.isGroup:
		return 1, 1
	}
	g := p.groups[m.position]
	for _, name := range g.members {
		if p.byName[name].isGroup {
			return 0, len(p.witnesses)
		}
	}
	return g.k, len(g.members)
}

// String returns the policy's text, without the comments and the layout that
// it may have been parsed from. Parsing it gives an equal policy.
func (p *Policy) String() string { return string(p.Marshal()) }

// Marshal returns the same as [Policy.String], for a file.
func (p *Policy) Marshal() []byte {
	var b bytes.Buffer
	line := func(items ...string) {
		for i, item := range items {
			if i > 0 && item != "" {
				b.WriteByte(' ')
			}
			b.WriteString(item)
		}
		b.WriteByte('\n')
	}
	for _, l := range p.logs {
		line("log", l.key.String(), l.url)
	}
	for _, w := range p.witnesses {
		line("witness", w.name, w.key.String(), w.url)
	}
	for _, g := range p.groups {
		line(append([]string{"group", g.name, g.threshold}, g.members...)...)
	}
	if p.quorum != "" {
		line("quorum", p.quorum)
	}
	return b.Bytes()
}

// ParsePolicy parses a policy file.
func ParsePolicy(text []byte) (*Policy, error) {
	p, err := parsePolicy(text)
	return p, errors.Wrap(err, "parse policy")
}

// LoadPolicy reads a policy file, and no more of it than a policy can have.
func LoadPolicy(path string) (*Policy, error) {
	text, err := wholefile.Read(path, MaxPolicySize)
	if err != nil {
		return nil, errors.Wrap(err, "read policy")
	}
	p, err := parsePolicy(text)
	return p, errors.Wrapf(err, "parse policy %s", path)
}

func parsePolicy(text []byte) (*Policy, error) {
	if len(text) > MaxPolicySize {
		return nil, errors.Newf("it is larger than %d bytes", MaxPolicySize)
	}
	b := newPolicyBuilder()
	rest := string(text)
	for number := 1; rest != ""; number++ {
		line, after, ok := strings.Cut(rest, "\n")
		if !ok {
			return nil, errors.Newf("line %d lacks its newline; the policy is truncated", number)
		}
		rest = after
		if err := b.parseLine(line); err != nil {
			return nil, errors.Wrapf(err, "line %d", number)
		}
	}
	if b.p.quorum == "" {
		return nil, errors.New("no quorum line: the policy does not say whose cosignatures it demands")
	}
	return &b.p, nil
}

// policyBuilder adds definitions to a policy and holds them to the rules.
type policyBuilder struct {
	p Policy
	// grouped holds the names that are members of a group already.
	grouped map[string]bool
}

func newPolicyBuilder() *policyBuilder {
	return &policyBuilder{
		p:       Policy{byName: make(map[string]member)},
		grouped: make(map[string]bool),
	}
}

// parseLine adds the definition on a line without its newline.
func (b *policyBuilder) parseLine(line string) error {
	for i := range len(line) {
		if c := line[i]; c < 0x20 && c != '\t' || c == 0x7f {
			return errors.Newf("control character 0x%02x", c)
		}
	}
	items := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
	if len(items) == 0 || items[0][0] == '#' {
		return nil
	}
	keyword, items := items[0], items[1:]
	switch keyword {
	case "log":
		if len(items) < 1 || len(items) > 2 {
			return errors.Newf("log line has %d items, want: log <vkey> [<url>]", len(items))
		}
		key, err := ParseVerifierKey(items[0])
		if err != nil {
			return err
		}
		return b.addLog(key, optional(items, 1))
	case "witness":
		if len(items) < 2 || len(items) > 3 {
			return errors.Newf("witness line has %d items, want: witness <name> <vkey> [<url>]", len(items))
		}
		key, err := ParseVerifierKey(items[1])
		if err != nil {
			return err
		}
		return b.addWitness(items[0], key, optional(items, 2))
	case "group":
		if len(items) < 3 {
			return errors.Newf("group line has %d items, want: group <name> <all|any|k> <name>...", len(items))
		}
		return b.addGroup(items[0], items[1], items[2:])
	case "quorum":
		if len(items) != 1 {
			return errors.Newf("quorum line has %d items, want: quorum <name>", len(items))
		}
		return b.setQuorum(items[0])
	}
	return errors.Newf("unknown keyword %s, want log, witness, group or quorum", quoteShort(keyword))
}

func optional(items []string, i int) string {
	if i < len(items) {
		return items[i]
	}
	return ""
}

func (b *policyBuilder) addLog(key *VerifierKey, url string) error {
	if len(b.p.logs) == maxPolicyLogs {
		return errors.Newf("more than %d logs", maxPolicyLogs)
	}
	if key.Type() == Ed25519Cosignature {
		return errors.Newf("log %s has a key for %s, want %s or %s", key.Name(), key.Type(), MLDSA44, Ed25519)
	}
	for _, l := range b.p.logs {
		if l.key.samePublicKey(key) {
			return errors.Newf("log %s has the same public key as log %s", key.Name(), l.key.Name())
		}
	}
	b.p.logs = append(b.p.logs, policyLog{key: key, url: url})
	return nil
}

func (b *policyBuilder) addWitness(name string, key *VerifierKey, url string) error {
	if len(b.p.witnesses) == maxWitnesses {
		return errors.Newf("more than %d witnesses", maxWitnesses)
	}
	if key.Type() == Ed25519 {
		return errors.Newf("witness %s has a key for %s, want %s or %s", name, key.Type(), MLDSA44, Ed25519Cosignature)
	}
	for _, w := range b.p.witnesses {
		if w.key.samePublicKey(key) {
			return errors.Newf("witness %s has the same public key as witness %s", name, w.name)
		}
	}
	if err := b.define(name, member{position: len(b.p.witnesses)}); err != nil {
		return err
	}
	b.p.witnesses = append(b.p.witnesses, witness{name: name, key: key, url: url})
	return nil
}

func (b *policyBuilder) addGroup(name, threshold string, members []string) error {
	if len(b.p.groups) == maxGroups {
		return errors.Newf("more than %d groups", maxGroups)
	}
	g := group{name: name, threshold: threshold, members: members}
	switch threshold {
	case "all":
		g.k = len(members)
	case "any":
		g.k = 1
	default:
		k, err := parseDecimal(threshold)
		if err != nil {
			return errors.Wrapf(err, "threshold of group %s is neither all, any nor a number", name)
		}
		if k < 1 || k > uint64(len(members)) {
			return errors.Newf("threshold of group %s is %d, want 1 to its %d members", name, k, len(members))
		}
		g.k = int(k)
	}
	for _, m := range members {
		if _, ok := b.p.byName[m]; !ok {
			return errors.Newf("member %s of group %s is not defined on a line before it", m, name)
		}
		if b.grouped[m] {
			return errors.Newf("member %s of group %s is a member of a group already", m, name)
		}
		b.grouped[m] = true
	}
	if err := b.define(name, member{isGroup: true, position: len(b.p.groups)}); err != nil {
		return err
	}
	b.p.groups = append(b.p.groups, g)
	return nil
}

func (b *policyBuilder) define(name string, m member) error {
	if name == noQuorum {
		return errors.Newf("name %q is predefined", noQuorum)
	}
	if _, ok := b.p.byName[name]; ok {
		return errors.Newf("name %s is defined twice", name)
	}
	b.p.byName[name] = m
	return nil
}

func (b *policyBuilder) setQuorum(name string) error {
	if b.p.quorum != "" {
		return errors.New("more than one quorum line")
	}
	if _, ok := b.p.byName[name]; !ok && name != noQuorum {
		return errors.Newf("quorum %s is not defined on a line before it", name)
	}
	b.p.quorum = name
	return nil
}
