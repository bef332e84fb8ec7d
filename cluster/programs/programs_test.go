package programs

import (
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
)

func parameters(pairs ...string) (out []ledger.Parameter) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, ledger.Parameter{Name: pairs[i], Value: pairs[i+1]})
	}
	return out
}

// TestAll: every program stands under its name, and those that anybody can create a ledger with are
// the ones that the documentation lists.
func TestAll(t *testing.T) {
	var free []string
	for name, k := range All() {
		if k.Program.Name() != name {
			t.Errorf("%s stands under the name %s", k.Program.Name(), name)
		}
		if err := k.Check(nil); err != nil {
			t.Errorf("%s takes no genesis without parameters: %v", name, err)
		}
		if !k.Internal {
			free = append(free, name)
		}
	}
	slices.Sort(free)
	if want := []string{"log", "settlement"}; !slices.Equal(free, want) {
		t.Errorf("a ledger can be created with %v, want %v", free, want)
	}
}

// TestCheck: a genesis has only parameters that its program knows, each once, and with a value that
// it understands.
func TestCheck(t *testing.T) {
	plain := Kind{Program: ledger.Log{}, PublicReads: true}
	own := Kind{Program: ledger.Log{}, CheckParameters: func(p []ledger.Parameter) error {
		if len(p) != 1 || p[0].Name != "currency" {
			return errors.Newf("got %v", p)
		}
		return nil
	}}
	for _, x := range []struct {
		kind       Kind
		parameters []ledger.Parameter
		want       string // "" when they are right
	}{
		{plain, nil, ""},
		{plain, parameters(PublicReads, "true"), ""},
		{plain, parameters(PublicReads, "false"), ""},
		{plain, parameters(PublicReads, ""), "want true or false"},
		{plain, parameters(PublicReads, "TRUE"), "want true or false"},
		{plain, parameters(PublicReads, "0"), "want true or false"},
		{plain, parameters(PublicReads, "true", PublicReads, "true"), "twice"},
		{plain, parameters("currency", "CHF"), `the program log has no parameter "currency"`},
		{plain, parameters("Public-Reads", "true"), "no parameter"},
		{own, parameters("currency", "CHF"), ""},
		{own, parameters("currency", "CHF", PublicReads, "true"), ""},
		{own, parameters("currency", "CHF", "zone", "EU"), "the program log: got"},
	} {
		err := x.kind.Check(x.parameters)
		if (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%v: %v, want %q", x.parameters, err, x.want)
		}
	}
}

// TestPublic: the genesis says whether a ledger is public, its program when the genesis does not;
// what says the same has the same genesis.
func TestPublic(t *testing.T) {
	for _, public := range []bool{true, false} {
		k := Kind{Program: ledger.Log{}, PublicReads: public}
		for _, x := range []struct {
			value string
			want  bool
			left  int // parameters of a new genesis
		}{{"", public, 0}, {"true", true, b2i(!public)}, {"false", false, b2i(public)}} {
			given := parameters("a", "b")
			if x.value != "" {
				given = append(given, parameters(PublicReads, x.value)...)
			}
			got := k.Normalise(given)
			if k.Public(given) != x.want || k.Public(got) != x.want || len(got) != 1+x.left || got[0].Name != "a" {
				t.Errorf("by default %t, given %q: public %t, with the parameters of a new genesis %v: %t; want %t", public, x.value, k.Public(given), got, k.Public(got), x.want)
			}
		}
	}
	if (Kind{PublicReads: true}).Public(parameters(PublicReads, "yes")) {
		t.Error("a value that nobody understands makes a ledger public")
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
