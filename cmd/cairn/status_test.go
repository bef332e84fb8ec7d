package main

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/cairnv1"
)

// TestStatusOfANode: every figure of a node's answer is printed under its own name, as JSON and in
// the table. Every figure has another value here.
func TestStatusOfANode(t *testing.T) {
	t.Parallel()
	started := time.Now().Add(-90 * time.Minute)
	s := nodeStatus{Node: "n1", Address: "127.0.0.1:1"}
	s.fill(&cairnv1.StatusResponse{
		Node: "n1", Id: 1, Origin: "example.org/ledger", Program: "settlement", ProgramVersion: 4, Version: "v1.2.3", Role: "follower", Leader: "n2", LeaderAddress: "127.0.0.1:2",
		Term: 3, Commit: 1005, Applied: 1004, Size: 2006, Root: []byte{0xab}, SealedSize: 2005, SealedRoot: []byte{0xcd}, Started: started.UnixMicro(),
		WalBytes: 7 << 20, StoreBytes: 8 << 20, DiskFreeBytes: 9 << 30, QueuedRequests: 11, QueuedBytes: 12, MemoryBytes: 14, Repairs: 15, Scrubbed: started.UnixMicro(), ScrubShare: 0.5, Problems: []string{"a slow disk"},
		Certificates: []*cairnv1.CertificateStatus{{Kind: "identity", Serial: "1f", Expires: 1_800_000_000, Soon: true}, {Kind: "root", Serial: "2e", Expires: 1_900_000_000}},
		Peers:        []*cairnv1.Peer{{Id: 2, Name: "n2", Address: "127.0.0.1:2", Kind: "voter", Connected: true, Match: 13}, {Id: 3, Name: "n3", Kind: "voter", Problem: "never met"}},
	})
	var out bytes.Buffer
	a := &app{streams: streams{out: &out, err: &bytes.Buffer{}}, json: true}
	_ = a.printStatus("example.org/ledger", []nodeStatus{s}) // nobody leads, which is an error
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%s: %v", out.String(), err)
	}
	want := map[string]any{
		"node": "n1", "address": "127.0.0.1:1", "role": "follower", "leader": "n2", "term": 3.0, "commit": 1005.0, "applied": 1004.0,
		"size": 2006.0, "sealed_size": 2005.0, "queued_requests": 11.0, "wal_bytes": float64(7 << 20), "store_bytes": float64(8 << 20), "disk_free_bytes": float64(9 << 30), "memory_bytes": 14.0, "repairs": 15.0, "scrubbed": timeString(started.UnixMicro()), "problems": []any{"a slow disk"},
		"root": "ab", "sealed_root": "cd", "origin": "example.org/ledger", "program": "settlement", "version": "v1.2.3", "started": timeString(started.UnixMicro()),
		"certificates": []any{
			map[string]any{"kind": "identity", "serial": "1f", "expires": "2027-01-15T08:00:00Z", "soon": true},
			map[string]any{"kind": "root", "serial": "2e", "expires": "2030-03-17T17:46:40Z", "soon": false},
		},
		"peers": []any{
			map[string]any{"name": "n2", "kind": "voter", "connected": true, "match": 13.0},
			map[string]any{"name": "n3", "kind": "voter", "connected": false, "problem": "never met"},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the object is\n%v, want\n%v", got, want)
	}

	out.Reset()
	a.json = false
	s.Process, s.PID = "running", 4711
	_ = a.printStatus("example.org/ledger", []nodeStatus{s, {Node: "n4", Address: "127.0.0.1:4", Error: "refused", Process: "stopped"}})
	lines := strings.Split(out.String(), "\n")
	columns := func(line string) []string { return strings.FieldsFunc(line, func(r rune) bool { return r == '\x00' }) }
	split := func(line string) []string { // columns are two spaces apart or more
		for strings.Contains(line, "   ") {
			line = strings.ReplaceAll(line, "   ", "  ")
		}
		return columns(strings.ReplaceAll(strings.TrimSpace(line), "  ", "\x00"))
	}
	for i, want := range [][]string{
		{"ledger", "example.org/ledger, program settlement"},
		{"node", "role", "term", "applied", "size", "sealed", "root", "up", "wal", "store", "free", "version", "address", "process"},
		{"n1", "follower", "3", "1,004", "2,006", "2,005", "-", "1h30m0s", "7.0 MiB", "8.0 MiB", "9.0 GiB", "v1.2.3", "127.0.0.1:1", "running 4711"},
		{"n4", "(no answer)", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "127.0.0.1:4", "stopped"},
	} {
		got := split(lines[i])
		if i == 2 && len(got) > 7 {
			if up, err := time.ParseDuration(got[7]); err == nil && up >= 90*time.Minute && up < 100*time.Minute {
				got[7] = "1h30m0s"
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("line %d of the table is\n%q, want\n%q", i+1, got, want)
		}
	}
	for _, want := range []string{"refused", "n1 and n3: never met", "n1: problem: a slow disk", "n1: renew: the identity certificate, serial number 1f, expires 2027-01-15T08:00:00Z"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, out.String())
		}
	}
}
