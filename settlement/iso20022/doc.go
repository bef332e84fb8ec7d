// Package iso20022 reads the ISO 20022 messages that instruct settlement, and judges them.
//
// # What it reads
//
// Payments (pacs.008, pacs.009), returns (pacs.004), status reports and requests (pacs.002,
// pacs.028), cancellation requests (camt.056) and settlement instructions for securities
// (sese.023), in the versions of Supported, with or without a business application header
// (head.001), alone or in an envelope. docs/iso20022.md lists the fields.
//
//   - Decode turns a message into a Message. It refuses what cannot be read without guessing: bytes
//     that are no acceptable XML, an unknown message, an element twice that may stand once.
//   - Lint judges a message: every Finding has a path, an ISO 20022 reason code and a sentence that
//     says what to do. Check does both at once, against rules about dates that the caller knows.
//   - Identify names each transaction so that it can be carried out exactly once.
//
// # What it guarantees
//
// All functions are pure and safe for concurrent use. They need memory and time in proportion to
// the message, whose size is bounded (xmltree.Limits), and never panic, whatever the bytes are.
// Amounts are decimal strings as the message wrote them; nothing is rounded. A message is never
// written anew: what a ledger keeps is the bytes that came.
//
// The package knows no ledger, no network and no clock. Its parts: xmltree reads XML, schema knows
// how messages are built, codes checks single values, report writes the messages that go out.
//
// The smallest use:
//
//	message, findings := iso20022.Check(raw, iso20022.Rules{})
//	if iso20022.Rejected(findings) { … }
//	for _, id := range message.Identify("participant", "rail") { … }
package iso20022
