// Package client is the Go client of a Cairn ledger, for programs that append, read and audit. A
// Client is for one ledger; Profile.ForLedger gives the profile for another ledger of the cluster.
//
// # Use
//
//	profile, err := client.LoadProfile("writer.yaml")
//	c, err := client.Dial(ctx, profile)
//	defer c.Close()
//	a, err := c.Append(ctx, client.Entry{Key: []byte("invoice-17"), Payload: body}, client.Sealed())
//	os.WriteFile("invoice-17.tlog-proof", a.Receipt.Marshal(), 0o644)
//
// A receipt is verified with the policy alone, without a Client and without a network:
//
//	policy, err := client.LoadPolicy("policy")
//	r, err := client.VerifyOffline(receipt, policy)
//	fmt.Println(r.Entry().Index, r.Entry().Time, r.Entry().Payload)
//
// # What it guarantees
//
// Ledger. Every call names the ledger of the profile. A node that does not host it refuses the
// call, definitely; the call fails once every node has said so.
//
// Appends. An entry with a key is appended exactly once, however often the call is repeated, by
// this program or another one of the same principal. The client itself retries what is safe: an
// entry with a key always, an entry without a key only after an error that says that the append had
// no effect. An error for which IsDefinite is false means that the entry may be in the ledger; an
// append one of whose attempts had an unknown outcome ends definitely only if the last answer
// excludes that the attempt had an effect. A client that a node asks to wait (RetryInfo) waits as
// long as it is told, within the call's deadline. Appends that arrive while requests are in flight
// leave together in the next one; no append waits for a timer.
//
// Proofs. Every receipt, proof and checkpoint is verified against the profile's policy before the
// caller sees it. A receipt is accepted for an append only if it proves the key, the payload and
// the principal of that append. The newest verified checkpoint is kept in the profile's state file,
// and every other checkpoint must be proved consistent with it. Two checkpoints that contradict
// each other are a *ForkError: proof that the ledger's keys signed two histories. Both checkpoints
// are saved next to the state file. An answer that does not verify is a *VerificationError.
//
// Other ledgers of a cluster. A policy lists the logs of one ledger. For another one the client
// derives the policy: the log key under the other name, the same cosigners, the same quorum. It
// believes no checkpoint under a derived policy before it has compared it with the ledger's
// genesis, entry 0, proved under that checkpoint: origin, cosigner keys and quorum must be the
// same. A difference is a *VerificationError that names it. The client compares once; a state file
// says that it was done.
//
// Reads. By default reads are linearizable; with Local they come from any node, and never go back
// in time within one Client. Watch survives the loss of nodes without gap or duplicate.
//
// # What it assumes
//
// The files of the profile are the right ones: the client believes its trust roots and its policy.
// Without a state file the client believes the first checkpoint whose signatures satisfy the
// policy.
//
// A Client is safe for concurrent use. Entries handed to it must not be changed before the call
// returns.
package client
