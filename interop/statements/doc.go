// Package statements reads with settlement/reconcile what banks publish as samples of their
// statements.
//
// The samples are camt.052, camt.053 and camt.054 messages of a Swiss bank and of the Finnish and
// Lithuanian banks, in the versions 02 and 04. They are in the module zip of
// github.com/moov-io/iso20022, which is downloaded when the test runs, and of which no code is used.
package statements
