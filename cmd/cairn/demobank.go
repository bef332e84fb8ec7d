package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/api/client/settle/gatewayledger"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/pki"
	"github.com/cairnledger/cairn/settlement/gateway"
	"github.com/cairnledger/cairn/settlement/gateway/folder"
	"github.com/cairnledger/cairn/settlement/iso20022"
	"github.com/cairnledger/cairn/settlement/reconcile"
	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

// bankName is what a bank is called: by people, in messages, and on this machine.
type bankName struct{ name, bic, id string }

// demoBank is a bank of the demonstration: a participant with a certificate of its own, and a
// gateway that works on its folders.
type demoBank struct {
	bankName
	cash, shares string // accounts
	principal    string
	dir          string
	client       *settle.Client
	conn         *client.Client

	folder *folder.Folder
	stop   context.CancelFunc
	ended  chan struct{} // closed when the gateway has ended

	mu     sync.Mutex
	events []folder.Event // of files that were answered
	times  []time.Time    // of events
	failed error          // the newest failure; the gateway tries again
}

// newBank issues the certificate of a bank and starts its gateway.
func (d *settleDemo) newBank(ctx context.Context, n bankName) (b *demoBank, err error) {
	b = &demoBank{bankName: n, cash: n.id + "-cash", shares: n.id + "-shares", dir: filepath.Join(d.cluster.Dir(), n.id), ended: make(chan struct{})}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, errors.Wrap(err, "make the folder of a bank")
	}
	crt, key := filepath.Join(b.dir, n.id+".crt"), filepath.Join(b.dir, n.id+".key")
	if err := issueParticipant(filepath.Join(d.cluster.Dir(), "pki"), n.id, crt, key); err != nil {
		return nil, errors.Wrapf(err, "issue the certificate of %s", n.name)
	}
	p, err := client.LoadProfile(d.cluster.Profile("participant"))
	if err != nil {
		return nil, err
	}
	p = p.ForLedger(d.origin)
	p.Certificate, p.Key, p.State = crt, key, ""
	if err := p.Write(filepath.Join(b.dir, "profile.yaml")); err != nil {
		return nil, err
	}
	if b.conn, err = client.Dial(ctx, p, client.WithTimeout(d.timeout)); err != nil {
		return nil, errors.Wrap(err, "prepare client")
	}
	b.client, b.principal = settle.New(b.conn), b.conn.Principal()
	g, err := gateway.New(gatewayledger.New(b.client, 0), gateway.Options{
		Participant: n.bic, Rail: "demo", BetweenAgents: true,
		Accounts: map[string]string{"ALPHDEFF": "bank-a-cash", "BETAFRPP": "bank-b-cash"},
	})
	if err != nil {
		return nil, err
	}
	quick := folder.Options{Quiet: time.Millisecond, Poll: 5 * time.Millisecond, Report: b.report}
	if b.folder, err = folder.Open(filepath.Join(b.dir, "in"), filepath.Join(b.dir, "out"), quick); err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stop = stop
	go func() {
		defer close(b.ended)
		_ = b.folder.Run(run, g)
	}()
	return b, nil
}

// issueParticipant makes the key of a participant and issues its certificate.
func issueParticipant(ca, name, crt, keyFile string) error {
	authority, err := loadAuthority(ca)
	if err != nil {
		return err
	}
	key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA65)
	if err != nil {
		return err
	}
	cert, err := authority.IssueIdentity(pki.IssueRequest{ID: pki.ServiceID(local.TrustDomain, name), Roles: pki.RoleParticipant, PublicKey: key.Public(), Validity: local.LeafValidity})
	if err != nil {
		return err
	}
	if err := pqcrypto.WriteKeyFile(keyFile, key); err != nil {
		return err
	}
	return os.WriteFile(crt, pki.MarshalPEM(append([]*pki.Certificate{cert}, authority.Issuers()...)...), 0o644)
}

func (b *demoBank) close() {
	if b.stop != nil {
		b.stop()
		<-b.ended
		_ = b.folder.Close()
	}
	if b.conn != nil {
		_ = b.conn.Close()
	}
}

func (b *demoBank) report(e folder.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.Err != nil {
		b.failed = e.Err
		return
	}
	b.events, b.times = append(b.events, e), append(b.times, time.Now())
}

// answered returns what was answered so far.
func (b *demoBank) answered() ([]folder.Event, []time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.events), slices.Clone(b.times)
}

// payment is one payment of a file.
type payment struct {
	id     string // TxId and EndToEndId
	amount reconcile.Amount
	status string // that its reply has to give it
	reason string // code of the reply, "" for none
}

// paymentFile is a pacs.008 with payments of one bank to another.
type paymentFile struct {
	name     string
	from, to *demoBank
	payments []payment
}

// newPayments makes a file of n payments of 1.00 to 1,000.00.
func newPayments(name string, from, to *demoBank, n int) *paymentFile {
	f := &paymentFile{name: name, from: from, to: to}
	for i := range n {
		amount := statement.NewAmount(100+mathrand.Int64N(99_901), 2)
		f.payments = append(f.payments, payment{id: fmt.Sprintf("%s-%d", name, i+1), amount: amount, status: "ACSC"})
	}
	return f
}

// total is what the file moves.
func (f *paymentFile) total() (sum reconcile.Amount) {
	for _, p := range f.payments {
		if p.status == "ACSC" {
			sum = sum.Add(p.amount)
		}
	}
	return sum
}

// message writes the pacs.008.
func (f *paymentFile) message(now time.Time) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08">
  <FIToFICstmrCdtTrf>
    <GrpHdr>
      <MsgId>%s</MsgId>
      <CreDtTm>%s</CreDtTm>
      <NbOfTxs>%d</NbOfTxs>
      <IntrBkSttlmDt>%s</IntrBkSttlmDt>
      <SttlmInf><SttlmMtd>CLRG</SttlmMtd></SttlmInf>
      <InstgAgt><FinInstnId><BICFI>%s</BICFI></FinInstnId></InstgAgt>
      <InstdAgt><FinInstnId><BICFI>%s</BICFI></FinInstnId></InstdAgt>
    </GrpHdr>
`, f.name, now.UTC().Format(time.RFC3339), len(f.payments), now.UTC().Format(time.DateOnly), f.from.bic, f.to.bic)
	for _, p := range f.payments {
		fmt.Fprintf(&b, `    <CdtTrfTxInf>
      <PmtId><EndToEndId>%s</EndToEndId><TxId>%s</TxId><UETR>%s</UETR></PmtId>
      <IntrBkSttlmAmt Ccy="%s">%s</IntrBkSttlmAmt>
      <ChrgBr>SLEV</ChrgBr>
      <Dbtr><Nm>Customer of %s</Nm></Dbtr>
      <DbtrAgt><FinInstnId><BICFI>%s</BICFI></FinInstnId></DbtrAgt>
      <CdtrAgt><FinInstnId><BICFI>%s</BICFI></FinInstnId></CdtrAgt>
      <Cdtr><Nm>Customer of %s</Nm></Cdtr>
    </CdtTrfTxInf>
`, p.id, p.id, newUETR(), demoCurrency, p.amount, f.from.name, f.from.bic, f.to.bic, f.to.name)
	}
	b.WriteString("  </FIToFICstmrCdtTrf>\n</Document>\n")
	return b.Bytes()
}

// newUETR returns a random UUID of version 4.
func newUETR() string {
	var u [16]byte
	_, _ = rand.Read(u[:])
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// give puts a file into the folder of its bank, whole.
func (f *paymentFile) give() error { return f.from.give(f.name+".xml", f.message(time.Now())) }

func (b *demoBank) give(name string, raw []byte) error {
	aside := filepath.Join(b.dir, "in", "."+name)
	if err := os.WriteFile(aside, raw, 0o644); err != nil {
		return errors.Wrap(err, "write a message")
	}
	return errors.Wrap(os.Rename(aside, filepath.Join(b.dir, "in", name)), "write a message")
}

// waitAnswered waits until a bank has answered n files in all.
func (d *settleDemo) waitAnswered(ctx context.Context, b *demoBank, n int) error {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	for {
		events, _ := b.answered()
		if len(events) == n {
			return nil
		}
		if len(events) > n {
			return failf(exitRefused, "", "the gateway of %s answered %d files, and was given %d", b.name, len(events), n)
		}
		if wait(ctx, time.Millisecond) != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			why := ""
			if b.failed != nil {
				why = ": " + b.failed.Error()
			}
			return failf(exitUnavailable, "", "the gateway of %s answered %d of %d files within %s%s", b.name, len(events), n, d.timeout, why)
		}
	}
}

// readReply reads the reply to a file from the disk, and demands for every payment the status that
// it should have. The file has to be where its answer says, and nowhere else.
func (f *paymentFile) readReply() error {
	rejected := !slices.ContainsFunc(f.payments, func(p payment) bool { return p.status == "ACSC" })
	for _, in := range []struct {
		dir  string
		want bool
	}{{"in", false}, {"in/done", !rejected}, {"in/rejected", rejected}} {
		_, err := os.Stat(filepath.Join(f.from.dir, filepath.FromSlash(in.dir), f.name+".xml"))
		if (err == nil) != in.want {
			return failf(exitRefused, "", "%s.xml is in %s: %t, want %t", f.name, in.dir, err == nil, in.want)
		}
	}
	replies, err := filepath.Glob(filepath.Join(f.from.dir, "out", f.name+".xml.reply*"))
	if err != nil || len(replies) != 1 {
		return failf(exitRefused, "", "%s.xml has %d replies, want 1: %v", f.name, len(replies), replies)
	}
	raw, err := os.ReadFile(replies[0])
	if err != nil {
		return errors.Wrap(err, "read a reply")
	}
	m, err := iso20022.Decode(raw)
	if err != nil {
		return fail(exitRefused, "", errors.Wrapf(err, "the reply to %s.xml", f.name))
	}
	if m.Type() != "pacs.002" || len(m.Transactions) != len(f.payments) {
		return failf(exitRefused, "", "the reply to %s.xml is a %s about %d payments, want a pacs.002 about %d", f.name, m.Type(), len(m.Transactions), len(f.payments))
	}
	for i, t := range m.Transactions {
		p := f.payments[i]
		reason := ""
		if len(t.Reasons) > 0 {
			reason = t.Reasons[0].Code
		}
		if t.Original.TransactionID != p.id || t.Status != p.status || reason != p.reason {
			return failf(exitRefused, "", "the reply to %s.xml says that %s is %s %s, want %s to be %s %s", f.name, t.Original.TransactionID, t.Status, reason, p.id, p.status, p.reason)
		}
	}
	return nil
}

// settled notes in the books what a file moved, once its reply is as it should be.
func (d *settleDemo) settled(files ...*paymentFile) error {
	for _, f := range files {
		if err := f.readReply(); err != nil {
			return err
		}
		d.pays(f.from.cash, f.to.cash, f.total())
	}
	return nil
}

// answers is how many files were answered so far.
func (b *demoBank) answers() int {
	events, _ := b.answered()
	return len(events)
}

const (
	dayFiles    = 6  // of each bank
	dayPayments = 20 // in each
)

// payments is the morning: both banks send files, and one of them has a payment that is larger than
// what its bank has.
func (d *settleDemo) payments(ctx context.Context) error {
	start := time.Now()
	var files []*paymentFile
	a, b := d.banks[0], d.banks[1]
	for i := range dayFiles {
		files = append(files, newPayments(fmt.Sprintf("A-%02d", i+1), a, b, dayPayments), newPayments(fmt.Sprintf("B-%02d", i+1), b, a, dayPayments))
	}
	large := newPayments("B-large", b, a, 1)
	large.payments[0] = payment{id: "B-large-1", amount: euros(5 * demoFunds), status: "RJCT", reason: "AM04"}
	files = append(files, large)
	for _, f := range files {
		if err := f.give(); err != nil {
			return err
		}
	}
	for i, bank := range d.banks {
		if err := d.waitAnswered(ctx, bank, dayFiles+i); err != nil {
			return err
		}
	}
	took := time.Since(start)
	if err := d.settled(files...); err != nil {
		return err
	}
	if err := d.checkBooks(ctx); err != nil {
		return err
	}
	made := 2 * dayFiles * dayPayments
	return d.step("payments", map[string]any{"files": len(files), "settled": made, "rejected": 1, "seconds": took.Seconds()},
		fmt.Sprintf("%d pacs.008 files, %d pacs.002 replies in %s: %d payments settled, and one of %s rejected, because %s has less (AM04)",
			len(files), len(files), latencyString(took), made, demoMoney(large.payments[0].amount), b.name))
}

// retry gives a file a second time: nothing moves, and its reply is the first one again.
func (d *settleDemo) retry(ctx context.Context) error {
	a := d.banks[0]
	raw, err := os.ReadFile(filepath.Join(a.dir, "in", "done", "A-01.xml"))
	if err != nil {
		return errors.Wrap(err, "read a message")
	}
	n := a.answers()
	if err := a.give("A-01-again.xml", raw); err != nil {
		return err
	}
	if err := d.waitAnswered(ctx, a, n+1); err != nil {
		return err
	}
	var replies [2][]byte
	for i, name := range []string{"A-01", "A-01-again"} {
		if replies[i], err = os.ReadFile(filepath.Join(a.dir, "out", name+".xml.reply.xml")); err != nil {
			return errors.Wrap(err, "read a reply")
		}
	}
	if !bytes.Equal(replies[0], replies[1]) {
		return failf(exitRefused, "", "the reply to the file that was given again is another one than the first")
	}
	events, _ := a.answered()
	for _, i := range events[n].Answer.Items {
		if !i.Repeated {
			return failf(exitRefused, "", "%s was decided a second time, by entry %d", i.Transaction, i.Index)
		}
	}
	if err := d.checkBooks(ctx); err != nil {
		return err
	}
	return d.step("retry", map[string]any{"payments": len(events[n].Answer.Items), "moved": "0.00"},
		fmt.Sprintf("the first file given once more, as after a lost answer: not a cent moved, and the reply is the same in all %s", plural(len(replies[0]), "byte", "bytes")))
}

const (
	killPayments = 5                     // in each file while the leader is killed
	killEvery    = 25 * time.Millisecond // a file comes
	killFirst    = 10                    // files that are answered before
	killMore     = 10                    // and after
)

// killLeader kills the leader with SIGKILL while files come. Whatever a gateway had asked for and not
// heard of, it asks for again.
func (d *settleDemo) killLeader(parent context.Context) error {
	ctx, cancel := context.WithTimeout(parent, d.timeout)
	defer cancel()
	var files []*paymentFile
	before := [2]int{d.banks[0].answers(), d.banks[1].answers()}
	count := func() (n int, times []time.Time) {
		for i, b := range d.banks {
			_, t := b.answered()
			times = append(times, t[before[i]:]...)
		}
		slices.SortFunc(times, time.Time.Compare)
		return len(times), times
	}
	var killed time.Time
	early, late := 0, 0 // files that were answered before and after
	next := ""
	for late < killMore {
		i := len(files) % 2
		f := newPayments(fmt.Sprintf("%c-kill-%02d", 'A'+i, len(files)/2+1), d.banks[i], d.banks[1-i], killPayments)
		if err := f.give(); err != nil {
			return err
		}
		files = append(files, f)
		n, times := count()
		switch {
		case killed.IsZero() && n >= killFirst:
			leader, err := d.leader(ctx)
			if err != nil {
				return err
			}
			early, _ = count()
			killed = time.Now()
			if err := d.cluster.Kill(ctx, leader); err != nil {
				return err
			}
			d.killed = leader
		case !killed.IsZero():
			late = 0
			for _, t := range times {
				if t.After(killed) {
					late++
				}
			}
		}
		if wait(ctx, killEvery) != nil {
			return failf(exitUnavailable, "", "%d files were answered within %s after the leader %s was killed", late, d.timeout, d.killed)
		}
	}
	for i, b := range d.banks {
		if err := d.waitAnswered(ctx, b, before[i]+(len(files)+1-i)/2); err != nil {
			return err
		}
	}
	_, times := count()
	gap := longestGap(times, killed)
	next, err := d.leader(ctx)
	if err != nil {
		return err
	}
	if next == d.killed {
		return failf(exitRefused, "", "%s was killed and still claims to lead", next)
	}
	if err := d.settled(files...); err != nil {
		return err
	}
	if err := d.checkBooks(ctx); err != nil {
		return err
	}
	return d.step("kill", map[string]any{"killed": d.killed, "leader": next, "files": len(files), "before": early, "gap_ms": gap.Milliseconds(), "payments": len(files) * killPayments},
		fmt.Sprintf("SIGKILL to the leader %s after %d of %d files: %s leads, the longest pause between two replies was %s, and every payment is made once",
			d.killed, early, len(files), next, latencyString(gap.Round(time.Millisecond))))
}
