// Fsck has Tessera's fsck verify a whole ledger over HTTP or in a directory:
// every entry, every tile, the checkpoint with the log's key.
//
//	fsck -url http://127.0.0.1:8080/ -vkey log.vkey
//
// It prints the verified checkpoint's text and exits with 0 only if all of it is
// right, with 1 if anything is wrong, and with 2 if it was called wrongly.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/cairnledger/cairn/interop/tlog/logcheck"
)

func main() { os.Exit(run()) }

func run() int {
	url := flag.String("url", "", "the log's `prefix`: http, https, or file:///DIR")
	vkey := flag.String("vkey", "", "`file` with the log's verifier key")
	timeout := flag.Duration("timeout", 10*time.Minute, "give up after this long")
	stall := flag.Duration("stall", 30*time.Second, "give up when nothing happens for this long")
	flag.Parse()
	if *url == "" || *vkey == "" || flag.NArg() > 0 {
		flag.Usage()
		return 2
	}
	key, err := os.ReadFile(*vkey)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fsck: read verifier key:", err)
		return 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	r, err := logcheck.Run(ctx, logcheck.Options{URL: *url, VerifierKey: string(key), Stall: *stall})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	text, _, _ := strings.Cut(string(r.Checkpoint), "\n\n")
	fmt.Printf("%s\nSuccessfully fsck'd: %d entry bundles and tiles\n", text, r.Resources)
	return 0
}
