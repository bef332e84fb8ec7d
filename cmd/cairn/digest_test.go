package main

import (
	"strings"
	"testing"
)

// TestDigest: the text is the one that docs/formats.md shows, and no other spelling of it is a
// digest.
func TestDigest(t *testing.T) {
	t.Parallel()
	d, err := digestOf(strings.NewReader("hello\n"))
	if err != nil {
		t.Fatal(err)
	}
	const want = "cairn-digest v1 sha256 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03 6\n"
	if got := string(d.marshal()); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, ok := parseDigest([]byte(want)); !ok || got != d {
		t.Errorf("parsed %+v, %t", got, ok)
	}
	for name, text := range map[string]string{
		"no newline":    strings.TrimSuffix(want, "\n"),
		"two newlines":  want + "\n",
		"upper case":    strings.ToUpper(want),
		"no size":       strings.TrimSuffix(want, " 6\n") + "\n",
		"negative size": strings.Replace(want, " 6", " -6", 1),
		"zeros before":  strings.Replace(want, " 6", " 06", 1),
		"short digest":  strings.Replace(want, "5891", "", 1),
		"two blanks":    strings.Replace(want, " 6", "  6", 1),
		"other version": strings.Replace(want, "v1", "v2", 1),
		"nothing":       "",
	} {
		if _, ok := parseDigest([]byte(text)); ok {
			t.Errorf("%s: %q is taken for a digest", name, text)
		}
	}
}
