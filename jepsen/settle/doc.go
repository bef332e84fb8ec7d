// Package settle is a second opinion about a settlement ledger: a model that was written from
// docs/settlement.md and docs/format-map.md, and shares no line with package settlement.
//
// A Model reads the leaves of a ledger from entry 0 on. It decodes every command with a decoder of
// its own, decides it by the documented rules over plain maps and big integers, and compares the
// outcome in the leaf with its own, byte by byte. It recomputes every map root from the records of
// all accounts. It says where and how a ledger departs from the documents; that may be a defect of
// the program or of the documents.
//
// The smallest use:
//
//	m := settle.New("example.org/money")
//	for i, leaf := range leaves {
//		for _, p := range m.Leaf(leaf) {
//			fmt.Println(i, p)
//		}
//	}
//
// A model that has found a difference follows its own rules from there on, so later differences may
// be consequences of the first one.
package settle
