package client

import "testing"

// TestNoAnswer: what gRPC says about a node that gives no answer becomes a sentence that names the
// node and its address; an answer of a node stays as the node gave it.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:7: connect: connection refused"`:            "n2 does not answer at 127.0.0.1:7: connection refused",
		`connection error: desc = "transport: Error while dialing: dial tcp 10.0.0.9:7: i/o timeout"`:                             "n2 does not answer at 10.0.0.9:7: i/o timeout",
		`connection error: desc = "transport: Error while dialing: dial tcp [::1]:7: connect: no route to host"`:                  "n2 does not answer at [::1]:7: no route to host",
		`connection error: desc = "transport: Error while dialing: dial tcp: lookup a.invalid on 10.255.255.53:53: no such host"`: "n2 does not answer at A:1: looking for the host a.invalid: no such host",
		`connection error: desc = "transport: Error while dialing: dial tcp: lookup a.invalid: no such host"`:                     "n2 does not answer at A:1: looking for the host a.invalid: no such host",
		`context deadline exceeded while waiting for connections to become ready`:                                                 "n2 does not answer at A:1 in time",
		`context deadline exceeded`:                                      "n2 does not answer at A:1 in time",
		`write tcp 127.0.0.1:55514->127.0.0.1:27778: write: broken pipe`: "n2 ended the connection at 127.0.0.1:27778: broken pipe",
		`error reading from server: EOF`:                                 "n2 ended the connection at A:1: EOF",
		`connection error: desc = "error reading server preface: EOF"`:   "n2 ended the connection at A:1: EOF",
		`connection error: desc = "transport: authentication handshake failed: lpa handshake: tls: outer TLS handshake: tls: first record does not look like a TLS handshake"`: "A:1, the address of n2, does not speak TLS: it is not a node's API port",
		`connection error: desc = "transport: authentication handshake failed: lpa handshake: tls: outer TLS handshake: remote error: tls: handshake failure"`:                 "A:1, the address of n2, is of another TLS server, or a node of another suite: remote error: tls: handshake failure",
		`connection error: desc = "transport: authentication handshake failed: lpa handshake: expired: it ended"`:                                                              "the handshake with n2 failed: expired: it ended",
		`the ledger has no entry 7`: "",
	} {
		if got := noAnswer("n2", "A:1", text); got != want {
			t.Errorf("%s:\ngot  %q\nwant %q", text, got, want)
		}
	}
}
