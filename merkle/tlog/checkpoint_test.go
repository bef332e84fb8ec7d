package tlog

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/merkle"
)

func TestCheckpointText(t *testing.T) {
	t.Parallel()
	root := merkle.LeafHash(nil)
	for _, c := range []Checkpoint{
		{Origin: "o", Size: 0, Root: merkle.EmptyRoot()},
		{Origin: testOrigin, Size: 1, Root: root},
		{Origin: "an origin with spaces + a plus", Size: merkle.MaxSize, Root: root},
		{Origin: strings.Repeat("o", 255), Size: 1234567890, Root: root},
	} {
		got, err := ParseCheckpointText(c.Text())
		if err != nil || got != c {
			t.Errorf("%+v becomes %+v: %v", c, got, err)
		}
	}
}

func TestCheckpointsThatAreRefused(t *testing.T) {
	t.Parallel()
	const root = "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=" // of one empty leaf
	for _, tt := range []struct{ name, text, want string }{
		{"good", "o\n1\n" + root + "\n", ""},
		{"empty", "", "three lines"},
		{"no newline at the end", "o\n1\n" + root, "three lines"},
		{"two lines", "o\n1\n", "three lines"},
		{"extension line", "o\n1\n" + root + "\nmore\n", "extension lines"},
		{"empty extension line", "o\n1\n" + root + "\n\n", "extension lines"},
		{"no origin", "\n1\n" + root + "\n", "origin is empty"},
		{"long origin", strings.Repeat("o", 256) + "\n1\n" + root + "\n", "origin is 256 bytes"},
		{"tab in origin", "o\to\n1\n" + root + "\n", "control character"},
		{"no size", "o\n\n" + root + "\n", "size: number is empty"},
		{"leading zero", "o\n01\n" + root + "\n", "size: number has a leading zero"},
		{"sign", "o\n+1\n" + root + "\n", "size: number holds '+'"},
		{"hexadecimal", "o\n0x1\n" + root + "\n", "size: number has a leading zero"},
		{"space", "o\n1 \n" + root + "\n", "size: number holds ' '"},
		{"size too large", "o\n9223372036854775808\n" + root + "\n", "size: number is larger"},
		{"size far too large", "o\n99999999999999999999999999\n" + root + "\n", "size: number is larger"},
		{"short root", "o\n1\n" + root[4:] + "\n", "root: 40 characters"},
		{"long root", "o\n1\nAAAA" + root + "\n", "root: 48 characters"},
		{"root of 33 bytes", "o\n1\n" + root[:42] + "Ab\n", "root: 33 bytes"},
		{"padding bits", "o\n1\n" + root[:42] + "1=\n", "root: decode base64"},
		{"URL base64", "o\n1\n" + strings.ReplaceAll(root, "+", "-") + "\n", "root: decode base64"},
		{"root of nothing", "o\n0\n" + root + "\n", "root of size 0"},
	} {
		c, err := ParseCheckpointText(tt.text)
		wantError(t, tt.name, err, tt.want)
		if err == nil && c.Text() != tt.text {
			t.Errorf("%s: Text: %q, want %q", tt.name, c.Text(), tt.text)
		}
	}
}

// TestCosignedMessage spells out the bytes of C2SP tlog-cosignature,
// structure cosigned_message.
func TestCosignedMessage(t *testing.T) {
	t.Parallel()
	c := Checkpoint{Origin: "log", Size: 0x0102030405, Root: merkle.LeafHash(nil)}
	want := "737562747265652f76310a00" + // "subtree/v1\n\0"
		"05" + "6c6f672f31" + // cosigner_name "log/1"
		"0000000065000000" + // timestamp
		"03" + "6c6f67" + // log_origin "log"
		"0000000000000000" + // start
		"0000000102030405" + // end
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
	if got := hex.EncodeToString(c.cosignedMessage("log/1", 0x65000000)); got != want {
		t.Errorf("message %s, want %s", got, want)
	}
	if got, want := string(c.ed25519CosignedMessage(1679315147)), "cosignature/v1\ntime 1679315147\nlog\n4328719365\nbjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\n"; got != want {
		t.Errorf("Ed25519 message %q, want %q", got, want)
	}
}
