package iso20022

import (
	"strings"
	"testing"
	"time"
)

// rulesOf returns the rules of the findings, in order.
func rulesOf(findings []Finding) string {
	var all []string
	for _, f := range findings {
		all = append(all, f.Rule)
	}
	return strings.Join(all, " ")
}

// TestDateRules: pacs008-single was created at 08:15 UTC and settles on the same day, 30 November.
func TestDateRules(t *testing.T) {
	raw := read(t, "valid/pacs008-single")
	at := func(hour, minute int) time.Time { return time.Date(2026, 11, 30, hour, minute, 0, 0, time.UTC) }
	for _, c := range []struct {
		name  string
		rules Rules
		want  string
	}{
		{"no rules", Rules{}, ""},
		{"today", Rules{Today: "2026-11-30"}, ""},
		{"yesterday", Rules{Today: "2026-12-01"}, "settlement_date_past"},
		{"ten days ahead", Rules{Today: "2026-11-20", MaxDaysAhead: 10}, ""},
		{"eleven days ahead", Rules{Today: "2026-11-19", MaxDaysAhead: 10}, "settlement_date_future"},
		{"any number of days ahead", Rules{Today: "2020-01-01"}, ""},
		{"before the cut-off", Rules{Today: "2026-11-30", Now: at(16, 59), CutOff: at(17, 0)}, ""},
		{"at the cut-off", Rules{Today: "2026-11-30", Now: at(17, 0), CutOff: at(17, 0)}, "cut_off"},
		{"after the cut-off for another day", Rules{Today: "2026-11-29", Now: at(17, 0), CutOff: at(17, 0)}, ""},
		{"no clock", Rules{Today: "2026-11-30", CutOff: at(17, 0)}, ""},
		{"an hour early", Rules{Now: at(7, 15)}, ""},
		{"more than an hour early", Rules{Now: at(7, 14)}, "created_later"},
		{"as old as allowed", Rules{Now: at(9, 15), MaxAge: time.Hour}, ""},
		{"older", Rules{Now: at(9, 16), MaxAge: time.Hour}, "created_earlier"},
		{"of any age", Rules{Now: at(9, 16).AddDate(10, 0, 0)}, ""},
		{"a date that is none", Rules{Today: "tomorrow"}, ""},
	} {
		if _, findings := Check(raw, c.rules); rulesOf(findings) != c.want {
			t.Errorf("%s: got %v, want %q", c.name, findings, c.want)
		}
	}
	// Without a zone the time may be that of any zone.
	local := strings.Replace(string(raw), "09:15:00+01:00", "09:15:00", 1)
	if _, findings := Check([]byte(local), Rules{Now: at(0, 0)}); len(findings) != 0 {
		t.Errorf("a local time of another zone: %v", findings)
	}
}

func TestFindingsAreLimited(t *testing.T) {
	raw := []byte(`<Document xmlns="` + namespace + `pacs.008.001.08"><FIToFICstmrCdtTrf>` + strings.Repeat("<X/>\n", 2000) + `</FIToFICstmrCdtTrf></Document>`)
	findings := Lint(raw)
	if len(findings) != maxFindings+1 || findings[maxFindings].Rule != "too_many_findings" {
		t.Fatalf("%d findings, the last is %v", len(findings), findings[len(findings)-1])
	}
	for i, f := range findings[:maxFindings-1] {
		if next := findings[i+1]; i+1 < maxFindings && (next.Line < f.Line || next.Line == f.Line && next.Column < f.Column) {
			t.Fatalf("%v stands before %v", f, next)
		}
	}
}

func TestRejected(t *testing.T) {
	findings := Lint(read(t, "invalid/mixed-currencies-with-total"))
	if !Rejected(findings) {
		t.Errorf("the message is not rejected: %v", findings)
	}
	findings = Lint(read(t, "invalid/ids-twice"))
	if Rejected(findings) {
		t.Errorf("the whole message is rejected: %v", findings)
	}
	for i, want := range []bool{false, true, false} {
		if f, got := RejectedTransaction(findings, i); got != want {
			t.Errorf("transaction %d: rejected is %v, want %v (%v)", i, got, want, f)
		}
	}
}

// TestSupportedMessages: every version between the first and the last is read, and none beside
// them.
func TestSupportedMessages(t *testing.T) {
	for _, s := range SupportedMessages() {
		body := map[string]string{"pacs.008": "FIToFICstmrCdtTrf", "pacs.009": "FICdtTrf", "pacs.004": "PmtRtr", "pacs.002": "FIToFIPmtStsRpt",
			"pacs.028": "FIToFIPmtStsReq", "camt.056": "FIToFIPmtCxlReq", "sese.023": "SctiesSttlmTxInstr"}[s.Type]
		for v := range 100 {
			version := string([]byte{'0' + byte(v/10), '0' + byte(v%10)})
			m, err := Decode([]byte(`<Document xmlns="` + namespace + s.Type + ".001." + version + `"><` + body + `/></Document>`))
			want := version >= s.First && version <= s.Last
			if (err == nil) != want {
				t.Errorf("%s.001.%s: %v", s.Type, version, err)
			}
			if want && (m.Type() != s.Type || m.Definition != s.Type+".001."+version) {
				t.Errorf("%s.001.%s is read as %s", s.Type, version, m.Definition)
			}
		}
		if s.Exact != "" && (s.Exact < s.First || s.Exact > s.Last) {
			t.Errorf("%s: the exact version %s is not read", s.Type, s.Exact)
		}
	}
}
