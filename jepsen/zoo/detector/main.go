// Command detector runs seeds of the simulation on the program that it is built
// into: package zoo builds it once for every bug. Its standard input is an order,
// its standard output the catch, both JSON.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/cairnledger/cairn/jepsen/zoo/hunt"
)

func main() {
	debug.SetGCPercent(400) // runs make much garbage and hold little
	var order hunt.Order
	if err := json.NewDecoder(os.Stdin).Decode(&order); err != nil {
		fmt.Fprintln(os.Stderr, "read order:", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(hunt.Run(order)); err != nil {
		fmt.Fprintln(os.Stderr, "write catch:", err)
		os.Exit(1)
	}
}
