package accountmap_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/accountmap"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

// bytesHex is a byte string that JSON has in hexadecimal digits.
type bytesHex []byte

func (b bytesHex) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(b)), nil }

func (b *bytesHex) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

// vectors are for whoever writes another verifier: docs/format-map.md.
type vectors struct {
	Comment string
	Keys    []keyVector
	Maps    []mapVector
	Refused []refusedVector
}

type keyVector struct {
	Ledger       string
	Account, Key bytesHex
}

type mapVector struct {
	Name   string
	Leaves []leafVector
	Root   bytesHex
	Proofs []proofVector
}

type leafVector struct{ Key, Record, Leaf bytesHex }

type proofVector struct {
	Key     bytesHex
	Present bool
	// SHA-256 of the record when the account is present.
	Record bytesHex `json:",omitempty"`
	Proof  bytesHex
}

type refusedVector struct {
	Why              string
	Root, Key, Proof bytesHex
}

const vectorFile = "testdata/vectors.json"

// TestVectors: the published examples are what this package says, to the byte.
func TestVectors(t *testing.T) {
	t.Parallel()
	want, err := json.MarshalIndent(makeVectors(t), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(vectorFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs from what the package says; if that is meant, run the test with -update", vectorFile)
	}
	var v vectors
	if err := json.Unmarshal(got, &v); err != nil {
		t.Fatal(err)
	}
	for _, k := range v.Keys {
		if key := accountmap.KeyOf(k.Ledger, k.Account); !bytes.Equal(key[:], k.Key) {
			t.Errorf("key of %q, %x: %s, want %x", k.Ledger, k.Account, key, k.Key)
		}
	}
	for _, m := range v.Maps {
		for _, p := range m.Proofs {
			proof, err := accountmap.ParseProof(p.Proof)
			if err != nil {
				t.Fatalf("%s: %v", m.Name, err)
			}
			record, present, err := proof.Verify(merkle.Hash(m.Root), accountmap.Key(p.Key))
			if err != nil || present != p.Present || present && !bytes.Equal(record[:], p.Record) {
				t.Errorf("%s: key %x: %s, %t, %v", m.Name, p.Key, record, present, err)
			}
		}
	}
	for _, r := range v.Refused {
		proof, err := accountmap.ParseProof(r.Proof)
		if err == nil {
			_, _, err = proof.Verify(merkle.Hash(r.Root), accountmap.Key(r.Key))
		}
		if err == nil {
			t.Errorf("accepted, though %s", r.Why)
		}
	}
}

func makeVectors(t *testing.T) *vectors {
	t.Helper()
	v := &vectors{Comment: "Examples of docs/format-map.md. Byte strings are in hexadecimal digits; a Record is the SHA-256 of a record."}
	const ledger = "example.org/settlement"
	account := func(id string) accountmap.Leaf {
		return accountmap.Leaf{Key: accountmap.KeyOf(ledger, []byte(id)), Record: sha256.Sum256([]byte("record of " + id))}
	}
	for _, id := range []string{"alice", "bob", "carol", ""} {
		key := accountmap.KeyOf(ledger, []byte(id))
		v.Keys = append(v.Keys, keyVector{ledger, []byte(id), key[:]})
	}
	key := accountmap.KeyOf("example.org/settlemen", []byte("talice"))
	v.Keys = append(v.Keys, keyVector{"example.org/settlemen", []byte("talice"), key[:]})

	add := func(name string, leaves []accountmap.Leaf, keys ...accountmap.Key) *accountmap.Tree {
		tree := accountmap.Build(leaves)
		root := tree.Root()
		m := mapVector{Name: name, Root: root[:], Leaves: []leafVector{}}
		for _, l := range leaves {
			h := accountmap.LeafHash(l.Key, l.Record)
			m.Leaves = append(m.Leaves, leafVector{bytes.Clone(l.Key[:]), bytes.Clone(l.Record[:]), h[:]})
		}
		for _, k := range keys {
			p := proofVector{Key: bytes.Clone(k[:]), Proof: tree.Prove(k).Append(nil)}
			if record, present := tree.Get(k); present {
				p.Present, p.Record = true, record[:]
			}
			m.Proofs = append(m.Proofs, p)
		}
		v.Maps = append(v.Maps, m)
		return tree
	}
	alice, bob, carol, dave := account("alice"), account("bob"), account("carol"), account("dave")
	add("no accounts", nil, alice.Key)
	add("one account", []accountmap.Leaf{alice}, alice.Key, bob.Key)
	three := add("three accounts", []accountmap.Leaf{alice, bob, carol}, alice.Key, bob.Key, carol.Key, dave.Key)
	var near []accountmap.Leaf
	for i, bit := range []int{-1, 0, 7, 8, 63, 64, 254, 255} {
		l := accountmap.Leaf{Record: sha256.Sum256([]byte{byte(i)})}
		if bit >= 0 {
			l.Key[bit/8] |= 0x80 >> (bit % 8)
		}
		near = append(near, l)
	}
	add("keys that differ in one bit", near, near[0].Key, near[1].Key, near[4].Key, near[7].Key, accountmap.Key{31: 3}, accountmap.Key{0: 0x80, 31: 1})

	refuse := func(why string, key accountmap.Key, p accountmap.Proof, change func(b []byte) []byte) {
		root := three.Root()
		b := p.Append(nil)
		if change != nil {
			b = change(b)
		}
		v.Refused = append(v.Refused, refusedVector{why, root[:], bytes.Clone(key[:]), b})
	}
	present, absent := three.Prove(alice.Key), three.Prove(dave.Key)
	refuse("the proof is that of another account", bob.Key, present, nil)
	refuse("the record is another one", alice.Key, present, func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	refuse("the version is not 1", alice.Key, present, func(b []byte) []byte { b[0] = 2; return b })
	refuse("the end is unknown", alice.Key, present, func(b []byte) []byte { b[1] = 4; return b })
	refuse("a byte is missing", alice.Key, present, func(b []byte) []byte { return b[:len(b)-1] })
	refuse("there is a byte more", alice.Key, present, func(b []byte) []byte { return append(b, 0) })
	refuse("the bit of a step is another one", alice.Key, present, func(b []byte) []byte { b[4] ^= 0x80; return b })
	refuse("a step stands twice", alice.Key, accountmap.Proof{End: present.End, Steps: append(present.Steps[:1:1], present.Steps...), Record: present.Record}, nil)
	refuse("a step is missing", alice.Key, accountmap.Proof{End: present.End, Steps: present.Steps[1:], Record: present.Record}, nil)
	refuse("the map is not empty", dave.Key, accountmap.Proof{End: accountmap.EndsAtNothing}, nil)
	refuse("an empty map has no steps", dave.Key, accountmap.Proof{End: accountmap.EndsAtNothing, Steps: absent.Steps}, nil)
	refuse("the other account is the one asked for", alice.Key,
		accountmap.Proof{End: accountmap.EndsAtOther, Steps: present.Steps, Record: present.Record, Other: alice.Key}, nil)
	// The hash is right: the walk of the key asked for does not lead there.
	for _, l := range []accountmap.Leaf{alice, bob, carol} {
		p := three.Prove(l.Key)
		p.End, p.Other = accountmap.EndsAtOther, l.Key
		if three.Prove(dave.Key).Other != l.Key {
			refuse("the other account's key leaves the way of the key asked for", dave.Key, p, nil)
		}
	}
	return v
}
