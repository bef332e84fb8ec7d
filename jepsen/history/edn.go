package history

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/cockroachdb/errors"
)

func fromHex(d *Digest, s string) error {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(d) {
		return errors.Newf("%q is not a digest", s)
	}
	copy(d[:], b)
	return nil
}

// WriteListAppend writes the history for Elle's list-append checker
// (elle-cli --model list-append): the ledger is the list 0, an entry is a number,
// and a range from the beginning is a read of the list. A range read that does not
// start at 0 is left out, because list-append reads whole lists.
func WriteListAppend(w io.Writer, ops []Op) error {
	number, first := numberer(), appenders(ops)
	return writeEDN(w, ops, func(op *Op, invoked bool) string {
		switch {
		case op.Kind == Append && !first(op):
			return ""
		case op.Kind == Append:
			s := ""
			for i, e := range op.Entries {
				if i > 0 {
					s += " "
				}
				s += fmt.Sprintf("[:append 0 %d]", number(e.Key))
			}
			return "[" + s + "]"
		case op.Kind == Range && op.First == 0 && op.Limit == 0:
			if invoked {
				return "[[:r 0 nil]]"
			}
			s := ""
			for i, e := range op.Entries {
				if i > 0 {
					s += " "
				}
				s += fmt.Sprint(number(e.Key))
			}
			return "[[:r 0 [" + s + "]]]"
		}
		return ""
	}, ":txn")
}

// WriteSetFull writes the history for Jepsen's set-full checker: appends of single
// entries are :add, whole reads are :read.
func WriteSetFull(w io.Writer, ops []Op) error {
	number, first := numberer(), appenders(ops)
	adds := func(op *Op, invoked bool) string {
		switch {
		case op.Kind == Append && len(op.Entries) == 1 && first(op):
			return fmt.Sprint(number(op.Entries[0].Key))
		case op.Kind == Range && op.First == 0 && op.Limit == 0:
			if invoked {
				return "nil"
			}
			s := ""
			for i, e := range op.Entries {
				if i > 0 {
					s += " "
				}
				s += fmt.Sprint(number(e.Key))
			}
			return "#{" + s + "}"
		}
		return ""
	}
	return writeEDN(w, ops, adds, "")
}

// appenders tells which appends to export: Elle wants every value appended by one
// operation only, so of several requests for one key only the one that did it is
// kept, or else one that may have done it.
func appenders(ops []Op) func(*Op) bool {
	kept := map[Digest]*Op{}
	rank := func(op *Op, e Entry) int {
		switch {
		case op.Outcome == OK && !e.Duplicate:
			return 3
		case op.Outcome == Info:
			return 2
		case op.Outcome == OK:
			return 1
		}
		return 0
	}
	best := map[Digest]int{}
	for i := range ops {
		for _, e := range ops[i].Entries {
			if ops[i].Kind != Append {
				break
			}
			if r, ok := best[e.Key]; !ok || rank(&ops[i], e) > r {
				best[e.Key], kept[e.Key] = rank(&ops[i], e), &ops[i]
			}
		}
	}
	return func(op *Op) bool {
		for _, e := range op.Entries {
			if kept[e.Key] != op {
				return false
			}
		}
		return true
	}
}

// numberer gives every key a small number, in order of appearance.
func numberer() func(Digest) int {
	numbers := map[Digest]int{}
	return func(d Digest) int {
		n, ok := numbers[d]
		if !ok {
			n = len(numbers) + 1
			numbers[d] = n
		}
		return n
	}
}

// writeEDN writes invocations and completions in the order of time. value gives
// an operation's :value, "" to leave the operation out; f is its :f, or "" to tell
// adds and reads apart.
func writeEDN(w io.Writer, ops []Op, value func(op *Op, invoked bool) string, f string) error {
	out := bufio.NewWriter(w)
	index := 0
	for _, e := range timeline(ops) {
		op := &ops[e.op]
		v := value(op, e.invoke)
		if v == "" {
			continue
		}
		name := f
		if name == "" {
			name = ":add"
			if op.Kind != Append {
				name = ":read"
			}
		}
		typ := ":invoke"
		if !e.invoke {
			typ = ":" + op.Outcome.String()
		}
		fmt.Fprintf(out, "{:index %d :time %d :type %s :process %d :f %s :value %s}\n", index, e.at, typ, op.Process, name, v)
		index++
	}
	return errors.Wrap(out.Flush(), "write EDN")
}
