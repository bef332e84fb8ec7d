package schema

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

// schemas returns the folder of the published schemas. They are not part of this repository: the
// variable CAIRN_ISO20022_XSD names their folder, or they lie beside the repository.
func schemas(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("CAIRN_ISO20022_XSD")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "data", "iso20022", "xsd")
	}
	if _, err := os.Stat(filepath.Join(dir, "pacs.008.001.08.xsd")); err != nil {
		t.Skipf("no ISO 20022 schemas in %s: set CAIRN_ISO20022_XSD to their folder", dir)
	}
	if _, err := exec.LookPath("xmllint"); err != nil {
		t.Skip("no xmllint: install libxml2-utils")
	}
	return dir
}

// verdicts asks xmllint about files, all for one schema, and returns what it says about each that
// it refuses.
func verdicts(t *testing.T, schema string, files []string) map[string]string {
	t.Helper()
	refused := map[string]string{}
	for len(files) > 0 {
		n := min(len(files), 500)
		out, _ := exec.Command("xmllint", append([]string{"--noout", "--nonet", "--schema", schema}, files[:n]...)...).CombinedOutput()
		why, seen := "", 0
		for line := range strings.Lines(string(out)) {
			line = strings.TrimSpace(line)
			if file, ok := strings.CutSuffix(line, " validates"); ok {
				_ = file
				why = ""
				seen++
			} else if file, ok := strings.CutSuffix(line, " fails to validate"); ok {
				refused[file] = why
				why = ""
				seen++
			} else {
				why += line + "\n"
			}
		}
		if seen != n {
			t.Fatalf("xmllint judged %d of %d files: %s", seen, n, out)
		}
		files = files[n:]
	}
	return refused
}

// problems returns what Check says.
func problems(t *testing.T, root *xmltree.Element) []Problem {
	t.Helper()
	definition := strings.TrimPrefix(root.Space, "urn:iso:std:iso:20022:tech:xsd:")
	m, exact, found := Lookup(definition)
	if !found || !exact {
		t.Fatalf("no exact tables of %s", definition)
	}
	var all []Problem
	m.Check(root.Child(m.Body), true, func(p Problem) bool {
		all = append(all, p)
		return true
	})
	return all
}

// TestAgainstXmllint changes valid messages in thousands of ways and compares Check with xmllint.
func TestAgainstXmllint(t *testing.T) {
	dir := schemas(t)
	samples, err := filepath.Glob(filepath.Join("..", "testdata", "valid", "*.xml"))
	if err != nil || len(samples) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	const changed = 250 // of each sample
	for _, sample := range samples {
		raw, err := os.ReadFile(sample)
		if err != nil {
			t.Fatal(err)
		}
		root, err := xmltree.Parse(raw, xmltree.Limits{})
		if err != nil {
			t.Fatalf("%s: %v", sample, err)
		}
		definition := strings.TrimPrefix(root.Space, "urn:iso:std:iso:20022:tech:xsd:")
		if _, exact, _ := Lookup(definition); !exact {
			continue
		}
		t.Run(filepath.Base(sample), func(t *testing.T) {
			work := t.TempDir()
			rng := rand.New(rand.NewPCG(1, uint64(len(raw))))
			got := map[string][]Problem{}
			var files []string
			for i := range changed + 1 {
				root, _ := xmltree.Parse(raw, xmltree.Limits{})
				root.Attrs = nil
				change := "nothing"
				if i > 0 {
					change = mutate(rng, root)
				}
				out, err := xmltree.Write(root)
				if err != nil {
					t.Fatal(err)
				}
				again, err := xmltree.Parse(out, xmltree.Limits{})
				if err != nil {
					t.Fatalf("%s: %v", change, err)
				}
				file := filepath.Join(work, fmt.Sprintf("%03d.xml", i))
				if err := os.WriteFile(file, append(bytes.TrimSpace(out), []byte("<!-- "+change+" -->")...), 0o600); err != nil {
					t.Fatal(err)
				}
				files = append(files, file)
				got[file] = problems(t, again)
			}
			want := verdicts(t, filepath.Join(dir, definition+".xsd"), files)
			if why := want[files[0]]; why != "" {
				t.Fatalf("xmllint refuses the sample itself: %s", why)
			}
			for _, file := range files {
				if why, refused := want[file]; refused != (len(got[file]) > 0) {
					raw, _ := os.ReadFile(file)
					t.Errorf("xmllint says %q, Check %v\n%s", why, got[file], raw[bytes.LastIndex(raw, []byte("<!--")):])
				}
			}
			t.Logf("%d of %d are refused by both", len(want), len(files))
			if len(want) < changed/3 || len(want) > changed*99/100 {
				t.Errorf("%d of %d changed messages are refused: the changes prove little", len(want), changed)
			}
		})
	}
}

// texts are values that break one type and fit another.
var texts = []string{"", " ", "x", "NORM", "EUR", "2026-11-30", "2026-02-30", "2026-11-30Z", "2026-11-30T10:00:00", "2026-11-30T24:00:00Z",
	"2026-11-30T10:00:00.1234+05:00", "10:00:00", "24:00:00", "-1", "+1", "0", "1.", ".5", "0.000001", "1.00000", "1.100000", "123456789012345678",
	"1234567890123456789", "0001234567890123456789", "0.123456789012345678", "1e5", "1,5", "true", "TRUE", "1", "DE89370400440532013000", "deutdeff",
	"DEUTDEFF", "529900T8BM49AURSDO55", "97ed4827-7b6f-4491-a06f-b548d5a7512d", "97ED4827-7b6f-4491-a06f-b548d5a7512d", "ABCD", "ABCDE", "Ä", "ÄÖÜß",
	"CHQB", "SCOR", "RTGS", " 12 ", "\n12\n", "YWJj", "Y WJj", strings.Repeat("a", 35), strings.Repeat("ä", 35), strings.Repeat("a", 36),
	strings.Repeat("a", 140), strings.Repeat("a", 141), strings.Repeat("9", 15), strings.Repeat("9", 16), "+49-123456", "+49 123456"}

// copied returns an element that shares nothing with e.
func copied(e *xmltree.Element) *xmltree.Element {
	c := xmltree.New(e.Space, e.Name)
	c.Text, c.Attrs = e.Text, e.Attrs
	for _, child := range e.Children {
		c.Children = append(c.Children, copied(child))
	}
	return c
}

// mutate changes one place of a document and says how.
func mutate(rng *rand.Rand, root *xmltree.Element) string {
	var all []*xmltree.Element
	var walk func(e *xmltree.Element)
	walk = func(e *xmltree.Element) {
		for _, c := range e.Children {
			all = append(all, c)
			walk(c)
		}
	}
	walk(root)
	e := all[1+rng.IntN(len(all)-1)] // not the body
	for e.Space != root.Space {
		e = all[1+rng.IntN(len(all)-1)]
	}
	parent := e.Parent
	at := 0
	for i, c := range parent.Children {
		if c == e {
			at = i
		}
	}
	insert := func(i int, c *xmltree.Element) {
		parent.Children = append(parent.Children[:i:i], append([]*xmltree.Element{c}, parent.Children[i:]...)...)
	}
	path := e.Path()
	switch rng.IntN(12) {
	case 0, 1:
		parent.Children = append(parent.Children[:at:at], parent.Children[at+1:]...)
		return "without " + path
	case 2:
		insert(at, e)
		return "twice " + path
	case 3:
		other := rng.IntN(len(parent.Children))
		parent.Children[at], parent.Children[other] = parent.Children[other], parent.Children[at]
		return "swapped " + path
	case 4:
		e.Name = all[rng.IntN(len(all))].Name
		return "renamed " + path + " to " + e.Name
	case 5:
		insert(rng.IntN(len(parent.Children)+1), copied(all[rng.IntN(len(all))]))
		return "something beside " + path
	case 6:
		c := xmltree.New("urn:example:other", e.Name)
		insert(at, c)
		return "another namespace beside " + path
	case 7:
		e.Attrs = []xmltree.Attr{{Name: []string{"Ccy", "Cc", "id"}[rng.IntN(3)], Value: []string{"EUR", "eur", "E", ""}[rng.IntN(4)]}}
		return "another attribute at " + path
	default:
		for len(e.Children) > 0 {
			if rng.IntN(20) == 0 {
				e.Text = "text"
				return "text in " + path
			}
			e = e.Children[rng.IntN(len(e.Children))]
		}
		e.Text = texts[rng.IntN(len(texts))]
		return fmt.Sprintf("text %q at %s", e.Text, e.Path())
	}
}
