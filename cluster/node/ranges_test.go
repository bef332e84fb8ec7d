package node

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestEveryNumberHasARange: a numeric field of Config without a row in the table of ranges is a
// fault.
func TestEveryNumberHasARange(t *testing.T) {
	t.Parallel()
	keys := map[string]bool{}
	for _, r := range ranges {
		if keys[r.key] {
			t.Errorf("%s has two rows", r.key)
		}
		keys[r.key] = true
		if r.least > r.most || r.preset != 0 && (r.preset < r.least || r.preset > r.most) {
			t.Errorf("%s: the default %d is not within %d to %d", r.key, r.preset, r.least, r.most)
		}
	}
	var visit func(at string, typ reflect.Type)
	visit = func(at string, typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Struct:
			for i := range typ.NumField() {
				if !typ.Field(i).IsExported() {
					continue // no key of node.yaml
				}
				visit(strings.TrimPrefix(at+"."+yamlName(typ.Field(i)), "."), typ.Field(i).Type)
			}
		case reflect.Slice:
			visit(at+"[]", typ.Elem())
		case reflect.String, reflect.Bool:
		default:
			if !keys[at] {
				t.Errorf("%s (%s) has no range: add a row to the table in ranges.go", at, typ)
			}
			delete(keys, at)
		}
	}
	visit("", reflect.TypeFor[Config]())
	for key := range keys {
		t.Errorf("%s has a range and is no number of Config", key)
	}
}

// loadNumber loads a node.yaml in which one number is spelt as value.
func loadNumber(t *testing.T, key, value string) error {
	t.Helper()
	base := strings.Split(key, ".")
	var text string
	row := `{id: %s, name: %s, peer: "127.0.0.1:%d", api: "127.0.0.1:%d", cosigner: v}`
	if strings.HasPrefix(key, "joined") {
		self, other := "2", value
		if key == "joined.self.id" {
			self, other = value, "3"
		}
		text = "members: [" + fmt.Sprintf(row, "7", "n9", 9, 8) + "]\njoined: {self: " + fmt.Sprintf(row, self, "n1", 2, 1) + ", nodes: [" + fmt.Sprintf(row, other, "n9", 9, 8) + "]}\n"
	} else if strings.HasPrefix(key, "members") {
		text = fmt.Sprintf("members: [{id: %s, name: n1, peer: \"127.0.0.1:2\", api: \"127.0.0.1:1\", cosigner: v}]\n", value)
	} else if len(base) == 1 {
		text = fmt.Sprintf("members: [{id: 1, name: n1, peer: \"127.0.0.1:2\", api: \"127.0.0.1:1\", cosigner: v}]\n%s: %s\n", key, value)
	} else {
		text = fmt.Sprintf("members: [{id: 1, name: n1, peer: \"127.0.0.1:2\", api: \"127.0.0.1:1\", cosigner: v}]\n%s: {%s: %s}\n", base[0], base[1], value)
	}
	text += `name: n1
cluster_id: 00000000000000ab
directory: example.org/ledger
trust_domain: example.org
data_dir: data
listen: {api: "127.0.0.1:1", peer: "127.0.0.1:2", http: "127.0.0.1:3"}
policy: p
keys: {roots: r, certificate: c, key: k, kem_certificate: c, kem_key: k, cosigner: c, sealing: s, log_key: l}
`
	file := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := LoadConfig(file)
	return err
}

// TestNumbersAsWritten: a whole number or size that is not a decimal integer as written is refused,
// with its key and its text, for every such key.
func TestNumbersAsWritten(t *testing.T) {
	t.Parallel()
	for _, r := range ranges {
		if r.unit == duration {
			continue
		}
		key := strings.Replace(r.key, "[]", "[0]", 1)
		fits := fmt.Sprint(max(r.preset, 1))
		for _, text := range []string{
			fits + ".5", fits + ".0", "0" + fits, "010000000", "0x1000000", "0o100000000", "0b1000", "+" + fits, "2_097_152", "3e6",
			"2.9", "18446744073709551616", "-18446744073709551616", "99999999999999999999999", ".inf", "many", "true", "~",
		} {
			if err := loadNumber(t, r.key, text); err == nil || !strings.Contains(err.Error(), key+": ") || !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %s: %v, want an error with the key and the text", key, text, err)
			}
		}
		if err := loadNumber(t, r.key, fits); err != nil {
			t.Errorf("%s: %s is refused: %v", key, fits, err)
		}
		// Anchors and merged mappings lead to numbers, too.
		if err := loadNumber(t, r.key, "&n "+fits+".5"); err == nil || !strings.Contains(err.Error(), key+": ") {
			t.Errorf("%s: a fraction with an anchor: %v", key, err)
		}
	}
	for merged, want := range map[string]string{
		"storage: {<<: {cache_bytes: 1048576.5}}":                                         "storage.cache_bytes: ",
		"storage: {<<: [{queue_bytes: 2097152}, {cache_bytes: 1048576.5}]}":               "storage.cache_bytes: ",
		"storage: &s {<<: *s, cache_bytes: 1048576}":                                      "contains itself",
		"storage: {queue_bytes: &b 2097152.5, cache_bytes: *b}":                           "storage.cache_bytes: ",
		"storage: {queue_bytes: &b 2097152, cache_bytes: *b, <<: {min_free_bytes: 0o77}}": "storage.min_free_bytes: ",
	} {
		if err := loadNumber(t, "log_files", "3\n"+merged); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", merged, err, want)
		}
	}
	if err := loadNumber(t, "log_files", "3\nstorage: {queue_bytes: &b 2097152, <<: {cache_bytes: *b}}"); err != nil {
		t.Errorf("an alias to a decimal integer: %v", err)
	}
	for _, text := range []string{"1.0", "01", "+1"} {
		if err := loadNumber(t, "seal.quorum", text); err == nil || !strings.Contains(err.Error(), "seal.quorum: \""+text+"\"") {
			t.Errorf("seal.quorum: %s: %v", text, err)
		}
	}
}

// TestNumbersOutOfRange puts, for every number, values outside its range into a file. LoadConfig
// names key, value and range. A zero is a value as any other.
func TestNumbersOutOfRange(t *testing.T) {
	t.Parallel()
	load := func(key, value string) error { return loadNumber(t, key, value) }
	for _, r := range ranges {
		show := func(v int64) string {
			if r.unit == duration {
				return time.Duration(v).String()
			}
			return fmt.Sprint(v)
		}
		values := []int64{-1, 0, r.least - 1}
		if r.most < math.MaxInt64 {
			values = append(values, r.most+1)
		}
		for _, v := range values {
			err := load(r.key, show(v))
			if err == nil {
				t.Errorf("%s: %s was taken", r.key, show(v))
				continue
			}
			name := strings.Replace(r.key, "[]", "[0]", 1)
			if !strings.Contains(err.Error(), name+": "+r.write(v)) || !strings.Contains(err.Error(), "must be "+r.write(r.least)+" to "+r.write(r.most)) {
				t.Errorf("%s: %s: %v, want key, value and range", r.key, show(v), err)
			}
		}
		if r.preset != 0 {
			if err := load(r.key, show(r.preset)); err != nil {
				t.Errorf("%s: the default %s is refused: %v", r.key, show(r.preset), err)
			}
		}
	}
	if err := load("raft.stall", "1e9"); err == nil {
		t.Error("a duration without a unit was taken")
	}
}

// TestDocumentedRanges holds the table in docs/operations.md to the table in ranges.go.
func TestDocumentedRanges(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range ranges {
		row := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta("`"+r.key+"`") + ` \|[^|]*\|([^|]*)\|([^|]*)\|$`).FindSubmatch(page)
		if row == nil {
			t.Errorf("docs/operations.md has no row with four columns for %s", r.key)
			continue
		}
		preset := "required"
		if r.preset != 0 {
			preset = r.write(r.preset)
		}
		most := r.write(r.most)
		if r.most == math.MaxInt64 {
			most = "2^63-1"
		}
		want := []string{preset, r.write(r.least) + " to " + most}
		got := []string{strings.TrimSpace(string(row[1])), strings.TrimSpace(string(row[2]))}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("docs/operations.md says of %s: %q, want %q", r.key, got, want)
		}
	}
}
