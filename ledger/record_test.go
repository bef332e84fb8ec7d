package ledger

import (
	"bytes"
	"strings"
	"testing"
)

// TestRecordOutcomes: the leaf of an index is its entry followed by its outcome, in a record that
// was encoded and in one that was read. A block without outcomes has no room for them.
func TestRecordOutcomes(t *testing.T) {
	t.Parallel()
	raw := encode(t, []Batch{{Principal: "p", Entries: []NewEntry{
		{Kind: KindCommand, Body: []byte("one")}, {Kind: KindPayload, Body: []byte("two")}, {Kind: KindCommand, Body: []byte("three")},
	}}})
	block, err := ParseBlock(raw)
	if err != nil {
		t.Fatal(err)
	}
	var offsets []uint32
	for i := range block.Batches[0].Entries {
		offsets = append(offsets, block.Batches[0].Entries[i].offset)
	}
	for name, outcomes := range map[string][][]byte{
		"none": nil, "empty": {nil, {}, nil}, "first": {[]byte("done"), nil, nil}, "last": {nil, nil, []byte("refused")},
		"all": {[]byte("1"), []byte("22"), []byte("333")},
	} {
		written := encodeRecord(7, 2, 40, offsets, raw, outcomes, nil, nil)
		read, err := parseRecord(written.encoded)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for what, r := range map[string]*record{"written": written, "read": read} {
			if r.raftIndex != 7 || r.raftTerm != 2 || r.first != 40 || r.end() != 43 || !bytes.Equal(r.raw, raw) {
				t.Errorf("%s, %s: record %+v", name, what, r)
			}
			for i, e := range block.Batches[0].Entries {
				want := bytes.Clone(e.Encoded)
				if outcomes != nil {
					want = append(want, outcomes[i]...)
				}
				leaf, err := r.leaf(40 + uint64(i))
				if err != nil || !bytes.Equal(leaf, want) {
					t.Errorf("%s, %s: leaf %d is %q, %v; want %q", name, what, i, leaf, err, want)
				}
			}
		}
		if plain := name == "none" || name == "empty"; plain && (written.encoded[0] != 1 || len(written.encoded) != 33+4*3+4+len(raw)) {
			t.Errorf("%s: %d bytes of form %d", name, len(written.encoded), written.encoded[0])
		}
	}
}

// TestRecordOutcomesThatAreRefused: ends that are no order, or beyond the outcomes, are an error
// and no leaf.
func TestRecordOutcomesThatAreRefused(t *testing.T) {
	t.Parallel()
	raw := encode(t, []Batch{{Principal: "p", Entries: []NewEntry{{Kind: KindCommand, Body: []byte("one")}, {Kind: KindCommand}}}})
	sound := func() *record {
		return encodeRecord(1, 1, 0, []uint32{77, 77 + 20}, raw, [][]byte{[]byte("done"), []byte("refused")}, nil, nil)
	}
	for name, change := range map[string]func(r *record){
		"sound":                  func(*record) {},
		"an end before the last": func(r *record) { r.ends[3] = 12 },
		"an end beyond":          func(r *record) { r.ends[7] = 12 },
		"too long for a leaf":    func(r *record) { r.outcomes = make([]byte, MaxLeafSize); r.ends[6], r.ends[7] = 0xff, 0xff },
	} {
		r := sound()
		change(r)
		leaf, err := r.leaf(1)
		if (name == "sound") != (err == nil) {
			t.Errorf("%s: leaf %.20q, %v", name, leaf, err)
		}
	}
	if leaf, err := sound().leaf(1); err != nil || !strings.HasSuffix(string(leaf), "refused") {
		t.Errorf("sound: leaf %q, %v", leaf, err)
	}
}

// TestRecordDetails: the detail of each entry is read as it was written, and does not change the
// leaves; ends that are no order, or beyond the details, are an error.
func TestRecordDetails(t *testing.T) {
	t.Parallel()
	raw := encode(t, []Batch{{Principal: "p", Entries: []NewEntry{{Kind: KindCommand, Body: []byte("one")}, {Kind: KindCommand}, {Kind: KindCommand}}}})
	block, err := ParseBlock(raw)
	if err != nil {
		t.Fatal(err)
	}
	var offsets []uint32
	for i := range block.Batches[0].Entries {
		offsets = append(offsets, block.Batches[0].Entries[i].offset)
	}
	for name, c := range map[string]struct {
		outcomes [][]byte
		details  []string
	}{
		"all": {[][]byte{[]byte("1"), []byte("22"), []byte("333")}, []string{"a", "bb", "ccc"}}, "no outcome": {nil, []string{"a", "", "ccc"}},
		"the last": {[][]byte{[]byte("1"), nil, nil}, []string{"", "", "ccc"}}, "none": {[][]byte{[]byte("1"), nil, nil}, []string{"", "", ""}},
	} {
		var ends []uint32
		var details []byte
		for _, d := range c.details {
			details = append(details, d...)
			ends = append(ends, uint32(len(details)))
		}
		written := encodeRecord(7, 2, 40, offsets, raw, c.outcomes, ends, details)
		read, err := parseRecord(written.encoded)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for what, r := range map[string]*record{"written": written, "read": read} {
			for i, e := range block.Batches[0].Entries {
				want := bytes.Clone(e.Encoded)
				if c.outcomes != nil {
					want = append(want, c.outcomes[i]...)
				}
				leaf, err := r.leaf(40 + uint64(i))
				detail, err2 := r.detail(40 + uint64(i))
				if err != nil || err2 != nil || !bytes.Equal(leaf, want) || string(detail) != c.details[i] {
					t.Errorf("%s, %s: leaf %d is %q, %v, with the detail %q, %v; want %q with %q", name, what, i, leaf, err, detail, err2, want, c.details[i])
				}
			}
		}
		if name == "all" {
			for what, change := range map[string]func(){"an end before the last": func() { read.detailEnds[3] = 9 }, "an end beyond": func() { read.detailEnds[3], read.detailEnds[7] = 1, 99 }} {
				change()
				if d, err := read.detail(41); err == nil {
					t.Errorf("%s: detail %q", what, d)
				}
			}
		}
	}
}
