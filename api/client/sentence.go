package client

import (
	"regexp"
	"strings"
)

// gRPC's own texts about nodes that gave no answer. What the patterns do not match is passed on.
var (
	dialFailed    = regexp.MustCompile(`dial tcp ([^\s"]+): (?:connect: )?([^"]+)`)
	lookupFailed  = regexp.MustCompile(`lookup ([^\s"]+?)(?: on [^\s"]+)?: ([^"]+)`)
	handshakeText = regexp.MustCompile(`authentication handshake failed: ([^"]+)`)
	neverReady    = regexp.MustCompile(`waiting for connections to become ready|^context deadline exceeded$`)
	connBroke     = regexp.MustCompile(`(?:read|write) tcp [^\s"]+->([^\s"]+): (?:(?:read|write): )?([^"]+)`)
	connEnded     = regexp.MustCompile(`error reading (?:from server|server preface): ([^"]+)`)
)

// noAnswer says in a sentence why a node gave no answer, or returns "" if the text of a gRPC error
// is about something else. Every error of a call passes through it: see errorFrom.
func noAnswer(node, address, text string) string {
	who, at := node, ""
	if who == "" {
		who = "the node"
	}
	if address != "" {
		at = " at " + address
	}
	reason := func(s string) string { return strings.TrimRight(strings.TrimSpace(s), `"\`) }
	if m := lookupFailed.FindStringSubmatch(text); m != nil {
		return who + " does not answer" + at + ": looking for the host " + m[1] + ": " + reason(m[2])
	}
	if m := dialFailed.FindStringSubmatch(text); m != nil {
		return who + " does not answer at " + m[1] + ": " + reason(m[2])
	}
	if m := handshakeText.FindStringSubmatch(text); m != nil {
		return handshakeFailed(node, address, reason(m[1]))
	}
	if m := connBroke.FindStringSubmatch(text); m != nil {
		return who + " ended the connection at " + m[1] + ": " + reason(m[2])
	}
	if m := connEnded.FindStringSubmatch(text); m != nil {
		return who + " ended the connection" + at + ": " + reason(m[1])
	}
	if neverReady.MatchString(text) {
		return who + " does not answer" + at + " in time"
	}
	return ""
}

// handshakeFailed says in a sentence why no authenticated channel to a node came about.
func handshakeFailed(node, address, text string) string {
	who := "the address of " + node
	if address != "" {
		who = address + ", the address of " + node + ","
	}
	switch {
	case strings.Contains(text, "first record does not look like a TLS handshake"):
		return who + " does not speak TLS: it is not a node's API port"
	case strings.Contains(text, "remote error: tls: handshake failure"),
		strings.Contains(text, "remote error: tls: protocol version not supported"),
		strings.Contains(text, "no application protocol"),
		strings.Contains(text, "server selected unadvertised ALPN protocol"):
		return who + " is of another TLS server, or a node of another suite: " + bare(text)
	}
	return "the handshake with " + node + " failed: " + bare(text)
}

// bare drops the names of the layers that an error of the handshake passed through.
func bare(text string) string {
	for _, layer := range []string{"lpa handshake: ", "tls: outer TLS handshake: "} {
		text = strings.TrimPrefix(text, layer)
	}
	return text
}
