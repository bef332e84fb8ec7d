package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/settlement"
	camt "github.com/cairnledger/cairn/settlement/iso20022/report"
	"github.com/cairnledger/cairn/settlement/proof"
	"github.com/cairnledger/cairn/settlement/reconcile"
	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

// The files of the evening, in the folder of each bank.
const (
	statementFile = "statement.xml"
	proofFile     = "balance.proof"
	forgedFile    = "forged.proof"
)

// statements writes a camt.053 for each bank, reads it again, and compares it with the ledger. That
// the comparison finds something is shown with a statement that leaves out a booking.
func (d *settleDemo) statements(ctx context.Context) error {
	bookings := 0
	for _, b := range d.banks {
		book, err := readBook(ctx, b.client, b.cash, 0, 0, 0)
		if err != nil {
			return err
		}
		book.Ledger = d.origin
		s, err := statementOf(book, time.Now())
		if err != nil {
			return err
		}
		if closing := book.Balances[0].Closing; !closing.Equal(d.books[b.cash]) {
			return failf(exitRefused, "", "the statement of %s closes with %s, want %s", b.cash, closing, d.books[b.cash])
		}
		raw, err := camt.EncodeStatement(b.id+"-evening", s.Created, s)
		if err != nil {
			return err
		}
		name := filepath.Join(b.dir, statementFile)
		if err := os.WriteFile(name, raw, 0o644); err != nil {
			return errors.Wrap(err, "write the statement")
		}
		if raw, err = os.ReadFile(name); err != nil {
			return errors.Wrap(err, "read the statement")
		}
		r, err := compareWith(book, raw)
		if err != nil {
			return err
		}
		if n := classOf(r, reconcile.Matched); r.Breaks() != 0 || n != len(s.Entries) || n < 2*dayFiles*dayPayments {
			return failf(exitRefused, "", "%s: %d breaks, and %d of %d bookings match", name, r.Breaks(), n, len(s.Entries))
		}
		bookings += len(s.Entries)

		forgotten := s.Entries[len(s.Entries)/2]
		amount, err := statement.ParseAmount(forgotten.Amount)
		if err != nil {
			return err
		}
		if forgotten.Side == camt.Credit {
			amount = amount.Neg()
		}
		s.Entries = slices.Delete(slices.Clone(s.Entries), len(s.Entries)/2, len(s.Entries)/2+1)
		s.Balances[1].Amount = d.books[b.cash].Add(amount).String()
		if raw, err = camt.EncodeStatement(b.id+"-forgotten", s.Created, s); err != nil {
			return err
		}
		if r, err = compareWith(book, raw); err != nil {
			return err
		}
		if n := classOf(r, reconcile.MissingThere); r.Breaks() != 1 || n != 1 {
			return failf(exitRefused, "", "a statement of %s that leaves out a booking: %d breaks, of which %d say so; want 1", b.cash, r.Breaks(), n)
		}
	}
	return d.step("camt.053", map[string]any{"bookings": bookings, "breaks": 0, "without_a_booking": 1},
		fmt.Sprintf("both statements, of %d bookings, agree with the ledger to the cent; where a copy leaves out a booking, the comparison finds that one", bookings))
}

func compareWith(book *reconcile.Book, raw []byte) (*reconcile.Report, error) {
	list, err := statement.Read(raw, nil)
	if err != nil {
		return nil, err
	}
	joined, err := statement.Join(list)
	if err != nil {
		return nil, err
	}
	return reconcile.Compare(book, joined, reconcile.DefaultOptions())
}

// classOf returns how many lines of a report are of a class.
func classOf(r *reconcile.Report, class reconcile.Class) int {
	for _, c := range r.Summary.Classes {
		if c.Class == class {
			return c.Lines
		}
	}
	return 0
}

// proofs gets the proof of each bank's balance, as the bank itself, and verifies it with nothing but
// the policy. It has to say what the books say.
func (d *settleDemo) proofs(parent context.Context) error {
	ctx, cancel := context.WithTimeout(parent, d.timeout)
	defer cancel()
	var took time.Duration
	size, length := uint64(0), 0
	for _, b := range d.banks {
		x, _, err := b.client.Account(ctx, b.cash)
		if err != nil {
			return errors.Wrap(err, "read the account")
		}
		for {
			raw, _, err := b.client.ProveAccount(ctx, b.cash, 0)
			if err != nil {
				return errors.Wrap(err, "get the proof of a balance")
			}
			begin := time.Now()
			v, err := verifyProof(&verifier{Policy: d.policy}, proofFile, raw)
			took = time.Since(begin)
			if err != nil {
				return errors.Wrap(err, "verify the proof of a balance offline")
			}
			if v.Account == nil || v.Account.ID != b.cash || v.Origin != d.origin {
				return failf(exitRefused, "", "the proof of %s is about another account", b.cash)
			}
			if v.Account.AsOfSize > x.GetLastIndex() {
				posted, err := statement.ParseAmount(v.Account.Posted)
				if err != nil || !posted.Equal(d.books[b.cash]) {
					return failf(exitRefused, "", "the proof says that %s has %s, and it should have %s", b.cash, v.Account.Posted, d.books[b.cash])
				}
				if err := os.WriteFile(filepath.Join(b.dir, proofFile), raw, 0o644); err != nil {
					return errors.Wrap(err, "write the proof")
				}
				size, length = v.Account.AsOfSize, len(raw)
				break
			}
			if wait(ctx, 10*time.Millisecond) != nil {
				return failf(exitUnavailable, "", "no proof of %s covers entry %d after %s", b.cash, x.GetLastIndex(), d.timeout)
			}
		}
	}
	a, b := d.banks[0], d.banks[1]
	return d.step("proof", map[string]any{"balances": map[string]any{a.cash: d.books[a.cash], b.cash: d.books[b.cash]}, "size": size, "bytes": length, "verify_us": took.Microseconds()},
		fmt.Sprintf("%s has %s, %s %s: proved as of size %d in a file of %s, verified offline in %s",
			a.name, demoMoney(d.books[a.cash]), b.name, demoMoney(d.books[b.cash]), size, bytesString(uint64(length)), latencyString(took)))
}

// forgeries changes a proof in every way that pays: more money, another account, and a flipped bit
// here and there. Each is refused.
func (d *settleDemo) forgeries(context.Context) error {
	a, b := d.banks[0], d.banks[1]
	raw, err := os.ReadFile(filepath.Join(a.dir, proofFile))
	if err != nil {
		return errors.Wrap(err, "read the proof")
	}
	if _, err := verifyProof(&verifier{Policy: d.policy}, proofFile, raw); err != nil {
		return errors.Wrap(err, "the proof itself does not verify")
	}
	tried := 0
	refused := func(what string, forged []byte) error {
		tried++
		if bytes.Equal(forged, raw) {
			return errors.Newf("the forgery is none: %s", what)
		}
		if _, err := verifyProof(&verifier{Policy: d.policy}, forgedFile, forged); err == nil {
			return failf(exitRefused, "", "a forged proof was accepted: %s", what)
		}
		return nil
	}
	richer, err := richerBy(raw, settlement.AmountOf(100_000_000)) // cents
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(a.dir, forgedFile), richer, 0o644); err != nil {
		return errors.Wrap(err, "write the forged proof")
	}
	if err := refused("a million more", richer); err != nil {
		return err
	}
	if err := refused("another account", bytes.Replace(raw, []byte(a.cash), []byte(b.cash), 1)); err != nil {
		return err
	}
	const flips = 100
	for i := range flips {
		flipped := bytes.Clone(raw)
		flipped[len(raw)*i/flips] ^= 1 << (i % 7)
		if err := refused(fmt.Sprintf("bit %d of byte %d is flipped", i%7, len(raw)*i/flips), flipped); err != nil {
			return err
		}
	}
	return d.step("forgery", map[string]any{"tried": tried, "accepted": 0},
		fmt.Sprintf("a million more for %s, its proof under the name of %s, and %d flipped bits: all %d forged proofs are refused", a.name, b.name, flips, tried))
}

// richerBy returns the proof of an account with more credits in its record.
func richerBy(raw []byte, more settlement.Amount) ([]byte, error) {
	p, err := proof.ParseAccount(raw)
	if err != nil {
		return nil, err
	}
	x, err := settlement.ParseAccount(p.Record)
	if err != nil {
		return nil, err
	}
	x.Balances.CreditsPosted, _ = x.Balances.CreditsPosted.Add(more)
	p.Record = x.Marshal()
	return p.Marshal(), nil
}
