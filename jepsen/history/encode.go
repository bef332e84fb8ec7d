package history

import (
	"encoding/hex"
	"strconv"
)

// appendLine appends one event as the JSON of type line, with a newline. A
// recorder writes two for every operation of a run, on the machine that it
// measures: reflection would cost more than the operations do.
func appendLine(b []byte, id int64, typ string, at int64, op *Op) []byte {
	b = strconv.AppendInt(append(b, `{"id":`...), id, 10)
	b = append(append(append(b, `,"type":"`...), typ...), '"')
	b = strconv.AppendInt(append(b, `,"t":`...), at, 10)
	b = strconv.AppendUint(append(b, `,"p":`...), uint64(op.Process), 10)
	b = appendNumber(b, `,"f":`, uint64(op.Kind))
	b = appendNumber(b, `,"why":`, uint64(op.Reason))
	b = appendFlag(b, `,"keyless":true`, op.Keyless)
	b = appendFlag(b, `,"retried":true`, op.Retried)
	b = appendFlag(b, `,"if":true`, op.Conditional)
	b = appendNumber(b, `,"first":`, op.First)
	b = appendNumber(b, `,"limit":`, op.Limit)
	b = appendNumber(b, `,"size":`, op.Size)
	b = appendNumber(b, `,"seen":`, op.Seen)
	if op.Root != nil {
		b = append(hex.AppendEncode(append(b, `,"root":"`...), op.Root[:]), '"')
	}
	b = appendNumber(b, `,"node":`, uint64(op.Node))
	for i := range op.Entries {
		e := &op.Entries[i]
		sep := `,{"k":"`
		if i == 0 {
			sep = `,"e":[{"k":"`
		}
		b = hex.AppendEncode(append(b, sep...), e.Key[:])
		b = append(hex.AppendEncode(append(b, `","b":"`...), e.Body[:]), '"')
		b = appendNumber(b, `,"i":`, e.Index)
		b = append(appendFlag(b, `,"d":true`, e.Duplicate), '}')
	}
	if len(op.Entries) > 0 {
		b = append(b, ']')
	}
	return append(b, '}', '\n')
}

// appendNumber leaves a zero out.
func appendNumber(b []byte, name string, v uint64) []byte {
	if v == 0 {
		return b
	}
	return strconv.AppendUint(append(b, name...), v, 10)
}

func appendFlag(b []byte, text string, set bool) []byte {
	if set {
		b = append(b, text...)
	}
	return b
}
