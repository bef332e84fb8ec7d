package tlog

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// The examples of C2SP signed-note and tlog-checkpoint.
const (
	poem = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n" +
		"— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
	sofa = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n" +
		"— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n" +
		"— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)

func TestParsePublishedNotes(t *testing.T) {
	t.Parallel()
	n, err := ParseNote([]byte(poem))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(n.Text, "sole:\n\ned è subito sera.\n") || len(n.Signatures) != 1 {
		t.Errorf("text %q with %d signatures", n.Text, len(n.Signatures))
	}
	if s := n.Signatures[0]; s.Name != "quasimodo.example/salvatore" || s.KeyID != 0x367ba04b || len(s.Data) != 64 {
		t.Errorf("signature by %s, key id %08x, %d bytes", s.Name, s.KeyID, len(s.Data))
	}
	if got := string(n.Marshal()); got != poem {
		t.Errorf("Marshal: %q, want %q", got, poem)
	}

	c, n, err := ParseCheckpoint([]byte(sofa))
	if err != nil {
		t.Fatal(err)
	}
	if c.Origin != "example.com/behind-the-sofa" || c.Size != 20852163 || c.Text() != n.Text || len(n.Signatures) != 2 {
		t.Errorf("checkpoint %+v with %d signatures", c, len(n.Signatures))
	}
	if got := string(n.Marshal()); got != sofa {
		t.Errorf("Marshal: %q, want %q", got, sofa)
	}
}

func TestNotesThatAreRefused(t *testing.T) {
	t.Parallel()
	const line = "— name AAAAAAE=\n"
	for _, tt := range []struct{ name, note, want string }{
		{"good", "text\n\n" + line, ""},
		{"name with a slash and other letters", "text\n\n— é/ü AAAAAAE=\n", ""},
		{"text of empty lines", "\n\n\n\n" + line, ""},
		{"as many signatures as allowed", "text\n\n" + strings.Repeat(line, MaxSignatures), ""},

		{"empty", "", "truncated"},
		{"no newline at the end", "text\n\n— name AAAAAAE=", "truncated"},
		{"no empty line", "text\n" + line, "no empty line"},
		{"no text", "\n" + line, "no empty line"},
		{"no signatures", "text\n\n", "no signature lines"},
		{"empty line after the signatures", "text\n\n" + line + "\n", "no signature lines"},
		{"too many signatures", "text\n\n" + strings.Repeat(line, MaxSignatures+1), "more than 128"},
		{"too large", strings.Repeat("x", MaxNoteSize) + "\n\n" + line, "at most"},
		{"tab", "te\txt\n\n" + line, "control character 0x09 at byte 2"},
		{"carriage return", "text\n\n— name AAAAAAE=\r\n", "control character 0x0d"},
		{"not UTF-8", "te\xffxt\n\n" + line, "not UTF-8"},
		{"hyphen", "text\n\n- name AAAAAAE=\n", "em dash"},
		{"no signature", "text\n\n— name\n", "no space"},
		{"no name", "text\n\n—  AAAAAAE=\n", "key name is empty"},
		{"name with plus", "text\n\n— a+b AAAAAAE=\n", "holds '+'"},
		{"name with no-break space", "text\n\n— a\u00a0b AAAAAAE=\n", "holds"},
		{"name too long", "text\n\n— " + strings.Repeat("n", 256) + " AAAAAAE=\n", "at most 255"},
		{"second space", "text\n\n— name AAAAAAE= \n", "decode base64"},
		{"not base64", "text\n\n— name AAAA_AE=\n", "decode base64"},
		{"no padding", "text\n\n— name AAAAAAE\n", "decode base64"},
		{"padding bits", "text\n\n— name AAAAAAF=\n", "decode base64"},
		{"key id only", "text\n\n— name AAAAAA==\n", "4 bytes, want"},
		{"text after the signatures", "text\n\n" + line + "text\n", "signature line 2: does not begin"},
	} {
		n, err := ParseNote([]byte(tt.note))
		wantError(t, tt.name, err, tt.want)
		if err == nil && string(n.Marshal()) != tt.note {
			t.Errorf("%s: Marshal: %q, want %q", tt.name, n.Marshal(), tt.note)
		}
	}
}

func TestNoteRoundTrip(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		n := &Note{Text: strings.Repeat("line\n", 1+rng.IntN(4))}
		for range 1 + rng.IntN(20) {
			data := make([]byte, 1+rng.IntN(3000))
			for i := range data {
				data[i] = byte(rng.Uint32())
			}
			n.Signatures = append(n.Signatures, Signature{Name: "key", KeyID: rng.Uint32(), Data: data})
		}
		b := n.Marshal()
		got, err := ParseNote(b)
		if err != nil {
			t.Fatal(err)
		}
		if got.Text != n.Text || len(got.Signatures) != len(n.Signatures) {
			t.Fatalf("note of %d signatures became one of %d", len(n.Signatures), len(got.Signatures))
		}
		for i, s := range n.Signatures {
			g := got.Signatures[i]
			if g.Name != s.Name || g.KeyID != s.KeyID || !bytes.Equal(g.Data, s.Data) {
				t.Fatalf("signature %d does not survive", i)
			}
			if again, err := ParseSignatureLine(s.Line()); err != nil || !bytes.Equal(again.Data, s.Data) {
				t.Fatalf("line %d does not survive: %v", i, err)
			}
		}
	}
}

func TestSignatureLinesThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ line, want string }{
		{"— name AAAAAAE=\n", ""},
		{"— name AAAAAAE=", "no newline"},
		{"— name AAAA\nAAE=\n", "line break"},
		{"— name AAAAAAE=\n\n", "line break"},
		{"— name AAAAAAE=\t\n", "control character"},
		{"\n", "em dash"},
		{strings.Repeat("x", MaxNoteSize+1), "at most"},
	} {
		_, err := ParseSignatureLine(tt.line)
		wantError(t, tt.line[:min(len(tt.line), 30)], err, tt.want)
	}
}
