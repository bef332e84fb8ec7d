package gateway

import (
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/settlement"
)

// TestAudit: every way in which a command can say something else than its message is named.
func TestAudit(t *testing.T) {
	raw := pacs008("M-1", pay("T-1", "10"), pay("T-2", "20"))
	back := []byte(strings.Replace(string(about("pacs.004.001.10", "R-1", "M-1", "T-1")), "AMOUNT", "2", 1))
	for _, c := range []struct {
		name   string
		change func(s *settlement.Submit)
		want   string
	}{
		{"nothing", func(*settlement.Submit) {}, ""},
		{"amount", func(s *settlement.Submit) { s.Transfers[0].Amount.Coefficient.Lo++ }, "amount"},
		{"asset", func(s *settlement.Submit) { s.Transfers[0].Asset = "USD" }, "asset"},
		{"debit", func(s *settlement.Submit) { s.Transfers[1].Debit = "thief" }, "debit"},
		{"credit", func(s *settlement.Submit) { s.Transfers[1].Credit = "thief" }, "credit"},
		{"two", func(s *settlement.Submit) { s.Transfers[0].Credit, s.Transfers[1].Credit = "thief", "thief" }, "credit credit"},
		{"id", func(s *settlement.Submit) { s.Transfers[1].ID += "x" }, "transaction"},
		{"id of the other one", func(s *settlement.Submit) { s.Transfers[0].ID = s.Transfers[1].ID }, "amount instruction_id transaction_id end_to_end_id fingerprint"},
		{"participant", func(s *settlement.Submit) { s.Transfers[0].References[4].Value = "THIEF" }, "transaction"},
		{"original", func(s *settlement.Submit) { s.Transfers[0].Original = "x" }, "original"},
		{"reference", func(s *settlement.Submit) { s.Transfers[0].References[0].Value = "E-OTHER" }, "end_to_end_id"},
		{"reference left out", func(s *settlement.Submit) { s.Transfers[0].References = s.Transfers[0].References[1:] }, "end_to_end_id"},
		{"definition", func(s *settlement.Submit) { s.Source.Type = "pacs.008.001.09" }, "definition"},
		{"message", func(s *settlement.Submit) { s.Source.Raw = []byte("<x/>") }, "message"},
	} {
		if got := fields(t, raw, nil, c.change, nil); !sameWords(got, c.want) {
			t.Errorf("%s: differences in %q, want %q", c.name, got, c.want)
		}
	}
	original := settlement.Transfer{ID: "COBADEFFXXX/rtgs/pacs.008/M-1/TxId=T-1"}
	for _, c := range []struct {
		name   string
		change func(s *settlement.Submit)
		want   string
	}{
		{"nothing", func(*settlement.Submit) {}, ""},
		{"amount", func(s *settlement.Submit) { s.Transfers[0].Amount.Coefficient.Lo++ }, "amount"},
		{"original", func(s *settlement.Submit) { s.Transfers[0].Original += "1" }, "original"},
		{"no original", func(s *settlement.Submit) { s.Transfers[0].Original = "" }, "original"},
		{"reason", func(s *settlement.Submit) {
			for i := range s.Transfers[0].References {
				if r := &s.Transfers[0].References[i]; r.Kind == settlement.ReturnReason {
					r.Value = "AC06"
				}
			}
		}, "return_reason"},
	} {
		if got := fields(t, back, &original, c.change, nil); !sameWords(got, c.want) {
			t.Errorf("return, %s: differences in %q, want %q", c.name, got, c.want)
		}
	}
	// A digest: with the message it is compared, without it is not.
	digest := func(s *settlement.Submit) {
		s.Source = settlement.NewSource(s.Source.Type, s.Source.Raw, -1)
		s.Transfers[0].Credit = "thief"
	}
	if got := fields(t, raw, nil, digest, nil); got != "" {
		t.Errorf("a digest alone: %q", got)
	}
	if got := fields(t, raw, nil, digest, [][]byte{[]byte("another"), raw}); got != "credit" {
		t.Errorf("a digest with its message: %q", got)
	}
	size := func(s *settlement.Submit) { digest(s); s.Source.Size++ }
	if got := fields(t, raw, nil, size, [][]byte{raw}); got != "size" {
		t.Errorf("a digest of another size: %q", got)
	}
}

// TestAuditOfResolutions: a post or void says what its message says. The first one holds the message,
// the others its digest.
func TestAuditOfResolutions(t *testing.T) {
	o := opts
	o.Reserve = true
	raw := func(verb string) []byte {
		m := string(about(verb, "S-1", "M-1", "T-1"))
		end := strings.LastIndex(m, "</TxInfAndSts>") + len("</TxInfAndSts>")
		first := m[strings.Index(m, "<TxInfAndSts>"):end]
		return []byte(m[:end] + strings.ReplaceAll(first, "T-1", "T-2") + m[end:])
	}
	for _, c := range []struct {
		name, verb string
		change     func(r *settlement.Resolve)
		want       string
	}{
		{"nothing", "ACSC", func(*settlement.Resolve) {}, ""},
		{"nothing of a void", "RJCT", func(*settlement.Resolve) {}, ""},
		{"void for post", "ACSC", func(r *settlement.Resolve) { r.Void = true }, "resolution"},
		{"post for void", "RJCT", func(r *settlement.Resolve) { r.Void = false }, "resolution"},
		{"another transfer", "ACSC", func(r *settlement.Resolve) { r.ID += "1" }, "resolution"},
		{"a part", "ACSC", func(r *settlement.Resolve) { r.Amounts = []settlement.Partial{{}} }, "amounts"},
	} {
		b := newBooks(t)
		b.open("EUR", 2, "100", iban1, iban2)
		send(t, b, o, pacs008("M-1", pay("T-1", "10"), pay("T-2", "20")))
		send(t, b, o, raw(c.verb))
		a := NewAudit(Options{}, nil)
		for i, form := range []settlement.SourceForm{settlement.RawSource, settlement.DigestSource} {
			command := b.leaf(b.l.Head().Size - 2 + uint64(i)).Command
			resolve := command.Action.(*settlement.Resolve)
			if resolve.Source.Form != form {
				t.Fatalf("the source of resolution %d has the form %d", i, resolve.Source.Form)
			}
			c.change(resolve)
			var got []string
			for _, d := range a.Check(7, command) {
				got = append(got, d.Field)
			}
			if !sameWords(strings.Join(got, " "), c.want) {
				t.Errorf("%s, %d: differences in %q, want %q", c.name, i, got, c.want)
			}
		}
		if a.Commands != 2 || a.Compared != 2 {
			t.Errorf("%s: %d of %d commands are compared", c.name, a.Compared, a.Commands)
		}
	}
}

// fields returns the fields in which a changed command differs from its message.
func fields(t *testing.T, raw []byte, original *settlement.Transfer, change func(*settlement.Submit), files [][]byte) string {
	t.Helper()
	b := newBooks(t)
	b.open("EUR", 2, "100", iban1, iban2)
	if original != nil {
		send(t, b, opts, pacs008("M-1", pay("T-1", "10")))
	}
	if a := send(t, b, opts, raw); a.Rejected {
		t.Fatalf("the message is rejected: %s", a.Reply)
	}
	c := b.leaf(b.l.Head().Size - 1).Command
	submit := c.Action.(*settlement.Submit)
	change(submit)
	var all []string
	for _, d := range NewAudit(Options{}, files).Check(7, c) {
		if d.Index != 7 || d.Command == d.Message || !strings.Contains(d.String(), "entry 7") {
			t.Errorf("%+v", d)
		}
		all = append(all, d.Field)
	}
	return strings.Join(all, " ")
}

func sameWords(a, b string) bool {
	count := map[string]int{}
	for _, w := range strings.Fields(a) {
		count[w]++
	}
	for _, w := range strings.Fields(b) {
		count[w]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

// TestAuditNeedsTheAccounts: with configured accounts an audit wants the same configuration.
func TestAuditNeedsTheAccounts(t *testing.T) {
	b := newBooks(t)
	b.open("EUR", 2, "100", "a", "b")
	o := opts
	o.Accounts = map[string]string{iban1: "a", iban2: "b"}
	send(t, b, o, pacs008("M-1", pay("T-1", "10")))
	c := b.leaf(b.l.Head().Size - 1).Command
	if d := NewAudit(Options{Accounts: o.Accounts}, nil).Check(1, c); len(d) > 0 {
		t.Errorf("with the accounts: %v", d)
	}
	if d := NewAudit(Options{}, nil).Check(1, c); len(d) != 2 {
		t.Errorf("without the accounts: %v", d)
	}
}

// TestAuditForgets: messages of which more is to come are kept up to a bound.
func TestAuditForgets(t *testing.T) {
	a := NewAudit(Options{}, nil)
	for i := range maxOpened + 10 {
		raw := []byte{byte(i), byte(i >> 8)}
		a.open(sha256.Sum256(raw), raw)
		a.open(sha256.Sum256(raw), raw)
	}
	if len(a.opened) != maxOpened || len(a.order) != maxOpened {
		t.Errorf("%d messages are kept, in order %d", len(a.opened), len(a.order))
	}
}
