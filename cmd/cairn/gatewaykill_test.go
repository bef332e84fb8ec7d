package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/api/client/settle/gatewayledger"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/gateway"
)

var (
	kills    = flag.Int("kills", 3, "how often TestKillGateway kills the gateway")
	killSeed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "seed of the random choices of TestKillGateway")
)

// gatewayRig is a cluster with a settlement ledger, and the directories of a gateway.
type gatewayRig struct {
	t       *testing.T
	env     []string
	client  *client.Client
	options gateway.Options
	in, out string
	given   map[string][]byte // every file that was put into in, by its name
}

func newGatewayRig(t *testing.T) *gatewayRig {
	t.Helper()
	exe, err := exec.LookPath("cairn")
	check(t, err)
	r, w, err := os.Pipe()
	check(t, err)
	c, err := local.Create(local.Options{Dir: filepath.Join(t.TempDir(), "c"), Nodes: 3, Executable: exe, Lifeline: r})
	check(t, err)
	t.Cleanup(func() {
		check(t, c.Destroy(context.Background()))
		_ = w.Close()
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	check(t, c.Start(ctx))
	rig := &gatewayRig{t: t, in: filepath.Join(t.TempDir(), "in"), out: filepath.Join(t.TempDir(), "out"), given: map[string][]byte{}}
	rig.options = gateway.Options{Participant: "BANKDEFF", Rail: gateway.DefaultRail}
	origin := c.Origin() + "/kill"
	rig.env = os.Environ()
	for _, v := range c.Environment().Variables() {
		if v[0] == "CAIRN_LEDGER" {
			v[1] = origin
		}
		rig.env = append(rig.env, v[0]+"="+v[1])
	}
	check(t, os.MkdirAll(rig.in, 0o755))
	rig.cairn("ledger", "create", origin, "--program", "settlement")
	rig.client, err = c.DialLedger(t.Context(), origin, "writer")
	check(t, err)
	t.Cleanup(func() { _ = rig.client.Close() })
	return rig
}

// cairn runs a command, which has to succeed.
func (r *gatewayRig) cairn(args ...string) {
	r.t.Helper()
	cmd := exec.Command("cairn", args...)
	cmd.Env = r.env
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("cairn %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (r *gatewayRig) do(actions ...settlement.Action) {
	r.t.Helper()
	outcomes, err := settle.New(r.client).Execute(r.t.Context(), actions)
	check(r.t, err)
	for i := range outcomes {
		for _, x := range outcomes[i].Results {
			if x.Status == settlement.Rejected || x.Status == settlement.Conflict {
				r.t.Fatalf("%s is %s: %s", actions[i].Op(), x.Status, x.Reason)
			}
		}
	}
}

// put gives the gateway a file, as a careful writer does.
func (r *gatewayRig) put(name string, raw []byte) {
	r.t.Helper()
	if r.given[name] != nil {
		r.t.Fatalf("%s is given twice", name)
	}
	r.given[name] = raw
	aside := filepath.Join(r.in, name+".tmp")
	check(r.t, os.WriteFile(aside, raw, 0o644))
	check(r.t, os.Rename(aside, filepath.Join(r.in, name)))
}

// start starts the gateway. What it says on standard error goes into said.
func (r *gatewayRig) start(said *bytes.Buffer, more ...string) *exec.Cmd {
	r.t.Helper()
	args := append([]string{
		"settle", "gateway", "--in", r.in, "--out", r.out, "--participant", r.options.Participant, "--still", "1ms", "--poll", "5ms",
	}, more...)
	cmd := exec.Command("cairn", args...)
	cmd.Env, cmd.Stderr = r.env, said
	check(r.t, cmd.Start())
	return cmd
}

// finish runs the gateway until nothing waits.
func (r *gatewayRig) finish() {
	r.t.Helper()
	var said bytes.Buffer
	if err := r.start(&said, "--once").Wait(); err != nil {
		r.t.Fatalf("the last run: %v\n%s", err, said.String())
	}
}

// waiting returns how many files wait.
func (r *gatewayRig) waiting() int {
	files, err := filepath.Glob(filepath.Join(r.in, "*.xml"))
	check(r.t, err)
	return len(files)
}

// answers returns how many answers are there, those that are written aside included.
func (r *gatewayRig) answers() int {
	entries, err := os.ReadDir(r.out)
	if err != nil {
		return 0
	}
	return len(entries)
}

// pacs008 makes a pacs.008 with so many transactions.
func pacs008(id string, amounts ...string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08"><FIToFICstmrCdtTrf><GrpHdr><MsgId>%s</MsgId>`+
		`<CreDtTm>2026-11-30T11:00:00Z</CreDtTm><NbOfTxs>%d</NbOfTxs><SttlmInf><SttlmMtd>CLRG</SttlmMtd></SttlmInf>`+
		`<InstgAgt><FinInstnId><BICFI>COBADEFFXXX</BICFI></FinInstnId></InstgAgt><InstdAgt><FinInstnId><BICFI>BNPAFRPPXXX</BICFI></FinInstnId></InstdAgt></GrpHdr>`, id, len(amounts))
	for i, amount := range amounts {
		fmt.Fprintf(&b, `<CdtTrfTxInf><PmtId><EndToEndId>E-%[1]d</EndToEndId><TxId>T-%[1]d</TxId></PmtId>`+
			`<IntrBkSttlmAmt Ccy="EUR">%[2]s</IntrBkSttlmAmt><IntrBkSttlmDt>2026-11-30</IntrBkSttlmDt><ChrgBr>SHAR</ChrgBr><Dbtr><Nm>D</Nm></Dbtr>`+
			`<DbtrAcct><Id><Othr><Id>payer</Id></Othr></Id></DbtrAcct><DbtrAgt><FinInstnId><BICFI>COBADEFFXXX</BICFI></FinInstnId></DbtrAgt>`+
			`<CdtrAgt><FinInstnId><BICFI>BNPAFRPPXXX</BICFI></FinInstnId></CdtrAgt><Cdtr><Nm>C</Nm></Cdtr><CdtrAcct><Id><Othr><Id>payee</Id></Othr></Id></CdtrAcct></CdtTrfTxInf>`, i, amount)
	}
	b.WriteString(`</FIToFICstmrCdtTrf></Document>`)
	return []byte(b.String())
}

// instruction makes a sese.023: a delivers shares to b against payment.
func instruction(id, movement, quantity, amount string) []byte {
	own, side := "a", "CRDT"
	if movement == "RECE" {
		own, side = "b", "DBIT"
	}
	return []byte(fmt.Sprintf(`<Document xmlns="urn:iso:std:iso:20022:tech:xsd:sese.023.001.12"><SctiesSttlmTxInstr><TxId>%s</TxId>`+
		`<SttlmTpAndAddtlParams><SctiesMvmntTp>%s</SctiesMvmntTp><Pmt>APMT</Pmt><CmonId>%s</CmonId></SttlmTpAndAddtlParams>`+
		`<TradDtls><SttlmDt><Dt><Dt>2026-11-01</Dt></Dt></SttlmDt></TradDtls><FinInstrmId><ISIN>DE000BAY0017</ISIN></FinInstrmId>`+
		`<QtyAndAcctDtls><SttlmQty><Qty><Unit>%s</Unit></Qty></SttlmQty><SfkpgAcct><Id>%s</Id></SfkpgAcct><CshAcct><Prtry>%s-cash</Prtry></CshAcct></QtyAndAcctDtls>`+
		`<SttlmParams><SctiesTxTp><Cd>TRAD</Cd></SctiesTxTp></SttlmParams>`+
		`<DlvrgSttlmPties><Pty1><Id><AnyBIC>AAAADEFFXXX</AnyBIC></Id></Pty1></DlvrgSttlmPties><RcvgSttlmPties><Pty1><Id><AnyBIC>BBBBDEFFXXX</AnyBIC></Id></Pty1></RcvgSttlmPties>`+
		`<SttlmAmt><Amt Ccy="EUR">%s</Amt><CdtDbtInd>%s</CdtDbtInd></SttlmAmt></SctiesSttlmTxInstr></Document>`,
		id, movement, id[1:], quantity, own, own, amount, side))
}

// TestKillGateway kills the gateway at random moments, again and again, while messages come: new
// ones, the same ones once more, ones that are rejected in part or altogether, and what is no
// message. Every transaction is decided once and moves its amount once; every file ends in exactly
// one of done and rejected; every answer is there once, and is the one that the ledger gives; every
// instruction settles once and is confirmed once.
func TestKillGateway(t *testing.T) {
	t.Parallel()
	t.Logf("run it again with -args -kills %d -seed %d", *kills, *killSeed)
	rng := rand.New(rand.NewPCG(*killSeed, 1))
	r := newGatewayRig(t)
	eur := func(n uint64) settlement.Decimal { return settlement.NewDecimal(settlement.AmountOf(n), 2) }
	r.do(
		&settlement.CreateAsset{ID: "EUR", Scale: 2}, &settlement.OpenAccount{ID: "world", Asset: "EUR"}, &settlement.OpenAccount{ID: "payee", Asset: "EUR"},
		&settlement.OpenAccount{ID: "payer", Asset: "EUR", Flags: settlement.DebitsLimited},
		&settlement.Submit{Transfers: []settlement.Transfer{{ID: "fund", Debit: "world", Credit: "payer", Amount: eur(1_000_000_000)}}},
		&settlement.CreateAsset{ID: "DE000BAY0017"}, &settlement.OpenAccount{ID: "issuer", Asset: "DE000BAY0017"},
		&settlement.OpenAccount{ID: "a/DE000BAY0017", Asset: "DE000BAY0017", Owners: []string{"AAAADEFF"}}, &settlement.OpenAccount{ID: "a-cash", Asset: "EUR", Owners: []string{"AAAADEFF"}},
		&settlement.OpenAccount{ID: "b/DE000BAY0017", Asset: "DE000BAY0017", Owners: []string{"BBBBDEFF"}}, &settlement.OpenAccount{ID: "b-cash", Asset: "EUR", Owners: []string{"BBBBDEFF"}},
	)
	var halves [][]byte            // instructions whose counterparts were not given yet
	shares := uint64(0)            // that all instructions move
	settled := map[string]uint64{} // what each transaction that can be paid moves, in cents
	var payments [][]byte
	feed := func() {
		name := fmt.Sprintf("m%04d.xml", len(r.given))
		switch rng.IntN(10) {
		case 8: // one side of an exchange
			quantity := 1 + rng.Uint64N(100)
			shares += quantity
			sides := [][]byte{instruction("D"+name, "DELI", fmt.Sprint(quantity), "50"), instruction("R"+name, "RECE", fmt.Sprint(quantity), "50.00")}
			first := rng.IntN(2)
			r.put(name, sides[first])
			halves = append(halves, sides[1-first])
		case 9: // the other side of one that came before, whichever
			if len(halves) == 0 {
				return
			}
			i := rng.IntN(len(halves))
			r.put(name, halves[i])
			halves = append(halves[:i], halves[i+1:]...)
		case 0:
			r.put(name, pacs008(name, "999999999.99"))
		case 1:
			r.put(name, []byte("no message: "+name))
		case 2:
			if len(payments) > 0 {
				r.put(name, payments[rng.IntN(len(payments))])
				return
			}
			fallthrough
		default:
			var amounts []string
			for i := range 1 + rng.IntN(3) {
				cents := 1 + rng.Uint64N(10_000)
				amounts = append(amounts, eur(cents).String())
				settled[fmt.Sprintf("BANKDEFF/iso20022/pacs.008/%s/TxId=T-%d", name, i)] = cents
			}
			payments = append(payments, pacs008(name, amounts...))
			r.put(name, payments[len(payments)-1])
		}
	}
	inside := 0 // kills that left files waiting after answers were begun
	for range *kills {
		for range 4 + rng.IntN(12) {
			feed()
		}
		before, answers := r.waiting(), r.answers()
		var said bytes.Buffer
		cmd := r.start(&said)
		began := func() bool { return r.waiting() < before || r.answers() > answers }
		if rng.IntN(4) > 0 { // most of them when it has begun to write answers
			for deadline := time.Now().Add(10 * time.Second); !began() && time.Now().Before(deadline); {
				time.Sleep(100 * time.Microsecond)
			}
			time.Sleep(time.Duration(rng.IntN(20_000)) * time.Microsecond)
		} else {
			time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
		}
		check(t, cmd.Process.Kill())
		_ = cmd.Wait()
		if r.waiting() > 0 && began() {
			inside++
		}
	}
	for len(halves) > 0 {
		r.put(fmt.Sprintf("m%04d.xml", len(r.given)), halves[0])
		halves = halves[1:]
	}
	r.finish()
	t.Logf("%d kills, %d of them in the middle of files; %d files", *kills, inside, len(r.given))
	r.checkFiles()
	r.checkMoney(settled)
	account, _, err := settle.New(r.client).Account(t.Context(), "b/DE000BAY0017")
	check(t, err)
	if account.GetPosted() != fmt.Sprint(shares) {
		t.Errorf("%s shares have moved, want %d", account.GetPosted(), shares)
	}
}

// checkFiles demands that every file that was given is in exactly one of done and rejected, that its
// answer is in out, and that there is nothing else.
func (r *gatewayRig) checkFiles() {
	r.t.Helper()
	g, err := gateway.New(gatewayledger.New(settle.New(r.client), 0), r.options)
	check(r.t, err)
	out := r.tree(r.out)
	found := map[string]int{}
	confirmed := map[string]bool{}
	in := r.tree(r.in)
	for path, raw := range in {
		folder, name := filepath.Split(path)
		if folder == "closed/" || strings.HasPrefix(name, ".") {
			continue
		}
		found[name]++
		if !bytes.Equal(raw, r.given[name]) {
			r.t.Errorf("%s is another file than the one that was given", path)
		}
		info, err := os.Stat(filepath.Join(r.in, path))
		check(r.t, err)
		want, err := g.Answer(r.t.Context(), gateway.Incoming{Raw: raw, Received: info.ModTime()})
		check(r.t, err)
		if rejected := folder == "rejected/"; rejected != want.Rejected || !rejected && folder != "done/" {
			r.t.Errorf("%s: the answer says rejected %v", path, want.Rejected)
		}
		reply := name + ".reply.xml"
		if want.Definition == "" {
			reply = name + ".reply.txt"
		}
		if !bytes.Equal(out[reply], want.Reply) {
			r.t.Errorf("%s is\n%s\nwant\n%s", reply, out[reply], want.Reply)
		}
		delete(out, reply)
		if want.Follow == "" || confirmed[want.Follow] {
			continue
		}
		confirmed[want.Follow] = true
		notices, _, final, err := g.Follow(r.t.Context(), raw, gateway.Followed{}, time.Now())
		check(r.t, err)
		if len(notices) != 1 || !final {
			r.t.Fatalf("%s: %d notices, final %v", want.Follow, len(notices), final)
		}
		var names []string // whichever file of the message came first
		for other, text := range out {
			if bytes.Equal(text, notices[0].Reply) && strings.Contains(other, ".sese.025-") {
				names = append(names, other)
			}
		}
		if len(names) != 1 {
			r.t.Errorf("%s is confirmed by %v", want.Follow, names)
		}
		for _, other := range names {
			delete(out, other)
		}
	}
	if len(confirmed) == 0 && *kills > 10 {
		r.t.Error("no instruction was confirmed: this proves little")
	}
	for name := range r.given {
		if found[name] != 1 {
			r.t.Errorf("%s is there %d times", name, found[name])
		}
	}
	for name := range out {
		r.t.Errorf("%s answers nothing", name)
	}
}

func (r *gatewayRig) tree(dir string) map[string][]byte {
	r.t.Helper()
	all := map[string][]byte{}
	check(r.t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		all[rel], err = os.ReadFile(path)
		return err
	}))
	return all
}

// checkMoney reads the ledger: every transaction is posted once, and the payee has what they move.
func (r *gatewayRig) checkMoney(settled map[string]uint64) {
	r.t.Helper()
	posted := map[string]int{}
	_, err := r.client.Range(r.t.Context(), 0, 0, func(e client.StoredEntry) error {
		if e.Kind != ledger.KindCommand {
			return nil
		}
		d, err := settlement.ParseLeaf(e.Index, e.Leaf)
		if err != nil {
			return err
		}
		submit, ok := d.Command.Action.(*settlement.Submit)
		for i := range d.Outcome.Results {
			if ok && d.Outcome.Results[i].Status == settlement.Posted && submit.Transfers[i].ID != "fund" {
				posted[submit.Transfers[i].ID]++
			}
		}
		return nil
	})
	check(r.t, err)
	total := uint64(0)
	for id, cents := range settled {
		if posted[id] != 1 {
			r.t.Errorf("%s is posted %d times", id, posted[id])
		}
		delete(posted, id)
		total += cents
	}
	for id := range posted {
		r.t.Errorf("%s is posted, and must not be", id)
	}
	account, _, err := settle.New(r.client).Account(r.t.Context(), "payee")
	check(r.t, err)
	if want := settlement.AmountOf(total).Decimal(2); account.GetPosted() != want {
		r.t.Errorf("the payee has %s, want %s", account.GetPosted(), want)
	}
}
