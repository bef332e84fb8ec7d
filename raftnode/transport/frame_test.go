package transport

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

func ptr[T any](v T) *T { return &v }

func testEntry(term, index uint64, data string) *raftpb.Entry {
	e := &raftpb.Entry{Term: &term, Index: &index}
	if data != "" {
		e.Data = []byte(data)
	}
	return e
}

// testMessages has one message of every type that is sent.
func testMessages() []*raftpb.Message {
	m := func(t raftpb.MessageType, f func(*raftpb.Message)) *raftpb.Message {
		out := &raftpb.Message{
			Type: &t, From: ptr(uint64(1)), To: ptr(uint64(2)), Term: ptr(uint64(7)), LogTerm: ptr(uint64(0)),
			Index: ptr(uint64(0)), Commit: ptr(uint64(0)), RejectHint: ptr(uint64(0)), Reject: ptr(false),
		}
		f(out)
		return out
	}
	none := func(*raftpb.Message) {}
	return []*raftpb.Message{
		m(raftpb.MsgApp, func(m *raftpb.Message) {
			m.Index, m.LogTerm, m.Commit = ptr(uint64(10)), ptr(uint64(5)), ptr(uint64(9))
			m.Entries = []*raftpb.Entry{testEntry(5, 11, "a"), testEntry(7, 12, ""), testEntry(7, 13, strings.Repeat("x", 300))}
			m.Entries[2].Type = raftpb.EntryConfChangeV2.Enum()
		}),
		m(raftpb.MsgApp, func(m *raftpb.Message) { m.Commit = ptr(uint64(1 << 40)) }),
		m(raftpb.MsgAppResp, func(m *raftpb.Message) {
			m.Index, m.LogTerm, m.Reject, m.RejectHint = ptr(uint64(10)), ptr(uint64(4)), ptr(true), ptr(uint64(8))
		}),
		m(raftpb.MsgVote, func(m *raftpb.Message) { m.Context = []byte("CampaignTransfer") }),
		m(raftpb.MsgVoteResp, none),
		m(raftpb.MsgPreVote, none),
		m(raftpb.MsgPreVoteResp, func(m *raftpb.Message) { m.Reject = ptr(true) }),
		m(raftpb.MsgHeartbeat, func(m *raftpb.Message) { m.Context = make([]byte, 8) }),
		m(raftpb.MsgHeartbeatResp, none),
		m(raftpb.MsgTimeoutNow, none),
		m(raftpb.MsgReadIndex, func(m *raftpb.Message) {
			m.Term = ptr(uint64(0))
			m.Entries = []*raftpb.Entry{testEntry(0, 0, "0123456789abcdef")}
		}),
		m(raftpb.MsgReadIndexResp, func(m *raftpb.Message) {
			m.Index = ptr(uint64(9))
			m.Entries = []*raftpb.Entry{testEntry(0, 0, "0123456789abcdef")}
		}),
	}
}

func TestMessageRoundTrip(t *testing.T) {
	t.Parallel()
	for _, want := range testMessages() {
		frame := appendRaftFrame(nil, 9, want)
		h, payload, err := readFrame(bytes.NewReader(frame), MaxPayload)
		if err != nil {
			t.Fatalf("%s: %v", want.GetType(), err)
		}
		if h.kind != kindRaft || h.group != 9 {
			t.Errorf("%s: header %+v", want.GetType(), h)
		}
		got, err := parseMessage(payload)
		if err != nil {
			t.Fatalf("%s: %v", want.GetType(), err)
		}
		if !proto.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	}
}

// TestGoldenFrames pins the bytes on the wire. A change here breaks the
// connection between nodes of different versions.
func TestGoldenFrames(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	dump := func(name string, frame []byte) { b.WriteString("# " + name + "\n" + hex.Dump(frame) + "\n") }
	dump("hello, control, from 1 to 2", hello{classControl, 1, 2, Introduction{Cluster: testCluster, Incarnation: Incarnation{1, 2, 3}, FeatureLevel: 0x01020304, Members: []Acquaintance{
		{ID: 1, Incarnation: Incarnation{1, 2, 3}, Complete: true}, {ID: 2}, {ID: 3, Incarnation: Incarnation{15: 9}},
	}}}.appendFrame(nil))
	for _, m := range testMessages()[:3] {
		dump(m.GetType().String(), appendRaftFrame(nil, 1, m))
	}
	beats := round{{1, Beat{Term: 7, Commit: 9}}, {2, Beat{Term: 300, Commit: 1 << 40}}, {1000, Beat{Term: 1}}}
	dump("beats", appendBeatsFrame(nil, kindBeats, beats))
	beats[0].Commit, beats[1].Commit = 0, 0
	dump("answers to beats", appendBeatsFrame(nil, kindBeatAnswers, beats))
	path := filepath.Join("testdata", "frames.golden")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("frames differ from %s (UPDATE_GOLDEN=1 rewrites it):\n%s", path, b.String())
	}
}

// TestEveryBitMatters: no single flipped bit of a frame goes unnoticed.
func TestEveryBitMatters(t *testing.T) {
	t.Parallel()
	frame := appendRaftFrame(nil, 9, testMessages()[0])
	for i := range len(frame) * 8 {
		bad := bytes.Clone(frame)
		bad[i/8] ^= 1 << (i % 8)
		if _, _, err := readFrame(bytes.NewReader(bad), MaxPayload); err == nil {
			t.Errorf("flipped bit %d of byte %d: accepted", i%8, i/8)
		}
	}
	for n := range frame {
		if _, _, err := readFrame(bytes.NewReader(frame[:n]), MaxPayload); err == nil {
			t.Errorf("frame cut to %d bytes: accepted", n)
		}
	}
}

// TestMalformedMessages: what would make Raft panic, or must not come from
// another node, is refused although its checksum is right.
func TestMalformedMessages(t *testing.T) {
	t.Parallel()
	first := func(typ raftpb.MessageType) *raftpb.Message {
		for _, m := range testMessages() {
			if m.GetType() == typ {
				return m
			}
		}
		panic(typ)
	}
	for name, m := range map[string]*raftpb.Message{
		"a proposal":                edit(first(raftpb.MsgVote), func(m *raftpb.Message) { m.Type = raftpb.MsgProp.Enum() }),
		"a local message":           edit(first(raftpb.MsgVote), func(m *raftpb.Message) { m.Type = raftpb.MsgHup.Enum() }),
		"a storage response":        edit(first(raftpb.MsgVote), func(m *raftpb.Message) { m.Type = raftpb.MsgStorageAppendResp.Enum() }),
		"a snapshot":                edit(first(raftpb.MsgVote), func(m *raftpb.Message) { m.Type = raftpb.MsgSnap.Enum() }),
		"an unknown type":           edit(first(raftpb.MsgVote), func(m *raftpb.Message) { m.Type = raftpb.MessageType(200).Enum() }),
		"no sender":                 edit(first(raftpb.MsgVote), func(m *raftpb.Message) { m.From = nil }),
		"no receiver":               edit(first(raftpb.MsgVote), func(m *raftpb.Message) { m.To = nil }),
		"no term":                   edit(first(raftpb.MsgVote), func(m *raftpb.Message) { m.Term = nil }),
		"a read with a term":        edit(first(raftpb.MsgReadIndex), func(m *raftpb.Message) { m.Term = ptr(uint64(1)) }),
		"a read without id":         edit(first(raftpb.MsgReadIndex), func(m *raftpb.Message) { m.Entries = nil }),
		"a read with an empty id":   edit(first(raftpb.MsgReadIndex), func(m *raftpb.Message) { m.Entries[0].Data = nil }),
		"an answer with two ids":    edit(first(raftpb.MsgReadIndexResp), func(m *raftpb.Message) { m.Entries = append(m.Entries, m.Entries[0]) }),
		"a short heartbeat context": edit(first(raftpb.MsgHeartbeatResp), func(m *raftpb.Message) { m.Context = []byte("abc") }),
		"a vote with entries":       edit(first(raftpb.MsgVote), func(m *raftpb.Message) { m.Entries = []*raftpb.Entry{testEntry(1, 1, "x")} }),
		"a long context":            edit(first(raftpb.MsgVote), func(m *raftpb.Message) { m.Context = make([]byte, maxContext+1) }),
		"a gap between entries":     edit(first(raftpb.MsgApp), func(m *raftpb.Message) { m.Entries[2].Index = ptr(uint64(14)) }),
		"a gap before entries":      edit(first(raftpb.MsgApp), func(m *raftpb.Message) { m.Index = ptr(uint64(9)) }),
		"a term that falls":         edit(first(raftpb.MsgApp), func(m *raftpb.Message) { m.Entries[2].Term = ptr(uint64(6)) }),
		"a term of the future":      edit(first(raftpb.MsgApp), func(m *raftpb.Message) { m.Entries[2].Term = ptr(uint64(8)) }),
		"a term before the log's":   edit(first(raftpb.MsgApp), func(m *raftpb.Message) { m.LogTerm = ptr(uint64(6)) }),
		"an index at the end":       edit(first(raftpb.MsgApp), func(m *raftpb.Message) { m.Index = ptr(^uint64(0)); m.Entries = nil }),
	} {
		if _, err := parseMessage(appendRaftFrame(nil, 1, m)[headerSize:]); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: error %v, want ErrMalformed", name, err)
		}
	}
	good := appendRaftFrame(nil, 1, testMessages()[0])[headerSize:]
	for name, b := range map[string][]byte{
		"nothing":            {},
		"half a message":     good[:messageSize-1],
		"a cut entry":        good[:len(good)-1],
		"bytes at the end":   append(bytes.Clone(good), 0),
		"too many entries":   set(good, 4, 4),
		"2^32-1 entries":     set(set(set(set(good, 4, 255), 5, 255), 6, 255), 7, 255),
		"a context too long": set(good, 3, 255),
		"an unknown flag":    set(good, 1, 2),
		"an entry too long":  set(good, messageSize+17, 255),
		"fewer entries":      set(good, 4, 2),
	} {
		if _, err := parseMessage(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: error %v, want ErrMalformed", name, err)
		}
	}
}

func edit(m *raftpb.Message, f func(*raftpb.Message)) *raftpb.Message {
	f(m)
	return m
}

func set(b []byte, i int, v byte) []byte {
	b = bytes.Clone(b)
	b[i] = v
	return b
}

func TestMalformedHello(t *testing.T) {
	t.Parallel()
	frame := hello{class: classBulk, from: 1, to: 2}.appendFrame(nil)
	check := func(name string, frame []byte) {
		t.Helper()
		h, payload, err := readFrame(bytes.NewReader(frame), maxHello)
		if err == nil {
			_, err = parseHello(h, payload)
		}
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: error %v, want ErrMalformed", name, err)
		}
	}
	reseal := func(b []byte) []byte { sealFrame(b); return b }
	check("a group", reseal(set(frame, 8, 1)))
	check("another kind", reseal(set(frame, 5, byte(kindApp))))
	check("too long", appendRaftFrame(nil, 0, testMessages()[0]))
	check("another version", reseal(set(frame, 4, 2)))
	check("reserved header bytes", reseal(set(frame, 6, 2)))
	check("another protocol", []byte("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"))
}

// FuzzParseMessage: no input panics, and what is accepted is encoded again to the
// same bytes.
func FuzzParseMessage(f *testing.F) {
	for _, m := range testMessages() {
		f.Add(appendRaftFrame(nil, 1, m)[headerSize:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("error %v does not match ErrMalformed", err)
			}
			return
		}
		if again := appendRaftFrame(nil, 1, m)[headerSize:]; !bytes.Equal(again, b) {
			t.Fatalf("accepted % x\nencodes as % x", b, again)
		}
	})
}

// FuzzReadFrame: no stream panics or makes the reader allocate beyond its bound.
func FuzzReadFrame(f *testing.F) {
	f.Add(hello{class: classBulk, from: 1, to: 2}.appendFrame(nil))
	f.Add(appendRaftFrame(nil, 1, testMessages()[0]))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, payload, err := readFrame(bytes.NewReader(b), 1<<16)
		if err == nil && (len(payload) != h.length || h.length > 1<<16) {
			t.Fatalf("accepted %d bytes for a header that says %d", len(payload), h.length)
		}
	})
}
