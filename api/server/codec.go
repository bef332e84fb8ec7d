package server

import (
	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/cairnledger/cairn/api/cairnv1"
)

// codec is gRPC's protobuf codec, except that a small message cannot become a large one in memory:
// an empty entry takes two bytes on the wire and fifty times as many when decoded. Entries beyond
// the limit are dropped, but for one, so that the handler sees that there are too many; so are
// parameters of a new ledger. A request of commands with too many parts is refused as a whole: no
// part of a command is ever dropped. Unknown fields are dropped.
type codec struct {
	encoding.CodecV2
	maxEntries int
}

func newCodec(maxEntries int) codec {
	return codec{encoding.GetCodecV2(proto.Name), maxEntries}
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	message, ok := v.(protobuf.Message)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	raw := buf.ReadOnlyData()
	var err error
	switch message.(type) {
	case *cairnv1.AppendRequest:
		left := c.maxEntries + 1
		raw, err = trim(raw, entriesField, &left)
	case *cairnv1.AppendStreamRequest:
		left := c.maxEntries + 1
		raw, err = trimNested(raw, &left)
	case *cairnv1.CreateLedgerRequest:
		left := maxParameters + 1
		raw, err = trim(raw, parametersField, &left)
	case *cairnv1.ExecuteRequest:
		raw, err = c.bounded(raw, message.ProtoReflect().Descriptor())
	case *cairnv1.ExecuteStreamRequest:
		raw, err = c.boundedNested(raw, message.ProtoReflect().Descriptor())
	}
	if err != nil {
		return err
	}
	return protobuf.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(raw, message)
}

const (
	entriesField    = 1 // AppendRequest.entries
	appendField     = 2 // AppendStreamRequest.append
	parametersField = 3 // CreateLedgerRequest.parameters
)

// trim returns an encoded message with at most *left messages in a repeated field; raw itself if it
// has no more.
func trim(raw []byte, repeated protowire.Number, left *int) ([]byte, error) {
	var out []byte
	trimmed := false
	err := fields(raw, func(number protowire.Number, typ protowire.Type, start, end int, _ []byte) error {
		if number == repeated && typ == protowire.BytesType {
			if *left == 0 {
				if !trimmed {
					trimmed, out = true, append(out, raw[:start]...)
				}
				return nil
			}
			*left--
		}
		if trimmed {
			out = append(out, raw[start:end]...)
		}
		return nil
	})
	if err != nil || !trimmed {
		return raw, err
	}
	return out, nil
}

// trimNested does the same for the entries of an AppendStreamRequest, where the request may even
// stand in several pieces.
func trimNested(raw []byte, left *int) ([]byte, error) {
	var out []byte
	changed := false
	err := fields(raw, func(number protowire.Number, typ protowire.Type, start, end int, value []byte) error {
		if number == appendField && typ == protowire.BytesType {
			inner, err := trim(value, entriesField, left)
			if err != nil {
				return err
			}
			if len(inner) != len(value) && !changed {
				changed, out = true, append(out, raw[:start]...)
			}
			if changed {
				out = protowire.AppendTag(out, appendField, protowire.BytesType)
				out = protowire.AppendBytes(out, inner)
			}
			return nil
		}
		if changed {
			out = append(out, raw[start:end]...)
		}
		return nil
	})
	if err != nil || !changed {
		return raw, err
	}
	return out, nil
}

// fields calls f for each top-level field: its place in raw, and its content if it is
// length-delimited.
func fields(raw []byte, f func(number protowire.Number, typ protowire.Type, start, end int, value []byte) error) error {
	for at := 0; at < len(raw); {
		number, typ, tagLen := protowire.ConsumeTag(raw[at:])
		if tagLen < 0 {
			return errors.New("malformed field tag")
		}
		var value []byte
		valueLen := 0
		if typ == protowire.BytesType {
			value, valueLen = protowire.ConsumeBytes(raw[at+tagLen:])
		} else {
			valueLen = protowire.ConsumeFieldValue(number, typ, raw[at+tagLen:])
		}
		if valueLen < 0 {
			return errors.New("malformed field")
		}
		end := at + tagLen + valueLen
		if err := f(number, typ, at, end, value); err != nil {
			return err
		}
		at = end
	}
	return nil
}
