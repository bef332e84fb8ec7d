package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// takesColours says whether the console interprets escape sequences; an old one prints them.
func takesColours(f *os.File) bool {
	var mode uint32
	err := windows.GetConsoleMode(windows.Handle(f.Fd()), &mode)
	return err == nil && mode&windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING != 0
}
