// Package schema knows how ISO 20022 messages are built: which elements a message has, in which
// order and how often, and what their values look like. It stands in for an XML Schema processor:
// for the messages and versions in Exact, Check takes and refuses what the published schemas take
// and refuse. Tests compare it with xmllint, message by message and with thousands of changed ones.
//
// Other versions of the same messages are checked against the version at hand, leniently: elements
// that it does not know are passed over, the order is free, and the parts that differ between
// versions are not looked at.
//
// The tables are text files in types, which this package reads when it is first used. A complex
// type is a line with its name and kind, "sequence", "choice", "amount" or "any", and lines with
// its elements: a name, how often it may occur (nothing for once, ? for at most once, * for any
// number, + for at least once, {0;7} for a range) and its type.
//
// Everything here is a pure function of its arguments, and safe for concurrent use.
package schema
