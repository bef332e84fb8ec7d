package statements

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

// The module with the samples, and what go.sum would have for it.
const (
	module = "github.com/moov-io/iso20022@v0.2.1"
	sum    = "h1:DxghLeyQheunSWxOXrdMNJZxHMkTFEfRNqIcUBd2fvM="
)

// samples returns the directory with the sample messages.
func samples(t *testing.T) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command("go", "mod", "download", "-json", module)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var downloaded struct{ Dir, Sum, Error string }
	if jsonErr := json.Unmarshal(out, &downloaded); err != nil || jsonErr != nil || downloaded.Dir == "" {
		t.Fatalf("download %s: %v %v %s %s", module, err, jsonErr, downloaded.Error, stderr.String())
	}
	if downloaded.Sum != sum {
		t.Fatalf("%s has the sum %s, want %s", module, downloaded.Sum, sum)
	}
	return filepath.Join(downloaded.Dir, "test", "testdata")
}

// known are the samples by the end of their names: how many statements, entries and transactions
// they have, and what they contradict themselves in. In two samples of the Swiss bank the balances
// do not fit the entries.
var known = map[string]struct {
	statements, entries, transactions int
	findings                          []string
}{
	"1110092686_0_2019042416072347.xml": {1, 2, 2, []string{
		"balance!: opening balance 208509.19 CHF and booked entries of -1016.00 CHF give 207493.19 CHF, but the closing balance is 207596.19 CHF"}},
	"1110092691_0_2019042421291293.xml":                                         {1, 1, 1, nil},
	"1110092692_0_2019042401501580.xml":                                         {1, 1, 1, nil},
	"200519_camt.054_P_CH2909000000250094239_1111091335_0_2020061900081727.xml": {1, 1, 2, nil},
	"200924_camt.054_P_CH2909000000250094239_1111091335_0_2020061900081727.xml": {1, 1, 2, nil},
	"1110092704_0_2019042500372179.xml":                                         {1, 2, 6, nil},
	"1110097484_0_20190520700381159.xml":                                        {1, 1, 2, nil},
	"1110097605_0_2019052003522556.xml":                                         {1, 1, 3, nil},
	"1110097605_0_2019052103322231.xml":                                         {1, 1, 3, nil},
	"1109800798_0_2019052023472022.xml":                                         {1, 1, 1, nil},
	"1110092703_0_2019042423412214.xml":                                         {1, 1, 6, nil},
	"1110097606_0_2020112500512470.xml":                                         {1, 1, 1, nil},
	"FI_camt_052_sample.xml.xml":                                                {2, 2, 2, []string{"balance_missing: there is neither an opening nor a closing balance in EUR"}},
	"FI_camt_053_sample.xml.xml":                                                {1, 10, 12, nil},
	"FI_camt_054_sample.xml.xml": {1, 6, 13, []string{
		"summary!: the summary says 169.95 for credits less debits, and they are 369.95",
		"reversal_sign: the net total would be right if reversals had the other sign"}},
	"1110092698_0_2020112503071366.xml": {1, 5, 5, []string{
		"balance!: opening balance 211993.19 CHF and booked entries of 4656.02 CHF give 216649.21 CHF, but the closing balance is 215112.21 CHF"}},
	"statement_1.xml": {1, 4, 4, nil},
}

// Every sample is read whole, and its totals agree or the discrepancy is named.
func TestSamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(samples(t), "*.xml"))
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(raw, []byte("<BkToCstmr")) {
			continue // another message
		}
		read++
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) { check(t, name, raw) })
	}
	if read != len(known) {
		t.Errorf("%d samples are statements, want %d", read, len(known))
	}
}

func check(t *testing.T, name string, raw []byte) {
	found := false
	want := known[name]
	for suffix, k := range known {
		if strings.HasSuffix(name, suffix) {
			want, found = k, true
		}
	}
	if !found {
		t.Fatalf("the sample is not known")
	}
	statements, err := statement.ReadCAMT(raw)
	if err != nil {
		t.Fatal(err)
	}
	entries, transactions := 0, 0
	var findings []string
	for i := range statements {
		s := &statements[i]
		entries += len(s.Entries)
		for k := range s.Entries {
			transactions += len(s.Entries[k].Transactions)
		}
		for _, f := range s.Check() {
			mark := ""
			if f.Break {
				mark = "!"
			}
			findings = append(findings, fmt.Sprintf("%s%s: %s", f.Code, mark, f.Text))
		}
	}
	if len(statements) != want.statements || entries != want.entries || transactions != want.transactions {
		t.Errorf("%d statements, %d entries, %d transactions; want %+v", len(statements), entries, transactions, want)
	}
	// The counts are those of the elements in the bytes, whatever the parser does.
	if n := strings.Count(string(raw), "<Ntry>"); n != entries {
		t.Errorf("the file has %d elements Ntry, and %d entries were read", n, entries)
	}
	if n := strings.Count(string(raw), "<TxDtls>"); n != transactions {
		t.Errorf("the file has %d elements TxDtls, and %d transactions were read", n, transactions)
	}
	if len(findings) != len(want.findings) {
		t.Fatalf("findings %q, want %q", findings, want.findings)
	}
	for i := range findings {
		if !strings.HasPrefix(findings[i], want.findings[i]) {
			t.Errorf("finding %q, want %q", findings[i], want.findings[i])
		}
	}
}

// The samples of one Finnish account belong together: the notification has the transactions of the
// batches of the statement.
func TestNotificationGivesTransactions(t *testing.T) {
	dir := samples(t)
	var all []statement.Statement
	for _, name := range []string{"FI_camt_053_sample.xml.xml", "FI_camt_054_sample.xml.xml"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		statements, err := statement.ReadCAMT(raw)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, statements...)
	}
	j, err := statement.Join(all)
	if err != nil {
		t.Fatal(err)
	}
	details := 0
	for _, f := range j.Findings {
		if f.Code == statement.Details {
			details++
		} else {
			t.Errorf("finding %+v", f)
		}
	}
	if len(j.Entries) != 10 || details != 3 || len(j.Entries[3].Transactions) != 2 {
		t.Errorf("%d entries, %d with transactions of the notification", len(j.Entries), details)
	}
}
