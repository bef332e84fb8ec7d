package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
)

// newCreation is an entry of the directory that created a ledger.
func newCreation(t *testing.T, p ledger.Parameter) *ledger.Entry {
	t.Helper()
	g := inspectedGenesis("example.org/money", accounts.Program{})
	g.Parameters = []ledger.Parameter{p}
	command, err := directory.Create(g)
	if err != nil {
		t.Fatal(err)
	}
	return &ledger.Entry{
		Kind: ledger.KindCommand, Time: 7, Principal: "spiffe://example.org/svc/admin", Body: command,
		Outcome: directory.Outcome{Status: directory.Created, ID: 3}.Marshal(),
	}
}

// newRecord is a record of a ledger itself.
func newRecord(body []byte) *ledger.Entry {
	return &ledger.Entry{Kind: ledger.KindRecord, Time: 7, Principal: "p", Body: body}
}

// TestEntriesInWords: records and commands are printed in words and as objects, whatever is not
// understood as bytes, and a payload as it is.
func TestEntriesInWords(t *testing.T) {
	t.Parallel()
	genesis, err := inspectedGenesis("example.org/money", accounts.Program{}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	create := newCreation(t, ledger.Parameter{Name: "limit", Value: "7"})
	const made = "example.org/money: program accounts version 1"
	const members = "; members 1 n1, 2 n2; 2 cosignatures seal; feature level 1"
	unknown := &ledger.Entry{Kind: ledger.KindCommand, Time: 7, Principal: "p", Body: []byte("pay > x"), Outcome: []byte("done")}
	strange := *create
	strange.Outcome = []byte{9}
	for name, c := range map[string]struct {
		program string
		e       *ledger.Entry
		line    string
		text    []string // lines of the text
		object  string   // part of it
	}{
		"genesis": {"accounts", newRecord(genesis), "record: genesis of " + made + members,
			[]string{"genesis          the ledger example.org/money begins", "  program        accounts, version 1", "  sealed by      2 of 2 members"},
			`"kind":"record","genesis":{"origin":"example.org/money",`},
		"feature level": {"log", newRecord(ledger.LevelBatch("p", 3).Entries[0].Body), "record: the feature level rises to 3",
			[]string{"record     the feature level rises to 3"}, `"kind":"record","feature_level":3,`},
		"another record": {"log", newRecord([]byte("?")), `record: "?"`, []string{`record     "?"`}, `"kind":"record","payload":"?"`},
		"command of the directory": {"directory", create, "command: create " + made + ", limit=7" + members + " -> created, group 3",
			[]string{"command          create the ledger example.org/money", "  parameter      limit = 7", "outcome          created, group 3"},
			`"kind":"command","program":"directory","command":{"create":{"origin":"example.org/money",`},
		"its outcome":                    {"directory", create, "group 3", nil, `"outcome":{"status":"created","group":3},"outcome_base64":"AQEAAAAAAAAAAw=="`},
		"of a program that is not named": {"", create, "command: create " + made, []string{"outcome          created, group 3"}, `"program":"directory"`},
		"of another program":             {"accounts", create, "command: base64:", []string{"outcome    base64:AQEAAAAAAAAAAw=="}, `"outcome_base64":"AQEAAAAAAAAAAw=="`},
		"with a strange outcome":         {"directory", &strange, "-> base64:CQ==", []string{"outcome    base64:CQ=="}, `"outcome_base64":"CQ=="`},
		"unknown":                        {"", unknown, `command: "pay > x" -> base64:ZG9uZQ==`, []string{`command    "pay > x"`, "outcome    base64:ZG9uZQ=="}, `"payload":"pay \u003e x","outcome_base64":"ZG9uZQ=="`},
		"payload": {"log", &ledger.Entry{Kind: ledger.KindPayload, Time: 7, Principal: "p", Body: []byte("hello")}, "hello",
			[]string{"payload    hello"}, `"principal":"p","payload":"hello"}`},
		"a payload that looks like a command": {"log", &ledger.Entry{Kind: ledger.KindPayload, Time: 7, Principal: "p", Body: []byte("command: create x")}, `"command: create x"`,
			[]string{`payload    "command: create x"`}, `"payload":"command: create x"`},
		"a payload that looks like a record": {"log", &ledger.Entry{Kind: ledger.KindPayload, Time: 7, Principal: "p", Body: []byte("record: x")}, `"record: x"`,
			[]string{`payload    "record: x"`}, `"payload":"record: x"`},
	} {
		r := newEntry(c.program, 4, c.e)
		line := rendered(0, r.line)
		if !strings.Contains(line, "  "+c.line) && !strings.Contains(line, c.line+"\n") {
			t.Errorf("%s: the line is\n%swant\n%s", name, line, c.line)
		}
		text := rendered(0, r.text)
		for _, want := range c.text {
			if !slices.Contains(strings.Split(text, "\n"), want) {
				t.Errorf("%s: the text is\n%swithout\n%s", name, text, want)
			}
		}
		object, err := marshalLine(r)
		if err != nil || !json.Valid(object) || !strings.Contains(string(object), c.object) {
			t.Errorf("%s: the object is %s, %v; want %s in it", name, object, err, c.object)
		}
	}
}

// TestHiddenWordsOfEntries: nothing of a command or a record reaches a screen unescaped.
func TestHiddenWordsOfEntries(t *testing.T) {
	t.Parallel()
	for _, s := range nasty {
		if s == "" {
			continue
		}
		r := newEntry("directory", 1, newCreation(t, ledger.Parameter{Name: s, Value: s}))
		if r.read == nil {
			t.Fatalf("a parameter %q is not read", s)
		}
		for _, text := range []string{rendered(0, r.line), rendered(0, r.text), rendered(20, r.text)} {
			clean(t, "a parameter", []byte(text))
		}
		object, err := marshalLine(r)
		if err != nil {
			t.Fatal(err)
		}
		clean(t, "a parameter", object)
		if n := strings.Count(rendered(0, r.line), "\n"); n != 1 {
			t.Errorf("%q: %d lines", s, n)
		}
	}
}

// TestInterpretersAreOfPrograms: the registry has the directory, and what two programs could have
// written is said of neither.
func TestInterpretersAreOfPrograms(t *testing.T) {
	t.Parallel()
	if names := slices.Sorted(maps.Keys(interpreters)); !slices.Contains(names, "directory") {
		t.Errorf("this binary reads the entries of %v", names)
	}
	e := newCreation(t, ledger.Parameter{Name: "x", Value: "y"})
	takes := func([]byte) (told, error) { return told{line: "x"}, nil }
	refuses := func([]byte) (told, error) { return told{}, errors.New("no") }
	outcome := func(_, b []byte) (told, error) { return takes(b) }
	for name, c := range map[string]struct {
		all  map[string]interpreter
		says string
	}{
		"two":     {map[string]interpreter{"a": {takes, outcome}, "b": {takes, outcome}}, "the programs a and b could both"},
		"one":     {map[string]interpreter{"a": {refuses, outcome}, "b": {takes, outcome}}, ""},
		"none":    {map[string]interpreter{"a": {refuses, outcome}}, "no known program"},
		"nothing": {nil, "no known program"},
	} {
		read, err := interpretBy(c.all, "", e)
		if c.says == "" && (err != nil || read.program != "b") || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %+v, %v; want %q", name, read, err, c.says)
		}
	}
	if _, err := interpret("accounts", e); err == nil || !strings.Contains(err.Error(), "accounts") {
		t.Errorf("a program that is not known: %v", err)
	}
}
