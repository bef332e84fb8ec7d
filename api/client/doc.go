// Package client is the Go client of a Cairn ledger, for programs that append, read and audit.
//
// # Use
//
//	profile, err := client.LoadProfile("writer.yaml")
//	c, err := client.Dial(ctx, profile)
//	defer c.Close()
//	a, err := c.Append(ctx, client.Entry{Key: []byte("invoice-17"), Payload: body}, client.Sealed())
//	os.WriteFile("invoice-17.tlog-proof", a.Receipt.Marshal(), 0o644)
//
// # What it guarantees
//
// Appends. An entry with a key is appended exactly once, however often the call is repeated, by this program or another one of
// the same principal. The client itself retries what is safe: an entry with a key always, an entry without a key only after
// an error that says that it had no effect. An error for which IsDefinite is false means that the entry may be in the ledger.
// Appends that wait while a request is in flight leave together in the next one; nothing waits for a timer.
//
// Proofs. Every receipt, proof and checkpoint is verified against the profile's policy before the caller sees it. The newest
// verified checkpoint is kept in the profile's state file, and every other checkpoint must be proved consistent with it. Two
// checkpoints that contradict each other are a *ForkError: proof that the ledger's keys signed two histories. Both
// checkpoints are saved next to the state file. An answer that does not verify is a *VerificationError.
//
// Reads. By default reads are linearizable; with Local they come from any node, and never go back in time within one Client.
// Watch survives the loss of nodes without gap or duplicate.
//
// # What it assumes
//
// That the files of the profile are the right ones: trust roots and policy are what the client believes. Without a state file
// the first checkpoint is believed if its signatures satisfy the policy.
//
// A Client is safe for concurrent use. Entries handed to it must not be changed before the call returns.
package client
