// Package audit checks a whole ledger: every entry, every tile and the
// checkpoint, against nothing but a policy.
//
// It guarantees that a report without findings means: the policy accepts the
// checkpoint, every entry is well-formed, the entries hash to the checkpoint's
// root, and every tile holds the hashes that the entries give. A finding names
// the file and the position in it. Where an entry and its tile disagree, the
// tile above (or the checkpoint) tells which of the two is wrong.
//
// It assumes nothing about the server. Its caller is cmd/cairn (audit, demo).
//
//	report, err := audit.Run(ctx, audit.Dir(path), audit.Options{Policy: policy})
//
// The error is for a source that cannot be read at all, that serves another ledger
// than an earlier audit was about, or a cancelled context; what is wrong with the
// ledger is in report.Findings.
package audit
