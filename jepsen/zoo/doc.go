// Package zoo keeps deliberate bugs, each with the checker that must catch it. It
// is what makes a pass of the other tests worth something: a test suite that lets
// one of them live would let others live too.
//
// A bug is a file in bugs: a header, a paragraph that says what goes wrong, and
// replacements of the product's text, written like a patch without line numbers.
//
//	title: A vote is not written
//	detector: sim --faults power,kill
//	caught by: raft
//	budget: 200 seeds, 60s
//
//	What goes wrong, in a paragraph.
//
//	@@ raftnode/effects.go
//	 	a line that stays
//	-	a line that goes
//	+	a line that comes
//
// Lines that stay and lines that go, taken together, must occur exactly once in
// the file: a bug that does not fit the product any more is a failing test.
//
// Nothing is ever changed in the source: bugs are built with go build -overlay.
// There are two kinds of detectors:
//
//	sim OPTIONS         seeds of package sim, in a process of their own, until a
//	                    violation of the expected kind shows
//	test PACKAGE TEST   one test of a package, repeated until it fails
//
// The seed that found a bug last time may be noted (first: 17); it is tried before
// the others, unless Options.Search is set.
package zoo
