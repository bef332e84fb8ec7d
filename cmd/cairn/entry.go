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
	// Genesis is what the body of entry 0 says.
	Genesis       *genesisInfo `json:"genesis,omitempty"`
	Payload       *string      `json:"payload,omitempty"`
	PayloadBase64 *string      `json:"payload_base64,omitempty"`
	// At most one of the two is set; neither is for an empty outcome.
	Outcome       string `json:"outcome,omitempty"`
	OutcomeBase64 string `json:"outcome_base64,omitempty"`
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

// decided adds the kind and the outcome.
func (r entryResult) decided(kind ledger.Kind, body, outcome []byte) entryResult {
	if kind != ledger.KindPayload {
		r.Kind = kind.String()
	}
	if kind == ledger.KindRecord {
		if g, err := ledger.ParseGenesis(body); err == nil {
			r.Genesis = newGenesisInfo(g)
		}
	}
	if utf8.Valid(outcome) {
		r.Outcome = string(outcome)
	} else {
		r.OutcomeBase64 = base64.StdEncoding.EncodeToString(outcome)
	}
	return r
}

func storedResult(e client.StoredEntry) entryResult {
	return newEntryResult(e.Index, e.Time, e.Principal, e.Key, e.Payload).decided(e.Kind, e.Payload, e.Outcome)
}

// leafResult decodes a leaf whose index is known.
func leafResult(index uint64, leaf []byte) (entryResult, error) {
	e, err := ledger.ParseLeaf(leaf)
	if err != nil {
		return entryResult{}, err
	}
	return newEntryResult(index, time.UnixMicro(e.Time), e.Principal, e.Key, e.Body).decided(e.Kind, e.Body, e.Outcome), nil
}

// text writes all of an entry, one field a line.
func (r entryResult) text(w *page) {
	pairs := []string{"index", strconv.FormatUint(r.Index, 10), "time", r.Time, "principal", printableWord(r.Principal)}
	if key := r.keyText(); key != "" {
		pairs = append(pairs, "key", loose+key)
	}
	kind := "payload"
	if r.Kind != "" {
		kind = r.Kind
	}
	if r.Genesis != nil {
		pairs = append(pairs, "genesis", loose+r.payloadText())
		pairs = append(pairs, r.Genesis.pairs()...)
	} else {
		pairs = append(pairs, kind, loose+r.payloadText())
	}
	switch {
	case r.OutcomeBase64 != "":
		pairs = append(pairs, "outcome", loose+base64Prefix+r.OutcomeBase64)
	case r.Outcome != "":
		pairs = append(pairs, "outcome", loose+printable(r.Outcome))
	}
	fields(w, pairs...)
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
	if payload := r.payloadText(); w.width == 0 || columns(prefix)+columns(payload) <= w.width {
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

func (r entryResult) payloadText() string {
	if r.Genesis != nil {
		return "the ledger " + printable(r.Genesis.Origin) + " begins"
	}
	if r.PayloadBase64 != nil {
		return base64Prefix + *r.PayloadBase64
	}
	return printable(*r.Payload)
}

// parseIndex parses an index or size.
func parseIndex(what, s string) (uint64, error) {
	n, err := parseNumber(s, 0, maxIndex)
	if err != nil {
		return 0, usagef("%s: %q %v", what, s, err)
	}
	return n, nil
}
