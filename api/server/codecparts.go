package server

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/cockroachdb/errors"
)

// partsPerEntry is how many parts a request of commands may have on average: a command, a list of
// transfers, a transfer, its references and conditions.
const partsPerEntry = 6

const (
	commandsField  = 1 // ExecuteRequest.commands
	requestIDField = 1 // ExecuteStreamRequest.request_id
	executeField   = 2 // ExecuteStreamRequest.execute
)

// errManyParts says that a message has more parts than it may have.
var errManyParts = errors.New("the message has too many parts")

// countParts takes the parts of an encoded message off *left: the messages in it at any depth, and
// the elements of repeated strings and bytes. An empty one takes two bytes on the wire, and many
// times as many when it is decoded.
func countParts(raw []byte, d protoreflect.MessageDescriptor, left *int) error {
	return fields(raw, func(number protowire.Number, typ protowire.Type, _, _ int, value []byte) error {
		field := d.Fields().ByNumber(number)
		if field == nil || typ != protowire.BytesType || field.Message() == nil && !field.IsList() {
			return nil
		}
		if *left--; *left < 0 {
			return errManyParts
		}
		if field.Message() == nil {
			return nil
		}
		return countParts(value, field.Message(), left)
	})
}

// bounded returns an encoded ExecuteRequest; one with too many parts is replaced by one with too
// many commands, which the handler refuses.
func (c codec) bounded(raw []byte, d protoreflect.MessageDescriptor) ([]byte, error) {
	left := partsPerEntry * c.maxEntries
	err := countParts(raw, d, &left)
	if errors.Is(err, errManyParts) {
		return c.excessive(), nil
	}
	return raw, err
}

// boundedNested does the same for an ExecuteStreamRequest, and keeps the number of the request.
func (c codec) boundedNested(raw []byte, d protoreflect.MessageDescriptor) ([]byte, error) {
	left := partsPerEntry*c.maxEntries + 1 // the request itself
	err := countParts(raw, d, &left)
	if !errors.Is(err, errManyParts) {
		return raw, err
	}
	var id uint64
	err = fields(raw, func(number protowire.Number, typ protowire.Type, start, end int, _ []byte) error {
		if number == requestIDField && typ == protowire.VarintType {
			_, _, n := protowire.ConsumeTag(raw[start:end])
			id, _ = protowire.ConsumeVarint(raw[start+n : end])
		}
		return nil
	})
	out := protowire.AppendVarint(protowire.AppendTag(nil, requestIDField, protowire.VarintType), id)
	return protowire.AppendBytes(protowire.AppendTag(out, executeField, protowire.BytesType), c.excessive()), err
}

// excessive is an encoded ExecuteRequest with one command more than there may be.
func (c codec) excessive() []byte {
	var out []byte
	for range c.maxEntries + 1 {
		out = protowire.AppendBytes(protowire.AppendTag(out, commandsField, protowire.BytesType), nil)
	}
	return out
}
