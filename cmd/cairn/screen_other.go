//go:build !windows

package main

import "os"

// takesColours says whether a terminal interprets escape sequences: TERM says it, and was asked.
func takesColours(*os.File) bool { return true }
