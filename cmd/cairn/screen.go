package main

import (
	"os"
	"strconv"

	"golang.org/x/term"
)

// screen is what shows a stream.
type screen struct {
	width   int  // columns; 0 if unknown, as behind a pipe
	colours bool // verdicts are coloured
}

// minWidth is the least width that is believed: below it nothing would stay legible.
const minWidth = 20

func isTerminal(w any) bool {
	if o, ok := w.(*output); ok {
		w = o.w
	}
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// screenOf describes the screen behind a stream. COLUMNS comes before the terminal's own width, and
// gives a pipe one. Colours are for terminals only, and NO_COLOR, CLICOLOR=0 and TERM=dumb turn
// them off.
func screenOf(w any, getenv func(string) string) screen {
	s := screen{}
	if n, err := strconv.Atoi(getenv("COLUMNS")); err == nil && n >= minWidth {
		s.width = n
	}
	if !isTerminal(w) {
		return s
	}
	f := w.(*os.File)
	if s.width == 0 {
		s.width = proseWidth
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			s.width = max(n, minWidth)
		}
	}
	s.colours = getenv("NO_COLOR") == "" && getenv("CLICOLOR") != "0" && getenv("TERM") != "dumb" && takesColours(f)
	return s
}
