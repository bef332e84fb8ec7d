package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/settlement/proof"
)

func (a *app) receiptCommand() *cobra.Command {
	var out string
	var force bool
	cmd := &cobra.Command{
		Use:   "receipt INDEX",
		Short: "Fetch the receipt of an entry: a self-contained .tlog-proof",
		Long: `Fetch the receipt of an entry, verify it against the policy, and write it as a
C2SP .tlog-proof: the entry (extra line), its inclusion proof, and a checkpoint
that a majority of the replicas cosigned. Whoever has the policy can verify it
offline, with cairn verify or with tools that know C2SP.`,
		Example: "  cairn receipt 1 -o 1.tlog-proof && cairn verify 1.tlog-proof",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			index, err := parseIndex("INDEX", args[0])
			if err != nil {
				return err
			}
			var file *target
			if out != "" {
				if file, err = a.openTarget("--out", out, force); err != nil {
					return err
				}
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				r, err := c.Receipt(ctx, index)
				if err != nil {
					return errors.Wrapf(err, "get receipt of entry %d", index)
				}
				raw := r.Marshal()
				cp, _, err := tlog.ParseCheckpoint(r.Checkpoint)
				if err != nil {
					return errors.Wrap(err, "parse checkpoint of the receipt")
				}
				entry := storedResult((&programFinder{c: c}).of(ctx, r.Entry()), r.Entry())
				result := struct {
					Index   uint64       `json:"index"`
					Size    uint64       `json:"size"`
					Root    string       `json:"root"`
					File    string       `json:"file,omitempty"`
					Receipt string       `json:"receipt,omitempty"`
					Entry   *entryResult `json:"entry"`
				}{Index: r.Index, Size: cp.Size, Root: cp.Root.String(), Entry: &entry}
				if !file.file() {
					if !a.json {
						return a.emitBytes(raw)
					}
					result.Receipt = string(raw)
					return a.emit(result, nil)
				}
				if err := file.write(raw); err != nil {
					return err
				}
				a.did(effect{text: "the receipt is in " + printable(out)})
				result.File = out
				return a.emit(result, func(w *page) {
					fmt.Fprintf(w, "%s: entry %d in the ledger of size %d\n", printable(out), r.Index, cp.Size)
					if entry.Kind != "" {
						w.hang("  ", entry.summary())
					}
				})
			})
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "write to this new `file` instead of standard output, which is -")
	cmd.Flags().BoolVar(&force, "force", false, "with --out: replace the file if it exists")
	return cmd
}

// verdict is the result of verifying one receipt.
type verdict struct {
	Valid     bool           `json:"valid"`
	File      string         `json:"file"`
	Reason    string         `json:"reason,omitempty"`
	Origin    string         `json:"origin,omitempty"`
	Size      uint64         `json:"size,omitempty"`
	Root      string         `json:"root,omitempty"`
	Entry     *entryResult   `json:"entry,omitempty"`
	Cosigners []cosignerInfo `json:"cosigners,omitempty"`
	Quorum    *quorumInfo    `json:"quorum,omitempty"`
	// PayloadSHA256 is of the payload's bytes, PolicySHA256 of the policy's canonical text.
	PayloadSHA256 string `json:"payload_sha256,omitempty"`
	PolicySHA256  string `json:"policy_sha256,omitempty"`
	// PolicyEpoch is that of the policy that the receipt was verified under, where a chain tells it.
	PolicyEpoch *uint32 `json:"policy_epoch,omitempty"`
	derivation
	Online string `json:"online,omitempty"`

	leaf []byte // of the entry
}

// quorumInfo says how many cosigned, and how many of how many the policy needs. Needed is 0 where
// the policy's rule is not one number.
type quorumInfo struct {
	Have   int `json:"have"`
	Of     int `json:"of"`
	Needed int `json:"needed,omitempty"`
}

func newQuorumInfo(p *tlog.Policy, by []tlog.CosignedBy) *quorumInfo {
	needed, of := p.Threshold()
	return &quorumInfo{Have: len(by), Of: of, Needed: needed}
}

func (q *quorumInfo) String() string {
	if q.Needed == 0 {
		return fmt.Sprintf("%d of %d, which the policy's groups accept", q.Have, q.Of)
	}
	return fmt.Sprintf("%d of %d, %d needed", q.Have, q.Of, q.Needed)
}

// cosignedFields are the lines of a text that say who cosigned and when.
func cosignedFields(q *quorumInfo, origin string, by []cosignerInfo) []string {
	pairs := []string{"  cosigned", q.String()}
	for _, c := range by {
		line := strings.TrimPrefix(c.Name, origin+"/")
		if c.Time != "" {
			line += " at " + c.Time
		}
		pairs = append(pairs, "", line)
	}
	return pairs
}

// policyFingerprint is the SHA-256 of a policy's canonical text: two people with one fingerprint
// have one policy, however their files are laid out.
func policyFingerprint(p *tlog.Policy) string {
	sum := sha256.Sum256(p.Marshal())
	return hex.EncodeToString(sum[:])
}

type cosignerInfo struct {
	Name string `json:"name"`
	Time string `json:"time,omitempty"`
}

func cosignerInfos(by []tlog.CosignedBy) []cosignerInfo {
	var infos []cosignerInfo
	for _, c := range by {
		info := cosignerInfo{Name: c.Name}
		if !c.Time.IsZero() {
			info.Time = c.Time.UTC().Format("2006-01-02T15:04:05Z")
		}
		infos = append(infos, info)
	}
	return infos
}

func (a *app) verifyCommand() *cobra.Command {
	var (
		payload string
		online  bool
	)
	cmd := &cobra.Command{
		Use:   "verify FILE...",
		Short: "Verify receipts and proofs offline, with the policy alone",
		Long: `Verify receipts (.tlog-proof; - is standard input) against the policy, offline:
the log's signature, the quorum of cosignatures, and that the entry is in the
Merkle tree that they sign. Exits with 3 if one is refused, and says why.

With --chain FILE (see cairn policy chain) a receipt is verified under the
policy of its size: receipts from before a change of keys or members stay valid,
and what old keys sign after it is refused.

The files of cairn settle proof are verified in the same way: what an account
had, what became of a transfer, a statement.

With --payload FILE the entry's payload must also be exactly that file, or the
digest of it (see cairn append --digest).
With --online the ledger is asked as well: does its history of today contain it?

Where --ledger or CAIRN_LEDGER names another ledger than the policy file, the
policy is derived from the file. Only the ledger's genesis says whether it is
the right one: it is compared when the receipt is that of entry 0, and with
--online.`,
		Example: `  cairn verify --policy policy invoice-17.tlog-proof \
      --payload invoice-17.pdf`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			policy, err := a.policy()
			if err != nil {
				return err
			}
			var want digest
			if payload != "" {
				if want, err = digestFile(payload); err != nil {
					return errors.Wrap(err, "read payload to compare with")
				}
			}
			refused := 0
			var last error
			for _, name := range args {
				raw, err := a.readInput(cmd.Context(), name, proof.MaxSize)
				if err == nil && len(raw) > tlog.MaxReceiptSize && !proof.Is(raw) {
					err = errTooLong
				}
				if errors.Is(err, errTooLong) {
					return fail(exitRefused, "no receipt is that long", errors.Wrap(err, "read receipt"))
				}
				if err != nil {
					return errors.Wrap(err, "read receipt")
				}
				if proof.Is(raw) {
					if payload != "" || online {
						return usagef("--payload and --online are for receipts of entries, and %s is a proof about an account or a transfer", printable(name))
					}
					v, err := verifyProof(policy, name, raw)
					if v.derivation = policy.derivation(); err != nil {
						v, last = proofVerdict{File: name, Reason: err.Error()}, err
						refused++
					}
					if err := a.emit(v, v.text); err != nil {
						return err
					}
					continue
				}
				v, err := verifyReceipt(policy, name, raw)
				if err == nil && payload != "" {
					err = comparePayload(raw, want, payload)
				}
				if err == nil && v.Entry.Index == 0 {
					err = policy.confirm(v.leaf)
				}
				if err == nil && online {
					v.Online, err = a.askLedger(cmd, policy, raw)
				}
				v.derivation = policy.derivation()
				if err != nil {
					if f := classify(err); f.code != exitRefused {
						return err
					}
					v, last = verdict{File: name, Reason: err.Error()}, err
					refused++
				}
				if err := a.emit(v, v.text); err != nil {
					return err
				}
			}
			switch {
			case refused == 1 && len(args) == 1:
				return errors.Wrapf(last, "refused %s", args[0])
			case refused > 0:
				return failf(exitRefused, "", "%d of %d receipts refused", refused, len(args))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&payload, "payload", "", "the entry must hold exactly this `file`, or its digest")
	cmd.Flags().BoolVar(&online, "online", false, "also ask the ledger of the profile")
	return cmd
}

const refusedNext = "do not accept it; get the receipt again from the ledger, and check that the policy is the right one"

// verifyReceipt verifies a receipt; every error of it has the code for refusal.
func verifyReceipt(policy *verifier, name string, raw []byte) (verdict, error) {
	r, err := tlog.ParseReceipt(raw)
	if err != nil {
		return verdict{}, fail(exitRefused, refusedNext, errors.Wrap(err, "malformed receipt"))
	}
	cp, err := policy.VerifyReceipt(r)
	if err != nil {
		return verdict{}, refused(err)
	}
	entry, err := leafResult("", r.Index, r.Extra)
	if err != nil {
		return verdict{}, fail(exitRefused, refusedNext, err)
	}
	leaf, err := ledger.ParseLeaf(r.Extra)
	if err != nil {
		return verdict{}, fail(exitRefused, refusedNext, err)
	}
	sum := sha256.Sum256(leaf.Body)
	of, epoch := policy.at(cp.Size)
	return verdict{
		Valid: true, File: name, Origin: cp.Origin, Size: cp.Size, Root: cp.Root.String(),
		Entry: &entry, Cosigners: cosignerInfos(cp.Cosigners), Quorum: newQuorumInfo(of, cp.Cosigners),
		PayloadSHA256: hex.EncodeToString(sum[:]), PolicySHA256: policyFingerprint(of), PolicyEpoch: epoch, leaf: r.Extra,
	}, nil
}

// comparePayload makes sure that an entry holds the document of a digest, or that digest.
func comparePayload(receipt []byte, want digest, name string) error {
	r, err := tlog.ParseReceipt(receipt)
	if err != nil {
		return err
	}
	e, err := ledger.ParseLeaf(r.Extra)
	if err != nil {
		return err
	}
	have := digest{sum: sha256.Sum256(e.Body), size: int64(len(e.Body))}
	if d, ok := parseDigest(e.Body); ok && d == want || have == want {
		return nil
	}
	return failf(exitRefused, "", "the receipt is valid, but for another payload than %s", printable(name))
}

// askLedger gets the verdict of a node, and has a derived policy compared with the genesis.
func (a *app) askLedger(cmd *cobra.Command, policy *verifier, receipt []byte) (string, error) {
	var text string
	err := a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
		v, err := c.VerifyOnline(ctx, receipt)
		if err != nil {
			return errors.Wrap(err, "ask the ledger")
		}
		if !v.Valid {
			return failf(exitRefused, refusedNext, "the ledger says %s: %s", v.Verdict, v.Reason)
		}
		text = v.Verdict
		return policy.confirmOnline(ctx, c)
	})
	return text, err
}

func (v verdict) text(w *page) {
	if !v.Valid {
		fmt.Fprintf(w, "%s  %s\n", bad("REFUSED"), v.File)
		return
	}
	fmt.Fprintf(w, "%s %s\n", good("verified"), v.File)
	pairs := []string{
		"  ledger", v.Origin,
		"  entry", strconv.FormatUint(v.Entry.Index, 10) + " of " + strconv.FormatUint(v.Size, 10),
		"  time", v.Entry.Time,
		"  principal", v.Entry.Principal,
	}
	if key := v.Entry.keyText(); key != "" {
		pairs = append(pairs, "  key", loose+key)
	}
	contents := v.Entry.contents("  ")
	if v.Entry.Kind == "" && v.Entry.Payload != nil && strings.HasPrefix(*v.Entry.Payload, digestPrefix) {
		contents[1] = v.Entry.payloadText() // a digest is not broken where it need not be
	}
	pairs = append(pairs, contents...)
	if v.Entry.read != nil {
		pairs = append(pairs, "  read as", "a command of the program "+v.Entry.Program+", which the receipt does not name")
	}
	pairs = append(pairs, "  sha256", v.PayloadSHA256, "  root", v.Root)
	pairs = append(pairs, cosignedFields(v.Quorum, v.Origin, v.Cosigners)...)
	if v.PolicyEpoch != nil {
		pairs = append(pairs, "  epoch", fmt.Sprintf("%d of the policy, which is that of this size", *v.PolicyEpoch))
	}
	pairs = append(append(pairs, "  policy", v.PolicySHA256), v.derivation.pairs(": --online compares it")...)
	if v.Online != "" {
		pairs = append(pairs, "  ledger says", v.Online)
	}
	fields(w, pairs...)
}
