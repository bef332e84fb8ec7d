package settlement_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/settlement"
)

// TestScripts runs the scripts in testdata/instructions and testdata/transfers: each line is a
// command or a question, and the output says what came of it. A new output is written by
//
//	go test ./settlement -run TestScripts -rewrite
//
// and must be read before it is kept.
func TestScripts(t *testing.T) {
	for _, dir := range []string{"testdata/instructions", "testdata/transfers"} {
		datadriven.Walk(t, dir, runScript)
	}
}

func runScript(t *testing.T, path string) {
	s := &script{driver: newDriver(t, scriptStart)}
	datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
		s.t = t
		var out strings.Builder
		for line := range strings.Lines(d.Input) {
			fields := strings.Fields(line)
			if len(fields) == 0 || fields[0] == "//" {
				continue
			}
			if err := s.line(&out, fields[0], fields[1:]); err != nil {
				d.Fatalf(t, "%s: %v", strings.TrimSpace(line), err)
			}
		}
		return out.String()
	})
}

// scriptStart is the ledger time at which scripts begin: 2026-03-02 12:00 UTC, in µs.
const scriptStart = 1_772_452_800_000_000

// script is a driver that understands lines of text. Options of a line are words, or key=value.
type script struct {
	*driver
	ids int // of transfers that the script makes by itself
}

func (s *script) line(out *strings.Builder, verb string, args []string) error {
	words, options := split(args)
	word := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		s.t.Fatalf("%s: an argument is missing", verb)
		return ""
	}
	as := operatorID
	if name := options["as"]; name != "" {
		as = "spiffe://example.org/svc/" + name
	}
	do := func(id string, action settlement.Action) { s.say(out, id, s.do(as, action)) }
	switch verb {
	case "asset": // ID SCALE: and an account of its issuer, without limits
		scale, err := strconv.Atoi(word(1))
		if err != nil {
			return err
		}
		s.must(&settlement.CreateAsset{ID: word(0), Scale: uint8(scale)})
		s.must(&settlement.OpenAccount{ID: "issuer-" + word(0), Asset: word(0)})
	case "account": // ID ASSET OWNER…; limit=N, credits=N, free
		a := &settlement.OpenAccount{ID: word(0), Asset: word(1), Flags: settlement.DebitsLimited, Owners: words[2:]}
		if n := options["limit"]; n != "" {
			a.Limit = decimal(s.t, n)
		}
		if n := options["credits"]; n != "" {
			a.Flags, a.Limit = settlement.CreditsLimited, decimal(s.t, n)
		}
		if _, free := options["free"]; free {
			a.Flags = 0
		}
		s.must(a)
	case "fund": // ACCOUNT AMOUNT
		return s.move(out, as, "issuer-"+s.account(word(0)).Asset, word(0), word(1), options["id"], options)
	case "set": // ID FROM>TO:AMOUNT:ID…; pending, timeout=, as=
		a := &settlement.Submit{Set: word(0), Transfers: []settlement.Transfer{}}
		for _, w := range words[1:] {
			parts := strings.FieldsFunc(w, func(r rune) bool { return r == '>' || r == ':' })
			if len(parts) != 4 {
				return errors.Newf("transfer %q: write FROM>TO:AMOUNT:ID", w)
			}
			a.Transfers = append(a.Transfers, settlement.Transfer{ID: parts[3], Debit: parts[0], Credit: parts[1], Amount: decimal(s.t, parts[2])})
		}
		if err := s.pend(a, options); err != nil {
			return err
		}
		do(word(0), a)
	case "several": // FROM>TO:AMOUNT:ID…: of one command, each by itself
		a := &settlement.Submit{}
		for _, w := range words {
			parts := strings.FieldsFunc(w, func(r rune) bool { return r == '>' || r == ':' })
			a.Transfers = append(a.Transfers, settlement.Transfer{ID: parts[3], Debit: parts[0], Credit: parts[1], Amount: decimal(s.t, parts[2])})
		}
		o := s.do(as, a)
		for i, r := range o.Results {
			s.say(out, a.Transfers[i].ID, &settlement.Outcome{Results: []settlement.Result{r}})
		}
	case "sums": // ACCOUNT…
		for _, id := range words {
			a := s.account(id)
			b := a.Balances
			fmt.Fprintf(out, "%s debits %s pending %s, credits %s pending %s\n", id, b.DebitsPosted.Decimal(a.Scale), b.DebitsPending.Decimal(a.Scale), b.CreditsPosted.Decimal(a.Scale), b.CreditsPending.Decimal(a.Scale))
		}
	case "wrong": // what a command cannot say: VERB …
		out.WriteString(s.cannotSay(words, options))
	case "move": // FROM TO AMOUNT; pending, id=ID, of=ORIGINAL, asset=, as=, if=CONDITION
		return s.move(out, as, word(0), word(1), word(2), options["id"], options)
	case "post", "void": // ID; of a post, how much
		a := &settlement.Resolve{ID: word(0), Void: verb == "void"}
		if len(words) > 1 {
			a.Amounts = []settlement.Partial{{Amount: decimal(s.t, word(1))}}
		}
		do(word(0), a)
	case "freeze", "thaw": // ACCOUNT
		frozen := verb == "freeze"
		do(word(0), &settlement.ChangeAccount{ID: word(0), Frozen: &frozen})
	case "close": // ACCOUNT
		do(word(0), &settlement.ChangeAccount{ID: word(0), Close: true})
	case "limit": // ACCOUNT AMOUNT
		n := decimal(s.t, word(1))
		do(word(0), &settlement.ChangeAccount{ID: word(0), Limit: &n})
	case "instruct": // ID PARTY>COUNTERPARTY
		a, err := s.instruct(word(0), word(1), options)
		if err != nil {
			return err
		}
		do(word(0), a)
	case "hold", "release", "cancel": // ID; request=ID
		change := map[string]settlement.Change{"hold": settlement.ManageHold, "release": settlement.ManageRelease, "cancel": settlement.ManageCancel}[verb]
		do(word(0), &settlement.Manage{ID: word(0), Change: change, Request: options["request"]})
	case "wait": // DURATION
		d, err := time.ParseDuration(word(0))
		if err != nil {
			return err
		}
		s.time += d.Microseconds()
	case "advance": // everything that is due, or so many entries of it
		most := 10_000
		if len(words) > 0 {
			n, err := strconv.Atoi(words[0])
			if err != nil {
				return err
			}
			most = n
		}
		for range most {
			o := s.advanceOnce()
			if o == nil {
				break
			}
			s.say(out, "", o)
		}
	case "each": // FROM-TO LINE: the line for each number, which stands for #; prints the last one
		from, to, _ := strings.Cut(word(0), "-")
		first, err := strconv.Atoi(from)
		if err != nil {
			return err
		}
		last, err := strconv.Atoi(to)
		if err != nil {
			return err
		}
		for n := first; n <= last; n++ {
			var all strings.Builder
			line := strings.Fields(strings.ReplaceAll(strings.Join(args[1:], " "), "#", strconv.Itoa(n)))
			if err := s.line(&all, line[0], line[1:]); err != nil {
				return err
			}
			if n == last {
				out.WriteString(all.String())
			}
		}
	case "due": // when something is due next
		work, ok, err := s.l.Work()
		if err != nil {
			return err
		}
		if !ok {
			fmt.Fprintln(out, "nothing is due")
			break
		}
		fmt.Fprintf(out, "due at %s\n", time.UnixMicro(work.At).UTC().Format("2006-01-02 15:04:05.000000"))
	case "balance": // ACCOUNT…
		for _, id := range words {
			a := s.account(id)
			asset, err := settlement.ReadAsset(s.l.State(), a.Asset)
			if err != nil {
				return err
			}
			amount, negative := a.Balances.Posted()
			fmt.Fprintf(out, "%s %s%s\n", id, map[bool]string{true: "-"}[negative], amount.Decimal(asset.Scale))
		}
	case "show": // INSTRUCTION…
		for _, id := range words {
			s.show(out, id)
		}
	case "open": // instructions that are not final
		return settlement.OpenInstructions(s.l.State(), options["after"], func(id string, state *settlement.State) bool {
			fmt.Fprintf(out, "%s %s\n", id, state.Status)
			return true
		})
	default:
		return errors.New("no such line")
	}
	return nil
}

// split returns the words of a line and its options, which have a value or, as flags, "".
func split(args []string) (words []string, options map[string]string) {
	options = map[string]string{}
	for _, a := range args {
		key, value, found := strings.Cut(a, "=")
		switch {
		case found:
			options[key] = value
		case a == "pending" || a == "held" || a == "partial" || a == "free":
			options[a] = ""
		default:
			words = append(words, a)
		}
	}
	return words, options
}

func (s *script) move(out *strings.Builder, as, from, to, amount, id string, options map[string]string) error {
	named := id != ""
	if !named {
		s.ids++
		id = fmt.Sprintf("move-%d", s.ids)
	}
	a := &settlement.Submit{Transfers: []settlement.Transfer{{
		ID: id, Debit: from, Credit: to, Amount: decimal(s.t, amount), Original: options["of"], Asset: options["asset"],
	}}}
	if err := s.pend(a, options); err != nil {
		return err
	}
	if o := s.do(as, a); named || o.Results[0].Status == settlement.Rejected {
		s.say(out, id, o)
	}
	return nil
}

// pend reads what a line says of reservations and conditions: pending, timeout=DURATION,
// if=available:ACCOUNT:AMOUNT, version:ACCOUNT:N, state:ID:STATUS, from:DURATION, until:DURATION.
func (s *script) pend(a *settlement.Submit, options map[string]string) error {
	_, a.Pending = options["pending"]
	if timeout := options["timeout"]; timeout != "" {
		d, err := time.ParseDuration(timeout)
		if err != nil {
			return err
		}
		a.Timeout = d.Microseconds()
	}
	if options["if"] == "" {
		return nil
	}
	for _, text := range strings.Split(options["if"], ",") {
		parts := strings.Split(text, ":")
		c := settlement.Condition{}
		switch parts[0] {
		case "available":
			c.Kind, c.ID, c.Amount = settlement.BalanceAtLeast, parts[1], decimal(s.t, parts[2])
		case "version":
			n, err := strconv.ParseUint(parts[2], 10, 64)
			if err != nil {
				return err
			}
			c = settlement.Condition{Kind: settlement.AccountVersion, ID: parts[1], Number: n}
		case "state":
			status, err := settlement.ParseStatus(parts[2])
			if err != nil {
				return err
			}
			c = settlement.Condition{Kind: settlement.EntryState, ID: parts[1], State: status}
		case "from", "until":
			d, err := time.ParseDuration(parts[1])
			if err != nil {
				return err
			}
			c = settlement.Condition{Kind: settlement.NotBefore, Number: uint64(s.time + d.Microseconds())}
			if parts[0] == "until" {
				c.Kind = settlement.Deadline
			}
		default:
			return errors.Newf("condition %q", text)
		}
		a.Conditions = append(a.Conditions, c)
	}
	return nil
}

// cannotSay returns why a command cannot be encoded.
func (s *script) cannotSay(words []string, options map[string]string) string {
	var a settlement.Action
	switch words[0] {
	case "account":
		f := settlement.Flags(0)
		for _, w := range words[1:] {
			f |= map[string]settlement.Flags{"debits": settlement.DebitsLimited, "credits": settlement.CreditsLimited, "closed": settlement.Closed}[w]
		}
		a = &settlement.OpenAccount{ID: "x", Asset: "USD", Flags: f}
	case "transfer":
		t := settlement.Transfer{ID: "x", Debit: "a", Credit: "b", Amount: decimal(s.t, "1")}
		if id, ok := options["id"]; ok {
			t.ID = id
		}
		if from, ok := options["from"]; ok {
			t.Debit = from
		}
		if to, ok := options["to"]; ok {
			t.Credit = to
		}
		submit := &settlement.Submit{Transfers: []settlement.Transfer{t}}
		if err := s.pend(submit, options); err != nil {
			return err.Error() + "\n"
		}
		a = submit
	case "void":
		a = &settlement.Resolve{ID: "x", Void: true, Amounts: []settlement.Partial{{Amount: decimal(s.t, "1")}}}
	case "resolve":
		a = &settlement.Resolve{ID: options["id"]}
	}
	if _, err := (&settlement.Command{Action: a}).Marshal(); err != nil {
		return err.Error() + "\n"
	}
	return "it can be said\n"
}

// instruct returns the instruction of a line: gives=ACCOUNT:AMOUNT, gets=ACCOUNT:AMOUNT, date=DATE,
// trade=DATE, common=TEXT, held, partial, priority=N, expires=DURATION from now on.
func (s *script) instruct(id, parties string, options map[string]string) (a *settlement.Instruct, err error) {
	a = &settlement.Instruct{ID: id, Common: options["common"]}
	a.Party, a.Counterparty, _ = strings.Cut(parties, ">")
	_, a.Held = options["held"]
	_, a.Partial = options["partial"]
	date := options["date"]
	if date == "" {
		date = "2026-03-02"
	}
	if a.SettlementDate, err = settlement.ParseDate(date); err != nil {
		return nil, err
	}
	if trade := options["trade"]; trade != "" {
		if a.TradeDate, err = settlement.ParseDate(trade); err != nil {
			return nil, err
		}
	}
	if a.Delivers, err = s.leg(options["gives"]); err != nil {
		return nil, err
	}
	if a.Receives, err = s.leg(options["gets"]); err != nil {
		return nil, err
	}
	if p := options["priority"]; p != "" {
		n, err := strconv.Atoi(p)
		if err != nil {
			return nil, err
		}
		a.Priority = uint8(n)
	}
	if expires := options["expires"]; expires != "" {
		d, err := time.ParseDuration(expires)
		if err != nil {
			return nil, err
		}
		a.Expires = s.time + d.Microseconds()
	}
	return a, nil
}

// leg parses ACCOUNT:AMOUNT or ACCOUNT:AMOUNT:ASSET.
func (s *script) leg(text string) (*settlement.Leg, error) {
	if text == "" {
		return nil, nil
	}
	parts := strings.Split(text, ":")
	if len(parts) < 2 {
		return nil, errors.Newf("leg %q: write ACCOUNT:AMOUNT", text)
	}
	leg := &settlement.Leg{Account: parts[0], Amount: decimal(s.t, parts[1])}
	if len(parts) > 2 {
		leg.Asset = parts[2]
	} else {
		leg.Asset = s.account(parts[0]).Asset
	}
	return leg, nil
}

// say prints the results of an outcome; those that name nothing speak of id.
func (s *script) say(out *strings.Builder, id string, o *settlement.Outcome) {
	for _, r := range o.Results {
		name := r.ID
		if name == "" {
			name = id
		}
		fmt.Fprintf(out, "%s %s", name, r.Status)
		if r.Reason != settlement.NoReason {
			fmt.Fprintf(out, " (%s)", r.Reason)
		}
		if !r.Delivered.IsZero() || !r.Received.IsZero() {
			fmt.Fprintf(out, ", delivered %s, received %s", r.Delivered, r.Received)
		}
		if r.Index != 0 {
			fmt.Fprintf(out, ", see %d", r.Index)
		}
		fmt.Fprintln(out)
	}
}

func (s *script) show(out *strings.Builder, id string) {
	state := s.instruction(id)
	fmt.Fprintf(out, "%s %s", id, state.Status)
	if state.Reason != settlement.NoReason {
		fmt.Fprintf(out, " (%s)", state.Reason)
	}
	if i := state.Instruction; i != nil {
		if i.Match != "" {
			fmt.Fprintf(out, ", match %s", i.Match)
		}
		if i.Waits != "" {
			fmt.Fprintf(out, ", waits for %s", i.Waits)
		}
		if i.Held {
			fmt.Fprint(out, ", held")
		}
		if i.CancelAsked != 0 {
			fmt.Fprintf(out, ", asked to cancel at %d", i.CancelAsked)
		}
		if !i.Delivers.Settled.IsZero() || !i.Receives.Settled.IsZero() {
			fmt.Fprintf(out, ", delivered %s of %s, received %s of %s", i.Delivers.Settled, i.Delivers.Amount, i.Receives.Settled, i.Receives.Amount)
		}
	}
	fmt.Fprintf(out, ", entry %d, resolved %d\n", state.Index, state.Resolved)
}
