package proof

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/settlement"
)

// Detail is what a file shows of an account that an entry of it touched. The leaf of the entry
// shows of its accounts no more than their ids.
type Detail struct {
	Part  int    // which receipt of the file the entry is in: 0 is the first one
	Bytes []byte // as settlement.Detail encodes it
}

// Shown is what an account had after an entry.
type Shown struct {
	Index uint64 // of the entry
	Line  settlement.Line
}

// addDetails adds a line for each detail.
func (d *document) addDetails(details []Detail) {
	for i := range details {
		d.add("detail", fmt.Sprintf("%d %s", details[i].Part, encoding.EncodeToString(details[i].Bytes)))
	}
}

// details reads the lines of details, if there are any.
func (f *fields) details() (details []Detail) {
	for f.is("detail") {
		part, value, _ := strings.Cut(f.next("detail"), " ")
		n, err := strconv.Atoi(part)
		b, err2 := encoding.Strict().DecodeString(value)
		if err != nil || err2 != nil || n < 0 || len(b) == 0 {
			f.fail("a damaged line of a detail")
		}
		details = append(details, Detail{n, b})
	}
	return details
}

// shown verifies details. entries are those of the receipts of the file, in their order.
func shown(details []Detail, entries ...*settlement.Decided) (list []Shown, err error) {
	for i := range details {
		d := &details[i]
		detail, err := settlement.ParseDetail(d.Bytes)
		if err != nil {
			return nil, err
		}
		if d.Part >= len(entries) {
			return nil, errors.Newf("a detail of receipt %d of %d", d.Part, len(entries))
		}
		entry := entries[d.Part]
		if err := entry.Check(&detail); err != nil {
			return nil, err
		}
		list = append(list, Shown{entry.Index, detail.Line})
		if i > 0 && (details[i-1].Part > d.Part || details[i-1].Part == d.Part && list[i-1].Line.Account >= detail.Line.Account) {
			return nil, errors.New("the details do not ascend")
		}
	}
	return list, nil
}
