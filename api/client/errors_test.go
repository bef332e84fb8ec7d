package client

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cairnledger/cairn/merkle"
)

// TestNobodyAnswered: an error names the node that answered, and none if none did.
func TestNobodyAnswered(t *testing.T) {
	n1 := Endpoint{"n1", "192.0.2.1:1"}
	for text, answered := range map[string]bool{
		"connection error: desc = \"transport: error while dialing: dial tcp 192.0.2.1:1: connect: connection refused\"": false,
		"connection error: desc = \"error reading server preface: EOF\"":                                                 false,
		"this node does not lead": true,
	} {
		e := errorFrom(status.Error(codes.Unavailable, text), n1, false)
		if (e.Node == "n1") != answered || !answered && e.Node != "" {
			t.Errorf("%q: the node that answered is %q, answered = %t", text, e.Node, answered)
		}
	}
}

// TestProofsAreWholeHashes: a proof is some whole hashes, at most those that RFC 6962 can need.
// What is left over is not ignored.
func TestProofsAreWholeHashes(t *testing.T) {
	for size, ok := range map[int]bool{
		0: true, merkle.HashSize: true, 65 * merkle.HashSize: true,
		1: false, merkle.HashSize - 1: false, merkle.HashSize + 1: false, 66 * merkle.HashSize: false,
	} {
		got, err := hashes(make([]byte, size))
		if (err == nil) != ok || ok && len(got) != size/merkle.HashSize {
			t.Errorf("a proof of %d bytes: %d hashes, %v; want it accepted: %t", size, len(got), err, ok)
		}
	}
}
