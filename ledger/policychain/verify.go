package policychain

import (
	"bytes"
	"fmt"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// Verified is what a chain proves to a verifier who trusts one of its policies. It is a
// tlog.Verifier: it judges each checkpoint under the policy of its size. Immutable.
type Verified struct {
	Origin string
	// Steps are the policies from the trusted one on, ascending. There is at least one.
	Steps []Step
	// Restored is the record with which the ledger was restored behind these policies, nil when it was
	// not. No policy of Steps has signed it, so it is nobody's word: it explains a refusal, and is not
	// the reason for one.
	Restored *ledger.PolicyChange
}

// ErrRestored says that the ledger was restored, by keys that the trusted policy did not hand over to.
var ErrRestored = errors.New("restored: not signed by the policy before. Trust the policy of the restored ledger if you know who restored it")

// Step is one policy of a chain.
type Step struct {
	Says   *ledger.Policy // what the genesis or the change says
	Policy *tlog.Policy   // of a verifier: the trusted one itself, or what Says demands
	// From is the smallest size that the policy is for, up to the From of the next step.
	From uint64
	// Before must accept a checkpoint of a size up to Until, too; nil for the trusted policy.
	Before *tlog.Policy
	Until  uint64
}

// Epoch returns the policy's.
func (s *Step) Epoch() uint32 { return s.Says.Epoch }

// Newest returns the newest policy.
func (v *Verified) Newest() *Step { return &v.Steps[len(v.Steps)-1] }

// link is a receipt of the chain with the policy that its leaf says.
type link struct {
	receipt *tlog.Receipt
	policy  *ledger.Policy
	// restored is the record when it restored the ledger; nil for others, and the genesis.
	restored *ledger.PolicyChange
}

func (l *link) verifier(origin string) (*tlog.Policy, error) { return l.policy.Verifier(origin) }

// Verify verifies the chain for who trusts a policy: that of the genesis or a later one of the
// chain. Of several equal ones it is the first. The errors name the change that is wrong.
func (c *Chain) Verify(trusted *tlog.Policy) (*Verified, error) {
	v, err := c.verify(trusted)
	return v, errors.Wrap(err, "verify the chain of policies")
}

func (c *Chain) verify(trusted *tlog.Policy) (*Verified, error) {
	g, err := ledger.GenesisOf(c.Genesis.Extra)
	if err != nil {
		return nil, err
	}
	if c.Genesis.Index != 0 {
		return nil, errors.Newf("the genesis has index %d", c.Genesis.Index)
	}
	links := []link{{receipt: c.Genesis, policy: g.Policy0()}}
	for i, r := range c.Changes {
		change, err := ledger.PolicyChangeOf(r.Extra)
		if err != nil {
			return nil, errors.Wrapf(err, "change %d", i+1)
		}
		if want := uint32(i + 1); change.Policy.Epoch != want {
			return nil, errors.Newf("the policy of epoch %d stands where that of epoch %d belongs: a change is left out, or stands elsewhere", change.Policy.Epoch, want)
		}
		if r.Index <= links[i].receipt.Index {
			return nil, errors.Newf("the change to epoch %d has index %d, the one before %d", i+1, r.Index, links[i].receipt.Index)
		}
		l := link{receipt: r, policy: &change.Policy}
		if change.Reason == ledger.PolicyRestore {
			l.restored = change
		}
		links = append(links, l)
	}
	v := &Verified{Origin: g.Origin}
	first := -1
	var differs error
	for i := range links {
		if err := links[i].policy.Agrees(g.Origin, trusted); err == nil {
			first = i
			break
		} else if differs == nil {
			differs = err
		}
	}
	if first < 0 {
		return nil, errors.Wrap(differs, "the trusted policy is none of the chain; the genesis differs")
	}
	if _, err := trusted.VerifyReceipt(links[first].receipt); err != nil {
		for _, l := range links[first+1:] {
			if l.restored != nil && bytes.Equal(l.receipt.Checkpoint, links[first].receipt.Checkpoint) {
				err = errors.Wrapf(ErrRestored, "at size %d, with the policy of epoch %d", l.restored.Restored.Size, l.policy.Epoch)
			}
		}
		return nil, errors.Wrapf(err, "the trusted policy, of epoch %d", first)
	}
	v.Steps = []Step{{Says: links[first].policy, Policy: trusted, From: links[first].receipt.Index + 1}}
	base := trusted
	for from := first + 1; from < len(links); {
		end := from + 1 // of the hand-over: the changes with the same checkpoint
		for end < len(links) && links[end-1].restored == nil && bytes.Equal(links[end].receipt.Checkpoint, links[from].receipt.Checkpoint) {
			end++
		}
		if v.Restored = links[end-1].restored; v.Restored != nil {
			break
		}
		if base, err = v.handover(base, links[from:end]); err != nil {
			return nil, err
		}
		from = end
	}
	return v, nil
}

// handover verifies the changes of one hand-over and returns the policy that has taken over.
func (v *Verified) handover(base *tlog.Policy, links []link) (*tlog.Policy, error) {
	last := &links[len(links)-1]
	to, err := last.verifier(v.Origin)
	if err != nil {
		return nil, err
	}
	cp, err := base.Verify(last.receipt.Checkpoint)
	if err != nil {
		return nil, errors.Wrapf(err, "the change to epoch %d is not sealed under the policy before", last.policy.Epoch)
	}
	if _, err := to.Verify(last.receipt.Checkpoint); err != nil {
		return nil, errors.Wrapf(err, "the policy of epoch %d has not taken over", last.policy.Epoch)
	}
	for i := range links {
		r, epoch := links[i].receipt, links[i].policy.Epoch
		if cp.Origin != v.Origin {
			return nil, errors.Newf("the change to epoch %d is sealed in the ledger %q", epoch, cp.Origin)
		}
		if err := merkle.VerifyInclusion(r.Index, cp.Size, merkle.LeafHash(r.Extra), r.Proof, cp.Root); err != nil {
			return nil, errors.Wrapf(err, "the change to epoch %d", epoch)
		}
		policy, err := links[i].verifier(v.Origin)
		if err != nil {
			return nil, err
		}
		v.Steps = append(v.Steps, Step{Says: links[i].policy, Policy: policy, From: r.Index + 1, Before: base, Until: cp.Size})
	}
	return to, nil
}

// At returns the policy of a size. The error says that the trusted policy is a later one.
func (v *Verified) At(size uint64) (*Step, error) {
	for i := len(v.Steps) - 1; i >= 0; i-- {
		s := &v.Steps[i]
		if size >= s.From {
			return s, nil
		}
	}
	return nil, errors.Newf("a checkpoint of size %d is older than the trusted policy, which is for sizes from %d on", size, v.Steps[0].From)
}

// Verify verifies a signed note under the policy of its size.
func (v *Verified) Verify(note []byte) (*tlog.VerifiedCheckpoint, error) {
	cp, _, err := tlog.ParseCheckpoint(note)
	if err != nil {
		return nil, errors.Wrap(err, "verify checkpoint")
	}
	step, err := v.At(cp.Size)
	if err != nil {
		return nil, err
	}
	if step.Before != nil && cp.Size <= step.Until {
		if _, err := step.Before.Verify(note); err != nil {
			return nil, errors.Wrapf(err, "size %d lies in the hand-over to epoch %d, under the policy before", cp.Size, step.Epoch())
		}
	}
	verified, err := step.Policy.Verify(note)
	if r := v.Restored; err != nil && r != nil && cp.Size > r.Restored.Size {
		err = errors.Wrapf(ErrRestored, "the ledger was restored at size %d, with a policy of epoch %d (%v)", r.Restored.Size, r.Policy.Epoch, err)
	}
	return verified, errors.Wrapf(err, "size %d, under the policy of epoch %d", cp.Size, step.Epoch())
}

// VerifyReceipt verifies a receipt under the policy of its size.
func (v *Verified) VerifyReceipt(r *tlog.Receipt) (*tlog.VerifiedCheckpoint, error) {
	cp, err := v.Verify(r.Checkpoint)
	if err != nil {
		return nil, err
	}
	step, err := v.At(cp.Size)
	if err != nil {
		return nil, err
	}
	return step.Policy.VerifyReceipt(r)
}

// Continues says why v does not continue an older chain that is known already; nil if it does. Both
// were verified by who trusts the same policy. A chain that ends earlier than the known one would
// bring keys back that were replaced.
func (v *Verified) Continues(known *Verified) error {
	if len(v.Steps) < len(known.Steps) {
		return errors.Newf("the chain of policies ends with epoch %d, and epoch %d is known", v.Newest().Epoch(), known.Newest().Epoch())
	}
	for i := range known.Steps {
		if a, b := &v.Steps[i], &known.Steps[i]; a.From != b.From || a.Epoch() != b.Epoch() || !a.Says.Equal(b.Says) {
			return errors.Newf("the chain of policies says another policy of epoch %d than the one that is known", b.Epoch())
		}
	}
	return nil
}

// Strangers returns the names and ids of the keys that signed a note and are in none of the policies
// of a verifier: signs of a change that it does not know. A note that does not parse has none.
func Strangers(note []byte, policies ...*tlog.Policy) (keys []string) {
	_, n, err := tlog.ParseCheckpoint(note)
	if err != nil {
		return nil
	}
	for _, s := range n.Signatures {
		known := false
		for _, p := range policies {
			for _, k := range append(p.Logs(), p.Cosigners()...) {
				known = known || k.Signed(s)
			}
		}
		if !known {
			keys = append(keys, fmt.Sprintf("%s+%08x", s.Name, s.KeyID))
		}
	}
	return keys
}
