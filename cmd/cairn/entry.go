package main

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/ledger"
)

// entryResult is an entry as it is printed. Exactly one of Payload (valid
// UTF-8) and PayloadBase64 (anything else) is set; the same for the key.
type entryResult struct {
	Index     uint64 `json:"index"`
	Time      string `json:"time"`
	Principal string `json:"principal"`
	keyJSON
	// Kind is set unless the entry is a payload. Payload is the body, whatever its kind.
	Kind string `json:"kind,omitempty"`
	// Genesis, FeatureLevel, MapRoot, Policy and Handover are what a record says; at most one is set.
	Genesis      *genesisInfo  `json:"genesis,omitempty"`
	FeatureLevel uint32        `json:"feature_level,omitempty"`
	MapRoot      *mapRootInfo  `json:"map_root,omitempty"`
	Policy       *policyInfo   `json:"policy,omitempty"`
	Handover     *handoverInfo `json:"handover,omitempty"`
	// Program is that whose command the entry holds, Command and Outcome are what the command asks
	// for and what came of it. They are set where this binary can read the entry.
	Program       string  `json:"program,omitempty"`
	Command       any     `json:"command,omitempty"`
	Payload       *string `json:"payload,omitempty"`
	PayloadBase64 *string `json:"payload_base64,omitempty"`
	Outcome       any     `json:"outcome,omitempty"`
	OutcomeBase64 string  `json:"outcome_base64,omitempty"`

	// record is what a record says, read what a command and its outcome say; nil where this binary
	// cannot read them, and for payloads.
	record *told
	read   *interpretation
}

// keyJSON is an idempotency key in a result: at most one of its fields is set.
type keyJSON struct {
	Key       string `json:"key,omitempty"`
	KeyBase64 string `json:"key_base64,omitempty"` // a key that is not UTF-8
}

func newKeyJSON(key []byte) keyJSON {
	if utf8.Valid(key) {
		return keyJSON{Key: string(key)}
	}
	return keyJSON{KeyBase64: base64.StdEncoding.EncodeToString(key)}
}

func newEntryResult(index uint64, at time.Time, principal string, key, payload []byte) entryResult {
	r := entryResult{Index: index, Time: timeString(at.UnixMicro()), Principal: principal, keyJSON: newKeyJSON(key)}
	if utf8.Valid(payload) {
		s := string(payload)
		r.Payload = &s
	} else {
		s := base64.StdEncoding.EncodeToString(payload)
		r.PayloadBase64 = &s
	}
	return r
}

// newEntry is newEntryResult with the kind, the outcome, and what a record or a command says.
// program is that of the ledger, "" where it is not known.
func newEntry(program string, index uint64, e *ledger.Entry) entryResult {
	r := newEntryResult(index, time.UnixMicro(e.Time), e.Principal, e.Key, e.Body)
	if len(e.Outcome) > 0 {
		r.OutcomeBase64 = base64.StdEncoding.EncodeToString(e.Outcome)
	}
	if e.Kind != ledger.KindPayload {
		r.Kind = e.Kind.String()
	}
	switch e.Kind {
	case ledger.KindRecord:
		if t, err := recordTold(index, e); err == nil {
			r.record = &t
			r.Genesis, _ = t.object.(*genesisInfo)
			r.FeatureLevel, _ = t.object.(uint32)
			r.MapRoot, _ = t.object.(*mapRootInfo)
			r.Policy, _ = t.object.(*policyInfo)
			r.Handover, _ = t.object.(*handoverInfo)
		}
	case ledger.KindCommand:
		if read, err := interpret(program, e); err == nil {
			r.read, r.Program, r.Command, r.Outcome = read, read.program, read.command.object, read.outcome.object
		}
	}
	return r
}

func storedResult(program string, e client.StoredEntry) entryResult {
	return newEntry(program, e.Index, &ledger.Entry{
		Kind: e.Kind, Time: e.Time.UnixMicro(), Principal: e.Principal, Key: e.Key, Body: e.Payload, Outcome: e.Outcome,
	})
}

// leafResult decodes a leaf whose index is known.
func leafResult(program string, index uint64, leaf []byte) (entryResult, error) {
	e, err := ledger.ParseLeaf(leaf)
	if err != nil {
		return entryResult{}, err
	}
	return newEntry(program, index, &e), nil
}

// text writes all of an entry, one field a line.
func (r entryResult) text(w *page) {
	pairs := []string{"index", strconv.FormatUint(r.Index, 10), "time", r.Time, "principal", printableWord(r.Principal)}
	if key := r.keyText(); key != "" {
		pairs = append(pairs, "key", loose+key)
	}
	fields(w, append(pairs, r.contents("")...)...)
}

// contents are the lines of a text that say what the entry holds and what came of it. Their names
// begin with indent.
func (r entryResult) contents(indent string) []string {
	var pairs []string
	switch {
	case r.Genesis != nil:
		pairs = r.record.pairs("genesis")
	case r.record != nil:
		pairs = r.record.pairs("record")
	case r.read != nil:
		pairs = append(r.read.command.pairs("command"), r.read.outcome.pairs("outcome")...)
	default:
		pairs = []string{"payload", loose + r.payloadText()}
		if r.Kind != "" {
			pairs = []string{r.Kind, loose + r.rawText()}
		}
	}
	if r.read == nil && r.MapRoot == nil && r.OutcomeBase64 != "" {
		pairs = append(pairs, "outcome", loose+base64Prefix+r.OutcomeBase64)
	}
	for i := 0; i < len(pairs); i += 2 {
		pairs[i] = indent + pairs[i]
	}
	return pairs
}

// summary says what the entry holds and what came of it, in one line. What is no payload begins
// with its kind: printable quotes a payload that does, too.
func (r entryResult) summary() string {
	switch {
	case r.Kind == "":
		return r.payloadText()
	case r.record != nil:
		return recordPrefix + r.record.line
	case r.read != nil:
		return commandPrefix + r.read.command.line + " -> " + r.read.outcome.line
	}
	text := r.Kind + ": " + r.rawText()
	if r.OutcomeBase64 != "" {
		text += " -> " + base64Prefix + r.OutcomeBase64
	}
	return text
}

// line writes the entry on one line; on a screen that is too narrow the payload follows on lines of
// its own.
func (r entryResult) line(w *page) {
	name := r.Principal
	if id, ok := strings.CutPrefix(r.Principal, "spiffe://"); ok {
		if _, path, ok := strings.Cut(id, "/"); ok {
			name = path
		}
	}
	prefix := fmt.Sprintf("%8d  %s  %-12s  ", r.Index, r.Time, printableWord(name))
	if payload := r.summary(); w.width == 0 || columns(prefix)+columns(payload) <= w.width {
		w.hang(prefix, payload)
	} else {
		w.hang("", strings.TrimRight(prefix, " "))
		w.hang(strings.Repeat(" ", 10), loose+payload)
	}
}

// keyText returns the key for a text, "" if there is none.
func (k keyJSON) keyText() string {
	switch {
	case k.KeyBase64 != "":
		return base64Prefix + k.KeyBase64
	case k.Key == "":
		return ""
	}
	return printableWord(k.Key)
}

// payloadText returns the body for a text.
func (r entryResult) payloadText() string {
	if r.PayloadBase64 != nil {
		return base64Prefix + *r.PayloadBase64
	}
	return printable(*r.Payload)
}

// rawText is payloadText for a command or a record that this binary cannot read: text is always
// quoted, and what holds hidden characters is base64.
func (r entryResult) rawText() string {
	if r.PayloadBase64 != nil {
		return base64Prefix + *r.PayloadBase64
	}
	if onScreen(*r.Payload) != *r.Payload {
		return base64Prefix + base64.StdEncoding.EncodeToString([]byte(*r.Payload))
	}
	return quoted(*r.Payload)
}

// parseIndex parses an index or size.
func parseIndex(what, s string) (uint64, error) {
	n, err := parseNumber(s, 0, maxIndex)
	if err != nil {
		return 0, usagef("%s: %q %v", what, s, err)
	}
	return n, nil
}
