package local

import "testing"

func TestParseStat(t *testing.T) {
	t.Parallel()
	tail := " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21"
	for name, c := range map[string]struct {
		raw   string
		start string
		state procState
		bad   bool
	}{
		"running":              {raw: "17 (cairn) S" + tail, start: "4242", state: procRunning},
		"zombie":               {raw: "17 (cairn) Z" + tail, start: "4242", state: procGone},
		"stopped":              {raw: "17 (cairn) T" + tail, start: "4242", state: procPaused},
		"name with all of it":  {raw: "17 (a) Z (b) R) R" + tail, start: "4242", state: procRunning},
		"no parenthesis":       {raw: "17 cairn S" + tail, bad: true},
		"too short":            {raw: "17 (cairn) S 1 2", bad: true},
		"empty":                {raw: "", bad: true},
		"nothing behind names": {raw: "17 (cairn)", bad: true},
	} {
		start, state, err := parseStat([]byte(c.raw))
		if (err != nil) != c.bad || start != c.start || !c.bad && state != c.state {
			t.Errorf("%s: got %q, %d, %v; want %q, %d, error %t", name, start, state, err, c.start, c.state, c.bad)
		}
	}
}
