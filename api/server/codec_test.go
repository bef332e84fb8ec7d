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
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := newCodec(4)
		for _, m := range []proto.Message{&cairnv1.AppendRequest{}, &cairnv1.AppendStreamRequest{}} {
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
