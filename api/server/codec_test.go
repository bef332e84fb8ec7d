package server

import (
	"bytes"
	"fmt"
	"testing"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/cairnledger/cairn/api/cairnv1"
)

func decode(t *testing.T, c codec, raw []byte, into proto.Message) error {
	t.Helper()
	return c.Unmarshal(mem.BufferSlice{mem.SliceBuffer(raw)}, into)
}

func encode(t testing.TB, m proto.Message) []byte {
	t.Helper()
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func request(entries int) *cairnv1.AppendRequest {
	size := uint64(77)
	r := &cairnv1.AppendRequest{Wait: cairnv1.Wait_WAIT_SEALED, ExpectedSize: &size, KnownSize: 5}
	for i := range entries {
		r.Entries = append(r.Entries, &cairnv1.NewEntry{Payload: fmt.Append(nil, i)})
	}
	return r
}

func TestCodecKeepsWhatIsAllowed(t *testing.T) {
	c := newCodec(10)
	for _, n := range []int{0, 1, 9, 10, 11} {
		var got cairnv1.AppendRequest
		if err := decode(t, c, encode(t, request(n)), &got); err != nil || !proto.Equal(&got, request(n)) {
			t.Errorf("%d entries: got %v (error %v)", n, &got, err)
		}
	}
}

func TestCodecDropsEntriesBeyondTheLimit(t *testing.T) {
	c := newCodec(10)
	want := request(11) // one more than allowed, so that the handler sees it
	var got cairnv1.AppendRequest
	if err := decode(t, c, encode(t, request(100_000)), &got); err != nil || !proto.Equal(&got, want) {
		t.Errorf("100,000 entries: got %d (error %v), want 11 and the other fields", len(got.Entries), err)
	}
	inner := encode(t, request(7))
	pieces := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 9)
	for range 1000 { // protobuf merges repeated pieces of one message
		pieces = protowire.AppendBytes(protowire.AppendTag(pieces, appendField, protowire.BytesType), inner)
	}
	var stream cairnv1.AppendStreamRequest
	if err := decode(t, c, pieces, &stream); err != nil || len(stream.GetAppend().GetEntries()) != 11 || stream.RequestId != 9 || stream.Append.KnownSize != 5 {
		t.Errorf("1000 pieces of 7 entries: got %d entries of request %d (error %v), want 11 of 9", len(stream.GetAppend().GetEntries()), stream.RequestId, err)
	}
}

// TestCodecDropsParametersBeyondTheLimit: the same holds for the parameters of a new ledger.
func TestCodecDropsParametersBeyondTheLimit(t *testing.T) {
	bomb := &cairnv1.CreateLedgerRequest{Origin: "o", Program: "p", Parameters: make([]*cairnv1.Parameter, 100_000)}
	for i := range bomb.Parameters {
		bomb.Parameters[i] = &cairnv1.Parameter{}
	}
	var got cairnv1.CreateLedgerRequest
	if err := decode(t, newCodec(10), encode(t, bomb), &got); err != nil || len(got.Parameters) != maxParameters+1 || got.Origin != "o" || got.Program != "p" {
		t.Errorf("got %d parameters (error %v), want %d and the other fields", len(got.Parameters), err, maxParameters+1)
	}
}

// commands is a request with a command for each of the given numbers of transfers.
func commands(transfers ...int) *cairnv1.ExecuteRequest {
	r := &cairnv1.ExecuteRequest{Wait: cairnv1.Wait_WAIT_SEALED, KnownSize: 5}
	for _, n := range transfers {
		s := &cairnv1.SubmitTransfers{}
		for range n {
			s.Transfers = append(s.Transfers, &cairnv1.Transfer{})
		}
		r.Commands = append(r.Commands, &cairnv1.SettlementCommand{Action: &cairnv1.SettlementCommand_Submit{Submit: s}})
	}
	return r
}

// TestCodecBoundsCommands: a request of commands is decoded as it is, or replaced as a whole by one
// that the handler refuses, never by one with other commands. What counts are the parts at every
// depth, repeated strings among them.
func TestCodecBoundsCommands(t *testing.T) {
	c := newCodec(10)
	owners := func(n int) *cairnv1.ExecuteRequest {
		return &cairnv1.ExecuteRequest{Commands: []*cairnv1.SettlementCommand{{Action: &cairnv1.SettlementCommand_OpenAccount{
			OpenAccount: &cairnv1.OpenAccount{Id: "a", Owners: make([]string, n)},
		}}}}
	}
	for name, x := range map[string]struct {
		r    *cairnv1.ExecuteRequest
		fits bool
	}{
		"none":                     {&cairnv1.ExecuteRequest{}, true},
		"a few":                    {commands(1, 2, 3), true},
		"as many parts as allowed": {commands(28, 28), true}, // 2 + 2 + 56
		"one part too many":        {commands(28, 29), false},
		"many commands":            {commands(make([]int, 100_000)...), false},
		"many transfers":           {commands(100_000), false},
		"as many owners":           {owners(58), true},
		"many owners":              {owners(59), false},
	} {
		var got cairnv1.ExecuteRequest
		var stream cairnv1.ExecuteStreamRequest
		if err := decode(t, c, encode(t, x.r), &got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := decode(t, c, encode(t, &cairnv1.ExecuteStreamRequest{RequestId: 9, Execute: x.r}), &stream); err != nil || stream.RequestId != 9 {
			t.Errorf("%s: request %d, %v", name, stream.RequestId, err)
		}
		for way, got := range map[string]*cairnv1.ExecuteRequest{"alone": &got, "on a stream": stream.GetExecute()} {
			if x.fits && !proto.Equal(got, x.r) || !x.fits && (len(got.GetCommands()) != 11 || proto.Size(got) != 22) {
				t.Errorf("%s, %s: %d commands in %d bytes; want the request itself: %v", name, way, len(got.GetCommands()), proto.Size(got), x.fits)
			}
		}
	}
	pieces := protowire.AppendVarint(protowire.AppendTag(nil, requestIDField, protowire.VarintType), 9)
	for range 1000 { // protobuf merges repeated pieces of one message
		pieces = protowire.AppendBytes(protowire.AppendTag(pieces, executeField, protowire.BytesType), encode(t, commands(1)))
	}
	var stream cairnv1.ExecuteStreamRequest
	if err := decode(t, c, pieces, &stream); err != nil || len(stream.GetExecute().GetCommands()) != 11 || stream.RequestId != 9 {
		t.Errorf("1000 pieces: %d commands of request %d, %v; want 11 of 9", len(stream.GetExecute().GetCommands()), stream.RequestId, err)
	}
}

func TestCodecDropsUnknownFields(t *testing.T) {
	raw := protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), make([]byte, 1000))
	var got cairnv1.GetRequest
	if err := decode(t, newCodec(1), raw, &got); err != nil || len(got.ProtoReflect().GetUnknown()) != 0 {
		t.Errorf("kept %d bytes of an unknown field (error %v)", len(got.ProtoReflect().GetUnknown()), err)
	}
}

// TestNoCompressor: a registered compressor would let a client send a bomb.
func TestNoCompressor(t *testing.T) {
	if encoding.GetCompressor("gzip") != nil {
		t.Error("some package registers gzip for gRPC")
	}
}

// FuzzCodec: for any bytes, what the codec decodes has at most one entry too many, and if it
// dropped nothing it decodes as protobuf does.
func FuzzCodec(f *testing.F) {
	f.Add(encode(f, request(3)))
	f.Add(encode(f, request(5)))
	f.Add(encode(f, &cairnv1.AppendStreamRequest{RequestId: 1, Append: request(12)}))
	f.Add(encode(f, commands(1, 2)))
	f.Add(encode(f, commands(30)))
	f.Add(encode(f, &cairnv1.ExecuteStreamRequest{RequestId: 1, Execute: commands(1, 30)}))
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := newCodec(4)
		for _, m := range []proto.Message{&cairnv1.AppendRequest{}, &cairnv1.AppendStreamRequest{}, &cairnv1.ExecuteRequest{}, &cairnv1.ExecuteStreamRequest{}} {
			before := bytes.Clone(raw)
			err := c.Unmarshal(mem.BufferSlice{mem.SliceBuffer(raw)}, m)
			if !bytes.Equal(raw, before) {
				t.Fatal("the codec changed its input")
			}
			reference := m.ProtoReflect().New().Interface()
			referenceErr := proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(raw, reference)
			if referenceErr == nil && err != nil {
				t.Fatalf("protobuf accepts what the codec refuses: %v", err)
			}
			if err != nil {
				continue
			}
			if e := executeOf(m); e != nil || executeOf(reference) != nil {
				if len(e.GetCommands()) > partsPerEntry*4 {
					t.Fatalf("%d commands passed", len(e.GetCommands()))
				}
				if excess := len(e.GetCommands()) == 5 && proto.Size(e) == 10; referenceErr == nil && !excess && !proto.Equal(m, reference) {
					t.Fatalf("decoded %v, protobuf %v", m, reference)
				}
				continue
			}
			entries := entriesOf(m)
			if len(entries) > 5 {
				t.Fatalf("%d entries passed", len(entries))
			}
			if referenceErr == nil && len(entriesOf(reference)) <= 5 && !proto.Equal(m, reference) {
				t.Fatalf("decoded %v, protobuf %v", m, reference)
			}
		}
	})
}

func entriesOf(m proto.Message) []*cairnv1.NewEntry {
	switch m := m.(type) {
	case *cairnv1.AppendRequest:
		return m.Entries
	case *cairnv1.AppendStreamRequest:
		return m.GetAppend().GetEntries()
	}
	return nil
}

func executeOf(m proto.Message) *cairnv1.ExecuteRequest {
	switch m := m.(type) {
	case *cairnv1.ExecuteRequest:
		return m
	case *cairnv1.ExecuteStreamRequest:
		return m.GetExecute()
	}
	return nil
}
