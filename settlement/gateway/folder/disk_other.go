//go:build !unix

package folder

import "os"

const openFlags = 0

// syncDir does nothing: this system syncs no folders.
func syncDir(string) error { return nil }

// lock does nothing: on this system nothing keeps two processes from one folder.
func lock(*os.File) error { return nil }
