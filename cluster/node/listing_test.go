package node

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/cluster/programs"
	"github.com/cairnledger/cairn/ledger"
)

// TestListingIsLinearizable: the ledgers are listed and shown behind a read barrier. A node that
// cannot confirm a read, here because its members of the Raft groups have ended, shows none.
func TestListingIsLinearizable(t *testing.T) {
	n := hermit(t)
	n.hostAlone(t)
	h, ctx := n.hosting, context.Background()
	n.soon(t, "the directory has a leader", func() bool { return h.directory.State().Serving })
	if all, err := h.List(ctx); err != nil || len(all) != 1 || all[0].Group != directory.Group {
		t.Fatalf("listed %d ledgers, %v; want the directory alone", len(all), err)
	}
	if own, err := h.Show(ctx, n.cfg.Directory); err != nil || own.Genesis.Origin != n.cfg.Directory {
		t.Fatalf("shown %q, %v; want the directory", own.Genesis.Origin, err)
	}
	if err := h.stopRaft(ctx); err != nil {
		t.Fatal(err)
	}
	if all, err := h.List(ctx); err == nil {
		t.Errorf("listed %d ledgers without a read barrier", len(all))
	}
	if own, err := h.Show(ctx, n.cfg.Directory); err == nil {
		t.Errorf("shown %q without a read barrier", own.Genesis.Origin)
	}
}

// secret is a program whose ledgers are not public unless their genesis says so.
type secret struct{ ledger.Log }

func (secret) Name() string { return "secret" }

func init() { kinds[secret{}.Name()] = programs.Kind{Program: secret{}} }

// TestPublicLedgers: the HTTP read path has the ledgers that are public by their genesis, or by
// their program when the genesis does not say. A ledger is created with parameters that its program
// knows alone, and a default that is spelled out is the same ledger as one that is not.
func TestPublicLedgers(t *testing.T) {
	t.Parallel()
	n := hermit(t)
	n.hostAlone(t)
	h := n.hosting
	n.soon(t, "the directory has a leader", func() bool { return h.directory.State().Serving })
	create := func(origin, program, public string) (server.LedgerInfo, bool, error) {
		l := server.NewLedger{Origin: origin, Program: program}
		if public != "" {
			l.Parameters = []ledger.Parameter{{Name: programs.PublicReads, Value: public}}
		}
		return h.Create(t.Context(), "creator", l)
	}
	want := []string{n.cfg.Directory}
	for _, x := range []struct {
		origin, program, public string
		want                    bool
		parameters              int
	}{
		{"example.org/log", "log", "", true, 0},
		{"example.org/log-true", "log", "true", true, 0},
		{"example.org/log-false", "log", "false", false, 1},
		{"example.org/secret", "secret", "", false, 0},
		{"example.org/secret-true", "secret", "true", true, 1},
		{"example.org/secret-false", "secret", "false", false, 0},
	} {
		info, created, err := create(x.origin, x.program, x.public)
		if err != nil || !created || len(info.Genesis.Parameters) != x.parameters {
			t.Fatalf("%s: created %t with the parameters %v, %v", x.origin, created, info.Genesis.Parameters, err)
		}
		n.soon(t, x.origin+" is hosted", func() bool { return h.find(x.origin) != nil })
		if _, public := h.page(x.origin); public != x.want {
			t.Errorf("%s: public %t, want %t", x.origin, public, x.want)
		}
		if x.want {
			want = append(want, x.origin)
		}
	}
	var got []string
	for _, l := range h.pages() {
		got = append(got, l.Origin())
	}
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("listed are %v, want %v", got, want)
	}
	if _, created, err := create("example.org/log", "log", "true"); created || err != nil {
		t.Errorf("the same ledger with its default: created %t, %v", created, err)
	}
	var exists *server.LedgerExistsError
	if _, _, err := create("example.org/log", "log", "false"); !errors.As(err, &exists) {
		t.Errorf("the same ledger, not public: %v, want that it exists", err)
	}
	for what, l := range map[string]server.NewLedger{
		"want true or false": {Origin: "example.org/y", Program: "log", Parameters: []ledger.Parameter{{Name: programs.PublicReads, Value: "yes"}}},
		`no parameter "b"`:   {Origin: "example.org/y", Program: "log", Parameters: []ledger.Parameter{{Name: programs.PublicReads, Value: "true"}, {Name: "b"}}},
		"is given twice":     {Origin: "example.org/y", Program: "log", Parameters: []ledger.Parameter{{Name: "b"}, {Name: "a"}, {Name: "b"}}},
		"one directory":      {Origin: "example.org/y", Program: "directory"},
		"no program is":      {Origin: "example.org/y", Program: "lag"},
	} {
		if _, _, err := h.Create(t.Context(), "creator", l); !errors.Is(err, server.ErrBadLedger) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
