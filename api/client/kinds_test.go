package client_test

import (
	"bytes"
	"context"
	"reflect"
	"testing"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
)

// TestKindsAndOutcomes: every way to an entry says whether it is a payload, a command or a record,
// and what came of it.
func TestKindsAndOutcomes(t *testing.T) {
	t.Parallel()
	cluster := fakecluster.New(t, 1, fakecluster.Options{})
	money := cluster.Host("fake.example/money", func(g *ledger.Genesis) {
		g.Program, g.ProgramVersion = accounts.Program{}.Name(), accounts.Program{}.Version()
	})
	p := profile(t, cluster, "").ForLedger(money.Origin)
	c := connect(t, p)
	policy, err := cluster.Keys.Policy.For(money.Origin)
	if err != nil {
		t.Fatal(err)
	}
	open := accounts.Open(7, 200)
	for _, e := range []ledger.NewEntry{{Kind: ledger.KindCommand, Body: open}, {Kind: ledger.KindCommand, Key: []byte("again"), Body: open}, {Kind: ledger.KindPayload, Body: []byte("hello")}} {
		if r := money.Decide(ledger.Batch{Principal: fakecluster.Principal, Entries: []ledger.NewEntry{e}}); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	money.SealNow()
	want := []struct {
		kind          ledger.Kind
		body, outcome []byte
	}{
		{ledger.KindRecord, nil, nil}, {ledger.KindCommand, open, []byte{accounts.Done}},
		{ledger.KindCommand, open, []byte{accounts.Exists}}, {ledger.KindPayload, []byte("hello"), nil},
	}
	is := func(method string, e client.StoredEntry, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		w := want[e.Index]
		if e.Kind != w.kind || w.body != nil && !bytes.Equal(e.Payload, w.body) || !bytes.Equal(e.Outcome, w.outcome) {
			t.Errorf("%s: entry %d is a %s %x with the outcome %x, want a %s %x with %x", method, e.Index, e.Kind, e.Payload, e.Outcome, w.kind, w.body, w.outcome)
		}
	}
	ctx := within(t)
	for i := range want {
		e, err := c.Get(ctx, uint64(i))
		is("Get", e, err)
		r, err := c.Receipt(ctx, uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		is("Receipt", r.Entry(), nil)
		offline, err := client.VerifyOffline(r.Marshal(), policy)
		if err != nil {
			t.Fatal(err)
		}
		is("VerifyOffline", offline.Entry(), nil)
	}
	var ranged, watched []client.StoredEntry
	if _, err := c.Range(ctx, 0, 0, func(e client.StoredEntry) error { ranged = append(ranged, e); return nil }); err != nil {
		t.Fatal(err)
	}
	enough, stop := context.WithCancel(ctx)
	_ = c.Watch(enough, 0, func(e client.StoredEntry) error {
		if watched = append(watched, e); len(watched) == len(want) {
			stop()
		}
		return nil
	})
	for i := range want {
		if len(ranged) != len(want) || len(watched) != len(want) {
			t.Fatalf("%d entries of Range and %d of Watch, want %d", len(ranged), len(watched), len(want))
		}
		is("Range", ranged[i], nil)
		if !reflect.DeepEqual(watched[i], ranged[i]) {
			t.Errorf("Watch: %+v, want %+v", watched[i], ranged[i])
		}
	}
}
