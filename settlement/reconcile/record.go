package reconcile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

// JSON returns the report as indented JSON with a line feed at its end. It is stable: the same
// report gives the same bytes, and its SHA-256 is what a Record names.
func (r *Report) JSON() ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(r); err != nil {
		return nil, errors.Wrap(err, "encode the report")
	}
	return b.Bytes(), nil
}

// WriteJSON writes what JSON returns.
func (r *Report) WriteJSON(w io.Writer) error {
	b, err := r.JSON()
	if err == nil {
		_, err = w.Write(b)
	}
	return err
}

// ParseReport reads what JSON returns. It refuses another format.
func ParseReport(raw []byte) (*Report, error) {
	var r Report
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return nil, errors.Wrap(err, "read the report")
	}
	if r.Format != Format {
		return nil, errors.Newf("the report has the format %q: this version reads %q", r.Format, Format)
	}
	return &r, nil
}

// MaxRecord is the largest Record in bytes. An entry of a ledger has at most 65,535 bytes with
// everything around the payload.
const MaxRecord = 60_000

// RecordFormat names the layout of a Record.
const RecordFormat = "cairn-reconciliation-record/1"

// Record is what is put into a ledger about a report: the report itself where it is small enough,
// and always what it comes to, with the SHA-256 of the report's JSON. Whoever has the report can
// prove with the entry when it was made, and that it is the one that was made.
type Record struct {
	Format     string           `json:"format"`
	Report     string           `json:"report_sha256"` // of Report.JSON, 64 hexadecimal digits
	Bytes      int              `json:"report_bytes"`
	Ledger     string           `json:"ledger,omitempty"`
	Account    string           `json:"account"`
	There      string           `json:"statement_account,omitempty"`
	Size       uint64           `json:"size,omitempty"`
	From       Day              `json:"from,omitempty"`
	To         Day              `json:"to,omitempty"`
	Summary    Summary          `json:"summary"`
	Statements int              `json:"statements"` // how many
	Files      []statement.File `json:"files,omitempty"`
	Balances   []RecordBalance  `json:"balances,omitempty"`
	// Full is Report.JSON, compacted; absent when it would make the record too large.
	Full json.RawMessage `json:"full,omitempty"`
}

// RecordBalance are the closing balances in one currency, nil where they are not known.
type RecordBalance struct {
	Currency string  `json:"currency"`
	Here     *Amount `json:"here"`
	There    *Amount `json:"there"`
}

// Record returns the record of a report as JSON of at most MaxRecord bytes. The full report is left
// out when it is too large; so are files and balances when even they are too many.
func (r *Report) Record() ([]byte, error) {
	full, err := r.JSON()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(full)
	record := Record{
		Format: RecordFormat, Report: hex.EncodeToString(sum[:]), Bytes: len(full),
		Ledger: bounded(r.Ledger), Account: bounded(r.Account), There: bounded(r.There), Size: r.Size, From: r.From, To: r.To,
		Summary: r.Summary, Statements: len(r.Statements),
	}
	for _, s := range r.Statements {
		record.Files = append(record.Files, s.File)
	}
	for i := range r.Sections {
		s := &r.Sections[i]
		record.Balances = append(record.Balances, RecordBalance{Currency: s.Currency, Here: s.Here.closing(), There: s.There.closing()})
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, full); err != nil {
		return nil, errors.Wrap(err, "compact the report")
	}
	record.Full = compact.Bytes()
	for _, shorten := range []func(){
		func() {}, func() { record.Full = nil }, func() { record.Files = nil }, func() { record.Balances = nil },
	} {
		shorten()
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(&record); err != nil {
			return nil, errors.Wrap(err, "encode the record")
		}
		if encoded := bytes.TrimSuffix(b.Bytes(), []byte("\n")); len(encoded) <= MaxRecord {
			return encoded, nil
		}
	}
	return nil, errors.AssertionFailedf("a record without files and balances has more than %d bytes", MaxRecord)
}

// maxName bounds a name in a record, in bytes.
const maxName = 300

func bounded(s string) string {
	if len(s) <= maxName {
		return s
	}
	return strings.ToValidUTF8(s[:maxName], "") + "…"
}

// ParseRecord reads a record. It refuses another format.
func ParseRecord(raw []byte) (*Record, error) {
	var record Record
	if err := json.Unmarshal(raw, &record); err != nil {
		return nil, errors.Wrap(err, "read the record")
	}
	if record.Format != RecordFormat {
		return nil, errors.Newf("the record has the format %q: this version reads %q", record.Format, RecordFormat)
	}
	return &record, nil
}

// Check says whether report is the JSON of the report that the record is about.
func (r *Record) Check(report []byte) error {
	sum := sha256.Sum256(report)
	if got := hex.EncodeToString(sum[:]); got != r.Report || len(report) != r.Bytes {
		return errors.Newf("the report has the SHA-256 %s, and the record is about the report with %s: it is another report, or it was changed", got, r.Report)
	}
	return nil
}
