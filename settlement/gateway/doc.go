// Package gateway carries out ISO 20022 messages on a settlement ledger, and answers them.
//
// A message comes in as bytes. The gateway reads and judges it (package iso20022), asks the ledger
// for what the message instructs, and writes the answer (package report). The command that the
// ledger keeps holds the decoded instruction and the message itself, or its SHA-256 and length where
// the message does not fit. Audit reads such commands again and compares the two.
//
//	pacs.008, pacs.009  transfers, at once or reserved   answered by pacs.002
//	pacs.004            returns of posted transfers      answered by pacs.002
//	pacs.002            posts or voids what is reserved  answered by pacs.002
//	pacs.028            changes nothing                  answered by pacs.002
//	camt.056            voids what is reserved           answered by camt.029
//	sese.023            instructions for securities      answered by sese.024; Follow: sese.025
//
// # What it guarantees
//
//   - Exactly once. The id of a transfer is the identity of the transaction: participant, rail, kind
//     of message, message and transaction (iso20022.Identity). The ledger decides an id once. So the
//     same message again, after a crash or years later, moves nothing and gets the first answer.
//     Another transaction under the identity is rejected with AM05.
//   - The answer to a message depends on the message, the options and the ledger alone. It names
//     the ledger's time, not the clock of the gateway.
//   - Whatever the bytes are, there is an answer: a message of ISO 20022 where the identification of
//     the message can be read, a text otherwise.
//
// # What it assumes
//
// The caller of the ledger is authenticated there: who may debit what is the ledger's decision. The
// Participant of the options is a name in identities, and gives no rights.
//
// The package knows no network and no files; package folder, below it, works on folders. A message
// is a sequence of steps, each a pure function of what the ledger answered to the step before it.
//
// The smallest use:
//
//	g, err := gateway.New(ledger, gateway.Options{Participant: "BANKDEFF", Rail: "rtgs"})
//	answer, err := g.Answer(ctx, gateway.Incoming{Raw: raw, Received: time.Now()})
package gateway
