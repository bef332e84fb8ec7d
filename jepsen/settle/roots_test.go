package settle

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"testing"
)

// TestVectors: the model computes the published keys and roots.
func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("../../merkle/accountmap/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Keys []struct{ Ledger, Account, Key string }
		Maps []struct {
			Name, Root string
			Leaves     []struct{ Key, Record, Leaf string }
		}
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	bytesOf := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, k := range v.Keys {
		if got := keyOf(k.Ledger, string(bytesOf(k.Account))); hex.EncodeToString(got[:]) != k.Key {
			t.Errorf("the key of %s in %s is %x, want %s", k.Account, k.Ledger, got, k.Key)
		}
	}
	for _, m := range v.Maps {
		var leaves []mapLeaf
		for _, l := range m.Leaves {
			got := leafOf([32]byte(bytesOf(l.Key)), [32]byte(bytesOf(l.Record)))
			if hex.EncodeToString(got.hash[:]) != l.Leaf {
				t.Errorf("%s: the leaf of %s is %x, want %s", m.Name, l.Key, got.hash, l.Leaf)
			}
			leaves = append(leaves, got)
		}
		for range 2 {
			if got := rootOf(leaves, 0); hex.EncodeToString(got[:]) != m.Root {
				t.Errorf("%s: the root is %x, want %s", m.Name, got, m.Root)
			}
			slices.Reverse(leaves)
		}
	}
	if len(v.Keys) < 4 || len(v.Maps) < 4 {
		t.Errorf("%d keys and %d maps: too few to show anything", len(v.Keys), len(v.Maps))
	}
}
