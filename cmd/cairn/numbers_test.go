package main

import (
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestEveryNumberHasARange: a flag that holds a number is defined with numberFlag, in every
// command.
func TestEveryNumberHasARange(t *testing.T) {
	t.Parallel()
	a := &app{streams: streams{in: strings.NewReader(""), out: io.Discard, err: io.Discard}}
	numbers := 0
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		check := func(f *pflag.Flag) {
			switch f.Value.(type) {
			case *ranged[int], *ranged[int64], *ranged[uint64], *ranged[time.Duration], *decimalFlag, dateFlag, dayFlag, timeFlag: // the others have the range of their type
				numbers++
				return
			}
			if kind := f.Value.Type(); kind != "string" && kind != "bool" && !strings.HasPrefix(kind, "string") {
				t.Errorf("%s --%s is a %s without a range: define it with numberFlag", c.CommandPath(), f.Name, kind)
			}
		}
		c.Flags().VisitAll(check)
		c.PersistentFlags().VisitAll(check)
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(a.rootCommand())
	if numbers < 15 {
		t.Errorf("only %d numbers were looked at", numbers)
	}
}

func TestParseNumber(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text        string
		least, most int
		want        int
		ok          bool
	}{
		{"-1", -1, 10, -1, true}, {"10", -1, 10, 10, true}, {"11", -1, 10, 0, false}, {"-2", -1, 10, 0, false},
		{"", 0, 10, 0, false}, {"x", 0, 10, 0, false}, {"1.5", 0, 10, 0, false}, {"99999999999999999999", 0, 10, 0, false}, {"0x5", 0, 10, 0, false},
	} {
		got, err := parseNumber(c.text, c.least, c.most)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("%q from %d to %d: %d, %v", c.text, c.least, c.most, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), "10") {
			t.Errorf("%q: %v, want the range", c.text, err)
		}
	}
	if _, err := parseNumber[uint64]("9223372036854775808", 0, maxIndex); err == nil {
		t.Errorf("an index above %d was taken", maxIndex)
	}
	if v, err := parseNumber[uint64]("9223372036854775807", 0, maxIndex); err != nil || v != math.MaxInt64 {
		t.Errorf("the largest index: %d, %v", v, err)
	}
	for text, ok := range map[string]bool{"1s": true, "-1s": false, "0s": false, "10000h": false, "5": false, "1d": false} {
		if _, err := parseNumber(text, time.Second, time.Hour); (err == nil) != ok {
			t.Errorf("duration %q: %v", text, err)
		}
	}
}
